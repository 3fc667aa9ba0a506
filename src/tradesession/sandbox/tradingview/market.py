"""The market of the sandboxed broker: instruments, and their prices as a function of the seed and the second.

Pure. Because a price depends on nothing else, history and stream agree by construction, whoever asks for what and when. Trades happen at
each fifth second, quotes at every one; the market never closes. Bars are made of trades.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

HISTORY_START: Final = 1_704_067_200
"""2024-01-01T00:00:00Z: there is nothing before."""
TRADE_EVERY: Final = 5
"""Seconds between two trades of an instrument."""
_SWINGS: Final = ((10_080, 0.015), (360, 0.004), (30, 0.001), (4, 0.0003))
"""Lengths in minutes and heights of the waves that a price is made of."""
_WIGGLE: Final = 2
_MASK: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, eq=False)  # compared, and quickly hashed, by identity
class Instrument:
    """Something to trade. Prices are counted in ticks of `1 / pricescale`."""

    symbol: str
    ticker: str
    description: str
    currency: str
    base: str | None
    kind: str
    is_cfd: bool
    group: str
    pricescale: int
    price: float
    has_no_volume: bool = False


PREFIX: Final = "sandbox_"
INSTRUMENTS: Final = (
    Instrument("EURUSD", "FX.EURUSD", "Euro vs US Dollar", "USD", "EUR", "forex", False, "forex", 100_000, 1.08512, True),
    Instrument("GBPUSD", "FX.GBPUSD", "British Pound vs US Dollar", "USD", "GBP", "forex", False, "forex", 100_000, 1.26733, True),
    Instrument("USDJPY", "FX.USDJPY", "US Dollar vs Japanese Yen", "JPY", "USD", "forex", False, "forex", 1_000, 149.872, True),
    Instrument("GER40", "CFD.GER40", "Germany 40, cash", "EUR", None, "index", True, "cfd", 100, 17742.3),
    Instrument("US100", "CFD.US100", "US Tech 100, cash", "USD", None, "index", True, "cfd", 100, 17985.7),
    Instrument("BTCUSD", "COIN.BTCUSD", "Bitcoin vs US Dollar", "USD", "BTC", "crypto", False, "crypto", 100, 52190.0),
    Instrument("ETHUSD", "COIN.ETHUSD", "Ether vs US Dollar", "USD", "ETH", "crypto", False, "crypto", 100, 2891.4),
)
BY_NAME: Final = {name: instrument for instrument in INSTRUMENTS for name in (instrument.symbol, instrument.ticker)}
GROUPS: Final = tuple(dict.fromkeys(instrument.group for instrument in INSTRUMENTS))


@dataclass(frozen=True, slots=True)
class Trade:
    """At that second since 1970. A size of 0 marks an artificial trade, as Forex has them."""

    time: int
    price: float
    size: int


@dataclass(frozen=True, slots=True)
class Quote:
    """At that second since 1970."""

    time: int
    bid: float
    ask: float
    bid_size: int
    ask_size: int


@dataclass(frozen=True, slots=True)
class Bar:
    """From `time`, a second since 1970, on."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: int


class Market:
    """All prices of one seed."""

    def __init__(self, seed: int) -> None:
        self._salts = {instrument: zlib.crc32(f"{seed}:{instrument.symbol}".encode()) for instrument in INSTRUMENTS}
        self._anchor = lru_cache(maxsize=65_536)(self._find_anchor)
        self._whole_day = lru_cache(maxsize=1024)(self._day)

    # --- what happens at one second ---

    def trade(self, instrument: Instrument, second: int) -> Trade | None:
        """The trade of that second, where there is one."""
        if second % TRADE_EVERY:
            return None
        size = 0 if instrument.has_no_volume else self._size(instrument, second)
        return Trade(second, self._price(instrument, second) / instrument.pricescale, size)

    def quote(self, instrument: Instrument, second: int) -> Quote:
        """The best bid and ask of that second."""
        middle, scale = self._price(instrument, second), instrument.pricescale
        sizes = _noise(self._salts[instrument], 11, second) % 90 + 10
        return Quote(second, (middle - 1) / scale, (middle + 1) / scale, sizes, 110 - sizes)

    # --- bars ---

    def minutes(self, instrument: Instrument, first: int, last: int, now: int) -> Iterator[Bar]:
        """The minute bars that begin between two seconds, both included, made of what has happened up to `now`."""
        start = max(first + -first % 60, HISTORY_START)
        for time in range(start, min(last, now) + 1, 60):
            yield self.minute(instrument, time, now)

    def minute(self, instrument: Instrument, time: int, now: int) -> Bar:
        """The bar of the minute that begins at that second; there is a trade at its first one."""
        seconds = range(time, min(time + 59, now) + 1, TRADE_EVERY)
        prices = [self._price(instrument, second) for second in seconds]
        volume = len(seconds) if instrument.has_no_volume else sum(self._size(instrument, second) for second in seconds)
        scale = instrument.pricescale
        return Bar(time, prices[0] / scale, max(prices) / scale, min(prices) / scale, prices[-1] / scale, volume)

    def days(self, instrument: Instrument, first: int, last: int, now: int) -> Iterator[Bar]:
        """The daily bars that begin between two seconds."""
        start = max(first + -first % 86_400, HISTORY_START)
        for time in range(start, min(last, now) + 1, 86_400):
            yield self.day(instrument, time, now)

    def day(self, instrument: Instrument, time: int, now: int) -> Bar:
        """The bar of the day that begins at that second."""
        return self._whole_day(instrument, time, time + 86_399) if now >= time + 86_399 else self._day(instrument, time, now)

    def _day(self, instrument: Instrument, time: int, now: int) -> Bar:
        end = now // 60 * 60
        anchors = [self._anchor(instrument, minute) for minute in range(time // 60, end // 60 + 2)]
        scale = instrument.pricescale
        latest = self.minute(instrument, end, now)
        high, low = max(self._price(instrument, time) / scale, latest.high), min(self._price(instrument, time) / scale, latest.low)
        for index, (before, after) in enumerate(itertools.pairwise(anchors)):
            reach = max(before, after) + _WIGGLE, min(before, after) - _WIGGLE
            if reach[0] / scale > high or reach[1] / scale < low:  # else this minute cannot have the day's extremes
                bar = self.minute(instrument, time + 60 * index, now)
                high, low = max(high, bar.high), min(low, bar.low)
        volume = 20 * ((now - time) // TRADE_EVERY + 1)  # about what its minutes add up to, without making them all
        return Bar(time, anchors[0] / scale, high, low, latest.close, volume)

    # --- prices ---

    def _price(self, instrument: Instrument, second: int) -> int:
        minute, rest = divmod(second, 60)
        before = self._anchor(instrument, minute)
        if not rest:
            return before
        after = self._anchor(instrument, minute + 1)
        return before + round((after - before) * rest / 60) + _noise(self._salts[instrument], 7, second) % (2 * _WIGGLE + 1) - _WIGGLE

    def _find_anchor(self, instrument: Instrument, minute: int) -> int:
        share, salt = 0.0, self._salts[instrument]
        for wave, (length, height) in enumerate(_SWINGS):
            place, rest = divmod(minute, length)
            before, after = _remembered_noise(salt, wave, place), _remembered_noise(salt, wave, place + 1)
            share += height * ((before + (after - before) * rest / length) / (_MASK / 2) - 1)
        return round(instrument.price * math.exp(share) * instrument.pricescale)

    def _size(self, instrument: Instrument, second: int) -> int:
        return _noise(self._salts[instrument], 9, second) % 40 + 1


def _noise(salt: int, wave: int, place: int) -> int:
    """A number of 32 bits that looks like chance."""
    mixed = (salt ^ place * 0x9E37_79B1 ^ wave * 0x85EB_CA6B) & _MASK
    mixed = (mixed ^ mixed >> 16) * 0x21F0_AAAD & _MASK
    mixed = (mixed ^ mixed >> 15) * 0x735A_2D97 & _MASK
    return mixed ^ mixed >> 15


_remembered_noise = lru_cache(maxsize=65_536)(_noise)
"""For the waves, whose places stay the same for many minutes."""
