"""The check that a test left nothing: no task, no descriptor, no future that waits, no transport that was not closed."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")
TURNS = 200
"""Turns of the loop that an abort may take: the selector, TLS, and the callbacks of both."""


def _sockets() -> set[str]:
    """The sockets of this process, each by its inode; elsewhere than on Linux none are known."""
    found = set()
    for entry in DESCRIPTORS.iterdir() if DESCRIPTORS.exists() else ():
        try:
            target = os.readlink(entry)
        except OSError:
            continue  # the descriptor of this very listing
        if target.startswith("socket:"):
            found.add(target)
    return found


class Leaks:
    """What there was at the beginning. A transport that nobody closed warns when it is collected, and a warning is an error."""

    def __init__(self) -> None:
        self._tasks = asyncio.all_tasks()
        self._sockets = _sockets()

    async def check(self, *, thorough: bool = False) -> None:
        """Fail when something is left; `thorough` also looks through all objects, which takes a while."""
        for _ in range(TURNS):
            if not self._left():
                break
            await asyncio.sleep(0)
        assert not self._left(), f"left behind: {self._left()}"
        if thorough:
            gc.collect()
            assert not self._waiting(), f"futures that wait for ever: {self._waiting()}"

    def _left(self) -> list[str]:
        here = asyncio.current_task()
        return [repr(task) for task in asyncio.all_tasks() - self._tasks if task is not here] + sorted(_sockets() - self._sockets)

    def _waiting(self) -> list[str]:
        loop = asyncio.get_running_loop()
        futures = [item for item in gc.get_objects() if issubclass(type(item), asyncio.Future) and not issubclass(type(item), asyncio.Task)]
        return [repr(future) for future in futures if not future.done() and future.get_loop() is loop]
