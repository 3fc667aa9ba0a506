"""Acknowledgements of a stateful connection: when ours are due, and whether the server's come.

Touches the clock's timers and no socket. A server keeps what was not acknowledged, and stops when it has no more room; and one that
acknowledges nothing reads nothing, however lively it pings.
"""

from __future__ import annotations

from collections.abc import Callable

from tradesession import policy
from tradesession.clock import Clock, TimerHandle
from tradesession.protocol.signalr.replay import Replay


class Acknowledgements:
    """Of one connection. `send` sends ours; `patience` is how long the server's may be missing, in seconds."""

    def __init__(self, replay: Replay, clock: Clock, *, patience: float, send: Callable[[], None]) -> None:
        self._replay = replay
        self._clock = clock
        self._patience = patience
        self._send = send
        self._timer: TimerHandle | None = None
        self._oldest = 0
        self._oldest_since = 0.0

    def heard(self, size: int) -> None:
        """So many bytes came and have been looked at."""
        self._replay.heard(size)
        if self._replay.is_ack_urgent:
            self._acknowledge()
        elif self._replay.wants_ack and self._timer is None:
            self._timer = self._clock.call_at(self._clock.monotonic() + policy.HUB_ACK_DELAY, self._acknowledge)

    def is_deaf(self, now: float) -> bool:
        """Whether the server has acknowledged nothing of what it was sent for too long."""
        oldest = self._replay.oldest
        if oldest != self._oldest:
            self._oldest, self._oldest_since = oldest, now
        return bool(oldest) and now - self._oldest_since >= self._patience

    def stop(self) -> None:
        """There is no socket any more."""
        self._oldest = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _acknowledge(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._send()
