"""signalrcore, a client with threads by somebody else. Its streams are callbacks."""

import asyncio
import threading

from signalrcore.hub_connection_builder import HubConnectionBuilder

from bench.loops import run_program, serve, timed


async def run(facts):
    """Connect, and do as told; the client has threads of its own, whose CPU time counts as well."""
    connection = HubConnectionBuilder().with_url(f"http://127.0.0.1:{facts['port']}/hub").build()
    is_open = threading.Event()
    connection.on_open(is_open.set)
    connection.start()
    await asyncio.to_thread(is_open.wait)

    async def items(count):
        seen = 0
        done = threading.Event()

        def on_next(_item):
            nonlocal seen
            seen += 1

        callbacks = {"next": on_next, "complete": lambda _: done.set(), "error": lambda _: done.set()}
        connection.stream("Burst", [count]).subscribe(callbacks)
        await asyncio.to_thread(done.wait)
        return seen

    await serve({"items": timed(items)})
    connection.stop()


run_program(run)
