"""Every fault of the sandbox against a whole session: what it costs, and that ticks flow again, or that the session says why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import tradesession
from tests.leaks import Leaks
from tradesession import cplugin
from tradesession.errors import (
    CertificateRefused,
    Error,
    LinkLost,
    ProtocolError,
    ReauthorizationRequired,
    Rejected,
    TokenEndpointUnreachable,
    TokenRefused,
)
from tradesession.sandbox import Sandbox
from tradesession.sandbox.cplugin import known_faults
from tradesession.session.states import SessionState
from tradesession.session.streams import EventStream

PATIENCE = 60.0

HARMLESS: dict[str, str] = {
    "slice-output": "1",
    "split-frames": "7",
    "glue-frames": "0.05",
    "never-glue": "",
    "slow-hub": "0.2",
    "void-without-result": "",
    "unknown-members": "",
    "unknown-types": "",
    "stray-completions": "",
    "duplicate-completions": "",
    "late-items": "3",
    "negotiate-version": "0",
    "negotiate-redirects": "2",
    "stateful-reconnect": "",
    "token-life": "60",
    "token-delay": "0.2",
    "refuse-bearer": "1",
    "close-at-expiry": "",
    "expires-in": "missing",
    "no-pings": "",
    "rest-delay": "0.2",
}
"""What a session does not mind, from its opening on."""

AT_THE_OPENING: dict[str, tuple[str, type[Error] | tuple[type[Error], ...]]] = {
    "refuse-connections": ("", TokenEndpointUnreachable),
    "accept-and-close": ("", TokenEndpointUnreachable),
    "tls-hang": ("", TokenEndpointUnreachable),
    "half-open": ("", TokenEndpointUnreachable),
    "stop-reading": ("", TokenEndpointUnreachable),
    "wrong-certificate": ("expired", TokenEndpointUnreachable),
    "cut-output-after": ("10", TokenEndpointUnreachable),
    "cut-input-after": ("10", TokenEndpointUnreachable),
    "refuse-tokens": ("1", TokenRefused),
    "token-error": ("invalid_scope", TokenRefused),
    "token-status": ("503", TokenEndpointUnreachable),
    "token-reply-lost": ("", TokenEndpointUnreachable),
    "token-redirect": ("https://elsewhere.test/", (TokenEndpointUnreachable, TokenRefused)),
    "discovery-status": ("404", TokenRefused),
    "discovery-endpoint": ("https://elsewhere.test/token", TokenRefused),
    "discovery-garbage": ("", TokenRefused),
    "refuse-every-bearer": ("", (Rejected, ReauthorizationRequired)),
    "forbid": ("", Rejected),
    "negotiate-status": ("500", Rejected),
    "negotiate-error": ("no", Rejected),
    "negotiate-redirect-to": ("https://127.0.0.1:1/", Error),
    "redirect-without-token": ("", Error),
    "no-websockets": ("", Error),
    "lose-ids": ("", Rejected),
    "upgrade-status": ("503", Rejected),
    "upgrade-redirect": ("https://elsewhere.test/", Rejected),
    "no-handshake": ("", Error),
    "handshake-error": ("no", Rejected),
    "binary-frames": ("", ProtocolError),  # where text was agreed
    "refuse-platform": ("", (Rejected, LinkLost)),
}
"""What keeps a session from READY, and the error that says so."""

IN_FLIGHT: dict[str, str] = {
    "half-open": "",
    "silent-hub": "",
    "garbage-records": "",
    "cut-output-after": "200",
}
"""What costs the connection that stands; everything comes back when it is taken back."""

NOT_OF_A_SESSION = {"rest-status", "rest-error", "unanswered-calls"}
"""What only calls see: tested with the calls."""


@pytest.fixture
async def sandbox(leaks: Leaks) -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as sandbox:
        sandbox.cplugin.feed.interval = 0.05
        yield sandbox


def test_every_fault_is_tried() -> None:
    assert set(known_faults()) == {*HARMLESS, *AT_THE_OPENING, *IN_FLIGHT, *NOT_OF_A_SESSION}


async def pushed(sandbox: Sandbox, work: asyncio.Future[Any], seconds: float = 0.5) -> Any:
    """What comes of it, with the clock pushed meanwhile."""
    async with asyncio.timeout(PATIENCE):
        while not work.done():
            await sandbox.clock.advance(seconds)
            await asyncio.sleep(0.002)
    return work.result()


async def some(ticks: EventStream[Any], count: int = 3) -> None:
    """So many ticks in order."""
    last = None
    while count:
        event = await anext(ticks)
        if isinstance(event, cplugin.Tick):
            assert event.last_time is not None
            assert last is None or event.last_time > last
            last, count = event.last_time, count - 1


@pytest.mark.parametrize("fault", HARMLESS)
async def test_what_a_session_does_not_mind(sandbox: Sandbox, fault: str) -> None:
    sandbox.set_fault(f"cplugin.{fault}", HARMLESS[fault])

    async def live() -> None:
        async with tradesession.connect(sandbox.cplugin.config()) as session:
            async with session.mt4.ticks("EURUSD", gaps=True) as ticks:
                await some(ticks)
            async with session.mt4.stream_ticks("EURUSD") as streamed:
                await some(streamed)
            assert await session.hub.invoke("Echo", 5) == 5
            assert len(await session.rest.trade_platforms()) == 2
            assert session.state is SessionState.READY

    await pushed(sandbox, asyncio.ensure_future(live()), 0.05)


@pytest.mark.parametrize("fault", AT_THE_OPENING)
async def test_what_keeps_a_session_from_ready(sandbox: Sandbox, fault: str) -> None:
    value, error = AT_THE_OPENING[fault]
    if fault == "redirect-without-token":
        sandbox.cplugin.faults.set("negotiate-redirects", "9")
    sandbox.set_fault(f"cplugin.{fault}", value)

    async def live() -> None:
        async with tradesession.connect(sandbox.cplugin.config()) as session:
            await session.closed()  # a hub refuses a trade platform behind the handshake
            await session.ready()

    with pytest.raises(error) as caught:
        await pushed(sandbox, asyncio.ensure_future(live()))
    assert (fault == "wrong-certificate") == isinstance(caught.value.__cause__, CertificateRefused)


@pytest.mark.parametrize("fault", IN_FLIGHT)
async def test_what_costs_the_connection_costs_no_more_than_that(sandbox: Sandbox, fault: str) -> None:
    async with tradesession.connect(sandbox.cplugin.config()) as session:
        ticks = session.mt4.ticks("EURUSD", gaps=True)
        changes = session.changes()
        await pushed(sandbox, asyncio.ensure_future(some(ticks)), 0.05)
        sandbox.set_fault(f"cplugin.{fault}", IN_FLIGHT[fault])

        async def lost() -> None:
            if fault == "garbage-records":  # in place of an answer
                with pytest.raises(Error):
                    await session.hub.invoke("Echo", 5)
            while (await anext(changes)).after is not SessionState.BACKOFF:
                pass

        await pushed(sandbox, asyncio.ensure_future(lost()))
        sandbox.cplugin.faults.clear()
        await pushed(sandbox, asyncio.ensure_future(session.ready()))
        await pushed(sandbox, asyncio.ensure_future(some(ticks)), 0.05)
