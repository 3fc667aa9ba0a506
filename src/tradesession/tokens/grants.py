"""Grants: the ways from a Credential to a Token, each as one HTTP request and the reading of its answer.

Pure. A Grant says what to send and what the answer means; it sends nothing, repeats nothing and asks no clock. A platform whose
endpoint speaks plain OAuth writes a TokenEndpoint and nothing else; one that does not brings its own Reader or Grant.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, TypeAlias
from urllib.parse import quote

from tradesession.errors import ConfigurationError, ReauthorizationRequired, TokenError
from tradesession.protocol.http import HttpReply, HttpRequest, Pairs
from tradesession.secrets import Secret
from tradesession.tokens.replies import Asked, GrantKind, Reader, read_oauth, unanswered
from tradesession.tokens.token import Token

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""The grant type of RFC 7523, 2.1."""


class ClientAuth(enum.Enum):
    """How the client proves itself to the token endpoint (RFC 6749, 2.3.1). Never two ways at once."""

    BODY = "body"
    """client_id and client_secret among the parameters."""
    BASIC = "basic"
    """An Authorization header."""
    NONE = "none"
    """Not at all, and no client id is sent either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEndpoint:
    """Where tokens are asked for, as which client, and how the answers are read.

    `method` is POST, with the parameters as a form (RFC 6749, 3.2), or GET, with the parameters in the query: for endpoints that want
    it so. `extra` parameters go with every request.
    """

    url: str
    client_id: str = ""
    client_secret: Secret | None = None
    auth: ClientAuth = ClientAuth.BODY
    method: str = "POST"
    reader: Reader = read_oauth
    extra: Pairs = ()

    def __post_init__(self) -> None:
        if self.method not in ("GET", "POST"):
            raise ConfigurationError(f"method={self.method!r} of a token endpoint is none; it is 'POST' or 'GET'")
        if self.auth is not ClientAuth.NONE and not self.client_id:
            raise ConfigurationError("the client_id of a token endpoint is empty; name the client, or say auth=ClientAuth.NONE")

    def request(self, parameters: Pairs) -> HttpRequest:
        """The request with these parameters, as this client. Parameters with an empty value are left out (RFC 6749, 3.2)."""
        headers: list[tuple[str, str | Secret]] = [("Accept", "application/json")]
        pairs = [*parameters, *self.extra]
        if self.auth is ClientAuth.BODY:
            pairs += [("client_id", self.client_id), ("client_secret", self.client_secret or "")]
        elif self.auth is ClientAuth.BASIC:
            headers.append(("Authorization", basic_authorization(self.client_id, self.client_secret or Secret(""))))
        sent = tuple(pair for pair in pairs if pair[1])
        if self.method == "GET":
            return HttpRequest(method="GET", url=self.url, query=sent, headers=tuple(headers))
        return HttpRequest(method="POST", url=self.url, form=sent, headers=tuple(headers))


def basic_authorization(client_id: str, client_secret: Secret) -> Secret:
    """The value of an Authorization header; both parts are form-encoded before base64, or a colon or a % would change them."""
    pair = f"{quote(client_id, safe='')}:{quote(client_secret.reveal(), safe='')}"
    return Secret("Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii"))


class Grant(Protocol):
    """One way to a Token, over HTTP. What an HttpExchange runs."""

    def request(self, wall: float) -> HttpRequest:
        """The request to send at `wall`, which matters only for what carries a time itself."""

    def read(self, request: HttpRequest, reply: HttpReply) -> Token:
        """The Token of the answer to that request, or one of the errors of an Exchange."""

    def unanswered(self, request: HttpRequest, cause: str) -> TokenError:
        """The error for a request that left and was not answered."""


@dataclass(frozen=True, slots=True)
class OAuthGrant:
    """What the grants of OAuth share: one endpoint, its reader, and how the lack of an answer is to be taken."""

    endpoint: TokenEndpoint

    kind: ClassVar[GrantKind]

    def read(self, request: HttpRequest, reply: HttpReply) -> Token:
        """See Grant."""
        outcome = self.endpoint.reader(reply, Asked.by(request, self.kind))
        if isinstance(outcome, TokenError):
            raise outcome
        return outcome

    def unanswered(self, request: HttpRequest, cause: str) -> TokenError:
        """See Grant."""
        return unanswered(Asked.by(request, self.kind), cause)


@dataclass(frozen=True, slots=True)
class AuthorizationCode(OAuthGrant):
    """The code that a consent yielded (RFC 6749, 4.1.3), with the PKCE verifier (RFC 7636, 4.5) where the consent had a challenge."""

    code: Secret
    redirect_uri: str
    code_verifier: Secret | None = None

    kind = GrantKind.AUTHORIZATION_CODE

    def request(self, wall: float) -> HttpRequest:
        """See Grant."""
        return self.endpoint.request(
            (
                ("grant_type", "authorization_code"),
                ("code", self.code),
                ("redirect_uri", self.redirect_uri),
                ("code_verifier", self.code_verifier or ""),
            )
        )


@dataclass(frozen=True, slots=True)
class RefreshToken(OAuthGrant):
    """A refresh token (RFC 6749, 6). Without `scope` the new token has the old one's."""

    refresh: Secret
    scope: str = ""

    kind = GrantKind.REFRESH_TOKEN

    def request(self, wall: float) -> HttpRequest:
        """See Grant."""
        return self.endpoint.request((("grant_type", "refresh_token"), ("refresh_token", self.refresh), ("scope", self.scope)))


@dataclass(frozen=True, slots=True)
class ClientCredentials(OAuthGrant):
    """The client's own credentials (RFC 6749, 4.4)."""

    scope: str = ""

    kind = GrantKind.CLIENT_CREDENTIALS

    def request(self, wall: float) -> HttpRequest:
        """See Grant."""
        return self.endpoint.request((("grant_type", "client_credentials"), ("scope", self.scope)))


@dataclass(frozen=True, slots=True)
class Password(OAuthGrant):
    """A user's name and password (RFC 6749, 4.3). New designs must not use it (RFC 9700, 2.4); some platforms leave no choice."""

    username: str
    password: Secret
    scope: str = ""

    kind = GrantKind.PASSWORD

    def request(self, wall: float) -> HttpRequest:
        """See Grant."""
        return self.endpoint.request(
            (("grant_type", "password"), ("username", self.username), ("password", self.password), ("scope", self.scope))
        )


@dataclass(frozen=True, slots=True)
class JwtBearer(OAuthGrant):
    """An assertion that we sign ourselves (RFC 7523). `sign` makes a fresh one for each request; it is given the wall-clock time.

    `grant_type` is the RFC's unless the platform has a name of its own for it.
    """

    sign: Callable[[float], Secret]
    scope: str = ""
    grant_type: str = JWT_BEARER

    kind = GrantKind.JWT_BEARER

    def request(self, wall: float) -> HttpRequest:
        """See Grant."""
        return self.endpoint.request((("grant_type", self.grant_type), ("assertion", self.sign(wall)), ("scope", self.scope)))


@dataclass(frozen=True, slots=True)
class Static:
    """A token that somebody put into the configuration. There is no request for it, and none that renews it."""

    access: Secret
    expires_at: float | None = None

    kind: ClassVar[GrantKind] = GrantKind.STATIC

    def token(self) -> Token:
        """The token as configured."""
        return Token(access=self.access, expires_at=self.expires_at)


GrantFactory: TypeAlias = Callable[[Token | None], Grant]
"""Which Grant leads on from the current Token (None: there is none). Raises ReauthorizationRequired when none does."""


def renewal(endpoint: TokenEndpoint) -> GrantFactory:
    """The factory for grants that only a person can begin: the refresh token leads on, and without one nothing does."""

    def grant(token: Token | None) -> Grant:
        return RefreshToken(endpoint, refresh_secret(token))

    return grant


def refresh_secret(token: Token | None) -> Secret:
    """The token's refresh secret. Raises ReauthorizationRequired, with the remedy, when there is none."""
    if token is None:
        raise ReauthorizationRequired("there is no token yet: give consent (`tradesession login`), or import one")
    if not token.refresh:
        raise ReauthorizationRequired("the token has no refresh token, so it cannot be renewed: give consent again (`tradesession login`)")
    return token.refresh
