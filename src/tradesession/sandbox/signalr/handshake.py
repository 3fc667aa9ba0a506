"""The handshake of the hub protocol, as this server reads it.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tradesession.sandbox.signalr import text

STATEFUL_VERSION: Final = 2
"""Of the handshake that may begin a connection with stateful reconnect; no later one is known."""

_UNEXPECTED: Final = "An unexpected error occurred during connection handshake."


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a client asked for: its version of the protocol, or why it gets none. `error` is empty when it does."""

    version: int = 1
    error: str = ""


def read_handshake(data: bytes) -> Handshake:
    """What the record says, without its end."""
    try:
        request = text.read(data)
    except text.BadJson:
        return Handshake(error=_UNEXPECTED)
    protocol, version = (request.get("protocol"), request.get("version")) if isinstance(request, dict) else (None, None)
    if not isinstance(protocol, str) or not isinstance(version, int):
        return Handshake(error=_UNEXPECTED)
    if protocol.lower() != "json":
        return Handshake(error=f"The protocol '{protocol}' is not supported.")
    if version > STATEFUL_VERSION:
        return Handshake(error=f"The server does not support version {version} of the 'json' protocol.")
    return Handshake(version)
