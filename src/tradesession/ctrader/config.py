"""Config: everything that a cTrader session can be told, checked when it is made.

It holds secrets as `Secret`, so it may be printed. Nothing is contacted; files are read when the session connects.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from tradesession import policy
from tradesession.clock import Clock
from tradesession.ctrader.grants import CONSENT_URL, TOKEN_URL, slot, token_endpoint
from tradesession.ctrader.refresh import Refresh
from tradesession.errors import ConfigurationError
from tradesession.options import (
    integers,
    keep_path,
    keep_secret,
    option_names,
    read_options,
    readers,
    refuse_unknown,
    require_above_zero,
    require_one_of,
    require_text,
    titles,
)
from tradesession.secrets import Secret
from tradesession.session.services import Services, TokenPlan
from tradesession.tokens.exchange import HttpExchange, StaticExchange
from tradesession.tokens.grants import Static, TokenEndpoint, renewal
from tradesession.tokens.store import TokenStore
from tradesession.tokens.token import Slot, Token
from tradesession.transports.http import HttpDriver

if TYPE_CHECKING:
    from tradesession.ctrader.client import Session

Environment = Literal["demo", "live", "both"]
TransportName = Literal["tcp", "websocket"]
Scope = Literal["trading", "accounts"]

HOSTS: Final[Mapping[str, str]] = {"demo": "demo.ctraderapi.com", "live": "live.ctraderapi.com"}
"""The public hosts, by environment. Demo and live are fully apart; each account is served by one of them."""

PORT: Final = 5035
"""The port for protobuf, over TLS TCP and over WebSocket alike."""

PREFIX: Final = "TRADESESSION_CTRADER_"
"""What the environment variables of `Config.from_env` begin with."""

_ABOVE_ZERO: Final = (
    "connect_timeout", "step_timeout", "request_timeout", "close_timeout", "heartbeat_interval", "requests_per_second",
    "historical_requests_per_second", "max_frame",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config:
    """A cTrader application, a grant, and how to reach the server.

    Secrets may be given as plain strings and are kept as `Secret`. With `refresh_token` the session renews the access token by itself and
    keeps the new pair in the token store; with `access_token` alone it ends when that does.

    `auth_url` and `token_url` are the consent page and the token endpoint, which is asked by `token_method` (see `ctrader.grants`).
    `subject` names whose consent it is, for machines that hold several; `store` is the token store or its URL (see `SessionManager`).

    The accounts to authorise are those of `environment` that match `accounts` (ctidTraderAccountId), `logins` (the number that the terminal
    shows) or `brokers` (brokerTitleShort, any case); with none of the three, all of them.

    With `environment="both"` the session keeps two connections, for the demo and for the live accounts of the grant; `endpoints` then
    maps "demo" and "live" to (host, port) where the public ones are not meant. Otherwise `host` and `port` replace the public endpoint;
    `websocket_url` replaces the address derived from them, and is used with `transport="websocket"` only. The connection is verified
    TLS: by the system's authorities, by `ca_file` (PEM) or as `ssl_context` says. `plaintext` is for loopback only.
    Times are in seconds, `max_frame` in bytes; the defaults and their reasons stand in `tradesession.policy`.

    Raises ConfigurationError, naming the option, for anything that cannot be meant.
    """

    client_id: str
    client_secret: Secret | str
    access_token: Secret | str | None = None
    refresh_token: Secret | str | None = None
    environment: Environment = "demo"
    accounts: Sequence[int] = ()
    logins: Sequence[int] = ()
    brokers: Sequence[str] = ()

    host: str = ""
    port: int = PORT
    endpoints: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    transport: TransportName = "tcp"
    websocket_url: str = field(default="", repr=False)  # an address may hold a password
    ca_file: str | os.PathLike[str] | None = None
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    plaintext: bool = False

    auth_url: str = CONSENT_URL
    token_url: str = TOKEN_URL
    token_method: Literal["GET", "POST"] = "GET"  # noqa: S105 - an HTTP method
    redirect_uri: str = ""
    scope: Scope = "trading"
    subject: str = "default"
    store: str | TokenStore | None = field(default=None, repr=False)  # a URL may hold a password

    connect_timeout: float = policy.CONNECT_TIMEOUT
    step_timeout: float = policy.STEP_TIMEOUT
    request_timeout: float = policy.REQUEST_TIMEOUT
    close_timeout: float = policy.CLOSE_TIMEOUT
    heartbeat_interval: float = policy.HEARTBEAT_INTERVAL
    liveness_timeout: float = policy.LIVENESS_TIMEOUT
    requests_per_second: float = policy.REQUESTS_PER_SECOND
    historical_requests_per_second: float = policy.HISTORICAL_REQUESTS_PER_SECOND
    max_frame: int = policy.MAX_FRAME
    clock: Clock | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._keep_secrets_secret()
        if not self.client_id:
            raise ConfigurationError("client_id is empty; it stands in the application's page of the Open API portal")
        if not self.client_secret:
            raise ConfigurationError("client_secret is empty; it stands in the application's page of the Open API portal")
        require_text(self, "client_id", "client_secret", "access_token", "refresh_token", "subject")
        require_one_of(self, "environment", get_args(Environment))
        require_one_of(self, "transport", get_args(TransportName))
        require_one_of(self, "scope", get_args(Scope))
        if not 0 < self.port < 65536:
            raise ConfigurationError(f"port={self.port} is no port; the protobuf port of the Open API is {PORT}")
        if self.environment == "both" and (self.host or self.websocket_url):
            raise ConfigurationError("environment='both' has two endpoints: name them in endpoints, not in host or websocket_url")
        if "@" in self.websocket_url or "?" in self.websocket_url:
            raise ConfigurationError(
                "websocket_url carries a user, a password or a query: the Open API knows none, and an address shows in logs"
            )
        for name in ("auth_url", "token_url"):
            if "@" in getattr(self, name).partition("?")[0]:
                raise ConfigurationError(f"{name} carries a user or a password, which cTrader has no use for, and an address shows in logs")
        if unknown := set(self.endpoints) - set(HOSTS):
            raise ConfigurationError(f"endpoints has {', '.join(sorted(unknown))}, and there are only demo and live")
        self._check_figures()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Config:
        """A Config from the variables `TRADESESSION_CTRADER_…`, one for each option in upper case (`…_CLIENT_ID`, `…_HOST`, …).

        Lists are separated by commas (`…_ACCOUNTS`, or `…_ACCOUNT`; numbers also by spaces). `options` go before the environment. Raises
        ConfigurationError for a variable with that prefix, or an option, that does not exist, and for one that cannot be read.
        """
        found = read_options(os.environ if environ is None else environ, PREFIX, _READERS)
        for singular, plural in (("account", "accounts"), ("login", "logins"), ("broker", "brokers")):
            if singular in found:
                if plural in found:
                    raise ConfigurationError(f"{PREFIX}{singular.upper()} and {PREFIX}{plural.upper()} are both set; leave one of them out")
                found[plural] = found.pop(singular)
        refuse_unknown("ctrader.Config", options, option_names(cls))
        found.update(options)
        for name in ("client_id", "client_secret"):
            if name not in found:
                raise ConfigurationError(f"{PREFIX}{name.upper()} is not set; it stands in the application's page of the Open API portal")
        return cls(**found)

    def lines(self) -> list[Config]:
        """One Config for each connection: itself, or with environment="both" one for demo and one for live."""
        if self.environment != "both":
            return [self]
        return [self._on("demo"), self._on("live")]

    def _on(self, environment: Literal["demo", "live"]) -> Config:
        host, port = self.endpoints.get(environment, ("", self.port))
        return self.replace(environment=environment, host=host, port=port, endpoints={}, websocket_url="")

    def replace(self, **changes: Any) -> Config:
        """A copy with these options changed, checked anew."""
        return replace(self, **changes)

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port of the TCP connection."""
        return self.host or HOSTS[self.environment], self.port

    @property
    def address(self) -> str:
        """The WebSocket address: `websocket_url`, or the endpoint's root."""
        host, port = self.endpoint
        return self.websocket_url or f"{'ws' if self.plaintext else 'wss'}://{host}:{port}"

    @property
    def slot(self) -> Slot:
        """Where the grant's token lives: one for the application and the subject, whatever the environment and the accounts."""
        return slot(self.client_id, self.subject)

    def token_plan(self, clock: Clock) -> TokenPlan:
        """For a SessionManager: how the token is had.

        With an access token and no refresh token it is what it is, and nothing is stored; otherwise the pair rotates, by HTTP or over the
        socket, and rests in the store.
        """
        if self.access_token and not self.refresh_token:
            static = StaticExchange(Static(Secret(self.access_token)))
            return TokenPlan(slot=self.slot, exchange=static, seed=None, is_stored=False)
        driver = self.token_driver(clock)
        refresh = Refresh(HttpExchange(renewal(self.token_endpoint), driver, clock=clock))
        seed = Token(access=Secret(self.access_token or ""), refresh=Secret(self.refresh_token)) if self.refresh_token else None
        return TokenPlan(slot=self.slot, exchange=refresh, seed=seed, is_stored=True, aclose=driver.aclose)

    @property
    def token_endpoint(self) -> TokenEndpoint:
        """Where tokens are asked for, as this application."""
        return token_endpoint(self.client_id, Secret(self.client_secret), url=self.token_url, method=self.token_method)

    def token_driver(self, clock: Clock) -> HttpDriver:
        """What asks the token endpoint, and nothing else. The public one is trusted as the system does, whatever `ca_file` says."""
        own = self.token_url != TOKEN_URL
        ca_file, ssl_context = (self.ca_file, self.ssl_context) if own else (None, None)
        return HttpDriver([self.token_url], ca_file=ca_file, ssl_context=ssl_context, clock=clock)

    def create_session(self, services: Services) -> Session:
        """For a SessionManager: the session of this configuration, not yet started."""
        from tradesession.ctrader.client import Session

        return Session(self, services)

    def _keep_secrets_secret(self) -> None:
        keep_secret(self, "client_secret", "access_token", "refresh_token")
        for name in ("accounts", "logins", "brokers"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, (int, str)) else tuple(value))
        keep_path(self, "ca_file")

    def _check_figures(self) -> None:
        require_above_zero(self, *_ABOVE_ZERO)
        if not self.liveness_timeout > self.heartbeat_interval:
            raise ConfigurationError(
                f"liveness_timeout={self.liveness_timeout:g} must be above heartbeat_interval={self.heartbeat_interval:g}, "
                "else a healthy connection is cut between two beats"
            )
        for name in ("accounts", "logins"):
            for value in getattr(self, name):
                if not isinstance(value, int):
                    raise ConfigurationError(f"{name} holds {value!r}, which is no whole number")


_READERS: Final = readers(Config, "ssl_context", "clock", "endpoints") | {"account": integers, "login": integers, "broker": titles}
