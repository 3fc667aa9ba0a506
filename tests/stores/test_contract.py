"""What every engine promises: one suite for all four."""

import asyncio
import logging
import subprocess
import sys
from contextlib import aclosing
from dataclasses import replace

import pytest

from tests.stores.engines import Engine
from tradesession import policy
from tradesession.errors import Conflict, StoreUnreachable, StoreUnusable
from tradesession.secrets import Secret
from tradesession.tokens.holder import Holder
from tradesession.tokens.store import GrantStatus, Lease, StoredGrant, TokenStore
from tradesession.tokens.stored import fingerprint
from tradesession.tokens.token import Slot, Token

SLOT = Slot("ctrader", "demo", "client-1", "some/one é", "a b")
OTHER = Slot("ctrader", "demo", "client-1", "another")


def token(number: int, generation: int = 0, **fields: object) -> Token:
    known: dict[str, object] = {
        "access": Secret(f"access-{number}"),
        "refresh": Secret(f"refresh-{number}"),
        "issued_at": 1_767_225_600.25 + number,
        "expires_at": 1_767_229_200.5 + number,
        "refresh_expires_at": 1_800_000_000.0,
        "scope": "trading",
        "generation": generation,
    }
    return Token(**{**known, **fields})  # type: ignore[arg-type]


async def loaded(store: TokenStore, slot: Slot = SLOT) -> StoredGrant:
    grant = await store.load(slot)
    assert grant is not None
    return grant


async def leased(store: TokenStore, slot: Slot = SLOT, ttl: float = 15.0) -> Lease:
    lease = await store.lease(slot, ttl)
    assert lease is not None
    return lease


# --- records ----------------------------------------------------------------------------------------------------------------------


async def test_an_empty_store_has_nothing(store: TokenStore) -> None:
    assert await store.load(SLOT) is None
    assert await store.slots() == []


async def test_a_committed_token_comes_back_as_it_was(store: TokenStore) -> None:
    await store.commit(SLOT, token(1, 1), 0)
    grant = await loaded(store)
    assert grant.token == token(1, 1)
    assert grant.status is GrantStatus.USABLE
    assert (grant.attempts, grant.by, grant.cause) == (0, "", "")


async def test_a_token_with_nothing_but_an_access_secret_comes_back(store: TokenStore) -> None:
    bare = Token(access=Secret("é\u0000\n"), generation=3)
    await store.commit(SLOT, bare, 0)
    assert (await loaded(store)).token == bare


async def test_another_store_object_sees_what_was_committed(engine: Engine) -> None:
    async with engine.open() as one, engine.open() as other:
        await one.commit(SLOT, token(1, 1), 0)
        assert (await loaded(other)).token == token(1, 1)


async def test_what_was_committed_is_there_after_closing(engine: Engine) -> None:
    store = engine.open()
    await store.commit(SLOT, token(1, 1), 0)
    await store.aclose()
    await store.aclose()
    assert (await loaded(store)).token == token(1, 1), "a store opens itself again"
    await store.aclose()


async def test_slots_are_apart_and_listed_in_order(store: TokenStore) -> None:
    await store.commit(SLOT, token(1, 1), 0)
    await store.commit(OTHER, token(2, 1), 0)
    assert await store.slots() == sorted([SLOT, OTHER])
    assert (await loaded(store, OTHER)).token == token(2, 1)
    assert (await loaded(store)).token == token(1, 1)


async def test_the_age_of_a_token_is_what_passed_since_its_issue(store: TokenStore) -> None:
    wall = store._clock.wall()
    await store.commit(SLOT, token(1, 1, issued_at=wall - 100), 0)
    grant = await loaded(store)
    assert 99 < grant.age < 160
    assert 0 <= grant.since < 60


# --- compare and swap -----------------------------------------------------------------------------------------------------------------


async def test_a_commit_needs_the_generation_that_is_there(store: TokenStore) -> None:
    await store.commit(SLOT, token(1, 1), 0)
    await store.commit(SLOT, token(2, 2), 1)
    for expected in (0, 1, 3):
        with pytest.raises(Conflict, match="not saved"):
            await store.commit(SLOT, token(9, 9), expected)
    assert (await loaded(store)).token == token(2, 2)


async def test_a_commit_to_nothing_needs_to_expect_nothing(store: TokenStore) -> None:
    with pytest.raises(Conflict, match="no record"):
        await store.commit(SLOT, token(2, 2), 1)
    assert await store.load(SLOT) is None


async def test_a_commit_whose_answer_was_lost_can_be_done_again(store: TokenStore) -> None:
    await store.commit(SLOT, token(1, 1), 0)
    await store.commit(SLOT, token(2, 2), 1)
    await store.commit(SLOT, token(2, 2), 1)
    assert (await loaded(store)).token == token(2, 2)


async def test_a_generation_must_grow(store: TokenStore) -> None:
    with pytest.raises(ValueError, match="cannot follow"):
        await store.commit(SLOT, token(1, 1), 1)


async def test_of_many_commits_of_one_generation_one_succeeds(engine: Engine) -> None:
    stores = [engine.open() for _ in range(4)]
    await stores[0].commit(SLOT, token(1, 1), 0)
    attempts = [stores[number % 4].commit(SLOT, token(number, 2), 1) for number in range(10, 30)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert outcomes.count(None) == 1
    assert all(isinstance(outcome, Conflict) for outcome in outcomes if outcome is not None)
    winner = token(10 + outcomes.index(None), 2)
    assert (await loaded(stores[1])).token == winner
    for store in stores:
        await store.aclose()


async def test_the_lineage_remembers_earlier_tokens_and_stays_bounded(store: TokenStore) -> None:
    for number in range(1, policy.LINEAGE + 6):
        await store.commit(SLOT, token(number, number), number - 1)
    grant = await loaded(store)
    assert len(grant.lineage) == policy.LINEAGE
    assert grant.descends_from(token(policy.LINEAGE))
    assert grant.descends_from(token(6))
    assert not grant.descends_from(token(5))
    assert not grant.descends_from(token(1000))


async def test_the_lineage_never_forgets_what_came_from_outside(store: TokenStore) -> None:
    """A configuration may hold the first token for years: it must not be taken for a new one."""
    first = await store.put(SLOT, token(1))
    generation = first.generation
    for number in range(2, policy.LINEAGE + 10):
        await store.commit(SLOT, token(number, generation + 1), generation)
        generation += 1
    second = await store.put(SLOT, token(5000), force=True)
    generation = second.generation
    for number in range(1000, 1000 + policy.LINEAGE + 10):
        await store.commit(SLOT, token(number, generation + 1), generation)
        generation += 1
    grant = await loaded(store)
    assert grant.descends_from(first)
    assert grant.descends_from(second)
    assert len(grant.lineage) == policy.LINEAGE + 2
    assert grant.lineage[-1] == fingerprint(grant.token)
    assert grant.is_renewed
    await store.put(SLOT, token(9000), force=True)
    assert not (await loaded(store)).is_renewed


# --- leases -----------------------------------------------------------------------------------------------------------------------


async def test_a_lease_is_held_by_one_at_a_time(engine: Engine) -> None:
    async with engine.open() as one, engine.open() as other:
        async with await leased(one):
            assert await other.lease(SLOT, 15) is None
            assert await one.lease(SLOT, 15) is None
            async with await leased(other, OTHER):
                pass
        async with await leased(other):
            pass


async def test_a_cancelled_caller_leaves_no_lease_and_is_cancelled_even_if_the_store_goes_away(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = store._take, asyncio.Event()

    async def take_and_wait(*arguments: str | float) -> str | None:
        await take(*arguments)  # type: ignore[arg-type]
        taken.set()
        await asyncio.Event().wait()
        return None

    async def unreachable(key: str, lease: str) -> None:
        raise StoreUnreachable("it is gone")

    monkeypatch.setattr(store, "_take", take_and_wait)
    caller = asyncio.ensure_future(store.lease(SLOT))
    await taken.wait()
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    monkeypatch.setattr(store, "_take", take)
    await store.release(await leased(store))

    taken.clear()
    monkeypatch.setattr(store, "_take", take_and_wait)
    monkeypatch.setattr(store, "_release", unreachable)
    caller = asyncio.ensure_future(store.lease(SLOT))
    await taken.wait()
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()


async def test_of_many_who_want_a_lease_one_gets_it(engine: Engine) -> None:
    stores = [engine.open() for _ in range(4)]
    leases = await asyncio.gather(*(stores[number % 4].lease(SLOT, 15) for number in range(40)))
    assert sum(lease is not None for lease in leases) == 1
    for store in stores:
        await store.aclose()


async def test_a_lease_ends_by_itself(store: TokenStore) -> None:
    old = await leased(store, ttl=0.001)
    async with asyncio.timeout(60):
        while await store.lease(SLOT, 15) is None:
            await asyncio.sleep(0.001)
    assert await old.extend(15) is False
    await store.release(old)
    assert await store.lease(SLOT, 15) is None, "giving back an old lease must not end the new one"


async def test_a_lease_can_be_extended_by_its_holder(store: TokenStore) -> None:
    lease = await leased(store, ttl=5)
    assert await lease.extend(60) is True
    await store.release(lease)
    assert await lease.extend(60) is False


async def test_the_lease_of_a_process_that_is_proved_dead_ends_at_once(engine: Engine) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    me = Holder.current()
    started = _started(process.pid)
    dead = replace(me, pid=process.pid, started=started)
    async with engine.open() as one, engine.open() as other:
        one._holder, holder = (lambda: dead), one._holder
        try:
            await leased(one, ttl=600)
            other._holder = lambda: me
            assert await other.lease(SLOT, 15) is None, "it is alive"
            process.kill()
            assert process.wait() != 0
            assert await other.lease(SLOT, 15) is not None
        finally:
            process.kill()
            process.wait()
            one._holder = holder


def _started(pid: int) -> str:
    from tradesession.tokens.holder import _state

    return _state(pid)[1]


# --- intents and marks ------------------------------------------------------------------------------------------------------------


async def test_an_intent_is_noted_under_a_lease_and_settled_by_the_commit(engine: Engine) -> None:
    async with engine.open() as store, engine.open() as other:
        await store.commit(SLOT, token(1, 1), 0)
        lease = await leased(store)
        await store.note_intent(lease, 1, attempt=2)
        grant = await loaded(other)
        assert grant.status is GrantStatus.EXCHANGING
        assert grant.attempts == 2
        assert Holder.parse(grant.by) == Holder.current()
        assert not other.is_surely_gone(grant.by)
        assert grant.token == token(1, 1), "the old pair is still there"
        await store.commit(SLOT, token(2, 2), 1, lease)
        grant = await loaded(other)
        assert (grant.status, grant.attempts, grant.token.generation) == (GrantStatus.USABLE, 0, 2)
        assert await other.lease(SLOT, 15) is not None, "the commit gave the lease back"


async def test_no_intent_is_noted_without_the_lease_or_for_another_generation(store: TokenStore) -> None:
    await store.commit(SLOT, token(1, 1), 0)
    lease = await leased(store)
    with pytest.raises(Conflict, match="was not begun"):
        await store.note_intent(lease, 2)
    await store.release(lease)
    with pytest.raises(Conflict, match="was not begun"):
        await store.note_intent(lease, 1)
    assert (await loaded(store)).status is GrantStatus.USABLE


async def test_a_late_answer_is_committed_without_the_lease(store: TokenStore) -> None:
    await store.commit(SLOT, token(1, 1), 0)
    lease = await leased(store)
    await store.note_intent(lease, 1)
    await store.release(lease)
    await store.mark(SLOT, 1, GrantStatus.DEAD, "somebody else was refused", 2)
    await store.commit(SLOT, token(2, 2), 1)
    grant = await loaded(store)
    assert (grant.token, grant.status, grant.cause) == (token(2, 2), GrantStatus.USABLE, "")


@pytest.mark.parametrize("status", [GrantStatus.UNCERTAIN, GrantStatus.DEAD, GrantStatus.USABLE])
async def test_a_mark_stays_with_its_cause(store: TokenStore, status: GrantStatus) -> None:
    await store.commit(SLOT, token(1, 1), 0)
    await store.mark(SLOT, 1, status, "because of “this”", 2)
    grant = await loaded(store)
    assert (grant.status, grant.cause, grant.attempts) == (status, "because of “this”", 2)
    with pytest.raises(Conflict, match="no longer the stored one"):
        await store.mark(SLOT, 2, GrantStatus.DEAD)
    with pytest.raises(Conflict, match="no longer the stored one"):
        await store.mark(OTHER, 1, GrantStatus.DEAD)


# --- hearing of changes -----------------------------------------------------------------------------------------------------------


async def test_a_change_is_heard(engine: Engine) -> None:
    async with engine.open() as one, engine.open() as other:
        await one.commit(SLOT, token(1, 1), 0)
        revision = (await loaded(other)).revision
        waiting = asyncio.create_task(other.wait_for_change(SLOT, revision))
        await asyncio.sleep(0)
        await one.commit(OTHER, token(1, 1), 0)
        assert not waiting.done()
        await one.commit(SLOT, token(2, 2), 1)
        async with asyncio.timeout(60):
            await waiting
        assert (await loaded(other)).token == token(2, 2)


async def test_a_change_that_was_made_before_is_heard_at_once(store: TokenStore) -> None:
    await store.commit(SLOT, token(1, 1), 0)
    async with asyncio.timeout(60):
        await store.wait_for_change(SLOT, 0)
        await store.wait_for_change(OTHER, 7)
    assert (await loaded(store)).revision > 0


async def test_every_kind_of_change_has_a_revision_of_its_own(store: TokenStore) -> None:
    seen = []

    async def note() -> None:
        seen.append(await store._revision(SLOT.key))

    await note()
    await store.commit(SLOT, token(1, 1), 0)
    await note()
    lease = await leased(store)
    await store.note_intent(lease, 1)
    await note()
    await store.mark(SLOT, 1, GrantStatus.UNCERTAIN, "no answer", 2)
    await note()
    await store.commit(SLOT, token(2, 2), 1)
    await note()
    await store.reseal()
    await note()
    await store.remove(SLOT)
    assert await store._revision(SLOT.key) == 0, "there is no record"
    await store.put(SLOT, token(3))
    await note()
    assert seen == sorted(set(seen))
    assert len(seen) == 7


# --- by hand ----------------------------------------------------------------------------------------------------------------------


async def test_a_token_is_brought_in_with_the_next_generation(store: TokenStore) -> None:
    assert (await store.put(SLOT, token(1))).generation == 1
    assert (await store.put(SLOT, token(2))).generation == 2
    assert (await loaded(store)).token == token(2, 2)


async def test_an_ancestor_of_the_stored_token_is_not_brought_in_unless_forced(store: TokenStore) -> None:
    first = await store.put(SLOT, token(1, issued_at=None))
    await store.commit(SLOT, token(2, 2), first.generation)
    with pytest.raises(Conflict, match="was made from the token"):
        await store.put(SLOT, token(1, issued_at=None))
    assert (await store.put(SLOT, token(1), force=True)).generation == 3


async def test_an_older_token_is_not_brought_in_unless_forced(store: TokenStore) -> None:
    await store.put(SLOT, token(5))
    with pytest.raises(Conflict, match="issued 3 s later"):
        await store.put(SLOT, token(2))
    await store.commit(SLOT, token(6, 4), 1)
    with pytest.raises(Conflict, match="the store has generation 4"):
        await store.put(SLOT, token(9, 3))
    assert (await store.put(SLOT, token(9, 3), force=True)).generation == 5
    assert (await store.put(SLOT, token(10, 8))).generation == 9


async def test_bringing_in_the_stored_token_again_changes_nothing(store: TokenStore) -> None:
    stored = await store.put(SLOT, token(1))
    revision = (await loaded(store)).revision
    assert await store.put(SLOT, token(1)) == stored
    assert (await loaded(store)).revision == revision
    await store.mark(SLOT, 1, GrantStatus.DEAD, "spent", 1)
    assert (await store.put(SLOT, token(1))).generation == 1
    assert (await store.put(SLOT, token(1), force=True)).generation == 2
    assert (await loaded(store)).status is GrantStatus.USABLE


async def test_a_removed_slot_keeps_its_generation_and_nothing_else(store: TokenStore) -> None:
    await store.commit(SLOT, token(1, 7), 0)
    assert await store.remove(SLOT) is True
    assert await store.remove(SLOT) is False
    assert await store.remove(OTHER) is False
    assert await store.load(SLOT) is None
    assert await store.slots() == []
    row = await store._read(SLOT.key)
    assert row is not None
    assert (row.payload, row.lineage, row.cause) == (b"", "", "")
    for expected in (0, 7, 8):
        with pytest.raises(Conflict):
            await store.commit(SLOT, token(2, 9), expected)
    with pytest.raises(Conflict):
        await store.mark(SLOT, 8, GrantStatus.DEAD)
    with pytest.raises(Conflict):
        await store.note_intent(await leased(store), 8)
    assert (await store.put(SLOT, token(2))).generation == 9
    assert await store.slots() == [SLOT]


# --- what is unusable -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"nonsense", b"{}", b"[1]", b"null", b'{"format":1}', b'{"format":1,"access":5}', b"\xff\xfe"])
async def test_a_damaged_record_is_named_and_not_touched(engine: Engine, payload: bytes) -> None:
    async with engine.open() as store:
        await store.commit(SLOT, token(1, 1), 0)
        await engine.corrupt(SLOT.key, payload)
        with pytest.raises(StoreUnusable, match=r"is damaged: restore the store, or remove the token .* and log in again; nothing was"):
            await store.load(SLOT)
        with pytest.raises(StoreUnusable, match="is damaged"):
            await store.put(SLOT, token(2), force=True)
        row = await store._read(SLOT.key)
        assert row is not None
        assert row.payload == payload
        assert await store.remove(SLOT)
        assert (await store.put(SLOT, token(2))).generation == 3


async def test_a_record_of_a_later_format_is_named_and_not_touched(engine: Engine) -> None:
    async with engine.open() as store:
        await store.commit(SLOT, token(1, 1), 0)
        await engine.corrupt(SLOT.key, b'{"format":2,"access":"x"}')
        with pytest.raises(StoreUnusable, match="has format 2, and this version reads 1: update tradesession"):
            await store.load(SLOT)


async def test_a_store_of_a_later_version_is_named_and_not_touched(engine: Engine) -> None:
    async with engine.open() as store:
        await store.commit(SLOT, token(1, 1), 0)
    await engine.age_schema(7)
    async with aclosing(engine.open()) as store:
        with pytest.raises(StoreUnusable, match="has schema 7, and this version knows 1: update tradesession"):
            await store.load(SLOT)
        with pytest.raises(StoreUnusable):
            await store.commit(SLOT, token(2, 2), 1)
    await engine.age_schema(1)
    async with engine.open() as store:
        assert (await loaded(store)).token == token(1, 1)


async def test_no_secret_shows_in_records_logs_and_errors(store: TokenStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await store.put(SLOT, token(1))
    with pytest.raises(Conflict) as conflict:
        await store.commit(SLOT, token(3, 3), 0)
    shown = caplog.text + repr(await loaded(store)) + repr(conflict.value) + repr(await leased(store))
    assert "refresh-1" not in shown
    assert "access-1" not in shown
    assert "refresh-3" not in shown
