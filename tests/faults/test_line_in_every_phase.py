"""Every fault of the proxy in every phase of a session, demo and live, in virtual time: well again within a bound, or a typed end.

The whole of it is played at DEBUG with secrets planted. When a fault is over, nothing of it is left: no task, no socket, no waiting
request, no lease; and nowhere in logs or records stands a secret.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest

import tradesession
from tests.simulation.accidents import ACCIDENTS, Scene
from tradesession import ctrader, policy
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.hooks import Record
from tradesession.sandbox import FaultProxy, Sandbox
from tradesession.sandbox.simulation import World, simulated
from tradesession.secrets import Secret
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.stores.memory import MemoryStore
from tradesession.tokens.token import Token

Environment = Literal["demo", "live"]

FAULTS = [name for name in ACCIDENTS if name.startswith("line: ")]
HELD_BY = {
    "application auth": pb.ProtoOAApplicationAuthReq,
    "account list": pb.ProtoOAGetAccountListByAccessTokenReq,
    "account auth": pb.ProtoOAAccountAuthReq,
    "restoring": pb.ProtoOASubscribeSpotsReq,
}
"""The request that goes unanswered to hold the session in a phase."""

BOUND = policy.LIVENESS_TIMEOUT + 2 * policy.BACKOFF_CAP + 30.0
"""Seconds from the end of a fault to a session that is well: a deaf peer noticed, the longest pause twice, and a handshake."""


@dataclass(slots=True)
class Stage:
    """A session behind a proxy, and everything that it says."""

    world: World
    scene: Scene
    manager: tradesession.SessionManager
    store: MemoryStore
    config: ctrader.Config
    keeper: TokenKeeper
    session: ctrader.Session
    records: list[Record]

    def is_well(self) -> bool:
        accounts = self.session.accounts
        return self.session.state is tradesession.SessionState.READY and all(one.state is AccountState.AUTHORIZED for one in accounts)

    def asks_for_a_person(self) -> bool:
        causes = [self.session.cause, *(account.cause for account in self.session.accounts)]
        return any(isinstance(cause, (tradesession.ReauthorizationRequired, tradesession.UncertainExchange)) for cause in causes)

    def holds_the_pair(self) -> bool:
        """Whether the refresh token that we have is the one that the server would take."""
        token = self.keeper.peek()
        held = token.refresh.reveal() if token is not None and token.refresh is not None else ""
        return any(grant.refresh_token == held and not grant.revoked for grant in self.scene.ct.state.grants)

    async def well(self, at_most: float = BOUND) -> None:
        until = self.world.clock.monotonic() + at_most
        while not self.is_well():
            assert self.world.clock.monotonic() < until, f"{self.session.state}, for {self.session.cause}; {list(self.session.accounts)}"
            await asyncio.sleep(0.5)

    async def enter(self, phase: str) -> None:
        """Lose the connection and come back as far as this phase."""
        if phase == "ready":
            return
        if phase == "connecting":
            self.scene.proxy.faults.unaccepted = True
        else:
            self.scene.ct.faults.unanswered_requests = {HELD_BY[phase]}
        self.scene.proxy.cut()
        wanted = {"connecting": "CONNECTING", "restoring": "RESTORING"}.get(phase, "HANDSHAKING")
        until = self.world.clock.monotonic() + BOUND
        while self.session.state.value != wanted:
            assert self.world.clock.monotonic() < until, f"it does not come to {wanted}: {self.session.state}, for {self.session.cause}"
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)

    async def suffer(self, fault: str) -> None:
        await ACCIDENTS[fault](self.scene)
        self.scene.proxy.faults.clear()
        self.scene.ct.faults.clear()

    def size(self) -> tuple[int, int]:
        return len(asyncio.all_tasks()), len(self.world.network.sockets)

    async def check_nothing_is_left(self, before: tuple[int, int]) -> None:
        await asyncio.sleep(60)  # for what ends by itself: handshakes that nobody finishes, goodbyes
        assert self.is_well()
        assert self.size() == before, f"{asyncio.all_tasks()} {self.world.network.sockets}"
        for line in self.session._open_api_lines:
            assert line.link is not None
            assert len(line.link._correlator) == 0
        lease = await self.store.lease(self.config.slot)
        assert lease is not None, "it is free"
        await self.store.release(lease)


@asynccontextmanager
async def stage(world: World, environment: Environment) -> AsyncIterator[Stage]:
    async with Sandbox(world.seed, world.clock, plain=True) as sandbox:
        ct = sandbox.ctrader
        ct.feed.interval = 5.0
        endpoint = ct.live if environment == "live" else ct.demo
        assert endpoint.plain_port is not None
        is_plain = environment == "live"  # one of them with TLS is enough, and it takes its time
        async with FaultProxy(endpoint.host, endpoint.plain_port if is_plain else endpoint.port, clock=world.clock) as proxy:
            records: list[Record] = []
            store = MemoryStore(clock=world.clock)
            async with tradesession.SessionManager(hooks=[records.append], clock=world.clock) as manager:
                config = ct.config(environment, plaintext=is_plain, request_timeout=5.0, store=store, **proxy.endpoint())
                session = await manager.open(config)
                scene = Scene(ct, proxy, world.clock, random.Random(f"{world.seed}:{environment}"))
                yield Stage(world, scene, manager, store, config, manager.tokens(config), session, records)


@contextmanager
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Everything is logged, from DEBUG on."""
    with caplog.at_level(logging.DEBUG):
        for name in tuple(logging.root.manager.loggerDict):
            caplog.set_level(logging.DEBUG, name)
        yield


def check_no_secret_shows(played: Stage, caplog: pytest.LogCaptureFixture) -> None:
    secrets = {played.scene.ct.client_secret}
    for grant in played.scene.ct.state.grants:
        secrets |= {grant.access_token, grant.refresh_token}
    said = [caplog.text, *map(repr, played.records), repr(played.session), repr(played.session.cause)]
    assert len(caplog.records) > 100
    assert not [text for text in said if any(secret in text for secret in secrets)]


@pytest.mark.parametrize("environment", ["demo", "live"])
@pytest.mark.parametrize("phase", ["connecting", *HELD_BY, "ready"])
@simulated()
async def test_every_fault_of_the_line_in_every_phase_ends_ready_again(
    world: World, environment: Environment, phase: str, caplog: pytest.LogCaptureFixture
) -> None:
    with watched(caplog):
        async with stage(world, environment) as played, played.session.spots(played.session.accounts[0], "EURUSD") as quotes:
            await anext(quotes)
            before = played.size()
            for fault in FAULTS:
                try:
                    await played.enter(phase)
                    await played.suffer(fault)
                    await played.well()
                    await played.check_nothing_is_left(before)
                    while quotes.statistics().queued:
                        await anext(quotes)
                    await asyncio.wait_for(anext(quotes), 30)
                except Exception as error:
                    error.add_note(f"with {fault!r} while {phase}")
                    raise
            assert played.scene.ct.state.exchanges.total() == 0
            check_no_secret_shows(played, caplog)


@pytest.mark.parametrize("environment", ["demo", "live"])
@pytest.mark.parametrize("moment", ["before the request", "before the answer"])
@simulated()
async def test_every_fault_of_the_line_during_a_refresh_ends_ready_again_or_asks_for_a_person(
    world: World, environment: Environment, moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the answer of the refresh was lost, so is the pair, and a person is asked for; nothing in between."""
    lost: set[str] = set()
    with watched(caplog):
        async with stage(world, environment) as played:
            ct, before = played.scene.ct, played.size()
            for fault in FAULTS:
                try:
                    ct.settings.latency = 0.2
                    rotations = ct.state.rotations
                    if moment == "before the request":
                        suffering = asyncio.ensure_future(played.suffer(fault))
                        await asyncio.sleep(0)
                        refresh = asyncio.ensure_future(outcome(played.keeper))
                        await suffering
                    else:
                        refresh = asyncio.ensure_future(outcome(played.keeper))
                        await asyncio.sleep(0.1)
                        await played.suffer(fault)
                    ct.settings.latency = 0.0
                    ended = await asyncio.wait_for(refresh, 300)
                    assert isinstance(ended, (Token, tradesession.Error))
                    async with asyncio.timeout(1200):
                        while not (played.is_well() and played.holds_the_pair()) and not played.asks_for_a_person():
                            await asyncio.sleep(1)
                    if not played.holds_the_pair():
                        assert ct.state.rotations > rotations, "a person is asked for only where the pair is lost"
                        lost.add(fault)
                        grant = ct.grant()  # the person's answer
                        pair = Token(access=Secret(grant.access_token), refresh=Secret(grant.refresh_token), issued_at=world.clock.wall())
                        await played.store.put(played.config.slot, pair, force=True)
                    await played.well(600)
                    await played.check_nothing_is_left(before)
                except Exception as error:
                    error.add_note(f"with {fault!r}")
                    raise
            assert set(ct.state.exchanges.values()) <= {1, 2}, "twice only where no answer came"
            assert "line: bad" not in lost, "what comes late is waited for"
            check_no_secret_shows(played, caplog)


async def outcome(keeper: TokenKeeper) -> Any:
    try:
        return await keeper.renew()
    except tradesession.Error as error:
        return error


@pytest.mark.parametrize("environment", ["demo", "live"])
@simulated()
async def test_under_every_fault_of_the_line_it_closes_within_its_time(
    world: World, environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    with watched(caplog):
        async with stage(world, environment) as played:
            for fault in FAULTS:
                session = await played.manager.open(played.config)
                suffering = asyncio.ensure_future(played.suffer(fault))
                await asyncio.sleep(0.05)
                began = world.clock.monotonic()
                await session.aclose()
                assert world.clock.monotonic() - began <= played.config.close_timeout + 0.1, fault
                assert session.is_closed
                await suffering
                await played.well()
            check_no_secret_shows(played, caplog)
