from __future__ import annotations

import asyncio

import pytest
import websockets

from tests.sandbox.raw_client import PATIENCE, RawClient, TcpClient, WebSocketClient, causes, connect, connect_tcp, trust
from tradesession.ctrader import messages as pb
from tradesession.ctrader import registry
from tradesession.sandbox import Sandbox


async def tcp(sandbox: Sandbox) -> TcpClient:
    return await connect_tcp(sandbox, sandbox.ctrader.demo.host, sandbox.ctrader.demo.port)


async def web_socket(sandbox: Sandbox) -> WebSocketClient:
    return WebSocketClient(await websockets.connect(sandbox.ctrader.demo.websocket_url, ssl=trust(sandbox)))


async def test_a_payload_type_that_nobody_knows_is_refused_by_name(sandbox: Sandbox, either: RawClient) -> None:
    await either.authenticate(sandbox)
    for payload_type in (1, 2190, 2999, 2**32 - 1):
        reply = await either.request_payload(payload_type, b"\x01\x02\x03")
        assert (reply.name, reply.code) == ("ProtoOAErrorRes", "UNSUPPORTED_MESSAGE")
        assert str(payload_type) in reply.message.description
    assert await either.is_alive()


async def test_a_message_that_only_servers_send_is_refused(sandbox: Sandbox, client: RawClient) -> None:
    await client.authenticate(sandbox)
    for cls in (pb.ProtoOAVersionRes, pb.ProtoOASpotEvent, pb.ProtoOAErrorRes, pb.ProtoErrorRes):
        assert (await client.request_payload(registry.payload_type_of(cls))).code == "UNSUPPORTED_MESSAGE"


async def test_a_payload_that_does_not_parse_or_lacks_something_is_an_invalid_request(sandbox: Sandbox, either: RawClient) -> None:
    await either.authenticate(sandbox)
    trader = registry.payload_type_of(pb.ProtoOATraderReq)
    for payload in (b"\xff\xff\xff", b"", b"\x12\x05ab"):
        reply = await either.request_payload(trader, payload)
        assert (reply.code, "ProtoOATraderReq" in reply.message.description) == ("INVALID_REQUEST", True)
    assert await either.is_alive()


@pytest.mark.parametrize("garbage", [b"", b"\xff" * 40, b"\x12\x03abc", b"\x08\xb4\x10\x1a\x02\xff\xfe"])
async def test_bytes_that_are_no_envelope_end_the_connection_with_a_word(sandbox: Sandbox, either: RawClient, garbage: bytes) -> None:
    await either.write(garbage)
    reply = await either.receive()
    assert (reply.code, reply.message_id) == ("INVALID_REQUEST", "")
    assert await either.wait_closed() in ("", "1000 Bye")
    assert await causes(sandbox) == ["malformed message"]


async def test_a_frame_over_the_cap_is_refused_by_its_length_and_the_connection_closed(sandbox: Sandbox) -> None:
    sandbox.ctrader.settings.max_frame = 1000
    async with await tcp(sandbox) as client:
        assert await client.is_alive()
        client.writer.write((1001).to_bytes(4, "big"))
        assert (await client.receive()).code == "FRAME_TOO_LONG"
        await client.wait_closed()
    assert await causes(sandbox) == ["frame too long"]


@pytest.mark.parametrize(("size", "end"), [(1500, "1000 Bye"), (3000, "1009")])
async def test_a_websocket_message_over_the_cap_ends_the_connection(sandbox: Sandbox, size: int, end: str) -> None:
    sandbox.ctrader.settings.max_frame = 1000
    async with await web_socket(sandbox) as client:
        await client.write(bytes(size))
        if size < 2000:
            assert (await client.receive()).code == "FRAME_TOO_LONG"
        assert (await client.wait_closed()).startswith(end)


async def test_requests_cut_into_single_bytes_and_glued_together_are_all_answered(sandbox: Sandbox) -> None:
    version = pb.ProtoMessage(payloadType=2104, clientMsgId="v").SerializeToString()
    frame = len(version).to_bytes(4, "big") + version
    async with await tcp(sandbox) as client:
        for position in range(len(frame)):
            client.writer.write(frame[position : position + 1])
            await asyncio.sleep(0)
        client.writer.write(frame * 5)
        assert [(await client.receive()).name for _ in range(6)] == ["ProtoOAVersionRes"] * 6


async def test_a_fragmented_websocket_message_is_one_envelope(sandbox: Sandbox) -> None:
    version = pb.ProtoMessage(payloadType=2104).SerializeToString()
    async with await web_socket(sandbox) as client:
        await client.socket.send([version[:1], version[1:2], version[2:]])
        assert (await client.receive()).name == "ProtoOAVersionRes"


async def test_a_text_message_ends_a_websocket_with_unsupported_data(sandbox: Sandbox) -> None:
    async with await web_socket(sandbox) as client:
        await client.socket.send('{"payloadType":2104}')
        assert (await client.wait_closed()).startswith("1003")


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GARBAGE\r\n\r\n"])
async def test_http_that_is_no_websocket_is_turned_away(sandbox: Sandbox, request_: bytes) -> None:
    async with await tcp(sandbox) as client:
        client.writer.write(request_)
        async with asyncio.timeout(PATIENCE):
            answer = await client.reader.read()
        assert b"101" not in answer.split(b"\r\n")[0]


async def test_tcp_and_websocket_share_the_port(sandbox: Sandbox) -> None:
    assert sandbox.ctrader.demo.websocket_url.endswith(f":{sandbox.ctrader.demo.port}")
    async with await connect(sandbox, transport="tcp") as one, await connect(sandbox, transport="websocket") as two:
        assert await one.is_alive()
        assert await two.is_alive()
        assert sorted(connection.channel.transport_name for connection in sandbox.ctrader.connections) == ["tcp", "websocket"]


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_plain_ports_speak_the_same_without_tls(transport: str) -> None:
    async with Sandbox(plain=True) as sandbox:
        port = sandbox.ctrader.live.plain_port
        if transport == "tcp":
            client: RawClient = TcpClient(*await asyncio.open_connection("127.0.0.1", port))
        else:
            client = WebSocketClient(await websockets.connect(f"ws://127.0.0.1:{port}"))
        async with client:
            await client.authenticate(sandbox, sandbox.ctrader.accounts[3])


async def test_a_client_that_speaks_no_tls_is_turned_away(sandbox: Sandbox) -> None:
    reader, writer = await asyncio.open_connection(sandbox.ctrader.demo.host, sandbox.ctrader.demo.port)
    writer.write(b"\x00\x00\x00\x02\x08\x33")
    async with asyncio.timeout(PATIENCE):
        await reader.read()
    writer.close()
    await writer.wait_closed()
    assert (sandbox.ctrader.state.failed_handshakes, sandbox.ctrader.state.opened) == (1, 0)
