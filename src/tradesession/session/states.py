"""The states of a Session and the ways between them, as one table.

Pure. Nothing else decides which way is allowed; `python -m tradesession.session.states` prints the table as a Mermaid diagram. A
session with two links has a state for each, and is itself in the one that is furthest from READY.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final


class SessionState(enum.Enum):
    """Where a session, or one of its links, stands. In the order in which one is further from READY than the next."""

    CLOSED = "CLOSED"
    """Over, by its owner's wish or by a cause that no retry cures; `Session.cause` tells which."""
    CLOSING = "CLOSING"
    """Saying goodbye."""
    PARKED = "PARKED"
    """A person is needed; wakes up when the store shows a newer token."""
    BACKOFF = "BACKOFF"
    """Lost, and waiting for the next attempt."""
    IDLE = "IDLE"
    """Made, not yet started."""
    CONNECTING = "CONNECTING"
    """Opening the transport."""
    HANDSHAKING = "HANDSHAKING"
    """Authenticating."""
    RESTORING = "RESTORING"
    """Bringing the subscriptions back."""
    READY = "READY"
    """In use."""


_S = SessionState
_LOST: Final = frozenset({_S.BACKOFF, _S.PARKED, _S.CLOSING, _S.CLOSED})

TRANSITIONS: Final[Mapping[SessionState, frozenset[SessionState]]] = MappingProxyType(
    {
        _S.IDLE: frozenset({_S.CONNECTING, _S.CLOSING, _S.CLOSED}),
        _S.CONNECTING: _LOST | {_S.HANDSHAKING},
        _S.HANDSHAKING: _LOST | {_S.RESTORING},
        _S.RESTORING: _LOST | {_S.READY},
        _S.READY: _LOST,
        _S.BACKOFF: frozenset({_S.CONNECTING, _S.CLOSING, _S.CLOSED}),
        _S.PARKED: frozenset({_S.CONNECTING, _S.CLOSING, _S.CLOSED}),
        _S.CLOSING: frozenset({_S.CLOSED}),
        _S.CLOSED: frozenset(),
    }
)


def check(before: SessionState, after: SessionState) -> None:
    """Refuse a way that the table does not have; a mistake of this library, never of a user."""
    if after not in TRANSITIONS[before]:
        raise AssertionError(f"a session does not go from {before.value} to {after.value}")


def furthest_from_ready(states: Iterable[SessionState]) -> SessionState:
    """The state of a session whose links are in these."""
    order = list(SessionState)
    return min(states, key=order.index, default=_S.IDLE)


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    ways = [f"    {before.value} --> {after.value}" for before in SessionState for after in SessionState if after in TRANSITIONS[before]]
    return "\n".join(["stateDiagram-v2", "    [*] --> IDLE", *ways, "    CLOSED --> [*]"])


if __name__ == "__main__":
    print(diagram())  # noqa: T201 - this is what the module is run for
