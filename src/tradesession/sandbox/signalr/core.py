"""What all connections to the hubs of one server share.

No sockets, no tasks. Always holds: every connection in `connections` has shaken hands and is not over.
"""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradesession.clock import Clock
from tradesession.sandbox.signalr.journal import Ending, Journal
from tradesession.sandbox.signalr.settings import HubSettings
from tradesession.sandbox.signalr.switches import HubSwitches

if TYPE_CHECKING:
    from tradesession.sandbox.signalr.connection import HubConnection

_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token that was found good: whose it is, and when it ends on the wall clock."""

    client_id: str
    expires_at: float


class HubCore:
    """The shared part, and the open hub connections."""

    def __init__(self, seed: int, clock: Clock, settings: HubSettings, faults: HubSwitches) -> None:
        self.seed = seed
        self.clock = clock
        self.settings = settings
        self.faults = faults
        self.journal = Journal()
        self.connections: dict[HubConnection, None] = {}
        """In the order in which they opened."""
        self.questions: Iterator[int] = itertools.count(1)
        """Ids of the server's own calls."""
        self._ids = random.Random(f"{seed}:hub ids")

    def new_id(self) -> str:
        """A connection's id: 22 characters that need no escape in a URL."""
        return base64.urlsafe_b64encode(self._ids.randbytes(_ID_BYTES)).decode().rstrip("=")

    def add(self, connection: HubConnection) -> None:
        """A client has shaken hands."""
        self.connections[connection] = None
        self.journal.count("connected")

    def remove(self, connection: HubConnection, cause: str) -> None:
        """It is gone."""
        if connection in self.connections:
            del self.connections[connection]
            self.journal.count("disconnected")
            self.journal.endings.append(Ending(connection.hub_name, connection.id, cause))
