"""Live quotes: which symbols are subscribed, the last quote of each, and the streams that want them.

A spot event holds the bid, the ask or both, as integers of 1e-5; a Quote always holds both, as decimals with the symbol's digits. A symbol
is subscribed once however many streams want it, and unsubscribed when the last one ends.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any, Self

from google.protobuf.message import Message

from tradesession.ctrader.accounts import Account
from tradesession.ctrader.messages import (
    ProtoOASpotEvent,
    ProtoOASubscribeSpotsReq,
    ProtoOASymbolByIdReq,
    ProtoOASymbolsListReq,
    ProtoOAUnsubscribeSpotsReq,
)
from tradesession.errors import ConfigurationError, Error, Rejected
from tradesession.options import suggestion
from tradesession.session.streams import EventStream

WIRE_DIGITS = 5
"""Wire prices are integers of 10^-5 for every symbol, whatever its digits."""

SYMBOLS_PER_REQUEST = 100
"""Ids in one ProtoOASymbolByIdReq: as many were seen to work."""

MAX_DIGITS = 10
"""Digits of a price that are believed: real symbols have at most 6, and a nonsensical number must not cost memory."""

_EXACT = Context(prec=40, traps=[])  # 20 digits of a uint64 and MAX_DIGITS fit; the caller's own context has no say here

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Requester = Callable[[Message], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Symbol:
    """What a quote needs to know of a symbol."""

    id: int
    name: str
    digits: int

    def price(self, wire: int) -> Decimal:
        """The price of a wire integer, with the symbol's digits."""
        unit = Decimal((0, (1,), -min(max(self.digits, 0), MAX_DIGITS)))
        return Decimal(wire).scaleb(-WIRE_DIGITS, _EXACT).quantize(unit, context=_EXACT)


@dataclass(frozen=True, slots=True)
class Quote:
    """Both sides of a symbol's price. `timestamp` is the server's, and None unless timestamps were asked for."""

    account_id: int
    symbol: str
    bid: Decimal
    ask: Decimal
    timestamp: dt.datetime | None = None


@dataclass(slots=True)
class _Book:
    """The last prices of one symbol of one account, and who wants them."""

    symbol: Symbol
    bid: Decimal | None = None
    ask: Decimal | None = None
    timestamp: dt.datetime | None = None
    streams: list[QuoteStream] = field(default_factory=list)
    subscribing: asyncio.Future[None] | None = None
    """Done when its subscription was answered, one way or the other; None when it is."""

    def quote(self, account_id: int) -> Quote | None:
        if self.bid is None or self.ask is None:
            return None
        return Quote(account_id, self.symbol.name, self.bid, self.ask, self.timestamp)


class QuoteStream(EventStream[Quote]):
    """Quotes of some symbols of one account. It subscribes at the first `async for` or `async with`, and unsubscribes when it ends."""

    def __init__(self, spots: Spots, account: Account, names: Sequence[str], *, timestamps: bool, **options: Any) -> None:
        super().__init__(f"spots of {', '.join(names)}", on_close=self._leave, **options)
        self._spots = spots
        self.account = account
        """The account whose symbols they are."""
        self.names = names
        """The names of the symbols."""
        self.timestamps = timestamps
        """Whether the server's own time of each price was asked for."""
        self.books: list[_Book] = []
        """For `Spots`: what the stream is entered in."""
        self._open = False

    async def __aenter__(self) -> Self:
        await self._subscribe()
        return self

    async def __anext__(self) -> Quote:
        await self._subscribe()
        return await super().__anext__()

    async def aclose(self) -> None:
        """End the stream; symbols that nobody else wants are unsubscribed."""
        await super().aclose()
        await self._spots.release(self)

    async def _subscribe(self) -> None:
        if not self._open:
            self._open = True
            try:
                await self._spots.acquire(self)
            except BaseException:
                self._open = False
                raise

    def _leave(self) -> None:
        for book in self.books:
            if self in book.streams:
                book.streams.remove(self)


class Spots:
    """The spot subscriptions of one session. `request` sends a request and gives its reply."""

    def __init__(self, request: Requester) -> None:
        self._request = request
        self._symbols: dict[int, dict[str, int]] = {}  # account -> name -> id
        self._details: dict[tuple[int, int], Symbol] = {}
        self._books: dict[tuple[int, int], _Book] = {}

    async def symbols(self, account: Account, names: Iterable[str]) -> list[Symbol]:
        """The symbols of these names. Raises ConfigurationError for a name that the account does not have."""
        known = self._symbols.get(account.id)
        if known is None:
            listed = await self._request(ProtoOASymbolsListReq(ctidTraderAccountId=account.id))
            known = self._symbols[account.id] = {symbol.symbolName: symbol.symbolId for symbol in listed.symbol}
        wanted: dict[str, int] = {}
        for name in names:
            if name not in known:
                raise ConfigurationError(f"account {account.id} has no symbol {name!r}; {suggestion(name, list(known))}")
            wanted[name] = known[name]
        await self._load_details(account, wanted)
        return [self._details[account.id, symbol_id] for symbol_id in wanted.values()]

    async def acquire(self, stream: QuoteStream) -> None:
        """Subscribe what the stream wants and nobody has; it gets the last known quotes of the rest at once."""
        account_id = stream.account.id
        keys = {(account_id, symbol.id): symbol for symbol in await self.symbols(stream.account, stream.names)}
        while under_way := [
            book.subscribing for key in keys if (book := self._books.get(key)) is not None and book.subscribing is not None
        ]:
            await asyncio.wait(under_way)  # somebody else's subscription, which may be refused
        if stream.has_ended:
            return
        new: list[int] = []
        for key, symbol in keys.items():
            if key not in self._books:
                self._books[key] = _Book(symbol)
                new.append(symbol.id)
            book = self._books[key]
            book.streams.append(stream)
            stream.books.append(book)
            quote = book.quote(account_id)
            if quote is not None:
                stream.put_nowait(quote)
        if new:
            await self._subscribe_new(stream, [self._books[account_id, symbol_id] for symbol_id in new])

    async def release(self, stream: QuoteStream) -> None:
        """The stream wants nothing any more."""
        unwanted = [book.symbol.id for book in stream.books if not book.streams and self._forget(stream.account.id, book)]
        stream.books.clear()
        if unwanted:
            try:
                await self._request(ProtoOAUnsubscribeSpotsReq(ctidTraderAccountId=stream.account.id, symbolId=unwanted))
            except Error:
                return  # the intent is gone, and stray events are dropped: what the server thinks of it no longer matters

    async def restore(self, account: Account) -> None:
        """Subscribe anew what is wanted of this account; its authorisation may have taken the subscriptions with it."""
        wanted = {symbol_id: book for (account_id, symbol_id), book in self._books.items() if account_id == account.id}
        for timestamps in (False, True):
            ids = [symbol_id for symbol_id, book in wanted.items() if any(s.timestamps for s in book.streams) is timestamps]
            if ids:
                await self._subscribe(account.id, ids, timestamps=timestamps)

    def event(self, event: ProtoOASpotEvent) -> None:
        """A spot event arrived; one that nobody wants (any more) is dropped."""
        book = self._books.get((event.ctidTraderAccountId, event.symbolId))
        if book is None:
            return
        if event.HasField("bid"):
            book.bid = book.symbol.price(event.bid)
        if event.HasField("ask"):
            book.ask = book.symbol.price(event.ask)
        if event.HasField("timestamp"):
            book.timestamp = _moment(event.timestamp)
        quote = book.quote(event.ctidTraderAccountId)
        if quote is not None:
            for stream in book.streams:
                stream.put_nowait(quote)

    def _forget(self, account_id: int, book: _Book) -> bool:
        """Whether the book was in use; another one may have taken its place meanwhile."""
        key = (account_id, book.symbol.id)
        if self._books.get(key) is not book:
            return False
        del self._books[key]
        return True

    async def _subscribe_new(self, stream: QuoteStream, books: list[_Book]) -> None:
        subscribing = asyncio.get_running_loop().create_future()
        for book in books:
            book.subscribing = subscribing
        try:
            await self._subscribe(stream.account.id, [book.symbol.id for book in books], timestamps=stream.timestamps)
        except BaseException:
            for book in books:
                self._forget(stream.account.id, book)
            stream.end()
            stream.books.clear()
            raise
        finally:
            for book in books:
                book.subscribing = None
            subscribing.set_result(None)

    async def _subscribe(self, account_id: int, symbol_ids: list[int], *, timestamps: bool) -> None:
        request = ProtoOASubscribeSpotsReq(ctidTraderAccountId=account_id, symbolId=symbol_ids)
        if timestamps:
            request.subscribeToSpotTimestamp = True
        try:
            await self._request(request)
        except Rejected as refusal:
            if refusal.code != "ALREADY_SUBSCRIBED":
                raise
            if len(symbol_ids) > 1:  # which of them, and whether the others were taken, is not told: ask one by one
                for symbol_id in symbol_ids:
                    await self._subscribe(account_id, [symbol_id], timestamps=timestamps)

    async def _load_details(self, account: Account, wanted: dict[str, int]) -> None:
        names = {symbol_id: name for name, symbol_id in wanted.items()}
        missing = [symbol_id for symbol_id in wanted.values() if (account.id, symbol_id) not in self._details]
        for start in range(0, len(missing), SYMBOLS_PER_REQUEST):
            chunk = missing[start : start + SYMBOLS_PER_REQUEST]
            reply = await self._request(ProtoOASymbolByIdReq(ctidTraderAccountId=account.id, symbolId=chunk))
            for symbol in reply.symbol:
                self._details[account.id, symbol.symbolId] = Symbol(symbol.symbolId, names.get(symbol.symbolId, ""), symbol.digits)
        for name, symbol_id in wanted.items():
            if (account.id, symbol_id) not in self._details:
                raise ConfigurationError(f"the server lists symbol {name!r} of account {account.id} and gives no details of it")


def _moment(milliseconds: int) -> dt.datetime | None:
    try:
        return _EPOCH + dt.timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None  # a server's nonsense; the prices beside it may be right
