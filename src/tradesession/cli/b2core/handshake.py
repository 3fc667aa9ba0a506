"""`tradesession handshake b2core`: the sign-in, the platform's pair and the hub; each shown with its time, and closed in order.

A bearer that is given on the command line or in the environment is used as it is, and no store is touched. With email and password the
tokens come from the store, or go there.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any, Final

from tradesession import b2core
from tradesession.cli.b2core.options import ALL, OPTIONS
from tradesession.cli.b2core.user import UserTokens
from tradesession.cli.opening import opened, step_facts
from tradesession.cli.options import Given, Json
from tradesession.cli.output import Screen, one_line
from tradesession.protocol.http import origin

_DONE: Final = {
    "sign_in": "signed in at B2Core",
    "platform_token": "signed in to the platform",
    "negotiate": "hub negotiated",
    "connect": "hub connected",
    "handshake": "hub ready",
}
"""What to tell a person when a step is done."""


@OPTIONS.takes(*ALL)
def handshake(given: Given, json_only: Json = False) -> None:
    """Sign in at B2Core, get the platform's tokens, open B2Trader's hub, and say goodbye."""
    screen = Screen(as_json=json_only)
    own = asking(screen)
    if given.get("access_token"):
        own |= {"store": "memory:", "refresh_token": None}
    config = b2core.Config.from_env(**given | own)
    screen.result(asyncio.run(open_and_close(config, screen)))


def asking(screen: Screen) -> Given:
    """How a code is asked for, where somebody may be sitting."""
    return {"ask_code": partial(ask, screen)} if sys.stdin.isatty() else {}


async def open_and_close(config: b2core.Config, screen: Screen) -> dict[str, Any]:
    """What it was like while the session was READY. Raises what prevented that."""
    screen.say(f"B2Core platform {config.platform_id} at {origin(config.base_url)}", "bold")
    async with opened(config, screen, lambda step: told(step.step), kept=UserTokens(config)) as session:
        screen.say(session.state.value, "bold green")
        return {
            "state": session.state.value,
            "base_url": config.base_url,
            "platform_id": config.platform_id,
            "steps": [step_facts(step.name, step.seconds) for step in session.steps],
        }


def told(step: str) -> str | None:
    """A step of the handshake, for a person; None for one that is not worth a line."""
    return _DONE.get(step)


async def ask(screen: Screen, request: b2core.CodeRequest) -> str:
    """The code, of whoever sits at the terminal."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()
    with screen.still():
        sys.stderr.write(f"{request.method} code of {one_line(request.email)}: ")
        sys.stderr.flush()
        loop.add_reader(sys.stdin, lambda: None if line.done() else line.set_result(sys.stdin.readline()))
        try:
            return (await line).strip()
        finally:
            loop.remove_reader(sys.stdin)
