"""EventStream: events in wire order, in a bounded queue, for one `async for`.

The link puts, the user's own task takes; putting never waits. A reader that is too slow loses the oldest events first, and a Gap stands
where they were. A stream ends quietly when its session is closed by its owner, and with the cause when the session is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from tradesession import policy
from tradesession.errors import ConfigurationError

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Gap:
    """Something was missed here. `dropped` events were lost to a full queue; `reason` says so in words."""

    reason: str
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """Counts since the stream began."""

    received: int
    delivered: int
    dropped: int
    queued: int


class EventStream(Generic[T_co]):
    """An async iterator and an async context manager. It is subscribed from the moment it exists, not from the first `await`.

    Leaving the context, `aclose()` or the end of the session ends it. With `gaps` the iterator also yields Gap markers.
    `on_drop` is told the count whenever a full queue begins to drop.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: int = policy.EVENT_QUEUE,
        gaps: bool = False,
        on_close: Callable[[], object] = lambda: None,
        on_drop: Callable[[int], object] = lambda count: None,
    ) -> None:
        if limit < 1:
            raise ConfigurationError(f"limit={limit} holds no event; the default is {policy.EVENT_QUEUE}")
        self.name = name
        self._limit = limit
        self._gaps = gaps
        self._on_close = on_close
        self._on_drop = on_drop
        self._queue: deque[T_co] = deque()
        self._wakeup: asyncio.Future[None] | None = None
        self._ended = False
        self._cause: Exception | None = None
        self._received = self._delivered = self._dropped = self._missed = 0

    # --- the link's side ---------------------------------------------------------------------------------------------------

    def put_nowait(self, event: T_co) -> None:  # type: ignore[misc]  # the link alone puts, and it knows the type
        """Add an event; the oldest one goes when the queue is full."""
        if self._ended:
            return
        self._received += 1
        if len(self._queue) >= self._limit:
            self._queue.popleft()
            self._dropped += 1
            self._missed += 1
            if self._missed == 1:
                self._on_drop(self._dropped)
        self._queue.append(event)
        self._wake()

    def end(self, cause: Exception | None = None) -> None:
        """No more will come; what is queued is still delivered. A cause is raised behind it."""
        if not self._ended:
            self._ended = True
            self._cause = cause
            self._on_close()
            self._wake()

    # --- the user's side ------------------------------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """Whether no more will come; what is queued may still be read."""
        return self._ended

    def __aiter__(self) -> EventStream[T_co]:
        return self

    async def __anext__(self) -> T_co:
        while not self._queue and not (self._missed and self._gaps):
            if self._ended:
                if self._cause is not None:
                    raise self._cause.with_traceback(None)  # one exception for all streams: its traceback would grow with each of them
                raise StopAsyncIteration
            if self._wakeup is not None:
                raise RuntimeError(f"stream {self.name!r} is read by two tasks at once; open one stream for each reader")
            self._wakeup = asyncio.get_running_loop().create_future()
            try:
                await self._wakeup
            finally:
                self._wakeup = None
        if self._missed:
            missed, self._missed = self._missed, 0
            if self._gaps:
                return Gap(f"the reader of {self.name!r} was too slow", dropped=missed)  # type: ignore[return-value]  # with gaps T is T | Gap
        self._delivered += 1
        return self._queue.popleft()

    async def __aenter__(self) -> EventStream[T_co]:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the stream and let go of what is queued."""
        self._queue.clear()
        self._missed = 0
        self.end()

    def statistics(self) -> StreamStatistics:
        """What went through so far."""
        return StreamStatistics(self._received, self._delivered, self._dropped, len(self._queue))

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)
