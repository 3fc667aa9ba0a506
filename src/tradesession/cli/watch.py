"""`tradesession watch ctrader SYMBOL…`: quotes as they come, through every loss, until it has seen enough or is interrupted.

With --json one object a line, whose `kind` tells which: `quote`, `gap` (something was missed) or `state` (of the session). A given access
token is used as it is; with a refresh token the pair is kept in the store, whose keeper renews and saves it as long as the watch lasts.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer
from rich.live import Live
from rich.table import Table

from tradesession import ctrader
from tradesession.cli.ctrader_options import OPTIONS, SESSION
from tradesession.cli.manager import managed
from tradesession.cli.options import Given, Json
from tradesession.cli.output import Screen, moment, one_line
from tradesession.session.session import StateChange
from tradesession.session.streams import EventStream, Gap

Symbols = Annotated[list[str], typer.Argument(help="The symbols to watch, such as EURUSD.")]
Count = Annotated[int, typer.Option("--count", min=0, help="Stop after that many quotes; 0 for never.")]

Show = Callable[[dict[str, Any]], None]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@OPTIONS.takes(*SESSION)
def watch(given: Given, symbols: Symbols, count: Count = 0, json_only: Json = False) -> None:
    """Watch quotes of cTrader symbols until interrupted; the session stays through every loss."""
    config = ctrader.Config.from_env(**given)
    if json_only:
        asyncio.run(_watch(config, symbols, count, _print_line))
        return
    screen = Screen()
    if not screen.console.is_terminal:
        asyncio.run(_watch(config, symbols, count, lambda line: screen.say(_told(line))))
        return
    board = _Board(symbols)
    with Live(board.table(), console=screen.console, auto_refresh=False) as live:

        def show(line: dict[str, Any]) -> None:
            board.take(line)
            live.update(board.table(), refresh=True)

        asyncio.run(_watch(config, symbols, count, show))


async def _watch(config: ctrader.Config, symbols: list[str], count: int, show: Show) -> None:
    """Until `count` quotes were shown, or a signal came; then an orderly goodbye. Raises what ended the session otherwise."""
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in _SIGNALS:
        loop.add_signal_handler(one, enough.set)
    try:
        async with managed(config) as manager:
            session = await manager.open(config)
            account = next((one for one in session.accounts if one.state is ctrader.AccountState.AUTHORIZED), session.accounts[0])
            changes = session.changes()
            quotes = session.spots(account, *symbols, timestamps=True, gaps=True)
            readers = [
                asyncio.ensure_future(_show_states(changes, show)),
                asyncio.ensure_future(_show_quotes(quotes, count, show)),
                asyncio.ensure_future(enough.wait()),
            ]
            try:
                show({"kind": "state", "before": None, "after": session.state.value, "cause": None, "account": account.id})
                done, _ = await asyncio.wait(readers[1:], return_when=asyncio.FIRST_COMPLETED)
                for reader in done:
                    reader.result()
            finally:
                for reader in readers:
                    reader.cancel()
                await asyncio.gather(*readers, return_exceptions=True)
                await quotes.aclose()
    finally:
        for one in _SIGNALS:
            loop.remove_signal_handler(one)


async def _show_states(changes: EventStream[StateChange], show: Show) -> None:
    async for change in changes:
        show(
            {
                "kind": "state",
                "before": change.before.value,
                "after": change.after.value,
                "cause": one_line(change.cause) if change.cause is not None else None,
                "at": moment(change.at),
            }
        )


async def _show_quotes(quotes: EventStream[ctrader.Quote | Gap], count: int, show: Show) -> None:
    seen = 0
    async for quote in quotes:
        if isinstance(quote, Gap):
            since, until = moment(quote.since), moment(quote.until)
            show({"kind": "gap", "reason": quote.reason, "dropped": quote.dropped, "since": since, "until": until})
            continue
        show(
            {
                "kind": "quote",
                "symbol": quote.symbol,
                "bid": str(quote.bid),
                "ask": str(quote.ask),
                "timestamp": quote.timestamp.isoformat().replace("+00:00", "Z") if quote.timestamp is not None else None,
                "account": quote.account_id,
            }
        )
        seen += 1
        if seen == count:
            return


def _print_line(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _told(line: dict[str, Any]) -> str:
    """A line for a person where nothing can be updated in place."""
    if line["kind"] == "quote":
        return f"{line['symbol']} {line['bid']} {line['ask']}"
    if line["kind"] == "gap":
        return f"-- a gap: {line['reason']}"
    return f"-- {line['after']}" + (f": {line['cause']}" if line["cause"] else "")


class _Board:
    """What the table shows: the last quote of each symbol, and how the session stands."""

    def __init__(self, symbols: list[str]) -> None:
        self._quotes: dict[str, dict[str, Any] | None] = dict.fromkeys(symbols)
        self._moves: dict[str, int] = {}
        self._state = ""
        self._gaps = 0

    def take(self, line: dict[str, Any]) -> None:
        """Something new."""
        if line["kind"] == "state":
            self._state = _told(line).removeprefix("-- ")
        elif line["kind"] == "gap":
            self._gaps += 1
        else:
            before = self._quotes.get(line["symbol"])
            if before is not None and before["bid"] != line["bid"]:
                self._moves[line["symbol"]] = 1 if float(line["bid"]) > float(before["bid"]) else -1
            self._quotes[line["symbol"]] = line

    def table(self) -> Table:
        """The table as it stands."""
        gaps = f", {self._gaps} gap{'s' * (self._gaps != 1)}" if self._gaps else ""
        table = Table(title=f"{self._state}{gaps}", title_justify="left")
        table.add_column("symbol")
        for side in ("bid", "ask"):
            table.add_column(side, justify="right", min_width=10)
        styles = {1: "green", -1: "red"}
        for symbol, quote in self._quotes.items():
            values = (quote["bid"], quote["ask"]) if quote is not None else ("…", "…")
            table.add_row(symbol, *values, style=styles.get(self._moves.get(symbol, 0), ""))
        return table
