"""Config: everything that a TradingView session can be told, checked when it is made.

It holds secrets as `Secret`, so it may be printed. Nothing is contacted; `from_env` reads the key files that it is told of.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import ConfigurationError, ReauthorizationRequired
from tradesession.options import boolean, is_text, keep_path, read_options, refuse_unknown, require_above_zero
from tradesession.secrets import Secret
from tradesession.session.services import Services, TokenPlan
from tradesession.tokens.exchange import StaticExchange
from tradesession.tokens.grants import Static
from tradesession.tokens.store import TokenStore
from tradesession.tokens.token import Slot, Token
from tradesession.tradingview import grants
from tradesession.tradingview.credentials import (
    KINDS,
    SAXO,
    TRADINGVIEW,
    Credential,
    FixedToken,
    PasswordBearer,
    ServerOAuth2Bearer,
    Variant,
)
from tradesession.tradingview.keys import X5t
from tradesession.tradingview.refresh import BearerExchange
from tradesession.transports.http import HttpDriver, safe_origin

if TYPE_CHECKING:
    from tradesession.tradingview.client import Session

PREFIX: Final = "TRADESESSION_TRADINGVIEW_"
"""What the environment variables of `Config.from_env` begin with."""

_ABOVE_ZERO: Final = ("connect_timeout", "request_timeout", "close_timeout", "quotes_per_second")


@dataclass(frozen=True)
class Config:
    """A broker's server, a credential for it, and how to speak with it. We are TradingView's side.

    `base_url` is what /symbol_info, /history, /streaming and the others are appended to, with https (http is for loopback only); it and the
    credential's token URL are verified by the system's authorities, by `ca_file` (PEM) or as `ssl_context` says. `auth` is the credential;
    None where the data is public. `slot_name` tells several credential sets with one broker apart, as each has a token of its own; `store`
    is the token store or its URL (see `SessionManager`).

    `streams` is how many connections to /streaming the session keeps, 0 to 4; all of them get the same. One on which everything that was
    heard before is silent for `silence` seconds, in its trading hours, is made anew; 0 turns that off, as there is no heartbeat. Whether a
    broker ends a stream together with the token that opened it is not documented: with `renew_streams` each is replaced after a rotation,
    side by side with the old one, so that nothing is missed either way.

    Times are in seconds; the defaults and their reasons stand in `tradesession.policy`. Raises ConfigurationError, naming the option, for
    anything that cannot be meant.
    """

    base_url: str
    auth: Credential | None = None
    slot_name: str = "default"
    streams: int = 1
    ca_file: str | os.PathLike[str] | None = None
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    store: str | TokenStore | None = field(default=None, repr=False)  # a URL may hold a password
    connect_timeout: float = policy.CONNECT_TIMEOUT
    request_timeout: float = policy.TRADINGVIEW_REQUEST_TIMEOUT
    close_timeout: float = policy.CLOSE_TIMEOUT
    silence: float = policy.TRADINGVIEW_SILENCE
    renew_streams: bool = True
    quotes_per_second: float = policy.TRADINGVIEW_QUOTES_PER_SECOND
    clock: Clock | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            safe_origin(self.base_url)
        except ConfigurationError as error:
            raise ConfigurationError(f"base_url: {error}") from None
        if urlsplit(self.base_url).query or urlsplit(self.base_url).fragment:
            raise ConfigurationError("base_url has a query or a fragment; give the address that /symbol_info is appended to")
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))
        keep_path(self, "ca_file")
        if self.auth is not None and not isinstance(self.auth, KINDS):
            known = ", ".join(kind.__name__ for kind in KINDS)
            raise ConfigurationError(f"auth is a {type(self.auth).__name__}; it is one of {known}, or None for public data")
        if not self.slot_name or not is_text(self.slot_name):
            raise ConfigurationError("slot_name is empty or no text; it names the credential set")
        if not 0 <= self.streams <= policy.TRADINGVIEW_STREAMS:
            raise ConfigurationError(f"streams={self.streams} is none of 0 to {policy.TRADINGVIEW_STREAMS}, which is what a broker expects")
        require_above_zero(self, *_ABOVE_ZERO)
        if not self.silence >= 0:
            raise ConfigurationError(f"silence={self.silence:g} must be 0 (never mind) or more")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Config:
        """A Config from the variables `TRADESESSION_TRADINGVIEW_…`, one for each option of `from_options` in upper case.

        `options` go before the environment. Raises ConfigurationError for a variable with that prefix, or an option, that does not exist,
        and for one that cannot be read.
        """
        return from_options(**read_options(os.environ if environ is None else environ, PREFIX, READERS) | options)

    def replace(self, **changes: Any) -> Config:
        """A copy with these options changed, checked anew."""
        return replace(self, **changes)

    @property
    def place(self) -> str:
        """Host and port of the base URL."""
        return urlsplit(safe_origin(self.base_url)).netloc

    @property
    def slot(self) -> Slot:
        """Where the credential's token lives: one for broker, client, user and credential set together."""
        return grants.slot(self.auth, self.place, self.slot_name)

    def token_plan(self, clock: Clock) -> TokenPlan:
        """For a SessionManager: how the token is had. A fixed one is what it is, and nothing is stored of it."""
        if self.auth is None:
            return TokenPlan(slot=self.slot, exchange=_no_token, seed=None, is_stored=False)
        if isinstance(self.auth, FixedToken):
            static = StaticExchange(Static(Secret(self.auth.token), self.auth.expires_at))
            return TokenPlan(slot=self.slot, exchange=static, seed=None, is_stored=False)
        driver = HttpDriver(_token_urls(self.auth, self.base_url), ca_file=self.ca_file, ssl_context=self.ssl_context, clock=clock)
        exchange = BearerExchange(self.auth, self.base_url, self.slot, driver, clock)
        return TokenPlan(slot=self.slot, exchange=exchange, seed=None, is_stored=True, aclose=driver.aclose)

    def create_session(self, services: Services) -> Session:
        """For a SessionManager: the session of this configuration, not yet started."""
        from tradesession.tradingview.client import Session

        return Session(self, services)


def _token_urls(auth: ServerOAuth2Bearer | PasswordBearer, base_url: str) -> list[str]:
    """Every address that the credential may be sent to."""
    if isinstance(auth, ServerOAuth2Bearer):
        return [auth.token_url]
    return [auth.url or base_url, *([auth.token_url] if auth.refresh == "oauth" else [])]


async def _no_token(token: Token | None) -> Token:
    raise ReauthorizationRequired("the server wants a token, and auth=None says that its data is public: give a credential")


# --- flat options, for environments and command lines ---------------------------------------------------------------------------------

_CERTIFICATE: Final = ("token_url", "client_id", "client_secret", "user_id", "app_url", "key_file")
_PASSWORD: Final = ("login", "password")

READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    **dict.fromkeys(
        (
            *("base_url", "auth", "slot", "ca_file", "store", *_CERTIFICATE, "certificate_file", "passphrase", "audience"),
            *("grant_type", "x5t", "variant", "authorize_url", "locale", "refresh", "token", *_PASSWORD),
        ),
        str,
    ),
    "streams": int,
    "renew_streams": boolean,
    "foreign_audience": boolean,
    **dict.fromkeys(("connect_timeout", "request_timeout", "close_timeout", "silence", "quotes_per_second", "assertion_lifetime"), float),
}
"""The flat options, with what reads each from text."""

_PLAIN: Final = (
    *("streams", "renew_streams", "ca_file", "store"),
    *("connect_timeout", "request_timeout", "close_timeout", "silence", "quotes_per_second"),
)  # fmt: skip


def from_options(**options: Any) -> Config:
    """A Config from flat options, as environments and command lines have them.

    `auth` is server (a certificate), password, token or none. Without it the first of them whose options are all there is taken:
    `token_url`, `client_id`, `client_secret`, `user_id`, `app_url` and `key_file` (PEM or PKCS#12, with `certificate_file` and
    `passphrase` where needed); `login` and `password`; `token`. `variant` is tradingview or saxo; `grant_type`, `x5t`, `audience` and
    `assertion_lifetime` change details of it. Raises ConfigurationError, naming what is missing.
    """
    refuse_unknown("tradingview.Config.from_env", options, (*READERS, "clock", "ssl_context"))
    given = {name: value for name, value in options.items() if value is not None}
    if "base_url" not in given:
        raise ConfigurationError(f"base_url is not given ({PREFIX}BASE_URL); it is what /symbol_info is appended to on the broker's server")
    plain = {name: given[name] for name in (*_PLAIN, "clock", "ssl_context") if name in given}
    return Config(given["base_url"], _credential(given), given.get("slot", "default"), **plain)


def _credential(given: Mapping[str, Any]) -> Credential | None:
    kind = given.get("auth") or _kind(given)
    if kind == "none":
        return None
    if kind == "server":
        _complete(given, _CERTIFICATE, "a certificate")
        return ServerOAuth2Bearer.from_files(
            **{name: given[name] for name in _CERTIFICATE},
            certificate_file=given.get("certificate_file"),
            passphrase=given.get("passphrase"),
            variant=_variant(given),
            audience=given.get("audience", ""),
            foreign_audience=given.get("foreign_audience", False),
            lifetime=given.get("assertion_lifetime", policy.TRADINGVIEW_ASSERTION_LIFETIME),
        )
    if kind == "password":
        _complete(given, _PASSWORD, "a password")
        oauth = given.get("refresh") == "oauth"
        return PasswordBearer(
            login=given["login"],
            password=given["password"],
            locale=given.get("locale", "en"),
            url=given.get("authorize_url", ""),
            refresh=given.get("refresh", "login"),
            token_url=given.get("token_url", "") if oauth else "",
            client_id=given.get("client_id", "") if oauth else "",
            client_secret=given.get("client_secret", "") if oauth else "",
        )
    if kind == "token":
        _complete(given, ("token",), "a token")
        return FixedToken(token=given["token"])
    raise ConfigurationError(f"auth={kind!r} is none of server, password, token, none")


def _kind(given: Mapping[str, Any]) -> str:
    """The first kind of credential that is complete; none where nothing of any was given."""
    for kind, names in (("server", _CERTIFICATE), ("password", _PASSWORD), ("token", ("token",))):
        if all(given.get(name) for name in names):
            return kind
    for kind, names, what in (("password", _PASSWORD, "a password"), ("server", _CERTIFICATE, "a certificate")):
        if any(given.get(name) for name in names):
            _complete(given, names, what, f"; or say {PREFIX}AUTH={'none' if kind == 'server' else 'server'}")
    return "none"


def _complete(given: Mapping[str, Any], names: tuple[str, ...], what: str, hint: str = "") -> None:
    if missing := [name for name in names if not given.get(name)]:
        variables = ", ".join(PREFIX + name.upper() for name in missing)
        raise ConfigurationError(f"authentication by {what} lacks {', '.join(missing)} ({variables}){hint}")


def _variant(given: Mapping[str, Any]) -> Variant:
    variants = {"tradingview": TRADINGVIEW, "saxo": SAXO}
    name = given.get("variant", "tradingview")
    if name not in variants:
        raise ConfigurationError(f"variant={name!r} is none of {', '.join(variants)}")
    variant = variants[name]
    spelling = given.get("x5t", variant.x5t)
    try:
        x5t = X5t(spelling)
    except ValueError:
        raise ConfigurationError(f"x5t={spelling!r} is none of {', '.join(one.value for one in X5t)}") from None
    return replace(variant, x5t=x5t, grant_type=given.get("grant_type", variant.grant_type))
