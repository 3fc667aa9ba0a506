"""When silence means that a stream is dead: /streaming has no heartbeat, so what was heard before is all that can be expected.

Pure; times are parameters, in seconds. A symbol is expected to go on speaking while its trading hours are open. A connection counts as dead
when nothing at all came over it, and every symbol that is expected was silent, for the limit. Always holds: a reconnect that brings
nothing makes the next one wait twice as long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tradesession import policy


@dataclass(slots=True)
class _Heard:
    since: float
    """When it was heard last, or its hours opened, or the connection began."""
    is_open: bool = True
    is_told: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look brings: the symbols that are silent now and were not before, each with its seconds; whether the connection is dead."""

    silent: tuple[tuple[str, float], ...] = ()
    is_dead: bool = False


@dataclass(slots=True)
class Silence:
    """Of one stream, through all its connections. `limit` 0 means that nothing is ever dead; `is_open` knows the hours of a symbol."""

    limit: float
    is_open: Callable[[str, float], bool]
    _heard: dict[str, _Heard] = field(default_factory=dict)
    _received: float = 0.0
    _in_vain: int = 0

    @property
    def patience(self) -> float:
        """Seconds of silence that are put up with now."""
        return min(self.limit * 2.0 ** min(self._in_vain, 30), max(self.limit, policy.TRADINGVIEW_SILENCE_LIMIT))

    def begin(self, now: float) -> None:
        """A connection stands: every silence begins anew."""
        self._received = now
        for heard in self._heard.values():
            heard.since, heard.is_told = now, False

    def received(self, now: float) -> None:
        """Something came, be it an empty line."""
        self._received = now

    def of_all(self, now: float) -> float:
        """Seconds since anything came."""
        return now - self._received

    def heard(self, symbol: str, now: float) -> None:
        """A symbol spoke."""
        self._in_vain = 0
        heard = self._heard.get(symbol)
        if heard is None:
            self._heard[symbol] = _Heard(now)
        else:
            heard.since, heard.is_told = now, False

    def silence(self, symbol: str, now: float) -> float | None:
        """Seconds since a symbol was heard, or could be; None when it never was."""
        heard = self._heard.get(symbol)
        return None if heard is None else now - heard.since

    def look(self, now: float, wall: float) -> Finding:
        """What is to be said now."""
        if not self.limit:
            return Finding()
        silent: list[tuple[str, float]] = []
        expected = alive = 0
        for symbol, heard in self._heard.items():
            was_open, heard.is_open = heard.is_open, self.is_open(symbol, wall)
            if heard.is_open and not was_open:
                heard.since = now
            if not heard.is_open:
                continue
            expected += 1
            seconds = now - heard.since
            alive += seconds < self.patience
            if seconds >= self.limit and not heard.is_told:
                heard.is_told = True
                silent.append((symbol, seconds))
        is_dead = expected > 0 and alive == 0 and now - self._received >= self.patience
        if is_dead:
            self._in_vain += 1
        return Finding(tuple(silent), is_dead)
