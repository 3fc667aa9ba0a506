"""aiosignalr, an asyncio client by somebody else."""

from aiosignalr.client import HubConnection

from bench.loops import run_program, serve, timed


async def run(facts):
    """Connect, and do as told."""
    connection = HubConnection()
    await connection.start(f"http://127.0.0.1:{facts['port']}/hub")

    async def items(count):
        seen = 0
        async for _ in await connection.stream("Burst", count):
            seen += 1
        return seen

    await serve({"items": timed(items)})
    await connection.stop()


run_program(run)
