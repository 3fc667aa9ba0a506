"""Our WebSocket transport, and a session on it, against aiohttp's server: another library's framing, closing and HTTP, over TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from google.protobuf.message import Message

import tradesession
from tests.interop.certificates import Files
from tradesession import ctrader
from tradesession.ctrader import AccountState, registry
from tradesession.ctrader import messages as pb
from tradesession.transports.tls import tls_context
from tradesession.transports.websocket import WebSocketTransport, open_websocket

pytestmark = pytest.mark.usefixtures("leaks")

Handler = Callable[[web.WebSocketResponse], Awaitable[None]]


class Inbox:
    """A Receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.cause: asyncio.Future[tradesession.Error] = asyncio.get_running_loop().create_future()

    def received(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self.frames.put_nowait(frame)

    def lost(self, cause: tradesession.Error) -> None:
        self.cause.set_result(cause)


@asynccontextmanager
async def serving(certificate: Files, handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """An aiohttp server over TLS with this handler; its address."""
    app = web.Application()
    app.router.add_get("/", handle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    try:
        yield f"wss://127.0.0.1:{server.port}/"
    finally:
        await server.close()


def websocket(talk: Handler, *, autoping: bool = True) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler that opens a WebSocket and talks on it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        peer = web.WebSocketResponse(autoping=autoping, max_msg_size=0)
        await peer.prepare(request)
        await talk(peer)
        return peer

    return handle


async def echo(peer: web.WebSocketResponse) -> None:
    async for message in peer:
        if message.type is aiohttp.WSMsgType.BINARY:
            await peer.send_bytes(message.data)
        else:
            await peer.send_str(message.data)


@asynccontextmanager
async def connected(
    certificate: Files, handle: Callable[[web.Request], Awaitable[web.StreamResponse]], *, text: bool = False, max_frame: int = 15_000_000
) -> AsyncIterator[tuple[WebSocketTransport, Inbox]]:
    """Our transport, open, and what it receives."""
    tls = tls_context(host="127.0.0.1", ca_file=certificate.authority)
    inbox = Inbox()
    async with serving(certificate, handle) as url:
        transport = await open_websocket(url, inbox, tls=tls, text=text, max_frame=max_frame, headers={"X-Bot": "interop"})
        try:
            yield transport, inbox
        finally:
            await transport.aclose(2)


async def test_messages_of_every_length_form_come_back_as_they_were_and_in_order(certificate: Files) -> None:
    messages = [bytes([size % 251]) * size for size in (1, 125, 126, 127, 65_535, 65_536, 1 << 20)]
    async with connected(certificate, websocket(echo)) as (transport, inbox), asyncio.timeout(60):
        for message in messages:
            transport.send(message)
        assert [await inbox.frames.get() for _ in messages] == messages


async def test_text_travels_as_text(certificate: Files) -> None:
    message = '{"price": "1,08 €"}'.encode()
    async with connected(certificate, websocket(echo), text=True) as (transport, inbox), asyncio.timeout(60):
        transport.send(message)
        assert await inbox.frames.get() == message


async def test_its_pings_are_answered_with_what_they_carried(certificate: Files) -> None:
    answers: asyncio.Queue[aiohttp.WSMessage] = asyncio.Queue()

    async def ping(peer: web.WebSocketResponse) -> None:
        await peer.ping(b"are you there")
        answers.put_nowait(await peer.receive())
        await peer.receive()

    async with connected(certificate, websocket(ping, autoping=False)), asyncio.timeout(60):
        answer = await answers.get()
    assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"are you there")


async def test_its_close_ends_the_connection_with_its_code_and_reason(certificate: Files) -> None:
    async def close(peer: web.WebSocketResponse) -> None:
        await peer.close(code=4001, message=b"maintenance")

    async with connected(certificate, websocket(close)) as (_, inbox), asyncio.timeout(60):
        cause = await inbox.cause
    assert isinstance(cause, tradesession.LinkLost)
    assert "4001" in str(cause)
    assert "maintenance" in str(cause)


async def test_our_close_is_an_orderly_one_for_it(certificate: Files) -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def wait(peer: web.WebSocketResponse) -> None:
        await peer.receive()
        codes.put_nowait(peer.close_code)

    async with connected(certificate, websocket(wait)) as (transport, _), asyncio.timeout(60):
        await transport.aclose(2)
        assert await codes.get() == 1000


async def test_a_message_of_the_other_kind_ends_the_connection(certificate: Files) -> None:
    async def say_text(peer: web.WebSocketResponse) -> None:
        await peer.send_str("text")
        await peer.receive()

    async with connected(certificate, websocket(say_text)) as (_, inbox), asyncio.timeout(60):
        assert isinstance(await inbox.cause, tradesession.ProtocolError)
    assert inbox.frames.empty()


async def test_a_message_over_the_cap_ends_the_connection(certificate: Files) -> None:
    async def flood(peer: web.WebSocketResponse) -> None:
        await peer.send_bytes(b"x" * 1001)
        await peer.receive()

    async with connected(certificate, websocket(flood), max_frame=1000) as (_, inbox), asyncio.timeout(60):
        assert isinstance(await inbox.cause, tradesession.ProtocolError)
    assert inbox.frames.empty()


async def test_our_headers_arrive(certificate: Files) -> None:
    seen: list[str | None] = []

    async def look(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("X-Bot"))
        return await websocket(echo)(request)

    async with connected(certificate, look):
        pass
    assert seen == ["interop"]


@pytest.mark.parametrize("status", [302, 401, 404, 503])
async def test_an_answer_that_is_no_websocket_is_refused_with_its_status(certificate: Files, status: int) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "wss://127.0.0.1:1/"})

    with pytest.raises(tradesession.Unreachable, match=str(status)):
        async with connected(certificate, refuse):
            pytest.fail("a refused opening counts as open")


def answer_to(request: Message) -> Message:
    match request:
        case pb.ProtoOAApplicationAuthReq():
            return pb.ProtoOAApplicationAuthRes()
        case pb.ProtoOAGetAccountListByAccessTokenReq():
            account = pb.ProtoOACtidTraderAccount(ctidTraderAccountId=11)
            return pb.ProtoOAGetAccountListByAccessTokenRes(accessToken=request.accessToken, ctidTraderAccount=[account])
        case pb.ProtoOAAccountAuthReq():
            return pb.ProtoOAAccountAuthRes(ctidTraderAccountId=request.ctidTraderAccountId)
        case _:
            return pb.ProtoOAErrorRes(errorCode="UNSUPPORTED_MESSAGE")


async def test_a_session_gets_ready_over_it_and_each_message_is_one_envelope(certificate: Files) -> None:
    names: list[str] = []

    async def serve(peer: web.WebSocketResponse) -> None:
        async for message in peer:
            envelope = pb.ProtoMessage.FromString(message.data)
            request = registry.CLASSES[envelope.payloadType].FromString(envelope.payload)
            names.append(type(request).__name__)
            reply = answer_to(request)
            envelope.payloadType = registry.payload_type_of(type(reply))
            envelope.payload = reply.SerializeToString()
            await peer.send_bytes(envelope.SerializeToString())

    async with serving(certificate, websocket(serve)) as url:
        config = ctrader.Config(
            client_id="client", client_secret="client secret", access_token="access token",
            host="127.0.0.1", transport="websocket", websocket_url=url, ca_file=certificate.authority,
        )  # fmt: skip
        async with tradesession.connect(config) as session:
            state = session.accounts.only().state
    assert state is AccountState.AUTHORIZED
    assert names == ["ProtoOAApplicationAuthReq", "ProtoOAGetAccountListByAccessTokenReq", "ProtoOAAccountAuthReq"]
