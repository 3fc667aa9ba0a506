"""Config: everything that a CPlugin session can be told, checked when it is made.

It holds secrets as `Secret`, so it may be printed. Nothing is contacted; files are read when the session connects.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args
from uuid import UUID

from tradesession import policy, signalr
from tradesession.clock import Clock
from tradesession.cplugin.grants import Client, Discovered
from tradesession.cplugin.routing import PLACES, Environment, HubName, Place, hub_address
from tradesession.errors import ConfigurationError
from tradesession.options import (
    keep_path,
    keep_secret,
    option_names,
    read_options,
    readers,
    refuse_unknown,
    require_above_zero,
    require_one_of,
    require_text,
)
from tradesession.protocol.http import origin
from tradesession.protocol.signalr.negotiation import BearerPlace
from tradesession.secrets import Secret
from tradesession.session.services import Services, TokenPlan
from tradesession.tokens.exchange import StaticExchange
from tradesession.tokens.grants import ClientAuth, Static
from tradesession.tokens.token import Slot
from tradesession.transports.http import HttpDriver, safe_origin

if TYPE_CHECKING:
    from tradesession.cplugin.client import Session

PREFIX: Final = "TRADESESSION_CPLUGIN_"
"""What the environment variables of `Config.from_env` begin with."""

_WHERE_FROM: Final = "it stands in the management toolbox, at the organization's API clients"


@dataclass(frozen=True, kw_only=True)
class Config:
    """A client of CPlugin's WebAPI, a trade platform, and how to reach them.

    Secrets may be given as plain strings and are kept as `Secret`. The token is had with `client_id` and `client_secret`, and renewed in
    the same way; nothing is stored. An `access_token` is used as it is instead, and the session ends when that does.

    `environment` is prod by default; `base_url` (the API) and `authority` (the identity server) make it a custom one, which needs both.
    The token endpoint is found by discovery at the authority, and must be there as well, unless `token_url` names it. `client_auth` says
    how the client proves itself to it, `scope` what is asked for ("" for nothing). `trade_platform` is the GUID of a trade server, as
    `trade_platforms()` of the REST interface lists them; the hubs of v2 want one.

    `hub` is the session's hub. The bearer stands in the Authorization header of its socket, or with `bearer_in` in the query, under one of
    the two names that such servers know. `skip_negotiation` opens the socket at once: right where several nodes stand behind one name.
    `stateful` resumes a broken connection where the server offers that. `stream_all` is how StreamTicks is asked for every symbol: with a
    null in place of the symbol, or with no argument, as the vendor's SDKs do; a plain ASP.NET Core hub refuses the latter.

    The servers are verified by the system's authorities, by `ca_file` (PEM) or as `ssl_context` says; http is for loopback only. Times are
    in seconds, `request_timeout` is REST's, `call_timeout` the hub's; the defaults and their reasons stand in `tradesession.policy`.

    Raises ConfigurationError, naming the option, for anything that cannot be meant.
    """

    client_id: str = ""
    client_secret: Secret | str | None = None
    access_token: Secret | str | None = None
    environment: Environment | None = None
    base_url: str = ""
    authority: str = ""
    token_url: str = ""
    client_auth: Literal["body", "basic"] = "body"
    scope: str = "webapi"
    trade_platform: str | UUID = ""

    hub: HubName = "mt4-v2"
    bearer_in: BearerPlace = "header"
    skip_negotiation: bool = False
    stateful: bool = True
    stream_all: Literal["null", "omit"] = "null"

    ca_file: str | os.PathLike[str] | None = None
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    connect_timeout: float = policy.CONNECT_TIMEOUT
    handshake_timeout: float = policy.HUB_HANDSHAKE_TIMEOUT
    request_timeout: float = policy.CPLUGIN_REQUEST_TIMEOUT
    call_timeout: float = policy.CPLUGIN_CALL_TIMEOUT
    close_timeout: float = policy.CLOSE_TIMEOUT
    ping_interval: float = policy.HUB_PING_INTERVAL
    server_timeout: float = policy.HUB_SERVER_TIMEOUT
    clock: Clock | None = field(default=None, repr=False, compare=False)

    store: None = field(default=None, init=False, repr=False, compare=False)
    """For a SessionManager: none is needed."""

    def __post_init__(self) -> None:
        self._keep_secrets_secret()
        for name, known in (
            ("hub", get_args(HubName)),
            ("bearer_in", get_args(BearerPlace)),
            ("client_auth", ("body", "basic")),
            ("stream_all", ("null", "omit")),
        ):
            require_one_of(self, name, known)
        self._settle_environment()
        self._settle_trade_platform()
        self._check_credentials()
        require_above_zero(self, "request_timeout")
        self.hub_config()  # checks the rest

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Config:
        """A Config from the variables `TRADESESSION_CPLUGIN_…`, one for each option in upper case (`…_CLIENT_ID`, `…_BASE_URL`, …).

        `options` go before the environment. Raises ConfigurationError for a variable with that prefix, or an option, that does not exist,
        and for one that cannot be read.
        """
        found = read_options(os.environ if environ is None else environ, PREFIX, _READERS)
        refuse_unknown("cplugin.Config", options, option_names(cls))
        found.update(options)
        if not found.get("access_token"):
            for name in ("client_id", "client_secret"):
                if not found.get(name):
                    raise ConfigurationError(f"{PREFIX}{name.upper()} is not set; {_WHERE_FROM}")
        return cls(**found)

    def replace(self, **changes: Any) -> Config:
        """A copy with these options changed, checked anew."""
        if changes.get("environment") in PLACES:  # the addresses were those of another one
            changes = {"base_url": "", "authority": ""} | changes
        elif "environment" not in changes and changes.keys() & {"base_url", "authority"}:
            changes = {"environment": None} | changes
        return replace(self, **changes)

    @property
    def slot(self) -> Slot:
        """Where the token lives, in memory: one for the client, its identity server and its scope; or for the given token."""
        if self.access_token:
            return Slot("cplugin", "given", self.client_id or "token", Secret(self.access_token).fingerprint)
        return Slot("cplugin", self.token_url or self.authority, self.client_id, self.scope or "no scope", self.client_auth)

    def token_plan(self, clock: Clock) -> TokenPlan:
        """For a SessionManager: how the token is had. It is stored nowhere, as another one costs nothing."""
        if self.access_token:
            static = StaticExchange(Static(Secret(self.access_token)))
            return TokenPlan(slot=self.slot, exchange=static, seed=None, is_stored=False)
        client = Client(
            client_id=self.client_id,
            client_secret=Secret(self.client_secret or ""),
            scope=self.scope,
            authority=self.authority,
            token_url=self.token_url,
            auth=ClientAuth(self.client_auth),
        )
        driver = HttpDriver([self.token_url or self.authority], ca_file=self.ca_file, ssl_context=self.ssl_context, clock=clock)
        return TokenPlan(slot=self.slot, exchange=Discovered(client, driver, clock), seed=None, is_stored=False, aclose=driver.aclose)

    def create_session(self, services: Services) -> Session:
        """For a SessionManager: the session of this configuration, not yet started."""
        from tradesession.cplugin.client import Session

        return Session(self, services)

    def hub_config(self) -> signalr.Config:
        """The hub's part of it."""
        return signalr.Config(
            hub_address(self.base_url, self.hub, str(self.trade_platform)),
            name=f"cplugin {self.hub}",
            bearer_in=self.bearer_in,
            negotiate=not self.skip_negotiation,
            stateful=self.stateful,
            ca_file=self.ca_file,
            ssl_context=self.ssl_context,
            connect_timeout=self.connect_timeout,
            handshake_timeout=self.handshake_timeout,
            call_timeout=self.call_timeout,
            close_timeout=self.close_timeout,
            ping_interval=self.ping_interval,
            server_timeout=self.server_timeout,
            clock=self.clock,
        )

    # --- inside -------------------------------------------------------------------------------------------------------------------------

    def _keep_secrets_secret(self) -> None:
        keep_secret(self, "client_secret", "access_token")
        keep_path(self, "ca_file")

    def _settle_environment(self) -> None:
        own = [name for name in ("base_url", "authority") if getattr(self, name)]
        environment = self.environment or ("custom" if own else "prod")
        object.__setattr__(self, "environment", environment)
        require_one_of(self, "environment", get_args(Environment))
        if environment in PLACES:
            place = PLACES[environment]
            if any(getattr(self, name) != getattr(place, name) for name in own):
                raise ConfigurationError(f"environment={environment!r} has addresses of its own: leave it out, or {' and '.join(own)}")
        else:
            place = Place(self.base_url, self.authority)
            needs_authority = not self.token_url and not self.access_token
            for name in ("base_url", "authority") if needs_authority else ("base_url",):
                if not getattr(place, name):
                    raise ConfigurationError(f"{name} is not given: a custom environment needs base_url and authority")
        for name in ("base_url", "authority"):
            object.__setattr__(self, name, getattr(place, name).rstrip("/"))
        for name in ("base_url", "authority", "token_url"):
            if getattr(self, name):
                self._check_address(name)

    def _check_address(self, name: str) -> None:
        url = getattr(self, name)
        try:
            origin(url)
            safe_origin(url)
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error}") from None
        if "?" in url or "#" in url:
            raise ConfigurationError(f"{name} carries a query: give the address without it")

    def _settle_trade_platform(self) -> None:
        given = str(self.trade_platform).strip()
        if not given:
            return
        try:
            platform = str(UUID(given))
        except ValueError:
            raise ConfigurationError(
                f"trade_platform={given!r} is no GUID; the trade_platforms() of cplugin.open_rest lists the ids, such as "
                "00000000-0000-0000-0000-000000000000"
            ) from None
        object.__setattr__(self, "trade_platform", platform)

    def _check_credentials(self) -> None:
        require_text(self, "client_id", "client_secret", "access_token", "scope")
        for name in ("client_id", "client_secret"):
            if not getattr(self, name) and not self.access_token:
                raise ConfigurationError(f"{name} is empty; {_WHERE_FROM}")


_READERS: Final = readers(Config, "ssl_context", "clock")
