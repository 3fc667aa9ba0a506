"""Who there is, and what was handed out: one user, sign-ins under way, bearers, pairs, accounts and orders; and counters for assertions.

No sockets, no tasks. Always holds: a token is good until its time, or until it was ended; a single-use refresh token shown again ends
the pairs that came of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tradesession.clock import Clock
from tradesession.sandbox.b2core.settings import Faults, Settings

EMAIL: Final = "trader@example.com"
PLATFORM_ID: Final = 1
OTHER_PLATFORM_ID: Final = 2
"""A platform that is no B2Trader."""
WINDOW: Final = 60.0
"""Seconds within which wrong passwords are counted together."""


class Refused(Exception):
    """A request that is answered with this status and text."""

    def __init__(self, status: int, message: str, issue: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.issue = issue
        self.retry_after = retry_after


@dataclass(slots=True)
class SignIn:
    """A sign-in under way. `wants` is empty before the password, then the second factor: a method, or `choose`."""

    uuid: str
    wants: str = ""
    fingerprint: str = ""
    code: str = ""


@dataclass(slots=True)
class Bearer:
    """B2Core's bearer with its refresh token. Times are wall-clock seconds."""

    access: str
    refresh: str
    created_at: float
    expires_at: float
    refresh_expires_at: float
    fingerprint: str


@dataclass(slots=True, eq=False)
class Pair:
    """A platform's pair. `is_spent` says that its refresh token was used."""

    access: str
    refresh: str
    expires_at: float
    lineage: int
    is_spent: bool = False


@dataclass(slots=True)
class State:
    """One broker's B2Core with its B2Trader."""

    seed: int
    clock: Clock
    settings: Settings
    faults: Faults
    email: str = EMAIL
    password: str = ""
    accounts: list[dict[str, Any]] = field(default_factory=list)
    orders: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Open orders by account."""
    positions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Open positions by account."""
    requests: Counter[str] = field(default_factory=Counter)
    """How often each method and path was asked."""
    passwords: list[str] = field(default_factory=list)
    """Every password that was shown, in order."""
    codes: list[str] = field(default_factory=list)
    """Every two-factor code that is due now or was; a person would read it from a telephone."""
    unauthorized: int = 0
    """Requests of B2Trader, its hub's too, that had no good token."""
    _random: random.Random = field(init=False, repr=False)
    _sign_ins: dict[str, SignIn] = field(default_factory=dict, repr=False)
    _bearers: dict[str, Bearer] = field(default_factory=dict, repr=False)
    _pairs: dict[str, Pair] = field(default_factory=dict, repr=False)
    _refreshes: dict[str, Pair] = field(default_factory=dict, repr=False)
    _wrong: list[float] = field(default_factory=list, repr=False)
    _locked_until: float = -1.0
    _listeners: list[Callable[[str], None]] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(f"{self.seed} b2core")
        self.password = f"correct-{self._hex(8)}"
        for number, kind in enumerate(("Hedging", "Netting"), start=1):
            account = self._hex(12)
            self.accounts.append(
                {
                    "accountId": account,
                    "publicAccountId": 1_234_566 + number,
                    "accountName": f"Sandbox {kind} account",
                    "accountType": kind,
                    "totalBalanceInRAT": f"{6020.12 * number:.2f}",
                    "isCopyTradingAccount": False,
                }
            )
            self.orders[account] = []
            self.positions[account] = [
                {"positionId": self._hex(13).upper(), "marketId": "cfd.eur_chf", "side": "Buy", "status": "Open", "openPrice": "0.96304"}
            ]

    # --- the sign-in ---

    def begin(self) -> SignIn:
        """A wizard."""
        number = uuid.UUID(int=1) if self.faults.same_uuid else uuid.UUID(int=self._random.getrandbits(128), version=4)
        sign_in = SignIn(str(number))
        if not self.faults.wrong_uuid:
            known = self._sign_ins.setdefault(sign_in.uuid, sign_in)
            known.wants = known.wants if self.faults.same_uuid else ""
        return sign_in

    def sign_in(self, ident: str, email: str, password: str, fingerprint: str) -> SignIn:
        """Email and password. What is wanted next stands in the result; empty for nothing more."""
        now = self.clock.monotonic()
        sign_in = self._sign_in(ident)
        if now < self._locked_until:
            raise Refused(429, "Too many attempts.", retry_after=self._locked_until - now)
        self.passwords.append(password)
        if "user_agent" not in _fingerprint(fingerprint):
            raise Refused(422, "The device fingerprint is invalid.", "device_fingerprint")
        if (email, password) != (self.email, self.password):
            self._wrong = [*(at for at in self._wrong if at > now - WINDOW), now]
            if len(self._wrong) >= self.settings.tries:
                self._locked_until = now + self.settings.lockout
            raise Refused(401, "These credentials do not match our records.", "email")
        sign_in.fingerprint = fingerprint
        sign_in.wants = "choose" if self.settings.two_factor == "both" else self.settings.two_factor
        if sign_in.wants not in ("", "choose"):
            self._send_code(sign_in)
        return sign_in

    def choose(self, ident: str, method: str) -> SignIn:
        """Which second factor."""
        sign_in = self._sign_in(ident)
        if sign_in.wants != "choose" or method not in ("google", "sms"):
            raise Refused(422, "The method cannot be chosen.", "type")
        sign_in.wants = method
        self._send_code(sign_in)
        return sign_in

    def code(self, ident: str, method: str, code: str) -> SignIn:
        """The second factor's code."""
        sign_in = self._sign_in(ident)
        if sign_in.wants != method or code != sign_in.code:
            raise Refused(422, "The code is invalid.", "code")
        sign_in.wants = ""
        return sign_in

    def finish(self, sign_in: SignIn) -> Bearer:
        """The bearer at the end of a sign-in, whose uuid is used up then."""
        self._sign_ins.pop(sign_in.uuid, None)
        return self.bearer(sign_in.fingerprint)

    def _sign_in(self, ident: str) -> SignIn:
        if ident not in self._sign_ins:
            raise Refused(422, "The wizard is not known.", "uuid")
        return self._sign_ins[ident]

    def _send_code(self, sign_in: SignIn) -> None:
        sign_in.code = f"{self._random.randrange(1_000_000):06}"
        self.codes.append(sign_in.code)

    # --- bearers ---

    def bearer(self, fingerprint: str = "", refresh: str = "") -> Bearer:
        """A new bearer of the user."""
        now = self.clock.wall()
        life = self.settings.bearer_life
        access = self._hex(24) if self.settings.opaque_bearer else self._jwt(now, life)
        bearer = Bearer(access, refresh or self._hex(24), now, now + life, now + self.settings.bearer_refresh_life, fingerprint)
        self._bearers[access] = bearer
        return bearer

    def refresh_bearer(self, refresh: str, fingerprint: str) -> Bearer:
        """Another bearer; the old refresh token is used up, unless the new one is null."""
        now = self.clock.wall()
        old = next((one for one in self._bearers.values() if one.refresh == refresh and now < one.refresh_expires_at), None)
        if old is None or old.fingerprint not in ("", fingerprint):
            raise Refused(401, "The refresh token is invalid.")
        del self._bearers[old.access]
        return self.bearer(fingerprint, refresh if self.settings.bearer_refresh_null else "")

    def check_bearer(self, authorization: str) -> None:
        """The bearer of an Authorization header. Refused with 401."""
        if not self.is_good_bearer(_token(authorization)):
            raise Refused(401, "Unauthenticated.")

    def is_good_bearer(self, access: str) -> bool:
        """Whether B2Core takes this bearer now."""
        bearer = self._bearers.get(access)
        return bearer is not None and self.clock.wall() < bearer.expires_at

    def end_bearers(self, *, refresh_too: bool = False) -> None:
        """B2Core takes none of its bearers any more; with `refresh_too` they cannot be refreshed either."""
        now = self.clock.wall()
        for bearer in self._bearers.values():
            bearer.expires_at = now
            if refresh_too:
                bearer.refresh_expires_at = now

    # --- pairs ---

    def pair(self, platform: int, geo: tuple[str, str]) -> Pair:
        """A first pair of a platform."""
        self._check_platform(platform)
        if self.settings.geo_required and not all(geo):
            raise Refused(422, "The country is required.", "Geo-Country-Code")
        return self._pair(lineage=self._random.getrandbits(32))

    def refresh_pair(self, platform: int, refresh: str) -> Pair:
        """The next pair. A used refresh token ends everything that came of it."""
        self._check_platform(platform)
        old = self._refreshes.get(refresh)
        if old is None or self.clock.wall() >= old.expires_at:
            raise Refused(400, "The refresh token is invalid.", "refreshToken")
        if old.is_spent and self.settings.single_use:
            for pair in [one for one in self._pairs.values() if one.lineage == old.lineage]:
                pair.expires_at = self.clock.wall()
            raise Refused(400, "The refresh token was used before.", "refreshToken")
        old.is_spent = True
        return self._pair(old.lineage)

    def is_good(self, access: str) -> bool:
        """Whether B2Trader takes this token now; what it does not take is counted."""
        pair = self._pairs.get(access)
        good = pair is not None and self.clock.wall() < pair.expires_at
        self.unauthorized += not good
        return good

    def expires_at(self, access: str) -> float:
        """When a good token ends."""
        return self._pairs[access].expires_at

    def end_pairs(self) -> None:
        """B2Trader takes none of its tokens any more, and none can be refreshed."""
        for pair in self._pairs.values():
            pair.expires_at = self.clock.wall()

    def _pair(self, lineage: int) -> Pair:
        now = self.clock.wall()
        access = self._jwt(now, self.settings.jwt_life or self.settings.pair_life)
        refresh = access if self.settings.identical_pair else self._hex(24)
        pair = Pair(access, refresh, now + self.settings.pair_life, lineage)
        self._pairs[access] = self._refreshes[refresh] = pair
        return pair

    def _check_platform(self, platform: int) -> None:
        if platform == OTHER_PLATFORM_ID:
            raise Refused(422, "This platform cannot be signed in to.", "platformId")
        if platform != PLATFORM_ID:
            raise Refused(404, "The platform is not known.")

    # --- trading ---

    def place(self, order: dict[str, Any]) -> dict[str, Any]:
        """Take an order."""
        account = order.get("accountId")
        if account not in self.orders:
            raise Refused(404, "The account is not known.", "accountId")
        placed = {
            "orderId": self._hex(13).upper(),
            "marketId": order.get("marketId", "cfd.eur_usd"),
            "side": order.get("side", "Buy"),
            "orderType": order.get("orderType", "Limit"),
            "requestedAmount": str(order.get("requestedAmount", "1000")),
            "requestedPrice": str(order.get("requestedPrice", "1")),
            "status": "Working",
        }
        self.orders[account].append(placed)
        self._changed(account)
        return placed

    def amend(self, ident: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change the price or the amount of an order."""
        account, order = self._order(ident)
        order.update({name: str(changes[name]) for name in ("requestedPrice", "requestedAmount") if name in changes})
        self._changed(account)
        return order

    def cancel(self, ident: str) -> dict[str, Any]:
        """Take an order back."""
        account, order = self._order(ident)
        self.orders[account].remove(order)
        self._changed(account)
        return order | {"status": "Cancelled"}

    def _order(self, ident: str) -> tuple[str, dict[str, Any]]:
        for account, orders in self.orders.items():
            for order in orders:
                if order["orderId"] == ident:
                    return account, order
        raise Refused(404, "The order is not known.", "orderId")

    def _changed(self, account: str) -> None:
        for tell in list(self._listeners):
            tell(account)

    def on_change(self, tell: Callable[[str], None]) -> Callable[[], None]:
        """Hear of accounts whose orders change; the way to stop hearing."""
        self._listeners.append(tell)
        return lambda: self._listeners.remove(tell)

    # --- inside ---

    def _hex(self, size: int) -> str:
        return self._random.randbytes(size).hex()

    def _jwt(self, now: float, life: float) -> str:
        """A token in the form of a JWT; nobody but this server looks at its signature."""
        claims = {"sub": "1", "iat": int(now), "exp": int(now + life), "iss": "https://sandbox.example", "n": self._hex(4)}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "HS256"}, claims))
        return f"{signed}.{_encoded(hmac.digest(b'sandbox', signed.encode(), hashlib.sha256))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _fingerprint(text: str) -> dict[str, Any]:
    try:
        found = json.loads(base64.b64decode(text, validate=True))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token if scheme.lower() == "bearer" else ""
