"""Prices: for each symbol a walk that depends on the seed alone, one tick a beat for whoever listens.

No sockets, no tasks: beats come from the clock, ticks go to the listeners at once. Always holds: the ask is above the bid; tick n of a
symbol is the same for the same seed, for every listener and every hub; the time of a symbol's ticks grows.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tradesession.clock import Clock
from tradesession.sandbox.beat import Beat

START: Final = 1_767_225_600.0
"""2026-01-01T00:00:00Z, from which numbered ticks count."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What can be traded."""

    name: str
    description: str
    currency: str
    price: float
    digits: int


INSTRUMENTS: Final = {
    one.name: one
    for one in (
        Instrument("EURUSD", "Euro vs US Dollar", "EUR", 1.1, 5),
        Instrument("GBPUSD", "Great Britain Pound vs US Dollar", "GBP", 1.3, 5),
        Instrument("USDJPY", "US Dollar vs Japanese Yen", "USD", 150.0, 3),
        Instrument("XAUUSD", "Gold vs US Dollar", "USD", 2400.0, 2),
    )
}


@dataclass(frozen=True, slots=True)
class Tick:
    """A price. `time` is in seconds since 1970."""

    symbol: str
    number: int
    bid: float
    ask: float
    time: float


Listener = Callable[[Tick], None]


class _Walk:
    """The price of one symbol, in points."""

    def __init__(self, seed: int, instrument: Instrument) -> None:
        self._random = random.Random(f"{seed}:cplugin:{instrument.name}")
        self._digits = instrument.digits
        self._bid = round(instrument.price * 10**instrument.digits)
        self._middle = self._bid

    def step(self) -> tuple[float, float]:
        """Move: bid and ask."""
        self._bid += self._random.choice((-3, -2, -1, 1, 2, 3)) + (self._bid < self._middle // 2)
        ask = self._bid + self._random.randint(1, 12)
        return self._bid / 10**self._digits, ask / 10**self._digits


class Feed:
    """Who listens to which symbol, and the beat."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self._clock = clock
        self._walks = {name: _Walk(seed, instrument) for name, instrument in INSTRUMENTS.items()}
        self._listeners: dict[tuple[object, str | None], Listener] = {}
        self._beat = Beat(clock, lambda: self.interval, lambda: self._listeners, self.tick)
        self._last: dict[str, Tick] = {}
        self._time = 0.0
        self.numbered = False
        """Whether ticks have their number for a time, in milliseconds after START, so that a lost or doubled one shows."""
        self.number = 0
        """Of the last beat."""
        self.interval = 0.2
        """Seconds of the sandbox's clock between two beats. Pushing the clock far with a listener plays every beat on the way: slow it down
        or pause it where that is not wanted."""

    def last(self, symbol: str) -> Tick:
        """The present price; the first one comes when somebody asks."""
        if symbol not in self._last:
            self.tick()
        return self._last[symbol]

    def listen(self, key: object, symbol: str | None, listener: Listener) -> None:
        """Tell the symbol's ticks, or with None all of them, from now on. Once for each key and symbol."""
        self._listeners[key, symbol] = listener
        self._beat.arm()

    def leave(self, key: object, symbol: str | None) -> None:
        """Tell no more."""
        self._listeners.pop((key, symbol), None)
        if not self._listeners:
            self._beat.rest()

    def leave_all(self, key: object) -> None:
        """Tell this key nothing any more."""
        for known, symbol in [entry for entry in self._listeners if entry[0] == key]:
            self.leave(known, symbol)

    def tick(self) -> None:
        """One beat, now."""
        self.number += 1
        now = START + self.number / 1000 if self.numbered else max(self._clock.wall(), self._time + 0.001)
        self._time = now
        for name, walk in self._walks.items():
            bid, ask = walk.step()
            tick = self._last[name] = Tick(name, self.number, bid, ask, now)
            for (_, symbol), listener in list(self._listeners.items()):
                if symbol is None or symbol == name:
                    listener(tick)

    def pause(self) -> None:
        """No more ticks but those of `tick`."""
        self._beat.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._beat.resume()

    def close(self) -> None:
        """Forget every listener and stop."""
        self._listeners.clear()
        self._beat.rest()
