"""Exchange: the one operation that turns a Token (or none) into the next one, and how it is done over HTTP.

An exchange is one attempt. It never retries, never stores and never decides who may exchange: the TokenKeeper does. What always
holds: it ends with a Token or with one of four errors, each of which says whether the old refresh secret can still be good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tradesession.clock import Clock
from tradesession.errors import (
    CertificateRefused,
    ConfigurationError,
    NotSent,
    OutcomeUnknown,
    ReauthorizationRequired,
    TokenEndpointUnreachable,
    TokenError,
    TokenRefused,
)
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.timing import SYSTEM_CLOCK
from tradesession.tokens.grants import GrantFactory, Static
from tradesession.tokens.token import Token
from tradesession.verdict import Action, Level, Verdict


class Exchange(Protocol):
    """How the current Token (None: there is none) becomes the next one; what a TokenKeeper is given.

    The Token that comes back has generation 0; its keeper numbers it with `old.successor(new)`. Raises exactly these, besides
    CancelledError:

    TokenEndpointUnreachable: nothing was spent. The request never left, or the endpoint said that it is not at work (429, 503).
        `retry_after` is the wait it asked for, in seconds, if it did. Its verdict is FATAL, and it is not worth repeating, when the
        endpoint's certificate is not trusted.
    UncertainExchange: the request left and no usable answer came; the refresh secret may be spent.
    ReauthorizationRequired: the grant is dead, or there is none to exchange; a person must give consent.
    TokenRefused: no for another reason (client, scope, request); neither repeating nor another consent helps.
    """

    async def __call__(self, token: Token | None) -> Token:
        """Exchange once."""


class HttpSender(Protocol):
    """What moves the bytes: `tradesession.transports.http.HttpDriver`, or a stand-in."""

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send once. Raises NotSent when the request surely never left, OutcomeUnknown when it may have; ConfigurationError."""


class HttpExchange:
    """Runs the Grant that `grants` names for the current Token, once, through a driver."""

    def __init__(self, grants: GrantFactory, driver: HttpSender, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._grants = grants
        self._driver = driver
        self._clock = clock

    async def __call__(self, token: Token | None) -> Token:
        """See Exchange."""
        try:
            grant = self._grants(token)
            request = grant.request(self._clock.wall())
        except ConfigurationError as error:
            raise TokenRefused(str(error), code="configuration") from error
        reply = await send_once(self._driver, request, lambda cause: grant.unanswered(request, cause))
        return grant.read(request, reply)


async def send_once(driver: HttpSender, request: HttpRequest, unanswered: Callable[[str], TokenError]) -> HttpReply:
    """Send one request of an exchange; the answer, whatever its status. What goes wrong becomes one of the errors of an Exchange.

    `unanswered` makes the error for a request that left and was not answered, of what happened in a few words.
    """
    try:
        return await driver.send(request)
    except OutcomeUnknown as error:
        raise unanswered(str(error)) from error
    except NotSent as error:
        raise _unreachable(error) from error
    except ConfigurationError as error:
        raise TokenRefused(str(error), code="configuration") from error


class StaticExchange:
    """Gives out a configured token. There is no other where it came from, so a second one is a person's business."""

    def __init__(self, static: Static) -> None:
        self._static = static

    async def __call__(self, token: Token | None) -> Token:
        """See Exchange."""
        configured = self._static.token()
        if token is not None and token.access == configured.access:
            raise ReauthorizationRequired(
                "the configured token is no longer good and cannot be renewed: put a new one into the configuration"
            )
        return configured


def _unreachable(error: NotSent) -> TokenEndpointUnreachable:
    unreachable = TokenEndpointUnreachable(f"no token was asked for: {error}")
    if isinstance(error, CertificateRefused):  # more tries do not make a certificate right
        unreachable.verdict = Verdict(Action.FATAL, Level.TOKEN)
    return unreachable
