"""The order book by itself: which events follow which request, and what they show."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.trading.world import BUY, LOT, SELL, START, TYPE, World, kinds
from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.refusal import Refusal

STATUS = pb.ProtoOAPositionStatus
METHOD = pb.ProtoOAOrderTriggerMethod


@pytest.fixture
def world() -> World:
    world = World()
    world.price("EURUSD", 1.10000, 1.10010)
    return world


# --- market orders --------------------------------------------------------------------------------------------------------------------


def test_a_market_order_is_accepted_filled_and_then_protected(world: World) -> None:
    accepted = world.order(relativeStopLoss=500, relativeTakeProfit=1000, clientOrderId="mine", label="l", comment="c")
    assert kinds(world.told) == ["ACCEPTED"]
    order, position = accepted.order, accepted.position
    assert (order.orderStatus, order.executedVolume, order.closingOrder) == (pb.ProtoOAOrderStatus.ORDER_STATUS_ACCEPTED, 0, False)
    assert (order.timeInForce, order.clientOrderId) == (pb.ProtoOATimeInForce.IMMEDIATE_OR_CANCEL, "mine")
    assert (order.tradeData.label, order.tradeData.comment, order.positionId) == ("l", "c", position.positionId)
    assert (order.relativeStopLoss, order.relativeTakeProfit) == (500, 1000)
    assert (position.positionStatus, position.tradeData.volume) == (STATUS.POSITION_STATUS_CREATED, 0)
    assert (position.price, position.usedMargin) == (0.0, 0)
    assert not accepted.HasField("deal")

    filled, protected = world.wait()
    assert kinds([filled, protected]) == ["FILLED", "ACCEPTED+"]
    assert (filled.order.executionPrice, filled.order.executedVolume, filled.order.orderId) == (1.1001, 100_000, order.orderId)
    assert filled.order.tradeData.closeTimestamp == START + 10
    assert (filled.deal.dealStatus, filled.deal.executionPrice, filled.deal.commission) == (pb.ProtoOADealStatus.FILLED, 1.1001, -3)
    assert (filled.deal.createTimestamp, filled.deal.executionTimestamp) == (START, START + 10)
    assert (filled.position.positionStatus, filled.position.price) == (STATUS.POSITION_STATUS_OPEN, 1.1001)
    assert not filled.position.HasField("stopLoss")  # for a moment it is unprotected
    guard = protected.order
    assert guard.orderId != order.orderId
    assert (guard.orderType, guard.closingOrder, guard.tradeData.tradeSide) == (TYPE.STOP_LOSS_TAKE_PROFIT, True, SELL)
    assert (guard.stopPrice, guard.limitPrice, guard.timeInForce) == (1.0951, 1.1101, pb.ProtoOATimeInForce.GOOD_TILL_CANCEL)
    assert (protected.position.stopLoss, protected.position.takeProfit) == (1.0951, 1.1101)
    assert not protected.HasField("deal")


def test_without_protection_there_is_no_third_event(world: World) -> None:
    world.order(side=SELL)
    assert kinds(world.wait()) == ["FILLED"]
    assert world.ledger.positions[0].price == 1.1


def test_a_short_position_is_protected_the_other_way_round(world: World) -> None:
    position = world.opened(SELL, relativeStopLoss=500, relativeTakeProfit=1000)
    assert (position.stopLoss, position.takeProfit) == (1.105, 1.09)


def test_the_figures_of_a_recording_are_met(world: World) -> None:
    """Two deals in one position, closed in part: commission, margin and the mean price that first in, first out leaves."""
    world.price("EURUSD", 1.11980, 1.11987)
    position = world.opened(volume=200_000)
    world.price("EURUSD", 1.11980, 1.11988)
    added = world.order(volume=100_000, positionId=position.positionId)
    assert added.position.positionId == position.positionId
    world.wait()
    assert (position.tradeData.volume, round(position.price, 7)) == (300_000, 1.1198733)
    assert (position.commission, position.usedMargin) == (-8, 3360)
    world.close(position.positionId, 100_000)
    world.wait()
    assert (position.tradeData.volume, position.price, position.commission) == (200_000, 1.119875, -5)


def test_a_market_range_order_is_filled_within_its_slippage_and_dropped_beyond(world: World) -> None:
    base: dict[str, Any] = {"baseSlippagePrice": 1.1001, "slippageInPoints": 5}
    world.order(TYPE.MARKET_RANGE, **base)
    assert kinds(world.wait()) == ["FILLED"]
    world.order(TYPE.MARKET_RANGE, **base)
    world.price("EURUSD", 1.1001, 1.10016)
    dropped = world.wait()
    assert kinds(dropped) == ["CANCELLED"]
    assert dropped[0].position.positionStatus == STATUS.POSITION_STATUS_CLOSED
    assert len(world.ledger.positions) == 1


def test_an_accepted_order_can_be_rejected_after_all(world: World) -> None:
    world.faults.reject_accepted_orders = "NO_QUOTES"
    orders: tuple[tuple[Any, dict[str, Any]], ...] = ((TYPE.MARKET, {}), (TYPE.LIMIT, {"limitPrice": 1.05}))
    for kind, fields in orders:
        world.order(kind, **fields)
        rejected = world.wait()
        assert kinds(rejected) == ["REJECTED"]
        assert (rejected[0].errorCode, rejected[0].order.orderStatus) == ("NO_QUOTES", pb.ProtoOAOrderStatus.ORDER_STATUS_REJECTED)
    assert (world.ledger.holdings, world.ledger.waiting()) == ({}, [])


# --- closing ---------------------------------------------------------------------------------------------------------------------------


def test_closing_books_the_result(world: World) -> None:
    position = world.opened(volume=LOT)
    assert world.account.balance == 1_000_000, "nothing is booked on opening"
    world.price("EURUSD", 1.10110, 1.10120)
    accepted = world.close(position.positionId, LOT)
    assert (accepted.order.orderType, accepted.order.closingOrder, accepted.order.tradeData.tradeSide) == (TYPE.MARKET, True, SELL)
    assert accepted.order.timeInForce == pb.ProtoOATimeInForce.IMMEDIATE_OR_CANCEL
    (filled,) = world.wait()
    detail = filled.deal.closePositionDetail
    assert (detail.entryPrice, detail.grossProfit, detail.commission, detail.swap) == (1.1001, 10_000, -500, 0)
    assert (filled.deal.commission, detail.closedVolume, detail.moneyDigits) == (-250, LOT, 2)
    assert (detail.balance, detail.balanceVersion) == (1_009_500, 2)
    assert (world.account.balance, world.account.balance_version) == (1_009_500, 2)
    shown = filled.position
    assert (shown.positionStatus, shown.tradeData.volume, shown.price) == (STATUS.POSITION_STATUS_CLOSED, 0, 0.0)
    assert shown.tradeData.closeTimestamp == world.now - 990
    assert world.ledger.positions == []


def test_a_loss_in_another_currency_is_converted(world: World) -> None:
    world.price("USDJPY", 150.0, 150.01)
    position = world.opened(SELL, LOT, symbol="USDJPY")
    assert (position.marginRate, position.usedMargin) == (1.0, 100_000)
    world.price("USDJPY", 150.99, 151.0)
    world.close(position.positionId, LOT)
    detail = world.wait()[0].deal.closePositionDetail
    assert detail.grossProfit == -round(100_000 * 100 / 150.995)  # of 100,000 JPY
    assert detail.quoteToDepositConversionRate == pytest.approx(1 / 150.995)


def test_closing_a_part_shrinks_the_protective_order(world: World) -> None:
    position = world.opened(volume=300_000, relativeStopLoss=500)
    guard = world.ledger.holdings[position.positionId].protection
    assert guard is not None
    world.close(position.positionId, 100_000)
    filled, replaced = world.wait()
    assert kinds([filled, replaced]) == ["FILLED", "REPLACED+"]
    assert (filled.position.tradeData.volume, filled.position.positionStatus) == (200_000, STATUS.POSITION_STATUS_OPEN)
    assert (replaced.order.orderId, replaced.order.tradeData.volume) == (guard.orderId, 200_000)


@pytest.mark.parametrize("announced", [False, True])
def test_closing_all_ends_the_protective_order_with_or_without_a_word(world: World, announced: bool) -> None:
    world.settings.announce_protection_cancel = announced
    position = world.opened(relativeStopLoss=500)
    guard = world.ledger.holdings[position.positionId].protection
    assert guard is not None
    world.close(position.positionId, 100_000)
    assert kinds(world.wait()) == (["FILLED", "CANCELLED+"] if announced else ["FILLED"])
    assert guard.orderStatus == pb.ProtoOAOrderStatus.ORDER_STATUS_CANCELLED


def test_of_two_closings_of_the_same_position_the_later_one_fails_after_its_acceptance(world: World) -> None:
    position = world.opened()
    first, second = (world.close(position.positionId, 100_000) for _ in range(2))
    filled, rejected = world.wait()
    assert (filled.order.orderId, rejected.order.orderId) == (first.order.orderId, second.order.orderId)
    assert (kinds([rejected]), rejected.errorCode) == (["REJECTED"], "POSITION_NOT_OPEN")
    assert not rejected.HasField("position")


def test_an_order_that_adds_to_a_position_which_closes_first_is_rejected(world: World) -> None:
    position = world.opened()
    world.close(position.positionId, 100_000)
    world.order(positionId=position.positionId)
    assert kinds(world.wait()) == ["FILLED", "REJECTED"]


def test_adding_to_a_protected_position_grows_the_protective_order(world: World) -> None:
    position = world.opened(relativeStopLoss=500)
    world.order(volume=200_000, positionId=position.positionId)
    events = world.wait()
    assert kinds(events) == ["FILLED", "REPLACED+"]
    assert events[1].order.tradeData.volume == 300_000


# --- stop loss and take profit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "bid", "ask", "hit"),
    [
        (BUY, 1.09511, 1.09520, False),
        (BUY, 1.09510, 1.09520, True),
        (BUY, 1.11009, 1.11020, False),
        (BUY, 1.11010, 1.11020, True),
        (SELL, 1.10480, 1.10499, False),
        (SELL, 1.10480, 1.10500, True),
        (SELL, 1.08990, 1.09001, False),
        (SELL, 1.08990, 1.09000, True),
    ],
)
def test_stop_loss_and_take_profit_are_hit_by_the_side_that_closes(world: World, side: Any, bid: float, ask: float, hit: bool) -> None:
    position = world.opened(side, relativeStopLoss=500, relativeTakeProfit=1000)
    events = world.price("EURUSD", bid, ask)
    if not hit:
        assert events == []
        return
    (filled,) = events
    assert kinds(events) == ["FILLED+"]
    assert (filled.order.orderType, filled.position.positionStatus) == (TYPE.STOP_LOSS_TAKE_PROFIT, STATUS.POSITION_STATUS_CLOSED)
    assert filled.deal.closePositionDetail.closedVolume == 100_000
    assert filled.order.executionPrice == (bid if side == BUY else ask)
    assert position.positionId not in world.ledger.holdings
    assert world.price("EURUSD", 0.9, 0.91) == []


def test_amending_makes_changes_and_takes_back_the_protective_order(world: World) -> None:
    position = world.opened()
    first = world.protect(position.positionId, stopLoss=1.09, takeProfit=1.2)
    assert (kinds([first]), first.isServerEvent, first.order.tradeData.volume) == (["ACCEPTED"], False, 100_000)
    second = world.protect(position.positionId, stopLoss=1.08)
    assert (kinds([second]), second.order.orderId) == (["REPLACED"], first.order.orderId)
    assert not second.position.HasField("takeProfit"), "what is left out is removed"
    assert not second.order.HasField("limitPrice")
    third = world.protect(position.positionId)
    assert (kinds([third]), third.order.orderId) == (["CANCELLED"], first.order.orderId)
    assert not third.position.HasField("stopLoss")
    assert world.price("EURUSD", 1.0, 1.1) == []


def test_amending_to_what_is_there_already_is_refused(world: World) -> None:
    position = world.opened(relativeStopLoss=500)
    for fields in ({"stopLoss": 1.0951}, {"stopLoss": 1.0951, "trailingStopLoss": False}):
        with pytest.raises(Refusal, match=r"Nothing to amend\.") as refused:
            world.protect(position.positionId, **fields)
        assert refused.value.code == "INVALID_REQUEST"
    bare = world.opened()
    with pytest.raises(Refusal, match="Nothing to amend"):
        world.protect(bare.positionId)


def test_a_trailing_stop_follows_the_price_and_never_returns(world: World) -> None:
    position = world.opened()
    world.protect(position.positionId, stopLoss=1.095, trailingStopLoss=True)
    (moved,) = world.price("EURUSD", 1.11, 1.1101)
    assert isinstance(moved, pb.ProtoOATrailingSLChangedEvent)
    assert (moved.positionId, moved.stopPrice, position.stopLoss) == (position.positionId, 1.105, 1.105)
    assert world.price("EURUSD", 1.106, 1.1061) == []
    assert kinds(world.price("EURUSD", 1.105, 1.1051)) == ["FILLED+"]


def test_a_trailing_stop_of_a_new_order_follows_too(world: World) -> None:
    world.opened(SELL, relativeStopLoss=500, trailingStopLoss=True)
    assert kinds(world.price("EURUSD", 1.0800, 1.0801)) == ["ProtoOATrailingSLChangedEvent"]
    assert world.ledger.positions[0].stopLoss == 1.0851


@pytest.mark.parametrize(
    ("method", "prices", "hits_at"),
    [
        (METHOD.TRADE, [(1.0949, 1.0960)], 1),
        (METHOD.OPPOSITE, [(1.0949, 1.0960), (1.0940, 1.0950)], 2),
        (METHOD.DOUBLE_TRADE, [(1.0949, 1.0960), (1.0960, 1.0970), (1.0949, 1.0960), (1.0948, 1.0960)], 4),
        (METHOD.DOUBLE_OPPOSITE, [(1.0930, 1.0949), (1.0930, 1.0949)], 2),
    ],
)
def test_the_trigger_method_says_which_price_counts_and_how_often(
    world: World, method: Any, prices: list[tuple[float, float]], hits_at: int
) -> None:
    position = world.opened()
    world.protect(position.positionId, stopLoss=1.095, stopLossTriggerMethod=method)
    hits = [bool(world.price("EURUSD", *price)) for price in prices]
    assert hits == [number == hits_at for number in range(1, len(prices) + 1)]


# --- pending orders --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "side", "price", "before", "at"),
    [
        (TYPE.LIMIT, BUY, 1.09, (1.0890, 1.09001), (1.0889, 1.09000)),
        (TYPE.LIMIT, SELL, 1.11, (1.10999, 1.1110), (1.11000, 1.1110)),
        (TYPE.STOP, BUY, 1.11, (1.1090, 1.10999), (1.1090, 1.11000)),
        (TYPE.STOP, SELL, 1.09, (1.09001, 1.0910), (1.09000, 1.0910)),
    ],
)
def test_a_pending_order_waits_for_its_price(
    world: World, kind: Any, side: Any, price: float, before: tuple[float, float], at: tuple[float, float]
) -> None:
    field = "limitPrice" if kind == TYPE.LIMIT else "stopPrice"
    fields: dict[str, Any] = {field: price, "relativeStopLoss": 300}
    accepted = world.order(kind, side, **fields)
    assert (accepted.position.positionStatus, accepted.order.timeInForce) == (1 + 2, pb.ProtoOATimeInForce.GOOD_TILL_CANCEL)
    assert world.wait() == []
    assert world.price("EURUSD", *before) == []
    assert kinds(world.price("EURUSD", *at)) == ["FILLED+"]
    assert kinds(world.wait()) == ["ACCEPTED+"]
    (position,) = world.ledger.positions
    assert position.positionId == accepted.position.positionId
    assert position.price == (at[1] if side == BUY else at[0])


def test_a_limit_that_the_market_is_beyond_is_filled_at_once_at_the_better_price(world: World) -> None:
    world.order(TYPE.LIMIT, limitPrice=1.2)
    assert kinds(world.wait()) == ["FILLED+"]
    assert world.ledger.positions[0].price == 1.1001


def test_the_fill_of_a_pending_order_can_be_the_clients_own_event(world: World) -> None:
    world.settings.pending_fill_by_server = False
    world.order(TYPE.LIMIT, limitPrice=1.2)
    assert kinds(world.wait()) == ["FILLED"]


def test_a_stop_limit_waits_until_the_market_is_within_its_slippage(world: World) -> None:
    world.order(TYPE.STOP_LIMIT, stopPrice=1.11, slippageInPoints=10)
    assert world.price("EURUSD", 1.112, 1.1121) == []
    assert kinds(world.price("EURUSD", 1.11, 1.1101)) == ["FILLED+"]


def test_absolute_protection_of_a_pending_order_is_reported_as_distances(world: World) -> None:
    accepted = world.order(TYPE.LIMIT, limitPrice=1.09, stopLoss=1.08, takeProfit=1.12)
    order = accepted.order
    assert (order.relativeStopLoss, order.relativeTakeProfit) == (1000, 3000)
    assert not order.HasField("stopLoss")
    amended = world.amend(order.orderId, stopLoss=1.085)
    assert amended.order.relativeStopLoss == 500


def test_amending_a_pending_order_keeps_its_id(world: World) -> None:
    order = world.order(TYPE.LIMIT, limitPrice=1.09).order
    world.now += 50
    amended = world.amend(order.orderId, limitPrice=1.08, volume=200_000)
    assert (kinds([amended]), amended.order.orderId) == (["REPLACED"], order.orderId)
    assert (amended.order.limitPrice, amended.order.tradeData.volume, amended.order.utcLastUpdateTimestamp) == (1.08, 200_000, START + 50)
    with pytest.raises(Refusal, match="Nothing to amend"):
        world.amend(order.orderId, limitPrice=1.08)
    assert kinds(world.price("EURUSD", 1.0799, 1.08)) == ["FILLED+"]


def test_cancelling_shows_the_empty_position_closed(world: World) -> None:
    order = world.order(TYPE.LIMIT, limitPrice=1.09).order
    cancelled = world.cancel(order.orderId)
    assert kinds([cancelled]) == ["CANCELLED"]
    assert (cancelled.order.orderStatus, cancelled.position.positionStatus) == (5, STATUS.POSITION_STATUS_CLOSED)
    assert world.price("EURUSD", 1.05, 1.06) == []
    with pytest.raises(Refusal, match=f"Order not found with id {order.orderId}") as refused:
        world.cancel(order.orderId)
    assert (refused.value.code, refused.value.order_id) == ("ORDER_NOT_FOUND", order.orderId)


def test_an_order_with_a_date_expires(world: World) -> None:
    order = world.order(TYPE.LIMIT, limitPrice=1.09, expirationTimestamp=START + 60_000).order
    assert order.timeInForce == pb.ProtoOATimeInForce.GOOD_TILL_DATE
    world.amend(order.orderId, expirationTimestamp=START + 120_000)
    assert world.wait(100) == []
    expired = world.wait(30)
    assert kinds(expired) == ["EXPIRED+"]
    assert (expired[0].position.positionStatus, world.now) == (STATUS.POSITION_STATUS_CLOSED, START + 130_000)


def test_what_is_being_executed_or_protects_cannot_be_cancelled_or_amended(world: World) -> None:
    order = world.order(relativeStopLoss=500).order
    with pytest.raises(Refusal) as cancelling:
        world.cancel(order.orderId)
    _, protected = world.wait()
    with pytest.raises(Refusal) as amending:
        world.amend(protected.order.orderId, stopPrice=1.0)
    assert (cancelling.value.code, amending.value.code) == ("UNABLE_TO_CANCEL_ORDER", "UNABLE_TO_AMEND_ORDER")


def test_the_book_says_which_prices_matter_to_it(world: World) -> None:
    position = world.opened()
    assert world.book.watched() == set()
    world.protect(position.positionId, stopLoss=1.0)
    world.order(TYPE.STOP, symbol="GBPUSD", stopPrice=1.5)
    assert {symbol.instrument.name for symbol in world.book.watched()} == {"EURUSD", "GBPUSD"}


# --- refusals --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields", "code", "text"),
    [
        (TYPE.MARKET, {"volume": 0}, "TRADING_BAD_VOLUME", "100000"),
        (TYPE.MARKET, {"volume": 150_000}, "TRADING_BAD_VOLUME", "steps"),
        (TYPE.MARKET, {"volume": 10_000_100_000}, "TRADING_BAD_VOLUME", ""),
        (
            TYPE.MARKET,
            {"stopLoss": 1.0},
            "INVALID_REQUEST",
            "SL/TP in absolute values are allowed only for order types: LIMIT, STOP, STOP_LIMIT",
        ),
        (TYPE.MARKET_RANGE, {"takeProfit": 2.0, "baseSlippagePrice": 1.1, "slippageInPoints": 1}, "INVALID_REQUEST", "SL/TP in absolute"),
        (TYPE.MARKET, {"relativeStopLoss": -5}, "INVALID_REQUEST", "Relative stop loss has invalid precision"),
        (TYPE.MARKET, {"symbol": "GER40", "volume": 100, "relativeTakeProfit": 10}, "INVALID_REQUEST", "Relative take profit has invalid"),
        (TYPE.MARKET, {"comment": "x" * 513}, "INVALID_REQUEST", "comment is longer than 512"),
        (TYPE.MARKET, {"clientOrderId": "x" * 51}, "INVALID_REQUEST", "clientOrderId"),
        (TYPE.MARKET_RANGE, {}, "INVALID_REQUEST", "MARKET_RANGE orders need baseSlippagePrice"),
        (TYPE.LIMIT, {}, "INVALID_REQUEST", "LIMIT orders need limitPrice"),
        (
            TYPE.LIMIT,
            {"limitPrice": 1.123456},
            "INVALID_REQUEST",
            "Order price = 1.123456 has more digits than symbol allows. Allowed 5 digits",
        ),
        (TYPE.LIMIT, {"limitPrice": 1.05, "stopLoss": 1.000001}, "INVALID_REQUEST", "Order protection = 1.000001 has more digits"),
        (TYPE.LIMIT, {"limitPrice": 1.05, "stopLoss": 1.06}, "TRADING_BAD_STOPS", "wrong side"),
        (TYPE.LIMIT, {"limitPrice": 1.05, "takeProfit": 1.04}, "TRADING_BAD_STOPS", "wrong side"),
        (TYPE.LIMIT, {"side": SELL, "limitPrice": 1.15, "stopLoss": 1.14}, "TRADING_BAD_STOPS", "wrong side"),
        (TYPE.LIMIT, {"limitPrice": 1.05, "expirationTimestamp": START - 1}, "TRADING_BAD_EXPIRATION_DATE", ""),
        (TYPE.LIMIT, {"limitPrice": 1.05, "timeInForce": 1}, "TRADING_BAD_EXPIRATION_DATE", "missing"),
        (TYPE.STOP, {"stopPrice": 1.05}, "TRADING_BAD_PRICES", "behind the market"),
        (TYPE.STOP, {"side": SELL, "stopPrice": 1.2}, "TRADING_BAD_PRICES", "behind the market"),
        (TYPE.STOP_LIMIT, {"stopPrice": 1.2}, "INVALID_REQUEST", "need slippageInPoints"),
        (TYPE.STOP_LOSS_TAKE_PROFIT, {}, "INVALID_REQUEST", "made by the server"),
        (TYPE.MARKET, {"positionId": 77}, "POSITION_NOT_FOUND", "77"),
        (TYPE.MARKET, {"volume": 10 * LOT}, "NOT_ENOUGH_MONEY", "margin"),
    ],
)
def test_an_order_that_is_not_as_it_should_be_is_refused(world: World, kind: Any, fields: dict[str, Any], code: str, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        world.order(kind, **fields)
    assert refused.value.code == code
    assert text in refused.value.description
    assert (world.ledger.orders, world.ledger.holdings) == ({}, {})


def test_money_is_checked_with_what_is_open_and_what_it_would_bring(world: World) -> None:
    world.opened(volume=5 * LOT)  # ties up 5,500 of 10,000
    world.order(side=SELL, volume=5 * LOT)  # of opposite positions the larger side counts …
    with pytest.raises(Refusal, match="NOT_ENOUGH_MONEY"):
        world.order(volume=5 * LOT)
    world.settings.check_money = False
    assert world.order(volume=50 * LOT)


def test_an_order_that_adds_must_fit_its_position(world: World) -> None:
    position = world.opened()
    with pytest.raises(Refusal, match="another symbol or side"):
        world.order(side=SELL, positionId=position.positionId)


def test_closing_and_amending_what_is_not_there_is_refused(world: World) -> None:
    position = world.opened()
    for volume in (200_000, 0, 50_000):
        with pytest.raises(Refusal, match="TRADING_BAD_VOLUME"):
            world.close(position.positionId, volume)
    requests = (
        pb.ProtoOAClosePositionReq(ctidTraderAccountId=11, positionId=99, volume=100_000),
        pb.ProtoOAAmendPositionSLTPReq(ctidTraderAccountId=11, positionId=99, stopLoss=1.0),
    )
    for request in requests:
        with pytest.raises(Refusal, match="POSITION_NOT_FOUND") as refused:
            world.ask(request)
        assert refused.value.position_id == 99
    with pytest.raises(Refusal, match="TRADING_BAD_STOPS"):
        world.protect(position.positionId, stopLoss=1.2)
    with pytest.raises(Refusal, match="has more digits"):
        world.protect(position.positionId, stopLoss=1.0000001)


def test_a_type_that_is_no_order_request_is_a_mistake_of_the_caller(world: World) -> None:
    with pytest.raises(TypeError, match="ProtoOATraderReq is no order request"):
        world.ask(pb.ProtoOATraderReq(ctidTraderAccountId=11))


# --- memory ----------------------------------------------------------------------------------------------------------------------------


def test_an_account_forgets_what_is_long_over_and_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradesession.sandbox.ctrader.trading.ledger.KEPT", 10)
    waiting = world.order(TYPE.LIMIT, limitPrice=1.01).order.orderId
    position = world.opened()
    for _ in range(50):
        world.order(positionId=position.positionId)
        world.wait()
    assert waiting in world.ledger.orders
    assert len(world.ledger.deals) == 10
    assert len(world.ledger.orders) <= 12
    assert position.tradeData.volume == 5_100_000
