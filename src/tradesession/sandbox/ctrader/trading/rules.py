"""What an order has to be like, and how it is refused when it is not.

Pure. Each check raises a Refusal; the codes and the texts that clients look for are those that were seen (fact sheet, section 6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.market import Symbol
from tradesession.sandbox.ctrader.refusal import Refusal
from tradesession.sandbox.ctrader.trading.money import wire

_TYPE: Final = pb.ProtoOAOrderType
_BUY: Final = pb.ProtoOATradeSide.BUY
_TEXT_LIMITS: Final = {"comment": 512, "label": 100, "clientOrderId": 50}
_EXACT: Final = 1e-6
"""How far a price may be off its digits: what floats do, and no more."""

MARKET_TYPES: Final = frozenset({_TYPE.MARKET, _TYPE.MARKET_RANGE})
PENDING_TYPES: Final = frozenset({_TYPE.LIMIT, _TYPE.STOP, _TYPE.STOP_LIMIT})


def invalid(text: str) -> Refusal:
    """The catch-all, whose text carries the reason."""
    return Refusal("INVALID_REQUEST", text)


def check_volume(volume: int, symbol: Symbol, *, at_most: int | None = None) -> None:
    """Within minimum, maximum (or what is open) and step."""
    instrument = symbol.instrument
    most = instrument.max_volume if at_most is None else at_most
    if not instrument.min_volume <= volume <= most or volume % instrument.min_volume:
        raise Refusal("TRADING_BAD_VOLUME", f"Volume {volume} is not within {instrument.min_volume} to {most} in steps of the minimum")


def check_new_order(request: pb.ProtoOANewOrderReq, symbol: Symbol, bid: int, ask: int, now: int) -> None:
    """Everything about a new order that needs no book."""
    if request.orderType not in MARKET_TYPES | PENDING_TYPES:
        raise invalid("Orders of this type are made by the server")
    for name, limit in _TEXT_LIMITS.items():
        if len(getattr(request, name)) > limit:
            raise invalid(f"{name} is longer than {limit} characters")
    check_volume(request.volume, symbol)
    _NEEDS[request.orderType](request)
    check_prices(request, symbol)
    if request.orderType in MARKET_TYPES:
        if request.HasField("stopLoss") or request.HasField("takeProfit"):
            raise invalid("SL/TP in absolute values are allowed only for order types: LIMIT, STOP, STOP_LIMIT")
    else:
        check_sides(request.tradeSide == _BUY, entry_price(request), request)
        _check_stop(request, bid, ask)
    check_expiry(request, now)


def check_prices(request: Any, symbol: Symbol) -> None:
    """No price has more decimals than the symbol, no relative one lies between two ticks."""
    digits = symbol.instrument.digits
    for names, what in ((("limitPrice", "stopPrice"), "price"), (("stopLoss", "takeProfit"), "protection")):
        for name in names:
            if name in request.DESCRIPTOR.fields_by_name and request.HasField(name) and not _fits(price := getattr(request, name), digits):
                raise invalid(f"Order {what} = {price} has more digits than symbol allows. Allowed {digits} digits")
    for name, what in (("relativeStopLoss", "stop loss"), ("relativeTakeProfit", "take profit")):
        if name in request.DESCRIPTOR.fields_by_name and request.HasField(name):
            distance = getattr(request, name)
            if distance <= 0 or distance % symbol.tick:
                raise invalid(f"Relative {what} has invalid precision")


def check_sides(is_buy: bool, price: float, request: Any) -> None:
    """The stop loss lies on the losing side of the price, the take profit on the winning one."""
    for name, wins in (("stopLoss", False), ("takeProfit", True)):
        if request.HasField(name) and (getattr(request, name) > price) is not (wins is is_buy):
            raise Refusal("TRADING_BAD_STOPS", f"{name} {getattr(request, name)} is on the wrong side of {price}")


def check_expiry(request: Any, now: int) -> None:
    """An expiration lies ahead, and GOOD_TILL_DATE has one."""
    dated = request.HasField("expirationTimestamp")
    is_gtd = getattr(request, "timeInForce", None) == pb.ProtoOATimeInForce.GOOD_TILL_DATE
    if (dated and request.expirationTimestamp <= now) or (is_gtd and not dated):
        raise Refusal("TRADING_BAD_EXPIRATION_DATE", "The expiration is missing or over")


def entry_price(order: Any) -> float:
    """The price at which a pending order wants to be filled."""
    return float(order.limitPrice if order.orderType == _TYPE.LIMIT else order.stopPrice)


def make_relative(order: pb.ProtoOAOrder, request: Any) -> None:
    """Stop loss and take profit of a pending order: they are reported as distances, whatever they were given as."""
    price = wire(entry_price(order))
    for absolute, relative in (("stopLoss", "relativeStopLoss"), ("takeProfit", "relativeTakeProfit")):
        if request.HasField(absolute):
            setattr(order, relative, abs(wire(getattr(request, absolute)) - price))


def _fits(price: float, digits: int) -> bool:
    scaled = price * 10**digits
    return price > 0 and abs(scaled - round(scaled)) < _EXACT


def _check_stop(request: pb.ProtoOANewOrderReq, bid: int, ask: int) -> None:
    """A stop lies beyond the market; a limit may lie anywhere, and is filled at once where the market is better."""
    if request.orderType == _TYPE.LIMIT:
        return
    is_buy = request.tradeSide == _BUY
    if wire(request.stopPrice) <= ask if is_buy else wire(request.stopPrice) >= bid:
        raise Refusal("TRADING_BAD_PRICES", f"The stop price {request.stopPrice} is behind the market")


def _wants(*names: str) -> Callable[[pb.ProtoOANewOrderReq], None]:
    def check(request: pb.ProtoOANewOrderReq) -> None:
        for name in names:
            if not request.HasField(name):  # type: ignore[arg-type]  # the names below are fields of it
                raise invalid(f"{_TYPE.Name(request.orderType)} orders need {name}")

    return check


_NEEDS: Final[dict[int, Callable[[pb.ProtoOANewOrderReq], None]]] = {
    _TYPE.MARKET: _wants(),
    _TYPE.MARKET_RANGE: _wants("baseSlippagePrice", "slippageInPoints"),
    _TYPE.LIMIT: _wants("limitPrice"),
    _TYPE.STOP: _wants("stopPrice"),
    _TYPE.STOP_LIMIT: _wants("stopPrice", "slippageInPoints"),
}
