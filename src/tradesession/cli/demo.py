"""`scripts/demo`: from a person's consent to live quotes in a few seconds, against a sandbox on this machine.

Only the browser is played. Everything else is what a program of yours would do, against the sandbox as against the real thing.
"""

from __future__ import annotations

import asyncio
import itertools
import shlex
import signal
from collections.abc import Callable
from typing import Annotated, Final

import aiohttp
import typer

from tradesession import SessionManager, ctrader
from tradesession.cli.handshake import told
from tradesession.cli.output import Screen, span
from tradesession.cli.sandbox import variables
from tradesession.ctrader.consent import consent_url, exchange_code
from tradesession.sandbox import Sandbox
from tradesession.tokens.consent import RedirectCatcher, new_state
from tradesession.tokens.stores import open_store
from tradesession.tokens.token import Token

QUOTES: Final = 6

BOT: Final = """\
import asyncio
import tradesession
from tradesession import ctrader


async def main() -> None:
    async with tradesession.connect(ctrader.Config.from_env()) as session:  # READY here: token, handshake, accounts
        account = session.accounts.only()  # an error that lists them if there are several
        async for quote in session.spots(account, "EURUSD", "GBPUSD"):
            print(quote.symbol, quote.bid, quote.ask)  # both sides always, as decimals


asyncio.run(main())
"""
"""The bot of the README."""


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the sandbox up afterwards, and say how to point a bot at it.")] = False,
) -> None:
    """Consent, token, handshake and quotes, against a sandbox on this machine: a newcomer's two minutes."""
    asyncio.run(_demo(Screen(), keep=keep))


async def _demo(screen: Screen, *, keep: bool) -> None:
    chapter = _chapters(screen)
    chapter("A cTrader of our own: the sandbox starts on this machine.")
    async with Sandbox(seed=1) as sandbox:
        server = sandbox.ctrader
        screen.done(f"demo accounts at {server.demo.host}:{server.demo.port}, live ones at port {server.live.port}, over TLS")
        async with open_store("memory:") as store, SessionManager() as manager:
            config = server.config(access_token=None, refresh_token=None, store=store)  # an application, and no token yet

            chapter("A person gives consent. We play the browser.")
            token = await _consent(config, screen)
            await store.put(config.slot, token)
            screen.done(f"stored, and never shown: an access token for {span(token.lifetime or 0)}, a refresh token that works once")

            chapter("A session over TCP: token, handshake, accounts, in one call.")
            session = await manager.open(config)
            _show(session, screen)
            await session.aclose()
            screen.done("closed in order")

            chapter("The same over WebSocket, and quotes as they come.")
            session = await manager.open(config.replace(transport="websocket", websocket_url=server.demo.websocket_url))
            _show(session, screen)
            async with session.spots(session.accounts[0], "EURUSD", "GBPUSD") as quotes:
                for _ in range(QUOTES):
                    quote = await anext(quotes)
                    screen.item(f"{quote.symbol} {quote.bid} / {quote.ask}")
            await session.aclose()
            screen.done("closed in order: unsubscribed, goodbye said, nothing left open")

        if keep:
            await _keep(sandbox, screen)
    screen.say()
    screen.say("That was all. Next: the README, or `tradesession sandbox` for a sandbox that stays.")


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


async def _keep(sandbox: Sandbox, screen: Screen) -> None:
    """Serve until Ctrl-C."""
    described = sandbox.describe()["ctrader"]
    account = next(account for account in described["accounts"] if not account["isLive"])
    screen.say()
    screen.say("The sandbox stays up. To point a bot at it, in another terminal:", "bold")
    screen.say()
    for name, value in (variables(described) | {"TRADESESSION_CTRADER_ACCOUNTS": str(account["ctidTraderAccountId"])}).items():
        screen.say(f"export {name}={shlex.quote(value)}")
    screen.say()
    screen.say("The bot, as bot.py (or try `tradesession handshake ctrader`):", "bold")
    screen.say()
    screen.text(BOT)
    screen.say("Ctrl-C ends the sandbox.")
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()


def _chapters(screen: Screen) -> Callable[[str], None]:
    number = itertools.count(1)

    def chapter(title: str) -> None:
        screen.say()
        screen.say(f"{next(number)}. {title}", "bold")

    return chapter
