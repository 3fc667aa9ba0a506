"""The second level: the pair of one trading platform, under the bearer of B2Core's user, and what a session takes its bearer from.

May use asyncio; touches the network through a driver alone. What always holds: the parent's bearer is had first, and goes to B2Core only;
a pair that was lost on the way costs nothing, since another one can be asked for as long as the parent lives; and a failure of the parent
is never taken for the death of the pair.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence

from tradesession import policy
from tradesession.b2core.grants import B2Core, Pair, asked_platform, read_pair
from tradesession.b2core.lifetimes import ODDITIES
from tradesession.clock import Clock
from tradesession.errors import ConfigurationError, Error, TokenEndpointUnreachable, TokenError, TokenRefused
from tradesession.protocol.http import HttpRequest, Pairs, origin
from tradesession.secrets import Secret, redact_url
from tradesession.tokens.exchange import HttpSender, send_once
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.replies import unanswered
from tradesession.tokens.token import Token, TokenState
from tradesession.verdict import Action, Level, Verdict

_log = logging.getLogger("tradesession.b2core")


class PlatformExchange:
    """The Exchange of the second level: by the refresh token while it lives, else anew by the parent.

    `trader_urls` are the only addresses at which B2Trader is ever contacted; `trader_url` is the one that the latest reply named, if it
    named one of them, else the first.
    """

    def __init__(
        self,
        core: B2Core,
        platform_id: str,
        parent: TokenKeeper,
        driver: HttpSender,
        *,
        geo: Pairs = (),
        trader_urls: Sequence[str],
        clock: Clock,
    ) -> None:
        self.trader_url = trader_urls[0]
        self._core = core
        self._platform_id = platform_id
        self._parent = parent
        self._driver = driver
        self._geo = geo
        self._trader_urls = {origin(url): url for url in reversed(trader_urls)}
        self._clock = clock
        self._told: set[str] = set()

    async def __call__(self, token: Token | None) -> Token:
        """See Exchange. Never uncertain: what got no answer is TokenEndpointUnreachable, and so is whatever the parent fails with."""
        bearer = await self._bearer()
        if token is not None and token.refresh and not self._is_over(token):
            pair = await self._refreshed(bearer, token)
            if pair is not None:
                return self._taken(pair)
        return self._taken(await self._anew(bearer))

    async def _bearer(self) -> Token:
        try:
            return await self._parent.get()
        except Error as error:
            raise _without_parent(error) from error

    async def _refreshed(self, bearer: Token, token: Token) -> Pair | None:
        """The next pair by the refresh token; None where that leads nowhere, and the parent has to."""
        refresh = token.refresh or Secret("")
        request = self._core.platform_refresh(self._platform_id, bearer, refresh)
        try:
            pair = await self._pair(request, bearer, refresh)
        except (TokenError, _Unauthorized) as error:
            if isinstance(error, TokenEndpointUnreachable) and error.retry_after is not None:
                raise  # the endpoint asks for patience: it would not like another request better
            _log.info("platform %s: not refreshed, asked for anew: %s", self._platform_id, error)
            return None
        return pair if pair.token.access != token.access else None  # the same one once more: no renewal at all

    async def _anew(self, bearer: Token) -> Pair:
        """A first pair. A bearer that B2Core refuses is renewed once."""
        try:
            return await self._auth(bearer)
        except _Unauthorized:
            await self._parent.reject(bearer)
        other = await self._bearer()
        try:
            if other.access != bearer.access:
                return await self._auth(other)
        except _Unauthorized:
            pass
        error = TokenRefused(
            f"B2Core refuses for platform {self._platform_id} the bearer that it has just given: it may pass; else ask the broker",
            code="HTTP 401",
        )
        error.verdict = Verdict(Action.RETRY_AFTER, Level.TOKEN, after=policy.TOKEN_REFUSED_PAUSE)  # nothing here is wrong
        raise error

    async def _auth(self, bearer: Token) -> Pair:
        return await self._pair(self._core.platform_auth(self._platform_id, bearer, self._geo), bearer)

    async def _pair(self, request: HttpRequest, *secrets: Secret | Token) -> Pair:
        of = asked_platform(request, *(one.access if isinstance(one, Token) else one for one in secrets))
        reply = await send_once(self._driver, request, lambda cause: unanswered(of, cause))
        if reply.status == 401:
            raise _Unauthorized("HTTP 401")
        outcome = read_pair(reply, of)
        if isinstance(outcome, TokenError):
            raise outcome
        return outcome

    def _taken(self, pair: Pair) -> Token:
        for note in pair.notes:
            self._tell(note)
        if pair.host:
            self._notice(pair.host)
        return pair.token

    def _notice(self, host: str) -> None:
        """Take the address from a reply if it is one of the configured ones; nothing else is ever contacted."""
        try:
            known = self._trader_urls.get(origin(host))
        except ConfigurationError:
            known = None
        if known is None:
            self._tell("host-not-listed", f" ({redact_url(host)})")
        else:
            self.trader_url = known

    def _tell(self, code: str, what: str = "") -> None:
        if code not in self._told:
            self._told.add(code)
            _log.warning("%s: %s%s (platform %s at %s)", code, ODDITIES[code], what, self._platform_id, self._core.base_url)

    def _is_over(self, token: Token) -> bool:
        return token.refresh_expires_at is not None and self._clock.wall() >= token.refresh_expires_at


class PlatformBearer:
    """What a session takes its bearer from: the platform's keeper, with the parent's error where that is the reason that there is none.

    A TokenSource of the hub, a BearerSource of the REST interface, and the TokenNews of the supervisor, which a new parent wakes as well.
    """

    def __init__(self, platform: TokenKeeper, parent: TokenKeeper) -> None:
        self.platform = platform
        self.parent = parent

    async def get(self, min_ttl: float | None = None) -> Token:
        """As `TokenKeeper.get`. A sign-in that takes a person's time happens before the pair's lease is taken."""
        if self.platform.state not in (TokenState.FRESH, TokenState.STALE):
            await self.sign_in()
        try:
            return await self.platform.get(min_ttl)
        except TokenError:
            await self.parent.get()  # raises what is really the matter, if it is the matter
            raise

    async def sign_in(self) -> bool:
        """See to the user's bearer. False when it is not to be had now: the pair may be in the store all the same, and good."""
        try:
            await self.parent.get()
        except Error as error:
            _log.debug("no bearer of B2Core now: %s", error)
            return False
        return True

    async def reject(self, token: Token) -> None:
        """As `TokenKeeper.reject`."""
        await self.platform.reject(token)

    def changes(self) -> AsyncIterator[Token]:
        """The tokens of both levels that come from now on. Ends with either keeper."""
        return self.platform.changes(self.parent.changes())


class _Unauthorized(Exception):
    """A 401, on its way to whoever knows which of the two tokens it is about."""


def _without_parent(error: Error) -> TokenEndpointUnreachable:
    """The parent's failure, as one of an endpoint that cannot be asked now: the pair is left as it is, and tried again."""
    wait = error.retry_after if isinstance(error, TokenEndpointUnreachable) else None
    return TokenEndpointUnreachable(
        f"no pair of the platform was asked for, as B2Core's bearer is not to be had: {error}", retry_after=wait
    )
