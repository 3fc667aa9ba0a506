"""`scripts/demo`: each platform in a few seconds, against a sandbox on this machine. What is played stands with the platform."""

from __future__ import annotations

import asyncio
import shlex
import signal
from typing import Annotated, Final

import typer

from tradesession.cli.output import Screen
from tradesession.cli.platforms import PLATFORMS
from tradesession.cli.sandbox import variables
from tradesession.cli.stage import Stage
from tradesession.sandbox import Sandbox

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
    """Tokens, handshakes and prices of each platform, against a sandbox on this machine: a newcomer's two minutes."""
    asyncio.run(_demo(Screen(), keep=keep))


async def _demo(screen: Screen, *, keep: bool) -> None:
    stage = Stage(screen)
    async with Sandbox(seed=1) as sandbox:
        for platform in PLATFORMS:
            if platform.sandboxed is not None:
                await platform.sandboxed.demo(sandbox, stage)
        if keep:
            await _keep(sandbox, screen)
    screen.say()
    screen.say("That was all. Next: the README, or `tradesession sandbox` for a sandbox that stays.")


async def _keep(sandbox: Sandbox, screen: Screen) -> None:
    """Serve until Ctrl-C."""
    screen.say()
    screen.say("The sandbox stays up. To point a bot at it, in another terminal:", "bold")
    screen.say()
    for name, value in variables(sandbox.describe()).items():
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
