"""Session: what the user holds, from the first connection to the goodbye.

A platform fills in three steps (connect, handshake, goodbye); this class runs them in one task, keeps the state according to the table in
`states`, and settles what the end means for everybody who waits. At this stage a session that is lost ends with its cause.
"""

from __future__ import annotations

import asyncio
import weakref
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import Error, NotSent, SessionClosed
from tradesession.hooks import Hooks, StateChanged, StepTimed
from tradesession.hooks import LinkLost as LinkLostRecord
from tradesession.session.states import SessionState, check
from tradesession.session.streams import EventStream
from tradesession.tasks import TaskOwner
from tradesession.timing import deadline


class Session(ABC):
    """Base of the sessions of all platforms. Opened by a SessionManager or by `tradesession.connect`, closed by `aclose`.

    `name` is what logs and records call it.
    """

    def __init__(self, name: str, *, clock: Clock, hooks: Hooks, close_timeout: float = policy.CLOSE_TIMEOUT) -> None:
        self.name = name
        self._clock = clock
        self._hooks = hooks
        self._close_timeout = close_timeout
        self._state = SessionState.IDLE
        self._cause: Exception | None = None
        self._traceback: TracebackType | None = None
        self._settled = asyncio.Event()  # READY or CLOSED
        self._closed = asyncio.Event()
        self._lost: asyncio.Future[Error] = asyncio.get_running_loop().create_future()
        self._streams: weakref.WeakSet[EventStream[Any]] = weakref.WeakSet()  # an abandoned one needs no ending
        self._tasks = TaskOwner()
        self._run_task: asyncio.Task[None] | None = None

    # --- what a platform fills in ----------------------------------------------------------------------------------------------

    @abstractmethod
    async def _connect(self) -> None:
        """Open the link."""

    @abstractmethod
    async def _handshake(self) -> None:
        """Everything between the open link and READY."""

    @abstractmethod
    async def _disconnect(self, timeout: float) -> None:
        """Close the link in order, within `timeout` seconds; also called when there is none."""

    # --- the user's side -------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self._state

    @property
    def is_closed(self) -> bool:
        """Whether the session is over."""
        return self._closed.is_set()

    @property
    def cause(self) -> Exception | None:
        """Why the session ended by itself; None while it lives and after an `aclose`."""
        return self._cause

    async def ready(self, timeout: float | None = None) -> None:
        """Wait for READY, at most `timeout` seconds. Raises the cause when the session has ended, or SessionClosed; TimeoutError."""
        async with deadline(self._clock, timeout):
            await self._settled.wait()
        if self._state is not SessionState.READY:
            self._raise_ended()

    async def closed(self) -> None:
        """Wait for the end, whatever its cause; look at `cause` afterwards."""
        await self._closed.wait()

    async def aclose(self) -> None:
        """Close in order: streams end, the link says goodbye, no task or socket stays. Harmless when closed already."""
        if self._run_task is None:
            if self._state is SessionState.IDLE:
                self._enter(SessionState.CLOSED)
            return
        if self._state not in (SessionState.CLOSING, SessionState.CLOSED):
            self._enter(SessionState.CLOSING)
            self._run_task.cancel()
            await asyncio.wait([self._run_task])
            if not self._closed.is_set():  # cancelled before its first step, so that it had nothing to finish
                self._enter(SessionState.CLOSED)
        await self._closed.wait()

    async def __aenter__(self) -> Self:
        await self.ready()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    # --- for the manager --------------------------------------------------------------------------------------------------------

    def start(self, owner: TaskOwner) -> None:
        """Begin. `owner` ends the session's task should nobody else."""
        self._run_task = owner.spawn(self._run(), name=f"tradesession {self.name}")

    # --- for platforms ----------------------------------------------------------------------------------------------------------

    def _link_lost(self, cause: Error) -> None:
        """The link is over: the `on_lost` of every Link of a session."""
        if not self._lost.done():
            self._lost.set_result(cause)
        if self._state not in (SessionState.CLOSING, SessionState.CLOSED):
            self._hooks.emit(LinkLostRecord(source=self.name, cause=str(cause), verdict=cause.verdict))

    def _step(self, name: str, started: float) -> float:
        """A step of the handshake that began at `started` is done; the time it ended, from which the next one counts."""
        now = self._clock.monotonic()
        self._hooks.emit(StepTimed(source=self.name, step=name, seconds=now - started))
        return now

    async def _until_ready(self, name: str, timeout: float) -> float:
        """Wait for READY before a request; the seconds that are left of `timeout`. Raises NotSent or SessionClosed."""
        if self._state is SessionState.READY:
            return timeout
        started = self._clock.monotonic()
        try:
            await self.ready(timeout)
        except Exception as cause:
            if isinstance(cause, TimeoutError) and not self._settled.is_set():  # a TimeoutError may also be what ended the session
                raise NotSent(f"{name} was not sent: the session was not READY within {timeout:g} s (it is {self._state.value})") from None
            raise SessionClosed(f"{name} was not sent: the session is closed ({cause}); open another one") from cause
        return timeout - (self._clock.monotonic() - started)

    def _raise_ended(self) -> None:
        if self._cause is not None:
            # The same exception for everybody who asks: without a fresh start its traceback would grow with each of them.
            raise self._cause.with_traceback(self._traceback)
        raise SessionClosed(f"session {self.name} was closed; open another one")

    # --- inside -----------------------------------------------------------------------------------------------------------------

    def _enter(self, state: SessionState, cause: str = "") -> None:
        check(self._state, state)
        before, self._state = self._state, state
        if state in (SessionState.READY, SessionState.CLOSED):
            self._settled.set()
        if state is SessionState.CLOSED:
            self._closed.set()
        self._hooks.emit(StateChanged(source=self.name, before=before.value, after=state.value, cause=cause))

    async def _run(self) -> None:
        try:
            self._enter(SessionState.CONNECTING)
            await self._connect()
            self._enter(SessionState.HANDSHAKING)
            await self._handshake()
            self._enter(SessionState.READY)
            self._cause = await self._lost
        except Exception as error:  # whatever ends the session is its cause, and reaches everybody who waits
            self._cause = error
            self._traceback = error.__traceback__
        finally:
            await self._finish()

    async def _finish(self) -> None:
        self._settled.clear()
        if self._state is not SessionState.CLOSING:
            self._enter(SessionState.CLOSING, str(self._cause or ""))
        for stream in tuple(self._streams):
            stream.end(self._cause)
        try:
            await self._disconnect(self._close_timeout)
        finally:
            try:
                await self._tasks.aclose()
            finally:
                self._enter(SessionState.CLOSED, str(self._cause or ""))
