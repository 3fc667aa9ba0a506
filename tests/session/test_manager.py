"""What the sessions of a SessionManager share: how it is closed, and what becomes of it when a configuration is corrected."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from tests.tokens.fakes import SLOT, Issuer, settle
from tradesession.clock import Clock, ManualClock
from tradesession.errors import Rejected, Unreachable
from tradesession.sandbox import Sandbox
from tradesession.session.manager import SessionManager
from tradesession.session.services import Services, TokenPlan
from tradesession.session.states import SessionState
from tradesession.tokens.stores.memory import MemoryStore
from tradesession.tokens.token import Slot


@dataclass
class Config:
    """A platform that has tokens and no sessions."""

    plan: TokenPlan
    clock: Clock | None = None
    store: None = None

    @property
    def slot(self) -> Slot:
        return self.plan.slot

    def token_plan(self, clock: Clock) -> TokenPlan:
        return self.plan

    def create_session(self, services: Services) -> Any:
        raise NotImplementedError


async def test_a_closing_that_is_cancelled_takes_nothing_away_from_an_exchange_under_way() -> None:
    clock = ManualClock()
    issuer, store = Issuer(clock), MemoryStore(clock=clock)
    await store.put(SLOT, issuer.consent())
    clock.advance(3601)
    answer, connection_closed = asyncio.Event(), asyncio.Event()
    issuer.after = answer.wait

    async def aclose() -> None:
        connection_closed.set()

    config = Config(TokenPlan(slot=SLOT, exchange=issuer, seed=None, is_stored=True, aclose=aclose))
    manager = SessionManager(store=store, clock=clock)
    caller = asyncio.create_task(manager.tokens(config).get())
    await settle()
    closing = asyncio.create_task(manager.aclose())
    await settle()
    closing.cancel()
    await settle()
    assert not connection_closed.is_set()
    answer.set()
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert connection_closed.is_set()
    grant = await store.load(SLOT)
    assert grant is not None
    assert grant.token == await caller
    assert grant.generation == 2


async def test_a_corrected_configuration_brings_its_own_token() -> None:
    async with Sandbox(seed=1) as sandbox, SessionManager(clock=sandbox.clock) as manager:
        good = sandbox.ctrader.config()
        with pytest.raises(Rejected, match="CH_CLIENT_AUTH_FAILURE"):
            await manager.open(good.replace(client_secret="wrong", access_token=None, refresh_token=None))
        assert (await manager.open(good)).state is SessionState.READY


async def test_what_may_pass_by_itself_is_no_reason_to_begin_anew() -> None:
    async with Sandbox(seed=1) as sandbox, SessionManager(clock=sandbox.clock) as manager:
        good = sandbox.ctrader.config()
        nowhere = good.replace(port=1)
        keeper = manager.tokens(nowhere)
        with pytest.raises(Unreachable):
            await manager.open(nowhere)
        assert manager.tokens(good) is keeper
