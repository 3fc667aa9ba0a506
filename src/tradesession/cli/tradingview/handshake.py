"""`tradesession handshake tradingview`: a token, the symbols, the streams; each shown with its time, and closed in order.

It asks for a token of its own and touches no store: a stored one would only prove that an earlier credential was right.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tradesession import tradingview
from tradesession.cli.opening import opened, step_facts
from tradesession.cli.options import Given, Json
from tradesession.cli.output import Screen
from tradesession.cli.tradingview.options import HANDSHAKE, OPTIONS
from tradesession.hooks import StepTimed

_DONE: Final = {"token": "token obtained", "symbol_info": "symbols listed", "streaming": "stream open"}
"""What to tell a person when a step is done."""


@OPTIONS.takes(*HANDSHAKE)
def handshake(given: Given, json_only: Json = False) -> None:
    """Get a token from a broker as TradingView does, list the symbols, open the streams, and say goodbye."""
    config = tradingview.Config.from_env(**given, store="memory:")
    screen = Screen(as_json=json_only)
    screen.result(asyncio.run(open_and_close(config, screen)))


async def open_and_close(config: tradingview.Config, screen: Screen) -> dict[str, Any]:
    """What it was like while the session was READY. Raises what prevented that."""
    screen.say(f"TradingView's data integration at {config.base_url}", "bold")
    async with opened(config, screen, told) as session:
        screen.item(f"{len(session.symbols)} symbols")
        screen.say(session.state.value, "bold green")
        return described(session)


def told(step: StepTimed) -> str:
    """A step of the handshake, for a person."""
    return _DONE.get(step.step, step.step)


def described(session: tradingview.Session) -> dict[str, Any]:
    """What `--json` prints of a session that is READY."""
    config = session.config
    kinds = {tradingview.ServerOAuth2Bearer: "server", tradingview.PasswordBearer: "password", tradingview.FixedToken: "token"}
    return {
        "state": session.state.value,
        "base_url": config.base_url,
        "auth": kinds.get(type(config.auth), "none"),
        "slot": config.slot_name,
        "symbols": len(session.symbols),
        "streams": config.streams,
        "steps": [step_facts(step.name, step.seconds) for step in session.steps],
    }
