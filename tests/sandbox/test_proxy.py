"""The fault proxy between plain streams: what passes, what does not, and when."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import pytest

from tests.leaks import Leaks
from tests.transports.peers import Listener, Peer
from tradesession.errors import ConfigurationError
from tradesession.sandbox import FaultProxy
from tradesession.sandbox.authority import Authority
from tradesession.sandbox.proxy import Direction, Ending
from tradesession.timing import AdjustableClock

PATIENCE = 60.0

DIRECTIONS: list[Direction] = ["to_client", "to_server"]


@pytest.fixture
def clock() -> AdjustableClock:
    return AdjustableClock()


class Line:
    """Both ends of a connection through the proxy."""

    def __init__(self, client: Peer, server: Peer) -> None:
        self.client = client
        self.server = server

    def ends(self, direction: Direction) -> tuple[Peer, Peer]:
        """Who sends and who receives."""
        return (self.server, self.client) if direction == "to_client" else (self.client, self.server)


class Stage:
    """A server, a proxy before it, and the clients that came; all of it ends with the block."""

    def __init__(self, clock: AdjustableClock, **options: Any) -> None:
        self._clock = clock
        self._options = options
        self._clients: list[Peer] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.server = await self._stack.enter_async_context(Listener())
        self.proxy = await self._stack.enter_async_context(FaultProxy("127.0.0.1", self.server.port, clock=self._clock, **self._options))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for client in self._clients:
            client.close()
        await self._stack.aclose()
        for client in self._clients:
            with contextlib.suppress(ConnectionError):
                await client.writer.wait_closed()

    async def connect(self) -> Peer:
        client = Peer(*await asyncio.open_connection(*self.proxy.address))
        self._clients.append(client)
        return client

    async def line(self) -> Line:
        async with asyncio.timeout(PATIENCE):
            return Line(await self.connect(), await self.server.accept())


@pytest.fixture
async def stage(leaks: Leaks, clock: AdjustableClock) -> AsyncIterator[Stage]:
    async with Stage(clock) as stage:
        yield stage


@pytest.fixture
def proxy(stage: Stage) -> FaultProxy:
    return stage.proxy


@pytest.fixture
async def line(stage: Stage) -> Line:
    return await stage.line()


async def receive(peer: Peer, count: int) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await peer.receive(count)


async def rest(peer: Peer) -> bytes | type[ConnectionResetError]:
    """Everything to the end of the stream; ConnectionResetError in its place when there is none."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await peer.rest()
        except ConnectionResetError:
            return ConnectionResetError


async def arrived(peer: Peer, turns: int = 50) -> bytes:
    """What has arrived within some turns of the loop."""
    reading = asyncio.create_task(peer.reader.read(1 << 20))
    for _ in range(turns):
        await asyncio.sleep(0)
    if not reading.done():
        reading.cancel()
        await asyncio.wait([reading])
        return b""
    return reading.result()


async def gone(proxy: FaultProxy) -> None:
    async with asyncio.timeout(PATIENCE):
        while proxy.connections:
            await asyncio.sleep(0)


# --- without a fault ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_everything_passes_unchanged_up_to_the_end_of_the_stream(line: Line, proxy: FaultProxy, direction: Direction) -> None:
    sender, receiver = line.ends(direction)
    data = bytes(range(256)) * 10_000
    sender.send(data)
    sender.finish()
    assert await rest(receiver) == data
    receiver.send(b"the other half goes on")
    receiver.finish()
    assert await rest(sender) == b"the other half goes on"
    await gone(proxy)


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_a_close_passes(line: Line, proxy: FaultProxy, direction: Direction) -> None:
    sender, receiver = line.ends(direction)
    sender.send(b"goodbye")
    sender.close()
    assert await rest(receiver) == b"goodbye"
    receiver.close()
    await gone(proxy)


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_a_reset_passes(line: Line, proxy: FaultProxy, direction: Direction) -> None:
    sender, receiver = line.ends(direction)
    sender.reset()
    assert await rest(receiver) is ConnectionResetError
    await gone(proxy)


async def test_a_server_that_is_not_there_resets_the_client(stage: Stage, proxy: FaultProxy) -> None:
    await stage.server.__aexit__(None, None, None)
    client = await stage.connect()
    assert await rest(client) is ConnectionResetError
    await gone(proxy)
    assert (proxy.statistics.connections, proxy.statistics.unreachable, proxy.statistics.open) == (1, 1, 0)


async def test_bytes_and_connections_are_counted(proxy: FaultProxy, stage: Stage) -> None:
    first, second = await stage.line(), await stage.line()
    first.client.send(b"12345")
    second.server.send(b"123")
    assert (await receive(first.server, 5), await receive(second.client, 3)) == (b"12345", b"123")
    assert [one.number for one in proxy.connections] == [1, 2]
    assert [(one.bytes_to_client, one.bytes_to_server) for one in proxy.connections] == [(0, 5), (3, 0)]
    first.client.reset()
    async with asyncio.timeout(PATIENCE):
        await proxy.connections[0].over.wait()
    statistics = proxy.statistics
    assert (statistics.connections, statistics.open, statistics.bytes_to_client, statistics.bytes_to_server) == (2, 1, 3, 5)


async def test_a_peer_that_does_not_read_holds_up_the_other_one(line: Line) -> None:
    line.client.send(b"x" * (32 << 20))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await line.client.writer.drain()
    assert len(await receive(line.server, 32 << 20)) == 32 << 20


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, 100])
async def test_nothing_is_left_when_the_block_is_left(clock: AdjustableClock, leaks: Leaks, turns: int) -> None:
    async with Stage(clock) as stage:
        client = await stage.connect()
        for _ in range(turns):  # accepted, taken up, connecting, connected
            await asyncio.sleep(0)
        await stage.proxy.__aexit__(None, None, None)
        assert stage.proxy.connections == []
        assert await rest(client) is ConnectionResetError
        with pytest.raises(ConnectionRefusedError):
            await stage.connect()


# --- late, and in pieces ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_latency_delays_everything_also_the_end(line: Line, proxy: FaultProxy, clock: AdjustableClock, direction: Direction) -> None:
    proxy.faults.latency = 10
    sender, receiver = line.ends(direction)
    sender.send(b"late")
    assert await arrived(receiver) == b""
    await clock.advance(5)
    sender.finish()
    assert await arrived(receiver) == b""
    await clock.advance(5)
    assert await arrived(receiver) == b"late"
    assert not receiver.reader.at_eof()
    await clock.advance(5)
    assert await rest(receiver) == b""


async def times_of_arrival(seed: int, count: int = 20) -> list[int]:
    clock, times = AdjustableClock(), list[int]()
    async with Stage(clock, seed=seed) as stage:
        line = await stage.line()
        stage.proxy.faults.update(latency=100, jitter=1000)
        for number in range(count):
            line.client.send(bytes([number]))
            assert await arrived(line.server) == b""
        received = b""
        for second in range(1, 1101):
            await clock.advance(1)
            data = await arrived(line.server, turns=2)
            times += [second] * len(data)
            received += data
        assert received == bytes(range(count))
    return times


async def test_jitter_comes_from_the_seed_and_keeps_the_order(leaks: Leaks) -> None:
    first = await times_of_arrival(seed=1)
    again = await times_of_arrival(seed=1)
    assert all(abs(a - b) <= 2 for a, b in zip(first, again, strict=True))  # the clock runs on while the test does
    assert len(set(first)) > 2
    assert min(first) >= 99
    assert await times_of_arrival(seed=2) != first


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_slices_are_read_one_by_one(line: Line, proxy: FaultProxy, size: int) -> None:
    proxy.faults.slice = size
    data = bytes(range(100)) * 2
    line.client.send(data)
    line.client.finish()
    pieces = []
    async with asyncio.timeout(PATIENCE):
        while piece := await line.server.reader.read(1 << 16):
            pieces.append(piece)
    assert b"".join(pieces) == data
    assert {len(piece) for piece in pieces[:-1]} <= {size}


async def test_bandwidth_lets_so_many_bytes_through_a_second(line: Line, proxy: FaultProxy, clock: AdjustableClock) -> None:
    proxy.faults.bandwidth = 1000
    line.server.send(b"x" * 5000)
    await arrived(line.client, turns=5)
    seen = 0
    for _ in range(4):
        await clock.advance(1)
        seen += len(await arrived(line.client))
    assert 4000 <= seen < 4500
    proxy.faults.bandwidth = 5.0
    line.server.send(b"y" * 2)
    await arrived(line.client, turns=5)
    await clock.advance(2)
    assert (await receive(line.client, 5002 - seen))[-2:] == b"yy"


# --- silence ----------------------------------------------------------------------------------------------------------------------------


async def test_a_half_open_connection_swallows_both_ways_and_stays_open_for_good(line: Line, proxy: FaultProxy) -> None:
    proxy.faults.half_open = True
    line.client.send(b"lost")
    line.server.send(b"lost")
    assert (await arrived(line.server), await arrived(line.client)) == (b"", b"")
    proxy.faults.clear()
    line.client.send(b"lost too")
    assert await arrived(line.server) == b""
    assert [one.is_half_open for one in proxy.connections] == [True]
    line.client.close()
    assert await arrived(line.server) == b""
    assert not line.server.reader.at_eof()
    line.server.reset()
    await gone(proxy)


async def test_a_half_open_connection_that_has_lost_nothing_goes_on(line: Line, proxy: FaultProxy) -> None:
    proxy.faults.half_open = True
    proxy.faults.half_open = False
    line.client.send(b"heard")
    assert await receive(line.server, 5) == b"heard"


async def test_the_reset_of_a_half_open_peer_is_not_told(line: Line, proxy: FaultProxy) -> None:
    proxy.faults.half_open = True
    line.server.reset()
    assert await arrived(line.client) == b""
    assert not line.client.reader.at_eof()
    line.client.close()
    await gone(proxy)


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_deafness_fills_the_senders_buffers_until_it_ends(line: Line, proxy: FaultProxy, direction: Direction) -> None:
    sender, receiver = line.ends(direction)
    name = "deaf_to_client" if direction == "to_server" else "deaf_to_server"
    proxy.faults.update(**{name: True})
    sender.send(b"x" * (32 << 20))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await sender.writer.drain()
    assert await arrived(receiver) == b""
    receiver.send(b"the other way is free")
    assert await receive(sender, 21) == b"the other way is free"
    proxy.faults.update(**{name: False})
    assert len(await receive(receiver, 32 << 20)) == 32 << 20


async def test_a_blackhole_swallows_everything_and_asks_no_server(proxy: FaultProxy, stage: Stage) -> None:
    proxy.faults.blackhole = True
    client = await stage.connect()
    client.send(b"is anybody there?")
    assert await arrived(client) == b""
    assert not client.reader.at_eof()
    assert proxy.connections[0].is_blackhole
    proxy.faults.blackhole = False
    line = await stage.line()
    line.client.send(b"hello")
    assert await receive(line.server, 5) == b"hello"
    client.close()
    async with asyncio.timeout(PATIENCE):
        await proxy.connections[0].over.wait()


async def test_who_is_not_accepted_waits_until_he_is(proxy: FaultProxy, stage: Stage) -> None:
    proxy.faults.unaccepted = True
    client = await stage.connect()
    client.send(b"hello")
    assert await arrived(client) == b""
    assert proxy.statistics.connections == 0
    proxy.faults.unaccepted = False
    async with asyncio.timeout(PATIENCE):
        peer = await stage.server.accept()
    assert await receive(peer, 5) == b"hello"


async def test_connections_are_refused_and_later_taken_on_the_same_port(proxy: FaultProxy, stage: Stage, line: Line) -> None:
    port = proxy.port
    proxy.faults.refuse = True
    with pytest.raises(ConnectionRefusedError):
        await stage.connect()
    line.client.send(b"what stands is not touched")
    assert await receive(line.server, 26) == b"what stands is not touched"
    proxy.faults.refuse = False
    assert proxy.port == port
    await stage.line()


# --- cuts -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "seen"), [("reset", ConnectionResetError), ("finish", b"")])
async def test_every_open_connection_is_cut(proxy: FaultProxy, stage: Stage, ending: Ending, seen: object) -> None:
    lines = [await stage.line() for _ in range(2)]
    assert proxy.cut(ending=ending) == 2
    for line in lines:
        assert [await rest(line.client), await rest(line.server)] == [seen, seen]
        line.client.close()
        line.server.close()
    await gone(proxy)
    assert proxy.cut() == 0


async def test_one_connection_is_cut_at_a_moment(proxy: FaultProxy, stage: Stage, clock: AdjustableClock) -> None:
    first, second = await stage.line(), await stage.line()
    proxy.connections[0].cut(after=3)
    await clock.advance(2)
    first.client.send(b"still there")
    assert await receive(first.server, 11) == b"still there"
    await clock.advance(2)
    assert await rest(first.client) is ConnectionResetError
    second.client.send(b"not touched")
    assert await receive(second.server, 11) == b"not touched"
    assert proxy.cut(after=3) == 1
    second.client.reset()
    await gone(proxy)
    await clock.advance(5)  # its timer went with it


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_a_connection_is_cut_when_so_many_more_bytes_have_passed(
    line: Line, proxy: FaultProxy, direction: Direction, count: int
) -> None:
    sender, receiver = line.ends(direction)
    sender.send(b"before")
    assert await receive(receiver, 6) == b"before"
    proxy.cut(ending="finish", **{direction: count})  # type: ignore[arg-type]  # one of two names
    sender.send(b"12")
    sender.send(b"345")
    assert await rest(receiver) == b"12345"[:count]
    await gone(proxy)


@pytest.mark.parametrize("count", [0, 1, 4, 5])
@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_every_new_connection_is_cut_at_a_byte_while_the_switch_says_so(
    proxy: FaultProxy, stage: Stage, direction: Direction, count: int
) -> None:
    proxy.faults.update(**{f"cut_{direction}": count})
    for _ in range(2):
        line = await stage.line()
        sender, receiver = line.ends(direction)
        sender.send(b"12345")
        seen = b"" if count == 0 else await receive(receiver, count)
        assert seen == b"12345"[:count]
        assert await rest(receiver) is ConnectionResetError
        await gone(proxy)
    proxy.faults.clear()
    line = await stage.line()
    line.client.send(b"1234567")
    assert await receive(line.server, 7) == b"1234567"


async def test_switches_can_be_for_the_next_connection_alone(proxy: FaultProxy, stage: Stage) -> None:
    proxy.once(cut_to_server=2, ending="finish")
    proxy.once(slice=1)
    first, second, third = [await stage.line() for _ in range(3)]
    first.client.send(b"12345")
    assert await rest(first.server) == b"12"
    second.client.send(b"ab")
    assert await second.server.reader.read(100) == b"a"
    third.client.send(b"ab")
    assert await third.server.reader.read(100) == b"ab"


async def test_a_cut_towards_one_side_leaves_the_other_half_open(line: Line, proxy: FaultProxy) -> None:
    proxy.cut(side="client")
    assert await rest(line.client) is ConnectionResetError
    line.server.send(b"to nobody")
    assert await arrived(line.server) == b""
    assert not line.server.reader.at_eof()
    assert len(proxy.connections) == 1
    proxy.connections[0].cut(side="server", ending="finish")
    assert await rest(line.server) in (b"", ConnectionResetError)  # what it sent may be unread
    line.server.close()
    await gone(proxy)


# --- garbage ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_garbage_comes_at_a_byte_or_now(line: Line, proxy: FaultProxy, direction: Direction) -> None:
    sender, receiver = line.ends(direction)
    assert proxy.garbage(b"<now>", direction=direction) == 1
    proxy.garbage(b"<at 4>", direction=direction, after_bytes=4)
    proxy.garbage(b"<at 2>", direction=direction, after_bytes=2)
    sender.send(b"123")
    sender.send(b"456")
    assert await receive(receiver, 23) == b"<now>12<at 2>34<at 4>56"
    assert proxy.statistics.bytes_to_client + proxy.statistics.bytes_to_server == 6


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_garbage_comes_in_every_new_connection_and_from_the_seed(clock: AdjustableClock, leaks: Leaks, direction: Direction) -> None:
    seen = []
    for seed in (1, 1, 2):
        async with Stage(clock, seed=seed) as stage:
            stage.proxy.faults.update(**{f"garbage_{direction}": 3})
            line = await stage.line()
            sender, receiver = line.ends(direction)
            sender.send(b"abcdef")
            seen.append(await receive(receiver, 70))
    assert all(data.startswith(b"abc") and data.endswith(b"def") for data in seen)
    assert seen[0] == seen[1] != seen[2]


# --- switches ---------------------------------------------------------------------------------------------------------------------------


async def test_a_switch_of_one_connection_leaves_the_others_alone(proxy: FaultProxy, stage: Stage) -> None:
    proxy.faults.latency = 1
    first, second = await stage.line(), await stage.line()
    proxy.connections[0].faults.half_open = True
    proxy.connections[1].faults.latency = 0
    first.client.send(b"lost")
    second.client.send(b"heard")
    assert await receive(second.server, 5) == b"heard"
    assert await arrived(first.server) == b""
    proxy.faults.latency = 2
    assert [one.faults.latency for one in proxy.connections] == [2, 2]


@pytest.mark.parametrize(("name", "value"), [("latency", -1), ("slice", -1), ("cut_to_client", -5)])
async def test_a_number_below_nothing_is_refused(proxy: FaultProxy, name: str, value: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}={value} is below 0"):
        setattr(proxy.faults, name, value)


async def test_what_is_no_switch_is_refused(proxy: FaultProxy) -> None:
    with pytest.raises(ConfigurationError, match="'lag' is no switch here; there are latency, jitter"):
        proxy.faults.update(lag=1)
    with pytest.raises(ConfigurationError, match="'lag' is no switch"):
        proxy.once(lag=1)
    with pytest.raises(ConfigurationError, match="no switches of one connection"):
        proxy.once(refuse=True)


async def test_only_loopback_is_listened_on_and_a_taken_port_is_named(leaks: Leaks) -> None:
    with pytest.raises(ConfigurationError, match=r"listen_on='0\.0\.0\.0' is not a loopback address"):
        FaultProxy("127.0.0.1", 1, listen_on="0.0.0.0")
    async with FaultProxy("127.0.0.1", 1) as proxy:
        proxy.faults.refuse = True
        async with Listener() as other:
            proxy.port = other.port
            with pytest.raises(ConfigurationError, match=f"the proxy cannot listen on 127.0.0.1:{other.port}"):
                proxy.faults.refuse = False


async def test_tls_passes_untouched(authority: Authority, leaks: Leaks) -> None:
    async with Listener(authority.server_context()) as server, FaultProxy("127.0.0.1", server.port) as proxy:
        proxy.faults.slice = 7
        trust = ssl.create_default_context(cafile=authority.ca_file)
        opening = asyncio.create_task(asyncio.open_connection(*proxy.address, ssl=trust))
        peer = await server.accept()
        _, writer = await opening
        writer.write(b"hello")
        assert await receive(peer, 5) == b"hello"
        writer.transport.abort()
        await gone(proxy)
