"""WebSocket against a foreign server, and against one that plays tricks."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import logging
import logging.config
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Frame, Opcode

from tests.transports.peers import Listener, Peer, Recorder
from tradesession import policy
from tradesession.errors import CertificateRefused, ConfigurationError, LinkLost, ProtocolError, Unreachable
from tradesession.sandbox.authority import Authority
from tradesession.secrets import Secret
from tradesession.timing import AdjustableClock
from tradesession.transports.tls import tls_context
from tradesession.transports.websocket import WebSocketTransport, open_websocket

pytestmark = pytest.mark.usefixtures("leaks")

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None, **options: object) -> AsyncIterator[int]:
    """The `websockets` library's server; the port."""
    server: Server
    async with serve(handler, "127.0.0.1", 0, ssl=tls, **options) as server:  # type: ignore[arg-type]  # options of all types
        yield next(iter(server.sockets)).getsockname()[1]


async def opened(port: int, receiver: Recorder | None = None, **options: object) -> WebSocketTransport:
    return await open_websocket(f"ws://127.0.0.1:{port}", receiver or Recorder(), tls=None, **options)  # type: ignore[arg-type]


async def until_closed(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


# --- messages -----------------------------------------------------------------------------------------------------------------------


async def test_one_binary_message_is_one_frame_both_ways() -> None:
    seen: list[str | bytes] = []

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            seen.append(message)
            await connection.send(message)

    async with serving(handler) as port:
        receiver = Recorder()
        transport = await opened(port, receiver)
        for frame in (b"one", b"", bytes(70_000)):
            transport.send(frame)
        assert await receiver.have(3) == [b"one", b"", bytes(70_000)]
        assert seen == receiver.frames
        assert all(type(frame) is bytes for frame in receiver.frames)
        await transport.aclose(policy.CLOSE_TIMEOUT)


async def test_text_messages_where_text_is_agreed() -> None:
    async with serving(echo) as port:
        receiver = Recorder()
        transport = await opened(port, receiver, text=True)
        transport.send("grün".encode())
        assert await receiver.have(1) == ["grün".encode()]
        await transport.aclose(policy.CLOSE_TIMEOUT)


async def test_over_tls_with_the_certificate_verified(authority: Authority) -> None:
    async with serving(echo, authority.server_context()) as port:
        receiver = Recorder()
        url = f"wss://localhost:{port}/"
        transport = await open_websocket(url, receiver, tls=tls_context(host="localhost", ca_file=authority.ca_file))
        transport.send(b"hello")
        assert await receiver.have(1) == [b"hello"]
        await transport.aclose(policy.CLOSE_TIMEOUT)
        with pytest.raises(CertificateRefused):
            await open_websocket(url, Recorder(), tls=tls_context(host="localhost"))


async def test_a_fragmented_message_is_one_frame() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send([b"a", b"", b"b", b"c"])
        await connection.send(b"whole")
        await connection.wait_closed()

    async with serving(handler) as port:
        receiver = Recorder()
        transport = await opened(port, receiver)
        assert await receiver.have(2) == [b"abc", b"whole"]
        await transport.aclose(policy.CLOSE_TIMEOUT)


async def test_pings_are_answered_also_between_fragments_and_pings_and_pongs_are_no_frames() -> None:
    ponged = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            await (await connection.ping(b"x"))
            ponged.set()
            yield b"b"

        await connection.pong(b"unasked")
        await connection.send(parts())
        await connection.wait_closed()

    async with serving(handler) as port:
        receiver = Recorder()
        transport = await opened(port, receiver)
        assert await receiver.have(1) == [b"ab"]
        assert ponged.is_set()
        await transport.aclose(policy.CLOSE_TIMEOUT)


async def test_a_message_of_the_other_kind_ends_the_connection() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(await connection.recv() and "text")
        await connection.wait_closed()

    async with serving(handler) as port:
        receiver = Recorder()
        (await opened(port, receiver)).send(b"go")
        cause = await receiver.end()
        assert isinstance(cause, ProtocolError)
        assert str(cause) == "the peer sent a TEXT message where BINARY messages are agreed"


async def test_a_message_over_the_cap_ends_the_connection_also_in_fragments() -> None:
    for message in (bytes(101), [bytes(60), bytes(41)]):

        async def handler(connection: ServerConnection, message: bytes | list[bytes] = message) -> None:
            await connection.send(bytes(100))
            await connection.send(message)
            await connection.wait_closed()

        async with serving(handler) as port:
            receiver = Recorder()
            await opened(port, receiver, max_frame=100)
            cause = await receiver.end()
            assert isinstance(cause, ProtocolError)
            assert "over" in str(cause) or "exceed" in str(cause)
            assert receiver.frames == [bytes(100)]


async def test_compression_is_not_offered() -> None:
    offered: list[str | None] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        offered.append(connection.request.headers.get("Sec-WebSocket-Extensions"))
        await connection.wait_closed()

    async with serving(handler) as port:
        transport = await opened(port)
        await transport.aclose(policy.CLOSE_TIMEOUT)
    assert offered == [None]


# --- the end ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (1000, "Bye", "the server closed the WebSocket with code 1000 'Bye'"),
        (1001, "", "the server closed the WebSocket with code 1001"),
        (4321, "maintenance", "the server closed the WebSocket with code 4321 'maintenance'"),
    ],
)
async def test_a_close_by_the_server_is_told_with_code_and_reason_and_what_came_before(code: int, reason: str, told: str) -> None:
    closed: list[object] = []

    async def handler(connection: ServerConnection) -> None:
        await connection.send(b"last")
        await connection.close(code, reason)
        closed.append(connection.protocol.close_code)

    async with serving(handler) as port:
        receiver = Recorder()
        transport = await opened(port, receiver)
        cause = await receiver.end()
        assert isinstance(cause, LinkLost)
        assert str(cause) == told
        assert receiver.frames == [b"last"]
        transport.send(b"nobody")
        await transport.aclose(policy.CLOSE_TIMEOUT)
        assert len(receiver.causes) == 1
    assert closed == [code]


async def test_a_connection_that_ends_without_a_close_is_told_as_that() -> None:
    async def handler(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with serving(handler) as port:
        receiver = Recorder()
        await opened(port, receiver)
        assert str(await receiver.end()) == "the server closed the connection without a WebSocket close"


async def test_our_goodbye_arrives_as_code_1000_even_while_the_server_goes_on_sending() -> None:
    ended: list[BaseException] = []

    async def handler(connection: ServerConnection) -> None:
        try:
            while True:
                await connection.send(bytes(1000))
        except ConnectionClosedOK as error:
            ended.append(error)

    async with serving(handler) as port:
        receiver = Recorder()
        transport = await opened(port, receiver)
        await receiver.have(20)
        await transport.aclose(policy.CLOSE_TIMEOUT)
        count = len(receiver.frames)
        assert [str(cause) for cause in receiver.causes] == ["closed by this side"]
    assert [str(error) for error in ended] == ["received 1000 (OK); then sent 1000 (OK)"]
    assert len(receiver.frames) == count


async def test_a_server_that_does_not_answer_the_goodbye_is_cut_at_the_deadline() -> None:
    clock = AdjustableClock()
    async with Listener() as listener:
        opening = asyncio.ensure_future(opened(listener.port, clock=clock))
        peer = await upgraded(await listener.accept())
        transport = await opening
        closing = asyncio.ensure_future(transport.aclose(2))
        assert await peer.receive(8)  # a close frame with its mask and code
        await clock.advance(1.9)
        assert not closing.done()
        await clock.advance(0.2)
        await closing
        assert await peer.rest() == b""


async def test_a_close_before_the_opening_was_answered_says_no_goodbye() -> None:
    async with Listener() as listener:
        receiver = Recorder()
        opening = asyncio.ensure_future(opened(listener.port, receiver))
        peer = await listener.accept()
        await peer.until(b"\r\n\r\n")
        (transport,) = (item for item in gc.get_objects() if type(item) is WebSocketTransport and not item.is_lost)
        await transport.aclose(policy.CLOSE_TIMEOUT)
        assert await peer.rest() == b""
        opening.cancel()
        await asyncio.wait([opening])
        assert [str(cause) for cause in receiver.causes] == ["closed by this side"]


async def test_a_server_that_breaks_the_protocol_after_our_goodbye_changes_nothing() -> None:
    async with Listener() as listener:
        receiver = Recorder()
        opening = asyncio.ensure_future(opened(listener.port, receiver))
        peer = await upgraded(await listener.accept())
        transport = await opening
        closing = asyncio.ensure_future(transport.aclose(60))
        await peer.receive(8)
        peer.send(b"\xff\xff\xff\xff")
        await closing
        assert [str(cause) for cause in receiver.causes] == ["closed by this side"]


async def test_what_breaks_the_protocol_ends_the_connection() -> None:
    async with Listener() as listener:
        receiver = Recorder()
        opening = asyncio.ensure_future(opened(listener.port, receiver))
        peer = await upgraded(await listener.accept())
        await opening
        peer.send(b"\xff\xff\xff\xff")
        cause = await receiver.end()
        assert isinstance(cause, ProtocolError)
        assert "broke the WebSocket protocol" in str(cause)


async def test_an_end_in_the_middle_of_a_message_raises_nothing_in_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    async with Listener() as listener:
        receiver = Recorder()
        opening = asyncio.ensure_future(opened(listener.port, receiver))
        peer = await upgraded(await listener.accept())
        await opening
        peer.send(b"\x82\x7e\x01")
        peer.close()
        assert isinstance(await receiver.end(), LinkLost)
    assert caplog.records == []


async def test_a_message_that_the_receiver_refuses_ends_the_connection_and_the_next_one_is_nobodys() -> None:
    async with Listener() as listener:
        receiver = Recorder()
        receiver.refuse = ProtocolError("no envelope")
        opening = asyncio.ensure_future(opened(listener.port, receiver))
        peer = await upgraded(await listener.accept())
        await opening
        peer.send(message(b"one") + message(b"two"))
        assert await receiver.end() is receiver.refuse
        assert receiver.frames == [b"one"]


# --- the opening --------------------------------------------------------------------------------------------------------------------


def message(payload: bytes) -> bytes:
    return Frame(Opcode.BINARY, payload).serialize(mask=False)


async def response_to(peer: Peer) -> bytes:
    """The answer that accepts the opening which the peer has received."""
    request = (await peer.until(b"\r\n\r\n")).decode()
    key = next(line.partition(": ")[2] for line in request.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )


async def upgraded(peer: Peer) -> Peer:
    peer.send(await response_to(peer))
    return peer


async def test_the_answer_and_the_first_messages_may_come_glued_or_byte_by_byte() -> None:
    async with Listener() as listener:
        for glued in (True, False):
            receiver = Recorder()
            opening = asyncio.ensure_future(opened(listener.port, receiver))
            peer = await listener.accept()
            answer = await response_to(peer) + message(b"one") + message(b"two")
            for piece in [answer] if glued else [answer[place : place + 1] for place in range(len(answer))]:
                peer.send(piece)
                await asyncio.sleep(0)
            transport = await opening
            assert await receiver.have(2) == [b"one", b"two"]
            transport.abort()


async def test_an_answer_that_is_cut_at_any_byte_is_unreachable() -> None:
    async with Listener() as listener:
        length = place = 200
        while place > 0:
            opening = asyncio.ensure_future(opened(listener.port))
            peer = await listener.accept()
            answer = await response_to(peer)
            length = len(answer)
            place = min(place, length) - 1
            peer.send(answer[:place])
            peer.close()
            with pytest.raises(Unreachable, match=rf"^127\.0\.0\.1:{listener.port} "):
                await opening
        assert length > 100


ANSWERS = [
    (b"HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.invalid/\r\nContent-Length: 0\r\n\r\n", "HTTP status 301"),
    (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\nsorry!", "HTTP status 401"),
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "HTTP status 404"),
    (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "HTTP status 500"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP status 200"),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "InvalidHeader"),
    (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n", "InvalidUpgrade"),
    (b"220 mail.example.com ESMTP\r\n", "is it a WebSocket address"),
    (b"\x00\x00\x00\x05hello\r\n", "is it a WebSocket address"),
    (b"\x15\x03\x01\x00\x02\x02\x46\r\n", "is it a WebSocket address"),
    (b"x" * 9_000, "is it a WebSocket address"),  # the longest line of a head has 8192
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 999999999\r\n\r\n", "is it a WebSocket address"),
]


@pytest.mark.parametrize(("answer", "told"), ANSWERS, ids=[told for _, told in ANSWERS])
async def test_any_other_answer_is_unreachable_at_once(answer: bytes, told: str) -> None:
    async with Listener() as listener:
        receiver = Recorder()
        opening = asyncio.ensure_future(opened(listener.port, receiver))
        peer = await listener.accept()
        await peer.until(b"\r\n\r\n")
        peer.send(answer)
        with pytest.raises(Unreachable, match=rf"^127\.0\.0\.1:{listener.port} .*{told}"):
            await opening
        assert len(receiver.causes) == 1
        assert await peer.rest() == b""


async def test_an_answer_that_does_not_come_is_unreachable_at_the_deadline() -> None:
    clock = AdjustableClock()
    async with Listener() as listener:
        opening = asyncio.ensure_future(opened(listener.port, clock=clock, timeout=10))
        peer = await listener.accept()
        await peer.until(b"\r\n\r\n")
        await clock.advance(10.1)
        with pytest.raises(Unreachable, match="did not answer the WebSocket opening within 10 s"):
            await opening
        assert await peer.rest() == b""


async def test_a_reset_during_the_opening_is_unreachable() -> None:
    async with Listener() as listener:
        opening = asyncio.ensure_future(opened(listener.port))
        peer = await listener.accept()
        await peer.until(b"\r\n\r\n")
        peer.reset()
        with pytest.raises(Unreachable, match="the connection broke"):
            await opening


async def test_a_caller_who_gives_up_during_the_opening_leaves_nothing() -> None:
    async with Listener() as listener:
        receiver = Recorder()
        opening = asyncio.ensure_future(opened(listener.port, receiver))
        peer = await listener.accept()
        await peer.until(b"\r\n\r\n")
        opening.cancel()
        await asyncio.wait([opening])
        assert opening.cancelled()
        assert await peer.rest() == b""
        assert len(receiver.causes) == 1


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "127.0.0.1", "ws://", "ws://127.0.0.1:99999/", "ws://127.0.0.1:pw-planted/", "ws://[::1/", "ws://h/#frag", ""],
)
async def test_what_is_no_address_is_a_matter_of_configuration(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is no WebSocket address; it has the form wss://host:port/path") as caught:
        await open_websocket(url, Recorder(), tls=None)
    assert "planted" not in str(caught.value)


async def test_the_address_and_tls_must_fit_each_other() -> None:
    with pytest.raises(ConfigurationError, match="ws:// without"):
        await open_websocket("wss://127.0.0.1:1/", Recorder(), tls=None)
    with pytest.raises(ConfigurationError, match="wss:// goes with TLS"):
        await open_websocket("ws://127.0.0.1:1/?token=planted", Recorder(), tls=ssl.create_default_context())
    with pytest.raises(ConfigurationError, match=r"plaintext to 'example\.com' is refused"):
        await open_websocket("ws://example.com/", Recorder(), tls=None)


# --- headers and secrets ---------------------------------------------------------------------------------------------------------------


async def test_headers_are_sent_and_never_logged_whatever_the_logging_configuration_does(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.extend((connection.request.headers["Authorization"], connection.request.headers["X-Plain"]))
        await connection.send(b"reply-planted")
        await connection.wait_closed()

    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})  # this enables every disabled logger again
    quiet = logging.getLogger("the foreign server")
    quiet.setLevel(logging.CRITICAL)
    with caplog.at_level(logging.DEBUG):
        async with serving(handler, logger=quiet) as port:
            receiver = Recorder()
            transport = await opened(port, receiver, headers={"Authorization": Secret("Bearer planted"), "X-Plain": "p"})
            await receiver.have(1)
            await transport.aclose(policy.CLOSE_TIMEOUT)
    assert seen == ["Bearer planted", "p"]
    assert "planted" not in caplog.text


@pytest.mark.parametrize("value", ["planted\r\nX: y", "planted\n", "plantéd", "planted\0"])
async def test_a_header_that_cannot_travel_is_named_and_not_shown(value: str) -> None:
    for headers in ({"Authorization": Secret(value)}, {"Authorization": value}):
        with pytest.raises(ConfigurationError, match="the value of the header Authorization holds a line break") as caught:
            await open_websocket("ws://127.0.0.1:1/", Recorder(), tls=None, headers=headers)
        assert "plant" not in str(caught.value)


async def test_no_secret_of_a_header_shows_in_the_traceback_of_a_failed_opening() -> None:
    async def refuse(listener: Listener) -> None:
        peer = await listener.accept()
        assert b"Authorization: Bearer planted\r\n" in await peer.until(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")

    async with Listener() as listener:
        opening = opened(listener.port, headers={"Authorization": Secret("Bearer planted")})
        failure, nothing = await asyncio.gather(opening, refuse(listener), return_exceptions=True)
        assert isinstance(failure, Unreachable)
        assert nothing is None
        shown = "".join(traceback.TracebackException.from_exception(failure, capture_locals=True).format())
        assert "HTTP status 401" in shown
        assert "planted" not in shown
