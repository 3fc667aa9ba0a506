"""The bars that are forming now, made of the bids of a feed.

Pure. A live bar has no close of its own: it is the bid of the event that it rides on (fact sheet, section 8.3).
"""

from __future__ import annotations

from dataclasses import dataclass

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.calendar import bar_start
from tradesession.sandbox.ctrader.market import Symbol


@dataclass(slots=True)
class _Forming:
    start: int
    open: int
    high: int
    low: int
    volume: int = 0


class LiveBars:
    """One bar for each symbol and period that anybody has asked for. Minutes are since 1970; prices integers of 1e-5."""

    def __init__(self) -> None:
        self._bars: dict[Symbol, dict[pb.ProtoOATrendbarPeriod.ValueType, _Forming]] = {}

    def follow(self, symbol: Symbol, period: pb.ProtoOATrendbarPeriod.ValueType, bid: int, minute: int) -> None:
        """Begin with the last known price, unless it is followed already."""
        self._bars.setdefault(symbol, {}).setdefault(period, _Forming(bar_start(period, minute), bid, bid, bid))

    def tick(self, symbol: Symbol, bid: int, minute: int) -> None:
        """A new bid."""
        periods = self._bars.get(symbol, {})
        for period, bar in periods.items():
            start = bar_start(period, minute)
            if start != bar.start:
                bar = periods[period] = _Forming(start, bid, bid, bid)
            bar.high = max(bar.high, bid)
            bar.low = min(bar.low, bid)
            bar.volume += 1

    def message(self, symbol: Symbol, period: pb.ProtoOATrendbarPeriod.ValueType, *, close: int | None = None) -> pb.ProtoOATrendbar:
        """The bar as it travels; with a close only where a test wants one."""
        bar = self._bars[symbol][period]
        message = pb.ProtoOATrendbar(
            volume=bar.volume,
            period=period,
            low=bar.low,
            deltaOpen=bar.open - bar.low,
            deltaHigh=bar.high - bar.low,
            utcTimestampInMinutes=bar.start,
        )
        if close is not None:
            message.deltaClose = close - bar.low
        return message
