"""A keeper and its store: down before, down after, forgetful, written by others, emptied by hand."""

import asyncio
import gc
import logging
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from tests.tokens.fakes import SLOT, Bench, FragileStore, advance, settle, while_time_passes
from tradesession import policy
from tradesession.errors import ConfigurationError, ReauthorizationRequired, StoreUnreachable, StoreUnusable
from tradesession.secrets import Secret
from tradesession.tokens.holder import Holder
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.renewal import RenewalPolicy
from tradesession.tokens.store import GrantStatus, Row, Write
from tradesession.tokens.token import Token, TokenState


def is_saved(keeper: TokenKeeper) -> bool:
    return keeper.is_saved


# --- down -------------------------------------------------------------------------------------------------------------------------


async def test_a_store_that_is_down_before_prevents_the_exchange(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.store.is_down = True
    with pytest.raises(StoreUnreachable):
        await keeper.get()
    assert bench.issuer.calls == 0
    bench.store.is_down = False
    await advance(bench.clock, 5)
    assert (await keeper.get()).generation == 2


@pytest.mark.parametrize("operation", ["read", "take", "note"])
async def test_whatever_fails_before_the_exchange_prevents_it(bench: Bench, operation: str) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.store.failing = {operation}
    with pytest.raises(StoreUnreachable):
        await keeper.get()
    assert bench.issuer.calls == 0
    bench.store.failing = set()
    await advance(bench.clock, 20)
    assert (await keeper.get()).generation == 2
    assert set(bench.issuer.shown.values()) == {1}


async def test_a_token_in_memory_is_served_while_the_store_is_down(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    bench.store.is_down = True
    for _ in range(3590):
        assert bench.issuer.accepts(await keeper.get())
        await advance(bench.clock, 1)
    assert bench.issuer.calls == 0
    with pytest.raises(StoreUnreachable):
        await keeper.get(60)
    await advance(bench.clock, 20)
    with pytest.raises(StoreUnreachable):
        await keeper.get()
    bench.store.is_down = False
    await advance(bench.clock, 10)
    assert (await keeper.get()).generation == 2


async def test_a_store_that_is_down_is_not_hammered(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.store.is_down = True
    reads = 0
    check = bench.store.check

    def count(operation: str) -> None:
        nonlocal reads
        reads += operation == "read"
        check(operation)

    bench.store.check = count  # type: ignore[method-assign]
    for _ in range(600):
        with pytest.raises(StoreUnreachable):
            await keeper.get()
        await advance(bench.clock, 0.1)
    assert reads < 60


async def test_a_store_that_is_down_for_ten_minutes_after_an_exchange_loses_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.expired()
    keeper = bench.keeper()

    async def goes_down() -> None:
        bench.store.is_down = True

    bench.issuer.after = goes_down
    token = await keeper.get()
    assert (token.generation, bench.issuer.accepts(token)) == (2, True)
    assert not is_saved(keeper)
    assert bench.rotations == [(2, False)]
    for _ in range(600):
        assert await keeper.get() is token, "the session goes on with the new pair"
        await advance(bench.clock, 1)
    assert (await bench.stored()).generation == 1
    bench.store.is_down = False
    await advance(bench.clock, 6)
    assert is_saved(keeper)
    grant = await bench.stored()
    assert (grant.token, grant.status) == (token, GrantStatus.USABLE)
    assert bench.rotations == [(2, False), (2, True)]
    assert bench.issuer.calls == 1
    loud = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(loud) == 1
    assert "NOT SAVED" in loud[0].message


async def test_a_commit_whose_answer_was_lost_is_not_taken_for_somebody_elses(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    real = bench.store._write

    async def lost(key: str, write: Write) -> bool:
        await real(key, write)
        bench.store._write = real  # type: ignore[method-assign]
        raise StoreUnreachable("written, but the answer was lost")

    bench.store._write = lost  # type: ignore[method-assign]
    token = await keeper.get()
    await advance(bench.clock, 10)
    assert is_saved(keeper)
    assert (await bench.stored()).token == token
    assert bench.issuer.calls == 1


async def test_an_unsaved_pair_is_saved_before_it_is_exchanged_itself(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()

    async def goes_down() -> None:
        bench.store.is_down = True

    bench.issuer.after = goes_down
    await keeper.get()
    await advance(bench.clock, 3601)
    with pytest.raises(StoreUnreachable):
        await keeper.get()
    assert bench.issuer.calls == 1
    bench.store.is_down = False
    bench.issuer.after = None
    await advance(bench.clock, 10)
    assert (await keeper.get()).generation == 3
    assert (await bench.stored()).generation == 3
    assert set(bench.issuer.shown.values()) == {1}


async def test_a_pair_counts_as_saved_by_its_own_save_alone(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()

    async def refuses_writes() -> None:
        bench.store.failing = {"write"}

    bench.issuer.after = refuses_writes
    second = await keeper.get()
    bench.store.failing = set()  # the one before is saved on the way to the next, and its own attempts go on
    await keeper.reject(second)
    assert (await keeper.get()).generation == 3
    while (await bench.stored()).generation == 2:
        bench.store.failing = set()
        assert not is_saved(keeper)
        assert bench.clock.step(bench.clock.monotonic() + 60)
        await settle()
    assert is_saved(keeper)


@pytest.mark.parametrize("trouble", [RuntimeError("a bug"), KeyError("another"), OverflowError()])
async def test_a_store_that_fails_in_a_way_nobody_foresaw_does_not_cost_the_pair(bench: Bench, trouble: Exception) -> None:
    class Odd(FragileStore):
        async def _write(self, key: str, write: Write) -> bool:
            if odd:
                raise trouble
            return await super()._write(key, write)

        async def _release(self, key: str, lease: str) -> None:
            if odd:
                raise trouble
            await super()._release(key, lease)

    odd = False
    bench.store = Odd(bench.clock)
    await bench.expired()
    keeper = bench.keeper()
    odd = True
    assert bench.issuer.accepts(await keeper.get())
    assert not is_saved(keeper)
    odd = False
    await advance(bench.clock, 10)
    assert is_saved(keeper)
    assert (await bench.stored()).generation == 2
    assert set(bench.issuer.shown.values()) == {1}


async def test_a_store_whose_address_cannot_be_read_is_told_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    class Nowhere(FragileStore):
        async def _read(self, key: str) -> Row | None:
            raise ConfigurationError("the URL cannot be read")

        async def _revision(self, key: str) -> int:
            raise ConfigurationError("the URL cannot be read")

    bench.store = Nowhere(bench.clock)
    keeper = bench.keeper()
    with pytest.raises(ConfigurationError):
        await keeper.get()
    await keeper.aclose()
    gc.collect()  # a task whose exception nobody saw says so when it goes
    assert "never retrieved" not in caplog.text


async def test_a_lease_that_cannot_be_given_back_does_not_cost_the_pair(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.store.failing = {"release", "extend"}
    assert (await keeper.get()).generation == 2
    assert is_saved(keeper)


# --- forgetful --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("older", [True, False])
async def test_what_the_store_forgot_is_written_again_before_the_next_exchange(bench: Bench, older: bool) -> None:
    """A Redis server that lost its last seconds, or everything."""
    first = await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    second = await keeper.renew()
    await keeper.renew()
    bench.store._records.clear()
    if older:
        await bench.store.commit(SLOT, second, 0)
    await advance(bench.clock, 3000)
    assert (await keeper.get()).generation == 4
    assert (await bench.stored()).generation == 4
    assert set(bench.issuer.shown.values()) == {1}
    assert first.generation == 1


@pytest.mark.parametrize("older", [True, False])
async def test_what_the_store_forgot_is_written_again_at_once(bench: Bench, older: bool) -> None:
    """The process that has the only good pair may end long before its next renewal."""
    first = await bench.consent()
    keeper = bench.keeper()
    token = await keeper.renew()
    await settle()
    bench.store._records.clear()
    if older:
        await bench.store.commit(SLOT, first, 0)
    bench.store.failing = {"write"}
    bench.store._announce()
    await settle()
    bench.store.failing = set()
    await advance(bench.clock, 1)
    assert (await bench.stored()).token == token
    await advance(bench.clock, 3000)
    assert (await bench.keeper(2).get()).generation == 3
    assert set(bench.issuer.shown.values()) == {1}
    assert bench.rotations[0] == (2, True)
    assert bench.rotations.count((2, True)) == 1, "it is no rotation"


@pytest.mark.parametrize("failing", [set(), {"revision"}], ids=["watched", "not watched"])
async def test_a_login_into_a_store_that_forgot_everything_wins(bench: Bench, failing: set[str]) -> None:
    await bench.consent()
    keeper = bench.keeper()
    await keeper.renew()
    await advance(bench.clock, 600)
    bench.store.failing = failing
    bench.store._records.clear()
    assert (await bench.store.put(SLOT, bench.issuer.consent())).generation == 1
    await advance(bench.clock, 2600)
    token = await keeper.get()
    assert bench.issuer.accepts(token)
    assert (await bench.stored()).token == token
    assert (token.generation, bench.issuer.calls) == (3, 1)


async def test_a_slot_that_a_person_removed_is_not_written_again(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    token = await keeper.renew()
    await bench.store.remove(SLOT)
    assert await keeper.get() is token
    await advance(bench.clock, 3601)
    with pytest.raises(ReauthorizationRequired, match="was removed from the store: give consent again"):
        await keeper.get()
    assert await bench.store.load(SLOT) is None
    assert bench.issuer.calls == 1


async def test_a_slot_that_is_removed_during_an_exchange_stays_removed(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()

    async def removed() -> None:
        await bench.store.remove(SLOT)

    bench.issuer.after = removed
    with pytest.raises(ReauthorizationRequired, match="was removed from the store"):
        await keeper.get()
    assert await bench.store.load(SLOT) is None


# --- others -----------------------------------------------------------------------------------------------------------------------


async def test_two_keepers_at_expiry_make_one_exchange(bench: Bench) -> None:
    await bench.expired()
    keepers = [bench.keeper(seed) for seed in range(8)]
    tokens = await while_time_passes(bench.clock, _all(*(keeper.get() for keeper in keepers for _ in range(25))))
    assert {token.generation for token in tokens} == {2}
    assert bench.issuer.calls == 1
    assert sum(keeper.exchanges for keeper in keepers) == 1


async def _all(*calls: Awaitable[Token]) -> list[Token]:
    return await asyncio.gather(*calls)


async def test_a_rotation_by_another_process_is_heard(bench: Bench) -> None:
    await bench.consent()
    ours, other = bench.keeper(1), bench.keeper(2)
    await ours.get()
    changes = ours.changes()
    new = await other.renew()
    assert await anext(changes) == new
    assert await ours.get() == new
    assert ours.exchanges == 0
    assert bench.rotations == [(2, True), (2, True)], "each keeper tells its own hooks"


async def test_only_one_of_many_keepers_renews_early(bench: Bench) -> None:
    await bench.consent()
    keepers = [bench.keeper(seed) for seed in range(10)]
    for keeper in keepers:
        await keeper.get()
    await advance(bench.clock, 3600 * 0.9)
    assert bench.issuer.calls == 1
    assert {(await keeper.get()).generation for keeper in keepers} == {2}


async def test_a_login_elsewhere_is_taken_over_at_once(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    changes = keeper.changes()
    new = await bench.store.put(SLOT, bench.issuer.consent())
    assert await anext(changes) == new
    assert await keeper.get() == new


async def test_a_login_during_an_exchange_wins(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()

    async def consented() -> None:
        bench.issuer.after = None
        await bench.store.put(SLOT, bench.issuer.consent(), force=True)

    bench.issuer.after = consented
    token = await keeper.get()
    assert token == (await bench.stored()).token
    assert bench.issuer.accepts(token)


async def test_a_login_while_a_pair_is_unsaved_wins(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.store.failing = {"write"}
    unsaved = await keeper.get()
    bench.store.failing = set()
    new = await bench.store.put(SLOT, bench.issuer.consent(), force=True)
    assert new.generation == unsaved.generation, "by accident, as nobody could know"
    await advance(bench.clock, 10)
    assert await keeper.get() == new
    assert is_saved(keeper)


async def test_a_pair_whose_slot_is_removed_before_it_is_saved_is_not_called_saved(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.store.failing = {"write"}
    token = await keeper.get()
    await bench.store.remove(SLOT)
    bench.store.failing = set()
    await advance(bench.clock, 10)
    assert is_saved(keeper), "nothing is left to be done"
    assert await bench.store.load(SLOT) is None
    assert await keeper.get() is token
    assert bench.rotations == [(2, False)]


async def test_a_lease_that_nobody_gives_back_is_waited_for_and_then_named(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    lease = await bench.store.lease(SLOT, 10_000)
    assert lease is not None
    with pytest.raises(StoreUnreachable, match=r"the lease of .* was not to be had for 180 s: look which process holds it"):
        await while_time_passes(bench.clock, keeper.get())
    assert bench.issuer.calls == 0
    await bench.store.release(lease)
    await advance(bench.clock, 10)
    assert (await keeper.get()).generation == 2


async def test_an_exchange_in_which_a_person_is_asked_is_waited_for(bench: Bench) -> None:
    await bench.expired()
    numbers = RenewalPolicy(exchange_limit=400.0)
    answer = asyncio.Event()
    bench.issuer.after = answer.wait
    callers = [asyncio.create_task(bench.keeper(seed, numbers=numbers).get()) for seed in (1, 2)]
    await advance(bench.clock, 390)
    assert not any(caller.done() for caller in callers)
    answer.set()
    await advance(bench.clock, 1)
    assert {(await caller).generation for caller in callers} == {2}
    assert bench.issuer.calls == 1


async def test_an_exchange_that_outlasts_its_lease_is_still_one(bench: Bench) -> None:
    """The store stalls so that the lease ends; somebody else takes it, sees the intent, and waits for it to be settled."""
    await bench.expired()
    ours, other = bench.keeper(1), bench.keeper(2)
    answer = asyncio.Event()
    bench.issuer.after = answer.wait
    bench.store.failing = {"extend"}
    mine = asyncio.create_task(ours.get())
    await advance(bench.clock, 16)
    theirs = asyncio.create_task(other.get())
    await advance(bench.clock, 20)
    assert bench.issuer.calls == 1
    answer.set()
    await settle()
    assert (await mine) == (await theirs)
    assert bench.issuer.calls == 1


async def test_an_exchange_under_way_elsewhere_is_waited_for_after_a_refusal(bench: Bench) -> None:
    """The server ends the old token before the one who exchanges has saved the new one."""
    await bench.consent()
    ours, other = bench.keeper(1), bench.keeper(2)
    old = await ours.get()
    await other.get()
    answer = asyncio.Event()
    bench.issuer.after = answer.wait
    renewing = asyncio.create_task(other.renew())
    await settle()
    assert not bench.issuer.accepts(old)
    await ours.reject(old)
    waiting = asyncio.create_task(ours.get())
    await advance(bench.clock, 10)
    assert not waiting.done()
    answer.set()
    await advance(bench.clock, 1)
    assert (await waiting) == (await renewing)
    assert bench.issuer.calls == 1


async def test_an_intent_whose_process_is_not_proved_dead_is_watched_before_it_is_taken_up(bench: Bench) -> None:
    """Another machine's process was killed after the endpoint had rotated: its pair is lost, and this is found out once, later."""
    await bench.expired()
    lease = await bench.store.lease(SLOT, 15)
    assert lease is not None
    bench.store._holder = lambda: replace(Holder.current(), host="elsewhere", boot="another")
    await bench.store.note_intent(lease, 1)
    keeper = bench.keeper()
    waiting = asyncio.create_task(keeper.get())
    await advance(bench.clock, 55)
    assert bench.issuer.calls == 0
    assert not waiting.done()
    await advance(bench.clock, 10)
    assert (await waiting).generation == 2
    assert bench.issuer.calls == 1


async def test_an_intent_whose_process_is_dead_is_taken_up_at_once(bench: Bench) -> None:
    await bench.expired()
    bench.store._holder = lambda: replace(Holder.current(), pid=2**22 + 1, started="1")
    lease = await bench.store.lease(SLOT, 15)
    assert lease is not None
    await bench.store.note_intent(lease, 1)
    bench.store._holder = Holder.current
    assert (await bench.keeper().get()).generation == 2
    assert bench.issuer.calls == 1


# --- seeds ------------------------------------------------------------------------------------------------------------------------


def seed(bench: Bench) -> Token:
    return bench.issuer.consent()


async def test_a_seed_fills_an_empty_store(bench: Bench) -> None:
    token = seed(bench)
    keeper = _seeded(bench, token)
    assert (await keeper.get()).access == token.access
    assert (await bench.stored()).generation == 1
    assert bench.issuer.calls == 0


async def test_a_seed_of_a_refresh_token_alone_is_exchanged(bench: Bench) -> None:
    token = replace(seed(bench), access=Secret(""), issued_at=None, expires_at=None)
    keeper = _seeded(bench, token)
    assert (await keeper.get()).generation == 2
    assert keeper.state is TokenState.FRESH


async def test_the_store_goes_before_the_seed(bench: Bench) -> None:
    token = seed(bench)
    await _seeded(bench, token).renew()
    keeper = _seeded(bench, token)
    assert (await keeper.get()).generation == 2, "the configuration still has the pair of the beginning"
    assert bench.issuer.calls == 1


async def test_a_new_seed_replaces_a_dead_grant_and_an_old_one_does_not(bench: Bench) -> None:
    old = seed(bench)
    await _seeded(bench, old).renew()
    await bench.store.mark(SLOT, 2, GrantStatus.DEAD, "revoked", 1)
    await advance(bench.clock, 3700)
    with pytest.raises(ReauthorizationRequired, match="revoked"):
        await _seeded(bench, old).get()
    new = seed(bench)
    assert (await _seeded(bench, new).get()).access == new.access
    assert (await bench.stored()).generation == 3


async def test_a_seed_of_long_ago_is_known_however_often_its_token_was_renewed(bench: Bench) -> None:
    """It is still in the configuration when the grant dies years later: to show it again would be to show a spent token."""
    old = seed(bench)
    keeper = _seeded(bench, old)
    for _ in range(policy.LINEAGE + 6):
        await keeper.renew()
    generation = (await bench.stored()).generation
    await bench.store.mark(SLOT, generation, GrantStatus.DEAD, "revoked", 1)
    await advance(bench.clock, 3700)
    with pytest.raises(ReauthorizationRequired, match="revoked"):
        await _seeded(bench, old).get()
    assert old.refresh is not None
    assert bench.issuer.shown[old.refresh.reveal()] == 1
    assert (await bench.stored()).generation == generation


def _seeded(bench: Bench, token: Token) -> TokenKeeper:
    keeper = TokenKeeper(SLOT, bench.store, bench.issuer, seed=token, clock=bench.clock, random=lambda: 0.5)
    bench.keepers.append(keeper)
    return keeper


async def test_two_processes_with_one_seed_agree(bench: Bench) -> None:
    token = replace(seed(bench), access=Secret(""), expires_at=None)
    keepers = [_seeded(bench, token) for _ in range(5)]
    tokens = await while_time_passes(bench.clock, _all(*(keeper.get() for keeper in keepers)))
    assert {found.generation for found in tokens} == {2}
    assert bench.issuer.calls == 1


# --- unusable ---------------------------------------------------------------------------------------------------------------------


async def test_an_unusable_store_is_told_and_nothing_is_exchanged(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()

    async def unusable(key: str) -> Row | None:
        raise StoreUnusable("the key is wrong")

    bench.store._read = unusable  # type: ignore[method-assign]
    with pytest.raises(StoreUnusable, match="the key is wrong"):
        await keeper.get()
    assert bench.issuer.calls == 0


async def test_a_full_disk_after_the_exchange_is_waited_for(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    real = bench.store._write

    async def full(key: str, write: Write) -> bool:
        raise StoreUnusable("the disk is full")

    bench.store._write = full  # type: ignore[method-assign]
    token = await keeper.get()
    await advance(bench.clock, 60)
    assert not is_saved(keeper)
    bench.store._write = real  # type: ignore[method-assign]
    await advance(bench.clock, 6)
    assert is_saved(keeper)
    assert (await bench.stored()).token == token
