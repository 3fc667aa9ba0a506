"""The fault proxy in virtual time: sessions through it, and moments that a real network hits once in a blue moon."""

from __future__ import annotations

import asyncio
import socket
from typing import Literal

import pytest

import tradesession
from tradesession.sandbox import FaultProxy, Sandbox
from tradesession.sandbox.simulation import World, simulated


@pytest.mark.parametrize("plaintext", [False, True])
@pytest.mark.parametrize("transport", ["tcp", "websocket"])
@simulated()
async def test_a_session_is_led_through_it(world: World, transport: Literal["tcp", "websocket"], plaintext: bool) -> None:
    async with Sandbox(clock=world.clock, plain=True) as sandbox:
        demo = sandbox.ctrader.demo
        port = demo.plain_port if plaintext else demo.port
        assert port is not None
        async with FaultProxy(demo.host, port, clock=world.clock) as proxy:
            proxy.faults.update(latency=0.05, slice=13)
            config = sandbox.ctrader.config(transport=transport, plaintext=plaintext, **proxy.endpoint())
            async with tradesession.connect(config) as session:
                assert 0.1 < world.clock.monotonic() < 5
                await world.clock.advance(minutes=10)
                assert session.state is tradesession.SessionState.READY
            assert proxy.statistics.connections == 1
            assert proxy.statistics.bytes_to_server > 100


class SlowServer:
    """A server that accepts when it is told to: one connection waits in its backlog, the next one outside."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(0)
        self._socket.setblocking(False)
        self.address = self._socket.getsockname()

    async def accept(self) -> socket.socket:
        accepted, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        return accepted

    def close(self) -> None:
        self._socket.close()


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("ending", ["left", "cut", "closed"])
@simulated()
async def test_a_connection_that_ends_before_its_server_is_reached_leaves_nothing(world: World, ending: str) -> None:
    server = SlowServer()
    first = socket.create_connection(server.address)
    async with FaultProxy(*server.address, clock=world.clock) as proxy:
        client = socket.create_connection(proxy.address)
        await turns()
        (connection,) = proxy.connections
        if ending == "left":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.close()
        elif ending == "cut":
            connection.cut()
        if ending != "closed":
            await turns()
            assert not connection.over.is_set()
            (await server.accept()).close()
            first.close()
            late = await server.accept()
            await turns()
            assert connection.over.is_set()
            with pytest.raises(ConnectionResetError):
                late.recv(1)
            late.close()
    assert proxy.connections == []
    for left in (client, first):
        left.close()
    server.close()


@pytest.mark.parametrize("count", range(8))
@simulated()
async def test_a_block_that_is_left_at_any_turn_leaves_nothing(world: World, count: int) -> None:
    server = SlowServer()
    async with FaultProxy(*server.address, clock=world.clock) as proxy:
        client = socket.create_connection(proxy.address)
        await turns(count)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    client.close()
    server.close()
    assert proxy.statistics.open == 0


@simulated()
async def test_who_is_gone_before_he_can_be_taken_up_is_forgotten(world: World) -> None:
    running = asyncio.get_running_loop()

    async def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("as some systems say of a socket that was reset")

    async with FaultProxy("127.0.0.1", 1, clock=world.clock) as proxy:
        running.connect_accepted_socket = refuse  # type: ignore[assignment, method-assign]
        with socket.create_connection(proxy.address):
            await turns()
            assert (proxy.connections, proxy.statistics.connections) == ([], 1)


@simulated()
async def test_a_session_comes_back_through_a_line_that_is_cut_over_and_over(world: World) -> None:
    async with Sandbox(clock=world.clock, plain=True) as sandbox:
        port = sandbox.ctrader.demo.plain_port
        assert port is not None
        async with FaultProxy("127.0.0.1", port, clock=world.clock) as proxy:
            async with tradesession.connect(sandbox.ctrader.config(plaintext=True, **proxy.endpoint())) as session:
                for _ in range(50):
                    await world.clock.advance(minutes=3)
                    states = [session.state.name]
                    assert proxy.cut() == 1
                    await turns(20)  # judged, and its connection done with
                    states.append(session.state.name)
                    assert states == ["READY", "BACKOFF"]
                    await session.ready(timeout=10)
            assert proxy.statistics.connections == 51
