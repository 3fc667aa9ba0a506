"""What a store holds of a slot: as its users see it (StoredGrant), and as engines keep it (Row, Write).

Pure. Frozen values, and nothing that acts.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from tradesession import policy
from tradesession.tokens.token import Token

ROOT: Final = "="
"""Stands in a lineage before the fingerprint of a token that came from outside: a consent, an import, a configuration."""

REMOVED: Final = "removed"
"""The status of a row of which only the fencing number is left."""


class GrantStatus(enum.Enum):
    """What is known of a stored grant."""

    USABLE = "usable"
    """Nothing speaks against its refresh token."""
    EXCHANGING = "exchanging"
    """An exchange of its refresh token was begun and has not been settled: under way, or lost with its process."""
    UNCERTAIN = "uncertain"
    """Exchanges of its refresh token left and got no answer; it may be spent."""
    DEAD = "dead"
    """The endpoint said that it is spent or revoked; a person must give consent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGrant:
    """What a store holds of one slot. Ages are in seconds, by the store's clock.

    `age` counts from the issue of the token, `since` from the last change of the status. `attempts` and `by` belong to the exchange
    that was noted last (how many times this refresh token was sent or about to be sent, and whose process did it); `cause` is one line
    for UNCERTAIN and DEAD. `revision` changes with everything else. `lineage` are fingerprints of this and earlier tokens, oldest first;
    `is_renewed` tells a token that was exchanged from one that was brought in.
    """

    token: Token
    status: GrantStatus
    age: float
    since: float
    revision: int
    attempts: int = 0
    by: str = ""
    cause: str = ""
    lineage: tuple[str, ...] = ()
    is_renewed: bool = False

    @property
    def generation(self) -> int:
        """The token's generation: the fencing number."""
        return self.token.generation

    def descends_from(self, token: Token) -> bool:
        """Whether `token` is this one or an earlier one of the slot."""
        return fingerprint(token) in self.lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record as engines keep it. `generation` 0 never occurs; `is_removed` marks what is left of a removed one: its generation."""

    generation: int
    revision: int
    status: str
    age: float
    since: float
    attempts: int
    by: str
    cause: str
    lineage: str
    payload: bytes = field(repr=False)  # the token pair, in the clear unless a codec encrypts it

    @property
    def is_removed(self) -> bool:
        """Whether only the fencing number is left."""
        return self.status == REMOVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A compare-and-swap for an engine: replace the row of generation `expected` (0: there is none) by this, as USABLE.

    `held` is the age of the token now, `lease` a lease to give up in the same step. Only a write that `revives` replaces a removed row.
    """

    generation: int
    expected: int
    held: float
    lineage: str
    payload: bytes = field(repr=False)  # the token pair, in the clear unless a codec encrypts it
    lease: str = ""
    revives: bool = False


def grown(lineage: str, word: str) -> str:
    """The lineage with one more word: the last `policy.LINEAGE` of those that came from outside, and as many of the others.

    A configuration may hold what it was begun with for years. Were that forgotten, it would be taken for something new, and shown again.
    """
    kept: list[str] = []
    counts = {True: 0, False: 0}
    for one in reversed(f"{lineage} {word}".split()):
        is_root = one.startswith(ROOT)
        counts[is_root] += 1
        if counts[is_root] <= policy.LINEAGE:
            kept.append(one)
    return " ".join(reversed(kept))


def fingerprint(token: Token) -> str:
    """What a store remembers of a token for good: the fingerprint of what makes it unique."""
    return (token.refresh or token.access).fingerprint
