"""The states of a Session and the ways between them, as one table.

Pure. Nothing else decides which way is allowed; `python -m tradesession.session.states` prints the table.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class SessionState(enum.Enum):
    """Where a Session stands."""

    IDLE = "IDLE"
    """Made, not yet started."""
    CONNECTING = "CONNECTING"
    HANDSHAKING = "HANDSHAKING"
    READY = "READY"
    CLOSING = "CLOSING"
    """Streams end, the link says goodbye, tasks end; also after a loss."""
    CLOSED = "CLOSED"
    """Over, by its owner's wish or by a loss; `Session.cause` tells which."""


_S = SessionState

TRANSITIONS: Final[Mapping[SessionState, frozenset[SessionState]]] = MappingProxyType(
    {
        _S.IDLE: frozenset({_S.CONNECTING, _S.CLOSED}),
        _S.CONNECTING: frozenset({_S.HANDSHAKING, _S.CLOSING}),
        _S.HANDSHAKING: frozenset({_S.READY, _S.CLOSING}),
        _S.READY: frozenset({_S.CLOSING}),
        _S.CLOSING: frozenset({_S.CLOSED}),
        _S.CLOSED: frozenset(),
    }
)


def check(before: SessionState, after: SessionState) -> None:
    """Refuse a way that the table does not have; a mistake of this library, never of a user."""
    if after not in TRANSITIONS[before]:
        raise AssertionError(f"a session does not go from {before.value} to {after.value}")


def table() -> str:
    """The table as text, one state a line."""
    return "\n".join(f"{state.value:<12} -> {', '.join(sorted(s.value for s in ways)) or '(end)'}" for state, ways in TRANSITIONS.items())


if __name__ == "__main__":
    print(table())  # noqa: T201 - this is what the module is run for
