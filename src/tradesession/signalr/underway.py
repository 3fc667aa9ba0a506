"""What is under way on a connection: a call and who waits for it, a stream and where its items go.

May use asyncio. Neither shows anything of its arguments.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from tradesession.errors import DeadlineExceeded, Error, InvalidRequest, LinkLost, OutcomeUnknown
from tradesession.signalr.errors import CallLost

if TYPE_CHECKING:
    from tradesession.signalr.link import HubLink


class StreamSink(Protocol):
    """Where the items of one stream go. Neither method may wait or raise."""

    def item(self, item: Any) -> None:
        """One item."""

    def ended(self, error: Exception | None) -> None:
        """No more will come: the method has ended, in order or with an error, or the connection has."""


class Call:
    """A call and who waits for its result; it fails in one of the ways that say whether it may be repeated."""

    __slots__ = ("future", "name", "repeatable")

    def __init__(self, name: str, *, repeatable: bool) -> None:
        self.name = name
        self.repeatable = repeatable
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def succeed(self, result: Any) -> None:
        """The answer came."""
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """It failed; with this error if it has not ended otherwise."""
        if not self.future.done():
            self.future.set_exception(error.with_traceback(None))

    def lose(self, cause: Error) -> None:
        """The connection ended first."""
        error: Error
        if self.repeatable:
            error = LinkLost(f"the connection ended before {self.name} was answered: {cause}")
        else:
            error = CallLost(f"{self.name} was sent, and the connection ended before its answer came ({cause}): it may have been executed")
        error.__cause__ = cause
        self.fail(error)

    def expire(self, budget: float) -> None:
        """Its deadline has come, after `budget` seconds."""
        if self.repeatable:
            self.fail(DeadlineExceeded(f"{self.name} was not answered within {budget:g} s; it may be repeated"))
        else:
            self.fail(OutcomeUnknown(f"{self.name} was sent, and no answer came within {budget:g} s: it may have been executed"))


class OpenStream:
    """One call of a streaming method: waiting for its turn, open, or over."""

    __slots__ = ("_arguments", "_invocation_id", "_link", "name", "sink")

    def __init__(self, link: HubLink, name: str, arguments: tuple[Any, ...], sink: StreamSink) -> None:
        self.name = name
        self.sink = sink
        self._link = link
        self._arguments = arguments
        self._invocation_id = ""

    def begin(self) -> None:
        """Its turn has come."""
        try:
            self._invocation_id = self._link.begin_stream(self, self._arguments)
        except InvalidRequest as error:
            self.sink.ended(error)

    def cancel(self) -> bool:
        """Nobody wants the items any more, and the sink hears nothing of it. False when it is over already."""
        return self._link.end_stream(self, self._invocation_id)

    def fail(self, error: Exception) -> None:
        """It cannot go on, for a reason on our side."""
        if self.cancel():
            self.sink.ended(error)

    def lose(self, cause: Error) -> None:
        """The connection has ended."""
        error = LinkLost(f"the connection ended before the stream of {self.name} did: {cause}")
        error.__cause__ = cause
        self.sink.ended(error)
