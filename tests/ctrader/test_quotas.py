"""A session under the server's limits, in virtual time: orders before reads, nothing refused by our own fault, deadlines kept."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import pytest

import tradesession
from tests.ctrader.trading import Trading, trading
from tradesession import policy
from tradesession.ctrader import messages as pb
from tradesession.hooks import QuotaWaited
from tradesession.sandbox.ctrader.records import Asked
from tradesession.sandbox.simulation import World, simulated

READ, ORDER, HISTORY = "ProtoOATraderReq", "ProtoOANewOrderReq", "ProtoOAGetTrendbarsReq"
HURRY: dict[str, Any] = {"requests_per_second": 1000.0, "historical_requests_per_second": 1000.0}
"""A session that knows no limits, so that the server's own are met."""


@asynccontextmanager
async def rested(world: World, **options: Any) -> AsyncIterator[Trading]:
    """A session whose quotas, and the server's limits, have all their room."""
    async with trading(world, **options) as trader:
        await asyncio.sleep(5)
        yield trader


async def read(trader: Trading, timeout: float = 60.0) -> Any:
    return await trader.session.request(trader.about(pb.ProtoOATraderReq), timeout=timeout)


async def order(trader: Trading, timeout: float = 60.0) -> Any:
    return await trader.session.request(trader.order(), timeout=timeout)


async def history(trader: Trading, timeout: float = 60.0) -> Any:
    now = round(trader.world.clock.wall() * 1000)
    window = {"fromTimestamp": now - 3_600_000, "toTimestamp": now}
    return await trader.session.request(trader.about(pb.ProtoOAGetTrendbarsReq, symbolId=1, period=1, **window), timeout=timeout)


def arrived(trader: Trading, *names: str) -> list[Asked]:
    """The requests of these names that the server took, in order."""
    return [asked for asked in trader.server.state.log if asked.name in names]


def refused(trader: Trading) -> int:
    """How many requests the server refused for its limits."""
    counted = trader.server.state.requests
    return sum(counted.values()) - counted["ProtoHeartbeatEvent"] - len(trader.server.state.log)


def busiest(asked: list[Asked], seconds: float = 1.0) -> int:
    """The most of them that any sliding second saw."""
    times = [one.at for one in asked]
    return max(bisect.bisect_left(times, at + seconds) - index for index, at in enumerate(times))


@contextmanager
def timed(world: World, at_least: float = 0.0, at_most: float = 1e9) -> Iterator[None]:
    """How long the block takes on the world's clock."""
    began = world.clock.monotonic()
    yield
    assert at_least <= world.clock.monotonic() - began <= at_most, f"it took {world.clock.monotonic() - began:.3f} s"


# --- our own quota ------------------------------------------------------------------------------------------------------------------


@simulated()
async def test_of_300_reads_and_20_orders_the_orders_go_first_and_nothing_is_refused(world: World) -> None:
    async with rested(world) as trader:
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(read(trader)) for _ in range(300)]
            await asyncio.sleep(0)
            orders = [group.create_task(order(trader)) for _ in range(20)]
            with timed(world, 300 / 50, 320 / policy.REQUESTS_PER_SECOND):
                await asyncio.wait(reads)
        assert all(type(task.result()) is pb.ProtoOATraderRes for task in reads)
        assert all(task.result().executionType == pb.ProtoOAExecutionType.ORDER_ACCEPTED for task in orders)
        assert refused(trader) == 0
        names = [asked.name for asked in arrived(trader, READ, ORDER)]
        assert names == [READ] * policy.REQUEST_BURST + [ORDER] * 20 + [READ] * (300 - policy.REQUEST_BURST)
        assert 40 <= busiest(list(trader.server.state.log)) <= 50
        assert sum(isinstance(record, QuotaWaited) for record in trader.records) == 320 - policy.REQUEST_BURST


@simulated()
async def test_history_keeps_its_own_quota_and_holds_back_nothing_else(world: World) -> None:
    async with rested(world) as trader:
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(history(trader)) for _ in range(30)]
            with timed(world, at_most=1.0):
                await asyncio.gather(*(read(trader) for _ in range(20)), order(trader))
        assert all(type(task.result()) is pb.ProtoOAGetTrendbarsRes for task in asking)
        assert refused(trader) == 0
        assert 4 <= busiest(arrived(trader, HISTORY)) <= 5


@simulated()
async def test_a_morning_of_heartbeats_is_outside_the_quota(world: World) -> None:
    async with trading(world, heartbeat_interval=0.05) as trader:  # twenty a second beside a burst
        await asyncio.gather(*(read(trader) for _ in range(100)))
        assert trader.server.state.requests["ProtoHeartbeatEvent"] >= 40
        assert refused(trader) == 0
        assert busiest(list(trader.server.state.log)) >= 40


# --- deadlines ----------------------------------------------------------------------------------------------------------------------


@simulated()
async def test_who_does_not_get_its_turn_in_time_was_not_sent_and_takes_nobodys_place(world: World) -> None:
    async with rested(world) as trader:
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(read(trader)) for _ in range(100)]
            await asyncio.sleep(0)
            with timed(world, 1.0, 1.0), pytest.raises(tradesession.NotSent, match="was not sent within its 1 s: the quota is used up"):
                await read(trader, timeout=1)
            with timed(world, at_most=1.0):
                await order(trader, timeout=1)  # orders have no such line before them
            await asyncio.wait(others)
        assert len(arrived(trader, READ)) == 100


@simulated()
async def test_who_is_overtaken_by_orders_past_its_deadline_was_not_sent(world: World) -> None:
    async with rested(world) as trader:
        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(read(trader))
            await asyncio.sleep(0)
            late = group.create_task(outcome(read(trader, timeout=1)))
            await asyncio.sleep(0)
            for _ in range(40):
                group.create_task(order(trader))
            with timed(world, 1.0, 1.0):
                error = await late
        assert isinstance(error, tradesession.NotSent)
        assert "was not sent within its 1 s: the quota is used up" in str(error)
        assert (len(arrived(trader, READ)), len(arrived(trader, ORDER))) == (30, 40)


@simulated()
async def test_a_caller_who_gives_up_in_the_line_was_not_sent_either(world: World) -> None:
    async with rested(world) as trader:
        tasks = [asyncio.ensure_future(read(trader)) for _ in range(50)]
        await asyncio.sleep(0.1)
        for task in tasks[20:]:
            task.cancel()
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks] == [False] * 20 + [True] * 30
        assert len(arrived(trader, READ)) == 20


async def outcome(request: Awaitable[Any]) -> Any:
    try:
        return await request
    except tradesession.Error as error:
        return error


# --- the server's limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["BLOCKED_PAYLOAD_TYPE", "REQUEST_FREQUENCY_EXCEEDED"])
@simulated()
async def test_reads_that_the_limit_refuses_are_repeated_for_the_caller(
    world: World, code: Literal["BLOCKED_PAYLOAD_TYPE", "REQUEST_FREQUENCY_EXCEEDED"]
) -> None:
    async with rested(world, **HURRY) as trader:
        trader.server.settings.rate_limit_code = code
        with timed(world, 1.0, 15.0):
            replies = await asyncio.gather(*(read(trader) for _ in range(120)))
        assert all(type(reply) is pb.ProtoOATraderRes for reply in replies)
        assert len(arrived(trader, READ)) == 120
        assert 1 <= refused(trader) <= 10, "the first refusal holds back those that have not left yet"


@simulated()
async def test_a_blocked_type_is_left_alone_for_as_long_as_the_server_says_and_others_pass(world: World) -> None:
    async with rested(world, **HURRY) as trader:
        trader.server.settings.retry_after = 7
        burst = [asyncio.ensure_future(read(trader)) for _ in range(60)]
        await asyncio.sleep(1.1)
        with timed(world, at_most=0.5):
            await order(trader)
            await trader.session.request(trader.about(pb.ProtoOAReconcileReq))
        before = trader.server.state.requests[READ]
        late = asyncio.ensure_future(read(trader))
        await asyncio.sleep(5)
        assert trader.server.state.requests[READ] == before, "nothing of that type knocks meanwhile"
        with timed(world, at_most=3.0):
            await asyncio.gather(*burst, late)
        assert len(arrived(trader, READ)) == 61


@simulated()
async def test_under_2022s_limit_everything_pauses_but_heartbeats(world: World) -> None:
    async with rested(world, heartbeat_interval=0.2, **HURRY) as trader:
        trader.server.settings.rate_limit_code = "REQUEST_FREQUENCY_EXCEEDED"
        burst = [asyncio.ensure_future(read(trader)) for _ in range(60)]
        await asyncio.sleep(0.1)
        beats = trader.server.state.requests["ProtoHeartbeatEvent"]
        with timed(world, 0.5, 2.0):
            await trader.session.request(trader.about(pb.ProtoOAReconcileReq))
        assert trader.server.state.requests["ProtoHeartbeatEvent"] > beats + 2
        await asyncio.gather(*burst)


@pytest.mark.parametrize("code", ["BLOCKED_PAYLOAD_TYPE", "REQUEST_FREQUENCY_EXCEEDED"])
@simulated()
async def test_an_order_that_the_limit_refuses_is_the_callers_to_repeat(
    world: World, code: Literal["BLOCKED_PAYLOAD_TYPE", "REQUEST_FREQUENCY_EXCEEDED"]
) -> None:
    async with rested(world, **HURRY) as trader:
        trader.server.settings.rate_limit_code = code
        outcomes = await asyncio.gather(*(outcome(order(trader)) for _ in range(60)))
        refusals = [one for one in outcomes if isinstance(one, tradesession.Rejected)]
        assert 1 <= len(refusals) <= 10, "the first refusal holds back those that have not left yet"
        assert {refusal.code for refusal in refusals} == {code}
        assert len(arrived(trader, ORDER)) == len(trader.book.orders) == 60 - len(refusals), "none was sent twice"


@simulated()
async def test_a_block_that_outlasts_the_deadline_is_told_to_who_was_refused_and_to_who_would_be(world: World) -> None:
    async with rested(world, **HURRY) as trader:
        trader.server.settings.retry_after = 30
        with timed(world, at_most=3.0):
            outcomes = await asyncio.gather(*(outcome(read(trader, timeout=3)) for _ in range(60)))
        refusals = [one for one in outcomes if isinstance(one, tradesession.Rejected)]
        assert {(refusal.code, refusal.verdict.after) for refusal in refusals} == {("BLOCKED_PAYLOAD_TYPE", 30)}
        assert len(refusals) == refused(trader) < 10
        assert sum(isinstance(one, tradesession.NotSent) for one in outcomes) == 10 - len(refusals)
        with (
            timed(world, at_most=0.0),
            pytest.raises(tradesession.NotSent, match=r"the quota has room in 2\d(\.\d+)? s, and it may wait 3 s"),
        ):
            await read(trader, timeout=3)
