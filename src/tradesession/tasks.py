"""The owner of background tasks: whoever starts one has an owner that ends it.

May use asyncio. For objects that live longer than one `async with` block and so cannot hold a TaskGroup; everything else uses one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class TaskOwner:
    """Holds tasks until they are done; `aclose` cancels what still runs and waits for it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run the coroutine as a task of this owner. Its exception is the task's: whoever spawns looks at it."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def join(self, timeout: float) -> None:
        """Wait until the tasks have ended by themselves, and cancel those that have not after `timeout` seconds of real time.

        A task may call this of its own owner: it is left out then.
        """
        others = self._tasks - {asyncio.current_task()}
        if not others:
            return
        _, late = await asyncio.wait(others, timeout=timeout)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def cancel(self) -> None:
        """Cancel every task without waiting for it."""
        for task in tuple(self._tasks):
            task.cancel()

    async def aclose(self) -> None:
        """Cancel every task and wait until the last one has ended."""
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def completed(work: Coroutine[Any, Any, T], name: str) -> T:
    """The result of work that has a time limit of its own: who is cancelled meanwhile sees it through, and is cancelled then."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()
