"""Stop loss and take profit of a position: one order of their own, made, changed and taken back.

Pure. Always holds: what the position shows and what its protective order holds is the same. Facts: sections 9.2 and 9.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.market import PRICE_SCALE
from tradesession.sandbox.ctrader.trading.holding import Holding
from tradesession.sandbox.ctrader.trading.ledger import Ledger

_KIND: Final = pb.ProtoOAExecutionType


@dataclass(frozen=True, slots=True)
class Wish:
    """The protection that a position is to have; None takes the one or the other away."""

    stop_loss: float | None
    take_profit: float | None
    trailing: bool
    method: pb.ProtoOAOrderTriggerMethod.ValueType

    @property
    def is_empty(self) -> bool:
        """Whether there is to be none."""
        return self.stop_loss is None and self.take_profit is None

    @classmethod
    def of_request(cls, request: pb.ProtoOAAmendPositionSLTPReq) -> Self:
        """What the client asks for; what it leaves out is taken away."""
        return cls(
            request.stopLoss if request.HasField("stopLoss") else None,
            request.takeProfit if request.HasField("takeProfit") else None,
            request.trailingStopLoss,
            request.stopLossTriggerMethod,
        )

    @classmethod
    def of_order(cls, order: pb.ProtoOAOrder, price: float, holding: Holding) -> Self:
        """What a filled order asks for: its distances, counted from the price of the fill."""
        digits, sign = holding.symbol.instrument.digits, 1 if holding.is_buy else -1
        stop_loss = take_profit = None
        if order.HasField("relativeStopLoss"):
            stop_loss = round(price - sign * order.relativeStopLoss / PRICE_SCALE, digits)
        if order.HasField("relativeTakeProfit"):
            take_profit = round(price + sign * order.relativeTakeProfit / PRICE_SCALE, digits)
        return cls(stop_loss, take_profit, order.trailingStopLoss, order.stopTriggerMethod)


def protect(ledger: Ledger, holding: Holding, wish: Wish, now: int, *, by_server: bool) -> pb.ProtoOAExecutionEvent | None:
    """Give the position this protection; the event that tells of it, or None when that changes nothing."""
    position, order = holding.position, holding.protection
    if wish == _present(holding):
        return None
    if wish.is_empty:
        _show(position, wish)
        if order is None:  # only flags without a price were changed: nothing holds them
            return None
        ledger.end(order, pb.ProtoOAOrderStatus.ORDER_STATUS_CANCELLED, now)
        holding.protection = holding.trail = None
        return ledger.event(_KIND.ORDER_CANCELLED, order, holding, by_server=by_server)
    kind = _KIND.ORDER_ACCEPTED if order is None else _KIND.ORDER_REPLACED
    order = order or ledger.protective_order(holding, now)
    _show(position, wish)
    for name, price in (("stopPrice", wish.stop_loss), ("limitPrice", wish.take_profit)):
        if price is None:
            order.ClearField(name)  # type: ignore[arg-type]  # the names are fields of it
        else:
            setattr(order, name, price)
    order.stopTriggerMethod = wish.method
    order.trailingStopLoss = wish.trailing
    order.tradeData.volume = holding.volume
    order.utcLastUpdateTimestamp = position.utcLastUpdateTimestamp = now
    return ledger.event(kind, order, holding, by_server=by_server)


def move_stop(account_id: int, holding: Holding, order: pb.ProtoOAOrder, stop: float, now: int) -> pb.ProtoOATrailingSLChangedEvent:
    """A trailing stop follows the price; an event of its own tells of it, and no execution event."""
    holding.position.stopLoss = order.stopPrice = stop
    holding.position.utcLastUpdateTimestamp = order.utcLastUpdateTimestamp = now
    return pb.ProtoOATrailingSLChangedEvent(
        ctidTraderAccountId=account_id, positionId=holding.id, orderId=order.orderId, stopPrice=stop, utcLastUpdateTimestamp=now
    )


def _present(holding: Holding) -> Wish:
    position = holding.position
    return Wish(
        position.stopLoss if position.HasField("stopLoss") else None,
        position.takeProfit if position.HasField("takeProfit") else None,
        position.trailingStopLoss,
        position.stopLossTriggerMethod,
    )


def _show(position: pb.ProtoOAPosition, wish: Wish) -> None:
    for name, price in (("stopLoss", wish.stop_loss), ("takeProfit", wish.take_profit)):
        if price is None:
            position.ClearField(name)  # type: ignore[arg-type]  # the names are fields of it
        else:
            setattr(position, name, price)
    position.trailingStopLoss = wish.trailing
    position.stopLossTriggerMethod = wish.method
