"""Whose turn it is to send: the quotas of one connection, with orders before reads.

Pure. Requests stand in three lanes. Orders go first, then reads, then historical reads, which count against a second, smaller
quota as well; within a lane it is first come first served. A type that the server has blocked stands aside and holds back nobody
behind it.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from tradesession.errors import ConfigurationError

T = TypeVar("T", bound=Hashable)

_ROUNDING = 1e-6  # seconds that the arithmetic may be wrong by; whoever may leave now shall not need a timer for it


class Lane(enum.IntEnum):
    """What a request counts as; smaller goes first."""

    ORDER = 0
    READ = 1
    HISTORY = 2


class TokenBucket:
    """`rate` permits a second, of which `burst` may be taken at once after a pause. Times are monotonic seconds.

    Whether a server counts in fixed or sliding windows is unknown; no second sees more than rate + burst, however it is cut.
    """

    __slots__ = ("_burst", "_full_at", "_interval")

    def __init__(self, rate: float, burst: int) -> None:
        if rate <= 0 or burst < 1:
            raise ConfigurationError(f"a quota of rate={rate:g} a second and burst={burst} lets nothing pass; both must be positive")
        self._interval = 1.0 / rate
        self._burst = burst
        self._full_at = float("-inf")  # when every permit will be back

    def next_at(self, now: float) -> float:
        """When the next permit is to be had: now, or later."""
        at = self._full_at - (self._burst - 1) * self._interval
        return at if at - now > _ROUNDING else now

    def take(self, now: float) -> None:
        """Take the permit that `next_at` promised for now."""
        self._full_at = max(self._full_at, now) + self._interval


class Turns(Generic[T]):
    """The waiting requests of one connection; a ticket stands for each. `kind` is its message type, which the server may block."""

    __slots__ = ("_all", "_blocked", "_historical", "_lanes", "_paused_until")

    def __init__(self, every_request: TokenBucket, historical: TokenBucket) -> None:
        self._all = every_request
        self._historical = historical
        self._lanes: dict[Lane, deque[tuple[T, int]]] = {lane: deque() for lane in Lane}
        self._blocked: dict[int, float] = {}
        self._paused_until = float("-inf")

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def go(self, lane: Lane, kind: int, now: float) -> bool:
        """Whether a request may leave at once; if so, its permits are taken. Nobody of its lane or a faster one is overtaken."""
        if any(self._lanes[other] for other in Lane if other <= lane) or self._free_at(lane, kind, now) > now:
            return False
        self._take(lane, now)
        return True

    def join(self, ticket: T, lane: Lane, kind: int) -> None:
        """Stand in line."""
        self._lanes[lane].append((ticket, kind))

    def leave(self, ticket: T) -> None:
        """Give up waiting; harmless when it has gone already."""
        for lane in self._lanes.values():
            for entry in lane:
                if entry[0] == ticket:
                    lane.remove(entry)
                    return

    def drain(self) -> list[T]:
        """Everybody who waits; afterwards nobody does."""
        waiting = [ticket for line in self._lanes.values() for ticket, _ in line]
        for line in self._lanes.values():
            line.clear()
        return waiting

    def due(self, now: float) -> list[T]:
        """Everybody whose turn is now, in order; their permits are taken."""
        gone: list[T] = []
        for lane, line in self._lanes.items():
            for entry in tuple(line):
                if self._free_at(lane, entry[1], now) <= now:
                    self._take(lane, now)
                    line.remove(entry)
                    gone.append(entry[0])
                elif self._quota_at(lane, now) > now:
                    break
        return gone

    def next_at(self, now: float) -> float | None:
        """When `due` has something to say at the earliest; None when nobody waits."""
        times = [self._free_at(lane, kind, now) for lane, line in self._lanes.items() for _, kind in line]
        return min(times, default=None)

    def earliest(self, lane: Lane, kind: int, now: float) -> float:
        """A request that joined now would not leave before this time; later, if others stand in line."""
        return self._free_at(lane, kind, now)

    def block(self, kind: int, until: float) -> None:
        """The server takes no requests of this type until then."""
        self._blocked[kind] = max(until, self._blocked.get(kind, until))

    def pause(self, until: float) -> None:
        """The server has had enough of everything until then."""
        self._paused_until = max(self._paused_until, until)

    def _quota_at(self, lane: Lane, now: float) -> float:
        at = max(self._paused_until, self._all.next_at(now))
        return max(at, self._historical.next_at(now)) if lane is Lane.HISTORY else at

    def _free_at(self, lane: Lane, kind: int, now: float) -> float:
        return max(self._quota_at(lane, now), self._blocked.get(kind, now))

    def _take(self, lane: Lane, now: float) -> None:
        self._all.take(now)
        if lane is Lane.HISTORY:
            self._historical.take(now)
