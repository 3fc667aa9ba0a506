"""A process is killed with SIGKILL in the middle of a renewal, at each step and at random moments; the next one has to cope.

Two counts matter: how often each refresh token was shown to the endpoint, and whether the store has the pair that the endpoint takes.
"""

import asyncio
import os
import random
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.tokens.processes import Endpoint, Nursery
from tests.stores.engines import Engine, Sqlite
from tradesession.tokens.store import GrantStatus, StoredGrant, TokenStore
from tradesession.tokens.token import Slot, Token

MOMENTS = 300 if os.environ.get("TRADESESSION_THOROUGH") else 20

pytestmark = pytest.mark.asyncio(loop_scope="module")


def refresh_of(token: Token) -> str:
    assert token.refresh is not None
    return token.refresh.reveal()


async def stored(store: TokenStore, slot: Slot) -> StoredGrant:
    grant = await store.load(slot)  # which fails if anything of it were torn
    assert grant is not None
    return grant


def is_usable(grant: StoredGrant, stats: dict[str, Any]) -> bool:
    """Whether the endpoint takes what the store has: both halves, as they belong together."""
    expected = stats["current"].get(refresh_of(grant.token))
    return expected is not None and (grant.generation == 1 or expected == grant.token.access.reveal())


BEFORE_THE_REQUEST = ("joined", "leased", "read", "noted", "about to send")
AFTER_THE_SAVE = ("saved", "published")


@pytest.mark.parametrize("step", BEFORE_THE_REQUEST)
async def test_killed_before_the_request_leaves(engine: Engine, endpoint: Endpoint, nursery: Nursery, slot: Slot, step: str) -> None:
    async with engine.open() as store:
        first = await store.put(slot, await endpoint.consent())
        child = await nursery.renew(engine.url, slot.key, pause=step)
        await child.until(step)
        await child.kill()
        assert is_usable(await stored(store, slot), await endpoint.ask("/stats"))
        second = await nursery.renew(engine.url, slot.key)
        assert (await second.gone())["generations"] == [2]
        stats = await endpoint.ask("/stats")
        assert stats["shown"][refresh_of(first)] == 1
        assert is_usable(await stored(store, slot), stats)


@pytest.mark.parametrize("step", AFTER_THE_SAVE)
async def test_killed_after_the_save(engine: Engine, endpoint: Endpoint, nursery: Nursery, slot: Slot, step: str) -> None:
    async with engine.open() as store:
        first = await store.put(slot, await endpoint.consent())
        child = await nursery.renew(engine.url, slot.key, pause=step)
        await child.until(step)
        await child.kill()
        assert is_usable(await stored(store, slot), await endpoint.ask("/stats"))
        second = await (await nursery.renew(engine.url, slot.key)).gone()
        assert (second["generations"], second["exchanges"]) == ([2], 0)
        assert (await endpoint.ask("/stats"))["shown"][refresh_of(first)] == 1


async def test_killed_while_the_answer_is_awaited(engine: Engine, endpoint: Endpoint, nursery: Nursery, slot: Slot) -> None:
    """The one case in which a pair is lost by necessity: the endpoint has rotated, and its answer never came. A person is asked."""
    async with engine.open() as store:
        first = await store.put(slot, await endpoint.consent())
        await endpoint.ask("/hold")
        child = await nursery.renew(engine.url, slot.key)
        await endpoint.until_shown(refresh_of(first))
        assert (await stored(store, slot)).status is GrantStatus.EXCHANGING
        await child.kill()
        await endpoint.ask("/release")
        await _needs_a_person(engine, endpoint, nursery, store, slot, first)


async def test_killed_with_the_answer_in_hand(engine: Engine, endpoint: Endpoint, nursery: Nursery, slot: Slot) -> None:
    """Between the socket and the disk lie a few milliseconds that nothing can remove."""
    async with engine.open() as store:
        first = await store.put(slot, await endpoint.consent())
        child = await nursery.renew(engine.url, slot.key, pause="answered")
        await child.until("answered")
        await child.kill()
        await _needs_a_person(engine, endpoint, nursery, store, slot, first)


async def _needs_a_person(engine: Engine, endpoint: Endpoint, nursery: Nursery, store: TokenStore, slot: Slot, first: Token) -> None:
    for _ in range(3):
        result = await (await nursery.renew(engine.url, slot.key)).gone()
        assert (result["served"], result["errors"]) == (0, ["ReauthorizationRequired"])
    grant = await stored(store, slot)
    assert (grant.generation, grant.status) == (1, GrantStatus.DEAD)
    assert "an exchange of this refresh token before got no answer" in grant.cause
    assert (await endpoint.ask("/stats"))["shown"][refresh_of(first)] == 2, "shown once more by the first who came, and never again"
    await store.put(slot, await endpoint.consent())
    assert (await (await nursery.renew(engine.url, slot.key)).gone())["generations"] == [3]


async def test_killed_at_random_moments(
    engine: Engine, endpoint: Endpoint, nursery: Nursery, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(os.environ.get("TRADESESSION_SEED", "4"))
    counts: Counter[str] = Counter()
    async with engine.open() as store:
        usual = await _time_of_a_renewal(engine, endpoint, nursery, store)
        for number in range(MOMENTS):
            slot = Slot("ctrader", "demo", "client", f"{type(engine).__name__} moment {number}")
            first = await store.put(slot, await endpoint.consent())
            child = await nursery.renew(engine.url, slot.key, tells=True)
            await asyncio.sleep(chance.uniform(0, usual * 1.2))
            await child.kill()
            stats = await endpoint.ask("/stats")
            grant = await stored(store, slot)
            usable = is_usable(grant, stats)
            moment = child.steps[-1] if child.steps else "began"
            counts[f"killed after {moment!r}"] += 1
            counts["usable" if usable else "lost"] += 1
            if not usable:
                assert grant.status is GrantStatus.EXCHANGING
                assert "noted" in child.steps
                assert "saved" not in child.steps
                counts["lost, answer under way" if "answered" not in child.steps else "lost, answer not saved yet"] += 1
            result = await (await nursery.renew(engine.url, slot.key)).gone()
            if usable:
                assert (result["served"], result["generations"]) == (1, [2]), (moment, result)
            else:
                assert result["errors"] == ["ReauthorizationRequired"]
            shown = (await endpoint.ask("/stats"))["shown"][refresh_of(first)]
            counts[f"shown {shown}"] += 1
            assert shown == (1 if usable else 2)
        stats = await endpoint.ask("/stats")
    assert set(stats["exchanged"].values()) == {1}
    assert counts["usable"] > MOMENTS / 2
    if isinstance(engine, Sqlite):
        connection = sqlite3.connect(engine.path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    counted = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    record_property("table", f"{type(engine).__name__}, {MOMENTS} kills within {usual * 1200:.0f} ms: {counted}")


async def _time_of_a_renewal(engine: Engine, endpoint: Endpoint, nursery: Nursery, store: TokenStore) -> float:
    """Seconds from the beginning of a renewal to its end, roughly."""
    times = []
    for number in range(5):
        slot = Slot("ctrader", "demo", "client", f"{type(engine).__name__} timing {number}")
        await store.put(slot, await endpoint.consent())
        child = await nursery.renew(engine.url, slot.key, tells=True)
        began = time.monotonic()
        await child.until("published")
        times.append(time.monotonic() - began)
        await child.gone()
    return statistics.median(times)
