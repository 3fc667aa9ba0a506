"""When a hub's connection is to be replaced: some time before its bearer ends, and only by one with a newer bearer.

May use asyncio; replaces nothing itself. Looks at the wall clock at least every few minutes, as it may jump.
"""

from __future__ import annotations

import logging
from typing import Protocol

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import Error
from tradesession.signalr.bearer import TokenSource
from tradesession.timing import sleep
from tradesession.tokens.token import Token

_log = logging.getLogger("tradesession.signalr")


class Renewable(Protocol):
    """What is kept renewed: a HubLine."""

    name: str
    clock: Clock
    source: TokenSource

    @property
    def token(self) -> Token | None:
        """The token that the present connection stands on."""

    async def renew(self) -> None:
        """Replace the connection."""


def ahead(token: Token) -> float:
    """How long before its token's end a connection is replaced, in seconds."""
    if token.lifetime is None:
        return policy.HUB_RENEW_AHEAD_LIMIT
    return min(policy.HUB_RENEW_AHEAD_LIMIT, policy.HUB_RENEW_AHEAD_SHARE * token.lifetime)


async def keep_renewing(line: Renewable) -> None:
    """Replace the connection whenever its token nears its end; never returns."""
    while True:
        token = line.token
        due = token.expires_at - ahead(token) if token is not None and token.expires_at is not None else float("inf")
        wait = min(due - line.clock.wall(), policy.CLOCK_CHECK)
        if wait > 0:
            await sleep(line.clock, wait)
        elif token is not None and not await _renewed(line, token):
            await sleep(line.clock, max(ahead(token) / 4, 1.0))


async def _renewed(line: Renewable, token: Token) -> bool:
    """One try; whether the connection stands on a newer token now."""
    try:
        newer = await line.source.get(min_ttl=2 * ahead(token))
        if newer is None or newer.access == token.access:
            _log.debug("%s: its bearer ends soon, and there is no newer one yet", line.name)
            return False
        await line.renew()
    except Error as error:
        _log.warning("%s: not renewed, though its bearer ends soon: %s", line.name, error)
        return False
    return line.token is not token
