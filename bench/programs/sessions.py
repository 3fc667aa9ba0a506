"""Whole sessions of our own client: opened, lost, left alone."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import tradesession
from bench.lines import answer
from bench.loops import idled, run_program, serve
from bench.programs.ours import config
from tradesession.ctrader import AccountState
from tradesession.hooks import LinkLost, Record, Recovered

HEARTBEAT = 1.0
"""Seconds."""


async def run(facts: dict[str, Any]) -> None:
    """Do as told."""
    port = facts["port"]

    async def connect(command: dict[str, Any]) -> None:
        """From nothing to READY."""
        started = perf_counter()
        async with tradesession.connect(config(port, command["accounts"])) as session:
            seconds = perf_counter() - started
            ready = [account for account in session.accounts if account.state is AccountState.AUTHORIZED]
            assert len(ready) == command["accounts"], f"{len(ready)} accounts are authorised"
        answer(seconds=seconds)

    async def lose(command: dict[str, Any]) -> None:
        """From the loss, which is the server's part, to READY again."""
        waits: list[float] = []
        recovered: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        def watch(record: Record) -> None:
            if isinstance(record, LinkLost):
                waits.append(record.delay or 0.0)
            elif isinstance(record, Recovered) and record.account_id is None:
                recovered.set_result(record.seconds)

        async with tradesession.connect(config(port, command["accounts"]), hooks=[watch], log=False):
            answer()
            seconds = await recovered
        answer(seconds=seconds, waited=sum(waits))

    async def idle(command: dict[str, Any]) -> None:
        """So many sessions for so long."""
        async with tradesession.connect(config(port)):
            pass  # what is made once is made now
        async with tradesession.SessionManager() as manager:
            await idled(lambda: manager.open(config(port).replace(heartbeat_interval=HEARTBEAT)), command)

    await serve({"connect": connect, "lose": lose, "idle": idle})


if __name__ == "__main__":
    run_program(run)
