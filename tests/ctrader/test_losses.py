"""The cTrader session as a bot sees it, against the sandbox: lost connections, two of them, and accounts that drop alone."""

import asyncio
import logging

import pytest
from google.protobuf.message import Message

import tradesession
from tests.ctrader.conftest import ready_again, until
from tests.ctrader.trading import trading
from tests.ctrader.trading import until as until_later
from tradesession import ctrader
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.hooks import LinkLost, Record, StateChanged, Unclassified
from tradesession.sandbox import Sandbox
from tradesession.sandbox.simulation import World, simulated
from tradesession.tokens.stores.memory import MemoryStore
from tradesession.tokens.token import Token

# --- losses ---------------------------------------------------------------------------------------------------------------------------


async def test_a_loss_ends_what_was_under_way_and_the_session_comes_back(sandbox: Sandbox) -> None:
    records: list[Record] = []
    config = sandbox.ctrader.config(plaintext=True)
    async with tradesession.connect(config, hooks=[records.append]) as session:
        account = session.accounts[0]
        sandbox.ctrader.faults.unanswered_requests = {pb.ProtoOAClosePositionReq}
        close = pb.ProtoOAClosePositionReq(ctidTraderAccountId=account.id, positionId=1, volume=1)
        closing = asyncio.create_task(session.request(close))
        await until(lambda: sandbox.ctrader.state.requests["ProtoOAClosePositionReq"])
        await sandbox.ctrader.faults.cut()
        with pytest.raises(tradesession.OutcomeUnknown):
            await closing
        await until(lambda: session.state is tradesession.SessionState.BACKOFF)
        assert "connection" in str(session.cause)
        await ready_again(sandbox, session)
        assert session.cause is None
        assert account.state is AccountState.AUTHORIZED
        assert session.accounts[0] is account, "accounts stay the objects that they are"
        assert sandbox.ctrader.state.requests["ProtoOAClosePositionReq"] == 1, "an order is never sent twice"
    assert sum(isinstance(record, LinkLost) for record in records) == 1


async def test_a_read_under_way_is_asked_again_after_a_loss(sandbox: Sandbox, session: ctrader.Session) -> None:
    account = session.accounts[0]
    sandbox.ctrader.faults.unanswered_requests = {pb.ProtoOATraderReq}
    reading = asyncio.create_task(session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id), timeout=60))
    await until(lambda: sandbox.ctrader.state.requests["ProtoOATraderReq"])
    await sandbox.ctrader.faults.cut()
    sandbox.ctrader.faults.unanswered_requests = False
    await ready_again(sandbox, session)
    assert (await reading).trader.traderLogin == account.login


async def test_a_request_during_an_outage_waits_for_the_connection(sandbox: Sandbox, session: ctrader.Session) -> None:
    await sandbox.ctrader.faults.cut()
    await until(lambda: session.state is not tradesession.SessionState.READY)
    asking = asyncio.create_task(session.request(pb.ProtoOAVersionReq(), timeout=100))
    order = pb.ProtoOAClosePositionReq(ctidTraderAccountId=session.accounts[0].id, positionId=1, volume=1)
    ordering = asyncio.create_task(session.request(order, timeout=100))
    await ready_again(sandbox, session)
    assert (await asking).version
    with pytest.raises(tradesession.Rejected):
        await ordering
    assert sandbox.ctrader.state.requests["ProtoOAClosePositionReq"] == 1


async def test_a_request_that_the_outage_outlasts_was_not_sent(sandbox: Sandbox, session: ctrader.Session) -> None:
    sandbox.ctrader.faults.refuse_connections = True
    await sandbox.ctrader.faults.cut()
    await until(lambda: session.state is tradesession.SessionState.BACKOFF)
    asking = asyncio.create_task(session.request(pb.ProtoOAVersionReq(), timeout=5))
    await asyncio.sleep(0)
    await sandbox.clock.advance(6)
    with pytest.raises(tradesession.NotSent, match="not sent within 5 s"):
        await asking


async def test_a_request_that_may_not_wait_fails_at_once(sandbox: Sandbox, session: ctrader.Session) -> None:
    assert (await session.request(pb.ProtoOAVersionReq(), wait=False)).version
    await sandbox.ctrader.faults.cut()
    await until(lambda: session.state is tradesession.SessionState.BACKOFF)
    with pytest.raises(tradesession.NotSent, match="BACKOFF"):
        await session.request(pb.ProtoOAVersionReq(), wait=False)


async def test_streams_go_on_after_a_loss_with_a_gap_where_it_was(sandbox: Sandbox, session: ctrader.Session) -> None:
    account = session.accounts[0]
    events = session.events(pb.ProtoOAMarginChangedEvent, account=account, gaps=True)
    quotes = session.spots(account, "EURUSD")
    before = sandbox.clock.wall()
    await anext(quotes)
    await sandbox.ctrader.faults.cut()
    await until(lambda: session.state is not tradesession.SessionState.READY)
    await ready_again(sandbox, session)
    event = pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=account.id, positionId=1, usedMargin=2)
    await until(lambda: sandbox.ctrader.connections and sandbox.ctrader.connections[0].hears(account.id))
    await sandbox.ctrader.push(event, account.id)
    gap = await anext(events)
    assert isinstance(gap, tradesession.Gap)
    assert gap.since is not None and gap.until is not None  # noqa: PT018
    assert before <= gap.since <= gap.until <= sandbox.clock.wall()
    assert await anext(events) == event
    while quotes.statistics().queued:
        await anext(quotes)
    await sandbox.clock.advance(2)
    assert quotes.statistics().queued, "the quotes did not come back"


async def test_the_states_of_an_outage_are_told_in_order(sandbox: Sandbox, session: ctrader.Session) -> None:
    changes = session.changes()
    sandbox.ctrader.faults.client_disconnect("weekly restart")
    await until(lambda: session.state is tradesession.SessionState.BACKOFF)
    assert "weekly restart" in str(session.cause)
    await ready_again(sandbox, session)
    await session.aclose()
    seen = [change async for change in changes]
    names = [change.after.value for change in seen]
    assert names == ["BACKOFF", "CONNECTING", "HANDSHAKING", "RESTORING", "READY", "CLOSING", "CLOSED"]
    assert "weekly restart" in str(seen[0].cause)


async def test_a_silent_server_is_noticed_within_the_liveness_timeout(sandbox: Sandbox, session: ctrader.Session) -> None:
    sandbox.ctrader.faults.half_open = True
    await sandbox.clock.advance(44)
    assert session.state is tradesession.SessionState.READY
    changes = session.changes()
    await sandbox.clock.advance(2)
    assert "no sign of life" in str((await anext(changes)).cause)
    sandbox.ctrader.faults.half_open = False
    await ready_again(sandbox, session)


async def test_a_quiet_session_stays_up_for_hours(sandbox: Sandbox, session: ctrader.Session) -> None:
    await sandbox.clock.advance(hours=2)
    assert session.state is tradesession.SessionState.READY
    assert (await session.request(pb.ProtoOAVersionReq())).version
    assert sandbox.ctrader.state.opened == 1


async def test_garbage_costs_the_connection_and_no_more(sandbox: Sandbox, session: ctrader.Session) -> None:
    changes = session.changes()
    sandbox.ctrader.faults.garbage()
    assert isinstance((await anext(changes)).cause, tradesession.ProtocolError)
    await ready_again(sandbox, session)


async def test_a_server_that_accepts_and_closes_is_not_hammered(sandbox: Sandbox, session: ctrader.Session) -> None:
    sandbox.ctrader.faults.accept_and_close = True
    opened = sandbox.ctrader.state.opened
    records: list[Record] = []
    session._hooks.add(records.append)
    await sandbox.ctrader.faults.cut()
    await until(lambda: session.state is tradesession.SessionState.BACKOFF)
    await sandbox.clock.advance(60)
    attempts = sum(isinstance(record, StateChanged) and record.after == "CONNECTING" for record in records)
    assert 3 <= attempts <= 12
    assert sandbox.ctrader.state.opened - opened <= 12


async def test_a_maintenance_is_waited_out(sandbox: Sandbox, session: ctrader.Session) -> None:
    records: list[Record] = []
    session._hooks.add(records.append)
    sandbox.ctrader.faults.maintenance(minutes=30)
    await sandbox.ctrader.faults.cut()
    await until(lambda: session.state is tradesession.SessionState.BACKOFF)
    await sandbox.clock.advance(minutes=29)
    attempts = sum(isinstance(record, StateChanged) and record.after == "CONNECTING" for record in records)
    assert attempts <= 2, "the server said when to come back"
    await sandbox.clock.advance(minutes=3)
    await ready_again(sandbox, session)


async def test_a_fatal_refusal_ends_the_session_with_its_cause(sandbox: Sandbox, session: ctrader.Session) -> None:
    stream = session.events(pb.ProtoOAExecutionEvent)
    sandbox.ctrader.application.active = False
    await sandbox.ctrader.faults.cut()
    await until(lambda: session.state is tradesession.SessionState.BACKOFF)
    await sandbox.clock.advance(5)
    await session.closed()
    assert isinstance(session.cause, tradesession.Rejected)
    with pytest.raises(tradesession.Rejected, match="CH_CLIENT_AUTH_FAILURE"):
        await anext(stream)
    with pytest.raises(tradesession.SessionClosed, match="ProtoOAVersionReq was not sent"):
        await session.request(pb.ProtoOAVersionReq())


@pytest.mark.parametrize("step", [pb.ProtoOAApplicationAuthReq, pb.ProtoOAGetAccountListByAccessTokenReq])
@simulated()
async def test_a_step_of_the_handshake_that_was_taken_before_and_is_refused_now_is_tried_again(world: World, step: type[Message]) -> None:
    async with trading(world) as trader:
        trader.server.faults.unsupported_requests = {step}
        await trader.server.faults.cut()
        await asyncio.sleep(600)
        assert "UNSUPPORTED_MESSAGE" in str(trader.session.cause)
        assert 8 <= trader.server.state.requests[step.__name__] <= 40
        trader.server.faults.unsupported_requests = False
        await trader.session.ready(timeout=120)


def _maintenance(wall: float) -> list[Message]:
    code = "SERVER_IS_UNDER_MAINTENANCE"
    return [
        pb.ProtoErrorRes(errorCode=code, maintenanceEndTimestamp=round(1000 * wall)),
        pb.ProtoOAErrorRes(errorCode=code, maintenanceEndTimestamp=round(wall)),
    ]


@pytest.mark.parametrize("which", [0, 1])
@simulated()
async def test_a_maintenance_is_waited_out_also_when_its_message_answers_no_request(world: World, which: int) -> None:
    async with trading(world) as trader:
        session, server = trader.session, trader.server
        server.faults.unanswered_requests = {pb.ProtoOAApplicationAuthReq}
        await server.faults.cut()
        await until_later(lambda: session.state is tradesession.SessionState.HANDSHAKING and server.connections)
        await server.push(_maintenance(world.clock.wall() + 1800)[which])
        await until_later(lambda: session.state is tradesession.SessionState.BACKOFF)
        assert "SERVER_IS_UNDER_MAINTENANCE" in str(session.cause)
        server.faults.unanswered_requests = False
        opened = server.state.opened
        await asyncio.sleep(1790)
        assert server.state.opened == opened, "the server said when to come back"
        await session.ready(timeout=120)


@simulated()
async def test_an_error_that_answers_no_request_ends_no_connection_that_is_ready(world: World) -> None:
    async with trading(world) as trader:
        for error in [*_maintenance(world.clock.wall() + 1800), pb.ProtoErrorRes(errorCode="CH_CLIENT_AUTH_FAILURE")]:
            await trader.server.push(error)
        await trader.session.request(pb.ProtoOAVersionReq())
        assert trader.session.state is tradesession.SessionState.READY
        assert trader.server.state.opened == 1
        told = [record.what for record in trader.records if isinstance(record, Unclassified)]
        assert told == ["ProtoErrorRes that nobody asked for", "ProtoOAErrorRes that nobody asked for"]


@simulated()
async def test_a_server_that_still_counts_the_connections_that_were_lost_is_tried_again(world: World) -> None:
    async with trading(world) as trader:
        trader.server.settings.max_connections = 0
        await trader.server.faults.cut()
        await asyncio.sleep(600)
        assert "CONNECTIONS_LIMIT_EXCEEDED" in str(trader.session.cause)
        trader.server.settings.max_connections = None
        await trader.session.ready(timeout=120)


@pytest.mark.parametrize("is_lost", [False, True])
@simulated()
async def test_a_revoked_grant_parks_the_session_until_the_store_has_a_newer_token(world: World, is_lost: bool) -> None:
    store = MemoryStore()
    async with trading(world, store=store, accounts=[]) as trader:
        server, session = trader.server, trader.session
        assert len(session.accounts) > 1
        if is_lost:
            await server.faults.cut()
            await until_later(lambda: session.state is tradesession.SessionState.BACKOFF)
        for grant in server.state.grants:
            server.revoke(grant)
        await until_later(lambda: session.state is tradesession.SessionState.PARKED)
        assert isinstance(session.cause, tradesession.ReauthorizationRequired)
        opened = server.state.opened
        await asyncio.sleep(3600)
        assert session.state is tradesession.SessionState.PARKED
        assert server.state.opened <= opened + 1
        fresh = server.grant()
        token = Token(access=tradesession.Secret(fresh.access_token), refresh=tradesession.Secret(fresh.refresh_token))
        await store.put(session.config.slot, token, force=True)
        await session.ready(timeout=60)
        assert all(account.state is AccountState.AUTHORIZED for account in session.accounts)


@simulated()
async def test_a_revoked_grant_does_not_end_a_connection_on_which_an_account_still_stands(world: World) -> None:
    async with trading(world, accounts=[]) as trader:
        server, session = trader.server, trader.session
        server.state.announce = lambda death: None  # type: ignore[method-assign]  # the server has not noticed it yet
        for grant in server.state.grants:
            server.revoke(grant)
        first, other = session.accounts[:2]
        await server.push(pb.ProtoOAAccountsTokenInvalidatedEvent(ctidTraderAccountIds=[first.id]), first.id)
        await until_later(lambda: isinstance(first.cause, tradesession.ReauthorizationRequired))
        await asyncio.sleep(600)
        assert session.state is tradesession.SessionState.READY
        assert (first.state, other.state) == (AccountState.SUSPENDED, AccountState.AUTHORIZED)
        await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=other.id))


# --- demo and live ----------------------------------------------------------------------------------------------------------------------


async def test_demo_and_live_are_one_session_and_requests_go_to_the_host_of_their_account(sandbox: Sandbox) -> None:
    endpoints = {"demo": ("127.0.0.1", sandbox.ctrader.demo.port), "live": ("127.0.0.1", sandbox.ctrader.live.port)}
    config = sandbox.ctrader.config(environment="demo", host="", websocket_url="").replace(environment="both", endpoints=endpoints)
    async with tradesession.connect(config) as session:
        assert sorted(account.id for account in session.accounts) == sorted(account.id for account in sandbox.ctrader.accounts)
        for account in session.accounts:
            reply = await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))
            assert reply.trader.traderLogin == account.login
        live = next(connection for connection in sandbox.ctrader.connections if connection.is_live)
        live.channel.abort("test")
        await until(lambda: session.state is tradesession.SessionState.BACKOFF)
        demo = next(account for account in session.accounts if not account.is_live)
        assert (await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=demo.id), timeout=1)).trader.traderLogin == demo.login
        await ready_again(sandbox, session)


# --- accounts -------------------------------------------------------------------------------------------------------------------------


async def test_an_account_that_drops_alone_is_authorised_again_in_place(sandbox: Sandbox, session: ctrader.Session) -> None:
    account, other = session.accounts[:2]
    async with session.spots(account, "EURUSD") as quotes, session.events(pb.ProtoOAAccountDisconnectEvent) as drops:
        await anext(quotes)
        sandbox.ctrader.faults.account_disconnect(account.id)
        assert (await anext(drops)).ctidTraderAccountId == account.id
        assert account.state is not AccountState.AUTHORIZED
        assert other.state is AccountState.AUTHORIZED
        await until(lambda: account.state is AccountState.AUTHORIZED)
        await until(lambda: sandbox.ctrader.state.requests["ProtoOASubscribeSpotsReq"] == 2)
        await sandbox.clock.advance(1)
        while quotes.statistics().queued:
            await anext(quotes)
        await sandbox.clock.advance(2)
        assert quotes.statistics().queued > 0, "the quotes did not come back"
    assert session.state is tradesession.SessionState.READY


async def test_an_account_that_drops_alone_leaves_a_gap_in_its_streams_and_in_no_others(sandbox: Sandbox, session: ctrader.Session) -> None:
    account, other = session.accounts[:2]
    mine = session.events(pb.ProtoOAMarginChangedEvent, account=account, gaps=True)
    theirs = session.events(pb.ProtoOAMarginChangedEvent, account=other, gaps=True)
    all_of_them = session.events(pb.ProtoOAMarginChangedEvent, gaps=True)
    missed_from = sandbox.clock.wall()
    sandbox.ctrader.faults.account_disconnect(account.id)
    await until(lambda: account.state is not AccountState.AUTHORIZED)
    await until(lambda: account.state is AccountState.AUTHORIZED)
    for event in [pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=one.id, positionId=1, usedMargin=2) for one in (account, other)]:
        assert await sandbox.ctrader.push(event, event.ctidTraderAccountId) == 1
    for stream in (mine, all_of_them):
        gap = await anext(stream)
        assert isinstance(gap, tradesession.Gap)
        assert gap.since is not None
        assert gap.until is not None
        assert missed_from <= gap.since <= gap.until
        assert isinstance(await anext(stream), pb.ProtoOAMarginChangedEvent)
    assert isinstance(await anext(theirs), pb.ProtoOAMarginChangedEvent)
    for one in (mine, theirs, all_of_them):
        await one.aclose()


async def test_an_account_that_is_long_suspended_tells_of_it_when_it_drops_and_when_it_is_back(
    sandbox: Sandbox, session: ctrader.Session
) -> None:
    account = session.accounts[0]
    mine = session.events(pb.ProtoOAMarginChangedEvent, account=account, gaps=True)
    sandbox.ctrader.accounts[0].refusal = "CANT_ROUTE_REQUEST"
    sandbox.ctrader.faults.account_disconnect(account.id)
    await until(lambda: account.state is AccountState.SUSPENDED)
    first = await anext(mine)
    await sandbox.clock.advance(hours=2)
    sandbox.ctrader.accounts[0].refusal = ""
    await sandbox.clock.advance(hours=1)
    await until(lambda: account.state is AccountState.AUTHORIZED)
    second = await anext(mine)
    assert isinstance(first, tradesession.Gap)
    assert isinstance(second, tradesession.Gap)
    assert first.since == second.since
    assert second.until is not None
    assert second.since is not None
    assert second.until - second.since >= 7200
    assert mine.statistics().queued == 0
    await mine.aclose()


async def test_an_account_that_stays_refused_is_suspended_with_the_cause(
    sandbox: Sandbox, session: ctrader.Session, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.ctrader.accounts[0].refusal = "CHANNEL_IS_BLOCKED"
    account = session.accounts[0]
    with caplog.at_level(logging.WARNING):
        sandbox.ctrader.faults.account_disconnect(account.id)
        await until(lambda: isinstance(account.cause, tradesession.Rejected))
    assert account.state is AccountState.SUSPENDED
    assert "is suspended" in caplog.text
