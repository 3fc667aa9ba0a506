"""How the sandboxed broker introduces itself: in a table, by environment variables, and in `scripts/demo`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

from tradesession import SessionManager
from tradesession.cli.platform import Described
from tradesession.cli.stage import Stage
from tradesession.cli.tradingview.handshake import told
from tradesession.hooks import Record, StepTimed
from tradesession.sandbox import Sandbox
from tradesession.tradingview.config import PREFIX, READERS

QUOTES: Final = 4


def rows(described: Described) -> list[tuple[str, str]]:
    """See Sandboxed."""
    labels = {"TradingView": "base_url", "Tokens": "token_url", "Key": "key_file", "Certificate": "certificate_file"}
    plain = [("", f"{described['plain']['base_url']} without TLS")] if "plain" in described else []
    return [(label, described[key]) for label, key in labels.items()] + plain


def variables(described: Described) -> dict[str, str]:
    """See Sandboxed."""
    values = {PREFIX + name.upper(): str(value) for name, value in described.items() if name in READERS}
    store = Path(described["ca_file"]).with_name("tokens.sqlite")  # ends with the sandbox, as its tokens do
    return values | {"TRADESESSION_STORE": f"sqlite://{store}"}


async def demo(sandbox: Sandbox, stage: Stage) -> None:
    """From a certificate to live prices and a bar of history."""
    screen, server = stage.screen, sandbox.tradingview
    stage.chapter("A broker for TradingView. We play TradingView's servers.")
    screen.done(f"a broker at {server.base_url}, with four credential sets")

    def show(record: Record) -> None:
        if isinstance(record, StepTimed):
            screen.done(told(record), record.seconds)

    async with SessionManager(hooks=[show]) as manager:
        session = await manager.open(server.config())
        screen.say(f"  {session.state.value}", "bold green")
        async with session.spots("EURUSD", "GBPUSD") as quotes:
            await sandbox.clock.advance(seconds=QUOTES)
            for _ in range(QUOTES):
                quote = await anext(quotes)
                screen.item(f"{quote.symbol} {quote.bid} / {quote.ask}")
        now = dt.datetime.fromtimestamp(sandbox.clock.wall(), dt.UTC)
        bars = await session.history("EURUSD", since=now - dt.timedelta(minutes=10), until=now)
        screen.done(
            f"{len(bars)} bars of the last ten minutes, the last one closed at {bars[-1].close}" if bars else "no bars: it is quiet"
        )
    screen.done("closed in order")
