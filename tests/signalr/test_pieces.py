"""Moments that are rare on a real network: words right behind the opening, messages in parts, mistakes in the middle of a renewal."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from typing import Any

import pytest

from tests.signalr.fake import FakeHub, Source, wire
from tests.signalr.living import LivingHub, at
from tests.signalr.test_cuts import GREETING, opening
from tests.signalr.test_staying import feed, queued
from tradesession import signalr
from tradesession.errors import InvalidRequest, NotSent, Rejected
from tradesession.protocol.handover import REMEMBERED
from tradesession.sandbox.authority import Authority
from tradesession.sandbox.simulation import World, simulated
from tradesession.secrets import Secret
from tradesession.session.states import SessionState
from tradesession.session.streams import EventStream
from tradesession.signalr.feeds import PushFeed
from tradesession.signalr.renewal import ahead
from tradesession.signalr.slots import Slots
from tradesession.tokens.token import Token
from tradesession.verdict import Action


def frame(payload: bytes, *, first: bool = True, last: bool = True) -> bytes:
    return struct.pack("!BB", (0x80 if last else 0) | (1 if first else 0), len(payload)) + payload


async def speaking(data: bytes, pause: float, world: World) -> list[Any]:
    """What comes first from a server that answers the opening with this, its parts a pause apart, and then says no more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        head, *parts = data.split(b"||")
        writer.write(opening(request) + head)
        for part in parts:
            await asyncio.sleep(pause)
            writer.write(part)
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hub"
        async with signalr.connect(signalr.Config(url, negotiate=False, clock=world.clock), token=Source()) as hub:
            async with hub.on("OnConnectionStatus") as statuses:
                seen = [await anext(statuses)]
            return [*seen, hub.state]


@simulated()
async def test_a_server_may_speak_right_behind_the_opening(world: World) -> None:
    assert await speaking(frame(GREETING), 0, world) == [{"connected": True}, SessionState.READY]


@simulated()
async def test_a_message_in_parts_is_a_sign_of_life_with_each_of_them(world: World) -> None:
    accepted, push = wire({}).encode(), GREETING.partition(b"\x1e")[2]
    parts = frame(push[:40], last=False), frame(push[40:60], first=False, last=False), frame(push[60:], first=False)
    assert await speaking(frame(accepted) + b"||".join(parts), 25, world) == [{"connected": True}, SessionState.READY]


@simulated()
async def test_a_redirect_from_https_to_http_is_not_followed(world: World, authority: Authority) -> None:
    async with FakeHub(tls=authority.server_context()) as hub, FakeHub() as other:
        hub.redirect = {"url": other.url, "accessToken": "of the other"}
        config = signalr.Config(hub.url, ca_file=authority.ca_file, clock=world.clock)
        with pytest.raises(Rejected, match="from https to http is not followed") as caught:
            async with signalr.connect(config, token=Source()):
                pass
        assert caught.value.verdict.action is Action.FATAL
        assert other.requests == []


@simulated()
async def test_a_mistake_in_the_middle_of_a_renewal_ends_the_session_with_it(world: World) -> None:
    source = Source(world.clock, life=600)
    async with LivingHub() as server, at(server, token=source, clock=world.clock) as hub:
        mistake = ZeroDivisionError("in the user's own source of tokens")
        source.fail = mistake
        await asyncio.sleep(700)
        assert hub.is_closed
        assert hub.cause is mistake


@simulated()
async def test_a_new_connection_that_ends_before_it_takes_over_is_no_renewal(world: World) -> None:
    class Closing(LivingHub):
        async def serve(self, served: Any) -> None:
            await served.send({}, {"type": 7, "error": "not now", "allowReconnect": True})
            await served.read()

    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        server.__class__ = Closing
        with pytest.raises(signalr.HubClosed, match="not now"):
            await hub.renew()
        assert hub.state is SessionState.READY
        assert await hub.invoke("Echo", 1) == 1


@simulated()
async def test_subscribing_waits_for_others_within_its_deadline(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        await hub._hub_line.asking.acquire()
        with pytest.raises(NotSent, match="within its 1 s: other subscriptions"):
            await hub.subscribe("SubscribeToTicks", "EURUSD", timeout=1)
        replaced = asyncio.create_task(hub.subscribe("SubscribeToTicks", "EURUSD"))
        await asyncio.sleep(0.1)
        hub._hub_line.asking.release()
        async with await replaced:
            assert server.connections[0].groups == {"EURUSD"}


@simulated()
async def test_a_subscription_that_meets_a_renewal_is_made_on_the_new_connection(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        server.held = {"handshake"}
        renewing = asyncio.create_task(hub.renew())
        await asyncio.sleep(1)
        await hub._hub_line.asking.acquire()
        subscribing = asyncio.create_task(hub.subscribe("SubscribeToTicks", "EURUSD"))
        await asyncio.sleep(0.1)
        server.held = set()
        await asyncio.sleep(1)
        hub._hub_line.asking.release()
        await asyncio.gather(renewing, subscribing)
        assert "EURUSD" in server.ever[1].groups


@simulated()
async def test_a_stream_whose_arguments_cannot_travel_says_so_when_its_turn_comes(world: World) -> None:
    async with LivingHub(stateful=True) as server, at(server, clock=world.clock) as hub:
        call = asyncio.create_task(hub.invoke("Hold", timeout=1))
        await asyncio.sleep(0.1)
        stream = hub.stream("StreamTicks", object())
        with pytest.raises(Exception, match="no answer came"):
            await call
        with pytest.raises(InvalidRequest):
            await anext(stream)


@simulated()
async def test_a_stream_that_begins_in_an_outage_begins_with_the_next_connection(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        server.answers += [503]
        server.cut()
        await asyncio.sleep(0.1)
        once, again = hub.stream("Count", 3), feed(hub)
        assert [item async for item in once] == [0, 1, 2]
        await asyncio.sleep(1)
        assert queued(again)


def test_a_new_side_that_brings_very_much_need_not_wait_for_the_old_one() -> None:
    stream: EventStream[int] = EventStream("ticks", limit=10_000)
    feed = PushFeed("OnTick", stream, None)
    feed.take(0, is_old=False)
    feed.begin_handover(lambda: None)
    for number in range(1, REMEMBERED + 1):
        feed.take(number, is_old=False)
    assert feed.is_aligned
    assert stream.statistics().queued == 1 + REMEMBERED
    feed.take(5, is_old=True)  # long known
    assert stream.statistics().queued == 1 + REMEMBERED


def test_whoever_left_the_line_is_not_called() -> None:
    called: list[str] = []
    slots = Slots(1)
    ways = {name: (lambda name=name: called.append(name)) for name in ("first", "second", "third")}
    for way in ways.values():
        slots.enter(way, takes=True)
    slots.leave(ways["second"])
    slots.leave(ways["first"])  # its turn has come already
    slots.give_back()
    assert called == ["first", "third"]


@pytest.mark.parametrize(("life", "seconds"), [(None, 120), (86_400, 120), (600, 90), (60, 9), (10, 2), (4, 2), (2, 1)])
def test_a_connection_is_replaced_so_long_before_its_bearer_ends_that_both_can_run_side_by_side(life: float | None, seconds: float) -> None:
    token = Token(access=Secret("a"), issued_at=1000.0, expires_at=None if life is None else 1000.0 + life)
    assert ahead(token) == pytest.approx(seconds)


async def test_a_connection_that_is_replaced_before_it_has_caught_up_with_the_one_before_it_tells_nothing_twice() -> None:
    stream: EventStream[int] = EventStream("numbers")
    pushes = PushFeed("OnNumber", stream, None)

    def bring(numbers: Iterable[int], *, is_old: bool) -> None:
        for number in numbers:
            pushes.take(number, is_old=is_old)

    bring(range(10), is_old=False)
    pushes.begin_handover(lambda: None)
    first = pushes.handover
    bring(range(10, 20), is_old=True)
    bring(range(10, 13), is_old=False)
    pushes.let_go()
    pushes.begin_handover(lambda: None)
    bring(range(13, 18), is_old=True)
    bring(range(20, 24), is_old=False)
    pushes.settle(first)
    bring([18, 19], is_old=True)  # so late that they are others
    bring(range(20, 22), is_old=True)
    pushes.let_go()
    stream.end()
    assert [number async for number in stream] == [*range(20), 18, 19, *range(20, 24)]
