"""Frames in a byte stream: behind a length prefix (TCP) or as binary messages (WebSocket).

Pure: bytes in, frames and bytes out. The WebSocket half is the sans-I/O server of `websockets`; compression is off, as in the
real service. Facts: sections 1.3 and 1.4.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Final, Literal, Protocol

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

from tradesession.sandbox.ctrader.wire import FrameReader, FrameTooLongError, encode_frame

_log = logging.getLogger("tradesession.sandbox.websocket")
_log.setLevel(logging.WARNING)  # below it, the library writes down every frame, and frames hold tokens

CLOSE_CODE: Final = 1000
CLOSE_REASON: Final = "Bye"
_UNSUPPORTED_DATA: Final = 1003

_HUGE: Final = 0x7FFF_FFFF
"""A size over every cap, announced by the fault of an oversized frame."""


class Framing(Protocol):
    """One way of putting frames into a byte stream."""

    name: Literal["tcp", "websocket"]
    is_closed: bool
    """Whether the stream is over: the channel sends what is left and closes."""

    def receive(self, data: bytes) -> Iterable[bytes]:
        """Take bytes from the client; gives back the frames that are complete."""

    def send(self, frame: bytes) -> None:
        """Take a frame for the client."""

    def announce_huge(self) -> None:
        """Begin a frame that is over every cap."""

    def say_goodbye(self) -> None:
        """End the stream in the orderly way of this framing."""

    def receive_end(self) -> None:
        """The client has closed its half."""

    def output(self) -> bytes:
        """The bytes that are due now."""


class TcpFraming:
    """Four bytes of length, big-endian, before each frame."""

    name: Literal["tcp", "websocket"] = "tcp"

    def __init__(self, max_frame: int) -> None:
        self._reader = FrameReader(max_frame)
        self._output = bytearray()
        self.is_closed = False

    def receive(self, data: bytes) -> Iterable[bytes]:
        """The frames one by one; raises FrameTooLongError where a length says so, after those before it."""
        return self._reader.feed(data)

    def send(self, frame: bytes) -> None:
        """Put a frame behind its length."""
        self._output += encode_frame(frame)

    def announce_huge(self) -> None:
        """A length prefix over every cap."""
        self._output += _HUGE.to_bytes(4, "big") + b"\x00" * 16

    def say_goodbye(self) -> None:
        """TCP has no goodbye of its own."""
        self.is_closed = True

    def receive_end(self) -> None:
        """The client will send no more."""
        self.is_closed = True

    def output(self) -> bytes:
        """The bytes that are due now."""
        data = bytes(self._output)
        self._output.clear()
        return data


class WebSocketFraming:
    """One binary message is one frame, without a length prefix. Any path is accepted; text is refused with close code 1003."""

    name: Literal["tcp", "websocket"] = "websocket"

    def __init__(self, max_frame: int) -> None:
        # Twice the cap: what is only a little too long is told so by the protocol above, what is more ends here with code 1009.
        self._protocol = ServerProtocol(max_size=2 * max_frame, logger=_log)
        self._max_frame = max_frame
        self._message = bytearray()
        self._raw = bytearray()
        self.is_closed = False

    def receive(self, data: bytes) -> Iterable[bytes]:
        """Take bytes of the opening handshake or of messages; pings and closes are answered here."""
        self._protocol.receive_data(data)
        return self._messages()

    def receive_end(self) -> None:
        """The client has closed its half."""
        self._protocol.receive_eof()
        self.is_closed = True

    def _messages(self) -> Iterator[bytes]:
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
            elif isinstance(event, Frame) and (message := self._assemble(event)) is not None:
                yield message

    def _assemble(self, frame: Frame) -> bytes | None:
        if frame.opcode is Opcode.TEXT and self._protocol.state is State.OPEN:
            self._protocol.send_close(_UNSUPPORTED_DATA, "only binary messages here")
        if frame.opcode not in (Opcode.BINARY, Opcode.CONT):
            return None
        self._message += frame.data
        if not frame.fin:
            return None
        message = bytes(self._message)
        self._message.clear()
        if len(message) > self._max_frame:
            raise FrameTooLongError(f"a message of {len(message)} bytes; the server takes {self._max_frame}")
        return message

    def send(self, frame: bytes) -> None:
        """One binary message; dropped when the client has begun to close."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(frame)

    def announce_huge(self) -> None:
        """The head of a binary message over every cap."""
        self._raw += bytes((0x82, 127)) + _HUGE.to_bytes(8, "big") + b"\x00" * 16

    def say_goodbye(self) -> None:
        """A close frame; the stream is over when the client has answered it."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CLOSE_CODE, CLOSE_REASON)
        elif self._protocol.state is State.CONNECTING:
            self.is_closed = True

    def output(self) -> bytes:
        """The bytes that are due now."""
        pieces = self._protocol.data_to_send()
        if SEND_EOF in pieces:
            self.is_closed = True
        data = b"".join(pieces) + bytes(self._raw)
        self._raw.clear()
        return data
