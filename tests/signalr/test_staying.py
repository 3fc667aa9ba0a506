"""For long: losses, renewals and resumptions under a steady feed, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Any

import pytest

from tests.signalr.fake import Source
from tests.signalr.living import KNOWN, LivingHub, at
from tradesession import policy
from tradesession.errors import LinkLost, NotSent, Rejected, TokenEndpointUnreachable, Unreachable
from tradesession.hooks import LinkLost as LinkLostRecord
from tradesession.hooks import NotRestored, Record, StepTimed
from tradesession.sandbox.simulation import World, simulated
from tradesession.session.states import SessionState
from tradesession.session.streams import EventStream, Gap
from tradesession.signalr import CallLost, Hub, HubError


def number(tick: dict[str, Any]) -> Any:
    return tick["number"]


def feed(hub: Hub, **options: Any) -> EventStream[Any]:
    return hub.stream("StreamTicks", "EURUSD", restart=True, identity=number, read=number, overflow="must_deliver", **options)


def pushes(hub: Hub, **options: Any) -> EventStream[Any]:
    return hub.on("OnTick", identity=number, read=number, overflow="must_deliver", **options)


def consecutive(seen: list[int]) -> bool:
    return seen == list(range(seen[0], seen[0] + len(seen)))


def queued(stream: EventStream[Any]) -> list[Any]:
    """What is there to be read, taken out."""
    seen = []
    while stream.statistics().queued:
        reading = stream.__anext__()
        try:
            reading.send(None)
        except StopIteration as done:
            seen.append(done.value)
    return seen


def losses(records: list[Record]) -> list[str]:
    return [record.cause for record in records if isinstance(record, LinkLostRecord) and record.during == "ready"]


# --- renewals -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1, 4))
@simulated()
async def test_twenty_renewals_bring_every_item_once_and_in_order(world: World, seed: int) -> None:
    records: list[Record] = []
    async with LivingHub(interval=0.01) as server, at(server, clock=world.clock, records=records) as hub:
        await hub.subscribe("SubscribeToTicks", "GBPUSD")
        streams = feed(hub), pushes(hub)
        seen: list[list[int]] = [[], []]
        for _ in range(20):
            await asyncio.sleep(world.random.random())
            await hub.renew()
            assert await hub.invoke("Echo", 1) == 1
            for one, stream in zip(seen, streams, strict=True):
                one += queued(stream)
        await asyncio.sleep(1)
        assert len(server.connections) == 1  # the others are closed
        assert len(server.ever) == 21
        for one, stream in zip(seen, streams, strict=True):
            one += queued(stream)
            assert consecutive(one)
            assert one[-1] == server.number
        assert losses(records) == []


@simulated()
async def test_prices_that_repeat_are_not_lost_in_a_renewal(world: World) -> None:
    async with LivingHub(interval=0.01) as server, at(server, clock=world.clock) as hub:
        ticks = hub.on("OnTick", identity=lambda tick: tick["number"] % 3, read=number)
        await hub.subscribe("SubscribeToTicks", "GBPUSD")
        for _ in range(5):
            await asyncio.sleep(1)
            await hub.renew()
        await asyncio.sleep(20)
        assert consecutive(queued(ticks))


@pytest.mark.parametrize("identity", [lambda tick: tick["nothing of the kind"], lambda tick: [tick["number"]]])
@simulated()
async def test_an_identity_that_fails_costs_neither_an_item_nor_the_connection(world: World, identity: Any) -> None:
    records: list[Record] = []
    async with LivingHub(interval=0.01) as server, at(server, clock=world.clock, records=records) as hub:
        ticks = hub.stream("StreamTicks", "EURUSD", restart=True, identity=identity, read=number)
        events = hub.on("OnTick", identity=identity, read=number)
        await hub.subscribe("SubscribeToTicks", "GBPUSD")
        await asyncio.sleep(1)
        await hub.renew()
        await asyncio.sleep(1)
        assert consecutive(queued(ticks))
        assert consecutive(queued(events))
        assert losses(records) == []


@simulated()
async def test_a_day_of_short_tokens_costs_nothing(world: World) -> None:
    records: list[Record] = []
    source = Source(world.clock, life=600)
    async with LivingHub(interval=30) as server, at(server, token=source, clock=world.clock, records=records) as hub:
        ticks = feed(hub)
        await asyncio.sleep(86_400)
        assert queued(ticks) == list(range(1, server.number + 1))
        assert 86_400 / 600 <= len(server.ever) - 1 <= 1.3 * 86_400 / 600
        assert losses(records) == []
        assert hub._hub_line.renewals == len(server.ever) - 1


@simulated()
async def test_without_renewal_the_connection_outlives_its_bearer(world: World) -> None:
    source = Source(world.clock, life=600)
    async with LivingHub() as server, at(server, token=source, clock=world.clock, renew=False) as hub:
        await asyncio.sleep(3600)
        assert (len(server.ever), hub.state) == (1, SessionState.READY)


@simulated()
async def test_a_renewal_is_tried_until_it_succeeds_and_costs_nothing_meanwhile(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tradesession.signalr")
    records: list[Record] = []
    source = Source(world.clock, life=600)
    async with LivingHub() as server, at(server, token=source, clock=world.clock, records=records) as hub:
        ticks = feed(hub, limit=100_000)
        await asyncio.sleep(500)
        source.fail = TokenEndpointUnreachable("down")
        await asyncio.sleep(30)
        source.fail, source.may_renew = None, False  # the same token as before, again and again
        await asyncio.sleep(20)
        source.may_renew = True
        server.answers += [503]
        await asyncio.sleep(45)
        assert (len(server.ever), hub.state) == (2, SessionState.READY)
        assert consecutive(queued(ticks))
        assert losses(records) == []
    told = [record for record in caplog.records if "not renewed, though its bearer ends soon" in record.message]
    assert [record.levelname for record in told][:2] == ["WARNING", "DEBUG"]
    assert "WARNING" not in [record.levelname for record in told][1:]
    assert told[0].message.endswith("down")


@simulated()
async def test_a_renewal_that_fails_says_why_and_leaves_all_as_it_was(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub, feed(hub) as ticks:
        server.answers += [403]
        with pytest.raises(Rejected, match="HTTP 403"):
            await hub.renew()
        before = hub.connection_id
        await anext(ticks)
        await hub.renew()
        assert hub.connection_id != before
        assert hub._hub_line.renewals == 1


@simulated()
async def test_an_old_connection_that_is_lost_while_another_one_takes_over_is_a_gap_where_something_may_be_missing(world: World) -> None:
    async with LivingHub(interval=1) as server, at(server, clock=world.clock) as hub:
        await hub.subscribe("SubscribeToTicks", "EURUSD")
        ticks, events = feed(hub, gaps=True), pushes(hub, gaps=True)
        await asyncio.sleep(3.5)
        old = server.connections[0].served
        await hub.renew()
        assert old is not None
        old.cut()
        await asyncio.sleep(3)
        for stream in (ticks, events):
            items = queued(stream)
            gaps = [item for item in items if isinstance(item, Gap)]
            assert [gap.reason for gap in gaps] == ["the connection was lost while another one took over"]
            assert consecutive([item for item in items if not isinstance(item, Gap)])
        assert hub.state is SessionState.READY


@simulated()
async def test_a_new_connection_that_is_lost_while_it_takes_over_is_a_loss(world: World) -> None:
    async with LivingHub(interval=1) as server, at(server, clock=world.clock) as hub:
        ticks = feed(hub, gaps=True)
        await asyncio.sleep(2.5)
        await hub.renew()
        new = server.connections[1].served
        assert new is not None
        new.cut()
        await asyncio.sleep(10)
        items = queued(ticks)
        assert [item.reason for item in items if isinstance(item, Gap)] == ["the connection was lost"]
        kept = [item for item in items if not isinstance(item, Gap)]
        assert kept == sorted(set(kept))
        assert (hub.state, len(server.connections)) == (SessionState.READY, 1)


@simulated()
async def test_a_quiet_stream_is_handed_over_without_anything_to_compare(world: World) -> None:
    async with LivingHub(interval=3600) as server, at(server, clock=world.clock) as hub:
        ticks = feed(hub, gaps=True)
        await hub.renew()
        await hub.renew()  # waits for the first to be over
        await asyncio.sleep(policy.HUB_OVERLAP + 1)
        assert len(server.connections) == 1
        await asyncio.sleep(3600)
        assert queued(ticks) == [1]


@simulated()
async def test_a_renewal_at_the_very_end_of_a_bearer_waits_for_streams_to_begin_on_the_new_connection(world: World) -> None:
    source = Source(world.clock, life=600)
    async with LivingHub(interval=0.01) as server, at(server, token=source, clock=world.clock, renew=False) as hub:
        ticks = feed(hub, gaps=True, limit=100_000)
        await asyncio.sleep(599.9)
        server.delay = 0.5
        await hub.renew()
        await asyncio.sleep(5)
        seen = queued(ticks)
        assert consecutive(seen)
        assert seen[-1] == server.number


@simulated()
async def test_events_that_repeat_are_told_again_once_a_renewal_is_over(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        statuses = hub.on("OnConnectionStatus", read=lambda status: status["connected"])
        await hub.renew()
        await asyncio.sleep(60)
        for connected in (False, True, False, True):
            server.connections[-1].put({"type": 1, "target": "OnConnectionStatus", "arguments": [{"connected": connected}]})
        await asyncio.sleep(1)
        assert queued(statuses) == [True, False, True, False, True]


@pytest.mark.parametrize("what", ["a stream", "events"])
@simulated()
async def test_an_old_connection_goes_when_all_has_been_seen_to_go_on_with_the_new_one(world: World, what: str) -> None:
    async with LivingHub(interval=0.1) as server, at(server, clock=world.clock) as hub:
        if what == "events":
            await hub.subscribe("SubscribeToTicks", "EURUSD")
        seen = feed(hub) if what == "a stream" else pushes(hub)
        await asyncio.sleep(1)
        await hub.renew()
        assert len(server.connections) == 2
        await asyncio.sleep(1)
        assert len(server.connections) == 1
        assert consecutive(queued(seen))


@simulated()
async def test_a_stream_that_ends_with_a_renewal_leaves_the_others_to_go_on(world: World) -> None:
    async with LivingHub(interval=0.1) as server, at(server, clock=world.clock) as hub:
        options: dict[str, Any] = {"restart": True, "identity": lambda tick: object(), "read": number, "overflow": "must_deliver"}
        small, large = hub.stream("StreamTicks", "EURUSD", limit=150, **options), hub.stream("StreamTicks", "EURUSD", **options)
        await hub.renew()
        await asyncio.sleep(policy.HUB_OVERLAP + 1)  # nothing was recognised: what the new connection has brought comes at once
        assert (small.has_ended, large.has_ended) == (True, False)
        assert len(server.connections) == 1
        queued(large)
        await asyncio.sleep(1)
        assert queued(large)[-1] == server.number


@simulated()
async def test_a_stream_that_is_closed_while_it_is_handed_over_is_cancelled_on_both(world: World) -> None:
    async with LivingHub(interval=1) as server, at(server, clock=world.clock) as hub:
        ticks = feed(hub)
        await asyncio.sleep(0.5)
        await hub.renew()
        await asyncio.sleep(0.1)
        assert [len(one.streams) for one in server.connections] == [1, 1]
        await ticks.aclose()
        await asyncio.sleep(0.1)
        assert [one.streams for one in server.ever] == [{}, {}]


@simulated()
async def test_what_is_under_way_ends_where_it_began(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        stream = hub.stream("StreamTicks", "EURUSD")
        call = asyncio.create_task(hub.invoke("Hold", timeout=60))
        await anext(stream)
        await hub.renew()
        await asyncio.sleep(30)
        assert len(server.connections) == 2  # for the stream and the call
        await stream.aclose()
        with pytest.raises(Exception, match="no answer came within 60 s"):
            await call
        await asyncio.sleep(1)
        assert len(server.connections) == 1


@simulated()
async def test_closing_in_the_middle_of_a_renewal_leaves_nothing(world: World) -> None:
    async with LivingHub(interval=60) as server:
        async with at(server, clock=world.clock) as hub:
            stream = feed(hub)
            await hub.renew()
            renewing = asyncio.create_task(hub.renew())  # waits for the first to be over
            await asyncio.sleep(1)
        assert stream.has_ended
        with pytest.raises(Exception, match="not sent"):
            await renewing
        await asyncio.sleep(1)
        assert server.connections == []


@simulated()
async def test_closing_while_a_renewal_opens_its_connection_says_nothing_on_that(world: World) -> None:
    async with LivingHub() as server:
        async with at(server, clock=world.clock) as hub:
            server.held = {"opening"}
            renewing = asyncio.create_task(hub.renew())
            await asyncio.sleep(1)
        server.held = set()
        with pytest.raises(LinkLost, match="closed by this side"):
            await renewing
        await asyncio.sleep(1)
        assert server.sockets[-1].received == []
        assert len(server.sockets) == 2


# --- losses ---------------------------------------------------------------------------------------------------------------------------


@simulated()
async def test_subscriptions_come_back_and_what_is_refused_now_is_told_and_holds_up_nothing(world: World) -> None:
    records: list[Record] = []
    async with LivingHub() as server, at(server, clock=world.clock, records=records) as hub:
        events = hub.on("OnTick", gaps=True)
        standing = await hub.subscribe("SubscribeToTicks", "EURUSD")
        refused = await hub.subscribe("SubscribeToTicks", "GBPUSD")
        server.unknown = {"GBPUSD"}
        server.cut()
        await asyncio.sleep(5)
        assert hub.state is SessionState.READY
        assert [type(one.cause) for one in (standing, refused)] == [type(None), HubError]
        assert [record.what for record in records if isinstance(record, NotRestored)] == ["SubscribeToTicks"]
        server.unknown = set()
        await hub.renew()
        assert refused.cause is None
        items = queued(events)
        assert [item.reason for item in items if isinstance(item, Gap)] == ["the connection was lost"]


@simulated()
async def test_a_subscription_is_undone_when_nobody_wants_the_same_any_more(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        first = await hub.subscribe("SubscribeToTicks", "EURUSD", undo="UnsubscribeFromTicks")
        async with await hub.subscribe("SubscribeToTicks", "EURUSD", undo="UnsubscribeFromTicks"):
            await first.aclose()
            await first.aclose()
            assert server.connections[0].groups == {"EURUSD"}
        assert server.connections[0].groups == set()
        kept = await hub.subscribe("SubscribeToTicks", "GBPUSD")
        await kept.aclose()
        assert server.connections[0].groups == {"GBPUSD"}  # there is no way to undo it
        await hub.renew()
        assert server.connections[-1].groups == set()
        server.unknown = {"XAUUSD"}
        with pytest.raises(HubError, match="unknown symbol"):
            await hub.subscribe("SubscribeToTicks", "XAUUSD")
        gone = await hub.subscribe("SubscribeToTicks", "EURUSD", undo="UnsubscribeFromTicks")
        server.cut()
        await gone.aclose()  # it went with its connection, or is undone on the next one
        await asyncio.sleep(5)
        assert server.connections[0].groups == set()


@simulated()
async def test_a_subscription_that_is_closed_while_the_next_connection_is_opened_holds_up_nothing(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        gone = await hub.subscribe("SubscribeToTicks", "EURUSD", undo="UnsubscribeFromTicks")
        server.held = {"opening"}
        server.cut()
        await asyncio.sleep(3)
        assert hub.state is SessionState.CONNECTING
        began = world.clock.monotonic()
        await gone.aclose()
        server.held = set()
        await hub.ready()
        assert world.clock.monotonic() - began < 1
        assert server.connections[-1].calls == []


@simulated()
async def test_subscribing_outlives_a_loss_and_a_renewal(world: World) -> None:
    async with LivingHub(keepalive=5) as server, at(server, clock=world.clock) as hub:
        server.is_deaf = True
        subscribing = asyncio.create_task(hub.subscribe("SubscribeToTicks", "EURUSD", timeout=60))
        await asyncio.sleep(1)
        server.is_deaf = False
        server.cut()
        await subscribing
        assert server.connections[-1].groups == {"EURUSD"}
        server.is_deaf = True
        late = asyncio.create_task(hub.subscribe("SubscribeToTicks", "GBPUSD", timeout=0.5))
        await asyncio.sleep(0.1)
        server.cut()
        with pytest.raises(LinkLost if late.done() else Exception):
            await late


@simulated()
async def test_a_repeatable_call_is_sent_again_after_a_loss_and_others_are_not(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        server.is_deaf = True
        read = asyncio.create_task(hub.invoke("Echo", 1, repeatable=True))
        order = asyncio.create_task(hub.invoke("Echo", 2))
        await asyncio.sleep(0.1)
        server.is_deaf = False
        server.cut()
        assert await read == 1
        with pytest.raises(CallLost):
            await order
        assert [one.calls for one in server.ever] == [[], ["Echo"]]


@simulated()
async def test_losses_one_after_the_other_are_met_with_patience(world: World) -> None:
    records: list[Record] = []
    async with LivingHub() as server, at(server, clock=world.clock, records=records) as hub:
        for _ in range(1000):
            await asyncio.sleep(0.1)
            server.cut()
        await asyncio.sleep(60)
        assert hub.state is SessionState.READY
        assert len(server.ever) < 25  # in 100 seconds


# --- stateful reconnect ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1, 4))
@simulated()
async def test_cut_sockets_cost_nothing_where_the_connection_is_stateful(world: World, seed: int) -> None:
    records: list[Record] = []
    async with LivingHub(stateful=True, interval=0.01) as server, at(server, clock=world.clock, records=records) as hub:
        await hub.subscribe("SubscribeToTicks", "GBPUSD")
        connection = hub.connection_id
        streams = hub.stream("StreamTicks", "EURUSD", read=number, gaps=True), hub.on("OnTick", read=number, gaps=True)
        seen: list[list[int]] = [[], []]
        for cut in range(20):
            calls = [asyncio.create_task(hub.invoke("Echo", (cut, call))) for call in range(5)]
            await asyncio.sleep(world.random.choice([0, 0.001, 0.5, 3]))
            server.cut()
            assert await asyncio.gather(*calls) == [[cut, call] for call in range(5)]
            for one, stream in zip(seen, streams, strict=True):
                one += queued(stream)
        assert hub.connection_id == connection
        assert server.ever[0].sockets > 10
        assert server.ever[0].calls.count("Echo") == 100
        assert server.ever[0].kinds == KNOWN - {2, 3, 5, 6, 7} | {8, 9}
        for one in seen:
            assert consecutive(one)
        assert losses(records) == []


@simulated()
async def test_an_outage_that_is_short_enough_is_resumed_and_what_was_asked_for_meanwhile_is_done_once(world: World) -> None:
    async with LivingHub(stateful=True) as server, at(server, clock=world.clock) as hub:
        ticks = hub.stream("StreamTicks", "EURUSD", read=number, gaps=True)
        await asyncio.sleep(1)
        server.answers += [503] * 3
        server.cut()
        call = asyncio.create_task(hub.invoke("Echo", 1))
        await hub.send("Echo", 2)
        assert await call == 1
        assert hub._hub_line.link is not None
        assert hub._hub_line.link.wire.resumptions == 1
        await asyncio.sleep(1)
        assert server.ever[0].calls == ["StreamTicks", "Echo", "Echo"]
        assert consecutive(queued(ticks))


@simulated()
async def test_a_socket_that_is_replaced_is_no_step_on_the_way_to_ready(world: World) -> None:
    records: list[Record] = []
    async with LivingHub(stateful=True) as server, at(server, clock=world.clock, records=records) as hub:
        await asyncio.sleep(3600)
        server.cut()
        assert await hub.invoke("Echo", 1) == 1
        assert server.ever[0].sockets == 2
        assert [step.name for step in hub.steps] == ["negotiate", "connect", "handshake", "restore"]
        assert [record.step for record in records if isinstance(record, StepTimed)] == [step.name for step in hub.steps]


@simulated()
async def test_an_outage_that_is_too_long_is_a_loss_at_the_time_at_which_servers_forget(world: World) -> None:
    records: list[Record] = []
    async with LivingHub(stateful=True) as server, at(server, clock=world.clock, records=records) as hub, hub.changes() as changes:
        server.answers += [503] * 1000
        began = world.clock.monotonic()
        server.cut()
        assert (await anext(changes)).after is SessionState.BACKOFF
        assert world.clock.monotonic() == pytest.approx(began + policy.HUB_RESUME_TIMEOUT)
        assert "closed the connection" in losses(records)[0]
        server.answers.clear()
        await asyncio.sleep(60)
        assert hub.state is SessionState.READY


@pytest.mark.parametrize("answers", [[404], [403], [401, 401]])
@simulated()
async def test_a_connection_that_is_not_kept_is_replaced_at_once(world: World, answers: list[int]) -> None:
    async with LivingHub(stateful=True) as server, at(server, clock=world.clock) as hub, hub.changes() as changes:
        server.answers += answers
        began = world.clock.monotonic()
        server.cut()
        assert (await anext(changes)).after is SessionState.BACKOFF
        assert world.clock.monotonic() < began + 1
        assert hub._hub_line.link is None
        await asyncio.sleep(10)
        assert hub.state is SessionState.READY
        assert len(server.ever) == 2


@simulated()
async def test_sockets_that_keep_dying_are_given_up_as_one_outage(world: World) -> None:
    records: list[Record] = []

    class Dying(LivingHub):
        is_dying = False

        async def serve(self, served: Any) -> None:
            if self.is_dying:
                served.cut()
            else:
                await super().serve(served)

    async with Dying(stateful=True) as server, at(server, clock=world.clock, records=records) as hub, hub.changes() as changes:
        began = world.clock.monotonic()
        server.is_dying = True
        server.cut()
        await anext(changes)
        assert world.clock.monotonic() == pytest.approx(began + policy.HUB_RESUME_TIMEOUT)
        assert len(server.sockets) < 40
        server.is_dying = False
        await asyncio.sleep(60)
        assert hub.state is SessionState.READY


@simulated()
async def test_a_server_that_goes_on_elsewhere_than_it_was_is_not_believed(world: World) -> None:
    records: list[Record] = []
    async with LivingHub(stateful=True) as server, at(server, clock=world.clock, records=records) as hub:
        server.connections[0]._sent += 5  # that never came
        server.cut()
        await asyncio.sleep(20)
        assert "something is missing" in losses(records)[0]
        assert (hub.state, len(server.ever)) == (SessionState.READY, 2)


@simulated()
async def test_a_server_that_acknowledges_nothing_is_given_up_however_lively_it_is(world: World) -> None:
    records: list[Record] = []
    async with LivingHub(stateful=True, keepalive=5) as server, at(server, clock=world.clock, records=records) as hub:
        ticks = hub.on("OnTick")
        await hub.subscribe("SubscribeToTicks", "EURUSD")
        await asyncio.sleep(5)
        server.is_deaf = True
        await hub.send("Echo", 1)
        await asyncio.sleep(29)
        assert hub.state is SessionState.READY
        await asyncio.sleep(20)
        server.is_deaf = False
        await asyncio.sleep(60)
        assert "acknowledged nothing for 30 s" in losses(records)[0]
        assert hub.state is SessionState.READY
        assert not ticks.has_ended


@simulated()
async def test_a_server_that_only_acknowledges_is_a_silent_one(world: World) -> None:
    records: list[Record] = []
    async with LivingHub(stateful=True) as server, at(server, clock=world.clock, records=records) as hub:
        server.is_dumb = True
        for _ in range(40):
            await hub.send("Hold")
            await asyncio.sleep(1)
        assert "has sent nothing for 30 s" in losses(records)[0]


@simulated()
async def test_pings_go_on_after_a_resumption(world: World) -> None:
    async with LivingHub(stateful=True) as server, at(server, clock=world.clock) as hub:
        await asyncio.sleep(10)
        server.cut()
        await asyncio.sleep(600)
        served = server.connections[0].served
        assert served is not None
        assert 39 <= sum(record["type"] == 6 for record in served.received) <= 40
        assert hub.state is SessionState.READY


@simulated()
async def test_a_mistake_while_a_socket_is_replaced_ends_the_session_with_it(world: World) -> None:
    source = Source()
    async with LivingHub(stateful=True) as server, at(server, token=source, clock=world.clock) as hub, feed(hub) as ticks:
        mistake = ZeroDivisionError("in the user's own source of tokens")
        source.fail = mistake
        server.cut()
        await asyncio.wait_for(hub.closed(), 60)
        assert hub.cause is mistake
        queued(ticks)
        with pytest.raises(ZeroDivisionError):
            await anext(ticks)


@simulated()
async def test_closing_while_a_socket_is_missing_ends_at_once(world: World) -> None:
    async with LivingHub(stateful=True) as server:
        async with at(server, clock=world.clock) as hub:
            stream = hub.stream("StreamTicks", "EURUSD")
            server.answers += [503] * 100
            server.cut()
            await asyncio.sleep(1)
            began = world.clock.monotonic()
        assert world.clock.monotonic() - began < 0.1
        assert [item async for item in stream] == []
        await asyncio.sleep(20)
        assert server.connections == []


# --- chance ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("seed", range(1, 5))
@simulated()
async def test_whatever_happens_items_are_in_order_and_none_is_missing_but_at_a_gap(world: World, seed: int, stateful: bool) -> None:
    source = Source(world.clock, life=120)
    async with LivingHub(stateful=stateful, interval=0.05) as server, at(server, token=source, clock=world.clock) as hub:
        await hub.subscribe("SubscribeToTicks", "GBPUSD")
        streams = feed(hub, gaps=True, limit=100_000), pushes(hub, gaps=True, limit=100_000)
        chance = random.Random(seed)
        for _ in range(60):
            await asyncio.sleep(chance.choice([0, 0.01, 0.3, 5, 20]))
            accident = chance.choice(["cut", "cut", "forget", "renew", "refuse", "unauthorized", "call"])
            if accident == "cut":
                server.cut()
            elif accident == "forget":
                server.forget()
            elif accident == "refuse":
                server.answers += [503, 503]
            elif accident == "unauthorized":
                server.answers[:] = [401]  # of two in a row nobody but a person makes anything
            elif accident == "renew":
                with contextlib.suppress(LinkLost, NotSent, Rejected, Unreachable):
                    await hub.renew()
            else:
                assert await hub.invoke("Echo", 1, repeatable=True, timeout=600) == 1
        server.answers.clear()
        await asyncio.sleep(120)
        assert hub.state is SessionState.READY
        for stream in streams:
            before: Any = None
            for item in queued(stream):
                if isinstance(item, int) and isinstance(before, int):
                    assert item == before + 1
                before = item
            assert before == server.number
