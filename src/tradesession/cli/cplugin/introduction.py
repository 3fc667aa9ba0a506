"""How CPlugin's sandbox introduces itself: in a table, by environment variables, and in `scripts/demo`."""

from __future__ import annotations

from typing import Final

import tradesession
from tradesession.cli.platform import Described
from tradesession.cli.stage import Stage
from tradesession.sandbox import Sandbox

TICKS: Final = 4


def rows(described: Described) -> list[tuple[str, str]]:
    """See Sandboxed."""
    shown = [("CPlugin", described["base_url"])]
    if "plain" in described:
        shown.append(("", f"{described['plain']['base_url']} without TLS"))
    shown += [(f"  hub {name.replace('_', '-')}", path) for name, path in described["hubs"].items()]
    return shown + [(f"  {name.upper()} platform", platform) for name, platform in described["platforms"].items()]


def variables(described: Described) -> dict[str, str]:
    """See Sandboxed."""
    names = ("base_url", "authority", "client_id", "client_secret", "trade_platform", "ca_file")
    return {f"TRADESESSION_CPLUGIN_{name.upper()}": described[name] for name in names if name in described}


async def demo(sandbox: Sandbox, stage: Stage) -> None:
    """A token by client credentials, REST, and a hub whose bearer is renewed in full flight."""
    screen, server = stage.screen, sandbox.cplugin
    stage.chapter("A CPlugin WebAPI of our own: a token by client credentials, REST, and a SignalR hub.")
    async with tradesession.connect(server.config()) as session:
        for step in session.steps:
            screen.done(f"{step.name}", step.seconds)
        screen.say(f"  {session.state.value}", "bold green")
        for platform in await session.rest.trade_platforms():
            screen.item(f"{platform.type}: {platform.name}")

        stage.chapter("Ticks, through a renewal of the bearer that costs none of them.")
        async with session.mt4.ticks("EURUSD", "GBPUSD") as ticks:
            for turn in range(TICKS):
                if turn == TICKS // 2:
                    await session.renew()
                    screen.done("another connection has taken over")
                tick = await anext(ticks)
                screen.item(f"{tick.symbol} {tick.bid} / {tick.ask}")
    screen.done("closed in order")
