"""What the `watch` commands of all platforms share: events as they come, until there were enough or a signal says so.

With --json one object a line: an event as its platform words it, or one whose `kind` is `gap` (something was missed) or `state` (of the
session). On a terminal a table that updates in place, elsewhere a line for each event.
"""

from __future__ import annotations

import asyncio
import json
import select
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeAlias, TypeVar

from rich.live import Live
from rich.table import Table

from tradesession.cli.manager import managed
from tradesession.cli.output import Screen, moment, one_line
from tradesession.session.manager import SessionManager
from tradesession.session.services import PlatformConfig
from tradesession.session.session import Session, StateChange
from tradesession.session.streams import EventStream, Gap

S = TypeVar("S", bound=Session)
E = TypeVar("E")

Line: TypeAlias = dict[str, Any]
Show: TypeAlias = Callable[[Line], None]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, kw_only=True)
class Watch(Generic[S, E]):
    """What is watched: how its stream is opened on a session that is READY, and how an event becomes a line.

    `name` is the field of a line that has a row of its own in the table, `columns` are the fields beside it; the first of them says by its
    moves how the row is coloured. `facts` go along with the first line, which says that the session is READY.
    """

    open: Callable[[S], Awaitable[EventStream[E | Gap]]]
    line: Callable[[E], Line]
    rows: Sequence[str] = ()
    name: str = "symbol"
    columns: Sequence[str] = ("bid", "ask")
    facts: Callable[[S], Line] = field(default=lambda session: {})


def run_watch(config: PlatformConfig[S], watch: Watch[S, E], *, count: int, as_json: bool) -> None:
    """Watch until `count` events were shown (0: without end) or a signal came; then an orderly goodbye.

    Raises what ended the session otherwise.
    """
    if as_json:
        asyncio.run(_run(config, watch, count, _print_line))
        return
    screen, board = Screen(), Board(watch.rows, watch.name, watch.columns)
    if not screen.console.is_terminal:
        asyncio.run(_run(config, watch, count, lambda line: screen.say(board.told(line))))
        return
    with Live(board.table(), console=screen.console, auto_refresh=False) as live:

        def show(line: Line) -> None:
            board.take(line)
            live.update(board.table(), refresh=True)

        asyncio.run(_run(config, watch, count, show))


async def _run(config: PlatformConfig[S], watch: Watch[S, E], count: int, show: Show) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with managed(config) as manager:
            try:
                async with asyncio.TaskGroup() as group:
                    watching = group.create_task(_watched(group, manager, config, watch, count, show))
                    for one in _SIGNALS:
                        loop.add_signal_handler(one, watching.cancel)
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None  # the first one has ended the others
    finally:
        for one in _SIGNALS:
            loop.remove_signal_handler(one)


async def _watched(
    group: asyncio.TaskGroup, manager: SessionManager, config: PlatformConfig[S], watch: Watch[S, E], count: int, show: Show
) -> None:
    session = await manager.open(config)
    async with session.changes() as changes, await watch.open(session) as events:
        await _shown(show, _state(None, session.state.value) | watch.facts(session))
        group.create_task(_show_states(changes, show))  # ends with the stream
        await _show_events(events, watch.line, count, show)


def _state(before: str | None, after: str, cause: Exception | None = None, **more: Any) -> Line:
    return {"kind": "state", "before": before, "after": after, "cause": one_line(cause) if cause is not None else None, **more}


async def _show_states(changes: EventStream[StateChange], show: Show) -> None:
    async for change in changes:
        await _shown(show, _state(change.before.value, change.after.value, change.cause, at=moment(change.at)))


async def _show_events(events: EventStream[E | Gap], line: Callable[[E], Line], count: int, show: Show) -> None:
    seen = 0
    async for event in events:
        if isinstance(event, Gap):
            since, until = moment(event.since), moment(event.until)
            await _shown(show, {"kind": "gap", "reason": event.reason, "dropped": event.dropped, "since": since, "until": until})
            continue
        await _shown(show, line(event))
        seen += 1
        if seen == count:
            return


async def _shown(show: Show, line: Line) -> None:
    """Show it once standard output takes it: a reader that has stopped must hold up neither heartbeats nor signals."""
    await _room()
    show(line)


async def _room() -> None:
    """Wait until standard output takes a line at once."""
    loop = asyncio.get_running_loop()
    try:
        output = sys.stdout.fileno()
    except OSError:  # it is no file
        return
    while not select.select([], [output], [], 0)[1]:
        has_room = asyncio.Event()
        loop.add_writer(output, has_room.set)
        try:
            await has_room.wait()
        finally:
            loop.remove_writer(output)


def _print_line(line: Line) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Board:
    """What the table shows: the last event of each row, and how the session stands."""

    def __init__(self, rows: Sequence[str], name: str, columns: Sequence[str]) -> None:
        self._name = name
        self._columns = tuple(columns)
        self._last: dict[str, Line | None] = dict.fromkeys(rows)
        self._moves: dict[str, int] = {}
        self._state = ""
        self._gaps = 0

    def told(self, line: Line) -> str:
        """A line for a person where nothing can be updated in place."""
        kind = line.get("kind")
        if kind == "gap":
            return f"-- a gap: {line['reason']}"
        if kind == "state":
            return f"-- {line['after']}" + (f": {line['cause']}" if line["cause"] else "")
        return " ".join(str(line.get(field, "")) for field in (self._name, *self._columns))

    def take(self, line: Line) -> None:
        """Something new."""
        kind = line.get("kind")
        if kind == "state":
            self._state = self.told(line).removeprefix("-- ")
        elif kind == "gap":
            self._gaps += 1
        else:
            row, mover = str(line.get(self._name)), self._columns[0]
            before = self._last.get(row)
            if before is not None and (move := _number(line.get(mover)) - _number(before.get(mover))):
                self._moves[row] = 1 if move > 0 else -1
            self._last[row] = line

    def table(self) -> Table:
        """The table as it stands."""
        gaps = f", {self._gaps} gap{'s' * (self._gaps != 1)}" if self._gaps else ""
        table = Table(title=f"{self._state}{gaps}", title_justify="left")
        table.add_column(self._name)
        for column in self._columns:
            table.add_column(column, justify="right", min_width=10)
        styles = {1: "green", -1: "red"}
        for row, line in self._last.items():
            values = ("…" if line is None else one_line(line.get(column, "")) for column in self._columns)
            table.add_row(row, *values, style=styles.get(self._moves.get(row, 0), ""))
        return table


def _number(value: Any) -> float:
    return float(value) if value is not None else 0.0
