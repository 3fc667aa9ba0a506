"""HubLink: one hub connection in use: calls, streams, uploads, and the server's own calls.

A HubLink lives once. Everything that waits for an answer is failed, or ended, in the moment in which the connection ends. The reader never
waits: items go to sinks, calls of the server to the owner, uploads have tasks of their own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from tradesession.clock import Clock
from tradesession.errors import Error, NotSent
from tradesession.hooks import Hooks, LateReply, RequestTimed
from tradesession.protocol.signalr.machine import HubEvent, Late, Stray
from tradesession.protocol.signalr.records import CancelInvocation, Completion, Invocation, StreamItem
from tradesession.signalr.config import Config
from tradesession.signalr.errors import HubError
from tradesession.signalr.opening import Opener
from tradesession.signalr.slots import Slots
from tradesession.signalr.underway import Call, OpenStream, StreamSink
from tradesession.signalr.uploads import Uploads, parted
from tradesession.signalr.wire import Wire
from tradesession.timing import deadline

_log = logging.getLogger("tradesession.signalr")


class LinkOwner(Protocol):
    """Who owns a HubLink. No method may wait or raise."""

    def called(self, link: HubLink, call: Invocation) -> None:
        """The server calls; with an `invocation_id` it wants an answer, by `HubLink.answer` or `refuse`."""

    def recalled(self, link: HubLink, invocation_id: str) -> None:
        """The server does not want the answer any more."""

    def strayed(self, what: str) -> None:
        """Something came that belongs to nothing."""

    def ended(self, link: HubLink, cause: Error) -> None:
        """The connection is over."""


class HubLink:
    """A connection to a hub. `open`, then `handshake`, then use; `aclose` at the end, whatever became of it."""

    def __init__(
        self, config: Config, opener: Opener, owner: LinkOwner, *, clock: Clock, hooks: Hooks, chance: Callable[[], float]
    ) -> None:
        self.wire = Wire(config, opener, clock=clock, hooks=hooks, chance=chance, on_event=self._take, on_end=self._ended)
        self._config = config
        self._owner = owner
        self._clock = clock
        self._hooks = hooks
        self._slots = Slots(None)
        self._turns: set[asyncio.Future[None]] = set()
        self._calls: dict[str, Call] = {}
        self._streams: dict[str, OpenStream] = {}
        self._in_line: set[OpenStream] = set()  # streams that wait for their turn
        self._uploads = Uploads(self.wire, self._look_drained)
        self._drained: asyncio.Future[None] | None = None

    @property
    def cause(self) -> Error | None:
        """Why the connection ended; None while it lives."""
        return self.wire.cause

    @property
    def is_in_use(self) -> bool:
        """Whether a call, a stream or an upload is under way."""
        return bool(self._calls or self._streams or self._turns or self._in_line or self._uploads)

    async def open(self) -> None:
        """See Wire."""
        await self.wire.open()
        if self.wire.is_stateful:
            self._slots = Slots(self._config.parallel)

    async def handshake(self) -> None:
        """See Wire."""
        await self.wire.handshake()

    # --- calls ----------------------------------------------------------------------------------------------------------------------

    async def invoke(self, target: str, arguments: tuple[Any, ...], *, until: float, budget: float, repeatable: bool) -> Any:
        """Call a method and wait for its result; asynchronous iterables among the arguments are streamed to it.

        `until` is the deadline on the clock, `budget` what the caller had set for it in seconds. Raises HubError, NotSent (InvalidRequest
        among them); after a deadline or a loss DeadlineExceeded or LinkLost for what is `repeatable`, OutcomeUnknown or CallLost for the
        rest. What a caller gives up is cancelled on the server.
        """
        await self._turn(target, until, budget)
        try:
            await self.wire.room(target, until, budget)
            plain, streamed = parted(arguments)
            outgoing = self.wire.machine.invoke(target, plain, len(streamed))
        except BaseException:
            self._slots.give_back()
            raise
        call = self._calls[outgoing.invocation_id] = Call(target, repeatable=repeatable)
        sent_at = self._clock.monotonic()
        self.wire.send(outgoing.data)
        self._uploads.begin(outgoing, target, streamed, call.fail)
        timer = self._clock.call_at(until, lambda: call.expire(budget))
        outcome = "reply"
        try:
            return await call.future
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            timer.cancel()
            if self._calls.pop(outgoing.invocation_id, None) is not None:
                self._abandon(outgoing.invocation_id, target)
            seconds = self._clock.monotonic() - sent_at
            self._hooks.emit(RequestTimed(source=self._config.name, request=target, seconds=seconds, outcome=outcome))

    async def send(self, target: str, arguments: tuple[Any, ...], *, until: float, budget: float) -> None:
        """Call a method without waiting for anything; whether it exists, or fails, is not told. Raises NotSent."""
        await self._turn(target, until, budget)
        try:
            await self.wire.room(target, until, budget)
            plain, streamed = parted(arguments)
            outgoing = self.wire.machine.send(target, plain, len(streamed))
            self.wire.send(outgoing.data)
        finally:
            self._slots.give_back()  # when the server is done with it, nobody tells

        def report(error: Exception) -> None:
            _log.warning("%s: an upload to %s failed: %s", self._config.name, target, error)

        self._uploads.begin(outgoing, target, streamed, report)

    # --- streams ----------------------------------------------------------------------------------------------------------------------

    def stream(self, target: str, arguments: tuple[Any, ...], sink: StreamSink) -> OpenStream:
        """Call a method that answers with items; they go to the sink from now on. Never waits.

        What prevents it is told to the sink. Raises NotSent when the connection has ended.
        """
        if self.wire.cause is not None:
            raise NotSent(f"{target} was not sent: {self.wire.cause}") from self.wire.cause
        stream = OpenStream(self, target, arguments, sink)
        self._in_line.add(stream)
        self._slots.enter(stream.begin, takes=False)
        return stream

    def begin_stream(self, stream: OpenStream, arguments: tuple[Any, ...]) -> str:
        """For OpenStream: its turn has come; its id. Raises InvalidRequest."""
        self._in_line.discard(stream)
        plain, streamed = parted(arguments)
        outgoing = self.wire.machine.stream(stream.name, plain, len(streamed))
        self._streams[outgoing.invocation_id] = stream
        self.wire.send(outgoing.data)
        self._uploads.begin(outgoing, stream.name, streamed, stream.fail)
        return outgoing.invocation_id

    def end_stream(self, stream: OpenStream, invocation_id: str) -> bool:
        """For OpenStream: nobody wants the items. False when it is over already."""
        if stream in self._in_line:
            self._in_line.discard(stream)
            self._slots.leave(stream.begin)
            self._look_drained()
            return True
        if self._streams.pop(invocation_id, None) is None:
            return False
        self._abandon(invocation_id)
        return True

    # --- the server's calls -----------------------------------------------------------------------------------------------------------

    def answer(self, invocation_id: str, result: Any) -> None:
        """The result that the server asked for. Raises InvalidRequest for one that cannot travel; it is still owed then."""
        self.wire.deliver(self.wire.machine.answer(invocation_id, result))

    def refuse(self, invocation_id: str, error: str) -> None:
        """No result, but an error."""
        self.wire.deliver(self.wire.machine.refuse(invocation_id, error))

    # --- the end ------------------------------------------------------------------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until nothing is under way any more, or the connection is over."""
        while self.is_in_use and self.cause is None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    async def aclose(self, timeout: float) -> None:
        """End in order, within `timeout` seconds; uploads that still run are cancelled."""
        await self.wire.aclose(timeout)
        await self._uploads.aclose()

    # --- inside -------------------------------------------------------------------------------------------------------------------------

    async def _turn(self, target: str, until: float, budget: float) -> None:
        """Take a slot. Raises NotSent when none is free in time; whoever got one gives it back."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def go() -> None:
            if not turn.done():
                turn.set_result(None)

        self._slots.enter(go, takes=True)
        if turn.done():
            return
        self._turns.add(turn)
        try:
            async with deadline(self._clock, until - self._clock.monotonic()):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._slots.give_back()  # it came in the same moment
            else:
                self._slots.leave(go)
            if isinstance(error, TimeoutError):
                raise NotSent(f"{target} was not sent within its {budget:g} s: it stood behind other calls") from None
            raise
        finally:
            self._turns.discard(turn)

    def _take(self, event: HubEvent) -> None:
        if isinstance(event, StreamItem):
            self._streams[event.invocation_id].sink.item(event.item)
        elif isinstance(event, Completion):
            self._complete(event)
        elif isinstance(event, Invocation):
            self._owner.called(self, event)
        elif isinstance(event, CancelInvocation):
            self._owner.recalled(self, event.invocation_id)
        elif isinstance(event, Late):
            self._come_late(event.name)
        elif isinstance(event, Stray):
            self._owner.strayed(event.what)

    def _complete(self, completion: Completion) -> None:
        invocation_id = completion.invocation_id
        call, stream = self._calls.pop(invocation_id, None), self._streams.pop(invocation_id, None)
        self._uploads.end(invocation_id)
        if call is not None:
            self._slots.give_back()
            if completion.error is None:
                call.succeed(completion.result)
            else:
                call.fail(HubError(self.wire.public(completion.error), method=call.name))
        elif stream is not None:
            error = completion.error
            stream.sink.ended(None if error is None else HubError(self.wire.public(error), method=stream.name))
        self._look_drained()

    def _come_late(self, name: str | None) -> None:
        """What was given up has ended; for a stream, which has no name here, that is how it should be."""
        if name is not None:
            self._slots.give_back()
            self._hooks.emit(LateReply(source=self._config.name, kind=name))

    def _abandon(self, invocation_id: str, name: str | None = None) -> None:
        self._uploads.end(invocation_id)
        self.wire.deliver(self.wire.machine.abandon(invocation_id, name))
        self._look_drained()

    def _ended(self, cause: Error) -> None:
        calls, streams, in_line = tuple(self._calls.values()), tuple(self._streams.values()), tuple(self._in_line)
        self._calls.clear()
        self._streams.clear()
        self._in_line.clear()
        self._uploads.end_all()
        for turn in self._turns:
            if not turn.done():
                turn.set_result(None)  # whoever waits for it gets to see that the connection is over
        for call in calls:
            call.lose(cause)
        for stream in (*streams, *in_line):
            stream.lose(cause)
        self._look_drained()
        self._owner.ended(self, cause)

    def _look_drained(self) -> None:
        if self._drained is not None and not self._drained.done() and (not self.is_in_use or self.cause is not None):
            self._drained.set_result(None)
