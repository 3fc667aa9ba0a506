"""Our own client of a SignalR hub: one stream after the other, read by an `async for`."""

from __future__ import annotations

from typing import Any

from bench.loops import run_program, serve, timed
from tradesession import signalr


async def run(facts: dict[str, Any]) -> None:
    """Connect, and do as told."""
    async with signalr.connect(f"http://127.0.0.1:{facts['port']}/hub") as hub:

        async def items(count: int) -> int:
            seen = 0
            async for _ in hub.stream("Burst", count, overflow="must_deliver"):
                seen += 1
            return seen

        await serve({"items": timed(items)})


if __name__ == "__main__":
    run_program(run)
