"""HTTP requests with a bearer: the token goes in here, and a refused one is renewed here, for every platform that has a REST interface.

May use asyncio; moves no bytes itself. Always holds: the bearer goes to the driver's origins alone, which follows no redirect; a 401 costs
one renewal, however many requests get it at the same moment; a request is repeated once at most, after a 401 with another token, and only
where repeating does no harm.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

from tradesession.errors import DeadlineExceeded, OutcomeUnknown
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.secrets import Secret
from tradesession.tokens.exchange import HttpSender
from tradesession.tokens.token import Token

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""What changes nothing on the server (RFC 9110, 9.2.1), and so may be repeated."""


class BearerSource(Protocol):
    """Where the token comes from: a TokenKeeper."""

    async def get(self, min_ttl: float | None = None) -> Token | None:
        """A token that is good now; None where the server wants none."""

    async def reject(self, token: Token) -> None:
        """A server refused this token: the next `get` gives another one, or raises."""


class BearerHttp:
    """Sends requests with the token of `tokens` through `driver`, which names the only origins that get to see it."""

    def __init__(self, driver: HttpSender, tokens: BearerSource) -> None:
        self._driver = driver
        self._tokens = tokens

    async def send(self, request: HttpRequest, *, repeatable: bool | None = None) -> HttpReply:
        """The answer, whatever its status, with the secrets that were sent for it.

        `repeatable` says whether doing it twice does no harm; by default the method tells. A 401 names the token as refused. A repeatable
        request is then sent once more, with another token; for any other one the 401 is the answer, and the next request has the other
        token.

        Raises NotSent and ConfigurationError as the driver does, and the errors of a TokenKeeper. When no answer comes: OutcomeUnknown,
        or DeadlineExceeded for a repeatable request.
        """
        is_repeatable = request.method in SAFE_METHODS if repeatable is None else repeatable
        token = await self._tokens.get()
        reply = await self._once(request, token, is_repeatable)
        if reply.status != 401 or token is None:
            return reply
        await self._tokens.reject(token)
        if not is_repeatable:
            return reply
        other = await self._tokens.get()
        if other is None or other.access == token.access:  # a source that has no other one
            return reply
        return await self._once(request, other, is_repeatable)

    async def _once(self, request: HttpRequest, token: Token | None, is_repeatable: bool) -> HttpReply:
        if token is not None:
            request = replace(request, headers=(*request.headers, ("Authorization", Secret(token.authorization()))))
        try:
            return replace(await self._driver.send(request), secrets=request.secrets)
        except OutcomeUnknown as error:
            if not is_repeatable:
                raise
            unanswered = DeadlineExceeded(f"{error}; it only reads, so repeating it is safe")
        raise unanswered
