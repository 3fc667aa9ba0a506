"""`tradesession watch ctrader SYMBOL…`: quotes as they come, through every loss, until it has seen enough or is interrupted.

A line of --json has the `kind` `quote` (see `watching` for the others). A given access token is used as it is; with a refresh token the
pair is kept in the store, whose keeper renews and saves it as long as the watch lasts.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tradesession import ctrader
from tradesession.cli.ctrader.options import OPTIONS, SESSION
from tradesession.cli.options import Given, Json
from tradesession.cli.watching import Line, Watch, run_watch
from tradesession.session.streams import EventStream, Gap

Symbols = Annotated[list[str], typer.Argument(help="The symbols to watch, such as EURUSD.")]
Count = Annotated[int, typer.Option("--count", min=0, help="Stop after that many quotes; 0 for never.")]


@OPTIONS.takes(*SESSION)
def watch(given: Given, symbols: Symbols, count: Count = 0, json_only: Json = False) -> None:
    """Watch quotes of cTrader symbols until interrupted; the session stays through every loss."""

    async def quotes(session: ctrader.Session) -> EventStream[ctrader.Quote | Gap]:
        return session.spots(_account(session), *symbols, timestamps=True, gaps=True)

    watched = Watch(open=quotes, line=_line, rows=symbols, facts=lambda session: {"account": _account(session).id})
    run_watch(ctrader.Config.from_env(**given), watched, count=count, as_json=json_only)


def _account(session: ctrader.Session) -> ctrader.Account:
    return next((one for one in session.accounts if one.state is ctrader.AccountState.AUTHORIZED), session.accounts[0])


def _line(quote: ctrader.Quote) -> Line:
    return {
        "kind": "quote",
        "symbol": quote.symbol,
        "bid": str(quote.bid),
        "ask": str(quote.ask),
        "timestamp": quote.timestamp.isoformat().replace("+00:00", "Z") if quote.timestamp is not None else None,
        "account": quote.account_id,
    }
