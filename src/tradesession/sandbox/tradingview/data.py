"""What the data endpoints answer: groups, symbols, history, quotes, each as a JSON object.

Pure. Section A3 of the fact sheet. Always holds: errors are envelopes, `{"s": "error", "errmsg": …}`, never exceptions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from tradesession.sandbox.tradingview.faults import Faults
from tradesession.sandbox.tradingview.market import BY_NAME, GROUPS, HISTORY_START, INSTRUMENTS, PREFIX, Bar, Instrument, Market
from tradesession.sandbox.tradingview.settings import Settings

Reply = dict[str, Any]

_LONGEST: Final = 20_000
"""Bars in one answer."""
_TRUNCATED: Final = 100
_EXCHANGE: Final = "SANDBOX"
_DAY: Final = 86_400
_DAILY: Final = ("D", "1D")


def error(message: str) -> Reply:
    """How an endpoint says no."""
    return {"s": "error", "errmsg": message}


class Data:
    """The endpoints of one market. `now` is a second since 1970."""

    def __init__(self, market: Market, settings: Settings, faults: Faults) -> None:
        self._market = market
        self._settings = settings
        self._faults = faults
        self._asked = 0

    # --- groups and symbols ---

    def groups(self) -> Reply:
        """Every group."""
        return {"s": "ok", "d": {"groups": [{"id": group} for group in self._group_ids()]}}

    def permissions(self) -> Reply:
        """The groups that the user may see: all of them."""
        return {"s": "ok", "d": {"groups": self._group_ids()}}

    def symbol_info(self, group: str | None) -> Reply:
        """The columns of all symbols, or of those of a group."""
        chosen = list(INSTRUMENTS)
        if group is not None and self._settings.groups:
            ids = dict(zip(self._group_ids(), GROUPS, strict=False))
            if group not in ids:
                return error("There is no such group")
            chosen = [
                one for one in INSTRUMENTS if one.group == ids[group] or (one is INSTRUMENTS[0] and self._faults.symbol_in_two_groups)
            ]
        columns: Reply = {name: [value(one) for one in chosen] for name, value in _COLUMNS.items()}
        columns["has-daily"] = [self._settings.daily] * len(chosen)
        if self._settings.scalars:
            columns = {name: values[0] if _is_same(name, values) else values for name, values in columns.items()}
        for name, value in (self._faults.symbol_fields or {}).items():
            columns.pop(name, None)
            if value is not None:
                columns[name] = value
        return {"s": "ok"} | columns

    def _group_ids(self) -> list[Any]:
        return list(self._faults.group_ids) if self._faults.group_ids is not None else [PREFIX + group for group in GROUPS]

    # --- quotes, of the trading side ---

    def quotes(self, symbols: str | None, now: int) -> Reply:
        """The last bid and ask of some symbols, named with commas between."""
        found = []
        for name in (symbols or "").split(","):
            instrument = BY_NAME.get(name)
            if instrument is None:
                found.append({"s": "error", "n": name, "v": {}})
            else:
                quote = self._market.quote(instrument, now)
                found.append({"s": "ok", "n": name, "v": {"ask": quote.ask, "bid": quote.bid}})
        return {"s": "ok", "d": found}

    # --- history ---

    def history(self, query: Mapping[str, str], now: int) -> Reply:
        """The bars between two seconds, both included."""
        self._asked += 1
        instrument = BY_NAME.get(query.get("symbol", ""))
        if instrument is None:
            return error("The symbol is not known")
        resolution = query.get("resolution", "")
        if resolution != "1" and (resolution not in _DAILY or not self._settings.daily):
            return error("The resolution is not supported")
        length = 60 if resolution == "1" else _DAY
        try:
            last = int(query["to"])
            first = self._first(query, last, min(last, now), length)
        except (KeyError, ValueError):
            return error("from and to are whole numbers of seconds, and both are needed")
        if min(last, now) - max(first, HISTORY_START) > _LONGEST * length:
            return error("That is too long a time for one request")
        source = self._market.minutes if resolution == "1" else self._market.days
        bars = list(source(instrument, first, last, now))
        return self._answer(self._spoiled(bars, instrument, first, last, now, length), last)

    def _first(self, query: Mapping[str, str], last: int, end: int, length: int) -> int:
        if "countback" in query and self._settings.countback:
            count = min(int(query["countback"]), _LONGEST)
            return end - end % length - (count - 1) * length
        if self._faults.history == "from-ignored":
            return end - (300 if length == 60 else 30) * length
        return int(query["from"])

    def _answer(self, bars: list[Bar], last: int) -> Reply:
        if not bars:
            earlier = last >= HISTORY_START
            if (earlier and self._faults.history != "gap-no-data") or (not earlier and self._faults.history == "left-ok"):
                return {"s": "ok", **{name: [] for name in "tohlcv"}}
            return {"s": "no_data"}
        reply: Reply = {
            "s": "ok",
            "t": [bar.time for bar in bars],
            "o": [bar.open for bar in bars],
            "h": [bar.high for bar in bars],
            "l": [bar.low for bar in bars],
            "c": [bar.close for bar in bars],
            "v": [bar.volume for bar in bars],
        }
        if self._faults.history == "ragged":
            reply["c"].pop()
        if self._faults.history == "strings":
            reply |= {name: [str(price) for price in reply[name]] for name in "ohlc"}
        return reply

    def _spoiled(self, bars: list[Bar], instrument: Instrument, first: int, last: int, now: int, length: int) -> list[Bar]:
        def shifted(bar: Bar, seconds: int) -> Bar:
            return dataclasses.replace(bar, time=bar.time + seconds)

        match self._faults.history:
            case "unsorted":
                return bars[::-1]
            case "exclusive":
                return [bar for bar in bars if first < bar.time < last]
            case "future" if bars and last > now:
                return [*bars, shifted(bars[-1], length)]
            case "unstable" if bars:
                drift = (self._asked % 7 + 1) / instrument.pricescale
                return [dataclasses.replace(bar, high=bar.high + drift) for bar in bars]
            case "truncated":
                return bars[-_TRUNCATED:]
            case "high" if bars:
                return [dataclasses.replace(bar, high=bar.low, low=bar.high + 1 / instrument.pricescale) for bar in bars]
            case "misaligned":
                return [shifted(bar, 7) for bar in bars]
            case "outside" if bars:
                return [shifted(bars[0], -length), *bars]
            case "daily-open" if length == _DAY:
                return [dataclasses.replace(bar, open=(bar.high + bar.low) / 2) for bar in bars]
        return bars


_COLUMNS: Final[Mapping[str, Callable[[Instrument], object]]] = {
    "symbol": lambda one: one.symbol,
    "ticker": lambda one: one.ticker,
    "description": lambda one: one.description,
    "currency": lambda one: one.currency,
    "base-currency": lambda one: one.base,
    "exchange-listed": lambda one: _EXCHANGE,
    "exchange-traded": lambda one: _EXCHANGE,
    "minmovement": lambda one: 1,
    "minmovement2": lambda one: 0,
    "fractional": lambda one: False,
    "pricescale": lambda one: one.pricescale,
    "root": lambda one: None,
    "root-description": lambda one: None,
    "has-intraday": lambda one: True,
    "has-no-volume": lambda one: one.has_no_volume,
    "type": lambda one: one.kind,
    "is-cfd": lambda one: one.is_cfd,
    "timezone": lambda one: "Etc/UTC",
    "session-regular": lambda one: "24x7",
    "session-extended": lambda one: "24x7",
    "session-premarket": lambda one: None,
    "session-postmarket": lambda one: None,
    "supported-resolutions": lambda one: ["1", "5", "15", "60", "1D", "1W", "1M"],
    "intraday-multipliers": lambda one: ["1"],
    "has-weekly-and-monthly": lambda one: False,
    "pointvalue": lambda one: 1,
    "expiration": lambda one: None,
    "bar-source": lambda one: "mid" if one.has_no_volume else "trade",
    "bar-transform": lambda one: "none",
    "bar-fillgaps": lambda one: False,
}


def _is_same(name: str, values: list[Any]) -> bool:
    return name not in ("symbol", "description", "ticker") and bool(values) and all(value == values[0] for value in values)
