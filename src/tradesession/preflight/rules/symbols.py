"""Rules about /symbol_info: the answer, and each of its columns by a table. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from tradesession.preflight.evidence import Evidence
from tradesession.preflight.exchange import Exchange, brief, is_integer, is_number
from tradesession.preflight.report import Problem, Rules
from tradesession.preflight.rules.common import DATA_TESTS, SPECIFICATION, answered, enveloped, need, typed
from tradesession.tradingview.hours import Hours

RULES: Final = Rules()
rule = RULES.rule

TEST: Final = DATA_TESTS + "symbolsResponseFieldsCorrectness"
TYPES: Final = ("stock", "fund", "dr", "right", "bond", "warrant", "structured", "index", "forex", "futures", "crypto")
OLDER_TYPES: Final = ("cfd",)
SOURCES: Final = ("bid", "ask", "mid", "trade")
TRANSFORMS: Final = ("none", "openprev", "prevopen")
_SYMBOL: Final = re.compile(r"[A-Z0-9._]+")
_RESOLUTION: Final = re.compile(r"\d+|\d*[SDWM]")


def _asked(evidence: Evidence) -> list[Exchange]:
    need(evidence.symbol_infos, "there is no token to ask with")
    return list(evidence.symbol_infos.values())


def _usable(evidence: Evidence) -> list[Exchange]:
    good = [one for one in _asked(evidence) if one.is_ok]
    need(good, "/symbol_info has no usable answer")
    return good


@rule("symbol_info.answer", "/symbol_info answers with HTTP 200", TEST)
def _answer(evidence: Evidence) -> Iterator[Problem]:
    yield from answered(_asked(evidence))


@rule("symbol_info.content-type", "its Content-Type has application/json", TEST)
def _content_type(evidence: Evidence) -> Iterator[Problem]:
    yield from typed(_asked(evidence))


@rule("symbol_info.envelope", "it is a JSON object with s=ok", TEST)
def _envelope(evidence: Evidence) -> Iterator[Problem]:
    yield from enveloped(_asked(evidence))


@rule("symbol_info.lengths", "all columns that are arrays have one value for each symbol", SPECIFICATION + ", /symbol_info")
def _lengths(evidence: Evidence) -> Iterator[Problem]:
    for one in _usable(evidence):
        reply = one.reply or {}
        symbols = reply.get("symbol")
        if not isinstance(symbols, list):
            continue
        for name, value in reply.items():
            if isinstance(value, list) and len(value) != len(symbols) and not _is_scalar_list(name, value):
                yield Problem(f"{len(symbols)} values", f"{len(value)}", f"{name} in {one.what}")


@rule("symbol_info.some", "there is a symbol, and none comes twice", SPECIFICATION + ", /symbol_info")
def _some(evidence: Evidence) -> Iterator[Problem]:
    for one in _usable(evidence):
        symbols = (one.reply or {}).get("symbol")
        names = [name for name in symbols if isinstance(name, str)] if isinstance(symbols, list) else []
        if not names:
            yield Problem("a symbol", "none", one.what)
        if len(set(names)) < len(names):
            yield Problem("each symbol once", f"{len(names) - len(set(names))} of them again", one.what)


@rule("symbol_info.no-groups", "a server without groups ignores the parameter group", SPECIFICATION + ", /symbol_info")
def _no_groups(evidence: Evidence) -> Iterator[Problem]:
    _usable(evidence)
    need(not evidence.uses_groups and evidence.unknown_group is not None, "the server has groups")
    with_group, without = evidence.unknown_group, evidence.symbol_infos.get("")
    if with_group is None or without is None or not without.is_ok:
        return
    symbols = [(one.reply or {}).get("symbol") for one in (with_group, without)]
    if symbols[0] != symbols[1]:
        yield Problem("all symbols", with_group.described() if not with_group.is_ok else "others", with_group.what)


# --- columns ----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what its values have to be."""

    name: str
    expected: str
    holds: Callable[[Any], bool]
    required: bool = False
    nullable: bool = False
    array_only: bool = False
    older: str = ""
    """What it was called in earlier versions."""


def _text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _upper(value: object) -> bool:
    return isinstance(value, str) and value != "" and value == value.upper()


def _boolean(value: object) -> bool:
    return isinstance(value, bool)


def _is_power(value: int, base: int) -> bool:
    while value > 1 and value % base == 0:
        value //= base
    return value == 1


def is_power(value: Any) -> bool:
    """Whether it can be a pricescale at all."""
    return is_integer(value) and (_is_power(value, 10) or _is_power(value, 2))


def _zone(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ZoneInfo(value))
    except (KeyError, ValueError, OSError):
        return False


def _session(value: Any) -> bool:
    return isinstance(value, str) and Hours.parse(value, "UTC") is not None


def _resolutions(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and _RESOLUTION.fullmatch(one) for one in value)


def _one_of(*words: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in words


COLUMNS: Final = (
    Column(
        "symbol",
        "a text of A-Z, 0-9, dot and underscore",
        lambda v: isinstance(v, str) and bool(_SYMBOL.fullmatch(v)),
        True,
        array_only=True,
    ),
    Column("description", "a text", _text, True, array_only=True),
    Column("exchange-listed", "a text in upper case", _upper, True),
    Column("exchange-traded", "a text in upper case", _upper, True),
    Column("minmovement", "a whole number above 0", lambda v: is_integer(v) and v > 0, True),
    Column("pricescale", "a power of ten (of two if fractional)", is_power, True),
    Column("currency", "a text", _text, True),
    Column("type", f"one of {', '.join(TYPES)}", _one_of(*TYPES, *OLDER_TYPES), True),
    Column("timezone", "a name of the IANA time zone database", _zone, True),
    Column("session-regular", "trading hours, such as 0930-1600 or 24x7", _session, True, older="session"),
    Column("ticker", "a text without a comma, or null", lambda v: _text(v) and "," not in v, nullable=True),
    Column("minmovement2", "a whole number", is_integer, older="minmov2"),
    Column("fractional", "true or false", _boolean),
    Column("has-intraday", "true or false", _boolean),
    Column("has-no-volume", "true or false", _boolean),
    Column("has-daily", "true or false", _boolean),
    Column("has-weekly-and-monthly", "true or false", _boolean),
    Column("supported-resolutions", "an array of resolutions", _resolutions),
    Column("intraday-multipliers", "an array of resolutions", _resolutions),
    Column("pointvalue", "a number", is_number),
    Column("root", "a text or null", lambda v: isinstance(v, str), nullable=True),
    Column("root-description", "a text or null", lambda v: isinstance(v, str), nullable=True),
    Column("session-extended", "trading hours or null", _session, nullable=True),
    Column("session-premarket", "trading hours or null", _session, nullable=True),
    Column("session-postmarket", "trading hours or null", _session, nullable=True),
    Column("bar-source", f"one of {', '.join(SOURCES)}", _one_of(*SOURCES)),
    Column("bar-transform", f"one of {', '.join(TRANSFORMS)}", _one_of(*TRANSFORMS)),
)


def _add(column: Column) -> None:
    needed = "is there and " if column.required else "where it is there, "
    shape = "" if column.array_only else ", one for all symbols or an array"

    @rule(f"symbol_info.{column.name}", f"{column.name} {needed}is {column.expected}{shape}", TEST)
    def check(evidence: Evidence) -> Iterator[Problem]:
        for one in _usable(evidence):
            yield from _problems(column, one)


def _problems(column: Column, exchange: Exchange) -> Iterator[Problem]:
    reply = exchange.reply or {}
    name = column.name if column.name in reply else column.older
    if name not in reply:
        if column.required:
            yield Problem(column.expected, "no such column", exchange.what)
        return
    values = reply[name]
    if column.array_only and not isinstance(values, list):
        yield Problem("an array", brief(values), f"{name} in {exchange.what}")
        return
    single = not isinstance(values, list) or _is_scalar_list(name, values)
    symbols = reply.get("symbol")
    for place, value in enumerate([values] if single else values):
        if (value is None and column.nullable) or column.holds(value):
            continue
        where = "" if single or not isinstance(symbols, list) or place >= len(symbols) else f" of {brief(symbols[place])}"
        yield Problem(column.expected, brief(value), f"{name}{where} in {exchange.what}")


def _is_scalar_list(name: str, values: list[Any]) -> bool:
    """Whether an array is one value for all symbols: of the columns whose values are arrays themselves."""
    return name in ("supported-resolutions", "intraday-multipliers") and not any(isinstance(value, list) for value in values)


for _column in COLUMNS:
    _add(_column)


@rule("symbol_info.scale", "pricescale is a power of two where fractional is true, and of ten where it is not", TEST)
def _scale(evidence: Evidence) -> Iterator[Problem]:
    _usable(evidence)
    for symbol in evidence.symbols:
        base = 2 if symbol.is_fractional else 10
        if not _is_power(symbol.pricescale, base):
            yield Problem(f"a power of {base}", f"{symbol.pricescale}", f"pricescale of {brief(symbol.symbol)}")
