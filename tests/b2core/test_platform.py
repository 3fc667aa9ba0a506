"""The second level against the sandbox: pairs under a bearer, both levels through keepers and stores, and addresses that are left alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tradesession.b2core.lifetimes import ODDITIES
from tradesession.b2core.platform import PlatformBearer, PlatformExchange
from tradesession.errors import ReauthorizationRequired, TokenEndpointUnreachable, TokenRefused
from tradesession.sandbox import Sandbox
from tradesession.sandbox.b2core import OTHER_PLATFORM_ID, B2CoreSandbox
from tradesession.session.manager import SessionManager
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.stores import open_store
from tradesession.tokens.stores.memory import MemoryStore

AUTH = "POST /api/v2/my/platforms/1/auth"
REFRESH = "POST /api/v2/my/platforms/1/refresh"


def parent_of(keeper: TokenKeeper) -> TokenKeeper:
    exchange = keeper._context.exchange
    assert isinstance(exchange, PlatformExchange)
    return exchange._parent


# --- the two levels -------------------------------------------------------------------------------------------------------------------


async def test_the_parent_comes_first_and_both_levels_rest_in_the_store(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    async with open_store("memory:", clock=sandbox.clock) as store:
        config = server.config(store=store)
        async with SessionManager(clock=sandbox.clock) as manager:
            token = await manager.tokens(config).get()
        assert server.state.is_good(token.access.reveal())
        assert list(server.state.requests) == ["GET /api/v2/my/signin/wizard", "POST /api/v2/my/signin", AUTH]
        kept = {slot.slot: grant.token for slot in (config.slot, config.parent_slot) if (grant := await store.load(slot)) is not None}
        assert kept["platform-1"].access == token.access
        assert server.state.is_good_bearer(kept["user"].access.reveal())
        server.state.requests.clear()
        async with SessionManager(clock=sandbox.clock) as manager:
            assert (await manager.tokens(config).get()).access == token.access
        assert server.state.requests.total() == 0


async def test_two_platforms_of_a_user_share_the_sign_in(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    async with SessionManager(clock=sandbox.clock) as manager:
        await manager.tokens(server.config()).get()
        with pytest.raises(TokenRefused, match="platform_id"):
            await manager.tokens(server.config(platform_id=OTHER_PLATFORM_ID)).get()
        with pytest.raises(TokenRefused, match="platform_id"):
            await manager.tokens(server.config(platform_id=99)).get()
    assert len(server.state.passwords) == 1


async def test_headers_about_the_country_go_along_to_the_sign_in_of_the_platform(manager: SessionManager, server: B2CoreSandbox) -> None:
    server.settings.geo_required = True
    with pytest.raises(TokenRefused, match="country_code"):
        await manager.tokens(server.config()).get()
    config = server.config(country_code="+995", country_name="Georgia", subject="another keeper")
    assert (await manager.tokens(config).get()).access


async def test_a_given_bearer_takes_the_place_of_a_sign_in(manager: SessionManager, server: B2CoreSandbox) -> None:
    bearer = server.describe()["access_token"]
    keeper = manager.tokens(server.config(email="", password=None, access_token=bearer))
    assert server.state.is_good((await keeper.get()).access.reveal())
    assert list(server.state.requests) == [AUTH]


async def test_a_newer_bearer_is_not_held_up_by_what_became_of_the_older_one(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    store = MemoryStore(clock=sandbox.clock)
    for is_good in (False, True):
        if is_good:
            sandbox.b2core._described = None
        bearer = server.describe()["access_token"]
        if not is_good:
            server.state.end_bearers()
        async with SessionManager(clock=sandbox.clock) as manager:
            keeper = manager.tokens(server.config(email="", password=None, access_token=bearer, store=store))
            if is_good:
                assert (await keeper.get()).access
            else:
                with pytest.raises(TokenEndpointUnreachable):
                    await keeper.get()
                with pytest.raises(ReauthorizationRequired):
                    await parent_of(keeper).get()
    await store.aclose()


# --- staying ----------------------------------------------------------------------------------------------------------------------------


async def test_a_ttl_of_a_minute_for_ten_minutes_never_shows_a_dead_token_and_causes_no_storm(
    sandbox: Sandbox, manager: SessionManager, server: B2CoreSandbox
) -> None:
    server.settings.pair_life = 60
    server.settings.jwt_life = 36_000  # as in the vendor's own example
    keeper = manager.tokens(server.config())
    for _ in range(600):
        assert server.state.is_good((await keeper.get()).access.reveal())
        await sandbox.clock.advance(1)
    assert server.state.unauthorized == 0
    assert 10 <= server.state.requests[REFRESH] <= 15
    assert server.state.requests[AUTH] == 1
    assert len(server.state.passwords) == 1


async def test_a_day_of_both_levels_shows_no_dead_token(sandbox: Sandbox, manager: SessionManager, server: B2CoreSandbox) -> None:
    keeper = manager.tokens(server.config())
    for _ in range(24 * 12):
        assert server.state.is_good((await keeper.get()).access.reveal())
        await sandbox.clock.advance(300)
    assert server.state.unauthorized == 0
    assert len(server.state.passwords) == 1
    assert 140 <= server.state.requests[REFRESH] <= 200
    assert 24 <= server.state.requests["POST /api/v2/my/refresh"] <= 40


@pytest.mark.parametrize("ttl", ["0", "abc", "missing", "milliseconds", "number"])
async def test_whatever_stands_for_a_ttl_the_tokens_own_expiry_keeps_it_alive(
    sandbox: Sandbox, manager: SessionManager, server: B2CoreSandbox, ttl: Any
) -> None:
    server.settings.ttl = ttl
    keeper = manager.tokens(server.config())
    for _ in range(30):
        assert server.state.is_good((await keeper.get()).access.reveal())
        await sandbox.clock.advance(60)
    assert server.state.requests[REFRESH] + server.state.requests[AUTH] <= 6


async def test_what_is_odd_is_told_once_with_what_is_done_about_it(
    sandbox: Sandbox, manager: SessionManager, server: B2CoreSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    server.settings.jwt_life = 36_000
    keeper = manager.tokens(server.config())
    await keeper.get()
    await keeper.renew()
    (line,) = [record.message for record in caplog.records if record.name == "tradesession.b2core"]
    assert line.startswith("lifetime-disagrees: the reply and the token differ about its life, and the earlier end counts (platform 1 at ")


def test_the_page_names_whatever_may_be_odd() -> None:
    page = (Path(__file__).parents[2] / "docs" / "b2core.md").read_text(encoding="utf-8")
    assert [code for code in ODDITIES if f"`{code}`" not in page] == []


@pytest.mark.parametrize("is_single_use", [False, True])
async def test_identical_tokens_of_a_pair_do_no_harm(
    sandbox: Sandbox, manager: SessionManager, server: B2CoreSandbox, is_single_use: bool
) -> None:
    server.settings.identical_pair = True
    server.settings.single_use = is_single_use
    keeper = manager.tokens(server.config())
    for _ in range(30):
        assert server.state.is_good((await keeper.get()).access.reveal())
        await sandbox.clock.advance(60)


async def test_after_a_pause_longer_than_the_pair_the_dead_refresh_token_is_not_shown(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    async with open_store("memory:", clock=sandbox.clock) as store:
        for _ in range(2):
            async with SessionManager(clock=sandbox.clock) as manager:
                assert (await manager.tokens(server.config(store=store)).get()).access
            await sandbox.clock.advance(1200)
    assert server.state.requests[REFRESH] == 0
    assert server.state.requests[AUTH] == 2


# --- when one of the two is over ----------------------------------------------------------------------------------------------------------


async def test_a_refused_refresh_token_leads_to_a_new_pair_while_the_parent_lives(manager: SessionManager, server: B2CoreSandbox) -> None:
    keeper = manager.tokens(server.config())
    token = await keeper.get()
    server.state.end_pairs()
    await keeper.reject(token)
    assert server.state.is_good((await keeper.get()).access.reveal())
    assert (server.state.requests[REFRESH], server.state.requests[AUTH]) == (1, 2)
    assert len(server.state.passwords) == 1


async def test_a_bearer_that_ended_on_the_server_is_renewed_once_for_the_pair(manager: SessionManager, server: B2CoreSandbox) -> None:
    keeper = manager.tokens(server.config())
    await keeper.get()
    server.state.end_bearers()
    assert server.state.is_good((await keeper.renew()).access.reveal())
    assert server.state.requests["POST /api/v2/my/refresh"] == 1
    assert len(server.state.passwords) == 1


async def test_a_dead_parent_does_not_kill_the_pair_and_its_return_brings_all_back(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    bearer = server.describe()["access_token"]
    async with open_store("memory:", clock=sandbox.clock) as store, SessionManager(clock=sandbox.clock) as manager:
        config = server.config(email="", password=None, access_token=bearer, store=store)
        keeper = manager.tokens(config)
        good = await keeper.get()
        server.state.end_bearers()
        await sandbox.clock.advance(540)
        both = PlatformBearer(keeper, parent_of(keeper))
        assert (await both.get()).access == good.access  # still good, though it should be renewed and cannot be
        await sandbox.clock.advance(120)
        with pytest.raises(ReauthorizationRequired):  # and what a person can do about it is said
            await both.get()
        assert server.state.unauthorized == 0
        sandbox.b2core._described = None
        news = both.changes()
        person = config.replace(access_token=server.describe()["access_token"])
        await store.put(config.parent_slot, person._seed() or pytest.fail("no token"))
        await sandbox.clock.advance(300)
        await anext(news)
        assert server.state.is_good((await both.get()).access.reveal())


async def test_a_platform_that_is_unwell_costs_nothing(sandbox: Sandbox, manager: SessionManager, server: B2CoreSandbox) -> None:
    keeper = manager.tokens(server.config())
    await keeper.get()
    server.faults.platform_status = 503
    server.faults.retry_after = 60
    await sandbox.clock.advance(530)
    assert server.state.is_good((await keeper.get()).access.reveal())
    assert server.state.requests[REFRESH] <= 3  # it asked for patience
    server.faults.platform_status = 0
    await sandbox.clock.advance(120)
    assert server.state.is_good((await keeper.get()).access.reveal())
    assert len(server.state.passwords) == 1


async def test_a_pair_whose_answer_was_lost_is_asked_for_anew(sandbox: Sandbox, manager: SessionManager, server: B2CoreSandbox) -> None:
    keeper = manager.tokens(server.config())
    token = await keeper.get()
    server.faults.token_reply_lost = True
    await keeper.reject(token)
    with pytest.raises(TokenEndpointUnreachable):
        await keeper.get()
    server.faults.token_reply_lost = False
    await sandbox.clock.advance(60)
    assert server.state.is_good((await keeper.get()).access.reveal())


# --- addresses ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["https://evil.example", "http://example.com", "not a url", "http://user:pw@evil.example/?t=planted"])
async def test_a_host_that_is_not_on_the_list_is_told_once_and_never_taken(
    sandbox: Sandbox, manager: SessionManager, server: B2CoreSandbox, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tradesession")
    server.faults.host = host
    keeper = manager.tokens(server.config())
    await keeper.get()
    await keeper.renew()
    exchange = keeper._context.exchange
    assert isinstance(exchange, PlatformExchange)
    assert exchange.trader_url == server.base_url
    assert sum("host-not-listed" in record.message for record in caplog.records) == 1
    assert "planted" not in caplog.text
    assert "user:pw" not in caplog.text


async def test_a_host_on_the_list_is_taken_and_the_first_one_serves_until_then(manager: SessionManager, server: B2CoreSandbox) -> None:
    urls = ("https://one.example/base", "https://two.example/base")
    keeper = manager.tokens(server.config(trader_urls=urls))
    exchange = keeper._context.exchange
    assert isinstance(exchange, PlatformExchange)
    await keeper.get()
    assert exchange.trader_url == urls[0]
    server.faults.host = "https://two.example"
    await keeper.renew()
    assert exchange.trader_url == urls[1]


async def test_a_redirect_to_another_origin_never_sees_the_bearer(manager: SessionManager, server: B2CoreSandbox) -> None:
    async with Sandbox(seed=2, clock=manager._clock) as elsewhere:  # type: ignore[arg-type]  # the same pushed clock
        keeper = manager.tokens(server.config())
        await keeper.get()
        server.faults.redirect = elsewhere.b2core.base_url
        with pytest.raises(TokenEndpointUnreachable, match="not followed"):
            await keeper.renew()
        assert elsewhere.b2core.state.requests.total() == 0
