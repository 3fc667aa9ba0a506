"""One accepted connection as bytes: tells WebSocket from TCP by the first byte, cuts frames out, puts frames in, and plays the
faults of bytes.

No tasks: asyncio calls it, and it calls its consumer, all at once. Always holds: whatever is written leaves in order; after
`close` or `abort` nothing more is handed up; `closed` is called exactly once for each `opened`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from tradesession.clock import Clock, TimerHandle
from tradesession.sandbox.ctrader.framing import Framing, TcpFraming, WebSocketFraming
from tradesession.sandbox.ctrader.settings import Settings
from tradesession.sandbox.ctrader.switches import Switches
from tradesession.sandbox.ctrader.wire import FrameTooLongError
from tradesession.sandbox.listener import Accepted

GOODBYE_GRACE: Final = 2.0
"""Seconds that a WebSocket client has to answer a close frame."""

MAX_UNSENT: Final = 32 << 20
"""Bytes that may wait for a client that does not read; then it is cut off."""

TURNS_PER_PIECE: Final = 3
"""Turns of the event loop between two pieces of sliced output: a client in the same loop reads one before the next is written."""

_HTTP_FIRST_BYTE: Final = b"G"
"""Of GET. As the first byte of a length it would announce over a gigabyte, so it tells the two apart (section 1.1: one port)."""


class Consumer(Protocol):
    """What stands above a channel."""

    def frame_received(self, frame: bytes) -> None:
        """A frame has arrived."""

    def frame_too_long(self, text: str) -> None:
        """A frame over the cap is on its way; nothing of it will be handed up."""

    def closed(self, cause: str) -> None:
        """The connection is gone."""


class Channel(Accepted):
    """Bytes of one connection. `opened` makes its consumer when the connection stands, `lost` hears that it is gone."""

    def __init__(
        self,
        settings: Settings,
        faults: Switches,
        clock: Clock,
        opened: Callable[[Channel], Consumer],
        lost: Callable[[Channel], None],
    ) -> None:
        super().__init__(faults)
        self._settings = settings
        self._faults = faults
        self._clock = clock
        self._opened = opened
        self._lost = lost
        self._consumer: Consumer | None = None
        self._transport: asyncio.Transport | None = None
        self._framing: Framing | None = None
        self._pieces: deque[bytes] = deque()
        self._pumping = False
        self._glued = bytearray()
        self._glue_timer: TimerHandle | None = None
        self._goodbye_timer: TimerHandle | None = None
        self._closing = False
        self._ending = False
        self._cause = ""
        self.last_input = clock.monotonic()
        self.last_output = clock.monotonic()

    @property
    def transport_name(self) -> str:
        """`tcp` or `websocket`; empty before the first byte has told."""
        return "" if self._framing is None else self._framing.name

    @property
    def is_open(self) -> bool:
        """Whether frames may still be sent."""
        return self._transport is not None and not self._closing and not self._ending

    # --- called by asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS, where there is any, is done."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._consumer = self._opened(self)
        if self._faults.accept_and_close:
            self._cause = "fault: accept and close"
            self._ending = True
            transport.close()
        elif self._faults.cut_input_after == 0:
            self.abort("fault: cut")
        self.apply_faults()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._faults.half_open or self._ending:
            return
        self.last_input = self._clock.monotonic()
        data, cut = self.input.take(data)
        self._read(data)
        if cut:
            self.abort("fault: cut")

    def eof_received(self) -> None:
        """The client has closed its half; asyncio closes ours when this returns."""
        if self._framing is not None:
            self._framing.receive_end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        for timer in (self._glue_timer, self._goodbye_timer):
            if timer is not None:
                timer.cancel()
        self._pieces.clear()
        self._ending = True
        self.gone.set()
        self._lost(self)
        if self._consumer is not None:
            self._consumer.closed(self._cause or "the client")

    # --- called from above ---

    def send(self, frame: bytes) -> None:
        """Send a frame. Before the first byte of the client nothing can be sent, for it decides about the framing."""
        if self._framing is not None and self.is_open:
            self.last_output = self._clock.monotonic()
            self._framing.send(frame)
            self._flush()

    def send_raw(self, data: bytes) -> None:
        """Send bytes past the framing."""
        if self.is_open:
            self._write(data)

    def announce_huge(self) -> None:
        """Begin a frame that is over every cap."""
        if self._framing is not None and self.is_open:
            self._framing.announce_huge()
            self._flush()

    def close(self, cause: str) -> None:
        """End the connection in an orderly way, after what was sent before. No effect while it is half open."""
        if not self.is_open or self._faults.half_open:
            return
        self._cause = cause
        self._closing = True
        if self._framing is None:
            self._end()
            return
        self._framing.say_goodbye()
        self._flush()
        if not self._ending:  # a WebSocket client answers first
            self._goodbye_timer = self._clock.call_at(self._clock.monotonic() + GOODBYE_GRACE, self._end)

    def abort(self, cause: str) -> None:
        """End the connection at once."""
        self._cause = self._cause or cause
        self._ending = True
        self._pieces.clear()
        if self._transport is not None:
            self._transport.abort()

    def apply_faults(self) -> None:
        """Take notice of switches that were turned."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._faults.stop_reading:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # --- in ---

    def _read(self, data: bytes) -> None:
        assert self._consumer is not None
        if self._framing is None:
            if not data:
                return
            kind = WebSocketFraming if data.startswith(_HTTP_FIRST_BYTE) else TcpFraming
            self._framing = kind(self._settings.max_frame)
        try:
            for frame in self._framing.receive(data):
                if not self.is_open:
                    break
                self._consumer.frame_received(frame)
        except FrameTooLongError as error:
            self._consumer.frame_too_long(str(error))
        self._flush()

    # --- out ---

    def _flush(self) -> None:
        assert self._framing is not None
        data = self._framing.output()
        if data:
            self._write(data)
        if self._framing.is_closed:
            self._end()

    def _write(self, data: bytes) -> None:
        if self._faults.half_open or self._ending:
            return
        if not self._faults.glue_output:
            self._push(data)
            return
        self._glued += data
        if self._glue_timer is None:
            self._glue_timer = self._clock.call_at(self._clock.monotonic() + self._faults.glue_output, self._unglue)

    def _unglue(self) -> None:
        self._glue_timer = None
        data = bytes(self._glued)
        self._glued.clear()
        self._push(data)

    def _push(self, data: bytes) -> None:
        data, cut = self.output.take(data)
        size = self._faults.slice_output or len(data)
        self._pieces.extend(data[start : start + size] for start in range(0, len(data), max(1, size)))
        if cut:
            self._cause = "fault: cut"
            self._ending = True
        if not self._pumping:
            self._pump()

    def _pump(self) -> None:
        """Write what waits: all at once, or piece by piece with some turns of the event loop between, so that they are read one by one."""
        assert self._transport is not None
        self._pumping = False
        while self._pieces:
            self._transport.write(self._pieces.popleft())
            if self._faults.slice_output and self._pieces:
                self._pumping = True
                self._pump_later(TURNS_PER_PIECE)
                return
        if self._ending:
            self._finish()
        elif self._transport.get_write_buffer_size() > MAX_UNSENT:
            self.abort("the client does not read")

    def _pump_later(self, turns: int) -> None:
        loop = asyncio.get_running_loop()
        if turns > 1:
            loop.call_soon(self._pump_later, turns - 1)
        else:
            loop.call_soon(self._pump)

    def _end(self) -> None:
        """Close when everything that waits has left."""
        if self._ending:
            return
        if self._glued:
            self._unglue()
        self._ending = True
        if not self._pumping:
            self._pump()

    def _finish(self) -> None:
        assert self._transport is not None
        if self._cause == "fault: cut":
            self._transport.abort()
        else:
            self._transport.close()
