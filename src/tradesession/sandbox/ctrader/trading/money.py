"""What things cost: conversion into the deposit asset, commission, margin, profit.

Pure. Money is in cents, half a cent rounds away from zero; volumes are in cents of a unit, prices plain. Facts: section 8.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from tradesession.sandbox.ctrader.market import DEPOSIT_ASSET, PRICE_SCALE, Symbol, symbols_of
from tradesession.sandbox.ctrader.state import Broker

Quotes = Callable[[Symbol], tuple[int, int]]
"""The last bid and ask of a symbol, as integers of 1e-5."""

LEVERAGE: Final = 100
COMMISSION_PER_LOT: Final = 250
"""Cents a lot and side, of every symbol."""

MONEY_DIGITS: Final = 2

_TINY: Final = 1e-9
"""What the arithmetic of floats may be short of a half."""


def cents(amount: float) -> int:
    """Whole cents."""
    return int(math.copysign(math.floor(abs(amount) + 0.5 + _TINY), amount))


def plain(wire: int, symbol: Symbol) -> float:
    """A wire price as orders and positions show it."""
    return round(wire / PRICE_SCALE, symbol.instrument.digits)


def wire(price: float) -> int:
    """A plain price as spots carry it."""
    return round(price * PRICE_SCALE)


def rate(asset: str, broker: Broker, quotes: Quotes) -> float:
    """What one unit of the asset is worth in the deposit asset."""
    if asset == DEPOSIT_ASSET:
        return 1.0
    for symbol in symbols_of(broker):
        instrument = symbol.instrument
        if instrument.base == asset:
            return _middle(symbol, quotes) * rate(instrument.quote, broker, quotes)
        if (instrument.base, instrument.quote) == (DEPOSIT_ASSET, asset):
            return 1.0 / _middle(symbol, quotes)
    raise KeyError(f"nothing tells what {asset} is worth in {DEPOSIT_ASSET}")


def _middle(symbol: Symbol, quotes: Quotes) -> float:
    bid, ask = quotes(symbol)
    return (bid + ask) / 2 / PRICE_SCALE


def commission(symbol: Symbol, volume: int) -> int:
    """Of one deal; negative, as it travels."""
    return -cents(volume / symbol.instrument.lot_size * COMMISSION_PER_LOT)


def margin_rate(symbol: Symbol, price: float, quotes: Quotes) -> float:
    """What one unit of the symbol's base asset is worth in the deposit asset, when the symbol stands at `price`."""
    if symbol.instrument.base == DEPOSIT_ASSET:
        return 1.0
    return price * rate(symbol.instrument.quote, symbol.broker, quotes)


def margin(volume: int, unit_rate: float) -> int:
    """What a position ties up."""
    return cents(volume * unit_rate / LEVERAGE)


def profit(volume: int, opened: float, closed: float, *, is_buy: bool, quote_rate: float) -> float:
    """In cents, not yet rounded. `quote_rate` is what one unit of the quote asset is worth in the deposit asset."""
    return (closed - opened if is_buy else opened - closed) * volume * quote_rate
