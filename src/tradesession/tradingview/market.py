"""From the lines of /streaming to updates: who is meant by an id, and quotes with both sides.

Pure. A stream names symbols by symbol or by ticker, as it likes; a server of old sends the two sides of a quote apart, and any may leave
one out. Always holds: an update has its symbol's name, a quote has both sides, and prices of two connections are never mixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from tradesession.errors import Error
from tradesession.tradingview.hours import Hours
from tradesession.tradingview.records import DailyBar, Quote, SymbolInfo, Trade, Update
from tradesession.tradingview.routing import moment, number, objects_of

Side = tuple[Decimal, Decimal | None]
"""A price and its size."""


class Directory:
    """The symbols that the server has, by symbol and by ticker."""

    def __init__(self) -> None:
        self._by_name: dict[str, SymbolInfo] = {}
        self._by_ticker: dict[str, SymbolInfo] = {}
        self._hours: dict[str, Hours | None] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def replace(self, rows: Iterable[SymbolInfo]) -> None:
        """These are all."""
        rows = list(rows)
        self._by_name = {row.symbol: row for row in rows}
        self._by_ticker = {row.ticker: row for row in rows}
        self._hours = {}

    def find(self, name: str) -> SymbolInfo | None:
        """By symbol, else by ticker."""
        return self._by_name.get(name) or self._by_ticker.get(name)

    def symbol(self, name: str) -> str:
        """The symbol of a symbol or ticker; what nobody knows is its own."""
        found = self.find(name)
        return name if found is None else found.symbol

    def ticker(self, name: str) -> str:
        """What requests are to call it."""
        found = self.find(name)
        return name if found is None else found.ticker

    def is_open(self, symbol: str, wall: float) -> bool:
        """Whether it may be traded at this time; True where its hours are not known."""
        if symbol not in self._hours:
            row = self.find(symbol)
            self._hours[symbol] = None if row is None else Hours.parse(row.session_extended or row.session_regular, row.timezone)
        hours = self._hours[symbol]
        return hours is None or hours.is_open(wall)


class Feed:
    """Reads the lines of one connection. `on_unknown` is told what was passed by, `refused` makes the error of an envelope among them."""

    def __init__(self, directory: Directory, on_unknown: Callable[[str], None], refused: Callable[[dict[str, Any]], Error]) -> None:
        self._directory = directory
        self._on_unknown = on_unknown
        self._refused = refused
        self._sides: dict[str, tuple[Side | None, Side | None]] = {}

    def read(self, line: bytes) -> list[Update]:
        """The updates of a line. Raises the error of an envelope that says so."""
        updates = []
        for message in objects_of(line):
            if message is None:
                self._on_unknown("a line of /streaming that is no JSON object")
                continue
            update = self._update(message)
            if update is not None:
                updates.append(update)
        return updates

    def _update(self, message: dict[str, Any]) -> Update | None:
        if message.get("s") == "error" and "id" not in message:
            raise self._refused(message)
        if "heartbeat" in message:  # of later versions: a sign of life, as every byte is
            return None
        name, kind = message.get("id"), message.get("f", "t")
        if not isinstance(name, str) or kind not in ("q", "a", "b", "t", "d"):
            what = f"f={kind!r}"[:40] if isinstance(name, str) else "no id"
            self._on_unknown(f"a message of /streaming with {what}")
            return None
        symbol = self._directory.symbol(name)
        if kind == "t":
            update: Update | None = _trade(symbol, name, message)
        elif kind == "d":
            update = _daily(symbol, name, message)
        else:
            return self._quote(symbol, name, message)
        if update is None:
            self._on_unknown(f"a message of /streaming with f={kind!r} and a price that is no number")
        return update

    def _quote(self, symbol: str, name: str, message: Mapping[str, Any]) -> Quote | None:
        """A quote, once both sides are known; the side that is missing is as it was."""
        bid, ask = self._sides.get(symbol, (None, None))
        if message["f"] == "b":
            bid = _side(message, "bp", "bs") or _side(message, "p", "s") or bid
        elif message["f"] == "a":
            ask = _side(message, "ap", "as") or _side(message, "p", "s") or ask
        else:
            bid, ask = _side(message, "bp", "bs") or bid, _side(message, "ap", "as") or ask
        self._sides[symbol] = (bid, ask)
        if bid is None or ask is None:
            return None
        return Quote(symbol, bid[0], ask[0], bid[1], ask[1], moment(message.get("t")), name)


def _side(message: Mapping[str, Any], price: str, size: str) -> Side | None:
    found = number(message.get(price))
    return None if found is None else (found, number(message.get(size)))


def _trade(symbol: str, name: str, message: Mapping[str, Any]) -> Trade | None:
    price = number(message.get("p"))
    return None if price is None else Trade(symbol, price, number(message.get("s")), moment(message.get("t")), name)


def _daily(symbol: str, name: str, message: Mapping[str, Any]) -> DailyBar | None:
    opened, high, low, close = (number(message.get(key)) for key in "ohlc")
    if opened is None or high is None or low is None or close is None:
        return None
    return DailyBar(symbol, opened, high, low, close, number(message.get("v")), moment(message.get("t")), name)
