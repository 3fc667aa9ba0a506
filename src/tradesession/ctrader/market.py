"""Market data as a bot wants it: quotes with both sides, bars with a close, order books, all in decimals.

On the wire a spot event holds the bid, the ask or both, bars ride on it without a close, and depth comes as changes. Here each record is
whole. A stream subscribes at its first `async for` or `async with`, lets go when it ends, and comes back after every loss.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Final, Literal, NamedTuple, Self, TypeVar, get_args

from tradesession.ctrader.accounts import Account
from tradesession.ctrader.messages import ProtoOADepthEvent, ProtoOASpotEvent, ProtoOATrendbarPeriod
from tradesession.ctrader.subscriptions import Feed, Requester, Subscriptions, Topic
from tradesession.ctrader.symbols import Prices, Symbol, Symbols
from tradesession.errors import ConfigurationError
from tradesession.session.streams import EventStream

T = TypeVar("T")

Period = Literal["M1", "M2", "M3", "M4", "M5", "M10", "M15", "M30", "H1", "H4", "H12", "D1", "W1", "MN1"]
"""The periods of bars, as ProtoOATrendbarPeriod names them."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Quote(NamedTuple):
    """Both sides of a symbol's price. `timestamp` is the server's, and None unless timestamps were asked for."""

    # A tuple, as there are thousands of them a second and it takes a quarter of the time that a frozen dataclass does.

    account_id: int
    symbol: str
    bid: Decimal
    ask: Decimal
    timestamp: dt.datetime | None = None


_quote: Final = partial(tuple.__new__, Quote)
"""Quotes at a third of the price: of a tuple of all their fields, and no questions asked."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar as it stands now; bars are of bid prices. `time` is its opening, `volume` the number of ticks in it."""

    account_id: int
    symbol: str
    period: Period
    time: dt.datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


@dataclass(frozen=True, slots=True)
class Level:
    """A price of an order book, and the volume offered there, in cents of a unit."""

    price: Decimal
    size: int


@dataclass(frozen=True, slots=True)
class Depth:
    """An order book, the best prices first."""

    account_id: int
    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


@dataclass(slots=True)
class _Book:
    """What is known of one symbol of one account, and which streams want to know."""

    symbol: Symbol
    prices: Prices
    bid: Decimal | None = None
    ask: Decimal | None = None
    moment: int | None = None  # of the server, in milliseconds since 1970
    depth: dict[int, tuple[bool, Level]] = field(default_factory=dict)  # by the quote's id: whether it is a bid, and the level
    streams: tuple[MarketStream[Any], ...] = ()
    before: tuple[Decimal | None, Decimal | None] = (None, None)  # bid and ask of before the subscription that was asked for last

    def begin(self, feed: Feed) -> None:
        """The feed is about to be subscribed: what is known of it is old, and must not be mixed with what comes."""
        if feed is Feed.SPOTS:
            self.before = (self.bid, self.ask)
            self.bid = self.ask = self.moment = None
        elif feed is Feed.DEPTH:
            self.depth.clear()

    def stand(self, feed: Feed) -> None:
        """It was subscribed all the time: what was known holds, unless something newer has come."""
        if feed is Feed.SPOTS:
            self.bid = self.before[0] if self.bid is None else self.bid
            self.ask = self.before[1] if self.ask is None else self.ask


class MarketStream(EventStream[T]):
    """A stream of some symbols of one account. It subscribes when it is first used, and lets go when it ends."""

    def __init__(
        self, market: Market, account: Account, symbols: Sequence[str], what: str, *, timestamps: bool = False, **options: Any
    ) -> None:
        super().__init__(f"{what} of {', '.join(symbols)}", on_close=self._leave, **options)
        self.account = account
        """The account whose symbols they are."""
        self.symbols = tuple(symbols)
        """The names of the symbols."""
        self.timestamps = timestamps
        """Whether the server's own time of each price was asked for."""
        self._market = market
        self._books: list[_Book] = []
        self._is_open = False

    async def __aenter__(self) -> Self:
        await self._subscribe()
        return self

    async def _something(self) -> None:
        if not self._is_open and not self.has_ended:
            await self._subscribe()
        await super()._something()

    async def aclose(self) -> None:
        """End the stream; what nobody else wants is unsubscribed."""
        await super().aclose()
        await self._let_go()

    def topics(self, symbol: Symbol) -> list[Topic]:
        """What the stream needs of a symbol."""
        raise NotImplementedError

    def on_spot(self, book: _Book, event: ProtoOASpotEvent) -> None:
        """A spot event of one of the symbols; the book has it already."""

    def on_depth(self, book: _Book) -> None:
        """The order book of one of the symbols has changed."""

    async def _subscribe(self) -> None:
        if self._is_open:
            return
        self._is_open = True
        try:
            self._books = await self._market.enter(self)
        except BaseException:
            self._is_open = False
            self.end()
            raise
        if self.has_ended:  # closed while it subscribed
            await self._let_go()

    async def _let_go(self) -> None:
        books, self._books = self._books, []
        if books:
            await self._market.let_go(self, [book.symbol for book in books])

    def _leave(self) -> None:
        self._market.leave(self)


class QuoteStream(MarketStream[Quote]):
    """Quotes: both sides always, the last known one first."""

    def topics(self, symbol: Symbol) -> list[Topic]:
        """See MarketStream."""
        return [Topic(Feed.SPOTS, symbol.id)]

    def on_spot(self, book: _Book, event: ProtoOASpotEvent) -> None:
        """See MarketStream."""
        self.tell(book)

    def tell(self, book: _Book) -> None:
        """The price of one of the symbols, if both its sides are known."""
        bid, ask = book.bid, book.ask
        if bid is not None and ask is not None:
            moment = _moment(book.moment) if self.timestamps and book.moment is not None else None
            self.put_nowait(_quote((self.account.id, book.symbol.name, bid, ask, moment)))


class BarStream(MarketStream[Bar]):
    """Live bars of one period: each change of the bar that is forming."""

    def __init__(self, market: Market, account: Account, symbols: Sequence[str], period: Period, **options: Any) -> None:
        if period not in get_args(Period):
            raise ConfigurationError(f"period={period!r} is none; there are {', '.join(get_args(Period))}")
        super().__init__(market, account, symbols, f"{period} bars", **options)
        self.period = period
        self._number = ProtoOATrendbarPeriod.Value(period)

    def topics(self, symbol: Symbol) -> list[Topic]:
        """See MarketStream."""
        return [Topic(Feed.SPOTS, symbol.id), Topic(Feed.BARS, symbol.id, self._number)]

    def on_spot(self, book: _Book, event: ProtoOASpotEvent) -> None:
        """See MarketStream. A live bar has no close of its own: it is the bid that came with it."""
        for bar in event.trendbar:
            if bar.period != self._number or book.bid is None:
                continue
            price = book.symbol.price
            low, close = price(bar.low), price(bar.low + bar.deltaClose) if bar.HasField("deltaClose") else book.bid
            opening = price(bar.low + bar.deltaOpen)
            high = max(price(bar.low + bar.deltaHigh), opening, close)  # a high of 0 above the low was seen where it was more
            time = _moment(60_000 * bar.utcTimestampInMinutes)
            if time is None:
                continue
            self.put_nowait(
                Bar(event.ctidTraderAccountId, book.symbol.name, self.period, time, opening, high, min(low, close), close, bar.volume)
            )


class DepthStream(MarketStream[Depth]):
    """Order books: the whole book after each change."""

    def topics(self, symbol: Symbol) -> list[Topic]:
        """See MarketStream."""
        return [Topic(Feed.DEPTH, symbol.id)]

    def on_depth(self, book: _Book) -> None:
        """See MarketStream."""
        sides: dict[bool, list[Level]] = {True: [], False: []}
        for is_bid, level in book.depth.values():
            sides[is_bid].append(level)
        bids = sorted(sides[True], key=lambda level: -level.price)
        asks = sorted(sides[False], key=lambda level: level.price)
        self.put_nowait(Depth(self.account.id, book.symbol.name, tuple(bids), tuple(asks)))


class Market:
    """The market data of one session: books of what is subscribed, and the streams that live on them."""

    def __init__(self, request: Requester, request_now: Requester | None = None) -> None:
        self.symbols = Symbols(request)
        self._subscriptions = Subscriptions(
            request,
            request_now=request_now,
            on_begin=lambda account_id, topic: self._tell(account_id, topic, _Book.begin),
            on_standing=lambda account_id, topic: self._tell(account_id, topic, _Book.stand),
        )
        self._books: dict[tuple[int, int], _Book] = {}

    async def enter(self, stream: MarketStream[Any]) -> list[_Book]:
        """Subscribe what the stream needs. It is entered before the request leaves, so that it misses nothing."""
        account_id = stream.account.id
        symbols = await self.symbols.named(stream.account, stream.symbols)
        if stream.has_ended:
            return []
        books = [self._books.setdefault((account_id, symbol.id), _Book(symbol, Prices(symbol))) for symbol in symbols]
        for book in books:
            book.streams += (stream,)
            if isinstance(stream, QuoteStream) and self._stands(account_id, book, Feed.SPOTS):
                stream.tell(book)
            if isinstance(stream, DepthStream) and self._stands(account_id, book, Feed.DEPTH) and book.depth:
                stream.on_depth(book)
        topics = [topic for symbol in symbols for topic in stream.topics(symbol)]
        try:
            await self._subscriptions.acquire(account_id, topics, timestamps=stream.timestamps)
        except BaseException:
            self.leave(stream)
            raise
        return books

    def leave(self, stream: MarketStream[Any]) -> None:
        """Nothing more goes to the stream; what it subscribed stays until it lets go."""
        for key, book in tuple(self._books.items()):
            if stream in book.streams:
                book.streams = tuple(other for other in book.streams if other is not stream)
                if not book.streams:
                    del self._books[key]

    async def let_go(self, stream: MarketStream[Any], symbols: Iterable[Symbol]) -> None:
        """The stream wants nothing any more."""
        self.leave(stream)
        await self._subscriptions.release(stream.account.id, [topic for symbol in symbols for topic in stream.topics(symbol)])

    async def restore(self, account: Account) -> None:
        """Subscribe anew what is wanted of this account; its authorisation may have taken the subscriptions with it."""
        await self._subscriptions.restore(account.id)

    def _stands(self, account_id: int, book: _Book, feed: Feed) -> bool:
        """Whether the feed is subscribed for somebody, so that what is known of it is of now."""
        return self._subscriptions.is_wanted(account_id, Topic(feed, book.symbol.id))

    def _tell(self, account_id: int, topic: Topic, what: Callable[[_Book, Feed], None]) -> None:
        book = self._books.get((account_id, topic.symbol_id))
        if book is not None:
            what(book, topic.feed)

    def spot_event(self, event: ProtoOASpotEvent) -> None:
        """A spot event arrived; one that nobody wants (any more) is dropped."""
        book = self._books.get((event.ctidTraderAccountId, event.symbolId))
        if book is None:
            return
        bid, ask, moment = event.bid, event.ask, event.timestamp
        if bid or event.HasField("bid"):  # the second question costs twice the first
            book.bid = book.prices[bid]
        if ask or event.HasField("ask"):
            book.ask = book.prices[ask]
        if moment or event.HasField("timestamp"):
            book.moment = moment
        for stream in book.streams:
            stream.on_spot(book, event)

    def depth_event(self, event: ProtoOADepthEvent) -> None:
        """A change of an order book arrived. A changed quote comes with its old id, or as a deletion and a new one: both are meant."""
        book = self._books.get((event.ctidTraderAccountId, event.symbolId))
        if book is None:
            return
        for quote_id in event.deletedQuotes:
            book.depth.pop(quote_id, None)
        for quote in event.newQuotes:
            is_bid = quote.HasField("bid")
            book.depth[quote.id] = (is_bid, Level(book.symbol.price(quote.bid if is_bid else quote.ask), quote.size))
        for stream in book.streams:
            stream.on_depth(book)


def _moment(milliseconds: int) -> dt.datetime | None:
    try:
        return _EPOCH + dt.timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None  # a server's nonsense; the prices beside it may be right
