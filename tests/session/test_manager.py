"""What the sessions of a SessionManager share: how it is closed, and what becomes of it when a configuration is corrected."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from tests.tokens.fakes import SLOT, Issuer, advance, settle
from tradesession.clock import Clock, ManualClock
from tradesession.errors import Error, Rejected, Unreachable
from tradesession.sandbox import Sandbox
from tradesession.session.manager import SessionManager
from tradesession.session.services import Services, TokenPlan
from tradesession.session.states import SessionState
from tradesession.tasks import TaskOwner
from tradesession.tokens.stores.memory import MemoryStore
from tradesession.tokens.token import Slot, Token
from tradesession.verdict import Action, Level, Verdict


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


class Opening:
    """A session that only asks for its token. `failure` ends its opening."""

    def __init__(self, services: Services, failure: Error | None) -> None:
        self._services = services
        self._failure = failure
        self.is_closed = False

    def start(self, owner: TaskOwner) -> None:
        pass

    async def ready(self) -> None:
        await self._services.tokens.get()
        if self._failure is not None:
            raise self._failure

    async def aclose(self) -> None:
        self.is_closed = True


@dataclass
class Opened(Config):
    """With sessions, whose opening may fail for good."""

    failure: Error | None = None

    def create_session(self, services: Services) -> Any:
        return Opening(services, self.failure)


class Correction:
    """A configuration that fails for good, and the corrected one, each with an exchange of its own for the same token."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.issuer = Issuer(self.clock)
        self.store = MemoryStore(clock=self.clock)
        self.exchanged: list[str] = []
        self.closed: list[str] = []
        self.wrong = Opened(self._plan("wrong"), failure=Rejected("NO", verdict=Verdict(Action.FATAL, Level.LINK)))
        self.right = Opened(self._plan("right"))

    def _plan(self, name: str) -> TokenPlan:
        async def exchange(token: Token | None) -> Token:
            self.exchanged.append(name)
            return await self.issuer(token)

        async def aclose() -> None:
            self.closed.append(name)

        return TokenPlan(slot=SLOT, exchange=exchange, seed=None, is_stored=True, aclose=aclose)

    async def made(self, manager: SessionManager) -> None:
        await self.store.put(SLOT, self.issuer.consent())
        with pytest.raises(Rejected):
            await manager.open(self.wrong)
        await manager.open(self.right)
        await settle()


async def test_what_a_corrected_configuration_replaced_renews_nothing_any_more() -> None:
    it = Correction()
    async with SessionManager(store=it.store, clock=it.clock) as manager:
        await it.made(manager)
        assert it.closed == ["wrong"]
        await advance(it.clock, 40 * 3600)
        assert len(it.exchanged) >= 40
        assert set(it.exchanged) == {"right"}
    assert it.closed == ["wrong", "right"]


async def test_a_keeper_that_somebody_holds_outlives_the_correction() -> None:
    it = Correction()
    async with SessionManager(store=it.store, clock=it.clock) as manager:
        lent = manager.tokens(it.wrong)
        await it.made(manager)
        assert manager.tokens(it.right) is not lent
        await advance(it.clock, 4 * 3600)
        assert it.issuer.accepts(await lent.get())
        assert it.closed == []
    assert it.closed == ["right", "wrong"]


async def test_what_may_pass_by_itself_is_no_reason_to_begin_anew() -> None:
    async with Sandbox(seed=1) as sandbox, SessionManager(clock=sandbox.clock) as manager:
        good = sandbox.ctrader.config()
        nowhere = good.replace(port=1)
        keeper = manager.tokens(nowhere)
        with pytest.raises(Unreachable):
            await manager.open(nowhere)
        assert manager.tokens(good) is keeper
