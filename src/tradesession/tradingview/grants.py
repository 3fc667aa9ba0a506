"""TradingView's grants: what is sent for a token, and what the answers of the two generations of documents mean.

Does no I/O. Facts are from the data integration documents, the OpenAPI of the broker API and Saxo's samples. Always holds: one reader takes
every shape, as servers mix them; and an answer whose expiry cannot be meant promises nothing, since a token that looks dead at birth would
have us ask for another one for ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tradesession import policy
from tradesession.errors import ReauthorizationRequired, TokenError
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.protocol.values import finite
from tradesession.secrets import Secret
from tradesession.tokens.grants import ClientAuth, JwtBearer, OAuthGrant, RefreshToken, TokenEndpoint
from tradesession.tokens.replies import Asked, GrantKind, refusal, text_field, token_from
from tradesession.tokens.token import Slot, Token
from tradesession.tradingview.credentials import Credential, FixedToken, PasswordBearer, ServerOAuth2Bearer

_MILLISECONDS: Final = 1e11  # of a point in time: year 5138 in seconds, 1973 in milliseconds
_DURATION: Final = 1e9  # a smaller "expiration" is before 2001, so it is meant as a life


def slot(credential: Credential | None, counterparty: str, name: str = "default") -> Slot:
    """Where the token of a credential lives. `counterparty` is the broker's host and port, `name` tells credential sets apart.

    The key is all of it together: TradingView's four applications have four sets with the same broker.
    """
    if isinstance(credential, ServerOAuth2Bearer):
        client, subject = credential.client_id, credential.user_id
    elif isinstance(credential, PasswordBearer):
        client, subject = credential.client_id or "password", credential.login
    elif isinstance(credential, FixedToken):
        client, subject = "token", Secret(credential.token).fingerprint
    else:
        client, subject = "public", "public"
    return Slot(platform="tradingview", environment=counterparty, client=client, subject=subject, slot=name)


@dataclass(frozen=True, slots=True)
class Login(OAuthGrant):
    """The form of POST /authorize. The wire's names are login and password, whatever the prose says; locale is required since 1.3.25."""

    login: str
    password: Secret
    locale: str

    kind = GrantKind.PASSWORD

    def request(self, wall: float) -> HttpRequest:
        """See Grant."""
        return self.endpoint.request((("login", self.login), ("password", self.password), ("locale", self.locale)))


def login(credential: PasswordBearer, base_url: str) -> Login:
    """The login of this credential."""
    endpoint = TokenEndpoint(url=credential.url or f"{base_url}/authorize", auth=ClientAuth.NONE, reader=read_reply)
    return Login(endpoint, credential.login, Secret(credential.password), credential.locale)


def assertion(credential: ServerOAuth2Bearer, sign: Callable[[float], Secret]) -> JwtBearer:
    """The exchange of an assertion that `sign` makes. Client id and secret go in the body, or as the variant has it."""
    return JwtBearer(_endpoint(credential), sign, grant_type=credential.variant.grant_type)


def refresh(credential: Credential, secret: Secret) -> RefreshToken:
    """The spending of a refresh token, at the token URL (as Saxo does it: no document of TradingView's says how)."""
    return RefreshToken(_endpoint(credential), secret)


def _endpoint(credential: Credential) -> TokenEndpoint:
    assert not isinstance(credential, FixedToken), "a fixed token has no endpoint"
    auth = credential.variant.client_auth if isinstance(credential, ServerOAuth2Bearer) else ClientAuth.BODY
    return TokenEndpoint(
        url=credential.token_url,
        client_id=credential.client_id,
        client_secret=Secret(credential.client_secret),
        auth=auth if credential.client_id else ClientAuth.NONE,
        reader=read_reply,
    )


# --- answers ------------------------------------------------------------------------------------------------------------------------


def read_reply(reply: HttpReply, asked: Asked) -> Token | TokenError:
    """Read an answer of /authorize or of a token endpoint, enveloped (`{s, d: {access_token, expiration}}`) or flat (RFC 6749), or both.

    A refusal is an envelope with `s: "error"` and `errmsg` at HTTP 200, or RFC 6749's. A refused password needs a person.
    """
    fields = reply.json_object() or {}
    inner = fields.get("d")
    found = {**fields, **inner} if isinstance(inner, dict) else fields
    status = text_field(fields, "s")
    if reply.is_success and status != "error" and (token := token_from(found, reply.sent_at)) is not None:
        return replace(
            token,
            expires_at=_expiry(found, reply),
            refresh_expires_at=_refresh_expiry(found, reply.sent_at),
        )
    if status == "error":
        return _envelope_error(reply, asked, text_field(fields, "errmsg"))
    code = text_field(fields, "error")
    if asked.kind is GrantKind.PASSWORD and (reply.status == 401 or code.lower() == "invalid_grant"):
        return _wrong_password(asked, code or f"HTTP {reply.status}", text_field(fields, "error_description", "errmsg"))
    return refusal(asked, reply, code, text_field(fields, "error_description", "errorDescription", "errmsg"))


def _envelope_error(reply: HttpReply, asked: Asked, message: str) -> TokenError:
    """The error envelope has no codes, so what was asked decides what it means."""
    if reply.status >= 500 or reply.status in (408, 425, 429):
        return refusal(asked, reply, "", message)
    if asked.kind is GrantKind.PASSWORD:
        return _wrong_password(asked, message or "no reason given")
    return refusal(asked, reply, "invalid_grant", message)


def _wrong_password(asked: Asked, said: str, description: str = "") -> ReauthorizationRequired:
    said = asked.quoted(said) + (f" ({asked.quoted(description)})" if description else "")
    return ReauthorizationRequired(f"{asked} was refused with {said}: check the login and the password; it is not sent again by itself")


def _expiry(fields: Mapping[str, object], reply: HttpReply) -> float | None:
    """When the token ends: the earliest that the answer names; None when it names nothing that can be meant."""
    lives = [
        *_lives(fields, ("expires_in", "expiresIn", "expired_in"), policy.TRADINGVIEW_LONGEST_TOKEN),
        *_until(fields.get("expiration"), reply),
    ]
    return reply.sent_at + min(lives) if lives else None


def _refresh_expiry(fields: Mapping[str, object], sent_at: float) -> float | None:
    lives = _lives(fields, ("refresh_token_expires_in", "refreshTokenExpiresIn", "refresh_expires_in"), math.inf)
    return sent_at + min(lives) if lives else None


def _lives(fields: Mapping[str, object], names: tuple[str, ...], longest: float) -> list[float]:
    """The lives under these names that are above 0, in seconds; one that is longer than any may be is in milliseconds."""
    found = [number for name in names if (number := finite(fields.get(name))) is not None and number > 0]
    return [life / 1000 if life > longest else life for life in found]


def _until(value: object, reply: HttpReply) -> list[float]:
    """The life that a point in time promises, by both clocks: ours may be wrong, and then the server's Date header is not.

    Seconds since 1970 by the documents; milliseconds and plain durations are known by their size.
    """
    moment = finite(value)
    if moment is None or moment <= 0:
        return []
    if moment < _DURATION:
        return [moment]
    if moment > _MILLISECONDS:
        moment /= 1000
    now = [reply.sent_at]
    if (date := reply.date) is not None:
        now.append(date)
    return [life for life in (moment - one for one in now) if life > 0]
