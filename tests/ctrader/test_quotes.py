"""Quotes: both sides always, one subscription for everybody, and back when the last one leaves."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from tests.session.lines import turns
from tradesession.ctrader import messages as pb
from tradesession.ctrader.accounts import Account
from tradesession.ctrader.market import BarStream, Market, Quote, QuoteStream
from tradesession.ctrader.symbols import MAX_DIGITS, PRICES_REMEMBERED, SYMBOLS_PER_REQUEST, Prices, Symbol
from tradesession.errors import ConfigurationError, LinkLost, Rejected

pytestmark = pytest.mark.usefixtures("leaks")

ACCOUNT = Account(7)
NAMES = {"EURUSD": (1, 5), "USDJPY": (2, 3), "GER40": (3, 2)}


class Server:
    """Answers what the Market asks, and remembers it; `refuse` is raised for subscriptions, `hold` keeps them waiting."""

    def __init__(self, symbols: dict[str, tuple[int, int]] = NAMES) -> None:
        self.symbols = symbols
        self.asked: list[Message] = []
        self.subscribed: set[int] = set()
        self.refuse: Callable[[list[int]], Exception | None] = lambda ids: None
        self.hold: asyncio.Event | None = None
        self.details = True
        self.market = Market(self.request)

    def request(self, message: Message) -> Awaitable[Any]:
        return self._request(message)

    async def _request(self, message: Message) -> Message:
        self.asked.append(message)
        await asyncio.sleep(0)
        match message:
            case pb.ProtoOASymbolsListReq():
                listed = [pb.ProtoOALightSymbol(symbolId=number, symbolName=name) for name, (number, _) in self.symbols.items()]
                return pb.ProtoOASymbolsListRes(ctidTraderAccountId=7, symbol=listed)
            case pb.ProtoOASymbolByIdReq():
                digits = dict(self.symbols.values())
                found = [pb.ProtoOASymbol(symbolId=number, digits=digits[number], pipPosition=1) for number in message.symbolId]
                return pb.ProtoOASymbolByIdRes(ctidTraderAccountId=7, symbol=found if self.details else [])
            case pb.ProtoOASubscribeLiveTrendbarReq():
                return pb.ProtoOASubscribeLiveTrendbarRes(ctidTraderAccountId=7)
            case pb.ProtoOAUnsubscribeLiveTrendbarReq():
                return pb.ProtoOAUnsubscribeLiveTrendbarRes(ctidTraderAccountId=7)
            case pb.ProtoOASubscribeSpotsReq():
                if self.hold is not None:
                    await self.hold.wait()
                error = self.refuse(list(message.symbolId))
                if error is not None:
                    raise error
                self.subscribed |= set(message.symbolId)
                return pb.ProtoOASubscribeSpotsRes(ctidTraderAccountId=7)
            case pb.ProtoOAUnsubscribeSpotsReq():
                self.subscribed -= set(message.symbolId)
                if self.refuse(list(message.symbolId)) is not None:
                    raise LinkLost("gone")
                return pb.ProtoOAUnsubscribeSpotsRes(ctidTraderAccountId=7)
        raise AssertionError(message)

    def stream(self, *names: str, timestamps: bool = False) -> QuoteStream:
        return QuoteStream(self.market, ACCOUNT, names, "quotes", timestamps=timestamps)

    def spot(self, symbol_id: int, **fields: Any) -> None:
        self.market.spot_event(pb.ProtoOASpotEvent(ctidTraderAccountId=7, symbolId=symbol_id, **fields))

    def requests(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.asked if isinstance(message, kind)]


# --- prices -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("digits", "wire", "price"),
    [(5, 112345, "1.12345"), (3, 15012300, "150.123"), (2, 1850050000, "18500.50"), (0, 300000, "3"), (7, 1, "0.0000100")],
)
def test_a_price_has_the_digits_of_its_symbol(digits: int, wire: int, price: str) -> None:
    assert str(Symbol(1, "X", digits).price(wire)) == price


@given(st.integers(0, 2**64 - 1), st.integers(-(2**31), 2**31 - 1))
def test_any_price_of_any_digits_is_a_number_and_exact_where_the_digits_suffice(wire: int, digits: int) -> None:
    price = Symbol(1, "X", digits).price(wire)
    assert price.is_finite()
    if digits >= 5:
        assert price * 100_000 == wire
        assert -price.as_tuple().exponent <= MAX_DIGITS  # type: ignore[operator]  # an integer, as the price is finite


def test_the_callers_decimal_context_has_no_say() -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        context.traps[decimal.Inexact] = True
        assert str(Symbol(1, "X", 5).price(112345)) == "1.12345"
        assert str(Symbol(1, "X", 2).price(112345)) == "1.12"


@given(st.lists(st.integers(0, 2 * PRICES_REMEMBERED), max_size=4 * PRICES_REMEMBERED), st.integers(0, 7))
def test_a_remembered_price_is_the_price_and_no_more_are_remembered_than_said(wires: list[int], digits: int) -> None:
    symbol = Symbol(1, "X", digits)
    prices = Prices(symbol)
    for wire in wires:
        assert str(prices[wire]) == str(symbol.price(wire))
        assert prices[wire] is prices[wire]
        assert len(prices) <= PRICES_REMEMBERED


def test_more_prices_than_are_remembered_are_prices_all_the_same() -> None:
    prices = Prices(Symbol(1, "X", 5))
    assert [prices[wire] for wire in range(3 * PRICES_REMEMBERED)] == [Decimal(wire) / 100_000 for wire in range(3 * PRICES_REMEMBERED)]
    assert len(prices) == PRICES_REMEMBERED


# --- quotes -------------------------------------------------------------------------------------------------------------------------


async def test_a_quote_comes_when_both_sides_are_known_and_then_with_every_change() -> None:
    server = Server()
    async with server.stream("EURUSD") as stream:
        server.spot(1, bid=112340)
        server.spot(1, ask=112350)
        server.spot(1, bid=112341)
        server.spot(1, ask=112351, bid=112342)
        server.spot(1)
        quotes = [await anext(stream) for _ in range(4)]
    expected = [("1.12340", "1.12350"), ("1.12341", "1.12350"), ("1.12342", "1.12351"), ("1.12342", "1.12351")]
    assert [(str(quote.bid), str(quote.ask)) for quote in quotes] == expected
    assert quotes[0] == Quote(7, "EURUSD", Decimal("1.12340"), Decimal("1.12350"))
    assert repr(quotes[0]).startswith("Quote(account_id=7, symbol='EURUSD', bid=Decimal('1.12340'), ")
    with pytest.raises(AttributeError):
        quotes[0].bid = Decimal(1)  # type: ignore[misc]  # that is what must not be done


async def test_a_price_of_nothing_is_a_price_and_a_missing_one_is_none() -> None:
    server = Server()
    async with server.stream("EURUSD") as stream:
        server.spot(1, ask=5)
        assert stream.statistics().received == 0
        server.spot(1, bid=0)
        assert (await anext(stream)).bid == 0


async def test_timestamps_are_the_servers_and_nonsense_is_none() -> None:
    server = Server()
    async with server.stream("EURUSD", timestamps=True) as stream:
        for milliseconds in (1_767_225_600_500, 2**63 - 1, -(2**63)):
            server.spot(1, bid=1, ask=2, timestamp=milliseconds)
        moments = [(await anext(stream)).timestamp for _ in range(3)]
    assert moments == [dt.datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=dt.UTC), None, None]
    (asked,) = server.requests(pb.ProtoOASubscribeSpotsReq)
    assert asked.subscribeToSpotTimestamp


async def test_spots_of_nobody_are_dropped() -> None:
    server = Server()
    async with server.stream("EURUSD") as stream:
        server.spot(2, bid=1, ask=2)
        server.market.spot_event(pb.ProtoOASpotEvent(ctidTraderAccountId=8, symbolId=1, bid=1, ask=2))
        assert stream.statistics().received == 0


# --- subscriptions ------------------------------------------------------------------------------------------------------------------


async def test_a_stream_subscribes_at_its_first_step_and_not_before() -> None:
    server = Server()
    stream = server.stream("EURUSD", "USDJPY")
    assert server.asked == []
    reader = asyncio.ensure_future(anext(stream))
    await turns(20)
    assert server.subscribed == {1, 2}
    server.spot(2, bid=15000000, ask=15000100)
    assert (await reader).symbol == "USDJPY"
    assert len(server.requests(pb.ProtoOASubscribeSpotsReq)) == 1
    await stream.aclose()
    assert server.subscribed == set()


async def test_symbols_and_their_details_are_asked_once() -> None:
    server = Server()
    for _ in range(3):
        async with server.stream("EURUSD"):
            pass
    assert len(server.requests(pb.ProtoOASymbolsListReq)) == 1
    assert len(server.requests(pb.ProtoOASymbolByIdReq)) == 1


async def test_a_symbol_that_was_not_there_before_is_looked_for_again() -> None:
    server = Server({"EURUSD": (1, 5)})
    async with server.stream("EURUSD"):
        server.symbols = {"EURUSD": (1, 5), "NEW": (9, 2)}
        async with server.stream("NEW"):
            assert server.subscribed == {1, 9}
    assert len(server.requests(pb.ProtoOASymbolsListReq)) == 2


async def test_a_symbol_that_has_changed_is_asked_for_again() -> None:
    server = Server({"EURUSD": (1, 5), "GER40": (3, 2)})
    async with server.stream("EURUSD", "GER40"):
        pass
    server.symbols = {"EURUSD": (1, 4), "GER40": (3, 1)}
    server.market.symbols.changed(pb.ProtoOASymbolChangedEvent(ctidTraderAccountId=7, symbolId=[1]))
    symbols = await server.market.symbols.named(ACCOUNT, ["EURUSD", "GER40"])
    assert [symbol.digits for symbol in symbols] == [4, 2], "what is said to have changed, and no more"


async def test_many_symbols_are_asked_in_pieces() -> None:
    names = {f"S{number}": (number, 2) for number in range(SYMBOLS_PER_REQUEST * 2 + 1)}
    server = Server(names)
    async with server.stream(*names):
        assert [len(message.symbolId) for message in server.requests(pb.ProtoOASymbolByIdReq)] == [SYMBOLS_PER_REQUEST] * 2 + [1]
        assert len(server.subscribed) == len(names)


async def test_two_streams_share_a_subscription_and_the_second_gets_the_last_known_quote_at_once() -> None:
    server = Server()
    async with server.stream("EURUSD") as first:
        server.spot(1, bid=1, ask=2)
        async with server.stream("EURUSD", "GER40") as second:
            assert (await anext(second)).symbol == "EURUSD"
            server.spot(1, bid=3)
            assert [quote.bid for quote in (await anext(first), await anext(first), await anext(second))] == [
                Decimal("0.00001"), Decimal("0.00003"), Decimal("0.00003"),
            ]  # fmt: skip
        assert server.subscribed == {1}
    assert server.subscribed == set()
    assert [list(message.symbolId) for message in server.requests(pb.ProtoOASubscribeSpotsReq)] == [[1], [3]]
    assert [list(message.symbolId) for message in server.requests(pb.ProtoOAUnsubscribeSpotsReq)] == [[3], [1]]


async def test_an_unknown_symbol_is_named_with_what_was_meant() -> None:
    server = Server()
    with pytest.raises(ConfigurationError, match=r"account 7 has no symbol 'EURUSB'; did you mean EURUSD\?"):
        async with server.stream("EURUSB"):
            pass
    with pytest.raises(ConfigurationError):
        await anext(server.stream("NEW"))
    assert server.requests(pb.ProtoOASubscribeSpotsReq) == []


async def test_a_symbol_without_details_is_named() -> None:
    server = Server()
    server.details = False
    with pytest.raises(ConfigurationError, match="lists symbol 'EURUSD' of account 7 and gives no details of it"):
        await anext(server.stream("EURUSD"))


async def test_a_subscription_that_stands_already_is_a_success() -> None:
    server = Server()
    server.subscribed = {1}
    server.refuse = lambda ids: Rejected("ALREADY_SUBSCRIBED") if server.subscribed & set(ids) else None
    async with server.stream("EURUSD", "USDJPY") as stream:
        # Which one it is, is found out one by one; that one begins anew, as else its last known price would not come.
        assert [list(message.symbolId) for message in server.requests(pb.ProtoOASubscribeSpotsReq)] == [[1, 2], [1], [1], [2]]
        assert [list(message.symbolId) for message in server.requests(pb.ProtoOAUnsubscribeSpotsReq)] == [[1]]
        server.spot(1, bid=1, ask=2)
        assert (await anext(stream)).symbol == "EURUSD"


async def test_a_refused_subscription_is_raised_and_ends_the_stream_and_leaves_nothing() -> None:
    server = Server()
    server.refuse = lambda ids: Rejected("SYMBOL_NOT_FOUND")
    stream = server.stream("EURUSD")
    with pytest.raises(Rejected, match="SYMBOL_NOT_FOUND"):
        await anext(stream)
    assert stream.has_ended
    server.refuse = lambda ids: None
    async with server.stream("EURUSD"):
        assert server.subscribed == {1}


async def test_a_stream_that_waits_for_anothers_subscription_tries_itself_when_that_is_refused() -> None:
    server = Server()
    server.hold = asyncio.Event()
    refusals = iter([Rejected("NO_QUOTES"), None])
    server.refuse = lambda ids: next(refusals, None)
    first, second = server.stream("EURUSD"), server.stream("EURUSD")
    readers = [asyncio.ensure_future(anext(stream)) for stream in (first, second)]
    await turns(20)
    assert len(server.requests(pb.ProtoOASubscribeSpotsReq)) == 1
    server.hold.set()
    await turns(20)
    with pytest.raises(Rejected):
        await readers[0]
    server.spot(1, bid=1, ask=2)
    assert (await readers[1]).symbol == "EURUSD"
    await second.aclose()
    assert server.subscribed == set()


async def test_a_caller_who_gives_up_while_subscribing_does_not_take_the_other_with_him() -> None:
    server = Server()
    server.hold = asyncio.Event()
    first, second = server.stream("EURUSD"), server.stream("EURUSD")
    readers = [asyncio.ensure_future(anext(stream)) for stream in (first, second)]
    await turns(20)
    readers[0].cancel()
    await turns(20)
    server.hold.set()
    await turns(20)
    server.spot(1, bid=1, ask=2)
    assert (await readers[1]).symbol == "EURUSD"
    assert first.has_ended
    await second.aclose()


async def test_a_stream_that_ends_while_it_asks_for_symbols_subscribes_nothing() -> None:
    server = Server()
    stream = server.stream("EURUSD")
    reader = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    stream.end(LinkLost("the session is over"))
    with pytest.raises(LinkLost):
        await reader
    assert server.requests(pb.ProtoOASubscribeSpotsReq) == []


async def test_a_stream_that_is_closed_while_it_subscribes_is_unsubscribed() -> None:
    server = Server()
    server.hold = asyncio.Event()
    stream = server.stream("EURUSD")
    reader = asyncio.ensure_future(anext(stream))
    await turns(20)
    closing = asyncio.ensure_future(stream.aclose())
    await turns(20)
    server.hold.set()
    await closing
    with pytest.raises(StopAsyncIteration):
        await reader
    assert server.subscribed == set(), "closed before its subscription was answered, and unsubscribed all the same"


async def test_an_unsubscription_that_fails_is_nobodys_concern() -> None:
    server = Server()
    stream = server.stream("EURUSD")
    await stream.__aenter__()
    server.refuse = lambda ids: LinkLost("gone")
    await stream.aclose()
    await stream.aclose()
    assert len(server.requests(pb.ProtoOAUnsubscribeSpotsReq)) == 1


async def test_what_is_wanted_is_subscribed_anew_with_the_timestamps_that_were_asked_for() -> None:
    server = Server()
    async with server.stream("EURUSD"), server.stream("USDJPY", timestamps=True):
        server.asked.clear()
        await server.market.restore(ACCOUNT)
        await server.market.restore(Account(8))
    asked = server.requests(pb.ProtoOASubscribeSpotsReq)
    assert [(list(message.symbolId), message.subscribeToSpotTimestamp) for message in asked] == [([1], False), ([2], True)]


async def test_a_bar_of_a_time_that_is_none_costs_nothing_but_itself() -> None:
    server = Server()
    stream = BarStream(server.market, ACCOUNT, ["EURUSD"], "M1")
    reader = asyncio.ensure_future(anext(stream))
    await turns(30)
    for minutes in (2**32 - 1, 29_453_760):
        bar = pb.ProtoOATrendbar(volume=1, period=pb.ProtoOATrendbarPeriod.M1, low=100000, utcTimestampInMinutes=minutes)
        server.market.spot_event(pb.ProtoOASpotEvent(ctidTraderAccountId=7, symbolId=1, bid=100000, ask=100001, trendbar=[bar]))
    assert (await reader).time == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    await stream.aclose()
