"""What was asked of a server and what it said: everything that the rules look at.

Pure. Gathered by `gathering`, looked at by `rules`. An empty container means that it was not asked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from tradesession.preflight.exchange import Exchange, is_integer, is_number, parse
from tradesession.tradingview.hours import Hours

ENDPOINTS: Final = ("groups", "symbol_info", "history", "streaming")
"""Those that want a token."""
_NOT_THERE: Final = (404, 405, 501)
"""How a server answers at an address where it has nothing."""


@dataclass(frozen=True)
class Symbol:
    """A row of /symbol_info, as far as it is needed to ask on. `name` is what to ask by: the ticker where there is one."""

    symbol: str
    name: str
    kind: str
    has_intraday: bool
    has_daily: bool
    pricescale: int
    """1 where it is none that can be looked at."""
    hours: Hours | None
    """None when they cannot be read."""
    is_fractional: bool = False

    @property
    def trades_by_utc(self) -> bool:
        """Whether its trading days are those of UTC, as far as that is known: open always, in a zone that is never off."""
        if self.hours is None or self.hours.sessions:
            return False
        return all(not dt.datetime(2026, month, 1, tzinfo=self.hours.zone).utcoffset() for month in (1, 7))


@dataclass(frozen=True, slots=True)
class Bars:
    """A usable answer of /history."""

    t: list[int]
    o: list[float]
    h: list[float]
    l: list[float]  # noqa: E741 - what it is called
    c: list[float]

    @property
    def by_time(self) -> dict[int, tuple[float, float, float, float]]:
        """Open, high, low and close."""
        return {time: bar for time, *bar in zip(self.t, self.o, self.h, self.l, self.c, strict=True)}  # type: ignore[misc]


@dataclass(frozen=True)
class Asked:
    """One request to /history. Times are seconds since 1970, both ends included."""

    symbol: str
    resolution: str
    first: int
    last: int
    exchange: Exchange
    countback: int = 0
    """Bars that were asked for in place of those since `first`; 0 for none."""

    @cached_property
    def bars(self) -> Bars | None:
        """The bars, none of them where there was no data; None when the answer cannot be used."""
        reply = self.exchange.reply
        if reply is None or self.exchange.status != 200:
            return None
        if reply.get("s") == "no_data":
            return Bars([], [], [], [], [])
        columns = [reply.get(name) for name in "tohlc"]
        if reply.get("s") != "ok" or not all(isinstance(column, list) for column in columns):
            return None
        lists: list[list[Any]] = columns  # type: ignore[assignment]
        if len({len(column) for column in lists}) != 1 or not all(is_number(value) for column in lists for value in column):
            return None
        return Bars(*lists) if all(is_integer(time) for time in lists[0]) else None


@dataclass(frozen=True)
class History:
    """Everything that was asked about the bars of one symbol, by what for."""

    symbol: Symbol
    asked: dict[str, Asked]
    slices: Sequence[Asked] = ()

    def __iter__(self) -> Iterator[Asked]:
        yield from self.asked.values()
        yield from self.slices


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a stream, with its end, and when it came in wall-clock seconds."""

    data: bytes = field(repr=False)
    at: float


@dataclass(frozen=True)
class Stream:
    """One connection to /streaming. `ending` says how it ended by itself, and is empty when we ended it."""

    opening: Exchange
    lines: tuple[Line, ...] = ()
    opened_at: float = 0.0
    ended_at: float = 0.0
    ending: str = ""

    @cached_property
    def messages(self) -> list[tuple[Line, dict[str, Any]]]:
        """The lines that are one JSON object each."""
        parsed = ((line, parse(line.data)) for line in self.lines)
        return [(line, value) for line, value in parsed if isinstance(value, dict)]


@dataclass
class Evidence:
    """All of it. What is being looked at is filled in step by step."""

    # --- tokens ---
    logins: list[Exchange] = field(default_factory=list)
    """One /authorize after another."""
    wrong_login: Exchange | None = None
    first_token_later: Exchange | None = None
    """A request with the first of those tokens, after the last one was given."""
    assertions: list[Exchange] = field(default_factory=list)
    """One assertion after another."""
    first_assertion_later: Exchange | None = None
    """As `first_token_later`."""
    bad_assertions: dict[str, Exchange] = field(default_factory=dict)
    """By what was wrong with them."""
    replay: Exchange | None = None
    refreshed: Exchange | None = None
    refreshed_again: Exchange | None = None
    """The same refresh token, presented a second time."""
    old_token_after_refresh: Exchange | None = None
    new_token_after_refresh: Exchange | None = None
    expired: Exchange | None = None
    """A request with a token that should have expired."""
    expiry_reason: str = ""
    """Why the end of a token was not waited for."""
    unauthorized: dict[str, dict[str, Exchange]] = field(default_factory=dict)
    """By endpoint, and by what token was sent."""
    is_public: bool = False
    """Whether the data are read without a token."""
    has_token: bool = False
    is_shut_out: bool = False
    """Whether the server refused every credential, or wants one though none was given."""
    out_of_time: float = 0.0
    """Seconds after which the run was ended, if it was."""

    # --- data ---
    groups: Exchange | None = None
    group_ids: list[str] = field(default_factory=list)
    symbol_infos: dict[str, Exchange] = field(default_factory=dict)
    """By group; the key is empty where no group was named."""
    unknown_group: Exchange | None = None
    """/symbol_info asked for a group that there is not, of a server without groups."""
    symbols: list[Symbol] = field(default_factory=list)
    histories: list[History] = field(default_factory=list)
    unknown_symbol: Exchange | None = None

    # --- streaming ---
    streams: list[Stream] = field(default_factory=list)
    streamed: dict[str, Asked] = field(default_factory=dict)
    """By symbol, the history of the time in which the streams were open."""

    @property
    def uses_groups(self) -> bool:
        """Whether the server has groups at all."""
        return self.groups is not None and has_groups(self.groups)

    @cached_property
    def by_name(self) -> dict[str, Symbol]:
        """The symbols, by symbol and by ticker."""
        return {name: symbol for symbol in self.symbols for name in (symbol.name, symbol.symbol)}


def has_groups(answer: Exchange) -> bool:
    """Whether /groups answers as a server does that has it, be it with a refusal."""
    return not (answer.status in _NOT_THERE or answer.s == "error")
