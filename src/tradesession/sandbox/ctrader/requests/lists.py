"""What an account has and had: positions, orders, deals, margin. Facts: sections 8.5 and 9.4."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader import market
from tradesession.sandbox.ctrader.refusal import Refusal
from tradesession.sandbox.ctrader.requests.answer import Answer, answers, page_size
from tradesession.sandbox.ctrader.trading import money
from tradesession.sandbox.ctrader.trading.ledger import Ledger

if TYPE_CHECKING:
    from tradesession.sandbox.ctrader.connection import Connection

Windowed = pb.ProtoOAOrderListReq | pb.ProtoOADealListReq | pb.ProtoOAOrderListByPositionIdReq | pb.ProtoOADealListByPositionIdReq
Row = TypeVar("Row", pb.ProtoOAOrder, pb.ProtoOADeal)

_WEEK: Final = 604_800_000


def _ledger(connection: Connection, account_id: int) -> Ledger:
    return connection.core.desk.book(connection.core.state.accounts[account_id]).ledger


def _window(connection: Connection, request: Windowed) -> tuple[int, int]:
    """From when to when is asked, in milliseconds; the last week up to now where nothing is said."""
    widest = round(connection.core.settings.list_window * 1000)
    until = request.toTimestamp if request.HasField("toTimestamp") else round(connection.core.clock.wall() * 1000)
    since = request.fromTimestamp if request.HasField("fromTimestamp") else until - widest
    if not 0 <= until - since <= widest:
        text = f"The window from {since} to {until} is none, or is wider than {widest} ms"
        raise Refusal("INCORRECT_BOUNDARIES", text, account_id=request.ctidTraderAccountId)
    return since, until


def _page(connection: Connection, request: Windowed, rows: Iterable[Row], at_most: int | None = None) -> tuple[Sequence[Row], bool]:
    """The newest rows of the window, last changed first, and whether there are more."""
    since, until = _window(connection, request)
    found = [row for row in rows if since <= row.utcLastUpdateTimestamp <= until]
    found.reverse()  # what was made later goes first among equals
    found.sort(key=lambda row: -row.utcLastUpdateTimestamp)
    size, is_silent = page_size(connection, connection.core.settings.rows_per_page)
    if at_most is not None:
        size = min(size, at_most)
    return found[:size], len(found) > size and not is_silent


@answers(pb.ProtoOAReconcileReq)
def reconcile(connection: Connection, request: pb.ProtoOAReconcileReq) -> Answer:
    """Open positions and active orders; protective ones only for who asks for them."""
    ledger = _ledger(connection, request.ctidTraderAccountId)
    orders = ledger.waiting()
    if request.returnProtectionOrders:
        orders += [holding.protection for holding in ledger.holdings.values() if holding.protection is not None]
    return Answer(pb.ProtoOAReconcileRes(ctidTraderAccountId=request.ctidTraderAccountId, position=ledger.positions, order=orders))


@answers(pb.ProtoOAOrderListReq)
def list_orders(connection: Connection, request: pb.ProtoOAOrderListReq) -> Answer:
    """The orders that were last changed within the window."""
    orders, more = _page(connection, request, _ledger(connection, request.ctidTraderAccountId).orders.values())
    return Answer(pb.ProtoOAOrderListRes(ctidTraderAccountId=request.ctidTraderAccountId, order=orders, hasMore=more))


@answers(pb.ProtoOAOrderListByPositionIdReq)
def list_orders_of_position(connection: Connection, request: pb.ProtoOAOrderListByPositionIdReq) -> Answer:
    """The same of one position."""
    orders = _ledger(connection, request.ctidTraderAccountId).orders.values()
    page, more = _page(connection, request, (order for order in orders if order.positionId == request.positionId))
    return Answer(pb.ProtoOAOrderListByPositionIdRes(ctidTraderAccountId=request.ctidTraderAccountId, order=page, hasMore=more))


@answers(pb.ProtoOADealListReq)
def list_deals(connection: Connection, request: pb.ProtoOADealListReq) -> Answer:
    """The deals of the window, newest first."""
    at_most = request.maxRows if request.HasField("maxRows") else None
    deals, more = _page(connection, request, _ledger(connection, request.ctidTraderAccountId).deals.values(), at_most)
    return Answer(pb.ProtoOADealListRes(ctidTraderAccountId=request.ctidTraderAccountId, deal=deals, hasMore=more))


@answers(pb.ProtoOADealListByPositionIdReq)
def list_deals_of_position(connection: Connection, request: pb.ProtoOADealListByPositionIdReq) -> Answer:
    """The same of one position."""
    deals = _ledger(connection, request.ctidTraderAccountId).deals.values()
    page, more = _page(connection, request, (deal for deal in deals if deal.positionId == request.positionId))
    return Answer(pb.ProtoOADealListByPositionIdRes(ctidTraderAccountId=request.ctidTraderAccountId, deal=page, hasMore=more))


@answers(pb.ProtoOAOrderDetailsReq)
def order_details(connection: Connection, request: pb.ProtoOAOrderDetailsReq) -> Answer:
    """One order with its deals, whatever became of it."""
    account_id = request.ctidTraderAccountId
    ledger = _ledger(connection, account_id)
    order = ledger.orders.get(request.orderId)
    if order is None:
        login = connection.core.state.accounts[account_id].login
        text = f"Order {request.orderId} not found or not belong to trader {login}"
        raise Refusal("ORDER_NOT_FOUND", text, account_id=account_id)
    deals = [deal for deal in ledger.deals.values() if deal.orderId == order.orderId]
    return Answer(pb.ProtoOAOrderDetailsRes(ctidTraderAccountId=account_id, order=order, deal=deals))


@answers(pb.ProtoOADealOffsetListReq)
def list_offsets(connection: Connection, request: pb.ProtoOADealOffsetListReq) -> Answer:
    """Which deals closed parts of this one, and which ones it closed parts of."""
    ledger = _ledger(connection, request.ctidTraderAccountId)

    def shown(deal_id: int, volume: int) -> pb.ProtoOADealOffset:
        deal = ledger.deals[deal_id]
        return pb.ProtoOADealOffset(
            dealId=deal_id, volume=volume, executionTimestamp=deal.executionTimestamp, executionPrice=deal.executionPrice
        )

    known = [one for one in ledger.offsets if one.opening_deal in ledger.deals and one.closing_deal in ledger.deals]
    return Answer(
        pb.ProtoOADealOffsetListRes(
            ctidTraderAccountId=request.ctidTraderAccountId,
            offsetBy=[shown(one.closing_deal, one.volume) for one in known if one.opening_deal == request.dealId],
            offsetting=[shown(one.opening_deal, one.volume) for one in known if one.closing_deal == request.dealId],
        )
    )


@answers(pb.ProtoOAGetPositionUnrealizedPnLReq)
def unrealized(connection: Connection, request: pb.ProtoOAGetPositionUnrealizedPnLReq) -> Answer:
    """What each open position would bring now: before costs, and after the commissions of opening and closing it."""
    ledger = _ledger(connection, request.ctidTraderAccountId)
    rows = []
    for holding in ledger.holdings.values():
        if holding.is_open:
            gross = ledger.unrealized(holding)
            costs = holding.position.commission + money.commission(holding.symbol, holding.volume)
            rows.append(pb.ProtoOAPositionUnrealizedPnL(positionId=holding.id, grossUnrealizedPnL=gross, netUnrealizedPnL=gross + costs))
    return Answer(
        pb.ProtoOAGetPositionUnrealizedPnLRes(
            ctidTraderAccountId=request.ctidTraderAccountId, positionUnrealizedPnL=rows, moneyDigits=money.MONEY_DIGITS
        )
    )


@answers(pb.ProtoOAExpectedMarginReq)
def expected_margin(connection: Connection, request: pb.ProtoOAExpectedMarginReq) -> Answer:
    """What each of these volumes would tie up."""
    core, account_id = connection.core, request.ctidTraderAccountId
    try:
        symbol = market.symbol_by_id(core.state.accounts[account_id].broker, request.symbolId)
    except Refusal as refusal:
        refusal.account_id = account_id
        raise
    sell, buy = (money.margin_rate(symbol, money.plain(side, symbol), core.feed.last) for side in core.feed.last(symbol))
    rows = [
        pb.ProtoOAExpectedMargin(volume=volume, buyMargin=money.margin(volume, buy), sellMargin=money.margin(volume, sell))
        for volume in request.volume
    ]
    return Answer(pb.ProtoOAExpectedMarginRes(ctidTraderAccountId=account_id, margin=rows, moneyDigits=money.MONEY_DIGITS))


@answers(pb.ProtoOACashFlowHistoryListReq)
def cash_flow(connection: Connection, request: pb.ProtoOACashFlowHistoryListReq) -> Answer:
    """Nobody deposits or withdraws here."""
    if not 0 <= request.toTimestamp - request.fromTimestamp <= _WEEK:
        raise Refusal("INCORRECT_BOUNDARIES", "The window is none, or is longer than a week", account_id=request.ctidTraderAccountId)
    return Answer(pb.ProtoOACashFlowHistoryListRes(ctidTraderAccountId=request.ctidTraderAccountId))
