"""One direction of a proxied connection: bytes come in on one side and go out on the other, late, in pieces, or never.

No tasks: asyncio and the clock call it, all at once. Always holds: what is passed on is passed on in order; at most `LIMIT` bytes and
what one read brings wait here, then the sender is not read any more; after `stop` nothing leaves.
"""

from __future__ import annotations

import asyncio
import bisect
import random
from collections import deque
from collections.abc import Callable
from typing import Final

from tradesession.clock import Clock, TimerHandle
from tradesession.sandbox.proxy.switches import Direction, Switches

LIMIT: Final = 1 << 20
"""Bytes that wait in one direction before the sender is held up: what a fast line with a second of latency has under way."""

TICK: Final = 0.05
"""Seconds between two pieces of what a limited bandwidth lets through."""

TURNS_PER_PIECE: Final = 3
"""Turns of the event loop between two slices: a reader in the same loop reads one before the next is written."""

GARBAGE_SIZE: Final = 64
"""Bytes of garbage unless a number is given."""


class Pipe:
    """See the module. `cut` is called at the byte where it is to be cut, `finished` behind the last one of a stream that ends in order."""

    def __init__(
        self,
        direction: Direction,
        switches: Switches,
        clock: Clock,
        chance: random.Random,
        cut: Callable[[], None],
        finished: Callable[[Pipe], None],
    ) -> None:
        self.direction: Direction = direction
        self.passed = 0
        """Bytes that were passed on, garbage not counted."""
        self.has_finished = False
        self._switches = switches
        self._clock = clock
        self._chance = chance
        self._cut = cut
        self._finished = finished
        self._source: asyncio.Transport | None = None
        self._target: asyncio.Transport | None = None
        self._queue: deque[tuple[float, bytes | None]] = deque()  # when, and what; None is the end of the stream
        self._queued = 0
        self._last_due = clock.monotonic()
        self._timer: TimerHandle | None = None
        self._pumping = False
        self._is_full = False
        self._stopped = False
        self._cut_at: int | None = None
        self._garbage: list[tuple[int, bytes]] = []  # at which byte, and what; in order

    # --- from the connection -----------------------------------------------------------------------------------------------------

    def attach(self, *, source: asyncio.Transport, target: asyncio.Transport) -> None:
        """Both ends are connected: what waits may pass."""
        self._source, self._target = source, target
        self.apply()
        self._pump()

    def feed(self, data: bytes) -> None:
        """Bytes from the source."""
        if self._stopped:
            return
        switches = self._switches
        if not self._queue and self._target is not None and switches.passes_as_it_comes:
            self._deliver(data)  # without the detour, for a year of heartbeats goes this way
            return
        due = max(self._last_due, self._clock.monotonic() + switches.latency + switches.jitter * self._chance.random())
        size = self._piece_size()
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            if switches.bandwidth:
                due += len(piece) / switches.bandwidth
            self._queue.append((due, piece))
        self._last_due = due
        self._queued += len(data)
        self._pump()

    def finish(self) -> None:
        """The source will send no more."""
        if self._stopped:
            return
        due = max(self._last_due, self._clock.monotonic() + self._switches.latency)
        self._queue.append((due, None))
        self._pump()

    def stop(self) -> None:
        """Nothing leaves any more."""
        self._stopped = True
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()

    def hold_up(self, *, is_full: bool) -> None:
        """The target takes no more for now, or again."""
        self._is_full = is_full
        self.apply()

    def apply(self) -> None:
        """Read from the source, or do not, as switches and buffers say."""
        if self._source is not None and not self._source.is_closing():
            deaf = self._switches.deaf_to_client if self.direction == "to_server" else self._switches.deaf_to_server
            if deaf or self._is_full or self._queued > LIMIT:
                self._source.pause_reading()
            else:
                self._source.resume_reading()

    def cut_after(self, count: int) -> None:
        """Cut when that many more bytes have passed."""
        self._cut_at = self.passed + count
        self._pump()

    def inject(self, data: bytes, after: int = 0) -> None:
        """Put bytes in between, when that many more have passed."""
        bisect.insort(self._garbage, (self.passed + after, data))
        self._pump()

    # --- inside ------------------------------------------------------------------------------------------------------------------

    def _piece_size(self) -> int:
        limits = [self._switches.slice] if self._switches.slice else []
        if self._switches.bandwidth:
            limits.append(max(1, int(self._switches.bandwidth * TICK)))
        return min(limits, default=LIMIT)

    def _pump(self) -> None:
        """Pass on what is due."""
        if self._pumping or self._stopped or self._target is None:
            return
        self._deliver(b"")  # what is to happen at this very byte
        while self._queue and not self._stopped:
            due, piece = self._queue[0]
            if due > self._clock.monotonic():
                self._arm(due)
                break
            self._queue.popleft()
            if piece is None:
                self.has_finished = True
                self._finished(self)
                break
            self._queued -= len(piece)
            self._deliver(piece)
            if self._switches.slice and self._queue:
                self._pumping = True
                self._pump_later(TURNS_PER_PIECE)
                break
        self.apply()

    def _deliver(self, piece: bytes) -> None:
        """Pass it on, with what is to happen at one of its bytes."""
        while self._garbage and self._garbage[0][0] <= self.passed + len(piece) and not self._stopped:
            at, garbage = self._garbage.pop(0)
            head, piece = piece[: at - self.passed], piece[at - self.passed :]
            self._write(head)
            self._write(garbage, counts=False)
        self._write(piece)

    def _write(self, data: bytes, *, counts: bool = True) -> None:
        """Hand bytes to the target, up to where it is cut."""
        if self._stopped or self._target is None:
            return
        cut = counts and self._cut_at is not None and self._cut_at <= self.passed + len(data)
        if cut and self._cut_at is not None:
            data = data[: self._cut_at - self.passed]
        if data:
            self._target.write(data)
            self.passed += len(data) if counts else 0
        if cut:
            self._cut()

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(due, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._pump()

    def _pump_later(self, turns: int) -> None:
        loop = asyncio.get_running_loop()
        if turns:
            loop.call_soon(self._pump_later, turns - 1)
            return
        self._pumping = False
        self._pump()
