"""Session: what the user holds, from the first connection to the goodbye, through every loss in between.

A platform makes Lines, one for each connection that it keeps; the Supervisors keep them, and the session says how it stands as a
whole, ends its streams when it ends, and tells them what was missed when it comes back.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import weakref
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import NotSent, SessionClosed
from tradesession.hooks import EventsDropped, Hooks, one_line
from tradesession.session.states import SessionState, furthest_from_ready
from tradesession.session.streams import EventStream, Gap
from tradesession.session.supervisor import Line, Supervisor, TokenNews
from tradesession.tasks import TaskOwner, completed
from tradesession.timing import deadline

T = TypeVar("T")

_log = logging.getLogger("tradesession.session")


@dataclass(frozen=True, slots=True)
class StateChange:
    """The session, as a whole, went from one state to the next at `at` (wall clock, seconds since 1970); `cause` is why, if not by plan."""

    before: SessionState
    after: SessionState
    at: float
    cause: Exception | None = None


class Session(ABC):
    """Base of the sessions of all platforms. Opened by a SessionManager or by `tradesession.connect`, closed by `aclose`.

    `name` is what logs and records call it. `chance` gives numbers in [0, 1), for jitter.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Clock,
        hooks: Hooks,
        tokens: TokenNews,
        close_timeout: float = policy.CLOSE_TIMEOUT,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._clock = clock
        self._hooks = hooks
        self._token_news = tokens
        self._close_timeout = close_timeout
        self._chance = chance
        self._state = SessionState.IDLE
        self._cause: Exception | None = None
        self._traceback: TracebackType | None = None
        self._supervisors: list[Supervisor] = []
        self._settled = asyncio.Event()  # READY or CLOSED
        self._closed = asyncio.Event()
        # which streams end with the session, and whose gaps each is told of; an abandoned one needs no ending
        self._streams: weakref.WeakKeyDictionary[EventStream[Any], tuple[Line | None, Hashable]] = weakref.WeakKeyDictionary()
        self._change_streams: weakref.WeakSet[EventStream[StateChange]] = weakref.WeakSet()
        self._task: asyncio.Task[None] | None = None
        self._tasks = TaskOwner()
        self._callbacks = TaskOwner()

    # --- what a platform fills in -----------------------------------------------------------------------------------------------

    @abstractmethod
    def _lines(self) -> Sequence[Line]:
        """The connections that the session keeps; asked once, at the start."""

    @abstractmethod
    def _finished(self) -> None:
        """The session is CLOSED: let go of whoever still waits for a line."""

    # --- the user's side --------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> SessionState:
        """Where the session stands; with several links, the one that is furthest from READY."""
        return self._state

    @property
    def is_closed(self) -> bool:
        """Whether the session is over."""
        return self._closed.is_set()

    @property
    def cause(self) -> Exception | None:
        """Why the session is not READY, or why it ended by itself. None while all is well, and after an `aclose`."""
        if self._closed.is_set():
            return self._cause
        return next((one.cause for one in self._supervisors if one.cause is not None), None)

    async def ready(self, timeout: float | None = None) -> None:
        """Wait for READY, at most `timeout` seconds. Raises the cause when the session has ended, or SessionClosed; TimeoutError."""
        async with deadline(self._clock, timeout):
            await self._settled.wait()
        if self._closed.is_set():
            self._raise_ended()

    async def closed(self) -> None:
        """Wait for the end, whatever its cause; look at `cause` afterwards."""
        await self._closed.wait()

    def changes(self) -> EventStream[StateChange]:
        """Every change of `state` from now on. The stream ends with the session, without an error."""
        stream: EventStream[StateChange] = EventStream("state changes")
        if self._closed.is_set():
            stream.end()
        else:
            self._change_streams.add(stream)
        return stream

    async def aclose(self) -> None:
        """Close in order: streams end, the links say goodbye, no task or socket stays. Harmless when closed already."""
        try:
            if self._task is not None and not self._closed.is_set():
                self._task.cancel()
                await asyncio.wait([self._task])
            self._finish()
            await self._callbacks.join(self._close_timeout)
        except asyncio.CancelledError:
            self._callbacks.cancel()
            raise

    async def __aenter__(self) -> Self:
        await self.ready()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    # --- for the manager --------------------------------------------------------------------------------------------------------

    def start(self, owner: TaskOwner) -> None:
        """Begin. `owner` ends the session's task should nobody else."""
        self._task = owner.spawn(self._run(), name=f"tradesession {self.name}")

    # --- for platforms ------------------------------------------------------------------------------------------------------------

    def _join(self, stream: EventStream[Any], line: Line | None = None, part: Hashable = None) -> None:
        """This stream ends with the session, and is told of the gaps of this line, and of this part of it (an account); or of all."""
        if self._closed.is_set():
            stream.end(self._cause)
        else:
            self._streams[stream] = (line, part)

    def _tell_gap(self, gap: Gap, line: Line, part: Hashable = None) -> None:
        """Something was missed of this line, or of one part of it: every stream that may have it too is told."""
        for stream, (its_line, its_part) in tuple(self._streams.items()):
            if its_line in (None, line) and (part is None or its_part in (None, part)):
                stream.put_gap(gap)

    def _call_back(self, stream: EventStream[T], handler: Callable[[T], Awaitable[object] | object]) -> None:
        """Hand each event of the stream to the handler, in a task that lives as long as the stream."""

        async def run() -> None:
            try:
                async for event in stream:
                    try:
                        result = handler(event)
                        if inspect.isawaitable(result):
                            await result
                    except Exception:
                        _log.exception("%s: the handler of %s failed; the next event comes all the same", self.name, stream.name)
            except Exception as cause:  # of the stream's end, which whoever holds the session hears of
                _log.debug("%s: no more %s: %s", self.name, stream.name, one_line(cause))

        self._callbacks.spawn(run(), name=f"{self.name} handler of {stream.name}")

    def _report_drop(self, name: str) -> Callable[[int], None]:
        return lambda count: self._hooks.emit(EventsDropped(source=self.name, stream=name, count=count))

    def _raise_ended(self) -> None:
        if self._cause is not None:
            # The same exception for everybody who asks: without a fresh start its traceback would grow with each of them.
            raise self._cause.with_traceback(self._traceback)
        raise SessionClosed(f"session {self.name} was closed; open another one")

    def _refuse_when_closed(self, name: str) -> None:
        if self._closed.is_set():
            why = f" ({self._cause})" if self._cause is not None else ""
            raise SessionClosed(f"{name} was not sent: the session is closed{why}; open another one") from self._cause

    def _not_ready(self, name: str, timeout: float | None = None) -> NotSent:
        """The error for a request that found no connection, at once or within `timeout` seconds."""
        return self._not_sent(name, f"the session is {self._state.value}", self.cause, timeout)

    @staticmethod
    def _not_sent(name: str, standing: str, cause: Exception | None, timeout: float | None) -> NotSent:
        why = f": {cause}" if cause is not None else ""
        within = f" within {timeout:.3g} s" if timeout is not None else ""
        error = NotSent(f"{name} was not sent{within}: {standing}{why}")
        error.__cause__ = cause
        return error

    # --- inside -------------------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            self._supervisors = [
                Supervisor(
                    line,
                    clock=self._clock,
                    hooks=self._hooks,
                    chance=self._chance,
                    tokens=self._token_news,
                    on_change=self._changed,
                    close_timeout=self._close_timeout,
                )
                for line in self._lines()
            ]
            running = [self._tasks.spawn(one.run(), name=f"supervisor of {one.line.name}") for one in self._supervisors]
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)  # a line ends by itself with a fatal cause only
            for supervisor in done:
                supervisor.result()  # a mistake in the code, if it raises
            self._end_with(next((one.cause for one in self._supervisors if one.state is SessionState.CLOSED), None))
        except Exception as error:  # whatever ends the session is its cause, and reaches everybody who waits
            self._end_with(error)
        finally:
            try:
                await completed(self._tasks.aclose(), name=f"end of {self.name}")
            finally:  # also when it is cancelled twice
                self._finish()

    def _changed(self, supervisor: Supervisor) -> None:
        if supervisor.state is SessionState.HANDSHAKING and supervisor.lost_wall is not None:
            # Told before anything can come over the new connection, so that the gap stands before it.
            self._tell_gap(Gap("the connection was lost", since=supervisor.lost_wall, until=self._clock.wall()), supervisor.line)
        self._enter(furthest_from_ready(one.state for one in self._supervisors), supervisor.cause)

    def _enter(self, state: SessionState, cause: Exception | None) -> None:
        if state is self._state or self._closed.is_set():
            return
        before, self._state = self._state, state
        if before is SessionState.READY:
            self._settled.clear()
        if state is SessionState.READY:
            self._settled.set()
        for stream in tuple(self._change_streams):
            stream.put_nowait(StateChange(before, state, self._clock.wall(), cause))

    def _end_with(self, cause: Exception | None) -> None:
        self._cause = cause
        self._traceback = cause.__traceback__ if cause is not None else None

    def _finish(self) -> None:
        if self._closed.is_set():
            return
        self._enter(SessionState.CLOSED, self._cause)
        self._closed.set()
        self._settled.set()
        for stream in tuple(self._streams):
            stream.end(self._cause)
        for changes in tuple(self._change_streams):
            changes.end()
        self._finished()
