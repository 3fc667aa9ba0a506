"""Config: everything that a B2Core and B2Trader session can be told, checked when it is made.

It holds secrets as `Secret`, so it may be printed. Nothing is contacted; files are read when the session connects.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tradesession import policy
from tradesession.b2core.grants import CODE_METHODS, B2Core, CodeMethod, device_fingerprint
from tradesession.b2core.lifetimes import expiry
from tradesession.b2core.platform import PlatformExchange
from tradesession.b2core.signin import AskCode, Credentials, SignIn
from tradesession.clock import Clock
from tradesession.errors import ConfigurationError
from tradesession.options import (
    keep_path,
    keep_secret,
    option_names,
    read_options,
    readers,
    refuse_unknown,
    require_above_zero,
    require_text,
)
from tradesession.protocol.http import Pairs
from tradesession.secrets import Secret, redact_url
from tradesession.session.services import ChildPlan, Services, TokenPlan
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.renewal import RenewalPolicy
from tradesession.tokens.store import TokenStore
from tradesession.tokens.token import Slot, Token
from tradesession.transports.http import HttpDriver, safe_origin

if TYPE_CHECKING:
    from tradesession.b2core.client import Session

PREFIX: Final = "TRADESESSION_B2CORE_"
"""What the environment variables of `Config.from_env` begin with."""

HUB_PATH: Final = "/frontoffice/ws/v4/account"
"""B2Trader's hub, relative to its address (B2TRADER documents)."""

CODE_TIMEOUT: Final = 120.0
"""How long a person may take to give a two-factor code: to find the telephone, and for the message to come."""

SIGN_IN_LIMIT: Final = 5 * policy.TOKEN_REQUEST_TIMEOUT + 10.0
"""What a refresh with a sign-in behind it may take beside that: each of its five requests as long as it may, so that none is cut off and
taken for lost, and a password sent a second time."""

DEVICE: Final = {"user_agent": "tradesession"}
"""What a sign-in says of the device; always the same, so that a broker that knows it does not ask again."""

_SECRETS: Final = ("password", "access_token", "refresh_token")
_ABOVE_ZERO: Final = ("connect_timeout", "request_timeout", "close_timeout", "code_timeout")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A broker's B2Core, a user or a bearer, and one B2Trader platform.

    `base_url` is the address of the broker's B2Core, `platform_id` the platform there. The user is signed in by `email` and `password`;
    `access_token` (with its `refresh_token`, if there is one) is a bearer that is used as long as it lasts, with or without credentials
    behind it. Secrets may be given as plain strings and are kept as `Secret`. Both levels of tokens rest in the token store, each in a slot
    of its own; `subject` tells several bearers without an email apart, `store` is the store or its URL (see `SessionManager`).

    `ask_code` is an async function that asks a person for a two-factor code, and has `code_timeout` seconds; `code_method` is preferred
    where the user has several. `device` is what the sign-in says of the device (see `grants.device_fingerprint`). `country_code` and
    `country_name` go along with the sign-in to the platform, as the broker wants them: the documents' example is `+995`, `Georgia`.

    `trader_urls` are the addresses of B2Trader, by default `base_url`. Replies name an address too: it chooses among these, and no other
    one is ever contacted. `hub_path` is the hub there; the documents open its socket without `negotiate`. `ca_file` (PEM) or `ssl_context`
    say which authorities to trust; http is for loopback only. Times are in seconds; the defaults and their reasons stand in
    `tradesession.policy` and in this module.

    Raises ConfigurationError, naming the option, for anything that cannot be meant.
    """

    base_url: str
    platform_id: int | str
    email: str = ""
    password: Secret | str | None = None
    access_token: Secret | str | None = None
    refresh_token: Secret | str | None = None
    ask_code: AskCode | None = field(default=None, repr=False, compare=False)
    code_method: CodeMethod = "google"
    device: Mapping[str, object] = field(default_factory=lambda: DEVICE)
    country_code: str = ""
    country_name: str = ""

    trader_urls: Sequence[str] = ()
    hub_path: str = HUB_PATH
    negotiate: bool = False
    ca_file: str | os.PathLike[str] | None = None
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    subject: str = "default"
    store: str | TokenStore | None = field(default=None, repr=False)  # a URL may hold a password

    connect_timeout: float = policy.CONNECT_TIMEOUT
    request_timeout: float = policy.REQUEST_TIMEOUT
    close_timeout: float = policy.CLOSE_TIMEOUT
    code_timeout: float = CODE_TIMEOUT
    clock: Clock | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        keep_secret(self, *_SECRETS)
        given = (self.trader_urls,) if isinstance(self.trader_urls, str) else tuple(self.trader_urls)
        object.__setattr__(self, "base_url", _address("base_url", self.base_url))
        object.__setattr__(self, "trader_urls", tuple(_address("trader_urls", url) for url in given) or (self.base_url,))
        object.__setattr__(self, "platform_id", str(self.platform_id))
        keep_path(self, "ca_file")
        self._check_texts()
        self._check_credentials()
        require_above_zero(self, *_ABOVE_ZERO)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Config:
        """A Config from the variables `TRADESESSION_B2CORE_…`, one for each option in upper case (`…_BASE_URL`, `…_EMAIL`, …).

        Lists are separated by commas. `options` go before the environment. Raises ConfigurationError for a variable with that prefix, or
        an option, that does not exist, and for one that cannot be read.
        """
        refuse_unknown("b2core.Config", options, option_names(cls))
        found = read_options(os.environ if environ is None else environ, PREFIX, _READERS) | options
        for name, what in (
            ("base_url", "the address of the broker's B2Core"),
            ("platform_id", "the number of the B2Trader platform in B2Core"),
        ):
            if not found.get(name):
                raise ConfigurationError(f"{PREFIX}{name.upper()} is not set; it is {what}")
        return cls(**found)

    def replace(self, **changes: Any) -> Config:
        """A copy with these options changed, checked anew."""
        return replace(self, **changes)

    @property
    def slot(self) -> Slot:
        """Where the platform's pair lives."""
        return self._slot(f"platform-{self.platform_id}")

    @property
    def parent_slot(self) -> Slot:
        """Where the bearer of B2Core's user lives; all platforms of the user share it."""
        return self._slot("user")

    @property
    def geo(self) -> Pairs:
        """The headers about the country."""
        pairs = (("Geo-Country-Code", self.country_code), ("Geo-Country-Name", self.country_name))
        return tuple(pair for pair in pairs if pair[1])

    def token_plan(self, clock: Clock) -> ChildPlan:
        """For a SessionManager: the user's bearer, and the platform's pair under it."""
        core = B2Core(self.base_url)
        driver = self.driver([self.base_url], clock, policy.TOKEN_REQUEST_TIMEOUT)
        limit = SIGN_IN_LIMIT + (self.code_timeout if self.ask_code is not None else 0.0)

        def child(parent: TokenKeeper) -> TokenPlan:
            driver = self.driver([self.base_url], clock)  # of its own: the parent's may be another configuration's
            exchange = PlatformExchange(
                core, str(self.platform_id), parent, driver, geo=self.geo, trader_urls=self.trader_urls, clock=clock
            )
            numbers = RenewalPolicy(exchange_limit=limit + policy.EXCHANGE_LIMIT)
            return TokenPlan(slot=self.slot, exchange=exchange, seed=None, is_stored=True, aclose=driver.aclose, numbers=numbers)

        sign_in = SignIn(core, self._credentials(), device_fingerprint(self.device), driver, clock=clock)
        parent = TokenPlan(
            slot=self.parent_slot,
            exchange=sign_in,
            seed=self._seed(),
            is_stored=True,
            aclose=driver.aclose,
            numbers=RenewalPolicy(exchange_limit=limit),
        )
        return ChildPlan(parent=parent, child=child)

    def create_session(self, services: Services) -> Session:
        """For a SessionManager: the session of this configuration, not yet started."""
        from tradesession.b2core.client import Session

        return Session(self, services)

    def driver(self, urls: Sequence[str], clock: Clock, timeout: float | None = None) -> HttpDriver:
        """An HTTP driver for these addresses, and for no other. `timeout` is by default that of a request."""
        seconds = self.request_timeout if timeout is None else timeout
        return HttpDriver(urls, ca_file=self.ca_file, ssl_context=self.ssl_context, clock=clock, timeout=seconds)

    # --- inside -----------------------------------------------------------------------------------------------------------------------

    def _slot(self, name: str) -> Slot:
        parts = urlsplit(self.base_url)
        # A bearer that is given is the newest there is: what the store has of an older one must not stand in its way.
        client = self.email or f"bearer-{Secret(self.access_token or '').fingerprint}"
        return Slot("b2core", f"{parts.netloc}{parts.path}", client, self.subject, name)

    def _credentials(self) -> Credentials | None:
        if not self.password:
            return None
        return Credentials(
            email=self.email,
            password=Secret(self.password),
            ask_code=self.ask_code,
            method=self.code_method,
            code_timeout=self.code_timeout,
        )

    def _seed(self) -> Token | None:
        if not self.access_token:
            return None
        access = Secret(self.access_token)
        return Token(
            access=access,
            refresh=Secret(self.refresh_token) if self.refresh_token else None,
            expires_at=expiry(access.reveal()),
        )

    def _check_texts(self) -> None:
        require_text(self, "platform_id", "email", "country_code", "country_name", "subject", *_SECRETS)
        for name in ("country_code", "country_name"):
            if not (getattr(self, name).isascii() and getattr(self, name).isprintable()):
                raise ConfigurationError(f"{name} travels in a header, which takes printable ASCII only")
        if not self.platform_id:
            raise ConfigurationError("platform_id is empty; it is the platform's number in B2Core (GET /api/v2/my/platforms lists them)")
        if not self.hub_path.startswith("/") or self.hub_path.startswith("//"):
            raise ConfigurationError(f"hub_path={self.hub_path!r} is no path; it begins with one / and is relative to trader_urls")
        if self.code_method not in CODE_METHODS:
            raise ConfigurationError(f"code_method={self.code_method!r} is none of {', '.join(CODE_METHODS)}")
        if not self.device.get("user_agent"):
            raise ConfigurationError("device has no user_agent, which B2Core demands of a device fingerprint")

    def _check_credentials(self) -> None:
        if bool(self.email) != bool(self.password) and not (self.email and self.access_token):
            missing = "password" if self.email else "email"
            raise ConfigurationError(f"{missing} is missing: a sign-in takes email and password; with access_token neither is needed")
        if not self.password and not self.access_token:
            raise ConfigurationError("there is nothing to sign in with: give email and password, or access_token")
        if self.refresh_token and not self.access_token:
            raise ConfigurationError("refresh_token without access_token: give the pair")


def _address(option: str, url: str) -> str:
    """An address that secrets may go to, without a slash at its end."""
    if not url:
        raise ConfigurationError(f"{option} is empty; it is the address of the broker's server, such as https://my.broker.example")
    safe_origin(url)
    if "?" in url or "#" in url:
        raise ConfigurationError(
            f"{option} {redact_url(url)} carries a query or a fragment; it is the part before the paths of the interface"
        )
    return url.rstrip("/")


_READERS: Final = readers(Config, "ssl_context", "clock", "ask_code", "device")
