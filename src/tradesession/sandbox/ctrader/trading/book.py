"""OrderBook: what becomes of the order requests of one account, and of its orders when prices move.

Pure: time and prices are parameters. A step changes the ledger at once and gives back a Happening: what is told, in order, and which
steps follow by themselves after how many seconds. Always holds: the first event of a request is its answer. Facts: sections 9.2 and 9.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import Message

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.market import Symbol, symbol_by_id
from tradesession.sandbox.ctrader.refusal import Refusal
from tradesession.sandbox.ctrader.settings import Settings
from tradesession.sandbox.ctrader.state import Account
from tradesession.sandbox.ctrader.switches import Switches
from tradesession.sandbox.ctrader.trading import matching, money, rules
from tradesession.sandbox.ctrader.trading.holding import Holding
from tradesession.sandbox.ctrader.trading.ledger import Ids, Ledger
from tradesession.sandbox.ctrader.trading.protection import Wish, move_stop, protect

_KIND: Final = pb.ProtoOAExecutionType
_STATUS: Final = pb.ProtoOAOrderStatus

Step = Callable[[int], "Happening"]
"""Something that happens at a time, in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Events, in order, and the steps that follow, each with its delay in seconds."""

    events: tuple[Message, ...] = ()
    next: tuple[tuple[float, Step], ...] = ()


@dataclass(slots=True)
class _Ticks:
    """How many ticks in a row were beyond the stop of each order."""

    beyond: dict[int, int] = field(default_factory=dict)

    def count(self, order: pb.ProtoOAOrder, is_beyond: bool) -> bool:
        """Whether that suffices now."""
        before = self.beyond.pop(order.orderId, 0)
        seen = before + 1 if is_beyond else 0
        if 0 < seen < matching.ticks_wanted(order):
            self.beyond[order.orderId] = seen
        return seen >= matching.ticks_wanted(order)


class OrderBook:
    """The book of one account. `ledger` holds what there is; tests may look at it."""

    def __init__(self, account: Account, quotes: money.Quotes, ids: Ids, settings: Settings, faults: Switches) -> None:
        self.ledger = Ledger(account, quotes, ids)
        self._account = account
        self._quotes = quotes
        self._settings = settings
        self._faults = faults
        self._ticks = _Ticks()

    # --- requests ---

    def execute(self, request: Message, now: int) -> Happening:
        """Do what an order request asks for. Raises the Refusal that answers it."""
        match request:
            case pb.ProtoOANewOrderReq():
                return self._place(request, now)
            case pb.ProtoOACancelOrderReq():
                return self._cancel(request, now)
            case pb.ProtoOAAmendOrderReq():
                return self._amend_order(request, now)
            case pb.ProtoOAAmendPositionSLTPReq():
                return self._amend_position(request, now)
            case pb.ProtoOAClosePositionReq():
                return self._close_position(request, now)
        raise TypeError(f"{type(request).__name__} is no order request")

    def watched(self) -> set[Symbol]:
        """The symbols whose next price may change something here."""
        symbols = {self._symbol(order.tradeData.symbolId) for order in self.ledger.pending()}
        return symbols | {holding.symbol for holding in self.ledger.holdings.values() if holding.protection is not None}

    def tick(self, symbol: Symbol, now: int) -> list[Happening]:
        """A new price of the symbol."""
        bid, ask = self._quotes(symbol)
        happenings = [
            self._open(order, now, by_server=self._settings.pending_fill_by_server)
            for order in self.ledger.pending()
            if order.tradeData.symbolId == symbol.id and self._is_due(order, symbol)
        ]
        for holding in list(self.ledger.holdings.values()):
            order = holding.protection
            if holding.symbol != symbol or order is None:
                continue
            if self._ticks.count(order, matching.is_stopped(holding, bid, ask)) or matching.is_taken(holding, bid, ask):
                happenings.append(self._close(order, holding, now, by_server=True))
            elif (stop := matching.trailed(holding, bid, ask)) is not None:
                happenings.append(Happening((move_stop(self._account.id, holding, order, money.plain(stop, symbol), now),)))
        return happenings

    def _place(self, request: pb.ProtoOANewOrderReq, now: int) -> Happening:
        symbol = self._symbol(request.symbolId)
        rules.check_new_order(request, symbol, *self._quotes(symbol), now)
        target = self._target(request, symbol)
        self._check_money(request, symbol)
        order, holding = self.ledger.new_order(request, symbol, target, now)
        return Happening((self.ledger.event(_KIND.ORDER_ACCEPTED, order, holding),), self._after_acceptance(order, now))

    def _cancel(self, request: pb.ProtoOACancelOrderReq, now: int) -> Happening:
        order = self._pending(request.orderId, "UNABLE_TO_CANCEL_ORDER")
        holding = self.ledger.end(order, _STATUS.ORDER_STATUS_CANCELLED, now)
        return Happening((self.ledger.event(_KIND.ORDER_CANCELLED, order, holding),))

    def _amend_order(self, request: pb.ProtoOAAmendOrderReq, now: int) -> Happening:
        order = self._pending(request.orderId, "UNABLE_TO_AMEND_ORDER")
        symbol = self._symbol(order.tradeData.symbolId)
        rules.check_prices(request, symbol)
        rules.check_expiry(request, now)
        if request.HasField("volume"):
            rules.check_volume(request.volume, symbol)
        changed = pb.ProtoOAOrder()
        changed.CopyFrom(order)
        for name in ("limitPrice", "stopPrice", "expirationTimestamp", "slippageInPoints", "relativeStopLoss", "relativeTakeProfit",
                     "trailingStopLoss", "stopTriggerMethod"):  # fmt: skip
            if request.HasField(name):
                setattr(changed, name, getattr(request, name))
        if request.HasField("volume"):
            changed.tradeData.volume = request.volume
        if request.HasField("expirationTimestamp"):
            changed.timeInForce = pb.ProtoOATimeInForce.GOOD_TILL_DATE
        rules.check_sides(order.tradeData.tradeSide == pb.ProtoOATradeSide.BUY, rules.entry_price(changed), request)
        rules.make_relative(changed, request)
        if changed == order:
            raise rules.invalid("Nothing to amend.")
        order.CopyFrom(changed)
        order.utcLastUpdateTimestamp = now
        event = self.ledger.event(_KIND.ORDER_REPLACED, order, self.ledger.holdings.get(order.positionId))
        return Happening((event,), self._after_acceptance(order, now))

    def _amend_position(self, request: pb.ProtoOAAmendPositionSLTPReq, now: int) -> Happening:
        holding = self._holding(request.positionId)
        rules.check_prices(request, holding.symbol)
        bid, ask = self._quotes(holding.symbol)
        rules.check_sides(holding.is_buy, money.plain(bid if holding.is_buy else ask, holding.symbol), request)
        event = protect(self.ledger, holding, Wish.of_request(request), now, by_server=False)
        if event is None:
            raise rules.invalid("Nothing to amend.")
        holding.trail = None
        if request.trailingStopLoss and request.HasField("stopLoss"):
            holding.trail = abs((bid if holding.is_buy else ask) - money.wire(request.stopLoss))
        return Happening((event,))

    def _close_position(self, request: pb.ProtoOAClosePositionReq, now: int) -> Happening:
        holding = self._holding(request.positionId)
        rules.check_volume(request.volume, holding.symbol, at_most=holding.volume)
        order = self.ledger.closing_order(holding, request.volume, now)
        return Happening((self.ledger.event(_KIND.ORDER_ACCEPTED, order, holding),), self._after_acceptance(order, now))

    # --- what follows ---

    def _after_acceptance(self, order: pb.ProtoOAOrder, now: int) -> tuple[tuple[float, Step], ...]:
        delay = self._settings.fill_latency
        if self._faults.reject_accepted_orders:
            return ((delay, lambda at: self._reject(order, self._faults.reject_accepted_orders, at)),)
        if order.orderType in rules.MARKET_TYPES:
            return ((delay, lambda at: self._execute(order, at)),)
        steps: list[tuple[float, Step]] = [(delay, lambda at: self._look(order, at))]
        if order.HasField("expirationTimestamp"):
            steps.append(((order.expirationTimestamp - now) / 1000, lambda at: self._expire(order, at)))
        return tuple(steps)

    def _execute(self, order: pb.ProtoOAOrder, now: int) -> Happening:
        """A market order meets the market."""
        if order.orderStatus != _STATUS.ORDER_STATUS_ACCEPTED:
            return Happening()
        if not order.closingOrder:
            return self._open(order, now, by_server=False)
        holding = self.ledger.holdings.get(order.positionId)
        if holding is None or holding.volume < order.tradeData.volume:  # something else has closed it meanwhile
            return self._reject(order, "POSITION_NOT_OPEN", now)
        return self._close(order, holding, now, by_server=False)

    def _look(self, order: pb.ProtoOAOrder, now: int) -> Happening:
        """A pending order may be due already."""
        if order.orderStatus != _STATUS.ORDER_STATUS_ACCEPTED or not self._is_due(order, self._symbol(order.tradeData.symbolId)):
            return Happening()
        return self._open(order, now, by_server=self._settings.pending_fill_by_server)

    def _expire(self, order: pb.ProtoOAOrder, now: int) -> Happening:
        if order.orderStatus != _STATUS.ORDER_STATUS_ACCEPTED or order.expirationTimestamp > now + 1:  # amended meanwhile
            return Happening()
        holding = self.ledger.end(order, _STATUS.ORDER_STATUS_EXPIRED, now)
        return Happening((self.ledger.event(_KIND.ORDER_EXPIRED, order, holding, by_server=True),))

    def _reject(self, order: pb.ProtoOAOrder, code: str, now: int) -> Happening:
        """What was accepted is refused after all."""
        if order.orderStatus != _STATUS.ORDER_STATUS_ACCEPTED:
            return Happening()
        holding = self.ledger.end(order, _STATUS.ORDER_STATUS_REJECTED, now)
        return Happening((self.ledger.event(_KIND.ORDER_REJECTED, order, holding, error=code),))

    def _open(self, order: pb.ProtoOAOrder, now: int, *, by_server: bool) -> Happening:
        holding = self.ledger.holdings.get(order.positionId)
        if holding is None:  # it was to add to a position that is closed by now
            return self._reject(order, "POSITION_NOT_OPEN", now)
        bid, ask = self._quotes(holding.symbol)
        if order.orderType == pb.ProtoOAOrderType.MARKET_RANGE and matching.has_slipped(order, holding.symbol, bid, ask):
            self.ledger.end(order, _STATUS.ORDER_STATUS_CANCELLED, now)
            return Happening((self.ledger.event(_KIND.ORDER_CANCELLED, order, holding),))
        price = money.plain(matching.fill_price(order, bid, ask), holding.symbol)
        deal = self.ledger.open(order, holding, price, now)
        event = self.ledger.event(_KIND.ORDER_FILLED, order, holding, deal, by_server=by_server)
        wish = Wish.of_order(order, price, holding)
        if not wish.is_empty:
            return Happening((event,), ((self._settings.protection_latency, lambda at: self._protect(holding, wish, at)),))
        return Happening((event,), self._after_resize(holding))

    def _protect(self, holding: Holding, wish: Wish, now: int) -> Happening:
        event = protect(self.ledger, holding, wish, now, by_server=True) if holding.is_open else None
        if wish.trailing and wish.stop_loss is not None:
            holding.trail = abs(money.wire(holding.position.price) - money.wire(wish.stop_loss))
        return Happening((event,) if event is not None else ())

    def _close(self, order: pb.ProtoOAOrder, holding: Holding, now: int, *, by_server: bool) -> Happening:
        price = money.plain(matching.fill_price(order, *self._quotes(holding.symbol)), holding.symbol)
        deal = self.ledger.close(order, holding, price, now)
        events = [self.ledger.event(_KIND.ORDER_FILLED, order, holding, deal, by_server=by_server)]
        left, holding.protection = holding.protection, holding.protection if holding.is_open else None
        if left is not None and left is not order and not holding.is_open:
            self.ledger.end(left, _STATUS.ORDER_STATUS_CANCELLED, now)
            if self._settings.announce_protection_cancel:
                events.append(self.ledger.event(_KIND.ORDER_CANCELLED, left, holding, by_server=True))
        return Happening(tuple(events), self._after_resize(holding))

    def _after_resize(self, holding: Holding) -> tuple[tuple[float, Step], ...]:
        """The protective order follows the volume of its position."""
        if holding.protection is None or not holding.is_open:
            return ()
        return ((self._settings.resize_latency, lambda at: self._resize(holding, at)),)

    def _resize(self, holding: Holding, now: int) -> Happening:
        order = holding.protection
        if order is None or not holding.is_open or order.tradeData.volume == holding.volume:
            return Happening()
        order.tradeData.volume = holding.volume
        order.utcLastUpdateTimestamp = now
        return Happening((self.ledger.event(_KIND.ORDER_REPLACED, order, holding, by_server=True),))

    # --- looking ---

    def _symbol(self, symbol_id: int) -> Symbol:
        return symbol_by_id(self._account.broker, symbol_id)

    def _is_due(self, order: pb.ProtoOAOrder, symbol: Symbol) -> bool:
        bid, ask = self._quotes(symbol)
        if not self._ticks.count(order, matching.is_beyond(order, bid, ask)):
            return False
        return order.orderType != pb.ProtoOAOrderType.STOP_LIMIT or not matching.has_slipped(order, symbol, bid, ask)

    def _target(self, request: pb.ProtoOANewOrderReq, symbol: Symbol) -> Holding | None:
        """The position that the order adds to, if it names one."""
        if not request.HasField("positionId"):
            return None
        holding = self._holding(request.positionId)
        if holding.symbol != symbol or holding.position.tradeData.tradeSide != request.tradeSide:
            raise rules.invalid(f"Position {holding.id} has another symbol or side")
        return holding

    def _check_money(self, request: pb.ProtoOANewOrderReq, symbol: Symbol) -> None:
        if not self._settings.check_money:
            return
        bid, ask = self._quotes(symbol)
        is_buy = request.tradeSide == pb.ProtoOATradeSide.BUY
        wanted = money.margin(request.volume, money.margin_rate(symbol, money.plain(ask if is_buy else bid, symbol), self._quotes))
        if self.ledger.used_margin(symbol, wanted, is_buy=is_buy) > self.ledger.equity():
            raise Refusal("NOT_ENOUGH_MONEY", f"The order needs a margin of {wanted} cents, which is more than what is free")

    def _pending(self, order_id: int, otherwise: str) -> pb.ProtoOAOrder:
        """The order, if it waits for a price; refused with the code `otherwise` when it is an active one of another type."""
        order = self.ledger.orders.get(order_id)
        if order is None or order.orderStatus != _STATUS.ORDER_STATUS_ACCEPTED:
            raise Refusal("ORDER_NOT_FOUND", f"Order not found with id {order_id}", order_id=order_id)
        if order.orderType not in rules.PENDING_TYPES:
            raise Refusal(otherwise, f"Order {order_id} is being executed, or protects a position", order_id=order_id)
        return order

    def _holding(self, position_id: int) -> Holding:
        holding = self.ledger.holdings.get(position_id)
        if holding is None or not holding.is_open:
            raise Refusal("POSITION_NOT_FOUND", f"Position not found with id {position_id}", position_id=position_id)
        return holding
