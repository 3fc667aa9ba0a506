"""How cTrader's sandbox introduces itself: in a table, by environment variables, and in `scripts/demo`.

In the demo only the browser is played. Everything else is what a program of yours would do, against the sandbox as against the real thing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import aiohttp

from tradesession import SessionManager, ctrader
from tradesession.cli.ctrader.handshake import told
from tradesession.cli.output import Screen, span
from tradesession.cli.platform import Described
from tradesession.cli.stage import Stage
from tradesession.ctrader.consent import consent_url, exchange_code
from tradesession.sandbox import Sandbox
from tradesession.tokens.consent import RedirectCatcher, new_state
from tradesession.tokens.stores import open_store
from tradesession.tokens.token import Token

QUOTES: Final = 6


def rows(described: Described) -> list[tuple[str, str]]:
    """See Sandboxed."""
    shown: list[tuple[str, str]] = []
    for environment in ("demo", "live"):
        endpoint = described[environment]
        shown.append((f"cTrader {environment}", f"{endpoint['host']}:{endpoint['port']}   {endpoint['websocket_url']}"))
        if "plain_port" in endpoint:
            shown.append(("", f"{endpoint['host']}:{endpoint['plain_port']} without TLS"))
    for label, key in (("Consent", "auth_url"), ("Tokens", "token_url"), ("Redirect", "redirect_uri"), ("Trust", "ca_file")):
        shown.append((label, described[key]))
    for account in described["accounts"]:
        kind = "live" if account["isLive"] else "demo"
        shown.append(("Account", f"{account['ctidTraderAccountId']}   {account['traderLogin']}, {kind}, {account['brokerTitleShort']}"))
    return shown


def variables(described: Described) -> dict[str, str]:
    """See Sandboxed."""
    names = ("client_id", "client_secret", "access_token", "refresh_token", "ca_file", "auth_url", "token_url", "redirect_uri")
    values = {name.upper(): described[name] for name in names}
    values |= {"HOST": described["demo"]["host"], "PORT": str(described["demo"]["port"])}
    values["ACCOUNTS"] = str(next(account["ctidTraderAccountId"] for account in described["accounts"] if not account["isLive"]))
    store = Path(described["ca_file"]).with_name("tokens.sqlite")  # ends with the sandbox, as its tokens do
    return {f"TRADESESSION_CTRADER_{name}": value for name, value in values.items()} | {"TRADESESSION_STORE": f"sqlite://{store}"}


async def demo(sandbox: Sandbox, stage: Stage) -> None:
    """From a person's consent to live quotes in a few seconds."""
    screen, server = stage.screen, sandbox.ctrader
    stage.chapter("A cTrader of our own, on this machine.")
    screen.done(f"demo accounts at {server.demo.host}:{server.demo.port}, live ones at port {server.live.port}, over TLS")
    async with open_store("memory:") as store, SessionManager() as manager:
        config = server.config(access_token=None, refresh_token=None, store=store)  # an application, and no token yet

        stage.chapter("A person gives consent. We play the browser.")
        token = await _consent(config, screen)
        await store.put(config.slot, token)
        screen.done(f"stored, and never shown: an access token for {span(token.lifetime or 0)}, a refresh token that works once")

        stage.chapter("A session over TCP: token, handshake, accounts, in one call.")
        session = await manager.open(config)
        _show(session, screen)
        await session.aclose()
        screen.done("closed in order")

        stage.chapter("The same over WebSocket, and quotes as they come.")
        session = await manager.open(config.replace(transport="websocket", websocket_url=server.demo.websocket_url))
        _show(session, screen)
        async with session.spots(session.accounts[0], "EURUSD", "GBPUSD") as quotes:
            for _ in range(QUOTES):
                quote = await anext(quotes)
                screen.item(f"{quote.symbol} {quote.bid} / {quote.ask}")
        await session.aclose()
        screen.done("closed in order: unsubscribed, goodbye said, nothing left open")


async def _consent(config: ctrader.Config, screen: Screen) -> Token:
    """What `tradesession login` does, with our own browser instead of a person's."""
    state = new_state()  # evidence that what comes back belongs to this login
    async with RedirectCatcher(config.redirect_uri, state=state) as catcher:
        page = consent_url(config, catcher.redirect_uri, state)
        async with aiohttp.ClientSession() as browser:
            async with browser.get(page) as asked:
                screen.done(f"consent page: {asked.url.origin()}{asked.url.path}")
            async with browser.post(page, data={"decision": "allow"}) as answered:
                screen.done(f"agreed, and sent back to {answered.url.origin()}")
        code = await catcher.code()
    screen.done("code caught: it lives one minute")
    return await exchange_code(config, code, catcher.redirect_uri)


def _show(session: ctrader.Session, screen: Screen) -> None:
    for step in session.steps:
        screen.done(told(step, session), step.seconds)
    screen.say(f"  {session.state.value}", "bold green")
