"""Order books around the prices of a feed: the whole book first, then what changes.

No sockets, no tasks. Always holds: a quote has a bid or an ask, never both; an id is never used for a second price. A changed size comes
with the old id or as a deletion and a new quote, both in turn (fact sheet, section 9.1).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.market import Symbol

LEVELS: Final = 5
"""Prices on each side."""


class DepthSubscriber(Protocol):
    """A connection, as the depth sees it."""

    def hears(self, account_id: int) -> bool:
        """Whether the account is authorised there now."""

    def send_event(self, message: pb.ProtoOADepthEvent) -> None:
        """Send an event to the client."""


@dataclass(frozen=True, slots=True)
class _Quote:
    id: int
    is_bid: bool
    price: int
    size: int

    def message(self) -> pb.ProtoOADepthQuote:
        side = {"bid": self.price} if self.is_bid else {"ask": self.price}
        return pb.ProtoOADepthQuote(id=self.id, size=self.size, **side)


class _Book:
    """The levels of one symbol."""

    def __init__(self, seed: int, symbol: Symbol, bid: int, ask: int) -> None:
        self._random = random.Random(f"{seed}:depth:{symbol.broker.title}:{symbol.instrument.name}")
        self._ids: Iterator[int] = itertools.count(1)
        self._symbol = symbol
        self.quotes: dict[tuple[bool, int], _Quote] = {}
        self.move(bid, ask)

    def move(self, bid: int, ask: int) -> tuple[list[_Quote], list[int]]:
        """The market is there now; what is new (or changed) and which ids are gone."""
        tick = self._symbol.tick
        prices = [(True, bid - step * tick) for step in range(LEVELS)] + [(False, ask + step * tick) for step in range(LEVELS)]
        gone = [quote.id for place, quote in self.quotes.items() if place not in prices]
        new = [] if not self.quotes else self._resized(prices, gone)
        self.quotes = {place: self.quotes.get(place) or self._quote(place, new) for place in prices}
        return new, gone

    def _resized(self, prices: list[tuple[bool, int]], gone: list[int]) -> list[_Quote]:
        """One of the levels that stay gets another size: under its id, or deleted and made anew."""
        staying = [place for place in prices if place in self.quotes]
        if not staying:
            return []
        place = self._random.choice(staying)
        old = self.quotes.pop(place)
        if old.id % 2:
            changed = self.quotes[place] = _Quote(old.id, *place, self._size())
            return [changed]
        gone.append(old.id)
        return []

    def _quote(self, place: tuple[bool, int], new: list[_Quote]) -> _Quote:
        quote = _Quote(next(self._ids), *place, self._size())
        new.append(quote)
        return quote

    def _size(self) -> int:
        return self._symbol.instrument.min_volume * self._random.randint(1, 50)


class Depth:
    """Who hears which order book."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._books: dict[Symbol, _Book] = {}
        self._subscribers: dict[Symbol, dict[tuple[DepthSubscriber, int], None]] = {}

    def is_subscribed(self, subscriber: DepthSubscriber, account_id: int, symbol: Symbol) -> bool:
        """Whether that account of that connection hears the symbol's order book."""
        return (subscriber, account_id) in self._subscribers.get(symbol, {})

    def subscribe(self, subscriber: DepthSubscriber, account_id: int, symbol: Symbol, bid: int, ask: int) -> pb.ProtoOADepthEvent:
        """Send the book's changes there from now on; gives back the whole book, which goes first."""
        self._subscribers.setdefault(symbol, {})[subscriber, account_id] = None
        if symbol not in self._books:
            self._books[symbol] = _Book(self._seed, symbol, bid, ask)
        quotes = [quote.message() for quote in self._books[symbol].quotes.values()]
        return pb.ProtoOADepthEvent(ctidTraderAccountId=account_id, symbolId=symbol.id, newQuotes=quotes)

    def unsubscribe(self, subscriber: DepthSubscriber, account_id: int, symbol: Symbol) -> None:
        """Send no more changes there."""
        listeners = self._subscribers.get(symbol, {})
        listeners.pop((subscriber, account_id), None)
        if not listeners:
            self._subscribers.pop(symbol, None)

    def heard_symbols(self) -> list[Symbol]:
        """The symbols that anybody hears."""
        return list(self._subscribers)

    def drop(self, subscriber: object, account_id: int | None = None) -> None:
        """End all subscriptions of a connection, or of one account on it."""
        for symbol, listeners in list(self._subscribers.items()):
            for who, account in list(listeners):
                if who is subscriber and account_id in (None, account):
                    self.unsubscribe(who, account, symbol)

    def move(self, symbol: Symbol, bid: int, ask: int) -> None:
        """The market is there now: tell those who hear it."""
        book = self._books.get(symbol)
        if book is None:
            return
        new, gone = book.move(bid, ask)
        for subscriber, account_id in list(self._subscribers.get(symbol, {})):
            if subscriber.hears(account_id):
                quotes = [quote.message() for quote in new]
                event = pb.ProtoOADepthEvent(ctidTraderAccountId=account_id, symbolId=symbol.id, newQuotes=quotes, deletedQuotes=gone)
                subscriber.send_event(event)

    def close(self) -> None:
        """Forget every subscriber."""
        self._subscribers.clear()
