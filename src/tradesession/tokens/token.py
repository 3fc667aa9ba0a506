"""A Token, the slot it lives in, and what its age means.

Pure. A Token is what a Grant yielded: an access secret, mostly an expiry, often a refresh secret. It is frozen; a rotation makes a
new one with the next generation, and the generation is the fencing number that every store compares. The unit is the grant: one
Token serves all accounts, links and processes that share its Slot.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from tradesession.errors import ConfigurationError
from tradesession.options import is_text
from tradesession.secrets import Secret


class TokenState(enum.Enum):
    """What a Token is worth at a moment."""

    FRESH = "fresh"
    """Good, and not yet due for renewal."""
    STALE = "stale"
    """Good, but due for renewal in the background."""
    EXPIRED = "expired"
    """No longer good."""
    ABSENT = "absent"
    """There is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token with what belongs to it. Times are wall-clock seconds since 1970; None means that nothing was promised.

    `issued_at` is when the request for it was sent, not when the answer came: an expiry counted from there errs to the safe side.
    """

    access: Secret
    refresh: Secret | None = None
    issued_at: float | None = None
    expires_at: float | None = None
    refresh_expires_at: float | None = None
    scope: str | None = None
    token_type: str = "bearer"  # noqa: S105 - the OAuth name of a kind of token
    generation: int = 0

    def authorization(self) -> str:
        """The value of an Authorization header: the one place where the secret comes out for use."""
        return f"Bearer {self.access.reveal()}"

    def remaining(self, wall: float) -> float | None:
        """Seconds of life left at `wall`, negative when over; None when no expiry is known."""
        return None if self.expires_at is None else self.expires_at - wall

    @property
    def lifetime(self) -> float | None:
        """Seconds from issue to expiry; None when either is unknown."""
        if self.expires_at is None or self.issued_at is None:
            return None
        return self.expires_at - self.issued_at

    def successor(self, new: Token) -> Token:
        """`new` as the next generation; it keeps this refresh secret when the answer brought none (RFC 6749, section 6)."""
        kept = {} if new.refresh else {"refresh": self.refresh, "refresh_expires_at": self.refresh_expires_at}
        return replace(new, generation=self.generation + 1, **kept)  # type: ignore[arg-type]  # one dict of two field types


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """Where a Token lives: the key of its Grant. All processes that name the same slot share the token.

    `subject` is whose consent it is (for cTrader the cTID, or any name the user gives it), `slot` tells several grants of one
    subject apart.
    """

    platform: str
    environment: str
    client: str
    subject: str = "default"
    slot: str = "default"

    def __post_init__(self) -> None:
        for name in ("platform", "environment", "client", "subject", "slot"):
            if not getattr(self, name):
                raise ConfigurationError(f"the {name} of a token's slot is empty; name it")
            if not is_text(getattr(self, name)):
                raise ConfigurationError(f"the {name} of a token's slot holds bytes that are no UTF-8 text; name it anew")

    @property
    def key(self) -> str:
        """The slot as one printable string, for stores; `parse` reads it back."""
        parts = (self.platform, self.environment, self.client, self.subject, self.slot)
        return "/".join(quote(part, safe="") for part in parts)

    @classmethod
    def parse(cls, key: str) -> Slot:
        """The slot of a `key`. Raises ConfigurationError for anything else."""
        parts = key.split("/")
        if len(parts) != 5:
            raise ConfigurationError(f"{key!r} is no token slot; it has the form platform/environment/client/subject/slot")
        return cls(*(unquote(part) for part in parts))

    def __str__(self) -> str:
        return self.key
