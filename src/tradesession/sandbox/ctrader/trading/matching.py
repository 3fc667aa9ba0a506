"""When an order is due, and at which price.

Pure. Prices are integers of 1e-5. Who buys gets the ask, who sells the bid. Facts: section 9.3, trigger sides.
"""

from __future__ import annotations

from typing import Final

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.market import Symbol
from tradesession.sandbox.ctrader.trading.holding import Holding
from tradesession.sandbox.ctrader.trading.money import wire

_BUY: Final = pb.ProtoOATradeSide.BUY
_OPPOSITE: Final = (pb.ProtoOAOrderTriggerMethod.OPPOSITE, pb.ProtoOAOrderTriggerMethod.DOUBLE_OPPOSITE)
_DOUBLE: Final = (pb.ProtoOAOrderTriggerMethod.DOUBLE_TRADE, pb.ProtoOAOrderTriggerMethod.DOUBLE_OPPOSITE)


def fill_price(order: pb.ProtoOAOrder, bid: int, ask: int) -> int:
    """What the order would be filled at now."""
    return ask if order.tradeData.tradeSide == _BUY else bid


def ticks_wanted(order: pb.ProtoOAOrder) -> int:
    """How many ticks in a row must be beyond the stop."""
    return 2 if order.stopTriggerMethod in _DOUBLE else 1


def has_slipped(order: pb.ProtoOAOrder, symbol: Symbol, bid: int, ask: int) -> bool:
    """Whether the market is further away than the order allows: of MARKET_RANGE and STOP_LIMIT, counted from their own price."""
    base = order.baseSlippagePrice if order.orderType == pb.ProtoOAOrderType.MARKET_RANGE else order.stopPrice
    worse = fill_price(order, bid, ask) - wire(base)
    if order.tradeData.tradeSide != _BUY:
        worse = -worse
    return worse > order.slippageInPoints * symbol.tick


def is_beyond(order: pb.ProtoOAOrder, bid: int, ask: int) -> bool:
    """Whether a pending order's price is reached."""
    is_buy = order.tradeData.tradeSide == _BUY
    if order.orderType == pb.ProtoOAOrderType.LIMIT:
        return ask <= wire(order.limitPrice) if is_buy else bid >= wire(order.limitPrice)
    price = ask if is_buy != (order.stopTriggerMethod in _OPPOSITE) else bid
    return price >= wire(order.stopPrice) if is_buy else price <= wire(order.stopPrice)


def is_stopped(holding: Holding, bid: int, ask: int) -> bool:
    """Whether the stop loss of a position is reached: of a long one by the bid, of a short one by the ask, unless told otherwise."""
    order = holding.protection
    if order is None or not order.HasField("stopPrice"):
        return False
    price = bid if holding.is_buy != (order.stopTriggerMethod in _OPPOSITE) else ask
    return price <= wire(order.stopPrice) if holding.is_buy else price >= wire(order.stopPrice)


def is_taken(holding: Holding, bid: int, ask: int) -> bool:
    """Whether the take profit of a position is reached."""
    order = holding.protection
    if order is None or not order.HasField("limitPrice"):
        return False
    return bid >= wire(order.limitPrice) if holding.is_buy else ask <= wire(order.limitPrice)


def trailed(holding: Holding, bid: int, ask: int) -> int | None:
    """Where the trailing stop of a position moves to; None when it stays."""
    if holding.trail is None or not holding.position.HasField("stopLoss"):
        return None
    stop = bid - holding.trail if holding.is_buy else ask + holding.trail
    has_moved = stop > wire(holding.position.stopLoss) if holding.is_buy else stop < wire(holding.position.stopLoss)
    return stop if has_moved else None
