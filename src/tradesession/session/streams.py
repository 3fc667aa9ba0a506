"""EventStream: events in wire order, in a bounded queue, for one `async for`.

The link puts, the user's own task takes; putting never waits. What happens when the queue is full is the stream's overflow rule.
A Gap stands where something was missed: events that the rule dropped, or a time without a connection. A stream ends quietly when
its session is closed by its owner, and with the cause when the session ends by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, get_args

from tradesession import policy
from tradesession.errors import ConfigurationError, StreamOverflow

T_co = TypeVar("T_co", covariant=True)

Overflow = Literal["drop_oldest", "latest", "must_deliver", "pause"]
"""What a full queue does.

`drop_oldest`: the oldest event goes, and a Gap stands in its place.
`latest`: of each key (of quotes: the symbol) only the newest is kept, so that the queue never holds more than there are keys.
`must_deliver`: nothing is ever dropped; a reader that falls behind by more than the limit ends the stream with `StreamOverflow`.
`pause`: the stream takes nothing more until the reader has emptied half of the queue; a Gap stands where it did not listen.
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something was missed here. `reason` says why in words.

    After a loss `since` and `until` (wall clock, seconds since 1970) enclose the time without a connection, from when the server was last
    heard, or without a session of the stream's account: whatever happened in it was not seen, so read the state anew. After an overflow
    `dropped` events were lost.
    """

    reason: str
    dropped: int = 0
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """Counts since the stream began. `replaced` were superseded by a newer event of their key."""

    received: int
    delivered: int
    dropped: int
    replaced: int
    gaps: int
    queued: int


class EventStream(Generic[T_co]):
    """An async iterator and an async context manager. It is subscribed from the moment it exists, not from the first `await`.

    Leaving the context, `aclose()` or the end of the session ends it. At most `limit` events wait in it; `overflow` is its rule then (see
    `Overflow`), `key` tells the events of one key for `latest`, and ends the stream with what it raises. With `gaps` the iterator also
    yields Gap markers. `on_drop` is told how many events were dropped since it was told last, whenever a full queue begins to drop and at
    the end.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Callable[[Any], Hashable] | None = None,
        gaps: bool = False,
        on_close: Callable[[], object] = lambda: None,
        on_drop: Callable[[int], object] = lambda count: None,
    ) -> None:
        if limit < 1:
            raise ConfigurationError(f"limit={limit} holds no event; the default is {policy.EVENT_QUEUE}")
        if overflow not in get_args(Overflow):
            raise ConfigurationError(f"overflow={overflow!r} is no rule; there are {', '.join(get_args(Overflow))}")
        if (key is None) == (overflow == "latest"):
            raise ConfigurationError(f"overflow={overflow!r} {'wants' if overflow == 'latest' else 'has no use for'} a key")
        self.name = name
        self._limit = limit
        self._overflow = overflow
        self._key = key
        self._gaps = gaps
        self._on_close = on_close
        self._on_drop = on_drop
        self._queue: deque[Any] = deque()  # events; with `latest` their keys; and Gaps
        self._newest: dict[Hashable, Any] = {}
        self._missed: Gap | None = None  # before everything in the queue, which is not empty then
        self._missed_count = 0  # events that were dropped there; a Gap for each of them would cost as much as the event
        self._paused = 0  # events that went by behind the queue since it was full, with `pause`
        self._wakeup: asyncio.Future[None] | None = None
        self._ended = False
        self._cause: Exception | None = None
        self._received = self._delivered = self._dropped = self._replaced = self._gap_count = 0
        self._told = 0  # of those that were dropped

    # --- the link's side ---------------------------------------------------------------------------------------------------

    def put_nowait(self, event: T_co) -> None:  # type: ignore[misc]  # the link alone puts, and it knows the type
        """Add an event, in the order of the wire."""
        if self._ended:
            return
        self._received += 1
        queue = self._queue
        size = len(queue)
        if self._key is not None:
            try:
                key = self._key(event)
                is_known = key in self._newest
            except Exception as error:  # the user's affair, and not the connection's
                self.end(error)
                return
            self._newest[key] = event
            if is_known:
                self._replaced += 1
                return
            queue.append(key)
        else:
            if self._paused and not self._resume():
                return
            if size >= self._limit and not self._make_room():
                return
            queue.append(event)
        if not size:  # else the reader is awake, or woken already: it waits for nothing but the first
            self._wake()

    def put_gap(self, gap: Gap) -> None:
        """Something was missed at this point; told again at the same point, it is one gap."""
        if self._ended or not self._gaps:
            return
        last = self._queue[-1] if self._queue else None
        if isinstance(last, Gap) and last.since is not None and gap.since is not None:
            self._queue[-1] = replace(last, until=gap.until)
            return
        self._gap_count += 1
        self._queue.append(gap)
        self._wake()

    def end(self, cause: Exception | None = None) -> None:
        """No more will come; what is queued is still delivered. A cause is raised behind it."""
        if not self._ended:
            self._ended = True
            self._cause = cause
            self._tell_drops()
            self._on_close()
            self._wake()

    # --- the user's side ------------------------------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """Whether no more will come; what is queued may still be read."""
        return self._ended

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        if not self._queue or self._missed is not None:
            await self._something()
            missed, dropped, self._missed, self._missed_count = self._missed, self._missed_count, None, 0
            if missed is not None and self._gaps:
                self._gap_count += 1
                return replace(missed, dropped=dropped)  # type: ignore[return-value]  # with gaps T is T | Gap
        event = self._queue.popleft()
        if self._gaps and isinstance(event, Gap):
            return event  # type: ignore[return-value]  # with gaps T is T | Gap
        self._delivered += 1
        return event if self._key is None else self._newest.pop(event)  # type: ignore[no-any-return]  # what was put is T

    async def _something(self) -> None:
        """Wait until something is queued. Raises the cause of the end, or StopAsyncIteration."""
        while not self._queue:
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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the stream and let go of what is queued."""
        self._queue.clear()
        self._newest.clear()
        self._missed, self._missed_count = None, 0
        self.end()

    def statistics(self) -> StreamStatistics:
        """What went through so far."""
        return StreamStatistics(
            received=self._received,
            delivered=self._delivered,
            dropped=self._dropped,
            replaced=self._replaced,
            gaps=self._gap_count,
            queued=len(self._queue),
        )

    # --- inside -----------------------------------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """Act by the overflow rule; whether there is room for one more now."""
        if self._overflow == "must_deliver":
            self.end(StreamOverflow(f"the reader of {self.name!r} fell behind by {self._limit} events: read faster, or raise limit="))
            return False
        if self._overflow == "pause":
            self._pass_by()
            return False
        oldest = self._queue.popleft()
        if isinstance(oldest, Gap):  # a loss goes with the events behind it, and is told with them
            self._gap_count -= 1  # it is counted when it is told
            if self._missed is not None and self._missed.since is not None:
                oldest = replace(oldest, since=self._missed.since)
            self._missed = oldest
            if not self._queue:
                return True
            self._queue.popleft()
        if self._missed is None:
            self._missed = Gap(f"the reader of {self.name!r} was too slow")
        self._dropped += 1
        if not self._missed_count:
            self._tell_drops()
        self._missed_count += 1
        return True

    def _pass_by(self) -> None:
        """One more event goes by while the stream pauses."""
        self._dropped += 1
        self._paused += 1
        if self._paused == 1:
            self._tell_drops()

    def _tell_drops(self) -> None:
        count, self._told = self._dropped - self._told, self._dropped
        if count:
            self._on_drop(count)

    def _resume(self) -> bool:
        """Whether a pause is over; if so, a Gap tells of it."""
        if len(self._queue) > self._limit // 2:
            self._pass_by()
            return False
        missed, self._paused = self._paused, 0
        self.put_gap(Gap(f"the reader of {self.name!r} was too slow", dropped=missed))
        return True

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)
