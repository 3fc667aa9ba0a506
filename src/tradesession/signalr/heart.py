"""Heart: the pings of a hub connection, and the deadline for the server's.

Touches the clock's timers and no socket. Pings go out at their own pace, whatever else is sent.
"""

from __future__ import annotations

from collections.abc import Callable

from tradesession.clock import Clock, TimerHandle
from tradesession.protocol.keepalive import Keepalive, Pulse


class Heart:
    """Of one connection. `beat` is called when a ping is due, `die` with the seconds of silence when there were too many."""

    def __init__(
        self, clock: Clock, *, interval: float, patience: float, beat: Callable[[float], object], die: Callable[[float], object]
    ) -> None:
        self._clock = clock
        self._keepalive = Keepalive(clock.monotonic(), interval=interval, liveness_timeout=patience)
        self._beat = beat
        self._die = die
        self._timer: TimerHandle | None = None

    @property
    def silence(self) -> float:
        """Seconds since the server has spoken."""
        return self._keepalive.silence(self._clock.monotonic())

    def begin(self) -> None:
        """A socket is in use: both deadlines count from now."""
        self.stop()
        self._keepalive.begin(self._clock.monotonic())
        self._arm()

    def heard(self) -> None:
        """The server has spoken."""
        self._keepalive.received(self._clock.monotonic())

    def stop(self) -> None:
        """There is no socket any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = self._clock.call_at(self._keepalive.next_poll(), self._poll)

    def _poll(self) -> None:
        now = self._clock.monotonic()
        pulse = self._keepalive.poll(now)
        if pulse is Pulse.DEAD:
            self._timer = None
            self._die(self._keepalive.silence(now))
            return
        self._arm()  # first, as a beat may find that it is over
        if pulse is Pulse.BEAT:
            self._beat(self._keepalive.silence(now))
