"""Which ids of hub connections are known, and what an upgrade with one finds.

No sockets, no tasks. Always holds: an id has at most one socket, and is unknown again soon after it went (unless stateful reconnect
keeps it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tradesession.sandbox.signalr.connection import HubConnection
from tradesession.sandbox.signalr.core import Bearer, HubCore
from tradesession.sandbox.signalr.hub import Hub

NOT_FOUND, CONFLICT = 404, 409


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What a negotiation gave."""

    connection_id: str
    token: str
    """What the upgrade is to name; in version 0 the same as the id."""


class Registry:
    """The ids of one sandbox. `hubs` are those that there are, by name."""

    def __init__(self, core: HubCore, hubs: Mapping[str, type[Hub]]) -> None:
        self._core = core
        self._hubs = hubs
        self._known: dict[str, HubConnection] = {}
        self._gone: dict[str, float] = {}
        self._every: set[HubConnection] = set()

    def negotiate(self, hub: str, bearer: Bearer, *, version: int, stateful: bool) -> Negotiated:
        """An id for a socket to come."""
        connection = self._new(hub, bearer, stateful=stateful)
        token = connection.id if version == 0 else self._core.new_id()
        self._known[token] = connection
        connection.wait_for_socket()
        return Negotiated(connection.id, token)

    def open(self, hub: str, bearer: Bearer, query: Mapping[str, str]) -> HubConnection | int:
        """The connection that a socket is for, or the HTTP status with which it is refused; without an `id` a new one."""
        self._forget()
        token = query.get("id")
        if token is None:
            connection = self._new(hub, bearer)
        elif token in self._gone:
            return CONFLICT
        elif token not in self._known or self._known[token].hub_name != hub or self._core.faults.lose_ids:
            return NOT_FOUND
        else:
            connection = self._known[token]
            if connection.socket is not None and not connection.is_stateful:
                return CONFLICT
        connection.bearer = bearer
        connection.query = query
        return connection

    def knows(self, token: str) -> bool:
        """Whether a connection has that id."""
        return token in self._known

    def apply_faults(self) -> None:
        """Take notice of switches that were turned."""
        for connection in list(self._every):
            connection.apply_faults()

    async def aclose(self) -> None:
        """End every connection, and wait until their tasks have ended."""
        for connection in list(self._every):
            await connection.aclose()

    def _new(self, hub: str, bearer: Bearer, *, stateful: bool = False) -> HubConnection:
        connection = HubConnection(self._core, hub, self._hubs[hub], bearer, stateful=stateful, over=self._over)
        self._every.add(connection)
        return connection

    def _over(self, connection: HubConnection) -> None:
        self._every.discard(connection)
        for token in [token for token, known in self._known.items() if known is connection]:
            del self._known[token]
            if not connection.is_stateful:
                self._gone[token] = self._core.clock.monotonic()

    def _forget(self) -> None:
        """Ids that went some time ago."""
        until = self._core.clock.monotonic() - self._core.settings.linger
        for token in [token for token, gone in self._gone.items() if gone <= until]:
            del self._gone[token]
