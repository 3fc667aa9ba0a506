"""Uploads: the items of asynchronous iterables, streamed to hub methods by tasks of the connection.

May use asyncio. Always holds: an upload ends with its call, its iterable is closed, and what the iterable raises reaches whoever called.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from tradesession.protocol.signalr.machine import Outgoing
from tradesession.signalr.errors import HubError
from tradesession.signalr.wire import Wire
from tradesession.tasks import TaskOwner

_TOLD: Final = 1000  # characters of an error that a server is told


class Uploads:
    """Those of one connection. `on_end` is called whenever one has ended."""

    def __init__(self, wire: Wire, on_end: Callable[[], None]) -> None:
        self._wire = wire
        self._on_end = on_end
        self._of_calls: dict[str, list[asyncio.Task[None]]] = {}
        self._tasks = TaskOwner()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, outgoing: Outgoing, name: str, iterables: list[AsyncIterable[Any]], fail: Callable[[Exception], object]) -> None:
        """Stream these to a call that has left. `fail` is told what an iterable raises, or which of its items cannot travel."""
        for stream_id, items in zip(outgoing.stream_ids, iterables, strict=True):
            task = self._tasks.spawn(self._pump(stream_id, name, items, fail), name=f"upload to {name}")
            task.add_done_callback(lambda _: self._on_end())
            if outgoing.invocation_id:  # else nothing but their own end ends them
                self._of_calls.setdefault(outgoing.invocation_id, []).append(task)

    def end(self, invocation_id: str) -> None:
        """The call is over: nobody wants the rest."""
        for task in self._of_calls.pop(invocation_id, ()):
            task.cancel()

    def end_all(self) -> None:
        """The connection is over."""
        for invocation_id in tuple(self._of_calls):
            self.end(invocation_id)

    async def aclose(self) -> None:
        """Cancel what still runs, and wait for it."""
        await self._tasks.aclose()

    async def _pump(self, stream_id: str, name: str, items: AsyncIterable[Any], fail: Callable[[Exception], object]) -> None:
        wire, machine = self._wire, self._wire.machine
        try:
            async with AsyncExitStack() as stack:
                if hasattr(items, "aclose"):
                    stack.push_async_callback(items.aclose)
                async for item in items:
                    await wire.room(name)
                    if not wire.deliver(machine.upload(stream_id, item)):
                        return  # no more is wanted
                wire.deliver(machine.end_upload(stream_id))
        except Exception as error:  # the user's own, or an item that cannot travel: the user's own task gets to see it
            if wire.cause is None:
                wire.deliver(machine.end_upload(stream_id, told(error)))
                fail(error)


def told(error: Exception) -> str:
    """What the server is told of a failure on our side: the text of a HubError, which is meant for it, and nothing of any other."""
    if not isinstance(error, HubError):
        return "an error on the client's side"
    return error.description[:_TOLD].encode(errors="replace").decode()  # half a surrogate pair cannot travel


def parted(arguments: tuple[Any, ...]) -> tuple[list[Any], list[AsyncIterable[Any]]]:
    """The arguments that travel within the call, and those that are streamed."""
    plain = [argument for argument in arguments if not isinstance(argument, AsyncIterable)]
    return plain, [argument for argument in arguments if isinstance(argument, AsyncIterable)]
