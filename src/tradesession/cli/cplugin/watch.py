"""`tradesession watch cplugin ticks SYMBOL…`: ticks as they come, through every loss and every renewal of the bearer.

A line of --json has the fields of the tick as the hub sent them, and no `kind` (see `watching` for gaps and states).
"""

from __future__ import annotations

from typing import Annotated

import typer

from tradesession import cplugin
from tradesession.cli.cplugin.options import ALL, OPTIONS
from tradesession.cli.options import Given, Json
from tradesession.cli.watching import Line, Watch, run_watch
from tradesession.session.streams import EventStream, Gap

Symbols = Annotated[list[str], typer.Argument(help="The symbols to watch, such as EURUSD.")]
Count = Annotated[int, typer.Option("--count", min=0, help="Stop after that many ticks; 0 for never.")]


@OPTIONS.takes(*ALL)
def ticks(given: Given, symbols: Symbols, count: Count = 0, json_only: Json = False) -> None:
    """Watch ticks of CPlugin symbols until interrupted; the session stays through every loss."""

    async def opened(session: cplugin.Session) -> EventStream[cplugin.Tick | Gap]:
        return await session.hub.ticks(*symbols, gaps=True).__aenter__()  # subscribed here, where a signal can end the wait for it

    def line(tick: cplugin.Tick) -> Line:
        return dict(tick.wire) if json_only else {"symbol": tick.symbol, "bid": tick.bid, "ask": tick.ask}

    watched = Watch(open=opened, line=line, rows=symbols, facts=lambda session: {"hub": session.config.hub})
    run_watch(cplugin.Config.from_env(**given), watched, count=count, as_json=json_only)
