"""What happened, for assertions: counts by name, and each hub connection that ended.

Pure. Holds no secret and no payload.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Ending:
    """A hub connection that is over."""

    hub: str
    connection_id: str
    cause: str


@dataclass(slots=True)
class Journal:
    """Counts and endings since the sandbox began."""

    counts: Counter[str] = field(default_factory=Counter)
    """`token.requests`, `token.issued`, `token.<error>`; `bearer.header`, `bearer.access_token`, `bearer.signalr_token`, `refused.<why>`;
    `negotiated`, `redirected`, `connected`, `disconnected`, `resumed`; `call.<target>`, `stream.<target>`, `ended.<target>`
    of a stream; `rest.<path>`."""
    endings: deque[Ending] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def count(self, what: str) -> None:
        """It happened once more."""
        self.counts[what] += 1
