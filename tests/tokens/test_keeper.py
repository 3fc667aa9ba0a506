"""The keeper in one process: one exchange for everybody, at the right time, and never a token that is no good."""

import asyncio
import random

from tests.tokens.fakes import SLOT, Bench, advance, settle
from tradesession.tokens.token import Token, TokenState


async def test_a_fresh_token_is_handed_out_without_any_exchange(bench: Bench) -> None:
    stored = await bench.consent()
    keeper = bench.keeper()
    assert await keeper.get() == stored
    assert await keeper.get() is await keeper.get()
    assert keeper.state is TokenState.FRESH
    assert bench.issuer.calls == 0


async def test_a_thousand_callers_at_expiry_cause_one_exchange(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    tokens = await asyncio.gather(*(keeper.get() for _ in range(1000)))
    assert bench.issuer.calls == 1
    assert {token.generation for token in tokens} == {2}
    assert all(bench.issuer.accepts(token) for token in tokens)
    assert keeper.exchanges == 1


async def test_a_thousand_simultaneous_refusals_cause_one_exchange(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()

    async def caller() -> Token:
        token = await keeper.get()
        await asyncio.sleep(0)
        await keeper.reject(token)
        return await keeper.get()

    tokens = await asyncio.gather(*(caller() for _ in range(1000)))
    assert bench.issuer.calls == 1
    assert {token.generation for token in tokens} == {2}


async def test_a_refusal_of_an_old_token_changes_nothing(bench: Bench) -> None:
    old = await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    await keeper.reject(old)
    new = await keeper.get()
    await keeper.reject(old)
    await advance(bench.clock, 60)
    assert await keeper.get() is new
    assert bench.issuer.calls == 1


async def test_a_refused_token_is_renewed_even_if_nobody_asks(bench: Bench) -> None:
    old = await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    changes = keeper.changes()
    await keeper.reject(old)
    assert keeper.state is TokenState.EXPIRED
    token = await anext(changes)
    assert token.generation == 2


async def test_a_newer_token_in_the_store_answers_a_refusal_without_an_exchange(bench: Bench) -> None:
    old = await bench.consent()
    ours, other = bench.keeper(), bench.keeper()
    await ours.get()
    await other.get()
    await other.reject(old)
    new = await other.get()
    await ours.reject(old)
    assert await ours.get() == new
    assert bench.issuer.calls == 1


async def test_no_caller_can_cancel_an_exchange(bench: Bench) -> None:
    await bench.expired()
    answer = asyncio.Event()
    bench.issuer.after = answer.wait
    keeper = bench.keeper()
    callers = [asyncio.create_task(keeper.get()) for _ in range(3)]
    await settle()
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    answer.set()
    await settle()
    stored = await bench.store.load(SLOT)
    assert stored is not None
    assert stored.generation == 2
    assert bench.issuer.accepts(stored.token)
    assert (await keeper.get()).generation == 2


async def test_a_thousand_random_cancellations_lose_no_rotation(bench: Bench) -> None:
    chance = random.Random(7)
    await bench.consent()
    keeper = bench.keeper()

    async def dawdle() -> None:
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)

    bench.issuer.before = bench.issuer.after = dawdle
    cancelled = 0
    while cancelled < 1000:
        token = await keeper.get()
        await advance(bench.clock, 60)
        await keeper.reject(token)
        callers = [asyncio.create_task(keeper.get()) for _ in range(10)]
        for caller in callers:
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            cancelled += caller.cancel()
        await asyncio.wait(callers)
        assert bench.issuer.accepts(await keeper.get())
        stored = await bench.store.load(SLOT)
        assert stored is not None
        assert bench.issuer.accepts(stored.token)
    assert max(bench.issuer.shown.values()) == 1
    assert bench.issuer.calls > 50
