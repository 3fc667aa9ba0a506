"""What the asyncio programs have in common: the loop they run on, the commands they obey, and what they measure.

Runs in the environments of the foreign clients too, on Pythons from 3.11 on; may import nothing but the standard library, and uvloop
where it is asked for.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from time import perf_counter, process_time
from typing import Any

from bench.lines import answer, read_command

Handler = Callable[[dict[str, Any]], Awaitable[None]]


def run_program(main: Callable[[dict[str, Any]], Coroutine[Any, Any, None]]) -> None:
    """Run `main(facts)`, on the loop that the first command, the facts, names."""
    facts = read_command()
    if facts is None:
        return
    factory = asyncio.new_event_loop
    if facts.get("loop") == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(facts))


async def serve(handlers: Mapping[str, Handler], **facts: Any) -> None:
    """Say that all is ready, and obey until stdin ends; the loop goes on meanwhile."""
    answer(**facts)
    while (command := await asyncio.to_thread(read_command)) is not None:
        await handlers[command["do"]](command)


class Countdown:
    """So many events are to come."""

    def __init__(self) -> None:
        self._left = 0
        self._done = asyncio.Event()

    def one(self) -> None:
        """One has come."""
        self._left -= 1
        if not self._left:
            self._done.set()

    async def measure(self, command: dict[str, Any]) -> None:
        """Say that they may come, and answer with the CPU seconds that this process has spent when all have."""
        self._left = command["count"]
        self._done.clear()
        answer()
        started = process_time()
        await self._done.wait()
        answer(cpu=process_time() - started)


def timed(work: Callable[[int], Awaitable[int]]) -> Handler:
    """A handler that does `work(count)`, and answers with what that says and the seconds that it took."""

    async def measure(command: dict[str, Any]) -> None:
        wall, cpu = perf_counter(), process_time()
        seen = await work(command["count"])
        answer(seen=seen, seconds=perf_counter() - wall, cpu=process_time() - cpu)

    return measure


async def idled(open_one: Callable[[], Awaitable[object]], command: dict[str, Any]) -> None:
    """Open so many, leave them alone for so long, and answer with the memory that Python gave them and the CPU seconds that they spent."""
    gc.collect()
    tracemalloc.start()
    opened = [await open_one() for _ in range(command["sessions"])]
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    cpu = process_time()
    await asyncio.sleep(command["seconds"])
    answer(opened=len(opened), bytes=taken, cpu=process_time() - cpu)


def round_trips(request: Callable[[], Awaitable[object]]) -> Handler:
    """A handler that makes so many calls of `request`, `in_flight` at a time, by as many workers."""

    async def measure(command: dict[str, Any]) -> None:
        left: int = command["count"]

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await request()

        wall, cpu = perf_counter(), process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(command["in_flight"]):
                group.create_task(work())
        answer(seconds=perf_counter() - wall, cpu=process_time() - cpu)

    return measure
