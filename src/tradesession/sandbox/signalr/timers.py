"""Timers by name, so that one that is set again replaces itself.

Pure. Always holds: after `close` none fires.
"""

from __future__ import annotations

from collections.abc import Callable

from tradesession.clock import Clock, TimerHandle


class Timers:
    """Of one connection."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[str, TimerHandle] = {}
        self._is_closed = False

    def set(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Do something later, at that time alone."""
        self.cancel(name)
        if self._is_closed:
            return

        def fire() -> None:
            self._running.pop(name, None)
            action()

        self._running[name] = self._clock.call_at(self._clock.monotonic() + max(0.0, seconds), fire)

    def set_once(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """The same, unless it is set already."""
        if name not in self._running:
            self.set(name, seconds, action)

    def cancel(self, name: str) -> None:
        """Not any more."""
        timer = self._running.pop(name, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """None of them, ever."""
        self._is_closed = True
        for name in list(self._running):
            self.cancel(name)
