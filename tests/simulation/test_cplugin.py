"""A steady stream of CPlugin's ticks through cut sockets, in virtual time."""

from __future__ import annotations

import asyncio
import itertools

import tradesession
from tradesession.cplugin import Session
from tradesession.sandbox import Sandbox
from tradesession.sandbox.cplugin import CPluginSandbox
from tradesession.sandbox.cplugin.feed import START
from tradesession.sandbox.simulation import World, simulated


class Reader:
    """Reads the stream into the numbers of its ticks; a Gap is counted."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.gaps = 0

    async def read(self, session: Session) -> None:
        async with session.mt4.stream_ticks("EURUSD", gaps=True, overflow="must_deliver") as ticks:
            async for tick in ticks:
                if isinstance(tick, tradesession.Gap):
                    self.gaps += 1
                else:
                    assert tick.last_time is not None
                    self.numbers.append(round((tick.last_time.timestamp() - START) * 1000))

    def jumps(self) -> list[tuple[int, int]]:
        """Where a tick is missing, doubled or out of order."""
        return [pair for pair in itertools.pairwise(self.numbers) if pair[1] != pair[0] + 1]


def prepared(server: CPluginSandbox) -> None:
    server.feed.numbered = True
    server.feed.interval = 0.1


@simulated()
async def test_every_tick_comes_once_through_twenty_cut_sockets_with_stateful_reconnect(world: World) -> None:
    async with Sandbox(seed=world.seed, clock=world.clock) as sandbox:
        server, reader = sandbox.cplugin, Reader()
        prepared(server)
        server.faults.stateful_reconnect = True
        async with tradesession.connect(server.config()) as session:
            reading = asyncio.create_task(reader.read(session))
            for _ in range(20):
                await world.clock.advance(world.random.uniform(2, 10))
                server.faults.drop()
            await world.clock.advance(10)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    assert (reader.gaps, reader.jumps()) == (0, [])
    assert server.journal.counts["resumed"] >= 20


@simulated()
async def test_without_it_each_cut_socket_is_one_gap(world: World) -> None:
    async with Sandbox(seed=world.seed, clock=world.clock) as sandbox:
        server, reader = sandbox.cplugin, Reader()
        prepared(server)
        async with tradesession.connect(server.config()) as session:
            reading = asyncio.create_task(reader.read(session))
            for _ in range(20):
                await world.clock.advance(60)  # long enough up for the next attempt to come soon
                server.faults.drop()
            await world.clock.advance(60)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    assert reader.gaps == 20
    assert all(after > before for before, after in itertools.pairwise(reader.numbers))


@simulated()
async def test_every_tick_comes_once_wherever_the_socket_is_cut(world: World) -> None:
    """After each number of bytes of what either side says, from the first byte of a message to well into the next one."""
    async with Sandbox(seed=world.seed, clock=world.clock, plain=True) as sandbox:
        server, reader = sandbox.cplugin, Reader()
        prepared(server)
        server.faults.stateful_reconnect = True
        async with tradesession.connect(server.config(plaintext=True)) as session:
            reading = asyncio.create_task(reader.read(session))
            for size in range(1, 161):
                await server.faults.cut(after_bytes=size)
                await world.clock.advance(2)
            for size in range(1, 41):
                await server.faults.cut(after_input_bytes=size)
                await world.clock.advance(3)  # long enough for its acknowledgements to be that many bytes
            await world.clock.advance(10)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    assert (reader.gaps, reader.jumps()) == (0, [])
    assert len(reader.numbers) >= 4000
    assert (server.journal.counts["connected"], server.journal.counts["resumed"] >= 160) == (1, True)
