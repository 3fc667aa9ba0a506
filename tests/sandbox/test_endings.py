"""Ends that meet something else under way."""

from __future__ import annotations

import asyncio

import pytest

from tests.sandbox.raw_client import PATIENCE, RawClient, TcpClient, causes, connect, connect_tcp
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox

VERSION = pb.ProtoMessage(payloadType=2104).SerializeToString()
REQUEST = len(VERSION).to_bytes(4, "big") + VERSION
GARBAGE = b"\x00\x00\x00\x01\xff"


async def tcp(sandbox: Sandbox) -> TcpClient:
    return await connect_tcp(sandbox, sandbox.ctrader.demo.host, sandbox.ctrader.demo.port)


async def test_what_was_held_back_leaves_before_the_connection_closes(sandbox: Sandbox, either: RawClient) -> None:
    await either.authenticate(sandbox)
    sandbox.ctrader.faults.glue_output = 60.0
    sandbox.ctrader.faults.client_disconnect("soon")
    if isinstance(either, TcpClient):
        assert (await either.event(pb.ProtoOAClientDisconnectEvent)).reason == "soon"
    await sandbox.clock.advance(60)
    await either.wait_closed()
    await either.aclose()
    assert await causes(sandbox) == ["disconnected by the server"]


async def test_nothing_after_a_malformed_message_is_answered(sandbox: Sandbox) -> None:
    async with await tcp(sandbox) as client:
        client.writer.write(GARBAGE + REQUEST * 3)
        assert (await client.receive()).code == "INVALID_REQUEST"
        assert await client.reader.read() == b""
    assert sandbox.ctrader.state.requests == {}


async def test_what_a_client_sends_into_a_closing_connection_is_lost(sandbox: Sandbox) -> None:
    sandbox.ctrader.faults.slice_output = 1
    async with await tcp(sandbox) as client:
        client.writer.write(GARBAGE)
        while not (sandbox.ctrader.connections and not sandbox.ctrader.connections[0].channel.is_open):
            await asyncio.sleep(0)
        client.writer.write(REQUEST)
        assert (await client.receive()).code == "INVALID_REQUEST"
        await client.wait_lost()
    assert sandbox.ctrader.state.requests == {}


async def test_replies_that_are_on_their_way_are_dropped_with_the_connection(sandbox: Sandbox) -> None:
    sandbox.ctrader.settings.latency = 5.0
    async with await connect(sandbox) as client:
        await client.send(pb.ProtoOAVersionReq())
        while not sandbox.ctrader.state.requests:
            await asyncio.sleep(0)
    assert await causes(sandbox) == ["the client"]
    await sandbox.clock.advance(10)
    assert sandbox.ctrader.connections == []


async def test_an_account_that_has_logged_out_is_not_dropped_later(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.faults.account_disconnect_after = 10.0
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    await client.request(pb.ProtoOAAccountLogoutReq(ctidTraderAccountId=account.id))
    await client.event(pb.ProtoOAAccountDisconnectEvent)
    await sandbox.clock.advance(11)
    assert await client.is_alive()
    assert client.events == []


async def test_unsupported_requests_that_name_no_account_are_refused_without_one(sandbox: Sandbox, client: RawClient) -> None:
    await client.authenticate(sandbox)
    reply = await client.request(pb.ProtoOAMarginCallListReq(ctidTraderAccountId=1))
    assert reply.message.ctidTraderAccountId == 1
    assert not (await client.request_payload(2999)).message.HasField("ctidTraderAccountId")


async def test_a_cut_after_no_bytes_is_a_cut_now(sandbox: Sandbox) -> None:
    async with await tcp(sandbox) as client:
        assert await client.is_alive()
        await sandbox.ctrader.faults.cut(after_bytes=0)
        await client.wait_lost()
    assert await causes(sandbox) == ["fault: cut"]


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_a_client_that_is_gone_is_noticed_at_once(sandbox: Sandbox, transport: str) -> None:
    client = await connect(sandbox, transport="tcp" if transport == "tcp" else "websocket")
    await client.authenticate(sandbox)
    await client.aclose()
    assert await causes(sandbox) == ["the client"]
    assert [(one.environment, one.transport) for one in sandbox.ctrader.state.closings] == [("demo", transport)]


async def test_a_websocket_client_that_does_not_answer_a_close_is_dropped_after_a_grace(sandbox: Sandbox) -> None:
    endpoint = sandbox.ctrader.demo
    async with await tcp(sandbox) as client:
        client.writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        async with asyncio.timeout(PATIENCE):
            await client.reader.readuntil(b"\r\n\r\n")
        sandbox.ctrader.faults.client_disconnect()
        await sandbox.clock.advance(1.9)
        assert len(sandbox.ctrader.connections) == 1
        await sandbox.clock.advance(0.2)
        await client.wait_closed()
    assert await causes(sandbox) == ["disconnected by the server"]
    assert endpoint == sandbox.ctrader.demo
