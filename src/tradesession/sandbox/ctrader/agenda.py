"""What is to be done later, in order: event loops promise nothing about timers of the same moment.

No sockets, no tasks. Always holds: what is due first is done first, and of what is due together that which was entered first.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from tradesession.clock import Clock, TimerHandle

_ROUNDING = 1e-6
"""Seconds that a timer may fire early."""


class Agenda:
    """Actions and their times, on one timer of the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._timer: tuple[float, TimerHandle] | None = None

    def enter(self, when: float, action: Callable[[], object]) -> None:
        """Do something at that moment of the monotonic clock."""
        heapq.heappush(self._entries, (when, next(self._order), action))
        self._arm()

    def close(self) -> None:
        """Do nothing more."""
        self._entries.clear()
        self._arm()

    def _arm(self) -> None:
        due = self._entries[0][0] if self._entries else None
        if self._timer is not None:
            if self._timer[0] == due:
                return
            self._timer[1].cancel()
        self._timer = None if due is None else (due, self._clock.call_at(due, self._fire))

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        try:
            while self._entries and self._entries[0][0] <= now + _ROUNDING:
                heapq.heappop(self._entries)[2]()
        finally:
            self._arm()
