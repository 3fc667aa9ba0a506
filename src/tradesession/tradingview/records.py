"""What a broker's server tells, as small frozen records: symbols, groups, bars, quotes, trades.

Pure. Prices and sizes are decimals, exactly as they stand on the wire; times are UTC. Fields that a server leaves out have a default that
says so; fields that nobody knows pass by, or are kept in `others`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolInfo:
    """A row of /symbol_info. `ticker` is the symbol itself where the server gives none. `others` are columns that stand in no document."""

    symbol: str
    ticker: str
    description: str = ""
    type: str = ""
    currency: str = ""
    base_currency: str = ""
    exchange_listed: str = ""
    exchange_traded: str = ""
    root: str = ""
    root_description: str = ""
    pricescale: Decimal | None = None
    minmovement: Decimal | None = None
    minmovement2: Decimal | None = None
    pointvalue: Decimal | None = None
    fractional: bool = False
    is_cfd: bool = False
    has_intraday: bool = True
    has_daily: bool = False
    has_weekly_and_monthly: bool = False
    has_no_volume: bool = False
    timezone: str = ""
    session_regular: str = ""
    session_extended: str = ""
    session_premarket: str = ""
    session_postmarket: str = ""
    supported_resolutions: tuple[str, ...] = ()
    intraday_multipliers: tuple[str, ...] = ()
    expiration: int | None = None
    bar_source: str = ""
    bar_transform: str = ""
    bar_fillgaps: bool = False
    others: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), compare=False)


@dataclass(frozen=True, slots=True)
class Group:
    """A group of symbols, by its id: what /permissions grants, and /symbol_info can be asked for."""

    id: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of /history. `time` is its beginning; of a daily one 00:00 UTC of the trading day. `volume` is None where there is none."""

    time: dt.datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """The best prices of a symbol, both sides always. `id` is what the stream called it: the symbol or its ticker."""

    symbol: str
    bid: Decimal
    ask: Decimal
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    time: dt.datetime | None = None
    id: str = ""


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade. A size of 0 is a correction, or the artificial trade of a Forex feed (its mid price); None where none was sent."""

    symbol: str
    price: Decimal
    size: Decimal | None = None
    time: dt.datetime | None = None
    id: str = ""


@dataclass(frozen=True, slots=True)
class DailyBar:
    """The daily bar of a symbol as it stands now. `time` is 00:00 UTC of the trading day."""

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None = None
    time: dt.datetime | None = None
    id: str = ""


Update: TypeAlias = Quote | Trade | DailyBar
"""What comes over /streaming."""


@dataclass(frozen=True, slots=True)
class UserQuote:
    """An answer of /quotes, the trading side's: what one user sees of a symbol. Fields that nobody knows are in `others`."""

    symbol: str
    bid: Decimal | None
    ask: Decimal | None
    buy_pip_value: Decimal | None = None
    sell_pip_value: Decimal | None = None
    hard_to_borrow: Decimal | None = None
    not_shortable: Decimal | None = None
    halted: Decimal | None = None
    others: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), compare=False)


@dataclass(frozen=True, slots=True)
class History:
    """One answer of /history. `is_end` says that there is nothing earlier either; `next_time` (the `nb` of old servers) where there is."""

    bars: tuple[Bar, ...]
    is_end: bool = False
    next_time: float | None = None
