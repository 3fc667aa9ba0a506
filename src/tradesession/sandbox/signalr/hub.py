"""What every hub has: its caller, and what happens when that comes and goes.

Runs in tasks of the connection. Always holds: a hub object serves one connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tradesession.sandbox.signalr.core import HubCore
from tradesession.timing import sleep


class Caller(Protocol):
    """The connection, as its hub sees it."""

    @property
    def core(self) -> HubCore:
        """What all connections share."""

    @property
    def id(self) -> str:
        """The public id."""

    @property
    def client_id(self) -> str:
        """Whose bearer it came with."""

    @property
    def query(self) -> Mapping[str, str]:
        """Of the address by which it was opened."""

    def push(self, target: str, *arguments: Any) -> None:
        """Call a target of the client, without an answer."""

    def end(self, error: str | None = None, *, allow_reconnect: bool = False) -> None:
        """Say Close, and close."""


class Hub:
    """A hub without methods. `methods.method` marks those that a derived one offers."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.core = caller.core

    def connected(self) -> None:
        """Right after the handshake. HubException refuses the client."""

    def disconnected(self) -> None:
        """The connection is over."""

    async def pause(self, seconds: float) -> None:
        """Wait on the sandbox's clock."""
        await sleep(self.core.clock, seconds)
