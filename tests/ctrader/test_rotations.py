"""One grant under several accounts, links and managers, through fifty rotations: nobody is ever locked out."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import tradesession
from tradesession import ctrader
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox
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
    while state.rotations < count:
        await sandbox.clock.advance(STEP)
        for session in sessions:
            for account in session.accounts:
                await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))
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
