"""WebSocket messages as frames, on the sans-I/O core of `websockets`.

One message is one frame. The core is driven from the same asyncio.Protocol as TCP, so that sending never waits, reading has no task of
its own, and the library's logger, which would print headers and thereby secrets, gets nothing to print. Short whole messages are cut out
before the core, at a fifth of its cost; it sees everything else.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Mapping
from dataclasses import replace

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import ConfigurationError, Error, LinkLost, ProtocolError, Unreachable
from tradesession.protocol.http import HttpReply
from tradesession.protocol.websocket import MessageCutter
from tradesession.secrets import Secret, redact_url
from tradesession.timing import SYSTEM_CLOCK, deadline
from tradesession.transports.stream import Receiver, StreamTransport, open_stream

# At DEBUG the core prints headers, and headers carry bearers. This logger is in no registry, so no logging configuration wakes it up.
_silent = logging.Logger("tradesession.transports.websocket.core", level=logging.CRITICAL + 1)  # noqa: LOG001 - see above

_END_OF_HEAD = b"\r\n\r\n"
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


class OpeningRefused(Unreachable):
    """The server answered the opening with another HTTP status than 101: `reply` has it, and the headers, but no body."""

    def __init__(self, message: str, reply: HttpReply) -> None:
        self.reply = reply
        super().__init__(message)


class WebSocketTransport(StreamTransport):
    """Frames as WebSocket messages. Make one with `open_websocket`."""

    def __init__(self, receiver: Receiver, clock: Clock, core: ClientProtocol, where: str, *, text: bool, max_frame: int) -> None:
        super().__init__(receiver, clock)
        self._core = core
        self._where = where
        self._opcode = Opcode.TEXT if text else Opcode.BINARY
        self._parts: list[bytes] = []
        self._cutter = MessageCutter(self._opcode, min(max_frame, policy.READ_SIZE))
        self._head: bytes | None = b""  # the last bytes of the answer to the opening; None behind it
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def open(self, headers: Mapping[str, str | Secret]) -> None:
        """Send the opening handshake."""
        request = self._core.connect()
        request.headers.update({name: value.reveal() if isinstance(value, Secret) else value for name, value in headers.items()})
        self._core.send_request(request)
        self._flush()
        for name in ("uri", "wsuri"):  # by version; its query may hold a secret, and nothing needs it any more
            if hasattr(self._core, name):
                setattr(self._core, name, replace(getattr(self._core, name), query=None))

    def bytes_received(self, data: bytes) -> None:
        """See StreamTransport."""
        if self._head is not None:
            data = self._take_head(data)
        self._cutter.feed(data)
        is_over = self.is_lost
        while not is_over:
            messages, other = self._cutter.take(is_whole=not self._parts)
            if messages:
                self._receiver.received(messages)
            if other and not self.is_lost:
                self._core.receive_data(other)
                self._take_events()
            is_over = self.is_lost or not other

    def send(self, frame: bytes) -> None:
        """See Transport."""
        if self._core.state is not State.OPEN:
            return  # the closing handshake has begun: the Receiver knows, or is about to
        if self._opcode is Opcode.TEXT:
            self._core.send_text(frame)
        else:
            self._core.send_binary(frame)
        self._flush()

    def say_goodbye(self) -> bool:
        """See StreamTransport. A socket closed with data unread is reset, and the close frame lost: the peer's answer is waited for."""
        if self._core.state is not State.OPEN:
            return False
        self._core.send_close(CloseCode.NORMAL_CLOSURE)
        self._flush()
        return True

    def received_after_goodbye(self, data: bytes) -> None:
        """See StreamTransport."""
        self._core.receive_data(self._cutter.rest() + data)
        self._core.events_received()
        if self._core.close_rcvd is not None or self._core.parser_exc is not None:
            self.close()

    def closed_by_peer(self) -> Error:
        """See StreamTransport."""
        if not self.opened.done():
            return Unreachable(f"{self._where} closed the connection before it answered the WebSocket opening: is it a WebSocket address?")
        close = self._core.close_rcvd
        if close is None:
            return LinkLost("the server closed the connection without a WebSocket close")
        reason = f" {close.reason!r}" if close.reason else ""
        return LinkLost(f"the server closed the WebSocket with code {close.code}{reason}")

    def fail(self, cause: Error) -> None:
        """See StreamTransport; an opening that still waits ends with the cause."""
        if not self.opened.done():
            self.opened.set_exception(cause if isinstance(cause, Unreachable) else Unreachable(str(cause)))
            self.opened.exception()  # nobody need look: whoever opened may have been cancelled meanwhile
        super().fail(cause)

    def _take_head(self, data: bytes) -> bytes:
        """The answer to the opening, up to the empty line at its end, is the core's; what is behind that line."""
        assert self._head is not None, "it is over once"
        seen = self._head + data
        end = seen.find(_END_OF_HEAD)
        behind = seen[end + len(_END_OF_HEAD) :] if end >= 0 else b""
        self._head = seen[-len(_END_OF_HEAD) + 1 :] if end < 0 else None
        self._core.receive_data(data[: len(data) - len(behind)])
        self._take_events()
        return behind

    def _take_events(self) -> None:
        for event in self._core.events_received():
            if isinstance(event, Response):
                self._take_response()
            else:
                assert isinstance(event, Frame)  # a server's Request does not come to a client
                self._take_frame(event)
            if self.is_lost:
                return
        self._flush()
        if self._core.handshake_exc is not None:  # what came is no HTTP answer, of which the core makes no event
            self._take_response()
        if self._core.parser_exc is not None:
            raise ProtocolError(f"the peer broke the WebSocket protocol: {self._core.parser_exc}")
        if self._core.close_rcvd is not None:
            self.fail(self.closed_by_peer())

    def _take_response(self) -> None:
        refusal = self._core.handshake_exc
        if refusal is None:
            if not self.opened.done():
                self.opened.set_result(None)
        elif isinstance(refusal, InvalidStatus):
            status = refusal.response.status_code
            headers = {name.lower(): value for name, value in refusal.response.headers.raw_items()}
            self.fail(
                OpeningRefused(
                    f"{self._where} answered the WebSocket opening with HTTP status {status}: check the address",
                    HttpReply(status=status, headers=headers, sent_at=self._clock.wall()),
                )
            )
        else:
            kind = type(refusal).__name__  # its text would show what the server sent
            self.fail(Unreachable(f"{self._where} did not answer the WebSocket opening as it should ({kind}): is it a WebSocket address?"))

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
            return  # pings and closes are answered by the core
        if frame.opcode is not Opcode.CONT and frame.opcode is not self._opcode:
            raise ProtocolError(f"the peer sent a {frame.opcode.name} message where {self._opcode.name} messages are agreed")
        self._parts.append(bytes(frame.data))
        messages: tuple[bytes, ...] = ()
        if frame.fin:
            messages = (b"".join(self._parts),)
            self._parts.clear()
        self._receiver.received(messages)  # of pings it hears nothing: they may come from something in between, with nobody behind it

    def _flush(self) -> None:
        for data in self._core.data_to_send():
            if data:
                self.write(data)


async def open_websocket(
    url: str,
    receiver: Receiver,
    *,
    tls: ssl.SSLContext | None,
    headers: Mapping[str, str | Secret] | None = None,
    text: bool = False,
    max_frame: int = policy.MAX_FRAME,
    clock: Clock = SYSTEM_CLOCK,
    timeout: float = policy.CONNECT_TIMEOUT,
) -> WebSocketTransport:
    """Connect and perform the opening handshake within `timeout` seconds; redirects are refused.

    Raises ConfigurationError for an address or a header that is none, CertificateRefused or another Unreachable.
    """
    for name, value in (headers or {}).items():
        if not _HEADER_VALUE.fullmatch(value.reveal() if isinstance(value, Secret) else value):
            raise ConfigurationError(f"the value of the header {name} holds a line break or another character that cannot travel")
    try:
        uri = parse_uri(url)
    except (InvalidURI, ValueError):
        raise ConfigurationError(f"{redact_url(url)!r} is no WebSocket address; it has the form wss://host:port/path") from None
    if uri.secure != (tls is not None):
        raise ConfigurationError(f"{redact_url(url)!r} does not fit plaintext={tls is None}: wss:// goes with TLS, ws:// without")
    core = ClientProtocol(uri, max_size=max_frame, logger=_silent)
    started = clock.monotonic()
    transport = await open_stream(
        lambda: WebSocketTransport(receiver, clock, core, f"{uri.host}:{uri.port}", text=text, max_frame=max_frame),
        uri.host,
        uri.port,
        tls=tls,
        clock=clock,
        timeout=timeout,
    )
    try:
        async with deadline(clock, timeout - (clock.monotonic() - started)):
            transport.open(headers or {})
            await transport.opened
    except TimeoutError:
        transport.abort()
        raise Unreachable(f"{uri.host}:{uri.port} did not answer the WebSocket opening within {timeout:g} s") from None
    except BaseException:
        transport.opened.cancel()
        transport.abort()
        raise
    return transport
