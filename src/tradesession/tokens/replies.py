"""What an answer to a request for a token means: a Token, or one of the four errors of an Exchange.

Pure. Decides and never retries. Always holds: a new pair is taken whenever the answer holds one, however odd the rest of it, because
losing it locks the user out; a refused and a spent grant are told apart from an endpoint that is merely unwell; and no text of the
server reaches an exception before every secret of the request has been masked in it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from tradesession import policy
from tradesession.errors import (
    ReauthorizationRequired,
    TokenEndpointUnreachable,
    TokenError,
    TokenRefused,
    UncertainExchange,
)
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.protocol.values import finite
from tradesession.secrets import Secret, redact_text, redact_url
from tradesession.tokens.token import Token

_TEXT_LIMIT: Final = 200  # characters of a server's text that go into a message: enough for a sentence
_FAILED: Final = frozenset({500, 502, 504})
_NOW_UNABLE: Final = frozenset({408, 425, 429, 503})  # the request was not processed, says the status (RFC 9110, RFC 6585, RFC 8470)


class GrantKind(enum.Enum):
    """The ways from a Credential to a Token."""

    AUTHORIZATION_CODE = "authorization_code"
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - the name of a grant
    CLIENT_CREDENTIALS = "client_credentials"
    PASSWORD = "password"  # noqa: S105 - the name of a grant
    JWT_BEARER = "jwt_bearer"
    STATIC = "static"

    @property
    def is_spent_by_use(self) -> bool:
        """Whether what was sent may be good for one use only: then an exchange without an answer leaves its outcome uncertain."""
        return self in (GrantKind.AUTHORIZATION_CODE, GrantKind.REFRESH_TOKEN)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, as far as it matters for judging the answer."""

    kind: GrantKind
    endpoint: str
    secrets: tuple[Secret, ...] = ()

    @classmethod
    def by(cls, request: HttpRequest, kind: GrantKind) -> Asked:
        """The question that `request` put."""
        return cls(kind, redact_url(request.url), request.secrets)

    def quoted(self, text: object) -> str:
        """A text of the server, fit for a message: one line, printable, short, without the secrets that were sent."""
        line = " ".join(redact_text(str(text), self.secrets).split())
        line = "".join(character if character.isprintable() else "?" for character in line)
        return line if len(line) <= _TEXT_LIMIT else line[:_TEXT_LIMIT] + "…"

    def __str__(self) -> str:
        return f"the {self.kind.value} exchange at {self.endpoint}"


class Reader(Protocol):
    """How the answers of one platform's token endpoint are read. `read_oauth` is the standard one; a platform may bring its own."""

    def __call__(self, reply: HttpReply, asked: Asked) -> Token | TokenError:
        """The Token (generation 0), or one of the errors of an Exchange: given back, so that no traceback holds the answer's fields."""


class Blame(enum.Enum):
    """What a refusal is about, and so what can be done."""

    GRANT = "grant"
    """The code, refresh token, password or assertion: another one is needed."""
    CONFIGURATION = "configuration"
    """The client or the request: somebody must change the configuration."""
    MOMENT = "moment"
    """Nobody: the endpoint cannot do it now, and has not done it."""
    UNCLEAR = "unclear"
    """Nobody knows: the endpoint failed, and may have done it before."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one error code of a token endpoint means."""

    blame: Blame
    remedy: str = ""


_NEW_CONSENT: Final = "give consent again (`tradesession login`)"
_GRANT_REMEDIES: Final[Mapping[GrantKind, str]] = {
    GrantKind.AUTHORIZATION_CODE: "the code is wrong, used or too old, or the redirect URI is another one; give consent again",
    GrantKind.REFRESH_TOKEN: f"the refresh token is spent, revoked or expired; {_NEW_CONSENT}",
    GrantKind.CLIENT_CREDENTIALS: "check the client id and secret",
    GrantKind.PASSWORD: "check the user name and the password",
    GrantKind.JWT_BEARER: "check the key, the certificate known to the server, the subject, and this machine's clock",
    GrantKind.STATIC: "put a new token into the configuration",
}

OAUTH_MEANINGS: Final[Mapping[str, Meaning]] = {
    "invalid_grant": Meaning(Blame.GRANT),
    "access_denied": Meaning(Blame.GRANT),
    "consent_required": Meaning(Blame.GRANT),
    "interaction_required": Meaning(Blame.GRANT),
    "login_required": Meaning(Blame.GRANT),
    "invalid_client": Meaning(Blame.CONFIGURATION, "check the client id and the client secret"),
    "unauthorized_client": Meaning(Blame.CONFIGURATION, "this client may not use this grant; enable it where the client is registered"),
    "unsupported_grant_type": Meaning(Blame.CONFIGURATION, "the endpoint does not know this grant; check the token URL"),
    "invalid_scope": Meaning(Blame.CONFIGURATION, "ask for a scope that was granted"),
    "invalid_request": Meaning(Blame.CONFIGURATION, "check the token URL, the client's settings and how the client authenticates"),
    "temporarily_unavailable": Meaning(Blame.MOMENT),
    "slow_down": Meaning(Blame.MOMENT),
    "server_error": Meaning(Blame.UNCLEAR),
}
"""The error codes of RFC 6749 (5.2, 4.1.2.1), of OpenID Connect Core (3.1.2.6) and RFC 8628 (3.5), in lower case."""


def read_oauth(reply: HttpReply, asked: Asked) -> Token | TokenError:
    """Read an answer as RFC 6749 has it (5.1, 5.2), with the usual liberties: camelCase names, numbers as text, no expiry."""
    fields = reply.json_object() or {}
    if reply.is_success and (token := token_from(fields, reply.sent_at)) is not None:
        return token
    return refusal(asked, reply, text_field(fields, "error"), text_field(fields, "error_description", "errorDescription"))


def token_from(fields: Mapping[str, object], sent_at: float) -> Token | None:
    """The Token of an answer's fields, in either spelling; None when there is no access token among them.

    Nothing else makes the token unusable here: an unknown type, a strange expiry or a missing refresh token is no reason to throw
    away a pair that cannot be had a second time. A life of zero or less promises nothing, as some servers mean it.
    """
    access = text_field(fields, "access_token", "accessToken")
    if not access:
        return None
    refresh = text_field(fields, "refresh_token", "refreshToken")
    life = _seconds(fields, "expires_in", "expiresIn")
    refresh_life = _seconds(fields, "refresh_token_expires_in", "refreshTokenExpiresIn", "refresh_expires_in")
    return Token(
        access=Secret(access),
        refresh=Secret(refresh) if refresh else None,
        issued_at=sent_at,
        expires_at=None if life is None else sent_at + life,
        refresh_expires_at=None if refresh_life is None else sent_at + refresh_life,
        scope=_scope(fields),
        token_type=text_field(fields, "token_type", "tokenType").lower() or "bearer",
    )


def refusal(
    asked: Asked,
    reply: HttpReply | None,
    code: str,
    description: str = "",
    meanings: Mapping[str, Meaning] = OAUTH_MEANINGS,
) -> TokenError:
    """The error for an answer that holds no token. `meanings` explains error codes, by their lower-case spelling.

    The code decides; without one that is known, the status does. `reply` is None for an answer that did not come over HTTP.
    """
    meaning = meanings.get(code.lower())
    said = _said(asked, reply, code, description)
    if meaning is None:
        return _by_status(asked, reply, code, description, said) if reply is not None else _refused(asked, code, description, said, "")
    if meaning.blame is Blame.MOMENT:
        return _unable(asked, reply, said)
    if meaning.blame is Blame.UNCLEAR:
        return unanswered(asked, said)
    if meaning.blame is Blame.CONFIGURATION:
        return _refused(asked, code, description, said, meaning.remedy)
    remedy = meaning.remedy or _GRANT_REMEDIES[asked.kind]
    if asked.kind.is_spent_by_use:
        return ReauthorizationRequired(f"{asked} was refused with {said}: {remedy}")
    return _refused(asked, code, description, said, remedy)


def unanswered(asked: Asked, cause: str) -> UncertainExchange | TokenEndpointUnreachable:
    """The error for a request that left and got no usable answer: harmless for a grant that can be used again, uncertain for others."""
    if asked.kind.is_spent_by_use:
        spent = "the code" if asked.kind is GrantKind.AUTHORIZATION_CODE else "the refresh token"
        return UncertainExchange(f"{asked} has an unknown outcome ({cause}); {spent} may be spent: if it is, {_NEW_CONSENT}")
    return TokenEndpointUnreachable(f"{asked} got no usable answer ({cause}); it can be tried again")


def _by_status(asked: Asked, reply: HttpReply, code: str, description: str, said: str) -> TokenError:
    """The error for an answer without a code that we know."""
    if reply.status in _NOW_UNABLE:
        return _unable(asked, reply, said)
    if reply.status >= 500 or reply.status < 200 or (reply.is_success and not code):
        error = unanswered(asked, said)
        if reply.status in _FAILED and not (asked.kind is GrantKind.PASSWORD and reply.status == 500):  # it may have been counted as wrong
            error.tries = policy.TOKEN_FAILED_TRIES
        return error
    if 300 <= reply.status < 400:
        place = redact_url(reply.headers.get("location", "")) or "nowhere"
        said = f"HTTP {reply.status}, a redirect to {asked.quoted(place)}, which is not followed"
        if reply.status not in (301, 308):  # a page of maintenance, a sign-in of the network: it may pass
            return _unable(asked, reply, said)
        return _refused(asked, code or f"HTTP {reply.status}", description, said, "set the token URL to where the endpoint is now")
    remedy = "check the client id and the client secret" if reply.status == 401 else "check the token URL and the client's settings"
    return _refused(asked, code or f"HTTP {reply.status}", description, said, remedy)


def _unable(asked: Asked, reply: HttpReply | None, said: str) -> TokenEndpointUnreachable:
    wait = reply.retry_after(policy.RETRY_AFTER_LIMIT) if reply is not None else None
    after = f"; it asks to wait {wait:g} s" if wait is not None else ""
    error = TokenEndpointUnreachable(f"{asked} is not possible now ({said}){after}; nothing was spent", retry_after=wait)
    if reply is not None and reply.status == 503 and not asked.kind.is_spent_by_use:
        error.tries = policy.TOKEN_FAILED_TRIES
    return error


def _refused(asked: Asked, code: str, description: str, said: str, remedy: str) -> TokenRefused:
    return TokenRefused(
        f"{asked} was refused with {said}" + (f": {remedy}" if remedy else ""),
        code=asked.quoted(code),
        description=asked.quoted(description),
    )


def _said(asked: Asked, reply: HttpReply | None, code: str, description: str) -> str:
    """What the server said, in a few words; of a body without an error code only its status, type and size."""
    if code:
        return asked.quoted(code) + (f" ({asked.quoted(description)})" if description else "")
    if reply is None:
        return "no reason given"
    kind = asked.quoted(reply.content_type) or "no content type"
    return f"HTTP {reply.status}, {kind}, " + (reply.damage or f"{len(reply.body)} bytes")


def text_field(fields: Mapping[str, object], *names: str) -> str:
    """The first of these fields that holds a text; empty when none does."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _seconds(fields: Mapping[str, object], *names: str) -> float | None:
    numbers = (finite(fields.get(name)) for name in names)
    return next((seconds for seconds in numbers if seconds is not None and seconds > 0), None)


def _scope(fields: Mapping[str, object]) -> str | None:
    scope = fields.get("scope")
    if isinstance(scope, list):
        return " ".join(str(part) for part in scope) or None
    return scope if isinstance(scope, str) and scope else None
