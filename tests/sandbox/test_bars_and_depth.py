"""Live bars, which ride on the spots, and order books: the whole first, then what changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.raw_client import RawClient
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox
from tradesession.sandbox.ctrader import ALPHA, Account
from tradesession.sandbox.ctrader.bars import LiveBars
from tradesession.sandbox.ctrader.depth import LEVELS, Depth
from tradesession.sandbox.ctrader.market import symbol_by_name

PERIOD = pb.ProtoOATrendbarPeriod
EURUSD = symbol_by_name(ALPHA, "EURUSD")


@pytest.fixture
def account(sandbox: Sandbox) -> Account:
    sandbox.ctrader.feed.pause()
    return sandbox.ctrader.accounts[0]


@pytest.fixture
async def reader(sandbox: Sandbox, client: RawClient, account: Account) -> RawClient:
    await client.authenticate(sandbox, account)
    return client


def spots(account: Account, cls: Any = pb.ProtoOASubscribeSpotsReq, *symbols: int) -> Any:
    return cls(ctidTraderAccountId=account.id, symbolId=symbols or [1])


def bars(account: Account, period: Any = PERIOD.M1, cls: Any = pb.ProtoOASubscribeLiveTrendbarReq) -> Any:
    return cls(ctidTraderAccountId=account.id, symbolId=1, period=period)


def depth(account: Account, cls: Any = pb.ProtoOASubscribeDepthQuotesReq, *symbols: int) -> Any:
    return cls(ctidTraderAccountId=account.id, symbolId=symbols or [1])


# --- bars ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["INVALID_REQUEST", "NOT_SUBSCRIBED_TO_SPOTS"])
async def test_bars_need_spots_first(sandbox: Sandbox, reader: RawClient, account: Account, code: Any) -> None:
    sandbox.ctrader.settings.bars_without_spots_code = code
    assert (await reader.request(bars(account))).code == code
    await reader.request(spots(account))
    assert (await reader.request(bars(account))).name == "ProtoOASubscribeLiveTrendbarRes"
    assert (await reader.request(bars(account))).code == "ALREADY_SUBSCRIBED"


async def test_bars_ride_on_what_has_a_bid_one_for_each_period_and_without_a_close(
    sandbox: Sandbox, reader: RawClient, account: Account
) -> None:
    await reader.request(spots(account))
    for period in (PERIOD.M1, PERIOD.H4):
        await reader.request(bars(account, period))
    reader.events.clear()
    feed = sandbox.ctrader.feed
    for bid, ask in ((1.1, 1.2), (None, 1.21), (1.3, 1.31), (1.2, None)):
        feed.tick("EURUSD", bid, ask)
    events = [await reader.event(pb.ProtoOASpotEvent) for _ in range(4)]
    if events[0].bid != 110_000:  # the first price was still on its way
        events = [*events[1:], await reader.event(pb.ProtoOASpotEvent)]
    assert [[bar.period for bar in event.trendbar] for event in events] == [[PERIOD.M1, PERIOD.H4], [], *[[PERIOD.M1, PERIOD.H4]] * 2]
    bar = events[-1].trendbar[1]
    assert not bar.HasField("deltaClose")
    assert (bar.low, bar.low + bar.deltaHigh, bar.volume) == (108_512, 130_000, 3)
    assert bar.low + bar.deltaOpen == 108_512
    assert bar.HasField("utcTimestampInMinutes")
    feed.bars_with_close = True
    feed.tick("EURUSD", bid=1.25)
    event = await reader.event(pb.ProtoOASpotEvent)
    assert [one.low + one.deltaClose for one in event.trendbar] == [125_000] * 2


async def test_bars_end_alone_or_with_their_spots(sandbox: Sandbox, reader: RawClient, account: Account) -> None:
    unsubscribe = pb.ProtoOAUnsubscribeLiveTrendbarReq
    await reader.request(spots(account))
    await reader.request(bars(account))
    assert (await reader.request(bars(account, cls=unsubscribe))).name == "ProtoOAUnsubscribeLiveTrendbarRes"
    assert (await reader.request(bars(account, cls=unsubscribe))).code == "INVALID_REQUEST"
    await reader.request(bars(account))
    await reader.request(spots(account, pb.ProtoOAUnsubscribeSpotsReq))
    await reader.request(spots(account))
    reader.events.clear()
    sandbox.ctrader.feed.tick("EURUSD", bid=1.0)
    await reader.is_alive()
    assert len(reader.events[-1].message.trendbar) == 0


def test_a_new_bar_begins_with_its_first_tick() -> None:
    live = LiveBars()
    live.follow(EURUSD, PERIOD.M5, 100, minute=12)
    live.tick(EURUSD, 90, 14)
    assert live.message(EURUSD, PERIOD.M5) == pb.ProtoOATrendbar(
        volume=1, period=PERIOD.M5, low=90, deltaOpen=10, deltaHigh=10, utcTimestampInMinutes=10
    )
    live.tick(EURUSD, 120, 15)
    live.follow(EURUSD, PERIOD.M5, 7, minute=15)
    assert live.message(EURUSD, PERIOD.M5) == pb.ProtoOATrendbar(
        volume=1, period=PERIOD.M5, low=120, deltaOpen=0, deltaHigh=0, utcTimestampInMinutes=15
    )


# --- order books -----------------------------------------------------------------------------------------------------------------------


class Client:
    """Keeps its own copy of the book from what it hears."""

    def __init__(self) -> None:
        self.book: dict[int, tuple[str, int, int]] = {}
        self.seen: dict[int, tuple[str, int]] = {}
        self.resized = {"same id": 0, "new id": 0}

    def hears(self, account_id: int) -> bool:
        return account_id == 1

    def send_event(self, message: pb.ProtoOADepthEvent) -> None:
        for quote_id in message.deletedQuotes:
            self.book.pop(quote_id)  # nothing is deleted that was not there
        before = {place[:2]: number for number, place in self.book.items()}
        for quote in message.newQuotes:
            assert quote.HasField("bid") != quote.HasField("ask")
            side, price = ("bid", quote.bid) if quote.HasField("bid") else ("ask", quote.ask)
            assert self.seen.setdefault(quote.id, (side, price)) == (side, price), "an id never means another price"
            self.resized["same id"] += quote.id in self.book
            self.resized["new id"] += (side, price) not in before and (side, price) in self.seen.values()
            self.book[quote.id] = (side, price, quote.size)

    def prices(self, side: str) -> list[int]:
        return sorted(price for one, price, _ in self.book.values() if one == side)


def test_the_changes_keep_the_book_of_every_subscriber_whole() -> None:
    market, early, late = Depth(1), Client(), Client()
    early.send_event(market.subscribe(early, 1, EURUSD, 1000, 1002))
    assert (early.prices("bid"), early.prices("ask")) == ([996, 997, 998, 999, 1000], [1002, 1003, 1004, 1005, 1006])
    for bid, ask in [(1001, 1003), (1000, 1004), (1000, 1004), (1050, 1051), *[(1050 + step % 3, 1055) for step in range(60)]]:
        market.move(EURUSD, bid, ask)
        assert early.prices("bid") == list(range(bid - LEVELS + 1, bid + 1))
        assert early.prices("ask") == list(range(ask, ask + LEVELS))
        if bid == 1050 and not late.book:
            late.send_event(market.subscribe(late, 1, EURUSD, bid, ask))
    assert late.book == early.book
    assert min(early.resized.values()) > 3, "sizes change under the old id, and under a new one"


def test_an_order_book_depends_on_the_seed() -> None:
    books = [Depth(seed).subscribe(Client(), 1, EURUSD, 1000, 1002) for seed in (1, 1, 2)]
    assert books[0] == books[1] != books[2]


async def test_the_whole_book_comes_first_and_then_its_changes(sandbox: Sandbox, reader: RawClient, account: Account) -> None:
    assert (await reader.request(depth(account, pb.ProtoOASubscribeDepthQuotesReq, 1, 8))).name == "ProtoOASubscribeDepthQuotesRes"
    whole = [await reader.event(pb.ProtoOADepthEvent) for _ in range(2)]
    assert [(event.symbolId, len(event.newQuotes), len(event.deletedQuotes)) for event in whole] == [(1, 10, 0), (8, 10, 0)]
    sandbox.ctrader.feed.resume()
    await sandbox.clock.advance(2)
    change = await reader.event(pb.ProtoOADepthEvent)
    assert len(change.newQuotes) < 10
    assert (await reader.request(depth(account))).code == "ALREADY_SUBSCRIBED"
    unsubscribe = pb.ProtoOAUnsubscribeDepthQuotesReq
    assert (await reader.request(depth(account, unsubscribe, 1, 8))).name == "ProtoOAUnsubscribeDepthQuotesRes"
    assert (await reader.request(depth(account, unsubscribe))).code == "INVALID_REQUEST"
    reader.events.clear()
    await sandbox.clock.advance(2)
    await reader.is_alive()
    assert reader.events == []


async def test_an_order_book_can_need_spots(sandbox: Sandbox, reader: RawClient, account: Account) -> None:
    sandbox.ctrader.settings.depth_needs_spots = True
    assert (await reader.request(depth(account))).code == "NOT_SUBSCRIBED_TO_SPOTS"
    await reader.request(spots(account))
    assert (await reader.request(depth(account))).code == ""


async def test_an_account_that_leaves_takes_its_order_books_along(sandbox: Sandbox, reader: RawClient, account: Account) -> None:
    grant = sandbox.ctrader.state.grants[-1]
    await reader.request(depth(account))
    await reader.request(pb.ProtoOAAccountLogoutReq(ctidTraderAccountId=account.id))
    await reader.authenticate_again(account, grant)
    assert (await reader.request(depth(account))).code == ""
