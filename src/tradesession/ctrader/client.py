"""Session: a cTrader connection as a bot sees it. Requests are typed, events come as streams, accounts tell how they stand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, overload

from google.protobuf.message import DecodeError, Message

from tradesession import policy
from tradesession.ctrader import registry
from tradesession.ctrader._requests import TypedRequests
from tradesession.ctrader.accounts import Account, Accounts, AccountState, choose
from tradesession.ctrader.config import Config
from tradesession.ctrader.handshake import authenticate_application, authorise, authorise_all, list_accounts
from tradesession.ctrader.messages import (
    ProtoOAAccountDisconnectEvent,
    ProtoOAAccountsTokenInvalidatedEvent,
    ProtoOAClientDisconnectEvent,
    ProtoOASpotEvent,
)
from tradesession.ctrader.routing import HEARTBEAT, OpenApiDialect
from tradesession.ctrader.spots import QuoteStream, Spots
from tradesession.errors import Error, InvalidRequest, LinkLost
from tradesession.hooks import EventsDropped, Unclassified
from tradesession.session.link import Incoming, Link
from tradesession.session.services import Services
from tradesession.session.session import Session as BaseSession
from tradesession.session.streams import EventStream, Gap
from tradesession.transports.tcp import open_tcp
from tradesession.transports.tls import tls_context
from tradesession.transports.websocket import open_websocket

_log = logging.getLogger("tradesession.ctrader")

E = TypeVar("E", bound=Message)

_CLIENT_DISCONNECT: Final = registry.payload_type_of(ProtoOAClientDisconnectEvent)
_ACCOUNT_DISCONNECT: Final = registry.payload_type_of(ProtoOAAccountDisconnectEvent)
_TOKEN_INVALIDATED: Final = registry.payload_type_of(ProtoOAAccountsTokenInvalidatedEvent)
_SPOT: Final = registry.payload_type_of(ProtoOASpotEvent)

Sink = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the handshake: its name, its duration in seconds, and the account it was about, if it was about one."""

    name: str
    seconds: float
    account_id: int | None = None


class Session(BaseSession, TypedRequests):
    """A session with the cTrader Open API, for the accounts of one environment.

    Open it with `tradesession.connect(config)` or `SessionManager.open(config)`: it is READY then. `accounts` are the chosen ones.
    """

    def __init__(self, config: Config, services: Services) -> None:
        super().__init__(f"ctrader {config.environment}", clock=services.clock, hooks=services.hooks, close_timeout=config.close_timeout)
        self.config = config
        self.accounts = Accounts()
        """The chosen accounts, each with its state; empty before READY."""
        self.steps: list[Step] = []
        """The steps of the handshake, in the order in which they ended."""
        self._tokens = services.tokens
        self._exchange = services.exchange
        self._random_id = services.random_id
        self._link: Link[Message] | None = None
        self._sinks: dict[int, tuple[Sink, ...]] = {_SPOT: (self._spot_event,)}
        self._spots = Spots(lambda message: self._request(message, None))
        self._unknown: set[str] = set()
        self._restoring: dict[int, asyncio.Task[None]] = {}

    # --- requests ---------------------------------------------------------------------------------------------------------------

    async def _request(self, message: Message, timeout: float | None) -> Message:
        if not isinstance(message, Message):
            raise InvalidRequest(f"a request is a message of tradesession.ctrader.messages, not {type(message).__name__}")
        budget = self.config.request_timeout if timeout is None else timeout
        budget = await self._until_ready(type(message).__name__, budget)
        assert self._link is not None
        return await self._link.request(message, timeout=budget)

    # --- events -----------------------------------------------------------------------------------------------------------------

    @overload
    def events(
        self, event: type[E], *, account: Account | None = None, gaps: Literal[False] = False, limit: int = policy.EVENT_QUEUE
    ) -> EventStream[E]: ...
    @overload
    def events(
        self, event: type[E], *, account: Account | None = None, gaps: Literal[True], limit: int = policy.EVENT_QUEUE
    ) -> EventStream[E | Gap]: ...
    def events(
        self, event: type[E], *, account: Account | None = None, gaps: bool = False, limit: int = policy.EVENT_QUEUE
    ) -> EventStream[E] | EventStream[E | Gap]:
        """Every event of this class from now on, in wire order; of one account, or of all.

        The stream is subscribed at once, before anything that is awaited next, so an execution cannot slip by between order and stream.
        At most `limit` events wait for a slow reader; with `gaps=True` a Gap stands where older ones were dropped. Raises
        InvalidRequest for a class that is no event.
        """
        if not registry.is_event(event):
            raise InvalidRequest(f"{event.__name__} is no event: {', '.join(sorted(cls.__name__ for cls in registry.EVENTS))} are")
        number = registry.payload_type_of(event)
        account_id = account.id if account is not None else None

        def sink(message: Any) -> None:
            if account_id is None or getattr(message, "ctidTraderAccountId", account_id) == account_id:
                stream.put_nowait(message)

        name = event.__name__
        stream: EventStream[E] = EventStream(
            name, limit=limit, gaps=gaps, on_close=lambda: self._remove_sink(number, sink), on_drop=self._report_drop(name)
        )
        self._sinks[number] = (*self._sinks.get(number, ()), sink)
        self._join(stream)
        return stream

    def spots(self, account: Account, *symbols: str, timestamps: bool = False, limit: int = policy.EVENT_QUEUE) -> QuoteStream:
        """Quotes of these symbols: both sides always, as decimals with the symbol's digits.

        The first one of a symbol is its last known price, also when its market is closed. `timestamps` asks the server for its own time
        of each price. Raises InvalidRequest without a symbol; the stream raises ConfigurationError for a symbol that the account lacks.
        """
        if not symbols:
            raise InvalidRequest("spots() wants at least one symbol, such as 'EURUSD'")
        names = tuple(dict.fromkeys(symbols))
        name = f"spots of {', '.join(names)}"
        stream = QuoteStream(self._spots, account, names, timestamps=timestamps, limit=limit, on_drop=self._report_drop(name))
        self._join(stream)
        return stream

    # --- what the base class wants --------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        config = self.config
        started = self._clock.monotonic()
        link: Link[Message] = Link(
            OpenApiDialect(
                self._clock.wall,
                requests_per_second=config.requests_per_second,
                historical_per_second=config.historical_requests_per_second,
            ),
            clock=self._clock,
            prefix=f"{self._random_id()}-",
            source=self.name,
            on_event=self._event,
            on_lost=self._link_lost,
            hooks=self._hooks,
            heartbeat_interval=config.heartbeat_interval,
            liveness_timeout=config.liveness_timeout,
            request_timeout=config.request_timeout,
        )
        host, port = config.endpoint
        tls = tls_context(host=host, ca_file=config.ca_file, ssl_context=config.ssl_context, plaintext=config.plaintext)
        if config.transport == "websocket":
            link.attach(
                await open_websocket(
                    config.address, link, tls=tls, max_frame=config.max_frame, clock=self._clock, timeout=config.connect_timeout
                )
            )
        else:
            link.attach(
                await open_tcp(host, port, link, tls=tls, max_frame=config.max_frame, clock=self._clock, timeout=config.connect_timeout)
            )
        self._link = link
        self._done("connect", started)

    async def _handshake(self) -> None:
        link = self._link
        assert link is not None
        started = self._clock.monotonic()
        await authenticate_application(link, self.config)
        started = self._done("application_auth", started)
        granted = await list_accounts(link, self._tokens, self.config)
        started = self._done("account_list", started)
        self.accounts = choose(granted, self.config)

        async def authorise_one(account: Account) -> None:
            await authorise(link, account, self._tokens, self.config)
            self._done("account_auth", started, account)

        await authorise_all(authorise_one, self.accounts)
        self._tasks.spawn(self._follow_rotations(), name=f"{self.name} rotations")

    async def _disconnect(self, timeout: float) -> None:
        if self._link is not None:
            await self._link.aclose(timeout)

    # --- inside ---------------------------------------------------------------------------------------------------------------------

    def _done(self, name: str, started: float, account: Account | None = None) -> float:
        now = self._step(name, started)
        self.steps.append(Step(name, now - started, account.id if account is not None else None))
        return now

    def _event(self, incoming: Incoming) -> None:
        number = incoming.kind
        if number == HEARTBEAT:
            return
        sinks = self._sinks.get(number)
        is_control = number in (_CLIENT_DISCONNECT, _ACCOUNT_DISCONNECT, _TOKEN_INVALIDATED)
        if sinks is None and not is_control:
            if not registry.is_event(registry.CLASSES.get(number, Message)):
                self._report_unknown(f"{registry.name_of(number)} that nobody asked for")
            return
        try:
            message = registry.CLASSES[number].FromString(incoming.body)
        except DecodeError:
            self._report_unknown(f"{registry.name_of(number)} that cannot be decoded")
            return
        if is_control:
            self._control(message)
        for sink in sinks or ():
            sink(message)

    def _control(self, message: Message) -> None:
        if isinstance(message, ProtoOAClientDisconnectEvent):
            assert self._link is not None
            self._link.fail(LinkLost(f"the server disconnects this client: {message.reason or 'it gives no reason'}"))
        elif isinstance(message, ProtoOAAccountDisconnectEvent):
            self._account_dropped(message.ctidTraderAccountId, "the server ended the account's session", token_refused=False)
        elif isinstance(message, ProtoOAAccountsTokenInvalidatedEvent):
            for account_id in message.ctidTraderAccountIds:
                reason = message.reason or "it gives no reason"
                self._account_dropped(account_id, f"the server invalidated the token: {reason}", token_refused=True)

    def _account_dropped(self, account_id: int, reason: str, *, token_refused: bool) -> None:
        account = self.accounts.get(account_id)
        if account is None or account.state is AccountState.AUTHORIZING:
            return  # not ours, or being authorised anew at this moment: the answer to that will tell
        account.enter(AccountState.SUSPENDED, LinkLost(f"account {account_id}: {reason}"))
        self._restore(account, refused=token_refused)

    def _restore(self, account: Account, *, refused: bool = False) -> None:
        """Authorise the account again on the same link; one attempt at a time."""
        running = self._restoring.get(account.id)
        if running is not None and not running.done():
            return

        async def restore() -> None:
            assert self._link is not None
            try:
                if refused and account.token is not None:
                    await self._tokens.reject(account.token)
                await authorise(self._link, account, self._tokens, self.config)
            except Error as error:
                account.enter(AccountState.SUSPENDED, error)
                _log.warning("%s: account %d stays suspended: %s", self.name, account.id, error)
                return
            try:
                await self._spots.restore(account)
            except Error as error:
                _log.warning("%s: the quotes of account %d did not come back: %s", self.name, account.id, error)

        self._restoring[account.id] = self._tasks.spawn(restore(), name=f"{self.name} restores account {account.id}")

    async def _follow_rotations(self) -> None:
        async for token in self._tokens.changes():
            for account in self.accounts:
                if account.token is not None and account.token.generation < token.generation:
                    self._restore(account)

    def _spot_event(self, event: ProtoOASpotEvent) -> None:
        self._spots.event(event)

    def _join(self, stream: EventStream[Any]) -> None:
        if self._closed.is_set():
            stream.end(self._cause if isinstance(self._cause, Error) else None)
        else:
            self._streams.add(stream)

    def _remove_sink(self, number: int, sink: Sink) -> None:
        self._sinks[number] = tuple(other for other in self._sinks[number] if other is not sink)

    def _report_drop(self, name: str) -> Callable[[int], None]:
        return lambda count: self._hooks.emit(EventsDropped(source=self.name, stream=name, count=count))

    def _report_unknown(self, what: str) -> None:
        if what not in self._unknown:
            self._unknown.add(what)
            self._hooks.emit(Unclassified(source=self.name, what=what))
            _log.info("%s: the server sent %s; it was passed by", self.name, what)
