"""What the sandbox notes down of what happened: endings of connections and of tokens, and requests.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Closing:
    """How one connection ended; `cause` is a few words, "the client" when the client did it."""

    environment: str
    transport: str
    cause: str


@dataclass(frozen=True, slots=True)
class Invalidation:
    """An access token is dead before or at its time; `reason` is the text that goes into 2147."""

    access_token: str = field(repr=False)
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that arrived, `at` seconds on the sandbox's monotonic clock. The message may hold a secret and does not show."""

    name: str
    at: float
    message: Message = field(repr=False)
