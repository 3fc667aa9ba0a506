"""Streams that a client sends to a method.

No sockets, no tasks. Always holds: the method's iterator brings the items in order, and ends as the client ended it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tradesession.sandbox.signalr.methods import HubException, Parameter, Unbound

_END: Final = object()


class Upload:
    """One stream of the client, as the method iterates over it."""

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def item(self, value: Any) -> None:
        """An item came."""
        try:
            self._queue.put_nowait(self._parameter(value))
        except Unbound:
            self._queue.put_nowait(HubException("Failed to bind Stream message."))

    def end(self, error: str | None) -> None:
        """The client has ended it, with an error or without."""
        self._queue.put_nowait(_END if error is None else HubException(error))

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> Any:
        item = await self._queue.get()
        if item is _END:
            raise StopAsyncIteration
        if isinstance(item, HubException):
            raise item
        return item
