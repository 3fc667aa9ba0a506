"""Whether an order or a position is as an amendment wanted it.

Pure. Servers report what they were given in their own way: protection of a pending order as distances, a trailing stop where it has
moved to.
"""

from __future__ import annotations

from typing import Any, Final

from tradesession.ctrader.messages import (
    ProtoOAAmendOrderReq,
    ProtoOAAmendPositionSLTPReq,
    ProtoOAOrder,
    ProtoOAPosition,
    ProtoOATradeSide,
)

_CLOSE: Final = 1e-7
"""How far two prices may be apart and be the same; no symbol has so many digits."""


def _same(one: float, other: float) -> bool:
    return abs(one - other) < _CLOSE


def is_amended(order: ProtoOAOrder, wanted: ProtoOAAmendOrderReq) -> bool:
    """Whether a pending order is as it was wanted. What was not mentioned is not looked at."""
    plain: tuple[Any, ...] = (
        "expirationTimestamp",
        "slippageInPoints",
        "relativeStopLoss",
        "relativeTakeProfit",
        "trailingStopLoss",
        "stopTriggerMethod",
    )
    if not all(getattr(order, name) == getattr(wanted, name) for name in plain if wanted.HasField(name)):
        return False
    if not all(_same(getattr(order, name), getattr(wanted, name)) for name in ("limitPrice", "stopPrice") if wanted.HasField(name)):
        return False
    trade = order.tradeData
    if wanted.HasField("volume") and trade.volume != wanted.volume:
        return False
    if wanted.HasField("guaranteedStopLoss") and trade.guaranteedStopLoss != wanted.guaranteedStopLoss:
        return False
    return _has_distance(order, wanted, "stopLoss") and _has_distance(order, wanted, "takeProfit")


def _has_distance(order: ProtoOAOrder, wanted: ProtoOAAmendOrderReq, name: Any) -> bool:
    """Whether the protection of a pending order is as wanted: servers tell absolute prices as distances from the order's own price."""
    if not wanted.HasField(name):
        return True
    price: float = getattr(wanted, name)
    if order.HasField(name):
        return _same(getattr(order, name), price)
    relative: int = order.relativeStopLoss if name == "stopLoss" else order.relativeTakeProfit
    entry = order.limitPrice if order.HasField("limitPrice") else order.stopPrice
    return relative == round(abs(entry - price) * 100_000)


def is_protected(position: ProtoOAPosition, wanted: ProtoOAAmendPositionSLTPReq) -> bool:
    """Whether a position has this protection; one that was left out is to be gone."""
    flags = (
        position.trailingStopLoss == wanted.trailingStopLoss
        and position.guaranteedStopLoss == wanted.guaranteedStopLoss
        and position.stopLossTriggerMethod == wanted.stopLossTriggerMethod
    )
    stop = _same(position.stopLoss, wanted.stopLoss)
    if wanted.trailingStopLoss:  # it may have moved since, towards the profit
        is_buy = position.tradeData.tradeSide == ProtoOATradeSide.BUY
        ahead = position.stopLoss - wanted.stopLoss if is_buy else wanted.stopLoss - position.stopLoss
        stop = position.HasField("stopLoss") and ahead > -_CLOSE
    return flags and stop and _same(position.takeProfit, wanted.takeProfit)


def holds(order: ProtoOAOrder, wanted: ProtoOAAmendPositionSLTPReq) -> bool:
    """Whether a protective order holds the wanted prices."""
    return _same(order.stopPrice, wanted.stopLoss) and _same(order.limitPrice, wanted.takeProfit)
