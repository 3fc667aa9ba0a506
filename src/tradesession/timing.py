"""Time for drivers: the running loop's clock, one that can be pushed forward, and sleeping and deadlines on either.

May use asyncio, may not touch sockets. Everything that waits in this library waits through this module, so that a test (or a
sandbox) that pushes its clock moves the library with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tradesession.clock import Clock, ManualClock, TimerHandle


class SystemClock:
    """The running event loop's time and the machine's wall clock."""

    def monotonic(self) -> float:
        """The loop's time in seconds."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Seconds since 1970 by the machine's clock."""
        return time.time()

    def call_at(self, when: float, callback: Callable[[], object]) -> TimerHandle:
        """A timer of the running loop."""
        return asyncio.get_running_loop().call_at(when, callback)


SYSTEM_CLOCK: Clock = SystemClock()


class AdjustableClock:
    """Runs at the speed of the real clock and can be pushed forward: minutes of protocol time in milliseconds.

    `advance` fires the timers it passes one by one, each at its own time, and lets the event loop run between them, so that
    what a timer sends over a loopback socket has arrived before the next one fires.
    """

    TURNS_PER_TIMER = 25
    """Turns of the event loop between two timers: a request over loopback TLS and its answer take fewer than ten."""

    def __init__(self) -> None:
        self._timers = ManualClock(monotonic=0.0, wall=time.time())
        self._pushed = 0.0
        self._loop_time: Callable[[], float] | None = None  # of the loop that used it first: a thread may ask for the time as well
        self._started = 0.0
        self._wakeup: tuple[float, asyncio.TimerHandle] | None = None

    def _real(self) -> float:
        if self._loop_time is None:
            self._loop_time = asyncio.get_running_loop().time
            self._started = self._loop_time()
        return self._loop_time() - self._started

    def monotonic(self) -> float:
        """Seconds since first use, with everything that was pushed."""
        return self._real() + self._pushed

    def wall(self) -> float:
        """Seconds since 1970, with everything that was pushed."""
        return self.monotonic() + self._timers.wall_offset

    def shift_wall(self, seconds: float) -> None:
        """Set the wall clock forward (or back) without moving monotonic time, as an operator or NTP does."""
        self._timers.wall_offset += seconds

    def call_at(self, when: float, callback: Callable[[], object]) -> TimerHandle:
        """A timer that fires when real time or `advance` reaches it."""
        timer = self._timers.call_at(when, callback)
        self._arm()
        return timer

    async def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0) -> None:
        """Push the clock forward by the sum of the arguments. What was sent before arrives before the first timer fires."""
        await self._settle()
        target = self.monotonic() + seconds + 60 * minutes + 3600 * hours + 86400 * days
        try:
            while (due := self._timers.next_timer()) is not None and due <= target:
                self._pushed += max(0.0, due - self.monotonic())
                self._timers.step(due)
                await self._settle()
            self._pushed += max(0.0, target - self.monotonic())
            await self._settle()
        finally:
            self._disarm()  # what is left is due sooner, in real time, than when it was armed
            self._arm()

    async def _settle(self) -> None:
        for _ in range(self.TURNS_PER_TIMER):
            await asyncio.sleep(0)

    def _arm(self) -> None:
        due = self._timers.next_timer()
        if due is None or (self._wakeup is not None and self._wakeup[0] <= due):
            return
        self._disarm()
        loop = asyncio.get_running_loop()
        self._wakeup = (due, loop.call_later(max(0.0, due - self.monotonic()), self._fire))

    def _disarm(self) -> None:
        if self._wakeup is not None:
            self._wakeup[1].cancel()
            self._wakeup = None

    def _fire(self) -> None:
        self._wakeup = None
        now = self.monotonic()
        while (due := self._timers.next_timer()) is not None and due <= now:
            self._timers.step(due)
        self._arm()


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait for `seconds` of this clock."""
    done = asyncio.Event()
    timer = clock.call_at(clock.monotonic() + seconds, done.set)
    try:
        await done.wait()
    finally:
        timer.cancel()


@asynccontextmanager
async def deadline(clock: Clock, seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
    """Like `asyncio.timeout`, on this clock: TimeoutError when the block takes longer; None means no deadline."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as scope:
        if seconds is None:
            yield scope
            return
        timer = clock.call_at(clock.monotonic() + max(0.0, seconds), lambda: scope.reschedule(loop.time()))
        try:
            yield scope
        finally:
            timer.cancel()
