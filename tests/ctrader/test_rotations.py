"""One grant under several accounts, links and managers, through fifty rotations: nobody is ever locked out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import tradesession
from tests.ctrader.trading import until
from tests.tokens.fakes import FragileStore
from tradesession import ctrader
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox
from tradesession.sandbox.simulation import World, simulated
from tradesession.secrets import Secret
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.stores import open_store
from tradesession.tokens.stores.memory import MemoryStore

ROTATIONS = 50
LIFE = 600
STEP = 120.0


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1, plain=True) as sandbox:
        sandbox.ctrader.feed.interval = 60.0
        yield sandbox


def grant(sandbox: Sandbox) -> dict[str, Any]:
    fresh = sandbox.ctrader.grant(expires_in=LIFE)
    return {"access_token": fresh.access_token, "refresh_token": fresh.refresh_token, "plaintext": True, "request_timeout": 30.0}


async def through_rotations(sandbox: Sandbox, sessions: list[ctrader.Session], count: int) -> None:
    """Push the clock until so many rotations have happened; ask for something on every account all the while."""
    state = sandbox.ctrader.state

    async def ask_about_all() -> None:
        for session in sessions:
            for account in session.accounts:
                await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))

    while state.rotations < count:
        await sandbox.clock.advance(STEP)
        await ask_about_all()
    await ask_about_all()  # the last rotation may have come in the midst of the round before
    for session in sessions:
        assert session.state is tradesession.SessionState.READY
        assert all(account.state is AccountState.AUTHORIZED for account in session.accounts)
    assert all(shown == 1 for shown in state.exchanges.values()), "each refresh token was shown once"
    assert state.rotations == count == len(state.exchanges)


async def learn_the_expiry(manager: tradesession.SessionManager, config: ctrader.Config) -> None:
    """A pair from a configuration tells no expiry; its first rotation does."""
    await manager.tokens(config).renew()


async def test_two_accounts_of_one_grant(sandbox: Sandbox) -> None:
    demo = [account.id for account in sandbox.ctrader.accounts if not account.is_live]
    config = sandbox.ctrader.config(**grant(sandbox), accounts=demo[:2])
    async with tradesession.SessionManager() as manager:
        session = await manager.open(config)
        await learn_the_expiry(manager, config)
        await through_rotations(sandbox, [session], ROTATIONS)
    assert sandbox.ctrader.state.opened == 1, "the link stood through all of them"


async def test_a_demo_and_a_live_session_of_one_grant(sandbox: Sandbox) -> None:
    tokens = grant(sandbox)
    async with tradesession.SessionManager() as manager:
        demo = await manager.open(sandbox.ctrader.config("demo", **tokens))
        live = await manager.open(sandbox.ctrader.config("live", "websocket", **tokens))
        await learn_the_expiry(manager, demo.config)
        await through_rotations(sandbox, [demo, live], ROTATIONS)
    assert sandbox.ctrader.state.opened == 2


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_two_managers_that_share_a_store_as_two_processes_do(sandbox: Sandbox, engine: str, tmp_path: Path) -> None:
    tokens = grant(sandbox)
    async with AsyncExitStack() as stack:
        shared = MemoryStore(clock=sandbox.clock)
        sessions: list[ctrader.Session] = []
        managers: list[tradesession.SessionManager] = []
        for environment in ("demo", "live"):
            store = shared if engine == "memory" else open_store(f"sqlite:{tmp_path / 'tokens.db'}", clock=sandbox.clock)
            stack.push_async_callback(store.aclose)
            manager = await stack.enter_async_context(tradesession.SessionManager())
            config = sandbox.ctrader.config(environment, **tokens, store=store)
            sessions.append(await manager.open(config))
            managers.append(manager)
        await learn_the_expiry(managers[0], sessions[0].config)
        await through_rotations(sandbox, sessions, 10)


async def test_the_refresh_goes_over_the_open_connection_and_over_http_when_there_is_none(sandbox: Sandbox) -> None:
    config = sandbox.ctrader.config(**grant(sandbox))
    async with tradesession.SessionManager() as manager:
        keeper = manager.tokens(config)
        await keeper.get()
        await keeper.renew()
        assert sandbox.ctrader.state.requests["ProtoOARefreshTokenReq"] == 0, "there was no connection: HTTP"
        session = await manager.open(config)
        await keeper.renew()
        assert sandbox.ctrader.state.requests["ProtoOARefreshTokenReq"] == 1
        sandbox.ctrader.faults.blocked_payload_types = {pb.ProtoOARefreshTokenReq}
        await keeper.renew()
        assert sandbox.ctrader.state.rotations == 3, "the socket said not now, so HTTP it was"
        assert session.state is tradesession.SessionState.READY


async def test_a_refresh_that_is_answered_late_is_waited_for(sandbox: Sandbox) -> None:
    """Longer than any step of a handshake: giving up on it would lose the pair, which the server has made by then."""
    config = sandbox.ctrader.config(**grant(sandbox))
    async with tradesession.SessionManager() as manager:
        keeper = manager.tokens(config)
        session = await manager.open(config)
        generation = (await keeper.get()).generation
        sandbox.ctrader.settings.latency = 40.0
        renewal = asyncio.create_task(keeper.renew())
        await sandbox.clock.advance(39)
        assert sandbox.ctrader.state.rotations == 1
        assert not renewal.done()
        sandbox.ctrader.settings.latency = 0.0
        await sandbox.clock.advance(2)
        assert (await renewal).generation == generation + 1
        await sandbox.clock.advance(120)
        assert session.state is tradesession.SessionState.READY
        assert all(account.state is AccountState.AUTHORIZED for account in session.accounts)
    assert list(sandbox.ctrader.state.exchanges.values()) == [1]


def unsaved(keeper: TokenKeeper) -> bool:
    return not keeper.is_saved


@simulated()
async def test_a_session_goes_on_when_the_store_is_down_for_ten_minutes_after_an_exchange(world: World) -> None:
    """Nothing is lost: requests pass, a new connection is made with the pair that is in memory alone, and in the end it is saved."""
    store = FragileStore(world.clock)
    async with Sandbox(world.seed, world.clock, plain=True) as sandbox:
        sandbox.ctrader.feed.pause()
        config = sandbox.ctrader.config(plaintext=True, store=store)
        async with tradesession.SessionManager(clock=world.clock) as manager:
            session, keeper = await manager.open(config), manager.tokens(config)
            store.failing = {"write"}
            token = await keeper.renew()
            store.is_down = True
            for minute in range(10):
                if minute == 5:
                    await sandbox.ctrader.faults.cut()
                for account in session.accounts:
                    await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id), timeout=30)
                await world.clock.advance(minutes=1)
            assert unsaved(keeper)
            assert all(account.token == token for account in session.accounts)
            store.is_down, store.failing = False, set()
            await world.clock.advance(10)
            assert not unsaved(keeper)
            stored = await store.load(config.slot)
            assert stored is not None
            assert stored.token == token
            assert session.state is tradesession.SessionState.READY
    assert list(sandbox.ctrader.state.exchanges.values()) == [1]
    assert sandbox.ctrader.state.opened == 2


@pytest.mark.parametrize("closed", ["session", "manager"])
@simulated()
async def test_closing_while_a_refresh_is_under_way_over_the_connection_waits_for_its_pair(world: World, closed: str) -> None:
    """Its answer comes over this connection or never: a bot that is told to stop in that moment must not lose its pair."""
    async with Sandbox(world.seed, world.clock, plain=True) as sandbox:
        sandbox.ctrader.feed.pause()
        store = MemoryStore(clock=world.clock)
        config = sandbox.ctrader.config(plaintext=True, store=store)
        async with tradesession.SessionManager(clock=world.clock) as manager:
            session, keeper = await manager.open(config), manager.tokens(config)
            sandbox.ctrader.settings.latency = 0.5
            renewal = asyncio.create_task(keeper.renew())
            await asyncio.sleep(0.1)
            assert (sandbox.ctrader.state.requests["ProtoOARefreshTokenReq"], sandbox.ctrader.state.rotations) == (1, 1)
            began = world.clock.monotonic()
            await (session if closed == "session" else manager).aclose()
            assert session.is_closed
            assert world.clock.monotonic() - began < 1
            token = await renewal
        stored = await store.load(config.slot)
        assert stored is not None
        assert stored.token == token
        assert [token.refresh] == [Secret(grant.refresh_token) for grant in sandbox.ctrader.state.grants if not grant.revoked]
    assert list(sandbox.ctrader.state.exchanges.values()) == [1]


@simulated()
async def test_requests_during_such_a_close_wait_for_its_end(world: World) -> None:
    async with Sandbox(world.seed, world.clock, plain=True) as sandbox:
        sandbox.ctrader.feed.pause()
        config = sandbox.ctrader.config(plaintext=True)
        async with tradesession.SessionManager(clock=world.clock) as manager:
            session, keeper = await manager.open(config), manager.tokens(config)
            sandbox.ctrader.settings.latency = 0.5
            renewal = asyncio.create_task(keeper.renew())
            await asyncio.sleep(0.1)
            closing = asyncio.create_task(session.aclose())
            await asyncio.sleep(0.1)
            with pytest.raises(tradesession.SessionClosed):
                await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=session.accounts[0].id))
            await closing
            await renewal


@simulated()
async def test_closing_does_not_wait_for_a_refresh_whose_connection_is_lost(world: World) -> None:
    async with Sandbox(world.seed, world.clock, plain=True) as sandbox:
        sandbox.ctrader.feed.pause()
        config = sandbox.ctrader.config(plaintext=True)
        async with tradesession.SessionManager(clock=world.clock) as manager:
            session, keeper = await manager.open(config), manager.tokens(config)
            sandbox.ctrader.faults.unanswered_requests = {pb.ProtoOARefreshTokenReq}
            renewal = asyncio.create_task(keeper.renew())
            await asyncio.sleep(0.1)
            closing = asyncio.create_task(session.aclose())
            await world.clock.advance(5)
            assert not closing.done()
            await sandbox.ctrader.faults.cut()
            await world.clock.advance(0.1)
            assert closing.done()
            assert (await renewal).generation == 2, "repeated over HTTP, as nothing had been spent"


@simulated()
async def test_a_close_while_a_failed_handshake_waits_for_a_refresh_ends_with_its_pair_and_without_its_connection(world: World) -> None:
    async with Sandbox(world.seed, world.clock, plain=True) as sandbox:
        sandbox.ctrader.feed.pause()
        config = sandbox.ctrader.config(plaintext=True)
        async with tradesession.SessionManager(clock=world.clock) as manager:
            session, keeper = await manager.open(config), manager.tokens(config)
            sandbox.ctrader.faults.unanswered_requests = {pb.ProtoOAGetAccountListByAccessTokenReq}
            await sandbox.ctrader.faults.cut()
            await until(lambda: sandbox.ctrader.state.requests["ProtoOAGetAccountListByAccessTokenReq"] == 2)
            await world.clock.advance(config.step_timeout - 1)
            sandbox.ctrader.settings.latency = 2
            renewal = asyncio.create_task(keeper.renew())
            await world.clock.advance(2)  # the handshake has given up, and the answer is on its way
            await session.aclose()
            assert (await renewal).generation == 2
            await world.clock.advance(2)
            assert sandbox.ctrader.connections == []
    assert list(sandbox.ctrader.state.exchanges.values()) == [1]


@pytest.mark.parametrize("events_first", [True, False])
@simulated()
async def test_rotations_in_quick_succession_are_no_drops_to_be_waited_out(world: World, events_first: bool) -> None:
    async with Sandbox(world.seed, world.clock, plain=True) as sandbox:
        sandbox.ctrader.feed.pause()
        sandbox.ctrader.settings.refresh_events_first = events_first
        config = sandbox.ctrader.config(plaintext=True, accounts=[sandbox.ctrader.accounts[0].id])
        async with tradesession.SessionManager(clock=world.clock) as manager:
            session, keeper = await manager.open(config), manager.tokens(config)
            for _ in range(5):
                await keeper.renew()
                began = world.clock.monotonic()
                await until(lambda: session.accounts[0].state is AccountState.AUTHORIZED and session.accounts[0].token == keeper.peek())
                assert world.clock.monotonic() - began < 0.2
                await world.clock.advance(5)
    assert list(sandbox.ctrader.state.exchanges.values()) == [1] * 5
