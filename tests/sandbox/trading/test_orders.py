"""Orders over the wire: who hears what, with which id, when, and what stays when connections go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.sandbox.raw_client import RawClient, Received, connect
from tests.sandbox.trading.world import BUY, TYPE, kinds
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox
from tradesession.sandbox.ctrader import ALPHA, Account
from tradesession.sandbox.ctrader.market import symbol_by_name


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as running:
        running.ctrader.feed.pause()
        running.ctrader.settings.fill_latency = 0.13
        for account in running.ctrader.accounts:
            account.balance = 1_000_000
        yield running


@pytest.fixture
def account(sandbox: Sandbox) -> Account:
    return sandbox.ctrader.accounts[0]


@pytest.fixture
async def trader(sandbox: Sandbox, client: RawClient, account: Account) -> RawClient:
    """A client that has authorised the account."""
    await client.authenticate(sandbox, account)
    return client


def order(account: Account, **fields: Any) -> pb.ProtoOANewOrderReq:
    fields = {"symbolId": 1, "orderType": TYPE.MARKET, "tradeSide": BUY, "volume": 100_000} | fields
    return pb.ProtoOANewOrderReq(ctidTraderAccountId=account.id, **fields)


async def heard(client: RawClient) -> list[Received]:
    """Everything that has been sent to the client by now and was not looked at."""
    assert await client.is_alive()
    events, client.events = client.events, []
    return events


async def test_own_events_carry_the_id_of_the_request_and_the_servers_do_not(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    await trader.send(order(account, relativeStopLoss=500), "mine")
    accepted = await trader.receive()
    await sandbox.clock.advance(1)
    events = [accepted, *await heard(trader)]
    assert kinds([event.message for event in events]) == ["ACCEPTED", "FILLED", "ACCEPTED+"]
    assert [event.message_id for event in events] == ["mine", "mine", ""]


async def test_what_follows_comes_when_it_is_due(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    settings = sandbox.ctrader.settings  # times beside which it does not count how long this machine takes
    settings.fill_latency = settings.protection_latency = 10.0
    await trader.request(order(account, relativeStopLoss=500))
    await sandbox.clock.advance(5)
    assert await heard(trader) == []
    await sandbox.clock.advance(10)
    assert [event.message.executionType for event in await heard(trader)] == [pb.ProtoOAExecutionType.ORDER_FILLED]
    await sandbox.clock.advance(10)
    assert [event.message.isServerEvent for event in await heard(trader)] == [True]


@pytest.mark.parametrize("ids", ["everyone", "origin"])
async def test_every_connection_with_the_account_hears_of_it(sandbox: Sandbox, trader: RawClient, account: Account, ids: Any) -> None:
    sandbox.ctrader.settings.execution_ids = ids
    other_account = sandbox.ctrader.accounts[1]
    async with await connect(sandbox, transport="websocket") as second, await connect(sandbox) as stranger:
        await second.authenticate(sandbox, account)
        await stranger.authenticate(sandbox, other_account)
        await trader.send(order(account), "first's")
        await trader.receive()
        await sandbox.clock.advance(1)
        seen = await heard(second)
        assert kinds([event.message for event in seen]) == ["ACCEPTED", "FILLED"]
        assert {event.message_id for event in seen} == {"first's" if ids == "everyone" else ""}
        assert await heard(stranger) == []


async def test_orders_and_positions_outlive_connections(sandbox: Sandbox, account: Account) -> None:
    async with await connect(sandbox) as first:
        await first.authenticate(sandbox, account)
        await first.request(order(account, relativeStopLoss=500))
        await first.request(order(account, orderType=TYPE.LIMIT, limitPrice=0.5))
    await sandbox.clock.advance(1)
    async with await connect(sandbox) as second:
        await second.authenticate(sandbox, account)
        book = (await second.request(pb.ProtoOAReconcileReq(ctidTraderAccountId=account.id))).message
        assert (len(book.position), [one.orderType for one in book.order]) == (1, [TYPE.LIMIT])
        whole = (await second.request(pb.ProtoOAReconcileReq(ctidTraderAccountId=account.id, returnProtectionOrders=True))).message
        assert [one.orderType for one in whole.order] == [TYPE.LIMIT, TYPE.STOP_LOSS_TAKE_PROFIT]
    assert list(sandbox.ctrader.book(account).orders) == list(sandbox.ctrader.book(account.id).orders)


async def test_a_market_order_counts_as_an_order_until_it_is_filled(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    await trader.request(order(account))
    question = pb.ProtoOAReconcileReq(ctidTraderAccountId=account.id)
    before = (await trader.request(question)).message
    await sandbox.clock.advance(1)
    after = (await trader.request(question)).message
    assert [(len(book.order), len(book.position)) for book in (before, after)] == [(1, 0), (0, 1)]


async def test_the_feed_hits_a_stop_though_nobody_subscribed(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    await trader.request(order(account, relativeStopLoss=20, relativeTakeProfit=20))
    await sandbox.clock.advance(1)
    await heard(trader)
    sandbox.ctrader.feed.interval = 0.02
    sandbox.ctrader.feed.resume()
    await sandbox.clock.advance(10)
    (hit,) = [event for event in await heard(trader) if event.name != "ProtoHeartbeatEvent"]
    assert kinds([hit.message]) == ["FILLED+"]
    assert sandbox.ctrader.book(account).positions == []
    symbol = symbol_by_name(ALPHA, "EURUSD")
    before = sandbox.ctrader.feed.last(symbol)
    await sandbox.clock.advance(5)
    assert sandbox.ctrader.feed.last(symbol) == before, "nobody wants it to move any more"


async def test_the_balance_of_a_closed_position_is_what_the_trader_shows(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    position_id = (await trader.request(order(account))).message.position.positionId
    await sandbox.clock.advance(1)
    bid, ask = sandbox.ctrader.feed.tick("EURUSD", bid=1.2, ask=1.2001)
    assert bid < ask
    await trader.request(pb.ProtoOAClosePositionReq(ctidTraderAccountId=account.id, positionId=position_id, volume=100_000))
    await sandbox.clock.advance(1)
    detail = (await heard(trader))[-1].message.deal.closePositionDetail
    trader_now = (await trader.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))).message.trader
    assert (trader_now.balance, trader_now.balanceVersion) == (detail.balance, detail.balanceVersion)
    assert detail.balance == 1_000_000 + detail.grossProfit + detail.commission > 1_000_000


# --- refusals --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "not_found", "invalid"),
    [
        ("as seen", "ProtoOAOrderErrorEvent", "ProtoOAErrorRes"),
        ("order error", "ProtoOAOrderErrorEvent", "ProtoOAOrderErrorEvent"),
        ("error", "ProtoOAErrorRes", "ProtoOAErrorRes"),
        ("execution", "ProtoOAExecutionEvent", "ProtoOAExecutionEvent"),
    ],
)
async def test_a_refused_order_is_answered_in_one_of_three_ways(
    sandbox: Sandbox, trader: RawClient, account: Account, route: Any, not_found: str, invalid: str
) -> None:
    sandbox.ctrader.settings.order_refusals = route
    unknown = await trader.request(pb.ProtoOACancelOrderReq(ctidTraderAccountId=account.id, orderId=7))
    assert (unknown.name, unknown.code, unknown.message.ctidTraderAccountId) == (not_found, "ORDER_NOT_FOUND", account.id)
    absolute = await trader.request(order(account, stopLoss=1.0))
    assert (absolute.name, absolute.code) == (invalid, "INVALID_REQUEST")
    gone = await trader.request(pb.ProtoOAClosePositionReq(ctidTraderAccountId=account.id, positionId=8, volume=1))
    assert gone.code == "POSITION_NOT_FOUND"
    if route == "order error":
        assert (unknown.message.orderId, unknown.message.description, gone.message.positionId) == (7, "Order not found with id 7", 8)


async def test_symbols_of_another_broker_cannot_be_traded(trader: RawClient, account: Account) -> None:
    assert (await trader.request(order(account, symbolId=501))).code == "SYMBOL_NOT_FOUND"


# --- faults ------------------------------------------------------------------------------------------------------------------------------


async def test_an_order_can_be_executed_without_a_word_to_whoever_asked(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    async with await connect(sandbox) as second:
        await second.authenticate(sandbox, account)
        sandbox.ctrader.faults.orders_unanswered = "executed"
        await trader.send(order(account, relativeStopLoss=500), "lost")
        await trader.send(order(account, volume=1), "refused")
        await trader.is_alive()
        await sandbox.clock.advance(1)
        assert await heard(trader) == []
        assert kinds([event.message for event in await heard(second)]) == ["ACCEPTED", "FILLED", "ACCEPTED+"]
    assert len(sandbox.ctrader.book(account).positions) == 1
    sandbox.ctrader.faults.clear()
    sandbox.ctrader.feed.tick("EURUSD", bid=0.5, ask=0.6)
    assert kinds([event.message for event in await heard(trader)]) == ["FILLED+"], "what happens later is told again"


async def test_an_order_can_be_lost(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    sandbox.ctrader.faults.orders_unanswered = "dropped"
    await trader.send(order(account), "lost")
    await trader.is_alive()
    await sandbox.clock.advance(1)
    assert await heard(trader) == []
    assert sandbox.ctrader.book(account).orders == {}


async def test_executions_can_come_twice(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    sandbox.ctrader.faults.duplicate_executions = True
    await trader.send(order(account), "twice")
    await trader.is_alive()
    await sandbox.clock.advance(1)
    events = await heard(trader)
    assert kinds([event.message for event in events]) == ["ACCEPTED", "ACCEPTED", "FILLED", "FILLED"]
    assert {event.message_id for event in events} == {"twice"}
    assert len(sandbox.ctrader.book(account).positions) == 1


async def test_an_accepted_order_can_be_rejected_with_the_id_of_its_request(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    sandbox.ctrader.faults.set("reject-accepted-orders", "NO_QUOTES")
    await trader.send(order(account), "mine")
    await trader.receive()
    await sandbox.clock.advance(1)
    (rejected,) = await heard(trader)
    assert (rejected.message_id, rejected.code, kinds([rejected.message])) == ("mine", "NO_QUOTES", ["REJECTED"])


# --- lists -----------------------------------------------------------------------------------------------------------------------------


async def ask(client: RawClient, cls: Any, account: Account, **fields: Any) -> Any:
    return (await client.request(cls(ctidTraderAccountId=account.id, **fields))).message


async def test_orders_and_deals_are_listed_newest_first_and_page_by_page(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    made = []
    for _ in range(3):
        made.append((await trader.request(order(account))).message.order)
        await sandbox.clock.advance(1)
    listed = await ask(trader, pb.ProtoOAOrderListReq, account)
    assert [one.orderId for one in listed.order] == [one.orderId for one in made][::-1]
    assert not listed.hasMore
    deals = await ask(trader, pb.ProtoOADealListReq, account, maxRows=2)
    assert ([deal.orderId for deal in deals.deal], deals.hasMore) == ([made[2].orderId, made[1].orderId], True)
    sandbox.ctrader.settings.rows_per_page = 1
    position_id = made[0].positionId
    first = await ask(trader, pb.ProtoOAOrderListReq, account)
    assert ([one.orderId for one in first.order], first.hasMore) == ([made[2].orderId], True)
    older = await ask(trader, pb.ProtoOAOrderListReq, account, toTimestamp=first.order[-1].utcLastUpdateTimestamp - 1)
    assert [one.orderId for one in older.order] == [made[1].orderId]
    of_position = await ask(trader, pb.ProtoOAOrderListByPositionIdReq, account, positionId=position_id)
    assert ([one.orderId for one in of_position.order], of_position.hasMore) == ([made[0].orderId], False)
    of_position = await ask(trader, pb.ProtoOADealListByPositionIdReq, account, positionId=position_id)
    assert [deal.orderId for deal in of_position.deal] == [made[0].orderId]
    sandbox.ctrader.faults.truncate_history = 1
    assert not (await ask(trader, pb.ProtoOAOrderListReq, account)).hasMore


async def test_a_window_that_is_too_wide_or_none_is_refused(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    now = round(sandbox.clock.wall() * 1000)
    for cls in (pb.ProtoOAOrderListReq, pb.ProtoOADealListReq, pb.ProtoOACashFlowHistoryListReq):
        for since, until in ((now - 604_800_001, now), (now, now - 1)):
            refused = await trader.request(cls(ctidTraderAccountId=account.id, fromTimestamp=since, toTimestamp=until))
            assert refused.code == "INCORRECT_BOUNDARIES"
        assert not (await trader.request(cls(ctidTraderAccountId=account.id, fromTimestamp=now - 604_800_000, toTimestamp=now))).code


async def test_an_order_is_told_in_detail(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    order_id = (await trader.request(order(account))).message.order.orderId
    await sandbox.clock.advance(1)
    details = await ask(trader, pb.ProtoOAOrderDetailsReq, account, orderId=order_id)
    assert (details.order.orderStatus, [deal.orderId for deal in details.deal]) == (2, [order_id])
    unknown = await trader.request(pb.ProtoOAOrderDetailsReq(ctidTraderAccountId=account.id, orderId=1))
    assert (unknown.name, unknown.code) == ("ProtoOAErrorRes", "ORDER_NOT_FOUND")
    assert unknown.message.description == f"Order 1 not found or not belong to trader {account.login}"


async def test_deals_say_what_they_were_set_off_against(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    position_id = (await trader.request(order(account, volume=300_000))).message.position.positionId
    await sandbox.clock.advance(1)
    await trader.request(pb.ProtoOAClosePositionReq(ctidTraderAccountId=account.id, positionId=position_id, volume=100_000))
    await sandbox.clock.advance(1)
    opening, closing = sandbox.ctrader.book(account).deals.values()
    of_opening = await ask(trader, pb.ProtoOADealOffsetListReq, account, dealId=opening.dealId)
    of_closing = await ask(trader, pb.ProtoOADealOffsetListReq, account, dealId=closing.dealId)
    assert [(one.dealId, one.volume) for one in of_opening.offsetBy] == [(closing.dealId, 100_000)]
    assert [(one.dealId, one.volume, one.executionPrice) for one in of_closing.offsetting] == [
        (opening.dealId, 100_000, opening.executionPrice)
    ]
    assert not of_opening.offsetting


async def test_what_positions_would_bring_and_orders_would_tie_up(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    sandbox.ctrader.feed.tick("EURUSD", bid=1.1, ask=1.1001)
    position_id = (await trader.request(order(account, volume=10_000_000))).message.position.positionId
    await sandbox.clock.advance(1)
    sandbox.ctrader.feed.tick("EURUSD", bid=1.1011, ask=1.1012)
    (row,) = (await ask(trader, pb.ProtoOAGetPositionUnrealizedPnLReq, account)).positionUnrealizedPnL
    assert (row.positionId, row.grossUnrealizedPnL, row.netUnrealizedPnL) == (position_id, 10_000, 9_500)
    margins = await ask(trader, pb.ProtoOAExpectedMarginReq, account, symbolId=1, volume=[10_000_000, 100_000])
    assert [(one.volume, one.buyMargin, one.sellMargin) for one in margins.margin] == [
        (10_000_000, 110_120, 110_110),
        (100_000, 1101, 1101),
    ]
    assert (await trader.request(pb.ProtoOAExpectedMarginReq(ctidTraderAccountId=account.id, symbolId=9999))).code == "SYMBOL_NOT_FOUND"


async def test_nobody_deposits_anything(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    now = round(sandbox.clock.wall() * 1000)
    flow = await ask(trader, pb.ProtoOACashFlowHistoryListReq, account, fromTimestamp=now - 1000, toTimestamp=now)
    assert list(flow.depositWithdraw) == []


# --- the log ---------------------------------------------------------------------------------------------------------------------------


async def test_the_requests_are_logged_in_their_order_and_show_no_secret(sandbox: Sandbox, trader: RawClient, account: Account) -> None:
    await trader.request(order(account))
    log = sandbox.ctrader.state.log
    assert [asked.name for asked in log] == ["ProtoOAApplicationAuthReq", "ProtoOAAccountAuthReq", "ProtoOANewOrderReq"]
    assert log[-1].message == order(account)
    assert sandbox.ctrader.client_secret not in repr(log)
