from __future__ import annotations

import pytest

from tests.sandbox.raw_client import RawClient, connect
from tradesession.clock import ManualClock
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox
from tradesession.sandbox.ctrader import ALPHA, BETA, Account
from tradesession.sandbox.ctrader.feed import Feed
from tradesession.sandbox.ctrader.market import INSTRUMENTS, symbol_by_name


def subscribe(account: Account, *symbols: int, stamped: bool = False) -> pb.ProtoOASubscribeSpotsReq:
    return pb.ProtoOASubscribeSpotsReq(ctidTraderAccountId=account.id, symbolId=symbols, subscribeToSpotTimestamp=stamped)


def unsubscribe(account: Account, *symbols: int) -> pb.ProtoOAUnsubscribeSpotsReq:
    return pb.ProtoOAUnsubscribeSpotsReq(ctidTraderAccountId=account.id, symbolId=symbols)


async def test_assets_classes_categories_and_symbols_fit_together(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    assets = (await client.request(pb.ProtoOAAssetListReq(ctidTraderAccountId=account.id))).message.asset
    classes = (await client.request(pb.ProtoOAAssetClassListReq(ctidTraderAccountId=account.id))).message.assetClass
    categories = (await client.request(pb.ProtoOASymbolCategoryListReq(ctidTraderAccountId=account.id))).message.symbolCategory
    symbols = (await client.request(pb.ProtoOASymbolsListReq(ctidTraderAccountId=account.id))).message.symbol
    names = {asset.assetId: asset.name for asset in assets}
    assert len(symbols) == len(INSTRUMENTS)
    for symbol, instrument in zip(symbols, INSTRUMENTS, strict=True):
        shown = (symbol.symbolName, names[symbol.baseAssetId], names[symbol.quoteAssetId])
        assert shown == (instrument.name, instrument.base, instrument.quote)
    assert {symbol.symbolCategoryId for symbol in symbols} == {category.id for category in categories}
    assert {category.assetClassId for category in categories} == {one.id for one in classes}


async def test_symbol_ids_are_the_brokers_own(sandbox: Sandbox, client: RawClient) -> None:
    alpha, beta = sandbox.ctrader.accounts[1], sandbox.ctrader.accounts[2]
    await client.authenticate(sandbox, alpha, beta)
    listed = [(await client.request(pb.ProtoOASymbolsListReq(ctidTraderAccountId=one.id))).message.symbol for one in (alpha, beta)]
    assert not {one.symbolId for one in listed[0]} & {one.symbolId for one in listed[1]}
    foreign = listed[0][0].symbolId
    reply = await client.request(pb.ProtoOASymbolByIdReq(ctidTraderAccountId=beta.id, symbolId=[foreign]))
    assert (reply.code, reply.message.ctidTraderAccountId) == ("SYMBOL_NOT_FOUND", beta.id)


async def test_symbols_are_described_in_full_by_their_ids(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    reply = await client.request(pb.ProtoOASymbolByIdReq(ctidTraderAccountId=account.id, symbolId=[8, 1]))
    gold, euro = reply.message.symbol
    assert (gold.symbolId, gold.digits, gold.pipPosition, gold.lotSize) == (8, 2, 0, 10_000)
    assert (euro.symbolId, euro.digits, euro.pipPosition, euro.lotSize, euro.minVolume) == (1, 5, 4, 10_000_000, 100_000)
    assert len(euro.schedule) == 5
    assert euro.HasField("guaranteedStopLoss")  # an explicit false


async def test_an_empty_list_of_symbols_is_refused(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    for request in (pb.ProtoOASymbolByIdReq(ctidTraderAccountId=account.id), subscribe(account), unsubscribe(account)):
        assert (await client.request(request)).code == "INVALID_REQUEST"


async def test_the_trader_of_an_account_is_shown_and_its_book_is_empty(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[2]
    await client.authenticate(sandbox, account)
    trader = (await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))).message.trader
    assert (trader.ctidTraderAccountId, trader.traderLogin, trader.balance) == (account.id, account.login, account.balance)
    assert (trader.brokerName, trader.moneyDigits, trader.leverageInCents) == (BETA.name, 2, 10_000)
    book = (await client.request(pb.ProtoOAReconcileReq(ctidTraderAccountId=account.id))).message
    assert (book.ctidTraderAccountId, len(book.position), len(book.order)) == (account.id, 0, 0)


async def test_a_subscription_is_confirmed_and_then_each_symbol_repeats_its_last_price(sandbox: Sandbox, either: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await either.authenticate(sandbox, account)
    sandbox.ctrader.feed.pause()
    await either.send(subscribe(account, 1, 8), "sub")
    reply, first, second = [await either.receive() for _ in range(3)]
    assert (reply.name, reply.message_id) == ("ProtoOASubscribeSpotsRes", "sub")
    for event, name, symbol_id in ((first, "EURUSD", 1), (second, "XAUUSD", 8)):
        bid, ask = sandbox.ctrader.feed.last(symbol_by_name(ALPHA, name))
        spot = event.message
        assert (spot.ctidTraderAccountId, spot.symbolId, spot.bid, spot.ask) == (account.id, symbol_id, bid, ask)
        assert (event.message_id, spot.HasField("timestamp")) == ("", False)


async def test_ticks_come_with_time_and_carry_the_bid_the_ask_or_both(sandbox: Sandbox, either: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await either.authenticate(sandbox, account)
    await either.request(subscribe(account, 1))
    await sandbox.clock.advance(20)
    spots = [await either.event(pb.ProtoOASpotEvent) for _ in range(50)]
    sides = {(spot.HasField("bid"), spot.HasField("ask")) for spot in spots[1:]}
    assert sides == {(True, False), (False, True), (True, True)}
    bid, ask = spots[0].bid, spots[0].ask
    for spot in spots:
        bid = spot.bid if spot.HasField("bid") else bid
        ask = spot.ask if spot.HasField("ask") else ask
        assert bid < ask


async def test_a_timestamp_comes_when_it_was_asked_for(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    sandbox.ctrader.feed.pause()
    await client.request(subscribe(account, 1, stamped=True))
    await client.request(subscribe(account, 2))
    for name in ("EURUSD", "GBPUSD"):
        sandbox.ctrader.feed.tick(name)
    spots = [await client.event(pb.ProtoOASpotEvent) for _ in range(4)]
    assert [(spot.symbolId, spot.HasField("timestamp")) for spot in spots] == [(1, True), (2, False), (1, True), (2, False)]
    assert abs(spots[2].timestamp / 1000 - sandbox.clock.wall()) < 5


async def test_a_second_subscription_is_refused_as_a_whole_or_taken_for_what_is_new(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    sandbox.ctrader.feed.pause()
    await client.request(subscribe(account, 1))
    assert (await client.request(subscribe(account, 1))).code == "ALREADY_SUBSCRIBED"
    assert (await client.request(subscribe(account, 1, 2))).code == "ALREADY_SUBSCRIBED"
    sandbox.ctrader.settings.partial_subscription = True
    assert (await client.request(subscribe(account, 1))).code == "ALREADY_SUBSCRIBED"
    assert (await client.request(subscribe(account, 1, 2))).name == "ProtoOASubscribeSpotsRes"
    assert [(await client.event(pb.ProtoOASpotEvent)).symbolId for _ in range(2)] == [1, 2]


async def test_after_unsubscribing_nothing_comes_and_unsubscribing_again_is_refused(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    await client.request(subscribe(account, 1, 2))
    assert (await client.request(unsubscribe(account, 1))).name == "ProtoOAUnsubscribeSpotsRes"
    assert (await client.request(unsubscribe(account, 1))).code == "NOT_SUBSCRIBED_TO_SPOTS"
    client.events.clear()
    await sandbox.clock.advance(2)
    await client.is_alive()
    assert {event.message.symbolId for event in client.events} == {2}


async def test_subscriptions_belong_to_one_account_of_one_connection(sandbox: Sandbox, client: RawClient) -> None:
    first, second = sandbox.ctrader.accounts[:2]
    grant = await client.authenticate(sandbox, first, second)
    sandbox.ctrader.feed.pause()
    async with await connect(sandbox) as other:
        await other.authenticate(sandbox, first, grant=grant)
        for connection, account in ((client, first), (client, second), (other, first)):
            assert (await connection.request(subscribe(account, 1))).name == "ProtoOASubscribeSpotsRes"
        await client.request(pb.ProtoOAAccountLogoutReq(ctidTraderAccountId=first.id))
        client.events.clear()
        sandbox.ctrader.feed.tick("EURUSD", bid=1.1, ask=1.2)
        await client.is_alive()
        assert [(event.name, event.message.ctidTraderAccountId) for event in client.events if event.payload_type == 2131] == [
            ("ProtoOASpotEvent", second.id)
        ]
        await other.event(pb.ProtoOASpotEvent)
        assert (await other.event(pb.ProtoOASpotEvent)).bid == 110_000


async def test_a_lost_connection_takes_its_subscriptions_along(sandbox: Sandbox) -> None:
    account = sandbox.ctrader.accounts[0]
    async with await connect(sandbox) as client:
        await client.authenticate(sandbox, account)
        await client.request(subscribe(account, 1))
    await sandbox.clock.advance(1)
    async with await connect(sandbox) as client:
        await client.authenticate(sandbox, account)
        assert (await client.request(subscribe(account, 1))).name == "ProtoOASubscribeSpotsRes"


class Ear:
    def __init__(self) -> None:
        self.heard: list[pb.ProtoOASpotEvent] = []

    def hears(self, account_id: int) -> bool:
        return account_id == 1

    def send_event(self, message: pb.ProtoOASpotEvent) -> None:
        self.heard.append(message)


def prices(seed: int, interval: float = 0.2) -> list[tuple[int, int]]:
    clock = ManualClock()
    feed, ear = Feed(seed, clock), Ear()
    feed.interval = interval
    feed.subscribe(ear, 1, symbol_by_name(ALPHA, "EURUSD"), timestamps=False)
    clock.advance(interval * 500.5)
    return [(spot.bid, spot.ask) for spot in ear.heard]


def test_the_same_seed_gives_the_same_prices_whatever_the_pace() -> None:
    assert prices(1) == prices(1, interval=3.0)
    assert prices(1) != prices(2)


def test_a_feed_that_nobody_hears_does_not_tick() -> None:
    clock = ManualClock()
    feed, ear = Feed(1, clock), Ear()
    assert clock.next_timer() is None
    feed.subscribe(ear, 1, symbol_by_name(ALPHA, "EURUSD"), timestamps=False)
    feed.drop(ear)
    clock.advance(10)
    assert (ear.heard, clock.next_timer()) == ([], None)


def test_a_paused_feed_ticks_only_by_hand_and_goes_on_when_resumed() -> None:
    clock = ManualClock()
    feed, ear = Feed(1, clock), Ear()
    feed.subscribe(ear, 1, symbol_by_name(BETA, "USDJPY"), timestamps=False)
    feed.pause()
    clock.advance(10)
    assert feed.tick("USDJPY", bid=150.001, broker=BETA)[0] == 15_000_100
    assert feed.tick("USDJPY", ask=150.003, broker=BETA) == (15_000_100, 15_000_300)
    assert [(spot.HasField("bid"), spot.HasField("ask")) for spot in ear.heard] == [(True, False), (False, True)]
    feed.resume()
    clock.advance(10)
    assert len(ear.heard) > 20


def test_a_wide_spread_narrows_again() -> None:
    feed, ear = Feed(1, ManualClock()), Ear()
    feed.subscribe(ear, 1, symbol_by_name(ALPHA, "EURUSD"), timestamps=False)
    feed.tick("EURUSD", bid=1.0, ask=1.01)
    spreads = [ask - bid for bid, ask in (feed.tick("EURUSD") for _ in range(3000))]
    assert max(spreads) == 1000
    assert max(spreads[-500:]) < 30
    assert min(spreads) > 0


def test_an_unknown_symbol_is_named_with_those_that_exist() -> None:
    with pytest.raises(KeyError, match="EURUSD"):
        Feed(1, ManualClock()).tick("EURDOG")
