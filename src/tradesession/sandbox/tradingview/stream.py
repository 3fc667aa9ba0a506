"""The endless stream of prices: one beat a second for all open connections, which therefore hear the same.

No sockets: lines go into bounded queues, from which the server's handlers write. Always holds: what a stream tells of trades is what
`Market` says of the same seconds, unless a fault is set; after a stall of the process the seconds that were missed are told in order.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from typing import Any, Final

from tradesession.clock import Clock, TimerHandle
from tradesession.sandbox.beat import Beat
from tradesession.sandbox.tradingview.faults import Faults
from tradesession.sandbox.tradingview.market import HISTORY_START, INSTRUMENTS, Instrument, Market
from tradesession.sandbox.tradingview.settings import Settings
from tradesession.sandbox.tradingview.state import Session, State

_QUEUED: Final = 5_000
"""Lines that a client may be behind before its connection is cut."""
_MISSED: Final = 600
"""Seconds that are told at most after a stall."""
_KEEPALIVE: Final = 5
_DAILY: Final = 5
"""Seconds between two daily bars of an instrument in the stream."""
_CUT_AFTER: Final = 11.0

END: Final = b""
"""In a queue: the stream is over."""


class Stream:
    """One open connection."""

    def __init__(self, session: Session, number: int) -> None:
        self.session = session
        self.number = number
        self.lines: asyncio.Queue[bytes] = asyncio.Queue(_QUEUED)
        self.timers: list[TimerHandle] = []
        self.ended = ""
        """Why the server ended it; `cut` means in the middle of a line."""

    def put(self, data: bytes) -> None:
        """A line to write."""
        if self.ended:
            return
        if self.lines.full():
            self.end("the client does not read")
        else:
            self.lines.put_nowait(data)

    def end(self, cause: str) -> None:
        """Write no more than what is queued, and close."""
        if not self.ended:
            self.ended = cause
            if self.lines.full():
                self.lines.get_nowait()
            self.lines.put_nowait(END)


class Streams:
    """All of them, and the beat, which rests while there are none."""

    def __init__(self, clock: Clock, market: Market, settings: Settings, faults: Faults, state: State) -> None:
        self._clock = clock
        self._market = market
        self._settings = settings
        self._faults = faults
        self._state = state
        self._beat = Beat(clock, self._to_the_next_second, lambda: self.open, self._on_beat)
        self._lines_told = 0
        self._opened = 0
        self.open: list[Stream] = []
        """Oldest first."""
        self.told = 0
        """The last second that was told about."""
        self.endings: list[str] = []
        """Why those that are gone have ended, as far as the server ended them."""
        state.on_end.append(self._session_ended)

    def add(self, session: Session, expires_at: float) -> Stream:
        """A connection stands."""
        self._opened += 1
        stream = Stream(session, self._opened)
        if not self.open:
            self.told = math.floor(self._clock.wall())
        self.open.append(stream)
        if self._settings.stream_ends_with_token:
            self._later(expires_at - self._state.wall(), stream, "its token has expired")
        if self._faults.stream_closes_after:
            self._later(self._faults.stream_closes_after, stream, "fault: closed")
        if self._faults.stream_cut:
            self._later(_CUT_AFTER, stream, "cut")
        self._beat.arm()
        return stream

    def remove(self, stream: Stream) -> None:
        """A connection is gone."""
        self.open.remove(stream)
        for timer in stream.timers:
            timer.cancel()
        if stream.ended:
            self.endings.append(stream.ended)
        if not self.open:
            self.close()

    def end(self, cause: str = "the server closed it") -> int:
        """Close every stream; gives back how many."""
        for stream in self.open:
            stream.end(cause)
        return len(self.open)

    def cut(self) -> int:
        """Cut every stream in the middle of a line; gives back how many."""
        return self.end("cut")

    def close(self) -> None:
        """Stop the beat."""
        self._beat.rest()

    def _later(self, seconds: float, stream: Stream, cause: str) -> None:
        stream.timers.append(self._clock.call_at(self._clock.monotonic() + seconds, lambda: stream.end(cause)))

    def _session_ended(self, session: Session) -> None:
        for stream in self.open:
            if stream.session is session:
                stream.end("its session has ended")

    # --- the beat ---

    def _to_the_next_second(self) -> float:
        now = self._clock.wall()
        return math.floor(now) + 1 - now

    def _on_beat(self) -> None:
        now = math.floor(self._clock.wall() + 1e-3)  # a timer may be early by a rounding
        for second in range(max(self.told + 1, now - _MISSED), now + 1):
            if not self._faults.stream_silent:
                self._tell(second - self._faults.stream_late)
        self.told = max(self.told, now)

    def _tell(self, second: int) -> None:
        lines = [json.dumps(message, separators=(",", ":")).encode() for message in self._messages(second)]
        if self._settings.stream_keepalive != "none" and second % _KEEPALIVE == 0:
            lines.append(b"" if self._settings.stream_keepalive == "blank" else b'{"heartbeat":%d}' % second)
        if self._faults.stream_repeats:
            lines = [line for line in lines for _ in range(2)]
        if self._faults.stream_glued:
            lines = [b"".join(lines[place : place + 2]) for place in range(0, len(lines), 2)]
        ending = b"\r\n" if self._faults.stream_crlf else b"\n"
        for line in lines:
            self._lines_told += 1
            if self._faults.stream_garbage and self._lines_told % 10 == 0:
                line = b"{not json" + line[:4]
            for stream in self._listeners():
                stream.put(line + ending)

    def _listeners(self) -> list[Stream]:
        if self._faults.stream_split and self.open:
            return [self.open[self._lines_told % len(self.open)]]
        return self.open

    # --- what is told ---

    def _messages(self, second: int) -> Iterator[dict[str, Any]]:
        silent = INSTRUMENTS[-1] if self._faults.stream_missing_symbol else None
        for instrument in INSTRUMENTS:
            if instrument is not silent:
                for message in self._of(instrument, second):
                    yield self._spoiled(message, second)
        if self._faults.stream_unknown_symbol:
            yield {"f": "t", "id": "NOSUCH", "t": second, "p": 1.5, "s": 1}

    def _of(self, instrument: Instrument, second: int) -> Iterator[dict[str, Any]]:
        name = instrument.ticker if self._settings.stream_id == "ticker" else instrument.symbol
        quote = self._market.quote(instrument, second)
        match self._faults.stream_quotes:
            case "":
                yield {"f": "q", "id": name, "t": second, "ap": quote.ask, "as": quote.ask_size, "bp": quote.bid, "bs": quote.bid_size}
            case "crossed":
                yield {"f": "q", "id": name, "t": second, "ap": quote.bid, "as": quote.ask_size, "bp": quote.ask, "bs": quote.bid_size}
            case "one-sided":
                yield {"f": "a", "id": name, "t": second, "p": quote.ask, "s": quote.ask_size}
        trade = self._market.trade(instrument, second)
        if trade is not None and self._faults.stream_trades != "none":
            price, size = trade.price, trade.size
            if self._faults.stream_trades == "size-zero":
                size = 0
            if self._faults.stream_trades == "off-history":
                price = round(price * 1.05, 5)
            yield {"f": "t", "id": name, "t": second, "p": price, "s": size}
        if self._settings.daily and second % _DAILY == 0 and second >= HISTORY_START:
            bar = self._market.day(instrument, second // 86_400 * 86_400, second)
            yield {"f": "d", "id": name, "t": bar.time, "o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": bar.volume}

    def _spoiled(self, message: dict[str, Any], second: int) -> dict[str, Any]:
        if self._faults.stream_numbers_as_text:
            message = {name: str(value) if name in ("p", "ap", "bp") else value for name, value in message.items()}
        if self._faults.stream_back_in_time and message["f"] != "d" and second % 3 == 0:
            message = message | {"t": second - 2}
        return message
