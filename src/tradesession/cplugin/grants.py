"""CPlugin's grant: client credentials at an identity server that is found by discovery.

May use asyncio; moves bytes through a driver alone. Facts are from the vendor's documents and SDKs: client_credentials only, no refresh
token, so that a renewal is another exchange like the first. Always holds: the client secret goes over https (http to loopback only), and
to the authority's own origin, unless the configuration itself names another token endpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

from tradesession import policy
from tradesession.clock import Clock
from tradesession.cplugin.routing import DISCOVERY
from tradesession.errors import (
    CertificateRefused,
    ConfigurationError,
    NotSent,
    OutcomeUnknown,
    TokenEndpointUnreachable,
    TokenRefused,
)
from tradesession.protocol.http import HttpReply, HttpRequest, origin
from tradesession.secrets import Secret, redact_url
from tradesession.tokens.exchange import HttpExchange, HttpSender
from tradesession.tokens.grants import ClientAuth, ClientCredentials, TokenEndpoint
from tradesession.tokens.token import Token
from tradesession.transports.http import safe_origin
from tradesession.verdict import Action, Level, Verdict

REMEDY = "check authority, or give token_url"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An application of the management toolbox. `token_url` is empty where it is to be found by discovery at the `authority`."""

    client_id: str
    client_secret: Secret
    scope: str
    authority: str
    token_url: str = ""
    auth: ClientAuth = ClientAuth.BODY


class Discovered:
    """An Exchange: finds the token endpoint where it has to, and asks it for a token."""

    def __init__(self, client: Client, driver: HttpSender, clock: Clock) -> None:
        self._client = client
        self._driver = driver
        self._clock = clock
        self._found = ""
        self._found_at = 0.0

    async def __call__(self, token: Token | None) -> Token:
        """See Exchange. Every one is new: there is nothing in the old token that helps."""
        client = self._client
        endpoint = TokenEndpoint(
            url=client.token_url or await self._discover(), client_id=client.client_id, client_secret=client.client_secret, auth=client.auth
        )
        grant = ClientCredentials(endpoint, client.scope)
        try:
            return await HttpExchange(lambda _: grant, self._driver, clock=self._clock)(token)
        except (TokenRefused, TokenEndpointUnreachable):
            self._found = ""  # it may have moved
            raise

    async def _discover(self) -> str:
        now = self._clock.monotonic()
        if not self._found or now - self._found_at >= policy.CPLUGIN_DISCOVERY_LIFE:
            self._found, self._found_at = await discover(self._client.authority, self._driver), now
        return self._found


async def discover(authority: str, driver: HttpSender) -> str:
    """The token endpoint that the authority names, checked. Raises TokenEndpointUnreachable, or TokenRefused for what cannot be used."""
    request = HttpRequest(method="GET", url=authority.rstrip("/") + DISCOVERY, headers=(("Accept", "application/json"),))
    try:
        reply = await driver.send(request)
    except (NotSent, OutcomeUnknown) as error:
        unreachable = TokenEndpointUnreachable(f"no token was asked for: the authority's discovery failed: {error}")
        if isinstance(error, CertificateRefused):
            unreachable.verdict = Verdict(Action.FATAL, Level.TOKEN)
        raise unreachable from error
    except ConfigurationError as error:
        raise TokenRefused(str(error), code="configuration") from error
    return checked(read_discovery(reply, request), authority)


def read_discovery(reply: HttpReply, request: HttpRequest) -> str:
    """The token_endpoint of a discovery document."""
    if reply.status in (408, 425, 429) or reply.status >= 500:
        wait = reply.retry_after(policy.RETRY_AFTER_LIMIT)
        unwell = TokenEndpointUnreachable(f"no token was asked for: {request} was answered with HTTP {reply.status}", retry_after=wait)
        if reply.status >= 500:
            unwell.tries = policy.TOKEN_FAILED_TRIES
        raise unwell
    if reply.status != 200:
        raise TokenRefused(f"{request} was answered with HTTP {reply.status}: {REMEDY}", code="discovery_failed")
    endpoint = (reply.json_object() or {}).get("token_endpoint")
    if not isinstance(endpoint, str) or not endpoint:
        raise TokenRefused(f"{request} names no token_endpoint: {REMEDY}", code="discovery_invalid")
    return endpoint


def checked(endpoint: str, authority: str) -> str:
    """The endpoint, if it is a place that the client secret may go to. Raises TokenRefused."""
    try:
        place = safe_origin(endpoint)
    except ConfigurationError as error:
        raise TokenRefused(f"the authority names a token endpoint that is not safe: {error}", code="discovery_invalid") from None
    if place != origin(authority):
        raise TokenRefused(
            f"the authority at {origin(authority)} names a token endpoint elsewhere, {redact_url(endpoint)}: if that is meant, "
            "give it as token_url",
            code="discovery_invalid",
        )
    return endpoint
