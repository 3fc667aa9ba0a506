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
        while not receiver.calls:
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
        assert receiver.calls == 1
        await transport.aclose(policy.CLOSE_TIMEOUT)


def read(transport: TcpTransport, data: bytes) -> None:
    """What the event loop does."""
    buffer = transport.get_buffer(-1)
    buffer[: len(data)] = data
    transport.buffer_updated(len(data))


WHOLE_PIECE = encode_frame(bytes(policy.READ_SIZE - 4))


async def test_a_burst_is_read_piece_by_piece_with_a_turn_for_the_readers_in_between() -> None:
    transport, wire, receiver = connected()
    read(transport, WHOLE_PIECE)
    assert wire.asked == []
    read(transport, WHOLE_PIECE)  # in the same turn
    assert wire.asked == ["pause"]
    await asyncio.sleep(0)
    assert wire.asked == ["pause", "resume"]
    assert len(receiver.frames) == 2


async def test_one_piece_a_turn_and_small_ones_are_read_without_a_pause() -> None:
    transport, wire, receiver = connected()
    for _ in range(3):
        read(transport, WHOLE_PIECE)
        read(transport, WHOLE_PIECE[:-1])
        read(transport, WHOLE_PIECE[-1:])
        await asyncio.sleep(0)
    assert "pause" not in wire.asked
    assert len(receiver.frames) == 6


async def test_a_transport_that_closes_meanwhile_is_not_told_to_read_on() -> None:
    transport, wire, _ = connected()
    read(transport, WHOLE_PIECE)
    read(transport, WHOLE_PIECE)
    wire.closing = True
    await asyncio.sleep(0)
    assert wire.asked == ["pause"]
