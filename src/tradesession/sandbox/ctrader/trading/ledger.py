"""What an account has: orders, positions, deals, and what they do to its balance.

Pure. It keeps the messages that the wire shows, and hands out copies. Always holds: the balance changes with closing deals alone, by
what their closePositionDetail says; an id is given once on the whole server. Facts: sections 8.1, 9.2 and 9.3.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.market import Symbol
from tradesession.sandbox.ctrader.state import Account
from tradesession.sandbox.ctrader.trading import money
from tradesession.sandbox.ctrader.trading.holding import Holding, Lot, mean_price
from tradesession.sandbox.ctrader.trading.rules import MARKET_TYPES, PENDING_TYPES, make_relative

KEPT: Final = 5_000
"""Orders that are over, and deals, that an account remembers: a server that runs for months must not grow."""

_STATUS: Final = pb.ProtoOAOrderStatus
_SIDES: Final = {pb.ProtoOATradeSide.BUY: pb.ProtoOATradeSide.SELL, pb.ProtoOATradeSide.SELL: pb.ProtoOATradeSide.BUY}
_COPIED: Final = ("clientOrderId", "baseSlippagePrice", "slippageInPoints", "limitPrice", "stopPrice", "expirationTimestamp",
                  "relativeStopLoss", "relativeTakeProfit", "trailingStopLoss", "stopTriggerMethod")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ids:
    """Numbers for orders, positions and deals, shared by all accounts."""

    orders: Iterator[int] = field(default_factory=lambda: itertools.count(700_000_001))
    positions: Iterator[int] = field(default_factory=lambda: itertools.count(500_000_001))
    deals: Iterator[int] = field(default_factory=lambda: itertools.count(900_000_001))


@dataclass(frozen=True, slots=True)
class Offset:
    """So much of an opening deal was closed by another deal."""

    opening_deal: int
    closing_deal: int
    volume: int


class Ledger:
    """The records of one account."""

    def __init__(self, account: Account, quotes: money.Quotes, ids: Ids) -> None:
        self.account = account
        self.orders: dict[int, pb.ProtoOAOrder] = {}
        """Every order that is remembered, in the order of their making."""
        self.holdings: dict[int, Holding] = {}
        """What is open, or waits for the fill of its first order."""
        self.deals: dict[int, pb.ProtoOADeal] = {}
        self.offsets: deque[Offset] = deque(maxlen=KEPT)
        self._active: dict[int, pb.ProtoOAOrder] = {}  # those of the orders that are neither filled nor over
        self._quotes = quotes
        self._ids = ids

    # --- views ---

    @property
    def positions(self) -> list[pb.ProtoOAPosition]:
        """What is open."""
        return [holding.position for holding in self.holdings.values() if holding.is_open]

    def waiting(self) -> list[pb.ProtoOAOrder]:
        """The orders that are neither filled nor over, without protective ones."""
        protective = pb.ProtoOAOrderType.STOP_LOSS_TAKE_PROFIT
        return [order for order in self._active.values() if order.orderType != protective]

    def pending(self) -> list[pb.ProtoOAOrder]:
        """Those of them that wait for a price."""
        return [order for order in self.waiting() if order.orderType in PENDING_TYPES]

    def equity(self) -> int:
        """The balance with what all positions would bring now, in cents."""
        return self.account.balance + sum(self.unrealized(holding) for holding in self.holdings.values() if holding.is_open)

    def unrealized(self, holding: Holding) -> int:
        """What a position would bring now, before costs, in cents."""
        bid, ask = self._quotes(holding.symbol)
        closed = money.plain(bid if holding.is_buy else ask, holding.symbol)
        return money.cents(self._profit(holding, holding.lots, closed))

    def used_margin(self, symbol: Symbol, more: int, *, is_buy: bool) -> int:
        """What would be tied up with so much more on that side of the symbol. Of opposite positions in a symbol the larger side counts."""
        sides: dict[Symbol, list[int]] = {symbol: [0, more] if is_buy else [more, 0]}
        for holding in self.holdings.values():
            sides.setdefault(holding.symbol, [0, 0])[holding.is_buy] += holding.position.usedMargin
        return sum(max(pair) for pair in sides.values())

    # --- making ---

    def new_holding(self, symbol: Symbol, trade: pb.ProtoOATradeData, now: int) -> Holding:
        """A position that has nothing yet."""
        shown = pb.ProtoOATradeData()
        shown.CopyFrom(trade)
        shown.volume = 0
        position = pb.ProtoOAPosition(
            positionId=next(self._ids.positions),
            tradeData=shown,
            positionStatus=pb.ProtoOAPositionStatus.POSITION_STATUS_CREATED,
            swap=0,
            price=0.0,
            utcLastUpdateTimestamp=now,
            commission=0,
            mirroringCommission=0,
            guaranteedStopLoss=False,
            usedMargin=0,
            moneyDigits=money.MONEY_DIGITS,
        )
        holding = self.holdings[position.positionId] = Holding(symbol, position)
        return holding

    def new_order(
        self, request: pb.ProtoOANewOrderReq, symbol: Symbol, holding: Holding | None, now: int
    ) -> tuple[pb.ProtoOAOrder, Holding]:
        """An order as a client asked for it, with the position that it opens (or adds to)."""
        trade = self._trade_data(symbol, request.volume, request.tradeSide, now, label=request.label, comment=request.comment)
        holding = holding or self.new_holding(symbol, trade, now)
        in_force = request.timeInForce
        if request.orderType in MARKET_TYPES:
            in_force = pb.ProtoOATimeInForce.IMMEDIATE_OR_CANCEL
        elif request.HasField("expirationTimestamp"):
            in_force = pb.ProtoOATimeInForce.GOOD_TILL_DATE
        order = self._order(request.orderType, trade, holding, now, timeInForce=in_force, closingOrder=False)
        for name in _COPIED:
            if request.HasField(name):
                setattr(order, name, getattr(request, name))
        if request.orderType in PENDING_TYPES:
            make_relative(order, request)
        return order, holding

    def closing_order(self, holding: Holding, volume: int, now: int) -> pb.ProtoOAOrder:
        """The order that a client's wish to close becomes."""
        side = _SIDES[holding.position.tradeData.tradeSide]
        trade = self._trade_data(holding.symbol, volume, side, now)
        in_force = pb.ProtoOATimeInForce.IMMEDIATE_OR_CANCEL
        return self._order(pb.ProtoOAOrderType.MARKET, trade, holding, now, timeInForce=in_force, closingOrder=True)

    def protective_order(self, holding: Holding, now: int) -> pb.ProtoOAOrder:
        """The order that holds a position's stop loss and take profit; it has neither yet."""
        side = _SIDES[holding.position.tradeData.tradeSide]
        trade = self._trade_data(holding.symbol, holding.volume, side, now)
        in_force = pb.ProtoOATimeInForce.GOOD_TILL_CANCEL
        order = self._order(pb.ProtoOAOrderType.STOP_LOSS_TAKE_PROFIT, trade, holding, now, timeInForce=in_force, closingOrder=True)
        holding.protection = order
        return order

    # --- happening ---

    def end(self, order: pb.ProtoOAOrder, status: pb.ProtoOAOrderStatus.ValueType, now: int) -> Holding | None:
        """The order is over without a (further) fill. Gives back its position, which is over with it where nothing ever came of it."""
        self._over(order, status, now)
        holding = self.holdings.get(order.positionId)
        if holding is not None and not holding.is_open:
            holding.end(now)
            del self.holdings[holding.id]
        return holding

    def open(self, order: pb.ProtoOAOrder, holding: Holding, price: float, now: int) -> pb.ProtoOADeal:
        """The order is filled and opens (or adds to) its position."""
        deal = self._fill(order, holding.symbol, price, now)
        holding.add(Lot(deal.dealId, deal.filledVolume, price, deal.commission, deal.marginRate), now)
        return deal

    def close(self, order: pb.ProtoOAOrder, holding: Holding, price: float, now: int) -> pb.ProtoOADeal:
        """The order is filled and closes (a part of) its position; the result is booked."""
        deal = self._fill(order, holding.symbol, price, now)
        taken = holding.take(deal.filledVolume, now)
        self.offsets += [Offset(lot.deal_id, deal.dealId, lot.volume) for lot in taken]
        gross = money.cents(self._profit(holding, taken, price))
        cost = deal.commission + sum(lot.commission for lot in taken)
        self.account.balance += gross + cost
        self.account.balance_version += 1
        deal.closePositionDetail.CopyFrom(
            pb.ProtoOAClosePositionDetail(
                entryPrice=mean_price(taken),
                grossProfit=gross,
                swap=0,
                commission=cost,
                balance=self.account.balance,
                quoteToDepositConversionRate=self._rate(holding.symbol.instrument.quote),
                closedVolume=deal.filledVolume,
                balanceVersion=self.account.balance_version,
                moneyDigits=money.MONEY_DIGITS,
                pnlConversionFee=0,
            )
        )
        if not holding.is_open:
            del self.holdings[holding.id]
        return deal

    def event(
        self,
        kind: pb.ProtoOAExecutionType.ValueType,
        order: pb.ProtoOAOrder,
        holding: Holding | None,
        deal: pb.ProtoOADeal | None = None,
        *,
        by_server: bool = False,
        error: str = "",
    ) -> pb.ProtoOAExecutionEvent:
        """What is told of it, as things stand now."""
        event = pb.ProtoOAExecutionEvent(ctidTraderAccountId=self.account.id, executionType=kind, isServerEvent=by_server)
        event.order.CopyFrom(order)
        if holding is not None:
            event.position.CopyFrom(holding.position)
        if deal is not None:
            event.deal.CopyFrom(deal)
        if error:
            event.errorCode = error
        return event

    # --- inside ---

    def _fill(self, order: pb.ProtoOAOrder, symbol: Symbol, price: float, now: int) -> pb.ProtoOADeal:
        volume = order.tradeData.volume
        self._over(order, _STATUS.ORDER_STATUS_FILLED, now)
        order.executionPrice = price
        order.executedVolume = volume
        deal = pb.ProtoOADeal(
            dealId=next(self._ids.deals),
            orderId=order.orderId,
            positionId=order.positionId,
            volume=volume,
            filledVolume=volume,
            symbolId=symbol.id,
            createTimestamp=order.tradeData.openTimestamp,
            executionTimestamp=now,
            utcLastUpdateTimestamp=now,
            executionPrice=price,
            tradeSide=order.tradeData.tradeSide,
            dealStatus=pb.ProtoOADealStatus.FILLED,
            marginRate=money.margin_rate(symbol, price, self._quotes),
            commission=money.commission(symbol, volume),
            baseToUsdConversionRate=money.margin_rate(symbol, price, self._quotes),
            moneyDigits=money.MONEY_DIGITS,
        )
        self.deals[deal.dealId] = deal
        if len(self.deals) > KEPT:
            del self.deals[next(iter(self.deals))]
        return deal

    def _over(self, order: pb.ProtoOAOrder, status: pb.ProtoOAOrderStatus.ValueType, now: int) -> None:
        order.orderStatus = status
        order.tradeData.closeTimestamp = now
        order.utcLastUpdateTimestamp = now
        self._active.pop(order.orderId, None)

    def _order(
        self, kind: pb.ProtoOAOrderType.ValueType, trade: pb.ProtoOATradeData, holding: Holding, now: int, **fields: Any
    ) -> pb.ProtoOAOrder:
        order = pb.ProtoOAOrder(
            orderId=next(self._ids.orders),
            tradeData=trade,
            orderType=kind,
            orderStatus=_STATUS.ORDER_STATUS_ACCEPTED,
            executedVolume=0,
            utcLastUpdateTimestamp=now,
            positionId=holding.id,
            isStopOut=False,
            **fields,
        )
        self.orders[order.orderId] = self._active[order.orderId] = order
        if len(self.orders) - len(self._active) > KEPT:
            del self.orders[next(number for number in self.orders if number not in self._active)]
        return order

    @staticmethod
    def _trade_data(
        symbol: Symbol, volume: int, side: pb.ProtoOATradeSide.ValueType, now: int, *, label: str = "", comment: str = ""
    ) -> pb.ProtoOATradeData:
        return pb.ProtoOATradeData(
            symbolId=symbol.id,
            volume=volume,
            tradeSide=side,
            openTimestamp=now,
            label=label,
            guaranteedStopLoss=False,
            comment=comment,
            measurementUnits="",
        )

    def _profit(self, holding: Holding, lots: list[Lot], price: float) -> float:
        quote_rate = self._rate(holding.symbol.instrument.quote)
        return sum(money.profit(lot.volume, lot.price, price, is_buy=holding.is_buy, quote_rate=quote_rate) for lot in lots)

    def _rate(self, asset: str) -> float:
        return money.rate(asset, self.account.broker, self._quotes)
