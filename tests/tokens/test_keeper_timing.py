"""When a keeper renews: in the background before the end, at once at the end, never in a storm, whatever the clocks do."""

import asyncio
import random
import time

import pytest

from tests.tokens.fakes import SLOT, Bench, advance, settle, while_time_passes
from tradesession.errors import ReauthorizationRequired, TokenEndpointUnreachable, TokenError
from tradesession.secrets import Secret
from tradesession.tokens.exchange import StaticExchange
from tradesession.tokens.grants import Static
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.token import Token, TokenState


async def test_a_token_is_renewed_in_the_background_at_four_fifths_of_its_life(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    await advance(bench.clock, 3600 * 0.75)
    assert bench.issuer.calls == 0
    assert keeper.state is TokenState.FRESH
    await advance(bench.clock, 3600 * 0.1)
    assert bench.issuer.calls == 1
    assert (await keeper.get()).generation == 2
    assert bench.rotations == [(2, True)]


async def test_a_stale_token_is_served_while_it_is_renewed(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    answer = asyncio.Event()
    bench.issuer.before = answer.wait
    while keeper.state is TokenState.FRESH:
        await advance(bench.clock, 1)
    assert keeper.state is TokenState.STALE
    token = await asyncio.wait_for(keeper.get(), 60)
    assert token.generation == 1
    answer.set()
    await settle()
    assert (await keeper.get()).generation == 2


async def test_a_thirty_day_token_is_renewed_with_six_days_left(bench: Bench) -> None:
    bench.issuer.lifetime = 30 * 86400.0
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    await advance(bench.clock, 22.7 * 86400)
    assert bench.issuer.calls == 0
    await advance(bench.clock, 2.6 * 86400)
    assert bench.issuer.calls == 1


@pytest.mark.parametrize("wrong_by", [0.0, 120.0, -120.0])
@pytest.mark.parametrize("seed", range(5))
async def test_a_sixty_second_token_for_ten_minutes(wrong_by: float, seed: int) -> None:
    """No call is refused, and there are at most 15 renewals, also with a wall clock that is wrong by two minutes."""
    bench = Bench(60.0)
    bench.clock.wall_offset += wrong_by
    await bench.consent()
    keeper = bench.keeper(seed)
    refused = 0
    for _ in range(600 * 4):
        token = await keeper.get()
        refused += not bench.issuer.accepts(token)
        await advance(bench.clock, 0.25)
    assert refused == 0
    assert 10 <= bench.issuer.calls <= 15
    await bench.aclose()


async def test_two_machines_whose_clocks_are_four_minutes_apart_share_a_sixty_second_token() -> None:
    """Ages are the store's, lives are relative: neither uses a dead token, and neither renews a fresh one."""
    bench = Bench(60.0)
    await bench.consent()

    class Ahead:
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds
            self.monotonic, self.call_at = bench.clock.monotonic, bench.clock.call_at

        def wall(self) -> float:
            return bench.clock.wall() + self.seconds

    keepers = [TokenKeeper(SLOT, bench.store, bench.issuer, clock=Ahead(off), random=random.Random(3).random) for off in (120.0, -120.0)]
    bench.keepers += keepers
    for _ in range(600 * 4):
        for keeper in keepers:
            assert bench.issuer.accepts(await keeper.get())
        await advance(bench.clock, 0.25)
    assert bench.issuer.calls <= 15
    await bench.aclose()


async def test_jitter_spreads_renewals_and_is_a_parameter() -> None:
    due = set()
    for seed in range(8):
        bench = Bench()
        await bench.consent()
        keeper = bench.keeper(seed)
        await keeper.get()
        began = bench.clock.monotonic()
        while bench.issuer.calls == 0:
            await advance(bench.clock, 10)
        due.add(round((bench.clock.monotonic() - began) / 3600, 3))
        await bench.aclose()
    assert len(due) > 4
    assert min(due) >= 0.757
    assert max(due) <= 0.844


async def test_min_ttl_renews_what_would_end_too_soon(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    await advance(bench.clock, 1800)
    assert (await keeper.get(1799)).generation == 1
    assert (await keeper.get(1801)).generation == 2
    assert bench.issuer.calls == 1


async def test_a_min_ttl_that_no_token_has_costs_one_exchange_and_no_storm(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    tokens = await asyncio.gather(*(keeper.get(10**9) for _ in range(100)))
    assert {token.generation for token in tokens} == {2}
    for _ in range(20):
        await keeper.get(10**9)
        await advance(bench.clock, 1)
    assert bench.issuer.calls == 1
    await advance(bench.clock, 30)
    await keeper.get(10**9)
    assert bench.issuer.calls == 2


async def test_a_min_ttl_that_no_token_has_costs_one_exchange_in_all_processes_together(bench: Bench) -> None:
    await bench.consent()
    await advance(bench.clock, 60)
    keepers = [bench.keeper(seed) for seed in range(4)]
    for keeper in keepers:
        assert (await keeper.get(3600)).generation == 2
        await advance(bench.clock, 5)
    assert bench.issuer.calls == 1


async def test_callers_with_different_needs_share_what_is_under_way(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    tokens = await asyncio.gather(keeper.get(), keeper.get(60), keeper.get(3000), keeper.get(3599))
    assert {token.generation for token in tokens} == {2}
    assert bench.issuer.calls == 1


async def test_a_token_without_an_expiry_is_renewed_when_it_is_refused_and_never_else() -> None:
    bench = Bench(None)
    await bench.consent()
    keeper = bench.keeper()
    old = await keeper.get(10**9)
    await advance(bench.clock, 400 * 86400)
    assert bench.issuer.calls == 0
    await keeper.reject(old)
    assert (await keeper.get()).generation == 2
    await bench.aclose()


async def test_a_static_token_is_handed_out_until_it_ends(bench: Bench) -> None:
    wall = bench.clock.wall()
    static = StaticExchange(Static(Secret("mine"), expires_at=wall + 600))
    keeper = TokenKeeper(SLOT, bench.store, static, clock=bench.clock)
    bench.keepers.append(keeper)
    token = await keeper.get()
    assert token.access == Secret("mine")
    await advance(bench.clock, 599)
    assert await keeper.get() is token
    with pytest.raises(ReauthorizationRequired, match="put a new one into the configuration"):
        await keeper.get(min_ttl=60)
    await advance(bench.clock, 2)
    with pytest.raises(ReauthorizationRequired):
        await keeper.get()


async def test_a_refused_static_token_needs_a_person(bench: Bench) -> None:
    keeper = TokenKeeper(SLOT, bench.store, StaticExchange(Static(Secret("mine"))), clock=bench.clock)
    bench.keepers.append(keeper)
    await keeper.reject(await keeper.get())
    with pytest.raises(ReauthorizationRequired):
        await keeper.get()


async def test_servers_that_refuse_every_new_token_cause_no_storm(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()

    async def stubborn() -> None:
        for _ in range(1000):
            await keeper.reject(await keeper.get())

    task = asyncio.create_task(stubborn())
    await advance(bench.clock, 60)
    assert 3 <= bench.issuer.calls <= 8
    await advance(bench.clock, 600)
    assert bench.issuer.calls <= 8 + 600 / 30 + 1
    task.cancel()
    await asyncio.wait([task])


async def test_an_issuer_that_serves_its_old_token_again_causes_no_storm(bench: Bench) -> None:
    """Seen at large issuers: until shortly before the end the same token comes back, with less and less life."""
    end = bench.clock.monotonic() + 3600
    served = 0

    async def again(token: Token | None) -> Token:
        nonlocal served, end
        served += 1
        if end - bench.clock.monotonic() < 30:
            end = bench.clock.monotonic() + 3600
        wall = bench.clock.wall()
        return Token(access=Secret(f"until {end:.0f}"), issued_at=wall, expires_at=wall + end - bench.clock.monotonic())

    keeper = TokenKeeper(SLOT, bench.store, again, clock=bench.clock, random=random.Random(1).random)
    bench.keepers.append(keeper)
    for _ in range(7200):
        token = await keeper.get()
        assert token.access == Secret(f"until {end:.0f}")
        await advance(bench.clock, 1)
    assert served < 40


async def test_a_suspended_machine_is_noticed_at_the_next_call(bench: Bench) -> None:
    """The monotonic clock stood still for an hour, the wall clock did not."""
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    bench.clock.wall_offset += 3600
    bench.issuer.expires_at -= 3600
    assert keeper.state is TokenState.FRESH, "nobody has looked yet"
    token = await keeper.get()
    assert token.generation == 2
    assert bench.issuer.accepts(token)


async def test_a_suspended_machine_is_noticed_without_any_call(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    changes = keeper.changes()
    bench.clock.wall_offset += 3600
    await advance(bench.clock, 301)
    assert (await anext(changes)).generation == 2


async def test_a_wall_clock_that_is_set_changes_little(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    bench.clock.wall_offset -= 86400
    for _ in range(10):
        await keeper.get()
        await advance(bench.clock, 60)
    assert bench.issuer.calls == 0, "set back: nothing happens"
    bench.clock.wall_offset += 86400
    for _ in range(10):
        assert bench.issuer.accepts(await keeper.get())
        await advance(bench.clock, 60)
    assert bench.issuer.calls == 1, "set forward: one renewal too many, as it could have been a suspended machine"


async def test_a_failed_early_renewal_is_no_error_and_is_tried_again(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    bench.issuer.errors = [TokenEndpointUnreachable("down") for _ in range(3)]
    await advance(bench.clock, 3600 * 0.76)
    for _ in range(600):
        assert bench.issuer.accepts(await keeper.get())
        await advance(bench.clock, 1)
    assert bench.issuer.calls == 4
    assert (await keeper.get()).generation == 2


async def test_retry_after_is_kept(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [TokenEndpointUnreachable("busy", retry_after=120)]
    with pytest.raises(TokenEndpointUnreachable, match="busy"):
        await keeper.get()
    await advance(bench.clock, 60)
    with pytest.raises(TokenEndpointUnreachable, match="busy; the next try is in 60 s") as caught:
        await keeper.get()
    assert caught.value.retry_after == pytest.approx(60)
    assert bench.issuer.calls == 1
    await advance(bench.clock, 60)
    assert (await keeper.get()).generation == 2


async def test_an_endpoint_that_is_down_is_not_hammered(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [TokenEndpointUnreachable("down") for _ in range(1000)]
    for _ in range(3600):
        with pytest.raises(TokenEndpointUnreachable):
            await keeper.get()
        await advance(bench.clock, 1)
    assert 100 <= bench.issuer.calls <= 400


async def test_renew_exchanges_whatever_the_age(bench: Bench) -> None:
    await bench.consent()
    keeper = bench.keeper()
    assert (await keeper.renew()).generation == 2
    assert (await keeper.renew()).generation == 3
    assert [token.generation for token in await asyncio.gather(keeper.renew(), keeper.renew(), keeper.get())] == [4, 4, 3]
    assert bench.issuer.calls == 3


async def test_time_is_asked_of_the_clock_alone(bench: Bench) -> None:
    """Ten virtual minutes of renewals take no real time, or the other tests here would not end."""
    await bench.consent()
    keeper = bench.keeper()
    began = time.monotonic()
    await while_time_passes(bench.clock, keeper.renew())
    assert time.monotonic() - began < 5


async def test_tokens_that_are_expired_on_arrival_cause_no_storm(bench: Bench) -> None:
    await bench.consent()
    bench.issuer.lifetime = 0.0
    keeper = bench.keeper()
    await advance(bench.clock, 4000)
    for _ in range(50):
        with pytest.raises(TokenError, match="expired already"):
            await keeper.get()
    assert bench.issuer.calls == 1
    await advance(bench.clock, 600)
    assert 10 <= bench.issuer.calls <= 21
    bench.issuer.lifetime = 3600.0
    await advance(bench.clock, 300)
    token = await keeper.get()
    assert bench.issuer.accepts(token)
    assert keeper.is_saved
