"""The records that CPlugin sends, as frozen dataclasses, and how they are read.

Pure. What a record needs to be one is required; anything else may be absent, null or of an odd kind, and is None then. Names are compared
as v2 writes them (camelCase) and as v1 does (Capitalised). What a server sends beyond that is in `wire`, which no repr shows.
"""

from __future__ import annotations

import enum
import functools
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Self, TypeAlias, Union, get_args, get_origin, get_type_hints

from tradesession.errors import ProtocolError
from tradesession.protocol.values import finite

Wire: TypeAlias = Mapping[str, Any]

_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?\s*(Z|[+-]\d\d:?\d\d)?", re.ASCII | re.IGNORECASE
)


class Kind(enum.Enum):
    """What happened to the thing that an update is about."""

    ADDED = 0
    UPDATED = 1
    DELETED = 2


def read_kind(value: object) -> Kind | None:
    """As text (the vendor's TypeScript types) or as a number (a .NET enum without a converter); None for any other."""
    if isinstance(value, str):
        if value.strip().upper() in Kind.__members__:
            return Kind[value.strip().upper()]
        value = _int(value)
    return next((kind for kind in Kind if kind.value == value and not isinstance(value, bool)), None)


def read_time(value: object) -> datetime | None:
    """An ISO 8601 date-time, with 0 to 9 digits of a second. Without a zone it stays without: whose time it is nobody has said."""
    if not isinstance(value, str):
        return None
    if value[10:11] == "T":
        try:
            return datetime.fromisoformat(value)  # six times as quick as what follows, and not as tolerant
        except ValueError:
            pass
    if (match := _TIME.fullmatch(value.strip())) is None:
        return None
    *numbers, fraction, zone = match.groups()
    year, month, day, hour, minute, second = (int(number or 0) for number in numbers)
    try:
        return datetime(year, month, day, hour, minute, second, int((fraction or "0").ljust(6, "0")[:6]), tzinfo=_zone(zone))
    except ValueError:
        return None


def _zone(text: str | None) -> timezone | None:
    if not text:
        return None
    if text in "Zz":
        return UTC
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    return timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))


def _int(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _bool(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


_READERS: Final[dict[object, Callable[[object], Any]]] = {
    str: _text,
    int: _int,
    float: finite,
    bool: _bool,
    Decimal: _decimal,
    datetime: read_time,
    Kind: read_kind,
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """What all records have: `wire` is the object as it came."""

    wire: Wire = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, wire: Any) -> Self:
        """The record of an object. Raises ProtocolError, without quoting anything, for what is none or lacks what it needs."""
        if type(wire) is not dict and not isinstance(wire, Mapping):
            raise ProtocolError(f"a {cls.__name__} is an object, and {type(wire).__name__} came")
        columns, defaults = _TABLES.get(cls) or _table(cls)
        values = defaults.copy()
        values["wire"] = wire
        for name, camel, pascal, kind, read, is_required in columns:
            value: Any = wire.get(camel)
            if value is None:
                value = wire.get(pascal)
            if type(value) is not kind:
                value = None if value is None else read(value)
            elif kind is float and value - value != 0.0:  # no finite number
                value = None
            if value is not None:
                values[name] = value
            elif is_required:
                raise ProtocolError(f"a {cls.__name__} came without a readable {camel}")
        record = object.__new__(cls)
        record.__dict__.update(values)  # not by __init__, which takes longer than all of the above: there is a record for each tick
        return record


_Column: TypeAlias = tuple[str, str, str, Any, Callable[[object], Any], bool]
_Table: TypeAlias = tuple[list[_Column], dict[str, Any]]
_TABLES: Final[dict[type[Record], _Table]] = {}


def _table(cls: type[Record]) -> _Table:
    """The columns of a record, and the values of what is absent.

    Of each field its name, the two spellings of it on the wire, the type that is taken as it comes, how any other is read, and whether it
    must be there.
    """
    hints = get_type_hints(cls)
    columns: list[_Column] = []
    defaults: dict[str, Any] = {}
    for one in fields(cls):
        if one.name == "wire":
            continue
        pascal = "".join(word.capitalize() for word in one.name.split("_"))
        kind = _kind(hints[one.name])
        read = functools.partial(_record, kind) if issubclass(kind, Record) else _READERS[kind]
        is_required = one.default is MISSING
        columns.append((one.name, pascal[0].lower() + pascal[1:], pascal, kind, read, is_required))
        if not is_required:
            defaults[one.name] = one.default
    _TABLES[cls] = columns, defaults
    return columns, defaults


def _kind(hint: Any) -> type[Any]:
    """The type of a field, which may be absent or not."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(one for one in get_args(hint) if one is not type(None))
    assert isinstance(hint, type)
    return hint


def _record(cls: type[Record], value: object) -> Record | None:
    try:
        return cls.of(value)
    except ProtocolError:
        return None


# --- MT4 ----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Tick(Record):
    """A price. MT4 times have no known zone: `last_time` has one only where the server sent one."""

    symbol: str
    bid: float
    ask: float
    last_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class MarginCall(Record):
    """An MT4 account that is in, or out of, margin call or stop out."""

    login: int
    group: str | None = None
    leverage: int | None = None
    updated: int | None = None
    balance: float | None = None
    equity: float | None = None
    volume_lots: Decimal | None = None
    margin: float | None = None
    free: float | None = None
    level: float | None = None
    controlling_type: int | None = None
    level_type: int | None = None


@dataclass(frozen=True, kw_only=True)
class TradeUpdate(Record):
    """An order or a position of an MT4 account was added, updated or deleted."""

    order: int
    kind: Kind | None = None
    login: int | None = None
    symbol: str | None = None
    cmd: int | None = None
    volume_lots: Decimal | None = None
    open_price: float | None = None
    open_time: datetime | None = None
    sl: float | None = None
    tp: float | None = None
    close_price: float | None = None
    close_time: datetime | None = None
    commission: float | None = None
    storage: float | None = None
    profit: float | None = None
    taxes: float | None = None
    comment: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class UserUpdate(Record):
    """An MT4 account was added, updated or deleted. What names a person shows in no repr."""

    login: int
    kind: Kind | None = None
    group: str | None = None
    name: str | None = field(default=None, repr=False)
    country: str | None = field(default=None, repr=False)
    leverage: int | None = None
    balance: float | None = None
    credit: float | None = None
    enabled: bool | None = None
    read_only: bool | None = None
    reg_date: datetime | None = None
    last_date: datetime | None = None
    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    comment: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class SymbolUpdate(Record):
    """A symbol of an MT4 server was added, updated or deleted."""

    symbol: str
    kind: Kind | None = None
    description: str | None = None
    currency: str | None = None
    digits: int | None = None
    trade_mode: int | None = None
    spread: int | None = None
    stops_level: int | None = None
    freeze_level: int | None = None
    contract_size: float | None = None
    tick_value: float | None = None
    tick_size: float | None = None
    margin_initial: float | None = None
    margin_maintenance: float | None = None


@dataclass(frozen=True, kw_only=True)
class ConnectionStatus(Record):
    """Whether CPlugin is connected to the trade server. Pushed right behind the handshake, and at each change."""

    connected: bool


# --- MT5 ----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Mt5Tick(Tick):
    """A price of an MT5 server."""

    last: float | None = None
    volume_ext: float | None = None
    flags: int | None = None


@dataclass(frozen=True, kw_only=True)
class Mt5MarginCall(Record):
    """An MT5 account that is in, or out of, margin call or stop out."""

    login: int
    type: str | None = None
    direction: str | None = None


# --- REST ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Organization(Record):
    """An organization that the credentials belong to."""

    id: str
    name: str | None = None
    created: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class TradePlatform(Record):
    """A trade server that is connected to the WebAPI; `id` is the trade_platform of a Config."""

    id: str
    name: str | None = None
    type: str | None = None
    login: int | None = None
    organization_id: str | None = None
    organization: Organization | None = None
    created: datetime | None = None
