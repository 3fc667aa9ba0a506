"""The past of every symbol: ticks and bars, made from the seed and the time alone, so that the same question has the same answer always.

Pure. There is a tick of each side every six seconds while the market is open. A bar of a minute is exactly its ticks; of longer periods
ten prices are looked at, so that their highs and lows may lie within those of their minutes. Bars are of bid prices, and none begins
where the market is closed. The past swings around the price at which the live walk begins; it does not lead up to the walk. Facts:
sections 8.3 to 8.5.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Final

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.calendar import MINUTES, bar_start, is_open, next_start
from tradesession.sandbox.ctrader.market import PRICE_SCALE, Symbol

TICK: Final = 6
"""Seconds between two ticks."""

_SAMPLES: Final = 10
"""Prices that a bar is made of."""

_SWINGS: Final = ((86_400 * 45, 0.015), (86_400 * 3, 0.006), (3_600 * 5, 0.0018), (1_200, 0.0006), (96, 0.00015))
"""Waves of noise that the price is the sum of: the seconds between their turning points, and how far they go, as a share of the price."""

_SPREAD: Final = 2
"""Ticks between bid and ask."""

_MASK: Final = 0xFFFF_FFFF


def ticks(
    seed: int, symbol: Symbol, side: pb.ProtoOAQuoteType.ValueType, since: int, until: int, limit: int
) -> tuple[list[tuple[int, int]], bool]:
    """The ticks of one side from `since` to `until` (milliseconds, inclusive) as (time, price), newest first, at most `limit`; and
    whether there are older ones in the window.
    """
    past = _Past(seed, symbol)
    offset = 0 if side == pb.ProtoOAQuoteType.BID else _SPREAD * symbol.tick
    found: list[tuple[int, int]] = []
    second = until // 1000 // TICK * TICK
    while second * 1000 >= since:
        if not is_open(second // 60):
            second = bar_start(pb.ProtoOATrendbarPeriod.D1, second // 60) * 60 - TICK  # back to the day before
            continue
        if len(found) == limit:
            return found, True
        found.append((second * 1000, past.bid(second) + offset))
        second -= TICK
    return found, False


def bars(
    seed: int, symbol: Symbol, period: pb.ProtoOATrendbarPeriod.ValueType, since: int, until: int, limit: int
) -> tuple[list[pb.ProtoOATrendbar], bool]:
    """The newest bars that begin from `since` to `until` (minutes, inclusive), oldest first, at most `limit`; and whether there are
    older ones in the window.
    """
    past = _Past(seed, symbol)
    found: list[pb.ProtoOATrendbar] = []
    for start, end in _spans(period, since, until):
        if len(found) == limit:
            return found[::-1], True
        found.append(past.bar(start, end))
    return found[::-1], False


def _spans(period: pb.ProtoOATrendbarPeriod.ValueType, since: int, until: int) -> Iterator[tuple[int, int]]:
    """The beginnings and ends of the bars that have ticks, newest first."""
    start = bar_start(period, until)
    while start >= since and start > 0:
        end = next_start(period, start)
        if is_open(start) or MINUTES[period] > 1440:
            yield start, end
            start = bar_start(period, start - 1)
        else:
            start = bar_start(period, bar_start(pb.ProtoOATrendbarPeriod.D1, start) - 1)  # back to the day before


class _Past:
    """The bid of one symbol as a function of time."""

    def __init__(self, seed: int, symbol: Symbol) -> None:
        name = f"{seed}:{symbol.broker.title}:{symbol.instrument.name}"
        self._salt = zlib.crc32(name.encode())
        self._tick = symbol.tick
        self._middle = symbol.instrument.price * PRICE_SCALE

    def bid(self, second: int) -> int:
        """The price at that second since 1970, as an integer of 1e-5."""
        share = 0.0
        for wave, (length, height) in enumerate(_SWINGS):
            place, rest = divmod(second, length)
            before, after = self._noise(wave, place), self._noise(wave, place + 1)
            share += height * (before + (after - before) * rest / length)
        return round(self._middle * math.exp(share) / self._tick) * self._tick

    def bar(self, start: int, end: int) -> pb.ProtoOATrendbar:
        """The bar from minute to minute."""
        seconds = (end - start) * 60
        step = max(1, seconds // (_SAMPLES * TICK)) * TICK
        prices = [self.bid(start * 60 + shift) for shift in range(0, seconds, step)]
        last = self.bid(end * 60 - TICK)
        low, high = min(*prices, last), max(*prices, last)
        return pb.ProtoOATrendbar(
            volume=seconds // TICK,
            low=low,
            deltaOpen=prices[0] - low,
            deltaClose=last - low,
            deltaHigh=high - low,
            utcTimestampInMinutes=start,
        )

    def _noise(self, wave: int, place: int) -> float:
        """A number from -1 to 1 that looks like chance."""
        mixed = (self._salt ^ place * 0x9E37_79B1 ^ wave * 0x85EB_CA6B) & _MASK
        mixed = (mixed ^ mixed >> 16) * 0x21F0_AAAD & _MASK
        mixed = (mixed ^ mixed >> 15) * 0x735A_2D97 & _MASK
        return (mixed ^ mixed >> 15) / (_MASK / 2) - 1.0
