from __future__ import annotations

import asyncio
import ssl

import pytest
import websockets

from tests.sandbox.raw_client import PATIENCE, RawClient, TcpClient, Transport, causes, connect, connect_tcp, trust
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox
from tradesession.sandbox.authority import Flaw

VERSION = pb.ProtoMessage(payloadType=2104).SerializeToString()
REQUEST = len(VERSION).to_bytes(4, "big") + VERSION
REPLY = pb.ProtoMessage(payloadType=2105, payload=pb.ProtoOAVersionRes(version="sandbox-1").SerializeToString()).SerializeToString()
ANSWER = len(REPLY).to_bytes(4, "big") + REPLY


async def tcp(sandbox: Sandbox) -> TcpClient:
    return await connect_tcp(sandbox, sandbox.ctrader.demo.host, sandbox.ctrader.demo.port)


async def until_cut(client: TcpClient) -> bytes:
    """Everything that arrives before the end, however the end comes."""
    data = b""
    async with asyncio.timeout(PATIENCE):
        try:
            while piece := await client.reader.read(1 << 16):
                data += piece
        except (ConnectionError, ssl.SSLError):
            pass
    return data


async def test_a_refused_connection_is_refused_and_the_port_comes_back(sandbox: Sandbox) -> None:
    endpoint = sandbox.ctrader.demo
    async with await connect(sandbox) as standing:
        sandbox.ctrader.faults.refuse_connections = True
        for port in (endpoint.port, sandbox.ctrader.live.port):
            with pytest.raises(ConnectionRefusedError):
                await connect_tcp(sandbox, endpoint.host, port)
        assert await standing.is_alive()
        sandbox.ctrader.faults.refuse_connections = False
    assert sandbox.ctrader.demo == endpoint
    async with await connect(sandbox) as client:
        assert await client.is_alive()


async def test_tls_can_hang(sandbox: Sandbox) -> None:
    sandbox.ctrader.faults.tls_hang = True
    reader, writer = await asyncio.open_connection(sandbox.ctrader.demo.host, sandbox.ctrader.demo.port)
    writer.write(b"\x16\x03\x01\x00\x00")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reader.read(1)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_connections_can_be_accepted_and_closed_at_once(sandbox: Sandbox, transport: Transport) -> None:
    sandbox.ctrader.faults.accept_and_close = True
    if transport == "tcp":
        async with await tcp(sandbox) as client:
            assert await until_cut(client) == b""
    else:
        with pytest.raises((websockets.InvalidHandshake, OSError, EOFError)):
            await connect(sandbox, transport="websocket")
    assert await causes(sandbox) == ["fault: accept and close"]


@pytest.mark.parametrize(
    ("flaw", "complaint"), [("host", "mismatch"), ("authority", "unable to get|self-signed|signature"), ("expired", "expired")]
)
async def test_a_wrong_certificate_is_refused_by_a_careful_client(sandbox: Sandbox, flaw: Flaw, complaint: str) -> None:
    sandbox.ctrader.faults.wrong_certificate = flaw
    with pytest.raises(ssl.SSLCertVerificationError, match=complaint):
        await tcp(sandbox)
    sandbox.ctrader.faults.wrong_certificate = ""
    async with await tcp(sandbox) as client:
        assert await client.is_alive()


class Collector(asyncio.Protocol):
    """Keeps what the event loop hands up, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.complete = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        if len(b"".join(self.pieces)) == len(ANSWER):
            self.complete.set()


@pytest.mark.parametrize("size", [1, 3])
async def test_output_can_leave_in_pieces(sandbox: Sandbox, size: int) -> None:
    sandbox.ctrader.faults.slice_output = size
    endpoint, loop = sandbox.ctrader.demo, asyncio.get_running_loop()
    transport, collector = await loop.create_connection(Collector, endpoint.host, endpoint.port, ssl=trust(sandbox))
    transport.write(REQUEST)
    async with asyncio.timeout(PATIENCE):
        await collector.complete.wait()
    assert collector.pieces == [ANSWER[start : start + size] for start in range(0, len(ANSWER), size)]
    transport.close()


async def test_sliced_output_stays_whole_on_a_websocket(sandbox: Sandbox) -> None:
    sandbox.ctrader.faults.slice_output = 1
    async with await connect(sandbox, transport="websocket") as client:
        await client.authenticate(sandbox, sandbox.ctrader.accounts[0])
        sandbox.ctrader.faults.client_disconnect("that is all")
        assert (await client.event(pb.ProtoOAClientDisconnectEvent)).reason == "that is all"
        assert await client.wait_closed() == "1000 Bye"


async def test_output_can_be_glued_into_one_piece(sandbox: Sandbox) -> None:
    sandbox.ctrader.faults.glue_output = 5.0
    async with await tcp(sandbox) as client:
        for _ in range(3):
            client.writer.write(REQUEST)
            await sandbox.clock.advance(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await client.reader.read(1)
        await sandbox.clock.advance(3)
        async with asyncio.timeout(PATIENCE):
            assert await client.reader.read(1 << 16) == ANSWER * 3


@pytest.mark.parametrize("count", range(len(ANSWER) + 1))
async def test_a_connection_can_be_cut_after_any_byte_of_output(sandbox: Sandbox, count: int) -> None:
    sandbox.ctrader.faults.cut_output_after = count
    async with await tcp(sandbox) as client:
        client.writer.write(REQUEST)
        assert await until_cut(client) == ANSWER[:count]
    assert await causes(sandbox) == ["fault: cut"]


@pytest.mark.parametrize("count", range(len(REQUEST) + 1))
async def test_a_connection_can_be_cut_after_any_byte_of_input(sandbox: Sandbox, count: int) -> None:
    sandbox.ctrader.faults.cut_input_after = count
    async with await tcp(sandbox) as client:
        client.writer.write(REQUEST + REQUEST)
        assert await until_cut(client) == (ANSWER if count == len(REQUEST) else b"")
    assert await causes(sandbox) == ["fault: cut"]


async def test_open_connections_can_be_cut_at_once_and_new_ones_live(sandbox: Sandbox, either: RawClient) -> None:
    assert await either.is_alive()
    await sandbox.ctrader.faults.cut()
    with pytest.raises((EOFError, ConnectionError, ssl.SSLError)):
        await either.receive()
    assert await causes(sandbox) == ["fault: cut"]
    async with await connect(sandbox) as client:
        assert await client.is_alive()


async def test_open_connections_can_be_cut_after_some_more_bytes(sandbox: Sandbox) -> None:
    async with await tcp(sandbox) as one:
        assert await one.is_alive()
        await sandbox.ctrader.faults.cut(after_bytes=7)
        one.writer.write(REQUEST)
        assert await until_cut(one) == ANSWER[:7]
    async with await tcp(sandbox) as two:
        assert await two.is_alive()
        await sandbox.ctrader.faults.cut(after_input_bytes=len(REQUEST))
        two.writer.write(REQUEST * 3)
        assert await until_cut(two) == ANSWER


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_a_half_open_connection_hears_nothing_says_nothing_and_closes_nothing(sandbox: Sandbox, transport: Transport) -> None:
    async with await connect(sandbox, transport=transport) as client:
        await client.authenticate(sandbox)
        sandbox.ctrader.faults.half_open = True
        await client.send(pb.ProtoOAVersionReq())
        await sandbox.clock.advance(minutes=10)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await client.read()
        assert len(sandbox.ctrader.connections) == 1
        sandbox.ctrader.faults.half_open = False
        await sandbox.clock.advance(2)
        await client.wait_closed()


async def test_a_server_that_stops_reading_fills_the_clients_buffer(sandbox: Sandbox) -> None:
    async with await tcp(sandbox) as client:
        await client.authenticate(sandbox)
        sandbox.ctrader.faults.stop_reading = True
        for _ in range(200):
            client.writer.write(b"\x00\x00\xff\xff" + bytes(0xFFFF))
            await asyncio.sleep(0)
        transport = client.writer.transport
        stuck = transport.get_write_buffer_size()
        await sandbox.clock.advance(1)
        assert transport.get_write_buffer_size() == stuck > 1 << 20
        transport.abort()


async def test_random_bytes_can_go_out(sandbox: Sandbox) -> None:
    async with await tcp(sandbox) as client:
        assert await client.is_alive()
        sandbox.ctrader.faults.garbage(32)
        async with asyncio.timeout(PATIENCE):
            garbage = await client.reader.readexactly(32)
        assert len(set(garbage)) > 10


async def test_a_reply_can_be_garbage_or_an_announcement_of_a_huge_frame(sandbox: Sandbox) -> None:
    async with await tcp(sandbox) as client:
        sandbox.ctrader.faults.garbage_output = True
        client.writer.write(REQUEST)
        async with asyncio.timeout(PATIENCE):
            assert ANSWER not in await client.reader.readexactly(64)
        sandbox.ctrader.faults.clear()
        sandbox.ctrader.faults.oversized_frame = True
        client.writer.write(REQUEST)
        async with asyncio.timeout(PATIENCE):
            assert int.from_bytes(await client.reader.readexactly(4), "big") > 15_000_000


@pytest.mark.parametrize(("fault", "code"), [("garbage_output", 1002), ("oversized_frame", 1009)])
async def test_garbage_and_huge_messages_break_a_websocket(sandbox: Sandbox, fault: str, code: int) -> None:
    async with websockets.connect(sandbox.ctrader.demo.websocket_url, ssl=trust(sandbox)) as socket:
        setattr(sandbox.ctrader.faults, fault, True)
        await socket.send(VERSION)
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            async with asyncio.timeout(PATIENCE):
                await socket.recv()
    assert closed.value.sent is not None
    assert closed.value.sent.code == code


async def test_a_client_that_reads_nothing_is_cut_off_before_memory_runs_out(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradesession.sandbox.ctrader.channel.MAX_UNSENT", 100_000)
    async with await tcp(sandbox) as client:
        assert await client.is_alive()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # an asyncio transport for both ways
        event = pb.ProtoOAClientDisconnectEvent(reason="x" * 100_000)
        async with asyncio.timeout(PATIENCE):
            while sandbox.ctrader.connections:
                await sandbox.ctrader.push(event)
    assert await causes(sandbox) == ["the client does not read"]
