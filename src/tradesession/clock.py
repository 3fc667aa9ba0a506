"""Time as a parameter: the clock that drivers are given, and one that a test moves by hand.

Pure. Nothing below floor 2 asks the machine for the time; whoever needs it gets a `Clock` or a number. Monotonic time is for
deadlines and never jumps; wall time is for what other machines said (expiries) and may jump.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Protocol


class TimerHandle(Protocol):
    """What `Clock.call_at` gives back."""

    def cancel(self) -> None:
        """Take the timer back; harmless when it has fired."""


class Clock(Protocol):
    """Monotonic and wall time in seconds, and timers on the monotonic one."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    def wall(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z by this machine's clock."""

    def call_at(self, when: float, callback: Callable[[], object]) -> TimerHandle:
        """Call back once when `monotonic()` has reached `when`. The callback must neither wait nor raise."""


def _nothing() -> None:
    """What a timer does that was taken back."""


class ManualTimer:
    """A timer of a `ManualClock`."""

    __slots__ = ("callback", "cancelled", "when")

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Take the timer back, and let go of what it would have called."""
        self.cancelled = True
        self.callback = _nothing


class ManualClock:
    """A clock that stands still until `advance` moves it; timers fire in order, each at its own time.

    `wall_offset` shifts the wall clock alone, to play a machine whose clock is wrong or has been set.
    """

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_767_225_600.0) -> None:
        self._monotonic = monotonic
        self.wall_offset = wall - monotonic
        self._order = itertools.count()
        self._timers: list[tuple[float, int, ManualTimer]] = []

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""
        return self._monotonic

    def wall(self) -> float:
        """Seconds since 1970; starts at 2026-01-01T00:00:00Z unless told otherwise."""
        return self._monotonic + self.wall_offset

    def call_at(self, when: float, callback: Callable[[], object]) -> ManualTimer:
        """Call back when `advance` reaches `when`; at once on the next `advance` if it is in the past."""
        timer = ManualTimer(when, callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def next_timer(self) -> float | None:
        """When the earliest live timer is due, or None."""
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def step(self, until: float) -> bool:
        """Move to the earliest timer due by `until` and fire it; False, and the time is `until`, when there is none."""
        due = self.next_timer()
        if due is None or due > until:
            self._monotonic = max(self._monotonic, until)
            return False
        timer = heapq.heappop(self._timers)[2]
        self._monotonic = max(self._monotonic, due)
        timer.callback()
        return True

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`, firing every timer on the way, also those that the fired ones set."""
        until = self._monotonic + seconds
        while self.step(until):
            pass
