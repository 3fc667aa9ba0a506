"""How a transport reads: what counts as a sign of life, and the turn that readers get between large reads."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.transports.peers import Listener, Recorder
from tradesession import policy
from tradesession.protocol.framing import encode_frame
from tradesession.timing import SYSTEM_CLOCK
from tradesession.transports.tcp import TcpTransport, open_tcp
from tradesession.transports.websocket import open_websocket

pytestmark = pytest.mark.usefixtures("leaks")


class Wire(asyncio.Transport):
    """What a loop's transport is asked to do with reading."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.closing = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.asked.append("pause")

    def resume_reading(self) -> None:
        self.asked.append("resume")


def connected() -> tuple[TcpTransport, Wire, Recorder]:
    receiver, wire = Recorder(), Wire()
    transport = TcpTransport(receiver, SYSTEM_CLOCK, policy.MAX_FRAME)
    transport.connection_made(wire)
    return transport, wire, receiver


async def test_a_piece_of_a_frame_is_a_sign_of_life() -> None:
    async with Listener() as listener:
        receiver = Recorder()
        transport = await open_tcp("127.0.0.1", listener.port, receiver, tls=None)
        peer = await listener.accept()
        peer.send(encode_frame(b"slow")[:5])
        while not receiver.heard_count:
            await asyncio.sleep(0)
        assert receiver.frames == []
        await transport.aclose(policy.CLOSE_TIMEOUT)


async def test_a_websocket_ping_is_no_sign_of_life_and_a_message_is() -> None:
    async def handler(connection: ServerConnection) -> None:
        await (await connection.ping())  # until the pong
        await connection.send(b"after the ping")
        await connection.wait_closed()

    async with serve(handler, "127.0.0.1", 0) as server:
        receiver = Recorder()
        port = next(iter(server.sockets)).getsockname()[1]
        transport = await open_websocket(f"ws://127.0.0.1:{port}", receiver, tls=None)
        assert await receiver.have(1) == [b"after the ping"]
        assert receiver.heard_count == 1
        await transport.aclose(policy.CLOSE_TIMEOUT)


async def test_after_a_large_read_everybody_has_a_turn_before_the_next() -> None:
    transport, wire, receiver = connected()
    turns: list[list[str]] = []
    asyncio.get_running_loop().call_soon(lambda: turns.append(list(wire.asked)))
    transport.data_received(encode_frame(bytes(policy.LARGE_READ)))
    assert wire.asked == ["pause"]
    assert len(receiver.frames) == 1
    await asyncio.sleep(0)
    assert turns == [["pause"]]
    assert wire.asked == ["pause", "resume"]


async def test_small_reads_follow_each_other_without_a_pause() -> None:
    transport, wire, receiver = connected()
    for _ in range(10):
        transport.data_received(encode_frame(bytes(1000)))
    await asyncio.sleep(0)
    assert wire.asked == []
    assert len(receiver.frames) == 10


async def test_a_transport_that_closes_meanwhile_is_not_told_to_read_on() -> None:
    transport, wire, _ = connected()
    transport.data_received(encode_frame(bytes(policy.LARGE_READ)))
    wire.closing = True
    await asyncio.sleep(0)
    assert wire.asked == ["pause"]
