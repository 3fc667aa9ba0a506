"""Who and what exists on the sandbox's cTrader: applications, cTIDs, accounts, grants and codes, and what becomes of them.

Pure: no sockets, no tasks; time comes from a clock, randomness from a seed. Always holds: a refresh token is exchanged at most
once, an access token belongs to one grant, and whoever listens hears of every access token that dies before its time.
"""

from __future__ import annotations

import base64
import ipaddress
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from tradesession.clock import Clock
from tradesession.sandbox.ctrader.records import Asked, Closing, Invalidation
from tradesession.sandbox.ctrader.refusal import GrantRefused, Refusal
from tradesession.sandbox.ctrader.settings import Settings

Scope = Literal["accounts", "trading"]
SCOPES: Final[tuple[Scope, ...]] = ("accounts", "trading")

ACCESS_TOKEN_LIFETIME: Final = 2_628_000
"""Seconds; 30.4 days (section 7)."""

CODE_LIFETIME: Final = 60.0
"""Seconds; an authorization code is good for one minute and one exchange (section 7)."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker. Symbols have ids of the broker's own, from `first_symbol_id` on: ids of one mean nothing at another."""

    title: str
    name: str
    first_symbol_id: int


ALPHA: Final = Broker("Alpha Markets", "alphamarkets", 1)
BETA: Final = Broker("Beta Trade", "betatrade", 501)


@dataclass(slots=True)
class Application:
    """A registered program. `active` is false until its operator has approved it."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: list[str]
    name: str = "Sandbox bot"
    active: bool = True


@dataclass(slots=True, eq=False)
class Ctid:
    """A person's cTrader ID with its trading accounts."""

    user_id: int
    accounts: list[Account] = field(default_factory=list, repr=False)


@dataclass(slots=True, eq=False)
class Account:
    """A trading account. `refusal` is an error code with which its authentication is refused, or empty."""

    id: int
    login: int
    is_live: bool
    broker: Broker
    ctid: Ctid = field(repr=False)
    balance: int = 0
    """In cents."""
    balance_version: int = 1
    """Grows with every change of the balance."""
    refusal: str = ""


@dataclass(slots=True, eq=False)
class Grant:
    """What one consent gave, with its present pair of tokens. `account_ids` None means every account of the cTID."""

    application: Application
    ctid: Ctid
    scope: Scope
    account_ids: frozenset[int] | None
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    expires_at: float
    """On the monotonic clock."""
    rotations: int = 0
    revoked: bool = False

    @property
    def accounts(self) -> list[Account]:
        """The accounts that the token opens, demo and live."""
        return [account for account in self.ctid.accounts if self.account_ids is None or account.id in self.account_ids]


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code that waits for its exchange."""

    application: Application
    ctid: Ctid
    scope: Scope
    account_ids: frozenset[int]
    redirect_uri: str
    expires_at: float


LOGGED: Final = 2_000
"""Requests that the log holds; older ones go."""


class State:
    """The world of one sandbox. Counters are there for assertions; the `add_…` methods may be called at any time."""

    def __init__(self, seed: int, clock: Clock, settings: Settings) -> None:
        self._clock = clock
        self._settings = settings
        self._numbers = random.Random(f"{seed}:numbers")
        self._tokens = random.Random(f"{seed}:tokens")
        self._used_numbers: set[int] = set()
        self.applications: dict[str, Application] = {}
        self.accounts: dict[int, Account] = {}
        self.grants: list[Grant] = []
        self.exchanges: Counter[str] = Counter()
        """How often each refresh token was presented, whether it was good or not."""
        self.rotations = 0
        """How many refreshes succeeded."""
        self.requests: Counter[str] = Counter()
        """How many messages of each name arrived, heartbeats too, over all connections."""
        self.log: deque[Asked] = deque(maxlen=LOGGED)
        """The latest requests that could be read, in the order of their arrival, heartbeats not among them."""
        self.opened = 0
        """How many connections got as far as their first byte inside TLS."""
        self.failed_handshakes = 0
        """How many connections did not get that far."""
        self.closings: list[Closing] = []
        """How each connection that is gone ended, in order."""
        self._by_access: dict[str, Grant] = {}
        self._by_refresh: dict[str, Grant] = {}
        self._codes: dict[str, Code] = {}
        self._listeners: list[Callable[[Invalidation], None]] = []

    # --- making the world ---

    def add_application(self, redirect_uris: Iterable[str] = (), *, active: bool = True) -> Application:
        """Register a program."""
        client_id = f"{self._number(1000, 9999)}_{self._token()[:40]}"
        application = Application(client_id, self._token(), list(redirect_uris), active=active)
        self.applications[client_id] = application
        return application

    def add_ctid(self) -> Ctid:
        """Another person, without accounts."""
        return Ctid(self._number(1_000_000, 9_999_999))

    def add_account(self, ctid: Ctid, *, is_live: bool = False, broker: Broker = ALPHA, refusal: str = "") -> Account:
        """Another account of that person."""
        login = self._number(1_000_000, 9_999_999)
        account = Account(self._number(20_000_000, 49_999_999), login, is_live, broker, ctid, self._numbers.randrange(100_000, 9_999_999))
        account.refusal = refusal
        ctid.accounts.append(account)
        self.accounts[account.id] = account
        return account

    # --- grants ---

    def add_grant(
        self,
        application: Application,
        ctid: Ctid,
        scope: Scope = "trading",
        account_ids: Iterable[int] | None = None,
        expires_in: int = ACCESS_TOKEN_LIFETIME,
    ) -> Grant:
        """A grant as a consent would have given it, with a fresh pair."""
        grant = Grant(
            application,
            ctid,
            scope,
            None if account_ids is None else frozenset(account_ids),
            access_token=self._token(),
            refresh_token=self._token(),
            expires_in=expires_in,
            expires_at=self._clock.monotonic() + expires_in,
        )
        self.grants.append(grant)
        self._index(grant)
        return grant

    def add_code(self, application: Application, ctid: Ctid, scope: Scope, account_ids: Iterable[int], redirect_uri: str) -> str:
        """A code for a consent that was just given."""
        code = self._token()
        deadline = self._clock.monotonic() + CODE_LIFETIME
        self._codes[code] = Code(application, ctid, scope, frozenset(account_ids), redirect_uri, deadline)
        return code

    def exchange_code(self, code: str, redirect_uri: str, application: Application) -> Grant:
        """The grant behind a code. GrantRefused when it is used, late, unknown, another application's or another redirect's."""
        known = self._codes.pop(code, None)
        if known is None or known.application is not application:
            raise GrantRefused("invalid_grant", "The authorization code is unknown or was used before")
        if self._clock.monotonic() >= known.expires_at:
            raise GrantRefused("invalid_grant", "The authorization code has expired")
        if redirect_uri != known.redirect_uri:
            raise GrantRefused("invalid_grant", "The redirect_uri is not the one that the code was sent to")
        if self._settings.consent_ends_refresh_token:
            for grant in self.grants:
                if grant.application is application and grant.ctid is known.ctid:
                    self._by_refresh.pop(grant.refresh_token, None)
        return self.add_grant(application, known.ctid, known.scope, known.account_ids)

    def refresh(self, refresh_token: str, application: Application | None) -> tuple[Grant, Invalidation]:
        """Rotate the pair: both old tokens are dead from here on, and the caller announces it. GrantRefused for a token not good now.

        `application` None is a connection that has not said whose it is; any grant may be refreshed there.
        """
        self.exchanges[refresh_token] += 1
        grant = self._by_refresh.get(refresh_token)
        if grant is None or grant.revoked or (application is not None and grant.application is not application):
            raise GrantRefused("invalid_grant", "The refresh token is unknown or was used before")
        self._unindex(grant)
        death = Invalidation(grant.access_token, "Access token was refreshed")
        grant.access_token, grant.refresh_token = self._token(), self._token()
        grant.expires_at = self._clock.monotonic() + grant.expires_in
        grant.rotations += 1
        self.rotations += 1
        self._index(grant)
        return grant, death

    def revoke(self, grant: Grant) -> None:
        """End a grant as its person does on the cTID pages: both tokens die, and no refresh brings them back."""
        grant.revoked = True
        self._unindex(grant)
        self.announce(Invalidation(grant.access_token, "Access token was revoked"))

    def grant_of(self, access_token: str, application: Application | None = None) -> Grant:
        """The grant that an access token stands for. Refusal when it is dead, expired, or another application's."""
        grant = self._by_access.get(access_token)
        if grant is None or (application is not None and grant.application is not application):
            raise Refusal("CH_ACCESS_TOKEN_INVALID", "Access token is invalid")
        if self._clock.monotonic() >= grant.expires_at:
            raise Refusal(self._settings.expired_code, "Access token has expired")
        return grant

    def on_invalidation(self, listener: Callable[[Invalidation], None]) -> None:
        """Call `listener` for every access token that dies."""
        self._listeners.append(listener)

    def announce(self, death: Invalidation) -> None:
        """Tell every listener."""
        for listener in self._listeners:
            listener(death)

    # --- redirects ---

    def accepts_redirect(self, application: Application, uri: str) -> bool:
        """Whether consent may send its code there: a registered URI, or a registered loopback one with any port (RFC 8252, 7.3)."""
        return any(uri == known or _same_but_for_the_port(uri, known) for known in application.redirect_uris)

    # --- numbers and tokens, repeatable by the seed ---

    def _number(self, low: int, high: int) -> int:
        while (number := self._numbers.randint(low, high)) in self._used_numbers:
            pass
        self._used_numbers.add(number)
        return number

    def _token(self) -> str:
        return base64.urlsafe_b64encode(self._tokens.randbytes(32)).rstrip(b"=").decode()

    def _index(self, grant: Grant) -> None:
        self._by_access[grant.access_token] = grant
        self._by_refresh[grant.refresh_token] = grant

    def _unindex(self, grant: Grant) -> None:
        self._by_access.pop(grant.access_token, None)
        self._by_refresh.pop(grant.refresh_token, None)


def _same_but_for_the_port(uri: str, registered: str) -> bool:
    try:
        ours, theirs = urlsplit(registered), urlsplit(uri)
        _ = theirs.port  # raises ValueError when it is no number
        if ours.scheme != "http" or not ipaddress.ip_address(ours.hostname or "").is_loopback:
            return False
    except ValueError:
        return False
    return (ours.scheme, ours.hostname, ours.path, ours.query, "", None) == (
        theirs.scheme,
        theirs.hostname,
        theirs.path,
        theirs.query,
        theirs.fragment,
        theirs.username,
    )
