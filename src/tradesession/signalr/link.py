"""HubLink: one hub connection in use: calls, streams, uploads, and the server's own calls.

A HubLink lives once. Everything that waits for an answer is failed, or ended, in the moment in which the connection ends. The reader never
waits: items go to sinks, calls of the server to the owner, uploads have tasks of their own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

from tradesession.clock import Clock
from tradesession.errors import DeadlineExceeded, Error, LinkLost, NotSent, OutcomeUnknown
from tradesession.hooks import Hooks, RequestTimed
from tradesession.protocol.signalr.machine import HubEvent, Outgoing, Stray
from tradesession.protocol.signalr.records import CancelInvocation, Completion, Invocation, StreamItem
from tradesession.signalr.config import Config
from tradesession.signalr.errors import CallLost, HubError
from tradesession.signalr.opening import Opener
from tradesession.signalr.wire import Wire
from tradesession.tasks import TaskOwner

_log = logging.getLogger("tradesession.signalr")

_TOLD = 1000  # characters of an error that a server is told


class StreamSink(Protocol):
    """Where the items of one stream go. Neither method may wait or raise."""

    def item(self, item: Any) -> None:
        """One item."""

    def ended(self, error: Exception | None) -> None:
        """No more will come: the method has ended, in order or with an error, or the connection has."""


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


class _Call:
    """A call and who waits for its result. It shows nothing of its arguments."""

    __slots__ = ("future", "name", "repeatable")

    def __init__(self, name: str, *, repeatable: bool) -> None:
        self.name = name
        self.repeatable = repeatable
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error.with_traceback(None))

    def lose(self, cause: Error) -> None:
        error: Error
        if self.repeatable:
            error = LinkLost(f"the connection ended before {self.name} was answered: {cause}")
        else:
            error = CallLost(f"{self.name} was sent, and the connection ended before its answer came ({cause}): it may have been executed")
        error.__cause__ = cause
        self.fail(error)

    def expire(self, budget: float) -> None:
        if self.repeatable:
            self.fail(DeadlineExceeded(f"{self.name} was not answered within {budget:g} s; it may be repeated"))
        else:
            self.fail(OutcomeUnknown(f"{self.name} was sent, and no answer came within {budget:g} s: it may have been executed"))


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
        self._calls: dict[str, _Call] = {}
        self._sinks: dict[str, tuple[str, StreamSink]] = {}
        self._uploads: dict[str, list[asyncio.Task[None]]] = {}
        self._tasks = TaskOwner()
        self._drained: asyncio.Future[None] | None = None

    @property
    def cause(self) -> Error | None:
        """Why the connection ended; None while it lives."""
        return self.wire.cause

    @property
    def is_in_use(self) -> bool:
        """Whether a call, a stream or an upload is under way."""
        return bool(self._calls or self._sinks or self._tasks)

    async def open(self) -> None:
        """See Wire."""
        await self.wire.open()

    async def handshake(self) -> None:
        """See Wire."""
        await self.wire.handshake()

    # --- calls ----------------------------------------------------------------------------------------------------------------------

    async def invoke(self, target: str, arguments: Sequence[Any], *, until: float, budget: float, repeatable: bool) -> Any:
        """Call a method and wait for its result; asynchronous iterables among the arguments are streamed to it.

        `until` is the deadline on the clock, `budget` what the caller had set for it in seconds.

        Raises HubError, NotSent (InvalidRequest among them); after a deadline or a loss DeadlineExceeded or LinkLost for what is
        `repeatable`, OutcomeUnknown or CallLost for the rest. What a waiter gives up is cancelled on the server.
        """
        await self.wire.room(target, until, budget)
        plain, streamed = _parted(arguments)
        outgoing = self.wire.machine.invoke(target, plain, len(streamed))
        call = self._calls[outgoing.invocation_id] = _Call(target, repeatable=repeatable)
        sent_at = self._clock.monotonic()
        self.wire.send(outgoing.data)
        self._upload(outgoing, target, streamed, call.fail)
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
                self._abandon(outgoing.invocation_id)
            seconds = self._clock.monotonic() - sent_at
            self._hooks.emit(RequestTimed(source=self._config.name, request=target, seconds=seconds, outcome=outcome))

    async def send(self, target: str, arguments: Sequence[Any], *, until: float, budget: float) -> None:
        """Call a method without waiting for anything; whether it exists, or fails, is not told. Raises NotSent."""
        await self.wire.room(target, until, budget)
        plain, streamed = _parted(arguments)
        outgoing = self.wire.machine.send(target, plain, len(streamed))
        self.wire.send(outgoing.data)
        self._upload(
            outgoing, target, streamed, lambda error: _log.warning("%s: an upload to %s failed: %s", self._config.name, target, error)
        )

    def stream(self, target: str, arguments: Sequence[Any], sink: StreamSink) -> str:
        """Call a method that answers with items; they go to the sink from now on. The id to `cancel` it by. Never waits. Raises NotSent."""
        if self.wire.cause is not None:
            raise NotSent(f"{target} was not sent: {self.wire.cause}") from self.wire.cause
        plain, streamed = _parted(arguments)
        outgoing = self.wire.machine.stream(target, plain, len(streamed))
        self._sinks[outgoing.invocation_id] = (target, sink)
        self.wire.send(outgoing.data)

        def fail(error: Exception) -> None:
            if self.cancel(outgoing.invocation_id):
                sink.ended(error)

        self._upload(outgoing, target, streamed, fail)
        return outgoing.invocation_id

    def cancel(self, invocation_id: str) -> bool:
        """The items are not wanted any more; the sink hears nothing of it. False when the stream has ended already."""
        if self._sinks.pop(invocation_id, None) is None:
            return False
        self._abandon(invocation_id)
        return True

    # --- the server's calls -----------------------------------------------------------------------------------------------------------

    def answer(self, invocation_id: str, result: Any) -> None:
        """The result that the server asked for. Raises InvalidRequest for one that cannot travel; it is still owed then."""
        self._deliver(self.wire.machine.answer(invocation_id, result))

    def refuse(self, invocation_id: str, error: str) -> None:
        """No result, but an error."""
        self._deliver(self.wire.machine.refuse(invocation_id, error))

    # --- the end ------------------------------------------------------------------------------------------------------------------------

    def fail(self, cause: Error) -> None:
        """End now, for this reason."""
        self.wire.end(cause)

    async def drained(self) -> None:
        """Wait until nothing is under way any more, or the connection is over."""
        while self.is_in_use and self.cause is None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    async def aclose(self, timeout: float) -> None:
        """End in order, within `timeout` seconds; uploads that still run are cancelled."""
        await self.wire.aclose(timeout)
        await self._tasks.aclose()

    # --- inside -------------------------------------------------------------------------------------------------------------------------

    def _take(self, event: HubEvent) -> None:
        if isinstance(event, StreamItem):
            self._sinks[event.invocation_id][1].item(event.item)
        elif isinstance(event, Completion):
            self._complete(event)
        elif isinstance(event, Invocation):
            self._owner.called(self, event)
        elif isinstance(event, CancelInvocation):
            self._owner.recalled(self, event.invocation_id)
        elif isinstance(event, Stray):
            self._owner.strayed(event.what)

    def _complete(self, completion: Completion) -> None:
        call = self._calls.pop(completion.invocation_id, None)
        target, sink = (call.name, None) if call is not None else self._sinks.pop(completion.invocation_id)
        error = HubError(self.wire.public(completion.error), method=target) if completion.error is not None else None
        self._end_uploads(completion.invocation_id)
        if sink is not None:
            sink.ended(error)
        elif call is not None and error is not None:
            call.fail(error)
        elif call is not None and not call.future.done():
            call.future.set_result(completion.result)
        self._look_drained()

    def _abandon(self, invocation_id: str) -> None:
        self._end_uploads(invocation_id)
        self._deliver(self.wire.machine.abandon(invocation_id))
        self._look_drained()

    def _deliver(self, data: bytes | None) -> None:
        if data is not None and self.wire.cause is None:
            self.wire.send(data)

    def _ended(self, cause: Error) -> None:
        calls, self._calls = self._calls, {}
        sinks, self._sinks = self._sinks, {}
        for invocation_id in tuple(self._uploads):
            self._end_uploads(invocation_id)
        for call in calls.values():
            call.lose(cause)
        for target, sink in sinks.values():
            error = LinkLost(f"the connection ended before the stream of {target} did: {cause}")
            error.__cause__ = cause
            sink.ended(error)
        self._look_drained()
        self._owner.ended(self, cause)

    def _look_drained(self) -> None:
        if self._drained is not None and not self._drained.done() and (not self.is_in_use or self.cause is not None):
            self._drained.set_result(None)

    # --- uploads --------------------------------------------------------------------------------------------------------------------------

    def _upload(self, outgoing: Outgoing, target: str, streamed: list[AsyncIterable[Any]], fail: Callable[[Exception], object]) -> None:
        for stream_id, items in zip(outgoing.stream_ids, streamed, strict=True):
            task = self._tasks.spawn(self._pump(stream_id, target, items, fail), name=f"upload to {target}")
            task.add_done_callback(lambda _: self._look_drained())
            if outgoing.invocation_id:  # else nothing but their own end ends them
                self._uploads.setdefault(outgoing.invocation_id, []).append(task)

    def _end_uploads(self, invocation_id: str) -> None:
        for task in self._uploads.pop(invocation_id, ()):
            task.cancel()

    async def _pump(self, stream_id: str, target: str, items: AsyncIterable[Any], fail: Callable[[Exception], object]) -> None:
        """Send the items of one upload. What its iterable raises fails the call, and the server is told that there is no more."""
        async with AsyncExitStack() as stack:
            if hasattr(items, "aclose"):
                stack.push_async_callback(items.aclose)
            try:
                async for item in items:
                    await self.wire.room(target)
                    data = self.wire.machine.upload(stream_id, item)
                    if data is None:
                        return  # no more is wanted
                    self._deliver(data)
                self._deliver(self.wire.machine.end_upload(stream_id))
            except Exception as error:  # the user's own, or an item that cannot travel: the user's own task gets to see it
                if self.wire.cause is None:
                    self._deliver(self.wire.machine.end_upload(stream_id, told(error)))
                    fail(error)


def told(error: Exception) -> str:
    """What the server is told of a failure on our side: the text of a HubError, which is meant for it, and nothing of any other."""
    return error.description[:_TOLD] if isinstance(error, HubError) else "an error on the client's side"


def _parted(arguments: Sequence[Any]) -> tuple[list[Any], list[AsyncIterable[Any]]]:
    """The arguments that travel within the call, and those that are streamed."""
    plain = [argument for argument in arguments if not isinstance(argument, AsyncIterable)]
    return plain, [argument for argument in arguments if isinstance(argument, AsyncIterable)]
