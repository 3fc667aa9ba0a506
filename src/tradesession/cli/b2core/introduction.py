"""How B2Core's sandbox introduces itself: in a table, by environment variables, and in `scripts/demo`."""

from __future__ import annotations

from typing import Final

from tradesession import SessionManager
from tradesession.cli.b2core.handshake import told
from tradesession.cli.platform import Described
from tradesession.cli.stage import Stage
from tradesession.sandbox import Sandbox

_VARIABLES: Final = ("base_url", "email", "password", "platform_id")


def rows(described: Described) -> list[tuple[str, str]]:
    """See Sandboxed."""
    return [("B2Core", f"{described['base_url']}   {described['email']}, platform {described['platform_id']}")]


def variables(described: Described) -> dict[str, str]:
    """See Sandboxed."""
    return {f"TRADESESSION_B2CORE_{name.upper()}": str(described[name]) for name in _VARIABLES}


async def demo(sandbox: Sandbox, stage: Stage) -> None:
    """Both levels of tokens, REST, and orders as they come."""
    screen, server = stage.screen, sandbox.b2core
    stage.chapter("B2Core and B2Trader: a sign-in, a platform under it, and its hub.")
    async with SessionManager() as manager:
        session = await manager.open(server.config())
        for step in session.steps:
            if (text := told(step.name)) is not None:
                screen.done(text, step.seconds)
        screen.say(f"  {session.state.value}", "bold green")
        account = (await session.accounts())[0]
        screen.item(f"{account.name}: {account.balance}")
        async with session.open_orders(account) as orders:
            order = {"accountId": account.id, "marketId": "cfd.eur_usd", "side": "Buy", "requestedPrice": "1.1", "requestedAmount": "1000"}
            await session.trader.post("/frontoffice/api/v3/orders", order)
            async for now in orders:
                if now:
                    screen.item(f"{now[0]['side']} {now[0]['requestedAmount']} {now[0]['marketId']} at {now[0]['requestedPrice']}")
                    break
        await session.aclose()
        screen.done("closed in order")
