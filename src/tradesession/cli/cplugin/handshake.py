"""`tradesession handshake cplugin`: a token, the REST interface's ping, the hub; each shown with its time, and closed in order.

Only the token and the hub are needed: a REST call that the server lacks is a step that was skipped.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from tradesession import cplugin
from tradesession.cli.cplugin.options import ALL, OPTIONS
from tradesession.cli.manager import managed
from tradesession.cli.opening import step_facts
from tradesession.cli.options import Given, Json
from tradesession.cli.output import Screen
from tradesession.cplugin.rest import open_rest
from tradesession.errors import DeadlineExceeded, ProtocolError
from tradesession.protocol.http import origin
from tradesession.signalr import HubError

_LACKING: Final = (400, 404, 405, 410, 426, 501)
"""What a server answers that does not have the call; 400 and 426 are of one that speaks nothing but WebSockets."""

_GREETING: Final = 2.0
"""Seconds that a hub may take for its greeting: it comes with the answer to the handshake."""


@OPTIONS.takes(*ALL)
def handshake(given: Given, json_only: Json = False) -> None:
    """Get a token from CPlugin's identity server, ping the REST interface, open the hub, and say goodbye."""
    config = cplugin.Config.from_env(**given)
    screen = Screen(as_json=json_only)
    screen.result(asyncio.run(open_and_close(config, screen)))


async def open_and_close(config: cplugin.Config, screen: Screen) -> dict[str, Any]:
    """What it was like while the session was READY. Raises what prevented that."""
    screen.say(f"CPlugin {config.hub} at {origin(config.base_url)}", "bold")
    async with managed(config) as manager:
        began = time.monotonic()
        with screen.waiting("asking for a token"):
            await manager.tokens(config).get()
        steps = [_done(screen, "token", "token obtained", time.monotonic() - began)]
        with screen.waiting("asking the REST interface"):
            steps.append(await _ping(config, manager.tokens(config), screen))
        began = time.monotonic()
        with screen.waiting("opening the hub"):
            session = await manager.open(config)
            is_connected = await _greeting(session)
        hub = _done(screen, "hub", "hub ready", time.monotonic() - began)
        hub["steps"] = [step_facts(step.name, step.seconds) for step in session.steps if step.name != "token"]
        screen.say(session.state.value, "bold green")
        return {
            "state": session.state.value,
            "hub": config.hub,
            "base_url": config.base_url,
            "trade_platform": str(config.trade_platform) or None,
            "bearer_in": config.bearer_in,
            "negotiated": not config.skip_negotiation,
            "platform_connected": is_connected,
            "connection_id": session.connection_id or None,
            "steps": [*steps, hub],
        }


async def _greeting(session: cplugin.Session) -> bool | None:
    """Whether the trade server is connected, as the hubs of v2 say behind the handshake, and that of v1 when it is asked; None when this
    one says nothing.

    A hub refuses a trade platform behind the handshake, too. Raises what it said then.
    """
    if session.config.hub == "mt4-v1":
        try:
            return await session.mt4_v1.connect() if session.config.trade_platform else None
        except HubError:
            return None
    async with session.hub.on_connection_status() as statuses:
        try:
            async with asyncio.timeout(_GREETING):
                return (await anext(statuses)).connected
        except (TimeoutError, StopAsyncIteration):
            return None


async def _ping(config: cplugin.Config, tokens: Any, screen: Screen) -> dict[str, Any]:
    if not config.trade_platform:
        return _skipped(screen, "no trade platform is given")
    began = time.monotonic()
    async with open_rest(config, tokens) as rest:
        try:
            await rest.ping()
        except cplugin.ApiError as refusal:
            if refusal.status not in _LACKING:
                raise
            return _skipped(screen, refusal.code)
        except (ProtocolError, DeadlineExceeded):
            return _skipped(screen, "no answer of the API")
    return _done(screen, "ping", "trade platform pinged over REST", time.monotonic() - began)


def _done(screen: Screen, name: str, told: str, seconds: float) -> dict[str, Any]:
    screen.done(told, seconds)
    return step_facts(name, seconds, skipped=False)


def _skipped(screen: Screen, reason: str) -> dict[str, Any]:
    screen.item(f"REST ping skipped: {reason}")
    return step_facts("ping", None, skipped=True, reason=reason)
