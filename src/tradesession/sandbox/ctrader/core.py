"""What all connections of one sandboxed cTrader share, and what happens to all of them at once.

No sockets, no tasks. Always holds: when an access token dies, every connection that used it has been told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from google.protobuf.message import Message

from tradesession.clock import Clock, TimerHandle
from tradesession.sandbox.ctrader.feed import Feed
from tradesession.sandbox.ctrader.records import Closing, Invalidation
from tradesession.sandbox.ctrader.settings import Settings
from tradesession.sandbox.ctrader.state import Grant, State
from tradesession.sandbox.ctrader.switches import Switches
from tradesession.sandbox.ctrader.trading import Desk

if TYPE_CHECKING:
    from tradesession.sandbox.ctrader.connection import Connection

Environment = Literal["demo", "live"]


@dataclass(slots=True)
class Core:
    """The shared part, and the open connections of both environments."""

    clock: Clock
    settings: Settings
    faults: Switches
    state: State
    feed: Feed
    seed: int
    desk: Desk = field(init=False)
    connections: dict[Connection, None] = field(default_factory=dict)
    """In the order in which they opened."""
    _expiries: dict[str, TimerHandle] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.desk = Desk(self.clock, self.settings, self.faults, self.feed, lambda: self.connections)
        self.state.on_invalidation(self._tell_everybody)

    def add(self, connection: Connection) -> None:
        """A connection stands."""
        self.connections[connection] = None
        self.state.opened += 1

    def remove(self, connection: Connection, cause: str) -> None:
        """A connection is gone."""
        del self.connections[connection]
        self.feed.drop(connection)
        self.state.closings.append(Closing(connection.environment, connection.channel.transport_name, cause))

    def push(self, message: Message, account_id: int | None) -> int:
        """Send an event to every connection on which the account is authorised, or with None to every connection; how many heard it."""
        heard = [one for one in list(self.connections) if account_id is None or one.hears(account_id)]
        for connection in heard:
            connection.send_event(message)
        return len(heard)

    def watch_expiry(self, grant: Grant) -> None:
        """An account was authorised with this access token: see to it that its end is noticed."""
        token = grant.access_token
        if self.settings.announce_expiry and token not in self._expiries:
            death = Invalidation(token, "Access token has expired")
            self._expiries[token] = self.clock.call_at(grant.expires_at, lambda: self.state.announce(death))

    def close(self) -> None:
        """Stop what runs on the clock."""
        self.feed.close()
        self.desk.close()
        for timer in self._expiries.values():
            timer.cancel()
        self._expiries.clear()

    def _tell_everybody(self, death: Invalidation) -> None:
        timer = self._expiries.pop(death.access_token, None)
        if timer is not None:
            timer.cancel()
        for connection in list(self.connections):
            connection.token_died(death)
