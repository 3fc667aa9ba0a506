"""Bytes of one connection on their way to and from the web server, with the faults of bytes.

Always holds: without a fault everything passes unchanged, in order and at once; with TLS it is the bytes inside that count.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from tradesession.sandbox.cplugin.switches import Switches
from tradesession.sandbox.listener import Accepted

TURNS_PER_PIECE: Final = 5
"""Turns of the event loop between two pieces, so that they are read one by one."""


class Tap(Accepted):
    """Stands between a transport and the protocol of the web server."""

    def __init__(self, faults: Switches, inner: asyncio.Protocol, opened: Callable[[Tap], None], lost: Callable[[Tap], None]) -> None:
        super().__init__(faults)
        self._faults = faults
        self._inner = inner
        self._opened = opened
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] = deque()
        self._pumping = False
        self._ending: Callable[[], None] | None = None

    # --- called by asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._opened(self)
        self._inner.connection_made(_Tapped(self, transport))
        if self._faults.accept_and_close:
            transport.close()
        elif self._faults.cut_input_after == 0:
            transport.abort()
        self.apply_faults()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._faults.half_open:
            return
        data, cut = self.input.take(data)
        if data:
            self._inner.data_received(data)
        if cut:
            self.abort("fault: cut")

    def eof_received(self) -> bool | None:
        """The client has closed its half."""
        return None if self._faults.half_open else self._inner.eof_received()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._pieces.clear()
        self._inner.connection_lost(exc)
        self.gone.set()
        self._lost(self)

    # --- called by the sandbox ---

    def apply_faults(self) -> None:
        """Take notice of switches that were turned."""
        if self._transport is not None and not self._transport.is_closing():
            if self._faults.stop_reading:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def abort(self, cause: str) -> None:
        """End the connection at once."""
        self._pieces.clear()
        if self._transport is not None:
            self._transport.abort()

    # --- called by the web server, through its transport ---

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._faults.half_open or self._ending is not None or self._transport is None:
            return
        data, cut = self.output.take(data)
        size = self._faults.slice_output
        if not size and not self._pieces:
            self._transport.write(data)
        else:
            size = size or len(data)
            self._pieces.extend(data[start : start + size] for start in range(0, len(data), max(1, size)))
            if not self._pumping:
                self._pump()
        if cut:
            self._end(self._transport.abort)

    def close(self) -> None:
        """Close when everything has left; not while the connection is half open."""
        if not self._faults.half_open and self._transport is not None:
            self._end(self._transport.close)

    def _end(self, ending: Callable[[], None]) -> None:
        if self._ending is None:
            self._ending = ending
            if not self._pieces:
                ending()

    def _pump(self) -> None:
        """Write what waits piece by piece."""
        assert self._transport is not None
        self._pumping = False
        if self._pieces:
            self._transport.write(self._pieces.popleft())
            self._pumping = True
            self._pump_later(TURNS_PER_PIECE)
        elif self._ending is not None:
            self._ending()

    def _pump_later(self, turns: int) -> None:
        loop = asyncio.get_running_loop()
        if turns > 1:
            loop.call_soon(self._pump_later, turns - 1)
        else:
            loop.call_soon(self._pump)


class _Tapped(asyncio.Transport):
    """The transport as the web server sees it."""

    def __init__(self, tap: Tap, transport: asyncio.Transport) -> None:
        super().__init__()
        self._tap = tap
        self._transport = transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._tap.write(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self._tap.write(b"".join(list_of_data))

    def close(self) -> None:
        self._tap.close()

    def abort(self) -> None:
        self._tap.abort("the server")

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._tap.apply_faults()

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)
