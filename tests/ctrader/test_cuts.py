"""The connection cut at every byte of an order's frame and of its answer's: what settling says is what stands in the book, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest

import tradesession
from tests.ctrader.trading import TYPE, Trading, settle, trading
from tradesession.ctrader import messages as pb
from tradesession.ctrader.settlement import Outcome
from tradesession.sandbox.simulation import World, simulated

Direction = Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class Case:
    """One request, and how the server's book shows that it was executed."""

    request: Any
    happened: Callable[[], bool]


Prepare = Callable[[Trading, int], Awaitable[Case]]


async def market(trader: Trading, number: int) -> Case:
    name = f"market {number:05}"
    return Case(trader.order(clientOrderId=name), lambda: once(trader, name))


async def pending(trader: Trading, number: int) -> Case:
    name = f"pending {number:05}"
    return Case(trader.order(TYPE.STOP, stopPrice=2.0, clientOrderId=name), lambda: once(trader, name))


def once(trader: Trading, name: str) -> bool:
    """Whether the order is in the book; twice it must never be."""
    found = trader.named(name)
    assert len(found) <= 1
    return bool(found)


async def cancel(trader: Trading, number: int) -> Case:
    order = await trader.waiting()
    request = trader.about(pb.ProtoOACancelOrderReq, orderId=order.orderId)
    return Case(request, lambda: order.orderId not in [one.orderId for one in trader.book.pending()])


async def amend(trader: Trading, number: int) -> Case:
    order = await trader.waiting()
    request = trader.about(pb.ProtoOAAmendOrderReq, orderId=order.orderId, limitPrice=0.6)
    return Case(request, lambda: trader.book.orders[order.orderId].limitPrice == 0.6)


async def protect(trader: Trading, number: int) -> Case:
    position = await trader.opened()
    request = trader.about(pb.ProtoOAAmendPositionSLTPReq, positionId=position.positionId, stopLoss=0.5)
    return Case(request, lambda: trader.book.holdings[position.positionId].position.stopLoss == 0.5)


async def close(trader: Trading, number: int) -> Case:
    position = await trader.opened(volume=300_000)
    request = trader.about(pb.ProtoOAClosePositionReq, positionId=position.positionId, volume=100_000)

    def happened() -> bool:
        left = trader.book.holdings[position.positionId].volume
        assert left in (300_000, 200_000), "once"
        return left == 200_000

    return Case(request, happened)


async def sizes(trader: Trading, prepare: Prepare) -> dict[Direction, int]:
    """How many bytes a request and its answer take, without a cut."""
    case = await prepare(trader, 0)
    channel = trader.server.connections[0].channel
    before = channel.input.passed, channel.output.passed
    await trader.session.request(case.request)
    return {"input": channel.input.passed - before[0], "output": channel.output.passed - before[1]}


async def cut(trader: Trading, case: Case, direction: Direction, place: int) -> str:
    """Send the request over a connection that ends at that byte; what was said of it, in one word."""
    trader.server.connections[0].channel.cut_after(**{direction: place})
    sent = trader.server.state.requests.copy()
    try:
        await trader.session.request(case.request, timeout=1)
    except tradesession.OutcomeUnknown as unknown:
        said = (await settle(unknown)).outcome.value
    except tradesession.NotSent:
        said = "not sent"
    else:
        said = "reply"
    await asyncio.sleep(0.2)  # a market order is filled a little after its acceptance
    name = type(case.request).__name__
    assert trader.server.state.requests[name] - sent[name] <= 1
    return said


@pytest.mark.parametrize("direction", ["input", "output"])
@pytest.mark.parametrize(("prepare", "stride"), [(market, 1), (pending, 1), (cancel, 3), (amend, 3), (protect, 3), (close, 3)])
@simulated()
async def test_cut_at_every_byte_it_is_known_what_became_of_the_order(
    world: World, prepare: Prepare, stride: int, direction: Direction
) -> None:
    async with trading(world, heartbeat_interval=20.0) as trader:
        whole = (await sizes(trader, prepare))[direction]
        seen: dict[bool, set[str]] = {True: set(), False: set()}
        for number, place in enumerate([*range(0, whole, stride), whole], 1):
            case = await prepare(trader, number)
            said = await cut(trader, case, direction, place)
            seen[case.happened()].add(said)
            await trader.session.ready(timeout=300)
        done = {Outcome.PENDING.value if prepare is pending else Outcome.EXECUTED.value}
        not_done = {Outcome.NOT_EXECUTED.value, "not sent"}
        assert seen[True] <= done | {"reply"}, f"{seen[True]} of what was executed"
        assert seen[False] <= not_done, f"{seen[False]} of what was not executed"
        assert seen[direction == "output"] & (done | not_done)
        assert whole >= 40
