"""A session comes back from everything: cut at every byte of the way back, and every fault in every phase."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

import tradesession
from tradesession import ctrader
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox

BOUND = 150.0
"""Seconds within which a session must be well after a fault is over: the longest wait between two attempts, twice, and a handshake."""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1, plain=True) as sandbox:
        sandbox.ctrader.feed.interval = 1.0
        yield sandbox


async def turns(count: int = 40) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def is_well(session: ctrader.Session) -> bool:
    return session.state is tradesession.SessionState.READY and all(a.state is AccountState.AUTHORIZED for a in session.accounts)


async def well_again(sandbox: Sandbox, session: ctrader.Session) -> None:
    waited = 0.0
    while not is_well(session):
        assert waited < BOUND, f"{session.state} {session.cause} {[(a.state, a.cause) for a in session.accounts]}"
        await sandbox.clock.advance(2)
        waited += 2


async def quotes_come(sandbox: Sandbox, quotes: tradesession.EventStream[ctrader.Quote]) -> None:
    while quotes.statistics().queued:
        await anext(quotes)
    async with asyncio.timeout(60):
        while not quotes.statistics().queued:
            await sandbox.clock.advance(1)


def tasks() -> int:
    return len(asyncio.all_tasks())


@pytest.mark.parametrize("direction", ["cut_output_after", "cut_input_after"])
@pytest.mark.parametrize(("transport", "stride"), [("tcp", 1), ("websocket", 3)])
async def test_cut_at_every_byte_of_handshake_and_restore_it_is_ready_again(
    sandbox: Sandbox, direction: str, transport: str, stride: int
) -> None:
    config = sandbox.ctrader.config("demo", transport, plaintext=True)  # type: ignore[arg-type]  # parametrized
    async with tradesession.connect(config) as session, session.spots(session.accounts[0], "EURUSD") as quotes:
        await anext(quotes)
        await sandbox.ctrader.faults.cut()
        await turns()
        await well_again(sandbox, session)
        channel = sandbox.ctrader.connections[0].channel
        whole = channel.output.passed if direction == "cut_output_after" else channel.input.passed
        before = tasks()
        for place in range(1, whole, stride):
            setattr(sandbox.ctrader.faults, direction, place)
            await sandbox.ctrader.faults.cut()
            await turns()
            await sandbox.clock.advance(1)  # into the first attempt, which meets the cut
            await turns()
            setattr(sandbox.ctrader.faults, direction, None)
            await well_again(sandbox, session)
            assert len(sandbox.ctrader.connections) == 1, f"cut at byte {place}"
        assert tasks() == before
        await quotes_come(sandbox, quotes)
    assert whole > 300


Fault = Callable[[Sandbox], Awaitable[None]]


def switched(name: str, value: object) -> Fault:
    async def turn_on(sandbox: Sandbox) -> None:
        setattr(sandbox.ctrader.faults, name, value)

    return turn_on


async def cut(sandbox: Sandbox) -> None:
    await sandbox.ctrader.faults.cut()


async def garbage(sandbox: Sandbox) -> None:
    sandbox.ctrader.faults.garbage()


async def disconnect(sandbox: Sandbox) -> None:
    sandbox.ctrader.faults.client_disconnect()


async def accounts_drop(sandbox: Sandbox) -> None:
    for account in sandbox.ctrader.accounts:
        sandbox.ctrader.faults.account_disconnect(account)


async def maintenance(sandbox: Sandbox) -> None:
    sandbox.ctrader.faults.maintenance(60)


FAULTS: dict[str, Fault] = {
    "cut": cut,
    "garbage": garbage,
    "client disconnect": disconnect,
    "accounts drop": accounts_drop,
    "maintenance": maintenance,
    "half-open": switched("half_open", True),
    "deaf": switched("stop_reading", True),
    "garbage for replies": switched("garbage_output", True),
    "frames too long": switched("oversized_frame", True),
    "unreadable replies": switched("undecodable_replies", True),
    "replies of another type": switched("wrong_reply_type", True),
    "no route": switched("cant_route", True),
    "connections refused": switched("refuse_connections", True),
    "accept and close": switched("accept_and_close", True),
    "tls hangs": switched("tls_hang", True),
    "replies reordered": switched("reorder_replies", True),
    "events in between": switched("events_before_reply", True),
    "one byte at a time": switched("slice_output", 1),
}

HELD_BY = {
    "application auth": pb.ProtoOAApplicationAuthReq,
    "account list": pb.ProtoOAGetAccountListByAccessTokenReq,
    "account auth": pb.ProtoOAAccountAuthReq,
    "restoring": pb.ProtoOASubscribeSpotsReq,
}
"""The request that goes unanswered to hold the session in a phase."""


async def enter(phase: str, sandbox: Sandbox, session: ctrader.Session) -> None:
    """Lose the connection and come back as far as this phase."""
    faults = sandbox.ctrader.faults
    if phase == "ready":
        return
    if phase == "connecting":
        faults.tls_hang = True
    else:
        faults.unanswered_requests = {HELD_BY[phase]}
    await faults.cut()
    await turns()
    await sandbox.clock.advance(1)
    await turns()


@pytest.mark.parametrize("environment", ["demo", "live"])
@pytest.mark.parametrize("phase", ["connecting", *HELD_BY, "ready"])
async def test_every_fault_in_every_phase_ends_ready_again(sandbox: Sandbox, environment: str, phase: str) -> None:
    config = sandbox.ctrader.config(environment, request_timeout=5.0)  # type: ignore[arg-type]  # parametrized
    async with tradesession.connect(config) as session, session.spots(session.accounts[0], "EURUSD") as quotes:
        await anext(quotes)
        before = tasks()
        for name, fault in FAULTS.items():
            await enter(phase, sandbox, session)
            await fault(sandbox)
            await sandbox.clock.advance(20)
            sandbox.ctrader.faults.clear()
            try:
                await well_again(sandbox, session)
                await quotes_come(sandbox, quotes)
            except AssertionError as error:
                raise AssertionError(f"{name} while {phase}: {error}") from error
            assert tasks() == before, name
        assert all(count == 1 for count in sandbox.ctrader.state.exchanges.values())


@pytest.mark.parametrize("fault", FAULTS)
async def test_under_every_fault_a_refresh_ends_well_or_asks_for_a_person(sandbox: Sandbox, fault: str) -> None:
    """The renewal falls into the fault. Where the answer itself is lost, so is the pair, and a person is asked for; nothing in between."""
    grant = sandbox.ctrader.grant(expires_in=300)
    config = sandbox.ctrader.config(access_token=grant.access_token, refresh_token=grant.refresh_token)
    async with tradesession.SessionManager() as manager:
        keeper = manager.tokens(config)
        session = await manager.open(config)
        await keeper.reject(await keeper.get())  # now its expiry is known
        await sandbox.clock.advance(200)
        first = sandbox.ctrader.state.rotations
        await FAULTS[fault](sandbox)
        for _ in range(60):  # in steps, so that the clock does not outrun an answer that comes byte by byte
            await sandbox.clock.advance(1)
        sandbox.ctrader.faults.clear()
        waited = 0.0
        while not is_well(session) and not asks_for_a_person(session):
            assert waited < 400, f"{session.state} {session.cause} {[(a.state, a.cause) for a in session.accounts]}"
            await sandbox.clock.advance(2)
            waited += 2
        await sandbox.clock.advance(300)
        if is_well(session):
            assert sandbox.ctrader.state.rotations > first
        else:
            assert fault in LOSE_AN_ANSWER


def asks_for_a_person(session: ctrader.Session) -> bool:
    asking = (tradesession.ReauthorizationRequired, tradesession.UncertainExchange)
    return session.state is tradesession.SessionState.PARKED or any(isinstance(a.cause, asking) for a in session.accounts)


LOSE_AN_ANSWER = {
    "cut",
    "garbage",
    "half-open",
    "deaf",
    "garbage for replies",
    "frames too long",
    "unreadable replies",
    "replies of another type",
}
"""Faults that can take the answer of a refresh with them."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_under_every_fault_it_closes_within_its_time(sandbox: Sandbox, fault: str, transport: str) -> None:
    before = tasks()
    config = sandbox.ctrader.config("demo", transport)  # type: ignore[arg-type]  # parametrized
    async with tradesession.connect(config) as session:
        await FAULTS[fault](sandbox)
        closing = asyncio.create_task(session.aclose())
        await turns()
        await sandbox.clock.advance(config.close_timeout + 1)
        async with asyncio.timeout(60):
            await closing
    assert session.is_closed
    assert tasks() == before


async def test_a_thousand_clients_come_back_spread_out() -> None:
    """Each second after an outage of ten minutes sees at most 5 % of them."""
    from tradesession.protocol.backoff import Backoff

    chance = random.Random(7)
    arrivals: dict[int, int] = {}
    for _ in range(1000):
        backoff = Backoff(chance.random)
        now = 0.0
        while now < 600.0:  # the server is down for ten minutes
            now += backoff.failed(now)
        arrivals[int(now)] = arrivals.get(int(now), 0) + 1
    assert max(arrivals.values()) <= 50
    assert max(arrivals) <= 660
