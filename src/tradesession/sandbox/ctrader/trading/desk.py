"""Desk: the books of all accounts, on the sandbox's clock: what is asked of them, what the prices do to them, and who is told.

No sockets, no tasks. Always holds: the books outlive every connection; an event goes to each connection on which its account is
authorised, in the order in which things happened; the answer to a request goes first to whoever asked. Facts: sections 2.2 and 9.3.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from tradesession.clock import Clock
from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.agenda import Agenda
from tradesession.sandbox.ctrader.feed import Feed
from tradesession.sandbox.ctrader.market import Symbol
from tradesession.sandbox.ctrader.refusal import Refusal
from tradesession.sandbox.ctrader.settings import Settings
from tradesession.sandbox.ctrader.state import Account
from tradesession.sandbox.ctrader.switches import Switches
from tradesession.sandbox.ctrader.trading.book import Happening, OrderBook, Step
from tradesession.sandbox.ctrader.trading.ledger import Ids

if TYPE_CHECKING:
    from tradesession.sandbox.ctrader.connection import Connection


@dataclass(frozen=True, slots=True)
class Cause:
    """Whose request it comes from. `is_muted` keeps what it causes from the one who asked, and from nobody else."""

    origin: Connection
    message_id: str | None
    is_muted: bool = False


_NOBODY: Final = None
"""The cause of what the server does by itself."""


class Desk:
    """Made once for a sandbox. `listeners` gives the open connections, oldest first."""

    def __init__(
        self, clock: Clock, settings: Settings, faults: Switches, feed: Feed, listeners: Callable[[], Collection[Connection]]
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._faults = faults
        self._feed = feed
        self._listeners = listeners
        self._ids = Ids()
        self._books: dict[int, OrderBook] = {}
        self._watched: dict[Symbol, dict[OrderBook, None]] = {}
        self._agenda = Agenda(clock)
        feed.on_tick.append(self._ticked)

    def book(self, account: Account) -> OrderBook:
        """The book of an account."""
        if account.id not in self._books:
            self._books[account.id] = OrderBook(account, self._feed.last, self._ids, self._settings, self._faults)
        return self._books[account.id]

    def submit(self, account: Account, request: Message, cause: Cause, reply: Callable[[Message], None]) -> None:
        """Do what an order request asks for; `reply` gets the first event. Raises the Refusal that answers it."""
        book = self.book(account)
        try:
            happening = book.execute(request, self._now())
        except Refusal as refusal:
            refusal.account_id = account.id
            refusal.is_of_order = True
            raise
        self._publish(book, happening, cause, reply)

    def close(self) -> None:
        """Stop what runs on the clock."""
        self._agenda.close()

    # --- inside ---

    def _now(self) -> int:
        return round(self._clock.wall() * 1000)

    def _ticked(self, symbol: Symbol) -> None:
        for book in list(self._watched.get(symbol, ())):
            for happening in book.tick(symbol, self._now()):
                self._publish(book, happening, _NOBODY)

    def _publish(self, book: OrderBook, happening: Happening, cause: Cause | None, reply: Callable[[Message], None] | None = None) -> None:
        self._watch(book)
        for event in happening.events:
            self._tell(event, cause, reply)
            reply = None
        for delay, step in happening.next:
            self._later(book, delay, step, cause)

    def _tell(self, event: Message, cause: Cause | None, reply: Callable[[Message], None] | None) -> None:
        is_own = isinstance(event, pb.ProtoOAExecutionEvent) and not event.isServerEvent
        message_id = cause.message_id if cause is not None and is_own else None
        account_id: int = event.ctidTraderAccountId  # type: ignore[attr-defined]  # every event of a book has it
        for _ in range(2 if self._faults.duplicate_executions else 1):
            if cause is not None and reply is not None and not cause.is_muted:
                reply(event)
            for connection in [one for one in self._listeners() if one.hears(account_id)]:
                is_origin = cause is not None and connection is cause.origin
                if is_origin and cause is not None and (cause.is_muted or reply is not None):
                    continue
                connection.send_event(event, message_id if is_origin or self._settings.execution_ids == "everyone" else None)

    def _later(self, book: OrderBook, delay: float, step: Step, cause: Cause | None) -> None:
        if delay > 0:
            self._agenda.enter(self._clock.monotonic() + delay, lambda: self._publish(book, step(self._now()), cause))
        else:
            self._publish(book, step(self._now()), cause)

    def _watch(self, book: OrderBook) -> None:
        """Have the prices move that matter to this book, and be told of them."""
        wanted = book.watched()
        for symbol, books in list(self._watched.items()):
            if book in books and symbol not in wanted:
                del books[book]
                if not books:
                    del self._watched[symbol]
                    self._feed.unwatch(symbol, self)
        for symbol in sorted(wanted, key=lambda one: one.id):
            if symbol not in self._watched:
                self._feed.watch(symbol, self)
            self._watched.setdefault(symbol, {})[book] = None
