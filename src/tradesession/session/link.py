"""Link: one connection, from its opening to its one and only end.

A Link lives once: at the first fatal error it is thrown away, and its owner opens another. It knows correlation, heartbeats, quotas and
deadlines, and nothing of what a message means: that is the Dialect's. It has no task: everything happens in the transport's callbacks
and in the clock's timers, so nothing can outlive it. Always holds: an answer reaches whoever waits for it and nobody else; everything else
is handed on in wire order; when the Link ends, every waiting request ends with it, at once, each with an error that says whether it left.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from tradesession import policy
from tradesession.clock import Clock, TimerHandle
from tradesession.errors import DeadlineExceeded, Error, LinkLost, NotSent, OutcomeUnknown, ProtocolError
from tradesession.hooks import Heartbeat, Hooks, LateReply, QuotaWaited, RequestTimed
from tradesession.protocol.correlation import Correlator
from tradesession.protocol.keepalive import Keepalive, Pulse
from tradesession.protocol.turns import Lane, Turns
from tradesession.timing import deadline
from tradesession.transports.stream import Transport

M = TypeVar("M")

Envelope = tuple[int, str, bytes]
"""An Incoming as a plain tuple, which is quicker made: there is one for each quote of the day."""


class Incoming(NamedTuple):
    """One received message, its body not yet read."""

    kind: int
    """The platform's number for the type of message."""
    correlation_id: str
    """Empty when it carries none."""
    body: bytes


class Dialect(Protocol[M]):
    """How one platform's messages become frames and back. One object per Link: the quotas in it are the connection's."""

    def encode(self, message: M, correlation_id: str) -> bytes:
        """The frame of a request. Raises InvalidRequest for a message that cannot travel as it is."""

    def heartbeat(self) -> bytes:
        """The frame that says that we are alive."""

    def decode(self, frame: bytes) -> Envelope:
        """What is in a frame. Raises ProtocolError, which ends the Link, when it is none."""

    def read_reply(self, request: M, incoming: Incoming) -> M:
        """The reply. Raises Rejected for a refusal, ProtocolError for what is no reply to this request; the Link lives on."""

    def is_event(self, incoming: Incoming) -> bool:
        """Whether this also goes to the streams when it answers a request."""

    def lane(self, message: M) -> Lane:
        """What the request counts as."""

    def kind(self, message: M) -> int:
        """The platform's number for the type of the request, which a server may block."""

    def has_effects(self, message: M) -> bool:
        """Whether executing the request twice would do something twice."""

    def name(self, message: M) -> str:
        """The request's name, for errors and records."""


class _Waiting(Generic[M]):
    """A request and who waits for its reply. It shows nothing of the request, which may hold a secret."""

    __slots__ = ("future", "name", "request")

    def __init__(self, request: M, name: str) -> None:
        self.request = request
        self.name = name
        self.future: asyncio.Future[M] = asyncio.get_running_loop().create_future()

    def fail(self, error: Error) -> None:
        if not self.future.done():
            self.future.set_exception(error.with_traceback(None))  # the frames of its making hold the request and the answer


class Link(Generic[M]):
    """A connection in use. Make it, connect a transport with it as Receiver, then `attach` the transport.

    `on_event` gets everything that answers nobody; it must neither wait nor raise. `on_lost` is told once why the Link ended.
    """

    def __init__(
        self,
        dialect: Dialect[M],
        turns: Turns[asyncio.Future[None]],
        *,
        clock: Clock,
        prefix: str,
        source: str,
        on_event: Callable[[Envelope], None],
        on_lost: Callable[[Error], None],
        hooks: Hooks | None = None,
        heartbeat_interval: float = policy.HEARTBEAT_INTERVAL,
        liveness_timeout: float = policy.LIVENESS_TIMEOUT,
        request_timeout: float = policy.REQUEST_TIMEOUT,
    ) -> None:
        self._dialect = dialect
        self._clock = clock
        self._source = source
        self._on_event = on_event
        self._on_lost = on_lost
        self._hooks = hooks or Hooks()
        self._request_timeout = request_timeout
        self._liveness_timeout = liveness_timeout
        self._correlator: Correlator[_Waiting[M]] = Correlator(prefix)
        self._keepalive = Keepalive(clock.monotonic(), interval=heartbeat_interval, liveness_timeout=liveness_timeout)
        self._transport: Transport | None = None
        self._timer: TimerHandle | None = None
        self._turns = turns
        self._turn_timer: TimerHandle | None = None
        self.cause: Error | None = None
        """Why the Link ended; None while it lives."""

    def attach(self, transport: Transport) -> None:
        """The transport is connected: heartbeats begin."""
        self._transport = transport
        if self.cause is None:
            self._keepalive.begin(self._clock.monotonic())
            self._arm(transport)
        else:
            transport.abort()

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answer."""
        return len(self._correlator)

    @property
    def silence(self) -> float:
        """Seconds since the server was last heard."""
        return self._keepalive.silence(self._clock.monotonic())

    def request(self, message: M, *, timeout: float | None = None, send_within: float = math.inf) -> Coroutine[Any, Any, M]:
        """Send, and wait for the reply; `timeout` in seconds covers everything from here to the reply, `send_within` the way to the wire.

        Raises Rejected, ProtocolError (the answer was none), NotSent, DeadlineExceeded, LinkLost or, where `message` has effects and
        its fate is not known, OutcomeUnknown.
        """
        # Not a coroutine itself: its frame would stand in tracebacks, and tools that print their variables would print the message.
        waiting = _Waiting(message, self._dialect.name(message))
        return self._request(waiting, self._request_timeout if timeout is None else timeout, send_within)

    async def _request(self, waiting: _Waiting[M], budget: float, send_within: float) -> M:
        called_at = self._clock.monotonic()
        self._connected(waiting)
        await self._wait_for_turn(waiting, called_at, min(budget, send_within))
        transport = self._connected(waiting)
        sent_at = self._clock.monotonic()
        if sent_at >= called_at + budget and self._dialect.has_effects(waiting.request):  # who wanted it wants it no more
            raise NotSent(f"{waiting.name} was not sent: its time was over before its turn came")
        correlation_id = self._correlator.register(waiting)
        try:
            transport.send(self._dialect.encode(waiting.request, correlation_id))
        except BaseException:
            self._correlator.resolve(correlation_id)
            raise
        timer = self._clock.call_at(called_at + budget, lambda: self._expire(waiting, budget))
        outcome = "reply"
        try:
            return await waiting.future
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            timer.cancel()
            self._correlator.give_up(correlation_id)
            seconds = self._clock.monotonic() - sent_at
            self._hooks.emit(RequestTimed(source=self._source, request=waiting.name, seconds=seconds, outcome=outcome))

    def block(self, kind: int, seconds: float) -> None:
        """The server takes no requests of this type for so long: they stand aside."""
        self._turns.block(kind, self._clock.monotonic() + seconds)

    def pause(self, seconds: float) -> None:
        """The server has had enough requests of every type for so long."""
        self._turns.pause(self._clock.monotonic() + seconds)

    async def aclose(self, timeout: float = policy.CLOSE_TIMEOUT) -> None:
        """End in order, within `timeout` seconds."""
        if self._transport is None:
            self.lost(LinkLost("closed by this side"))
        else:
            await self._transport.aclose(timeout)

    def fail(self, cause: Error) -> None:
        """End now, for this reason."""
        self.lost(cause)
        if self._transport is not None:
            self._transport.abort()

    # --- Receiver -------------------------------------------------------------------------------------------------------------

    def received(self, frames: Iterable[bytes]) -> None:
        """See Receiver."""
        self._keepalive.received(self._clock.monotonic())
        decode, on_event = self._dialect.decode, self._on_event
        for frame in frames:
            if self.cause is not None:
                return
            incoming = decode(frame)
            if not (incoming[1] and self._is_answer(Incoming(*incoming))):
                on_event(incoming)

    def lost(self, cause: Error) -> None:
        """See Receiver. Only the first cause counts."""
        if self.cause is not None:
            return
        self.cause = cause
        for timer in (self._timer, self._turn_timer):
            if timer is not None:
                timer.cancel()
        for turn in self._turns.drain():
            _resume(turn)
        for waiting in self._correlator.drain():
            waiting.fail(self._unanswered(waiting, cause))
        self._on_lost(cause)

    # --- inside ---------------------------------------------------------------------------------------------------------------

    def _is_answer(self, incoming: Incoming) -> bool:
        """Give it to whoever waits for it; False for what is (also) an event."""
        waiting = self._correlator.resolve(incoming.correlation_id)
        if waiting is not None:
            self._answer(waiting, incoming)
        elif self._correlator.is_late(incoming.correlation_id):
            self._hooks.emit(LateReply(source=self._source, kind=str(incoming.kind)))
        else:
            return False
        return not self._dialect.is_event(incoming)

    def _answer(self, waiting: _Waiting[M], incoming: Incoming) -> None:
        try:
            reply = self._dialect.read_reply(waiting.request, incoming)
        except ProtocolError as error:
            waiting.fail(self._unreadable(waiting, error))
        except Error as error:
            waiting.fail(error)
        else:
            if not waiting.future.done():
                waiting.future.set_result(reply)

    def _unreadable(self, waiting: _Waiting[M], error: ProtocolError) -> Error:
        if not self._dialect.has_effects(waiting.request):
            return error
        unknown = OutcomeUnknown(f"{waiting.name} was answered, but not so that it can be read ({error}): it may have been executed")
        unknown.__cause__ = error.with_traceback(None)
        return unknown

    def _unanswered(self, waiting: _Waiting[M], cause: Error) -> Error:
        error: Error
        if self._dialect.has_effects(waiting.request):
            error = OutcomeUnknown(
                f"{waiting.name} was sent, and the link ended before its answer came ({cause}): it may have been executed"
            )
        else:
            error = LinkLost(f"the link ended before {waiting.name} was answered: {cause}")
        error.__cause__ = cause
        return error

    def _expire(self, waiting: _Waiting[M], budget: float) -> None:
        if self._dialect.has_effects(waiting.request):
            waiting.fail(OutcomeUnknown(f"{waiting.name} was sent, and no answer came within {budget:.3g} s: it may have been executed"))
        else:
            waiting.fail(DeadlineExceeded(f"{waiting.name} was not answered within {budget:.3g} s; it only reads, so it may be repeated"))

    def _connected(self, waiting: _Waiting[M]) -> Transport:
        if self.cause is not None or self._transport is None:
            raise NotSent(f"{waiting.name} was not sent: {self.cause or 'the link is not connected yet'}") from self.cause
        return self._transport

    async def _wait_for_turn(self, waiting: _Waiting[M], called_at: float, budget: float) -> None:
        """Wait for the quota and for room in the send buffer, or for the end of the link."""
        transport = self._connected(waiting)
        lane, kind = self._dialect.lane(waiting.request), self._dialect.kind(waiting.request)
        has_turn = self._turns.go(lane, kind, called_at)
        if has_turn and transport.is_writable:
            return
        if not has_turn and (earliest := self._turns.earliest(lane, kind, called_at)) > called_at + budget:
            wait = earliest - called_at
            raise NotSent(f"{waiting.name} was not sent: the quota has room in {wait:g} s, and it may wait {budget:.3g} s")
        try:
            async with deadline(self._clock, budget):
                if not has_turn:
                    await self._stand_in_line(lane, kind)
                await transport.writable()
        except TimeoutError:
            reason = "the server does not read" if has_turn else "the quota is used up"
            raise NotSent(f"{waiting.name} was not sent within its {budget:.3g} s: {reason}") from None
        seconds = self._clock.monotonic() - called_at
        self._hooks.emit(QuotaWaited(source=self._source, request=waiting.name, seconds=seconds))

    async def _stand_in_line(self, lane: Lane, kind: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.join(turn, lane, kind)
        self._call_turns()
        try:
            await turn
        finally:
            self._turns.leave(turn)

    def _call_turns(self) -> None:
        """Let everybody go whose turn it is, and see to the next."""
        now = self._clock.monotonic()
        for turn in self._turns.due(now):
            _resume(turn)
        if self._turn_timer is not None:
            self._turn_timer.cancel()
        next_at = self._turns.next_at(now)
        self._turn_timer = self._clock.call_at(next_at, self._call_turns) if next_at is not None and self.cause is None else None

    def _arm(self, transport: Transport) -> None:
        self._timer = self._clock.call_at(self._keepalive.next_poll(), lambda: self._beat(transport))

    def _beat(self, transport: Transport) -> None:
        now = self._clock.monotonic()
        self._keepalive.looked(now, 0 if transport.is_writable else transport.unsent)
        pulse = self._keepalive.poll(now)
        if pulse is Pulse.DEAD:
            if self._keepalive.is_deaf(now):
                self.fail(LinkLost(f"the server reads nothing: {transport.unsent} bytes have waited for {self._liveness_timeout:.0f} s"))
            else:
                self.fail(LinkLost(f"no sign of life from the server for {self._keepalive.silence(now):.0f} s"))
            return
        if pulse is Pulse.BEAT:
            transport.send(self._dialect.heartbeat())
            self._hooks.emit(Heartbeat(source=self._source, silence=self._keepalive.silence(now)))
        self._arm(transport)


def _resume(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
