"""Session: cTrader as a bot sees it. Requests are typed, events come as streams, accounts tell how they stand."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, TypeVar, overload

from google.protobuf.message import Message

from tradesession import policy
from tradesession.ctrader import registry
from tradesession.ctrader._requests import TypedRequests
from tradesession.ctrader.accounts import Account, Accounts
from tradesession.ctrader.config import Config
from tradesession.ctrader.events import Events
from tradesession.ctrader.executions import Executions
from tradesession.ctrader.judge import judge
from tradesession.ctrader.line import OpenApiLine, Step
from tradesession.ctrader.market import Bar, BarStream, Depth, DepthStream, Market, MarketStream, Period, Quote, QuoteStream
from tradesession.ctrader.messages import (
    ProtoErrorRes,
    ProtoOAAccountAuthReq,
    ProtoOAAccountAuthRes,
    ProtoOAAccountDisconnectEvent,
    ProtoOAAccountLogoutReq,
    ProtoOAAccountsTokenInvalidatedEvent,
    ProtoOAClientDisconnectEvent,
    ProtoOADepthEvent,
    ProtoOAErrorRes,
    ProtoOAExecutionEvent,
    ProtoOANewOrderReq,
    ProtoOASpotEvent,
    ProtoOASymbolChangedEvent,
)
from tradesession.ctrader.settlement import Settler
from tradesession.ctrader.symbols import Symbol
from tradesession.errors import InvalidRequest, LinkLost, NotSent, OutcomeUnknown, Rejected
from tradesession.hooks import Unclassified
from tradesession.session.link import Link
from tradesession.session.services import Services
from tradesession.session.session import Session as BaseSession
from tradesession.session.streams import EventStream, Gap
from tradesession.timing import deadline
from tradesession.verdict import Action, Level

E = TypeVar("E", bound=Message)
MS = TypeVar("MS", bound=MarketStream[Any])

_CONTROL: Final = (
    *(ProtoOAClientDisconnectEvent, ProtoOAAccountDisconnectEvent, ProtoOAAccountsTokenInvalidatedEvent),
    *(ProtoOAAccountAuthRes, ProtoErrorRes, ProtoOAErrorRes),
)
_UNGATED: Final = (ProtoOAAccountAuthReq, ProtoOAAccountLogoutReq)

Sink = Callable[[Any], None]


class Session(BaseSession, TypedRequests):
    """A session with the cTrader Open API, for the accounts of one environment or of both.

    Open it with `tradesession.connect(config)` or `SessionManager.open(config)`: it is READY then. `accounts` are the chosen ones. It stays
    through losses: requests wait for READY within their deadline, subscriptions come back, streams are told of the gap.
    """

    def __init__(self, config: Config, services: Services) -> None:
        super().__init__(
            f"ctrader {config.environment}",
            clock=services.clock,
            hooks=services.hooks,
            tokens=services.tokens,
            close_timeout=config.close_timeout,
        )
        self.config = config
        self._random_id = services.random_id
        self.accounts = Accounts()
        """The chosen accounts, each with its state; empty before the first READY."""
        self._events = Events(_CONTROL, self._control, self._report_unknown)
        self._executions = Executions()
        self._events.add(ProtoOAExecutionEvent, self._executions.saw)
        lines = config.lines()
        self._open_api_lines = [
            OpenApiLine(
                one,
                services,
                self.accounts,
                is_one_of_two=len(lines) > 1,
                chance=self._chance,
                on_event=self._events.received,
                restore_account=self._restore_account,
                on_gap=self._account_missed,
            )
            for one in lines
        ]
        ask_now = functools.partial(self._request, timeout=None, wait=False)
        self._market = Market(functools.partial(self._request, timeout=None), ask_now)
        self._events.add(ProtoOASymbolChangedEvent, self._market.symbols.changed)
        self._unknown: set[str] = set()

    @property
    def steps(self) -> list[Step]:
        """The steps of the current connection's handshake, in the order in which they ended."""
        return [step for line in self._open_api_lines for step in line.steps]

    # --- requests ---------------------------------------------------------------------------------------------------------------

    async def _request(self, message: Message, timeout: float | None, *, wait: bool = True) -> Message:
        if type(message) not in registry.REPLIES:
            raise InvalidRequest(f"{type(message).__name__} is no request; send one of tradesession.ctrader.messages that end in Req")
        is_order = type(message) in registry.ORDER_REQUESTS
        if is_order:
            message = self._kept(message)
        budget = self.config.request_timeout if timeout is None else timeout
        until = self._clock.monotonic() + budget
        account_id: int | None = getattr(message, "ctidTraderAccountId", None)
        sent = self._executions.sent(self._clock.wall())
        line = self._line_of(account_id)
        gate = None if isinstance(message, _UNGATED) else account_id
        while True:
            left = until - self._clock.monotonic()
            try:
                link = await self._usable_link(line, type(message).__name__, gate, left if wait else 0.0, budget)
                sent = self._executions.sent(self._clock.wall())
                reply = await link.request(message, timeout=until - self._clock.monotonic())
                self._executions.answered(message, reply)
                return reply
            except Rejected as refusal:
                if not self._may_repeat(line, message, refusal, account_id, until) or is_order:
                    raise
            except NotSent as error:
                if isinstance(error, InvalidRequest) or line.stands or not wait or self._clock.monotonic() >= until:
                    raise  # where the line stands it was the quota, or a server that does not read; else it waits for the next one
            except OutcomeUnknown as unknown:
                if is_order:
                    unknown.settler = Settler(lambda asked: self._request(asked, None), message, sent, self._clock, self._executions)
                raise
            except LinkLost:
                if is_order or self._clock.monotonic() >= until:
                    raise

    def _kept(self, order: Message) -> Message:
        """The order as it is now, whatever its maker does with it next: by it the order is found again should its answer get lost."""
        kept = type(order)()
        kept.CopyFrom(order)
        if isinstance(kept, ProtoOANewOrderReq) and not kept.clientOrderId:
            kept.clientOrderId = f"ts-{self._random_id()}"
        return kept

    async def _usable_link(self, line: OpenApiLine, name: str, account_id: int | None, left: float, budget: float) -> Link[Message]:
        """The line's link, once requests (of the account) may pass. Raises NotSent at the deadline, SessionClosed."""
        if line.passes(account_id):
            self._refuse_when_closed(name)
            with suppress(NotSent):
                return await line.usable_link(name, account_id)  # it does not wait: a deadline would cost a quarter of the request
        elif left <= 0:
            self._refuse_when_closed(name)
            raise self._gate_closed(line, name, account_id)
        try:
            async with deadline(self._clock, left):
                while True:
                    self._refuse_when_closed(name)
                    try:
                        return await line.usable_link(name, account_id)
                    except NotSent:
                        await asyncio.sleep(0)  # lost in the same moment: wait for the next connection
        except TimeoutError:
            raise self._gate_closed(line, name, account_id, budget) from None

    def _gate_closed(self, line: OpenApiLine, name: str, account_id: int | None, timeout: float | None = None) -> NotSent:
        """The error for a request that was not let pass: where the line is open, it is the account that does not stand."""
        account = self.accounts.get(account_id) if account_id is not None else None
        if account is None or not line.passes(None):
            return self._not_ready(name, timeout)
        return self._not_sent(name, f"account {account.id} is {account.state.value}", account.cause, timeout)

    def _finished(self) -> None:
        for line in self._open_api_lines:
            line.wake_up()

    def _line_of(self, account_id: int | None) -> OpenApiLine:
        """The line of an account; the first one for what no account is told of."""
        account = self.accounts.get(account_id) if account_id is not None else None
        if account is not None:
            for line in self._open_api_lines:
                if (line.config.environment == "live") == account.is_live:
                    return line
        return self._open_api_lines[0]

    def _may_repeat(self, line: OpenApiLine, message: Message, refusal: Rejected, account_id: int | None, until: float) -> bool:
        """Whether a refused read may be sent again: once its account is authorised anew, or the quota has room, to which this sees."""
        verdict = refusal.verdict
        if account_id is not None and not isinstance(message, _UNGATED):
            token_refused = verdict.action is Action.REFRESH
            if token_refused or (verdict.level is Level.ACCOUNT and verdict.action is Action.RETRY):
                return line.account_dropped(account_id, f"a request was refused with {refusal.code}", token_refused=token_refused)
        if verdict.level is Level.REQUEST and verdict.after is not None and line.link is not None:
            if refusal.code == "BLOCKED_PAYLOAD_TYPE":
                line.link.block(registry.payload_type_of(message), verdict.after)
            else:
                line.link.pause(verdict.after)
            return self._clock.monotonic() + verdict.after < until
        return False

    # --- events -----------------------------------------------------------------------------------------------------------------

    @overload
    def events(
        self,
        event: type[E],
        *,
        account: Account | None = None,
        gaps: Literal[False] = False,
        overflow: Literal["drop_oldest", "must_deliver", "pause"] = "drop_oldest",
        limit: int = policy.EVENT_QUEUE,
    ) -> EventStream[E]: ...
    @overload
    def events(
        self,
        event: type[E],
        *,
        account: Account | None = None,
        gaps: Literal[True],
        overflow: Literal["drop_oldest", "must_deliver", "pause"] = "drop_oldest",
        limit: int = policy.EVENT_QUEUE,
    ) -> EventStream[E | Gap]: ...
    def events(
        self,
        event: type[E],
        *,
        account: Account | None = None,
        gaps: bool = False,
        overflow: Literal["drop_oldest", "must_deliver", "pause"] = "drop_oldest",
        limit: int = policy.EVENT_QUEUE,
    ) -> EventStream[E] | EventStream[E | Gap]:
        """Every event of this class from now on, in wire order; of one account, or of all.

        The stream is subscribed at once, before anything that is awaited next, so an execution cannot slip by between order and stream.
        At most `limit` events wait for a slow reader; with `gaps=True` a Gap stands where older ones were dropped. Raises
        InvalidRequest for a class that is no event.
        """
        if not registry.is_event(event):
            raise InvalidRequest(f"{event.__name__} is no event: {', '.join(sorted(cls.__name__ for cls in registry.EVENTS))} are")
        name = event.__name__
        stream: EventStream[E] = EventStream(
            name,
            limit=limit,
            overflow=overflow,
            gaps=gaps,
            on_close=lambda: self._events.remove(event, sink),
            on_drop=self._report_drop(name),
        )
        sink = stream.put_nowait if account is None else _of_account(account.id, stream.put_nowait)
        self._events.add(event, sink)
        if account is None:
            self._join(stream)
        else:
            self._join(stream, self._line_of(account.id), account.id)
        return stream

    def on(
        self,
        event: type[E],
        handler: Callable[[E], Awaitable[object] | object],
        *,
        account: Account | None = None,
        overflow: Literal["drop_oldest", "must_deliver", "pause"] = "drop_oldest",
        limit: int = policy.EVENT_QUEUE,
    ) -> EventStream[E]:
        """Call `handler` with every event of this class from now on, one after the other, in wire order; close the stream to stop.

        The handler may be a coroutine function. It runs in a task of its own that outlives every link; what it raises is logged, and the
        next event comes all the same.
        """
        stream = self.events(event, account=account, overflow=overflow, limit=limit)
        self._call_back(stream, handler)
        return stream

    @overload
    def spots(
        self,
        account: Account,
        *symbols: str,
        timestamps: bool = False,
        gaps: Literal[False] = False,
        overflow: Literal["drop_oldest", "latest"] = "drop_oldest",
        limit: int = policy.EVENT_QUEUE,
    ) -> QuoteStream: ...
    @overload
    def spots(
        self,
        account: Account,
        *symbols: str,
        timestamps: bool = False,
        gaps: Literal[True],
        overflow: Literal["drop_oldest", "latest"] = "drop_oldest",
        limit: int = policy.EVENT_QUEUE,
    ) -> EventStream[Quote | Gap]: ...
    def spots(
        self,
        account: Account,
        *symbols: str,
        timestamps: bool = False,
        gaps: bool = False,
        overflow: Literal["drop_oldest", "latest"] = "drop_oldest",
        limit: int = policy.EVENT_QUEUE,
    ) -> QuoteStream | EventStream[Quote | Gap]:
        """Quotes of these symbols: both sides always, as decimals with the symbol's digits.

        The first one of a symbol is its last known price, also when its market is closed. `timestamps` asks the server for its own time
        of each price. At most `limit` quotes wait for a slow reader; with `overflow="latest"` only the newest one of each symbol does.
        With `gaps=True` a Gap stands where something was missed. Raises InvalidRequest without a symbol; the stream raises
        ConfigurationError for a symbol that the account lacks.
        """
        options: dict[str, Any] = {"timestamps": timestamps, "gaps": gaps, "overflow": overflow, "limit": limit}
        if overflow == "latest":
            options["key"] = _symbol_of
        return self._joined(QuoteStream(self._market, account, _distinct(symbols), "spots", **options))

    @overload
    def bars(
        self, account: Account, *symbols: str, period: Period, gaps: Literal[False] = False, limit: int = policy.EVENT_QUEUE
    ) -> BarStream: ...
    @overload
    def bars(
        self, account: Account, *symbols: str, period: Period, gaps: Literal[True], limit: int = policy.EVENT_QUEUE
    ) -> EventStream[Bar | Gap]: ...
    def bars(
        self, account: Account, *symbols: str, period: Period, gaps: bool = False, limit: int = policy.EVENT_QUEUE
    ) -> BarStream | EventStream[Bar | Gap]:
        """The bars of these symbols that are forming now, at each change, with a close; of bid prices, as cTrader makes them.

        With `gaps=True` a Gap stands where something was missed: bars that ended in it are to be asked for (ProtoOAGetTrendbarsReq).
        """
        return self._joined(BarStream(self._market, account, _distinct(symbols), period, gaps=gaps, limit=limit))

    @overload
    def depth(self, account: Account, *symbols: str, gaps: Literal[False] = False, limit: int = policy.EVENT_QUEUE) -> DepthStream: ...
    @overload
    def depth(self, account: Account, *symbols: str, gaps: Literal[True], limit: int = policy.EVENT_QUEUE) -> EventStream[Depth | Gap]: ...
    def depth(
        self, account: Account, *symbols: str, gaps: bool = False, limit: int = policy.EVENT_QUEUE
    ) -> DepthStream | EventStream[Depth | Gap]:
        """The order books of these symbols, whole after each change, the best prices first.

        With `gaps=True` a Gap stands where something was missed.
        """
        return self._joined(DepthStream(self._market, account, _distinct(symbols), "depth", gaps=gaps, limit=limit))

    async def symbols(self, account: Account, *names: str) -> list[Symbol]:
        """The symbols of these names, with the ids that requests want. Raises ConfigurationError for a name that the account lacks."""
        return await self._market.symbols.named(account, _distinct(names))

    # --- what the base class wants --------------------------------------------------------------------------------------------------

    def _lines(self) -> Sequence[OpenApiLine]:
        return self._open_api_lines

    # --- inside ---------------------------------------------------------------------------------------------------------------------

    def _control(self, line: OpenApiLine, message: Message) -> None:
        if isinstance(message, ProtoOAClientDisconnectEvent):
            if line.link is not None:
                line.link.fail(LinkLost(f"the server disconnects this client: {message.reason or 'it gives no reason'}"))
        elif isinstance(message, ProtoOAAccountAuthRes):
            line.account_authorised(message.ctidTraderAccountId)
        elif isinstance(message, ProtoOAAccountDisconnectEvent):
            line.account_dropped(message.ctidTraderAccountId, "the server ended the account's session")
        elif isinstance(message, ProtoOAAccountsTokenInvalidatedEvent):
            reason = f"the server invalidated the token: {message.reason or 'it gives no reason'}"
            for account_id in message.ctidTraderAccountIds:
                line.account_dropped(account_id, reason, token_refused=True)
        elif isinstance(message, (ProtoErrorRes, ProtoOAErrorRes)) and not line.refusal_came(judge(message, wall=self._clock.wall())):
            self._report_unknown(f"{type(message).__name__} that nobody asked for")

    async def _restore_account(self, account: Account) -> None:
        await self._market.restore(account)

    def _account_missed(self, line: OpenApiLine, account: Account, gap: Gap) -> None:
        self._tell_gap(gap, line, account.id)

    def _joined(self, stream: MS) -> MS:
        self._events.add(ProtoOASpotEvent, self._market.spot_event)  # from the first market stream on; before, nobody need look
        self._events.add(ProtoOADepthEvent, self._market.depth_event)
        stream._on_drop = self._report_drop(stream.name)
        self._join(stream, self._line_of(stream.account.id), stream.account.id)
        return stream

    def _report_unknown(self, what: str) -> None:
        if what not in self._unknown:
            self._unknown.add(what)
            self._hooks.emit(Unclassified(source=self.name, what=what))


def _of_account(account_id: int, sink: Sink) -> Sink:
    def filtered(message: Any) -> None:
        if getattr(message, "ctidTraderAccountId", account_id) == account_id:
            sink(message)

    return filtered


def _distinct(symbols: tuple[str, ...]) -> tuple[str, ...]:
    if not symbols:
        raise InvalidRequest("name at least one symbol, such as 'EURUSD'")
    return tuple(dict.fromkeys(symbols))


def _symbol_of(quote: Quote) -> str:
    return quote.symbol
