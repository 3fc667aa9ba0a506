"""cTrader's grants: the consent page, the token endpoint, its answers, and the refresh over the socket.

Does no I/O. Facts are from the Open API documents and SDKs. The token endpoint is asked with GET, as the documents and both vendor SDKs do
it; that puts the client secret and the refresh token into the URL, so nothing here or in the driver lets a URL out. A POST form keeps
them out of URLs and works according to several third-party clients, but the vendor does not promise it, and a refresh that the
endpoint does not understand is the last thing to try out on a live grant: POST is a setting, GET the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from tradesession.errors import ConfigurationError, TokenError
from tradesession.protocol.http import HttpReply
from tradesession.secrets import Secret
from tradesession.tokens.grants import TokenEndpoint
from tradesession.tokens.redirects import authorization_url as _authorization_url
from tradesession.tokens.replies import OAUTH_MEANINGS, Asked, Blame, GrantKind, Meaning, refusal, text_field, token_from, unanswered
from tradesession.tokens.token import Slot, Token

CONSENT_URL: Final = "https://id.ctrader.com/my/settings/openapi/grantingaccess/"
"""The consent page of the documents."""

SDK_CONSENT_URL: Final = "https://openapi.ctrader.com/apps/auth"
"""The consent page of the vendor's SDKs: older, and known to lead to the same place."""

TOKEN_URL: Final = "https://openapi.ctrader.com/apps/token"  # noqa: S105 - an address
"""The token endpoint."""

SCOPES: Final = ("trading", "accounts")
"""`trading` may trade, `accounts` may only look."""

_APPLICATION: Final = "check the client id and secret, and that the application is active in the Open API portal"

_DENIED: Final = (
    "the code or refresh token is spent, too old or of another application, or the client secret is wrong; "
    "check the secret: if it was wrong, correct it and `tradesession tokens refresh ctrader --force`, else give consent again "
    "(`tradesession login ctrader`)"
)

MEANINGS: Final[Mapping[str, Meaning]] = {
    **OAUTH_MEANINGS,
    "access_denied": Meaning(Blame.GRANT, _DENIED),
    "ch_access_token_invalid": Meaning(Blame.GRANT),
    "oa_auth_token_expired": Meaning(Blame.GRANT),
    "ch_client_auth_failure": Meaning(Blame.CONFIGURATION, _APPLICATION),
    "ch_oa_client_not_found": Meaning(Blame.CONFIGURATION, _APPLICATION),
    "ch_client_not_authenticated": Meaning(Blame.MOMENT),  # on the socket: asked before the application was authenticated
    "ch_server_not_reachable": Meaning(Blame.MOMENT),
    "server_is_under_maintenance": Meaning(Blame.MOMENT),
    "request_frequency_exceeded": Meaning(Blame.MOMENT),
    "blocked_payload_type": Meaning(Blame.MOMENT),
    "unknown_error": Meaning(Blame.UNCLEAR),
    "timeout_error": Meaning(Blame.UNCLEAR),
}
"""What the error codes mean that a token endpoint of cTrader, or its socket, may answer with; in lower case."""


def slot(client_id: str, subject: str = "default") -> Slot:
    """Where the token of an application and a subject lives. Demo and live are not told apart: one grant serves both."""
    return Slot(platform="ctrader", environment="openapi", client=client_id, subject=subject)


def authorization_url(
    client_id: str,
    redirect_uri: str,
    *,
    scope: str = "trading",
    state: Secret | None = None,
    base: str = CONSENT_URL,
) -> str:
    """Where to send the person. `redirect_uri` must be registered for the application, letter by letter.

    Whether `state` comes back is not documented. `product=web` (the page without the site's frame) goes with the documented page only.
    Raises ConfigurationError for a scope that cTrader does not have, and for a `base` that is no https URL.
    """
    if scope not in SCOPES:
        raise ConfigurationError(f"scope={scope!r} is none of cTrader's; it is {' or '.join(map(repr, SCOPES))}")
    product = "web" if base == CONSENT_URL else None
    return _authorization_url(base, client_id=client_id, redirect_uri=redirect_uri, scope=scope, product=product, state=state)


def token_endpoint(client_id: str, client_secret: Secret, *, url: str = TOKEN_URL, method: str = "GET") -> TokenEndpoint:
    """The token endpoint, as this application. `method` is "GET" (documented) or "POST" (see the module's docstring)."""
    return TokenEndpoint(url=url, client_id=client_id, client_secret=client_secret, method=method, reader=read_reply)


def read_reply(reply: HttpReply, asked: Asked) -> Token | TokenError:
    """Read an answer of the token endpoint.

    A success has accessToken, refreshToken, tokenType and expiresIn (seconds), in older answers also in snake_case, and an errorCode
    of null. A failure is the same object with errorCode and description filled, at HTTP 200; RFC 6749's error object at HTTP 400 is
    understood as well. A refused refresh without any code, at HTTP 400, is taken for a spent token: it was seen to mean that.
    """
    fields = reply.json_object() or {}
    if reply.is_success and (token := token_from(fields, reply.sent_at)) is not None:
        return token
    code = text_field(fields, "errorCode", "error_code", "error")
    description = text_field(fields, "description", "error_description", "errorDescription")
    if not code and reply.status == 400 and asked.kind is GrantKind.REFRESH_TOKEN:
        return refusal(asked, reply, "HTTP 400", "no reason given", {"http 400": Meaning(Blame.GRANT)})
    return refusal(asked, reply, code, description, MEANINGS)


class SocketRefreshRes(Protocol):
    """The fields of a ProtoOARefreshTokenRes."""

    @property
    def accessToken(self) -> str: ...  # noqa: D102, N802 - named as on the wire
    @property
    def refreshToken(self) -> str: ...  # noqa: D102, N802 - named as on the wire
    @property
    def tokenType(self) -> str: ...  # noqa: D102, N802 - named as on the wire
    @property
    def expiresIn(self) -> int: ...  # noqa: D102, N802 - named as on the wire


def read_socket_refresh(reply: SocketRefreshRes, sent_at: float) -> Token:
    """The Token of a ProtoOARefreshTokenRes; `sent_at` is when the request left, in wall-clock seconds. Else UncertainExchange."""
    fields = {name: getattr(reply, name) for name in ("accessToken", "refreshToken", "tokenType", "expiresIn")}
    token = token_from(fields, sent_at)
    if token is None:
        raise unanswered(_on_socket(), "the reply holds no access token")
    return token


def socket_refusal(code: str, description: str = "", refresh: Secret | None = None) -> TokenError:
    """The error of an Exchange for the error code that answered a ProtoOARefreshTokenReq with this refresh token."""
    return refusal(_on_socket(refresh), None, code, description, MEANINGS)


def socket_unanswered(cause: str) -> TokenError:
    """The error of an Exchange for a ProtoOARefreshTokenReq that left and was not answered."""
    return unanswered(_on_socket(), cause)


def _on_socket(refresh: Secret | None = None) -> Asked:
    return Asked(GrantKind.REFRESH_TOKEN, "the open connection", (refresh,) if refresh else ())
