"""A TokenKeeper with a token that is good for an hour."""

from __future__ import annotations

import time
from typing import Any

from bench.loops import run_program, serve, timed
from tradesession.secrets import Secret
from tradesession.tokens.exchange import StaticExchange
from tradesession.tokens.grants import Static
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.stores.memory import MemoryStore
from tradesession.tokens.token import Slot, Token


async def run(facts: dict[str, Any]) -> None:
    """Be ready, and do as told."""
    now = time.time()
    token = Token(access=Secret("bench"), refresh=Secret("bench"), issued_at=now, expires_at=now + 3600)
    slot = Slot("bench", "local", "bench")
    async with TokenKeeper(slot, MemoryStore(), StaticExchange(Static(Secret("bench"))), seed=token) as keeper:

        async def calls(count: int) -> int:
            for _ in range(count):
                await keeper.get()
            return count

        await serve({"calls": timed(calls)})


if __name__ == "__main__":
    run_program(run)
