"""pysignalr, an asyncio client by somebody else. Its streams are callbacks."""

import asyncio

from pysignalr.client import SignalRClient

from bench.loops import run_program, serve, timed


async def run(facts):
    """Connect, and do as told."""
    client = SignalRClient(f"http://127.0.0.1:{facts['port']}/hub")
    is_open = asyncio.Event()

    async def opened():
        is_open.set()

    client.on_open(opened)
    running = asyncio.create_task(client.run())
    await is_open.wait()

    async def items(count):
        seen = 0
        done = asyncio.Event()

        async def on_next(_item):
            nonlocal seen
            seen += 1

        async def on_complete(_message):
            done.set()

        await client.stream("Burst", [count], on_next, on_complete)
        await done.wait()
        return seen

    await serve({"items": timed(items)})
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


run_program(run)
