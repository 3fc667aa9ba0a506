"""Quotes, bars and order books of a session through the sandbox, in virtual time: whole, subscribed once for everybody, in order."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, TypeVar, assert_type

import pytest

import tradesession
from tests.ctrader.trading import Trading, trading, until
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.ctrader.market import Bar, Depth, Level
from tradesession.errors import ConfigurationError
from tradesession.hooks import NotRestored
from tradesession.sandbox.ctrader import ALPHA
from tradesession.sandbox.ctrader.market import symbol_by_name
from tradesession.sandbox.simulation import World, simulated

T = TypeVar("T")

EURUSD = symbol_by_name(ALPHA, "EURUSD")
SUBSCRIPTIONS = ("Subscribe", "Unsubscribe")
SPOTS, BARS, DEPTH = "ProtoOASubscribeSpotsReq", "ProtoOASubscribeLiveTrendbarReq", "ProtoOASubscribeDepthQuotesReq"
NO_SPOTS, NO_BARS, NO_DEPTH = (name.replace("Subscribe", "Unsubscribe") for name in (SPOTS, BARS, DEPTH))


def subscriptions(trader: Trading, since: int = 0) -> list[str]:
    """The subscriptions and their ends that have arrived, in order."""
    return [name for name in trader.asked()[since:] if name.removeprefix("ProtoOA").startswith(SUBSCRIPTIONS)]


async def take(stream: AsyncIterator[T], count: int) -> list[T]:
    return [await anext(stream) for _ in range(count)]


async def is_quiet(stream: AsyncIterator[Any]) -> bool:
    """Whether nothing comes for a minute."""
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.wait([waiting], timeout=60)
    waiting.cancel()
    await asyncio.wait([waiting])
    return waiting.cancelled()


def price(text: str) -> Decimal:
    return Decimal(text)


# --- quotes -------------------------------------------------------------------------------------------------------------------------


@simulated()
async def test_a_quote_has_both_sides_whichever_of_them_moved(world: World) -> None:
    async with trading(world) as trader, trader.session.spots(trader.account, "EURUSD") as quotes:
        first = await anext(quotes)
        bid, ask = trader.server.feed.last(EURUSD)
        assert (first.bid, first.ask) == (Decimal(bid) / 100_000, Decimal(ask) / 100_000), "the last known price, without a tick"
        trader.server.feed.tick("EURUSD", bid=Decimal("1.2"))
        trader.server.feed.tick("EURUSD", ask=Decimal("1.3"))
        trader.server.feed.tick("EURUSD", bid=Decimal("1.21"), ask=Decimal("1.31"))
        seen = [(quote.bid, quote.ask) for quote in await take(quotes, 3)]
        assert seen == [(price("1.2"), first.ask), (price("1.2"), price("1.3")), (price("1.21"), price("1.31"))]


@simulated()
async def test_whoever_wants_the_servers_time_gets_it_and_the_others_go_on(world: World) -> None:
    async with trading(world) as trader:
        session, account, feed = trader.session, trader.account, trader.server.feed
        async with session.spots(account, "EURUSD") as plain, session.bars(account, "EURUSD", period="M1") as bars:
            await anext(plain)
            async with session.spots(account, "EURUSD", timestamps=True) as stamped:
                before = len(trader.asked())
                feed.tick("EURUSD", bid=Decimal("1.2"))
                quotes = [await anext(stamped)]
                while quotes[-1].bid != price("1.2"):
                    quotes.append(await anext(stamped))
                assert quotes[-1].timestamp is not None
                assert abs(quotes[-1].timestamp.timestamp() - world.clock.wall()) < 1
                assert (await anext(bars)).close == price("1.2")
                assert subscriptions(trader)[:2] == [SPOTS, BARS]
                assert subscriptions(trader)[2:] == [NO_BARS, NO_SPOTS, SPOTS, BARS], "anew, as the wire has no other way"
                assert len(trader.asked()) == before
            assert {quote.timestamp for quote in [await anext(plain)]} == {None}


# --- bars ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_close", [False, True])
@simulated()
async def test_a_bar_is_whole_at_each_change_and_closes_with_the_bid(world: World, with_close: bool) -> None:
    async with trading(world) as trader:
        feed = trader.server.feed
        feed.bars_with_close = with_close
        feed.tick("EURUSD", bid=Decimal("1.10000"), ask=Decimal("1.30000"))
        async with trader.session.bars(trader.account, "EURUSD", period="M1") as bars:
            assert subscriptions(trader) == [SPOTS, BARS]
            opened = dt.datetime.fromtimestamp(world.clock.wall() // 60 * 60, dt.UTC)
            for bid in ("1.10020", "1.09970", "1.10010"):
                feed.tick("EURUSD", bid=Decimal(bid))
            feed.tick("EURUSD", ask=Decimal("1.31"))  # bars are of bids
            seen = await take(bars, 3)
            assert [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in seen] == [
                (price("1.1"), price("1.1002"), price("1.1"), price("1.1002"), 1),
                (price("1.1"), price("1.1002"), price("1.0997"), price("1.0997"), 2),
                (price("1.1"), price("1.1002"), price("1.0997"), price("1.1001"), 3),
            ]
            assert {(bar.symbol, bar.period, bar.time) for bar in seen} == {("EURUSD", "M1", opened)}
            await world.clock.advance(minutes=1)
            feed.tick("EURUSD", bid=Decimal("1.2"))
            bar = await anext(bars)
            assert bar.time == opened + dt.timedelta(minutes=1)
            assert bar.open == bar.high == bar.low == bar.close == price("1.2")
            assert await is_quiet(bars)


@simulated()
async def test_each_stream_of_bars_gets_its_own_period_and_symbol(world: World) -> None:
    async with trading(world) as trader:
        session, account, feed = trader.session, trader.account, trader.server.feed
        async with (
            session.bars(account, "EURUSD", period="M1") as minutes,
            session.bars(account, "EURUSD", "GBPUSD", period="H1") as hours,
        ):
            assert subscriptions(trader) == [SPOTS, BARS, SPOTS, BARS, BARS]
            feed.tick("EURUSD", bid=Decimal("1.1"))
            feed.tick("GBPUSD", bid=Decimal("1.3"))
            assert [(bar.symbol, bar.period) for bar in await take(minutes, 1)] == [("EURUSD", "M1")]
            assert [(bar.symbol, bar.period) for bar in await take(hours, 2)] == [("EURUSD", "H1"), ("GBPUSD", "H1")]
            assert await is_quiet(minutes)


@simulated()
async def test_a_period_that_is_none_is_named_with_those_that_are(world: World) -> None:
    async with trading(world) as trader:
        with pytest.raises(ConfigurationError, match=r"period='M7' is none; there are M1, M2, .* MN1"):
            trader.session.bars(trader.account, "EURUSD", period="M7")  # type: ignore[call-overload]  # what a bot that reads its period might do


# --- order books --------------------------------------------------------------------------------------------------------------------


def book_of(trader: Trading) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
    """The server's own book of EURUSD, best prices first."""
    quotes = trader.server.feed._depth._books[EURUSD].quotes.values()
    sides = [[(one.price, one.size) for one in quotes if one.is_bid is is_bid] for is_bid in (True, False)]
    ordered = (sorted(sides[0], reverse=True), sorted(sides[1]))
    bids, asks = (tuple(Level(Decimal(at) / 100_000, size) for at, size in side) for side in ordered)
    return bids, asks


@simulated()
async def test_a_book_is_whole_and_sorted_after_each_change(world: World) -> None:
    async with trading(world) as trader, trader.session.depth(trader.account, "EURUSD") as books:
        first = await anext(books)
        assert (first.bids, first.asks) == book_of(trader)
        for _ in range(100):  # sizes change under their id and as a deletion with a new id, levels come and go
            trader.server.feed.tick("EURUSD")
            book: Depth = await anext(books)
            assert (book.bids, book.asks) == book_of(trader)
            assert book.bids[0].price < book.asks[0].price
        assert subscriptions(trader) == [DEPTH]


@simulated()
async def test_a_second_reader_gets_the_book_at_once_without_asking_the_server(world: World) -> None:
    async with trading(world) as trader, trader.session.depth(trader.account, "EURUSD") as books:
        await anext(books)
        async with trader.session.depth(trader.account, "EURUSD") as others:
            book = await anext(others)
            assert (book.bids, book.asks) == book_of(trader)
        assert subscriptions(trader) == [DEPTH]


@simulated()
async def test_after_a_loss_a_book_is_the_new_one_and_nothing_of_the_old(world: World) -> None:
    async with trading(world) as trader, trader.session.depth(trader.account, "EURUSD") as books:
        await anext(books)
        await trader.server.faults.cut()
        await until(lambda: not trader.server.connections)
        for _ in range(50):
            trader.server.feed.tick("EURUSD")  # nobody hears of it
        await trader.session.ready()
        await until(lambda: subscriptions(trader) == [DEPTH, DEPTH])
        book = await anext(books)
        assert (book.bids, book.asks) == book_of(trader)


# --- one subscription for everybody ---------------------------------------------------------------------------------------------------


@simulated()
async def test_what_several_want_is_subscribed_once_and_let_go_with_the_last_bars_before_spots(world: World) -> None:
    async with trading(world) as trader:
        session, account = trader.session, trader.account
        quotes, bars, more = (
            session.spots(account, "EURUSD"),
            session.bars(account, "EURUSD", period="M5"),
            session.bars(account, "EURUSD", period="M5"),
        )
        for stream in (quotes, bars, more):
            await stream.__aenter__()
        assert subscriptions(trader) == [SPOTS, BARS]
        await quotes.aclose()
        await bars.aclose()
        assert subscriptions(trader) == [SPOTS, BARS], "one of them wants both still"
        trader.server.feed.tick("EURUSD", bid=Decimal("1.1"))
        assert (await anext(more)).close == price("1.1")
        await more.aclose()
        assert subscriptions(trader) == [SPOTS, BARS, NO_BARS, NO_SPOTS]


@simulated()
async def test_strays_after_the_end_of_a_subscription_reach_no_stream_of_the_market(world: World) -> None:
    async with trading(world) as trader:
        session, account = trader.session, trader.account
        async with session.events(pb.ProtoOASpotEvent) as raw:
            quotes = session.spots(account, "EURUSD")
            await anext(quotes)
            await quotes.aclose()
            async with session.spots(account, "GBPUSD") as others, session.depth(account, "GBPUSD") as books:
                await take(others, 1)
                await take(books, 1)
                before = raw.statistics().received
                (connection,) = trader.server.connections
                connection.send_event(pb.ProtoOASpotEvent(ctidTraderAccountId=account.id, symbolId=EURUSD.id, bid=123_456))
                connection.send_event(
                    pb.ProtoOADepthEvent(
                        ctidTraderAccountId=account.id, symbolId=EURUSD.id, newQuotes=[pb.ProtoOADepthQuote(id=1, size=1, bid=1)]
                    )
                )
                await until(lambda: raw.statistics().received == before + 1)
                assert await is_quiet(others)
                assert await is_quiet(books)
                with pytest.raises(StopAsyncIteration):
                    await anext(quotes)
            async with session.spots(account, "EURUSD") as again:
                assert (await anext(again)).bid != price("1.23456"), "a stray price is not remembered either"


# --- coming back --------------------------------------------------------------------------------------------------------------------


@simulated()
async def test_after_a_loss_everything_comes_back_spots_before_bars_before_books(world: World) -> None:
    async with trading(world) as trader:
        session, account, feed = trader.session, trader.account, trader.server.feed
        async with (
            session.depth(account, "EURUSD") as books,
            session.bars(account, "EURUSD", period="M1") as bars,
            session.spots(account, "EURUSD", "GBPUSD", gaps=True) as quotes,
        ):
            await take(quotes, 2)
            await take(books, 1)
            before = len(trader.asked())
            await trader.server.faults.cut()
            await until(lambda: len(subscriptions(trader, before)) == 3)
            assert subscriptions(trader, before) == [SPOTS, BARS, DEPTH], "one request for both symbols"
            await session.ready()
            feed.tick("EURUSD", bid=Decimal("1.1"))
            assert isinstance(await anext(quotes), tradesession.Gap)
            seen: list[Any] = await take(quotes, 3)
            assert [quote.symbol for quote in seen] == ["EURUSD", "GBPUSD", "EURUSD"], "the last prices first"
            assert (await anext(bars)).close == price("1.1")
            await take(books, 2)


@simulated()
async def test_streams_of_bars_and_books_tell_of_what_they_missed_when_asked_to(world: World) -> None:
    async with trading(world) as trader:
        session, account = trader.session, trader.account
        async with (
            session.bars(account, "EURUSD", period="M1", gaps=True) as bars,
            session.depth(account, "EURUSD", gaps=True) as books,
            session.depth(account, "GBPUSD") as others,
        ):
            assert isinstance(await anext(books), Depth)
            await take(others, 1)
            await trader.server.faults.cut()
            lost_at = world.clock.wall()
            missed = [await anext(bars), await anext(books)]
            await session.ready()
            for gap in missed:
                assert isinstance(gap, tradesession.Gap)
                assert gap.since == pytest.approx(lost_at, abs=0.1)
            trader.server.feed.tick("EURUSD", bid=Decimal("1.1"))
            bar, book = await anext(bars), await anext(books)
            assert_type(bar, Bar | tradesession.Gap)
            assert_type(book, Depth | tradesession.Gap)
            assert isinstance(bar, Bar)
            assert isinstance(book, Depth)
            assert_type(await anext(others), Depth)


@simulated()
async def test_a_subscription_that_does_not_come_back_is_tried_again_and_holds_back_no_other(world: World) -> None:
    async with trading(world) as trader:
        session, account, feed = trader.session, trader.account, trader.server.feed
        async with session.bars(account, "EURUSD", period="M1") as bars, session.spots(account, "EURUSD") as quotes:
            trader.server.faults.unsupported_requests = {pb.ProtoOASubscribeLiveTrendbarReq().payloadType}
            await trader.server.faults.cut()
            await until(lambda: not trader.server.connections)
            await until(lambda: len([record for record in trader.records if isinstance(record, NotRestored)]) >= 3)
            feed.tick("EURUSD", bid=Decimal("1.1"))
            quote = await anext(quotes)
            while quote.bid != price("1.1"):
                quote = await anext(quotes)
            trader.server.faults.unsupported_requests = False
            await until(lambda: subscriptions(trader)[-1] == BARS)
            feed.tick("EURUSD", bid=Decimal("1.2"))
            assert (await anext(bars)).close == price("1.2")
            assert session.state is tradesession.SessionState.READY


@simulated()
async def test_an_account_that_drops_alone_gets_its_subscriptions_back_on_the_same_connection(world: World) -> None:
    async with trading(world) as trader:
        session, account, feed = trader.session, trader.account, trader.server.feed
        async with session.bars(account, "EURUSD", period="M1") as bars:
            before = len(trader.asked())
            trader.server.faults.account_disconnect(account.id)
            await until(lambda: subscriptions(trader, before) == [SPOTS, BARS])
            await until(lambda: account.state is AccountState.AUTHORIZED)
            feed.tick("EURUSD", bid=Decimal("1.1"))
            assert (await anext(bars)).close == price("1.1")
        assert trader.server.state.opened == 1
