"""Eight processes with 25 callers each want a token that has run out, all at the same moment."""

import os
import time

import pytest

from tests.faults.tokens.processes import Endpoint, Nursery
from tests.stores.engines import Engine
from tradesession.tokens.token import Slot

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROCESSES, CALLERS = 8, 25
ROUNDS = 20 if os.environ.get("TRADESESSION_THOROUGH") else 3


async def test_eight_processes_make_one_exchange(engine: Engine, endpoint: Endpoint, nursery: Nursery) -> None:
    async with engine.open() as store:
        for number in range(ROUNDS):
            slot = Slot("ctrader", "demo", "client", f"{type(engine).__name__} {number}")
            first = await store.put(slot, await endpoint.consent())
            order = {"store": engine.url, "slot": slot.key, "callers": CALLERS, "start_at": time.monotonic() + 0.3}
            children = await nursery.renew_all([order] * PROCESSES)
            results = [await child.gone() for child in children]
            assert [result["served"] for result in results] == [CALLERS] * PROCESSES, results
            assert sum(result["exchanges"] for result in results) == 1
            assert {generation for result in results for generation in result["generations"]} == {first.generation + 1}
            stats = await endpoint.ask("/stats")
            assert first.refresh is not None
            assert stats["shown"][first.refresh.reveal()] == 1
            grant = await store.load(slot)
            assert grant is not None
            assert grant.token.refresh is not None
            assert stats["current"][grant.token.refresh.reveal()] == grant.token.access.reveal()
