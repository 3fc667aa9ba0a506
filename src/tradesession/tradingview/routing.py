"""The wire of the data integration: from bodies and lines to records.

Pure. Tolerant of what it does not know, and of what servers spell otherwise (milliseconds, scalars in place of columns, tickers in place of
symbols); not of columns that do not belong together, since those would mix up symbols. Raises ProtocolError, naming what is wrong.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, Final

from tradesession.errors import ProtocolError
from tradesession.tradingview.records import Bar, Group, History, SymbolInfo, UserQuote

_MILLISECONDS: Final = 1e11  # a larger time is in milliseconds: year 5138 in seconds, 1973 in milliseconds
_LISTS: Final = ("supported-resolutions", "intraday-multipliers")
_RENAMED: Final = {"minmov2": "minmovement2", "minmov": "minmovement", "name": "symbol"}
_COLUMNS: Final = {
    one.name.replace("_", "-"): (one.name, str(one.type)) for one in fields(SymbolInfo) if one.name not in ("symbol", "ticker", "others")
}


def decode(body: bytes) -> dict[str, Any] | None:
    """A JSON object, numbers with a fraction as decimals; None for anything else."""
    try:
        value = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def objects_of(line: bytes) -> Iterator[dict[str, Any] | None]:
    """The JSON objects of a line of /streaming: one by the documents, several with some servers; None for what is none, to its end."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        yield None
        return
    position = 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            yield None
            return
        yield value if isinstance(value, dict) else None


_DECODER: Final = json.JSONDecoder(parse_float=Decimal)


# --- replies ------------------------------------------------------------------------------------------------------------------------


def symbols(reply: Mapping[str, Any]) -> list[SymbolInfo]:
    """The rows of /symbol_info, whose columns are arrays; a scalar in place of one holds for all rows."""
    names = reply.get("symbol", reply.get("name"))
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, list):
        raise ProtocolError("/symbol_info has no column 'symbol'")
    columns = {_RENAMED.get(name, name): value for name, value in reply.items() if name != "s"}
    for name, column in columns.items():
        if _is_column(name, column) and len(column) != len(names):
            raise ProtocolError(f"the column {name!r} of /symbol_info has {len(column)} values for {len(names)} symbols")
    return [_symbol(str(name), {key: _cell(key, column, row) for key, column in columns.items()}) for row, name in enumerate(names)]


def _is_column(name: str, value: object) -> bool:
    """Whether there is one value for each symbol; of columns that hold lists, one list that holds for all is none."""
    return isinstance(value, list) and (name not in _LISTS or any(isinstance(cell, list) for cell in value))


def _cell(name: str, column: Any, row: int) -> Any:
    return column[row] if _is_column(name, column) else column


def _symbol(name: str, cells: Mapping[str, Any]) -> SymbolInfo:
    known: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for key, value in cells.items():
        if key in ("symbol", "ticker"):
            continue
        if key not in _COLUMNS:
            others[key] = value
        elif value is not None:
            attribute, annotation = _COLUMNS[key]
            read = _read(annotation, value)
            if read is not None:
                known[attribute] = read
    ticker = cells.get("ticker")
    return SymbolInfo(symbol=name, ticker=ticker if isinstance(ticker, str) and ticker else name, others=MappingProxyType(others), **known)


def _read(annotation: str, value: Any) -> Any:
    """The value as its field wants it; None (the field's default) for what cannot be meant."""
    if annotation == "str":
        return value if isinstance(value, str) else None
    if annotation == "bool":
        return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower())
    if annotation.startswith("Decimal"):
        return number(value)
    if annotation.startswith("int"):
        found = number(value)
        return None if found is None else int(found)
    return tuple(str(item) for item in value) if isinstance(value, list) else (str(value),)


def groups(reply: Mapping[str, Any]) -> list[Group]:
    """The groups of /groups (`{id: …}`) or of /permissions (plain ids)."""
    data = reply.get("d")
    listed = data.get("groups") if isinstance(data, dict) else None
    if not isinstance(listed, list):
        raise ProtocolError("the reply has no list of groups in d.groups")
    found = [item.get("id") if isinstance(item, dict) else item for item in listed]
    return [Group(one) for one in found if isinstance(one, str) and one]


def history(reply: Mapping[str, Any]) -> History:
    """The bars of /history, in the order of their time; empty arrays mean that earlier ones exist, `s: "no_data"` that none do."""
    next_time = number(reply.get("nb"))
    if reply.get("s") == "no_data":
        return History((), is_end=next_time is None, next_time=None if next_time is None else _seconds(next_time))
    times = _array(reply, "t")
    prices = [_array(reply, name) for name in ("o", "h", "l", "c")]
    volumes = _array(reply, "v") if reply.get("v") is not None else [None] * len(times)
    for name, column in zip("ohlcv", (*prices, volumes), strict=True):
        if len(column) != len(times):
            raise ProtocolError(f"/history has {len(times)} times and {len(column)} values of {name!r}")
    rows = zip(times, *prices, volumes, strict=True)
    return History(tuple(sorted((_bar(*row) for row in rows), key=lambda bar: bar.time)))


def _bar(time: Any, *values: Any) -> Bar:
    when = moment(time)
    numbers = [number(value) for value in values]
    opened, high, low, close, volume = numbers
    if when is None or opened is None or high is None or low is None or close is None:
        raise ProtocolError("/history has a bar with a time or a price that is no number")
    return Bar(when, opened, high, low, close, volume)


def _array(reply: Mapping[str, Any], name: str) -> Sequence[Any]:
    column = reply.get(name)
    if not isinstance(column, list):
        raise ProtocolError(f"/history has no array {name!r}")
    return column


def quotes(reply: Mapping[str, Any]) -> list[UserQuote]:
    """The answers of /quotes; a symbol whose own status is an error is left out."""
    listed = reply.get("d")
    if not isinstance(listed, list):
        raise ProtocolError("/quotes has no list d")
    found = []
    for item in listed:
        values = item.get("v") if isinstance(item, dict) else None
        if isinstance(values, dict) and item.get("s", "ok") == "ok" and isinstance(item.get("n"), str):
            found.append(_user_quote(item["n"], values))
    return found


_USER_FIELDS: Final = {
    "bid": "bid",
    "ask": "ask",
    "buyPipValue": "buy_pip_value",
    "sellPipValue": "sell_pip_value",
    "hardToBorrow": "hard_to_borrow",
    "notShortable": "not_shortable",
    "halted": "halted",
}


def _user_quote(name: str, values: Mapping[str, Any]) -> UserQuote:
    known = {attribute: number(values.get(key)) for key, attribute in _USER_FIELDS.items()}
    others = MappingProxyType({key: value for key, value in values.items() if key not in _USER_FIELDS})
    return UserQuote(name, **known, others=others)


# --- values -------------------------------------------------------------------------------------------------------------------------


def number(value: Any) -> Decimal | None:
    """A finite number, also as text; a flag counts as 0 or 1; None for anything else."""
    if not isinstance(value, (int, str, Decimal)):
        return None
    try:
        found = Decimal(value)
    except (InvalidOperation, ValueError):
        return None
    return found if found.is_finite() else None


def moment(value: Any) -> dt.datetime | None:
    """A time in seconds (or milliseconds) since 1970; None for what is none."""
    found = number(value)
    if found is None:
        return None
    try:
        return dt.datetime.fromtimestamp(_seconds(found), dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _seconds(value: Decimal) -> float:
    seconds = float(value)
    return seconds / 1000 if abs(seconds) > _MILLISECONDS else seconds
