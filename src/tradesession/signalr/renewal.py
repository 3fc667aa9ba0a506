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
    least = min(policy.HUB_RENEW_AHEAD_LEAST, token.lifetime / 2)
    return min(policy.HUB_RENEW_AHEAD_LIMIT, max(least, policy.HUB_RENEW_AHEAD_SHARE * token.lifetime))


async def keep_renewing(line: Renewable) -> None:
    """Replace the connection whenever its token nears its end; never returns. Of the failures with a token the first is a warning."""
    troubled: Token | None = None
    while True:
        token = line.token
        due = token.expires_at - ahead(token) if token is not None and token.expires_at is not None else float("inf")
        wait = min(due - line.clock.wall(), policy.CLOCK_CHECK)
        if wait > 0 or token is None:
            await sleep(line.clock, wait)
            continue
        try:
            is_renewed = await _renewed(line, token)
        except Error as error:
            level = logging.DEBUG if token is troubled else logging.WARNING
            _log.log(level, "%s: not renewed, though its bearer ends soon: %s", line.name, error)
            is_renewed, troubled = False, token
        if not is_renewed:
            await sleep(line.clock, max(ahead(token) / 4, 1.0))


async def _renewed(line: Renewable, token: Token) -> bool:
    """One try; whether the connection stands on a newer token now. Raises what prevented it."""
    newer = await line.source.get(min_ttl=2 * ahead(token))
    if newer is None or newer.access == token.access:
        _log.debug("%s: its bearer ends soon, and there is no newer one yet", line.name)
        return False
    await line.renew()
    return line.token is not token
