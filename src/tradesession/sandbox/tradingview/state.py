"""What the sandboxed broker knows: credential sets, tokens, and counters for assertions.

No sockets, no tasks. Always holds: a token belongs to one credential set, and a refresh token that was rotated is never taken again
unless `settings.rotation` says so.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tradesession.clock import Clock
from tradesession.sandbox.tradingview.faults import Faults
from tradesession.sandbox.tradingview.settings import Settings

_REMEMBERED: Final = 10_000
"""Spent refresh tokens and assertions that are remembered."""


class TokenDenied(Exception):
    """No token. `error` is the RFC 6749 name of the reason, `code` our own, which tells every reason apart."""

    def __init__(self, error: str, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.error = error
        self.code = code
        self.description = description


@dataclass(slots=True, eq=False)
class Credential:
    """One of the four sets that a broker hands to TradingView: what PasswordBearer needs, and what ServerOAuth2Bearer needs."""

    slot: int
    login: str
    password: str = field(repr=False)
    app_url: str
    user_id: str
    client_id: str
    client_secret: str = field(repr=False)
    grant_type: str
    """The name that the broker picked: RFC 7523's, which clients send by default. May be changed."""
    certificate: bytes = b""
    """In DER; empty until a key was made, which takes a while and not every test needs."""


@dataclass(slots=True, eq=False)
class Session:
    """What one login or one assertion opened: a family of tokens that a refresh continues."""

    credential: Credential
    by_assertion: bool
    """Whether an assertion opened it; then a refresh takes the client's id and secret."""
    refresh_token: str = field(default="", repr=False)
    refresh_until: float = 0.0
    access_tokens: list[str] = field(default_factory=list, repr=False)
    ended: bool = False


@dataclass(slots=True, eq=False)
class Issued:
    """A token as it is handed out. Times are on the server's wall clock."""

    session: Session
    access_token: str = field(repr=False)
    access_lifetime: int
    expires_at: float
    refresh_token: str = field(repr=False)
    refresh_lifetime: int


class State:
    """Made and owned by the server. Everything may be looked at; `end` and `expire` may be called at any time."""

    def __init__(self, seed: int, clock: Clock, settings: Settings, faults: Faults) -> None:
        self._clock = clock
        self._settings = settings
        self._faults = faults
        self._random = random.Random(f"{seed}:tradingview")
        self._duplicate = self._token()
        self.credentials = [self._credential(slot) for slot in range(1, 5)]
        """The four sets."""
        self.requests: Counter[str] = Counter()
        """Requests by method and path, whatever became of them."""
        self.denials: Counter[str] = Counter()
        """Tokens that were not given, by the code of the reason."""
        self.issued = 0
        """Tokens that were given."""
        self.refreshes = 0
        """Those of them that a refresh token was spent for."""
        self.unauthorized = 0
        """Requests for data that were answered with 401."""
        self.spellings: Counter[str] = Counter()
        """How thumbprints were spelled."""
        self.sessions: list[Session] = []
        """Those that are alive, oldest first."""
        self.on_end: list[Callable[[Session], None]] = []
        """Called when a session ends before its time."""
        self._tokens: dict[str, tuple[Session, float]] = {}
        self._refresh: dict[str, Session] = {}
        self._spent: dict[str, Session] = {}
        self._assertions: dict[bytes, None] = {}

    def wall(self) -> float:
        """The server's own idea of the time."""
        return self._clock.wall() + self._faults.clock_offset

    # --- giving tokens ---

    def log_in(self, login: str, password: str) -> Issued:
        """By name and password. TokenDenied when they do not belong together."""
        for credential in self.credentials:
            if credential.login == login and (credential.password == password or self._faults.any_password):
                return self.open(credential, by_assertion=False)
        raise TokenDenied("invalid_grant", "password_wrong", "Login or password is wrong")

    def open(self, credential: Credential, *, by_assertion: bool) -> Issued:
        """A new session with its first pair."""
        if self._faults.single_session:
            for other in [session for session in self.sessions if session.credential is credential]:
                self.end(other)
        session = Session(credential, by_assertion)
        self.sessions = [known for known in self.sessions if known.refresh_until > self.wall() or self._alive(known)]
        self.sessions.append(session)
        return self._issue(session)

    def refresh(self, refresh_token: str, client: Credential | None) -> Issued:
        """Continue a session. TokenDenied for a refresh token that is not good now."""
        if refresh_token in self._spent:
            if self._settings.rotation == "revoke":
                self.end(self._spent[refresh_token])
            raise TokenDenied("invalid_grant", "refresh_token_spent", "The refresh token was used before")
        session = self._refresh.get(refresh_token)
        if session is None or session.ended or (session.credential is not client if client or session.by_assertion else False):
            raise TokenDenied("invalid_grant", "refresh_token_unknown", "The refresh token is unknown")
        if self.wall() >= session.refresh_until:
            raise TokenDenied("invalid_grant", "refresh_token_expired", "The refresh token has expired")
        if self._settings.overlap >= 0:
            for token in self._alive(session):
                known, until = self._tokens[token]
                self._tokens[token] = known, min(until, self.wall() + self._settings.overlap)
        self.refreshes += 1
        return self._issue(session)

    def _issue(self, session: Session) -> Issued:
        now, settings = self.wall(), self._settings
        access = self._duplicate if self._faults.duplicate_token else self._token()
        self._tokens[access] = session, now + settings.access_lifetime
        _forget(self._tokens)
        session.access_tokens = [*self._alive(session), access]
        if settings.rotation != "off" or not session.refresh_token:
            if session.refresh_token:
                self._refresh.pop(session.refresh_token, None)
                self._spent[session.refresh_token] = session
                _forget(self._spent)
            session.refresh_token = self._token()
            self._refresh[session.refresh_token] = session
        session.refresh_until = now + settings.refresh_lifetime
        self.issued += 1
        return Issued(
            session, access, settings.access_lifetime, now + settings.access_lifetime, session.refresh_token, settings.refresh_lifetime
        )

    # --- using them ---

    def session_of(self, access_token: str) -> tuple[Session, float] | None:
        """Whose token it is and when it expires, on the server's wall clock; None for one that is not good now."""
        session, until = self._tokens.get(access_token, (None, 0.0))
        if session is None or session.ended or (self.wall() >= until and not self._faults.immortal_tokens):
            return None
        return session, until

    def expire(self, credential: Credential | None = None) -> int:
        """Let every access token expire now, of one credential set or of all; refresh tokens live on. Gives back how many."""
        hit = [token for token, (session, _) in self._tokens.items() if credential in (None, session.credential)]
        for token in hit:
            self._tokens[token] = self._tokens[token][0], self.wall()
        return len(hit)

    def end(self, session: Session) -> None:
        """End a session: all its tokens die, and its streams are closed."""
        if session.ended:
            return
        session.ended = True
        self.sessions = [known for known in self.sessions if known is not session]
        for token in session.access_tokens:
            self._tokens.pop(token, None)
        self._refresh.pop(session.refresh_token, None)
        for listener in self.on_end:
            listener(session)

    def is_replay(self, assertion: str) -> bool:
        """Whether this very assertion was seen before; it is remembered from now on."""
        digest = hashlib.sha256(assertion.encode()).digest()
        seen = digest in self._assertions
        self._assertions[digest] = None
        _forget(self._assertions)
        return seen

    def _alive(self, session: Session) -> list[str]:
        """The access tokens of a session that have not expired."""
        return [token for token in session.access_tokens if token in self._tokens and self._tokens[token][1] > self.wall()]

    # --- repeatable by the seed ---

    def _credential(self, slot: int) -> Credential:
        return Credential(
            slot,
            login=f"tradingview-{slot}",
            password=self._token(),
            app_url=f"https://tradingview-{slot}.example",
            user_id=f"user-{slot}",
            client_id=f"client-{slot}-{self._random.randbytes(4).hex()}",
            client_secret=self._token(),
            grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer",
        )

    def _token(self) -> str:
        return base64.urlsafe_b64encode(self._random.randbytes(32)).rstrip(b"=").decode()


def _forget(known: dict[Any, Any]) -> None:
    while len(known) > _REMEMBERED:
        del known[next(iter(known))]
