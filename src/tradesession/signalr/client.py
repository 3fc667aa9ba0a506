"""HubClient: what a user does with a hub: calls, streams, events, subscriptions, answers.

May use asyncio. Calls wait for READY within their deadline; streams and subscriptions are intents, which outlive a connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Hashable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from tradesession import policy
from tradesession.errors import InvalidRequest, LinkLost, NotSent
from tradesession.session.session import Session
from tradesession.session.streams import EventStream, Gap, Overflow
from tradesession.signalr.calls import Handler
from tradesession.signalr.feeds import Key, PushFeed, StreamFeed
from tradesession.signalr.line import HubLine, Intent
from tradesession.signalr.link import HubLink
from tradesession.timing import deadline

T = TypeVar("T")


class HubStream(EventStream[T]):
    """An EventStream of a hub. `read` makes of each event what the reader gets, in the reader's own task."""

    def __init__(self, name: str, read: Callable[[Any], T], **options: Any) -> None:
        super().__init__(name, **options)
        self._read = read

    async def __anext__(self) -> T:
        event = await super().__anext__()
        return event if isinstance(event, Gap) else self._read(event)


class Subscription:
    """An effect of a call that is wanted on every connection, until it is closed. Also an async context manager."""

    def __init__(self, client: HubClient, intent: Intent, undo: str | None) -> None:
        self._client = client
        self._intent = intent
        self._undo = undo

    @property
    def cause(self) -> Exception | None:
        """Why the hub refused it on the present connection, though it had taken it before; None when it stands."""
        return self._intent.cause

    @property
    def is_wanted(self) -> bool:
        """Whether it has not been closed yet."""
        return self._intent in self._client._hub_line.intents

    async def aclose(self) -> None:
        """Want it no more, and undo it unless somebody else wants the same. Raises HubError when the hub refuses to."""
        await self._client._unsubscribe(self._intent, self._undo)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()


class HubClient:
    """One hub of a session."""

    def __init__(self, session: Session, line: HubLine) -> None:
        self._hub_session = session
        self._hub_line = line

    # --- calls ------------------------------------------------------------------------------------------------------------------------

    async def invoke(self, method: str, *arguments: Any, timeout: float | None = None, repeatable: bool = False) -> Any:
        """Call a hub method and wait for its result, as JSON gives it; None for a method without one.

        Arguments are what JSON knows, and UUIDs, dates and times. Asynchronous iterables among them are streamed to the method, each of
        their items as it comes. `timeout` (seconds; the configuration's `call_timeout` by default) covers waiting for READY as well.

        Raises HubError when the method fails, NotSent when the call did not leave (InvalidRequest among them). What became of a call
        that left and was not answered is not known: OutcomeUnknown after the deadline, CallLost after a loss. A `repeatable` one may be
        executed twice: it is sent again after a loss, and raises DeadlineExceeded. What the caller gives up is cancelled on the server.
        """
        line, clock = self._hub_line, self._hub_line.clock
        budget = line.config.call_timeout if timeout is None else timeout
        until = clock.monotonic() + budget
        is_streaming = any(isinstance(argument, AsyncIterable) for argument in arguments)
        while True:
            link = await self._usable(method, until - clock.monotonic(), budget)
            try:
                return await link.invoke(method, arguments, until=until, budget=budget, repeatable=repeatable)
            except NotSent as error:
                if isinstance(error, InvalidRequest) or link.cause is None or clock.monotonic() >= until:
                    raise  # the connection stands: it was the server that does not read
            except LinkLost:
                if not repeatable or is_streaming or clock.monotonic() >= until:
                    raise

    async def send(self, method: str, *arguments: Any, timeout: float | None = None) -> None:
        """Call a hub method without an answer: whether it exists or succeeds is not told. Arguments as for `invoke`. Raises NotSent."""
        line = self._hub_line
        budget = line.config.call_timeout if timeout is None else timeout
        until = line.clock.monotonic() + budget
        link = await self._usable(method, budget, budget)
        await link.send(method, arguments, until=until, budget=budget)

    # --- streams ----------------------------------------------------------------------------------------------------------------------

    @overload
    def stream(
        self,
        method: str,
        *arguments: Any,
        restart: bool = False,
        identity: Key | None = None,
        read: None = None,
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Callable[[Any], Hashable] | None = None,
        gaps: bool = False,
    ) -> EventStream[Any]: ...
    @overload
    def stream(
        self,
        method: str,
        *arguments: Any,
        restart: bool = False,
        identity: Key | None = None,
        read: Callable[[Any], T],
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Callable[[Any], Hashable] | None = None,
        gaps: Literal[False] = False,
    ) -> EventStream[T]: ...
    @overload
    def stream(
        self,
        method: str,
        *arguments: Any,
        restart: bool = False,
        identity: Key | None = None,
        read: Callable[[Any], T],
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Callable[[Any], Hashable] | None = None,
        gaps: bool,
    ) -> EventStream[T | Gap]: ...
    def stream(
        self,
        method: str,
        *arguments: Any,
        restart: bool = False,
        identity: Key | None = None,
        read: Callable[[Any], Any] | None = None,
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Callable[[Any], Hashable] | None = None,
        gaps: bool = False,
    ) -> EventStream[Any]:
        """Call a streaming method; its items, in order. It is called at once, and cancelled when the stream is closed.

        The stream ends as the method does, with HubError if that fails. When the connection is lost it ends with LinkLost, unless
        `restart` says that the method may be called again for the rest, as with a live feed: then it goes on with the next connection,
        behind a Gap (with `gaps=True`). `identity` gives what tells two items apart (a time, a number), so that an item that comes over two
        connections while one takes over from the other is told once; without it, or where it raises, that is all that the item holds.
        `read` makes of each item what the stream yields. `limit`, `overflow` and `key` as for EventStream. Arguments that cannot travel
        end the stream with InvalidRequest.
        """
        name = f"{method} of {self._hub_line.name}"
        stream = self._new_stream(name, read, lambda: line.remove(feed), limit=limit, overflow=overflow, key=key, gaps=gaps)
        feed = StreamFeed(method, arguments, stream, identity, restart=restart)
        line = self._hub_line
        self._hub_session._join(stream, line)
        if not stream.has_ended:
            line.add(feed)
        return stream

    @overload
    def on(
        self,
        target: str,
        *,
        identity: Key | None = None,
        read: None = None,
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Callable[[Any], Hashable] | None = None,
        gaps: bool = False,
    ) -> EventStream[Any]: ...
    @overload
    def on(
        self,
        target: str,
        *,
        identity: Key | None = None,
        read: Callable[[Any], T],
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Callable[[Any], Hashable] | None = None,
        gaps: Literal[False] = False,
    ) -> EventStream[T]: ...
    @overload
    def on(
        self,
        target: str,
        *,
        identity: Key | None = None,
        read: Callable[[Any], T],
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Callable[[Any], Hashable] | None = None,
        gaps: bool,
    ) -> EventStream[T | Gap]: ...
    def on(
        self,
        target: str,
        *,
        identity: Key | None = None,
        read: Callable[[Any], Any] | None = None,
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Callable[[Any], Hashable] | None = None,
        gaps: bool = False,
    ) -> EventStream[Any]:
        """What the server calls on its clients under this name, from now on; the case of letters does not matter.

        An event is the call's one argument, or a tuple of all when there are more or none. The first stream of a target also gets what came
        in the seconds before and nobody had asked for. It goes on with the next connection, behind a Gap; the rest as for `stream`.
        """
        pushes = self._hub_line.pushes
        name = f"{target} of {self._hub_line.name}"
        stream = self._new_stream(name, read, lambda: pushes.remove(feed), limit=limit, overflow=overflow, key=key, gaps=gaps)
        feed = PushFeed(target, stream, identity)
        self._hub_session._join(stream, self._hub_line)
        if not stream.has_ended:
            pushes.add(feed)
        return stream

    # --- what outlives a connection -----------------------------------------------------------------------------------------------------

    async def subscribe(self, method: str, *arguments: Any, undo: str | None = None, timeout: float | None = None) -> Subscription:
        """Call a method whose effect belongs to the connection (such as joining a group), now and again on every further connection.

        `undo` is the method that takes it back, with the same arguments. Raises as a `repeatable` call of `invoke` does.
        """
        line, clock = self._hub_line, self._hub_line.clock
        budget = line.config.call_timeout if timeout is None else timeout
        until = clock.monotonic() + budget
        while True:
            link = await self._usable(method, until - clock.monotonic(), budget)
            await self._may_ask(method, until, budget)
            try:
                if link is not line.link:
                    continue  # replaced while we waited
                await link.invoke(method, arguments, until=until, budget=budget, repeatable=True)
                intent = Intent(method, arguments)
                line.intents.append(intent)
                return Subscription(self, intent, undo)
            except (NotSent, LinkLost):
                if link.cause is None or clock.monotonic() >= until:
                    raise
            finally:
                line.asking.release()

    async def _unsubscribe(self, intent: Intent, undo: str | None) -> None:
        line = self._hub_line
        async with line.asking:
            if intent not in line.intents:
                return
            line.intents.remove(intent)
            is_wanted = any(other.target == intent.target and other.arguments == intent.arguments for other in line.intents)
            if undo is None or is_wanted:
                return
            try:
                await line.repeat(line.usable(undo), undo, intent.arguments)
            except (NotSent, LinkLost):
                return  # it went with its connection

    def answer(self, target: str, handler: Handler) -> Callable[[], None]:
        """Answer the server's calls of this target with what `handler` returns; the way to take it off again.

        It is called with the call's arguments, in a task of the session, several at once if the server asks so. What it raises reaches the
        server as an error: the text of a HubError, and nothing of any other. A call that nobody answers is refused.
        """
        return self._hub_line.answers.add(target, handler)

    # --- inside -------------------------------------------------------------------------------------------------------------------------

    async def _may_ask(self, method: str, until: float, budget: float) -> None:
        """Take the line's lock. Raises NotSent at the deadline."""
        line = self._hub_line
        try:
            async with deadline(line.clock, until - line.clock.monotonic()):
                await line.asking.acquire()
        except TimeoutError:
            raise NotSent(f"{method} was not sent within its {budget:g} s: other subscriptions are being made or brought back") from None

    def _new_stream(self, name: str, read: Callable[[Any], Any] | None, on_close: Callable[[], None], **options: Any) -> EventStream[Any]:
        report = self._hub_session._report_drop(name)
        if read is None:
            return EventStream(name, on_close=on_close, on_drop=report, **options)
        return HubStream(name, read, on_close=on_close, on_drop=report, **options)

    async def _usable(self, name: str, left: float, budget: float) -> HubLink:
        """The connection, once calls may pass. Raises NotSent at the deadline, SessionClosed."""
        session, line = self._hub_session, self._hub_line
        try:
            async with deadline(line.clock, left):
                while True:
                    session._refuse_when_closed(name)
                    if line.link is not None and line.open.is_set():
                        return line.link
                    await line.open.wait()
        except TimeoutError:
            raise session._not_ready(name, budget) from None
