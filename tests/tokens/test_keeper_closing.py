"""How a keeper ends: nothing that was begun is lost, nothing stays behind."""

import asyncio

import pytest

from tests.tokens.fakes import SLOT, Bench, advance, settle, while_time_passes
from tradesession.errors import SessionClosed, StoreError, TokenEndpointUnreachable, TokenError
from tradesession.hooks import Record, RenewalFailed, TokenRotated
from tradesession.tokens.changes import TokenChanges
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.token import Token, TokenState


def tasks_of_keepers() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if str(SLOT) in task.get_name()]


async def test_closing_leaves_no_task_and_no_timer(bench: Bench) -> None:
    await bench.consent()
    async with bench.keeper() as keeper:
        await keeper.get()
        await settle()
        assert tasks_of_keepers() != []
    assert tasks_of_keepers() == []
    assert bench.clock.next_timer() is None


async def test_closing_waits_for_an_exchange_that_was_begun(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    answer = asyncio.Event()
    bench.issuer.after = answer.wait
    caller = asyncio.create_task(keeper.get())
    await settle()
    closing = asyncio.create_task(keeper.aclose())
    await advance(bench.clock, 20)
    assert not closing.done()
    answer.set()
    await closing
    assert (await bench.stored()).generation == 2
    assert (await caller).generation == 2, "whoever waited gets it"
    with pytest.raises(SessionClosed, match="is closed; make another one"):
        await keeper.get()


async def test_a_closing_that_is_cancelled_leaves_the_exchange_alone_and_nothing_else(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    answer = asyncio.Event()
    bench.issuer.after = answer.wait
    caller = asyncio.create_task(keeper.get())
    await settle()
    closing = asyncio.create_task(keeper.aclose())
    await settle()
    closing.cancel()
    await asyncio.wait([closing])
    assert sorted(tasks_of_keepers()) == [f"lease of {SLOT}", f"renewal of {SLOT}"]
    answer.set()
    assert (await caller).generation == (await bench.stored()).generation == 2
    await advance(bench.clock, 86400)
    assert bench.issuer.calls == 1, "it is closed"


async def test_closing_drops_a_renewal_that_has_not_sent_anything(bench: Bench) -> None:
    await bench.expired()
    lease = await bench.store.lease(SLOT, 1000)
    assert lease is not None
    keeper = bench.keeper()
    caller = asyncio.create_task(keeper.get())
    await settle()
    await keeper.aclose()
    with pytest.raises(SessionClosed):
        await caller
    assert bench.issuer.calls == 0


async def test_closing_saves_what_was_not_saved_yet(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.store.failing = {"write"}
    await keeper.get()
    closing = asyncio.create_task(keeper.aclose())
    await advance(bench.clock, 20)
    assert not closing.done()
    bench.store.failing = set()
    await advance(bench.clock, 6)
    await closing
    assert (await bench.stored()).generation == 2


async def test_closing_says_when_a_pair_could_not_be_saved(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.keepers.clear()
    bench.store.failing = {"write"}
    token = await keeper.get()
    with pytest.raises(StoreError, match=r"generation 2 of .* was not saved before closing.*take the new one from peek\(\)"):
        await while_time_passes(bench.clock, keeper.aclose())
    assert keeper.peek() is token
    assert tasks_of_keepers() == []


async def test_closing_twice_is_harmless(bench: Bench) -> None:
    keeper = bench.keeper()
    await keeper.aclose()
    await keeper.aclose()
    with pytest.raises(SessionClosed):
        await keeper.renew()
    assert keeper.state is TokenState.ABSENT


async def test_a_closed_keeper_ends_its_changes(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    before = keeper.changes()
    waiting = asyncio.ensure_future(_all(before))
    await settle()
    await keeper.aclose()
    assert [token.generation for token in await waiting] == [1]
    assert await _all(keeper.changes()) == []
    await keeper.reject((await bench.stored()).token)


async def _all(changes: TokenChanges) -> list[Token]:
    return [token async for token in changes]


async def test_a_slow_listener_gets_the_newest_token_only(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    changes = keeper.changes()
    for _ in range(3):
        await keeper.renew()
    assert (await anext(changes)).generation == 4
    assert aiter(changes) is changes


async def test_changes_begin_with_the_call_and_not_with_the_first_step(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    changes = keeper.changes()
    await keeper.renew()
    assert (await anext(changes)).generation == 2


async def test_a_task_that_somebody_cancels_from_outside_is_no_riddle(bench: Bench) -> None:
    await bench.expired()
    lease = await bench.store.lease(SLOT, 1000)
    assert lease is not None
    keeper = bench.keeper()
    caller = asyncio.create_task(keeper.get())
    await settle()
    for task in asyncio.all_tasks():
        if task.get_name().startswith("renewal of"):
            task.cancel()
    with pytest.raises(TokenError, match="was cancelled from outside; ask again"):
        await caller
    await bench.store.release(lease)
    assert (await while_time_passes(bench.clock, keeper.get())).generation == 2


async def test_hooks_run_when_the_lease_is_given_back(bench: Bench) -> None:
    """A hook may ask the keeper and the store; it would deadlock under a lock."""
    await bench.expired()
    seen: list[str] = []

    def hook(record: Record) -> None:
        if not isinstance(record, TokenRotated):
            return
        token = keeper.peek()
        if token is not None and isinstance(record, TokenRotated):
            seen.extend([str(token.generation), str(bench.store._leases)])

    keeper = TokenKeeper(SLOT, bench.store, bench.issuer, clock=bench.clock, hooks=[hook])
    bench.keepers.append(keeper)
    await keeper.get()
    assert seen == ["2", "{}"]


async def test_a_failure_that_nobody_waits_for_is_told_and_no_warning_of_asyncio(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    answer = asyncio.Event()
    bench.issuer.before = answer.wait
    bench.issuer.errors = [TokenEndpointUnreachable("down")]
    caller = asyncio.create_task(keeper.get())
    await settle()
    caller.cancel()
    await asyncio.wait([caller])
    answer.set()
    await settle()
    assert [record.cause for record in bench.records if isinstance(record, RenewalFailed)] == ["down"]
