"""`tradesession watch tradingview SYMBOL…`: the best prices of a broker's stream as they come, through every loss."""

from __future__ import annotations

from typing import Annotated

import typer

from tradesession import tradingview
from tradesession.cli.options import Given, Json
from tradesession.cli.output import moment
from tradesession.cli.tradingview.options import ALL, OPTIONS
from tradesession.cli.watching import Line, Watch, run_watch
from tradesession.session.streams import EventStream, Gap

Symbols = Annotated[list[str] | None, typer.Argument(help="The symbols or tickers to watch, such as EURUSD; none for all.")]
Count = Annotated[int, typer.Option("--count", min=0, help="Stop after that many quotes; 0 for never.")]


@OPTIONS.takes(*ALL)
def watch(given: Given, symbols: Symbols = None, count: Count = 0, json_only: Json = False) -> None:
    """Watch quotes of a broker's stream until interrupted; the session stays through every loss."""
    names = symbols or []

    async def opened(session: tradingview.Session) -> EventStream[tradingview.Quote | Gap]:
        return session.spots(*names, gaps=True)

    def line(quote: tradingview.Quote) -> Line:
        time = moment(quote.time.timestamp()) if quote.time is not None else None
        return {"kind": "quote", "symbol": quote.symbol, "bid": str(quote.bid), "ask": str(quote.ask), "time": time}

    config = tradingview.Config.from_env(**given)
    if not config.streams:
        config = config.replace(streams=1)
    run_watch(config, Watch(open=opened, line=line, rows=names), count=count, as_json=json_only)
