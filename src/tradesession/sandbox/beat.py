"""The beat at which a market moves: one timer that comes again while anybody listens.

No tasks: the clock calls it, and it calls its owner at once. Always holds: there is one timer at most, and none while the beat is paused
or nobody listens.
"""

from __future__ import annotations

from collections.abc import Callable

from tradesession.clock import Clock, TimerHandle


class Beat:
    """Calls `move` after `wait()` seconds of the clock, and so on while `is_heard()`; `arm` it when somebody begins to listen."""

    def __init__(self, clock: Clock, wait: Callable[[], float], is_heard: Callable[[], object], move: Callable[[], object]) -> None:
        self._clock = clock
        self._wait = wait
        self._is_heard = is_heard
        self._move = move
        self._timer: TimerHandle | None = None
        self._paused = False

    def arm(self) -> None:
        """Begin, unless it has begun; no effect while it is paused or nobody listens."""
        if self._timer is None and not self._paused and self._is_heard():
            self._timer = self._clock.call_at(self._clock.monotonic() + self._wait(), self._fire)

    def rest(self) -> None:
        """Stop until it is armed again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause(self) -> None:
        """Stop, whoever listens."""
        self._paused = True
        self.rest()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused = False
        self.arm()

    def _fire(self) -> None:
        self._timer = None
        self._move()
        self.arm()
