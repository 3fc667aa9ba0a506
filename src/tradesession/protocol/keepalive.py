"""When to send a heartbeat, and when silence means that the peer is gone.

Pure. Heartbeats go out at a fixed pace whatever else is sent, so that they never depend on a queue. Any byte from the peer counts as
a sign of life. A peer that speaks and does not read is noticed too: when a full send buffer has not shrunk for as long as it may be
silent.
"""

from __future__ import annotations

import enum
import math

from tradesession import policy
from tradesession.errors import ConfigurationError


class Pulse(enum.Enum):
    """What is to be done now."""

    NOTHING = "nothing"
    BEAT = "beat"
    """Send a heartbeat."""
    DEAD = "dead"
    """The peer has been silent, or has read nothing, for longer than the liveness timeout."""


class Keepalive:
    """The two deadlines of one link, in seconds of monotonic time."""

    __slots__ = ("_dead_at", "_deaf_at", "_heard", "_interval", "_next_beat", "_shrank", "_timeout", "_unsent")

    def __init__(
        self, now: float, *, interval: float = policy.HEARTBEAT_INTERVAL, liveness_timeout: float = policy.LIVENESS_TIMEOUT
    ) -> None:
        if interval <= 0:
            raise ConfigurationError(
                f"heartbeat_interval={interval:g} must be above 0 seconds; the default is {policy.HEARTBEAT_INTERVAL:g}"
            )
        if liveness_timeout <= interval:
            raise ConfigurationError(
                f"liveness_timeout={liveness_timeout:g} must be above heartbeat_interval={interval:g}, "
                "else a healthy link is cut between two beats"
            )
        self._interval = interval
        self._timeout = liveness_timeout
        self.begin(now)

    def begin(self, now: float) -> None:
        """The connection stands: both deadlines count from now."""
        self.received(now)
        self._unsent = 0
        self.looked(now, 0)
        self._next_beat = now + self._interval

    def received(self, now: float) -> None:
        """Something came from the peer."""
        self._heard = now
        self._dead_at = now + self._timeout  # kept as a point in time: `now - heard` may round to just below the timeout for ever

    def looked(self, now: float, unsent: int) -> None:
        """So many bytes wait to be sent; 0 while the send buffer has room. To be told before each `poll`."""
        if not unsent or unsent < self._unsent:
            self._shrank = now
        self._unsent = unsent
        self._deaf_at = self._shrank + self._timeout if unsent else math.inf

    def is_deaf(self, now: float) -> bool:
        """Whether the peer has taken nothing off a full send buffer for too long."""
        return now >= self._deaf_at

    def silence(self, now: float) -> float:
        """Seconds since the peer was last heard."""
        return now - self._heard

    def poll(self, now: float) -> Pulse:
        """What is due at `now`. A BEAT is given once per interval; beats that were missed are not made up for."""
        if now >= self._dead_at or now >= self._deaf_at:
            return Pulse.DEAD
        if now >= self._next_beat:
            self._next_beat += self._interval
            if self._next_beat <= now:
                self._next_beat = now + self._interval
            return Pulse.BEAT
        return Pulse.NOTHING

    def next_poll(self) -> float:
        """The time at which `poll` has something to say at the earliest."""
        return min(self._next_beat, self._dead_at, self._deaf_at)
