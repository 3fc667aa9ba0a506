"""The cTrader session as a bot sees it, against the sandbox."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from decimal import Decimal

import pytest

import tradesession
from tradesession import ctrader
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.hooks import LateReply, LinkLost, Record, RequestTimed, StateChanged, StepTimed, Unclassified
from tradesession.sandbox import Sandbox
from tradesession.tokens.stores.memory import MemoryStore
from tradesession.tokens.token import Token


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1, plain=True) as sandbox:
        yield sandbox


@pytest.fixture
async def session(sandbox: Sandbox) -> AsyncIterator[ctrader.Session]:
    async with tradesession.connect(sandbox.ctrader.config(plaintext=True)) as session:
        yield session


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition holds; fail when it does not come about."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


# --- connecting -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", ["demo", "live"])
@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_a_session_is_ready_with_the_accounts_of_its_environment(sandbox: Sandbox, environment: str, transport: str) -> None:
    async with tradesession.connect(sandbox.ctrader.config(environment, transport)) as session:  # type: ignore[arg-type]  # parametrized
        assert session.state is tradesession.SessionState.READY
        expected = [account.id for account in sandbox.ctrader.accounts if account.is_live == (environment == "live")]
        assert [account.id for account in session.accounts] == expected
        assert all(account.state is AccountState.AUTHORIZED for account in session.accounts)
    assert session.is_closed
    assert session.cause is None


async def test_the_steps_are_told_in_order_with_their_times(sandbox: Sandbox) -> None:
    records: list[Record] = []
    async with tradesession.connect(sandbox.ctrader.config(), hooks=[records.append]) as session:
        names = [step.name for step in session.steps]
        assert names == ["connect", "application_auth", "account_list", "account_auth", "account_auth", "account_auth"]
        assert all(step.seconds >= 0 for step in session.steps)
        assert [step.account_id for step in session.steps[3:]] == [account.id for account in session.accounts]
    assert [record.step for record in records if isinstance(record, StepTimed)] == names
    states = [record.after for record in records if isinstance(record, StateChanged)]
    assert states == ["CONNECTING", "HANDSHAKING", "RESTORING", "READY", "CLOSING", "CLOSED"]


async def test_a_refused_secret_is_told_with_its_remedy_and_leaves_nothing_open(sandbox: Sandbox) -> None:
    with pytest.raises(tradesession.Rejected) as refused:
        async with tradesession.connect(sandbox.ctrader.config(client_secret="not it")):
            pytest.fail("it connected")
    assert refused.value.code == "CH_CLIENT_AUTH_FAILURE"
    assert "check client id and secret" in refused.value.remedy
    await until(lambda: not sandbox.ctrader.connections)


async def test_a_server_that_nobody_runs_is_unreachable(sandbox: Sandbox) -> None:
    sandbox.ctrader.faults.refuse_connections = True
    with pytest.raises(tradesession.Unreachable, match=r"127\.0\.0\.1:\d+ cannot be reached"):
        async with tradesession.connect(sandbox.ctrader.config()):
            pytest.fail("it connected")


@pytest.mark.parametrize("flaw", ["host", "authority", "expired"])
@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_a_certificate_with_a_flaw_is_refused(sandbox: Sandbox, flaw: str, transport: str) -> None:
    sandbox.ctrader.faults.set("wrong-certificate", flaw)
    with pytest.raises(tradesession.CertificateRefused, match="is not trusted"):
        async with tradesession.connect(sandbox.ctrader.config(transport=transport)):  # type: ignore[arg-type]  # parametrized
            pytest.fail("it connected")


async def test_an_account_that_is_not_granted_is_named_and_the_granted_ones_are_listed(sandbox: Sandbox) -> None:
    with pytest.raises(tradesession.UnknownAccount, match="account 4711 is not among") as unknown:
        async with tradesession.connect(sandbox.ctrader.config(accounts=[4711])):
            pytest.fail("it connected")
    assert str(sandbox.ctrader.accounts[0].id) in str(unknown.value)


async def test_one_refused_account_does_not_hold_back_the_others(sandbox: Sandbox) -> None:
    sandbox.ctrader.accounts[0].refusal = "RET_ACCOUNT_DISABLED"
    async with tradesession.connect(sandbox.ctrader.config()) as session:
        assert [account.state.value for account in session.accounts] == ["SUSPENDED", "AUTHORIZED", "AUTHORIZED"]
        assert isinstance(session.accounts[0].cause, tradesession.Rejected)


async def test_a_session_without_a_single_usable_account_ends_with_the_refusal(sandbox: Sandbox) -> None:
    for account in sandbox.ctrader.accounts:
        account.refusal = "RET_ACCOUNT_DISABLED"
    with pytest.raises(tradesession.Rejected, match="RET_ACCOUNT_DISABLED"):
        async with tradesession.connect(sandbox.ctrader.config()):
            pytest.fail("it connected")


async def test_cancelling_the_opening_leaves_nothing_open(sandbox: Sandbox) -> None:
    sandbox.ctrader.faults.unanswered_requests = {pb.ProtoOAApplicationAuthReq}

    async def connect() -> None:
        async with tradesession.connect(sandbox.ctrader.config()):
            pytest.fail("it connected")

    opening = asyncio.create_task(connect())
    await until(lambda: sandbox.ctrader.connections)
    opening.cancel()
    assert isinstance((await asyncio.gather(opening, return_exceptions=True))[0], asyncio.CancelledError)
    await until(lambda: not sandbox.ctrader.connections)


async def test_a_manager_closes_all_its_sessions(sandbox: Sandbox) -> None:
    async with tradesession.SessionManager() as manager:
        demo = await manager.open(sandbox.ctrader.config("demo"))
        live = await manager.open(sandbox.ctrader.config("live"))
        assert list(manager.sessions) == [demo, live]
        await demo.aclose()
        assert list(manager.sessions) == [live]
    assert live.is_closed
    with pytest.raises(tradesession.SessionClosed, match="manager is closed"):
        await manager.open(sandbox.ctrader.config())


# --- requests -------------------------------------------------------------------------------------------------------------------------


async def test_a_request_is_answered_by_its_reply(session: ctrader.Session) -> None:
    account = session.accounts[0]
    reply = await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))
    assert reply.trader.traderLogin == account.login


async def test_requests_under_way_together_each_get_their_own_reply(sandbox: Sandbox, session: ctrader.Session) -> None:
    sandbox.ctrader.faults.reorder_replies = True
    sandbox.ctrader.faults.events_before_reply = True
    requests = [session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id)) for account in session.accounts]
    replies = await asyncio.gather(*requests)
    assert [reply.ctidTraderAccountId for reply in replies] == [account.id for account in session.accounts]


async def test_a_refusal_names_request_account_code_and_remedy(session: ctrader.Session) -> None:
    with pytest.raises(tradesession.Rejected) as refused:
        await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=1))
    assert refused.value.request == "ProtoOATraderReq"
    assert refused.value.code == "INVALID_REQUEST"
    assert refused.value.verdict.level is tradesession.Level.ACCOUNT
    assert "authorise the account" in str(refused.value)


async def test_an_incomplete_request_is_refused_before_it_leaves(session: ctrader.Session) -> None:
    with pytest.raises(tradesession.InvalidRequest, match="ProtoOATraderReq cannot be sent without ctidTraderAccountId"):
        await session.request(pb.ProtoOATraderReq())


@pytest.mark.parametrize("message", [pb.ProtoOATraderRes(), pb.ProtoOATrader(), "ProtoOATraderReq", None])
async def test_what_is_no_request_is_refused_before_it_leaves(session: ctrader.Session, message: object) -> None:
    with pytest.raises(tradesession.InvalidRequest):
        await session.request(message, timeout=1)  # type: ignore[call-overload]  # that is the point


async def test_an_unanswered_question_ends_at_its_deadline_and_its_late_answer_is_told(sandbox: Sandbox) -> None:
    records: list[Record] = []
    async with tradesession.connect(sandbox.ctrader.config(plaintext=True), hooks=[records.append]) as session:
        sandbox.ctrader.settings.latency = 5.0
        asking = asyncio.create_task(session.request(pb.ProtoOATraderReq(ctidTraderAccountId=session.accounts[0].id), timeout=2))
        await until(lambda: sandbox.ctrader.state.requests["ProtoOATraderReq"])
        await sandbox.clock.advance(3)
        with pytest.raises(tradesession.DeadlineExceeded, match="within 2 s"):
            await asking
        await sandbox.clock.advance(3)
        await until(lambda: any(isinstance(record, LateReply) for record in records))
        assert [record.outcome for record in records if isinstance(record, RequestTimed)][-1] == "DeadlineExceeded"
        assert session.state is tradesession.SessionState.READY


async def test_an_unanswered_order_ends_with_an_unknown_outcome(sandbox: Sandbox, session: ctrader.Session) -> None:
    sandbox.ctrader.faults.unanswered_requests = {pb.ProtoOANewOrderReq}
    order = pb.ProtoOANewOrderReq(
        ctidTraderAccountId=session.accounts[0].id,
        symbolId=1,
        orderType=pb.ProtoOAOrderType.MARKET,
        tradeSide=pb.ProtoOATradeSide.BUY,
        volume=1000,
    )
    ordering = asyncio.create_task(session.request(order, timeout=2))
    await until(lambda: sandbox.ctrader.state.requests["ProtoOANewOrderReq"])
    await sandbox.clock.advance(3)
    with pytest.raises(tradesession.OutcomeUnknown, match="it may have been executed"):
        await ordering
    assert sandbox.ctrader.state.requests["ProtoOANewOrderReq"] == 1


@pytest.mark.parametrize("fault", ["undecodable_replies", "wrong_reply_type"])
async def test_a_reply_that_is_none_ends_its_request_and_not_the_link(sandbox: Sandbox, session: ctrader.Session, fault: str) -> None:
    setattr(sandbox.ctrader.faults, fault, {pb.ProtoOATraderReq})
    account = session.accounts[0]
    with pytest.raises(tradesession.ProtocolError, match="ProtoOATraderReq was answered with"):
        await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))
    setattr(sandbox.ctrader.faults, fault, False)
    assert (await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))).trader.traderLogin == account.login


@pytest.mark.parametrize("fault", ["unknown_fields", "unknown_payload_types", "foreign_message_ids", "unknown_enum_values"])
async def test_what_nobody_knows_passes_by(sandbox: Sandbox, fault: str) -> None:
    setattr(sandbox.ctrader.faults, fault, True)
    async with tradesession.connect(sandbox.ctrader.config(plaintext=True)) as session:
        account = session.accounts[0]
        assert (await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))).trader.traderLogin == account.login
        async with session.spots(account, "EURUSD") as quotes:
            assert (await anext(quotes)).symbol == "EURUSD"


async def test_an_unknown_type_is_told_once(sandbox: Sandbox) -> None:
    records: list[Record] = []
    sandbox.ctrader.faults.unknown_payload_types = True
    async with tradesession.connect(sandbox.ctrader.config(), hooks=[records.append]):
        pass
    told = [record.what for record in records if isinstance(record, Unclassified)]
    assert len(told) == len(set(told)) >= 1


# --- losses ---------------------------------------------------------------------------------------------------------------------------


async def ready_again(sandbox: Sandbox, session: ctrader.Session) -> None:
    """Push the clock until the session is READY, as far as the longest wait between two attempts may be."""
    for _ in range(200):
        if session.state is tradesession.SessionState.READY:
            return
        await sandbox.clock.advance(1)
    raise AssertionError(f"not READY again: {session.state} {session.cause}")


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
    await anext(quotes)
    before = sandbox.clock.wall()
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


async def test_a_revoked_grant_parks_the_session_until_the_store_has_a_newer_token(sandbox: Sandbox) -> None:
    grant = sandbox.ctrader.grant()
    store = MemoryStore()
    config = sandbox.ctrader.config(plaintext=True, access_token=grant.access_token, refresh_token=grant.refresh_token, store=store)
    async with tradesession.connect(config) as session:
        sandbox.ctrader.revoke(grant)
        await until(lambda: all(account.state is AccountState.SUSPENDED for account in session.accounts))
        await sandbox.ctrader.faults.cut()
        await until(lambda: session.state is tradesession.SessionState.BACKOFF)
        await sandbox.clock.advance(5)
        await until(lambda: session.state is tradesession.SessionState.PARKED)
        await sandbox.clock.advance(minutes=10)
        assert session.state is tradesession.SessionState.PARKED
        fresh = sandbox.ctrader.grant()
        token = Token(access=tradesession.Secret(fresh.access_token), refresh=tradesession.Secret(fresh.refresh_token))
        await store.put(config.slot, token, force=True)
        await session.ready(timeout=60)
        assert all(account.state is AccountState.AUTHORIZED for account in session.accounts)


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


# --- events and quotes ------------------------------------------------------------------------------------------------------------------


async def test_events_are_those_of_the_account_that_was_asked_for(sandbox: Sandbox, session: ctrader.Session) -> None:
    first, second = session.accounts[:2]
    mine = session.events(pb.ProtoOAMarginChangedEvent, account=first)
    all_of_them = session.events(pb.ProtoOAMarginChangedEvent)
    for account in (second, first):
        event = pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=account.id, positionId=1, usedMargin=2)
        assert await sandbox.ctrader.push(event, account.id) == 1
    assert (await anext(mine)).ctidTraderAccountId == first.id
    assert [(await anext(all_of_them)).ctidTraderAccountId for _ in range(2)] == [second.id, first.id]
    await mine.aclose()
    await all_of_them.aclose()


async def test_a_class_that_is_no_event_is_refused(session: ctrader.Session) -> None:
    with pytest.raises(tradesession.InvalidRequest, match="ProtoOATraderRes is no event"):
        session.events(pb.ProtoOATraderRes)


async def test_a_quote_has_both_sides_with_the_digits_of_the_symbol(session: ctrader.Session) -> None:
    async with session.spots(session.accounts[0], "EURUSD", "XAUUSD", timestamps=True) as quotes:
        seen: dict[str, ctrader.Quote] = {}
        while len(seen) < 2:
            quote = await anext(quotes)
            seen[quote.symbol] = quote
    assert seen["EURUSD"].bid.as_tuple().exponent == -5
    assert seen["XAUUSD"].ask.as_tuple().exponent == -2
    assert all(Decimal(0) < quote.bid <= quote.ask for quote in seen.values())
    assert all(quote.timestamp is not None for quote in seen.values())


async def test_a_symbol_is_subscribed_once_for_two_streams_and_unsubscribed_with_the_last(
    sandbox: Sandbox, session: ctrader.Session
) -> None:
    account = session.accounts[0]
    requests = sandbox.ctrader.state.requests
    first, second = session.spots(account, "EURUSD"), session.spots(account, "EURUSD")
    quote = await anext(first)
    assert await anext(second) == quote, "the second stream starts with the last known quote"
    assert requests["ProtoOASubscribeSpotsReq"] == 1
    await first.aclose()
    assert requests["ProtoOAUnsubscribeSpotsReq"] == 0
    await second.aclose()
    assert requests["ProtoOAUnsubscribeSpotsReq"] == 1


async def test_an_unknown_symbol_is_named_with_what_was_meant(session: ctrader.Session) -> None:
    with pytest.raises(tradesession.ConfigurationError, match="no symbol 'EURUSB'; did you mean EURUSD"):
        await anext(session.spots(session.accounts[0], "EURUSB"))


async def test_quotes_without_a_symbol_are_refused(session: ctrader.Session) -> None:
    with pytest.raises(tradesession.InvalidRequest, match="at least one symbol"):
        session.spots(session.accounts[0])


@pytest.mark.parametrize("first_spot", ["duplicate", "before-reply", "after-tick", "missing"])
async def test_quotes_come_whatever_the_first_spot_is_like(sandbox: Sandbox, session: ctrader.Session, first_spot: str) -> None:
    sandbox.ctrader.faults.set("first-spot", first_spot)
    async with session.spots(session.accounts[0], "EURUSD") as quotes:
        await sandbox.clock.advance(10)
        quote = await anext(quotes)
    assert quote.bid <= quote.ask


# --- callbacks ---------------------------------------------------------------------------------------------------------------------------


async def test_a_handler_gets_the_events_in_order_and_outlives_losses_and_its_own_mistakes(
    sandbox: Sandbox, session: ctrader.Session, caplog: pytest.LogCaptureFixture
) -> None:
    account = session.accounts[0]
    seen: list[int] = []

    async def handle(event: pb.ProtoOAMarginChangedEvent) -> None:
        seen.append(event.positionId)
        await asyncio.sleep(0)
        if event.positionId == 2:
            raise ValueError("the bot's own mistake")

    async def push(position_id: int) -> None:
        event = pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=account.id, positionId=position_id, usedMargin=1)
        assert await sandbox.ctrader.push(event, account.id) == 1

    session.on(pb.ProtoOAMarginChangedEvent, handle, account=account)
    for position_id in (1, 2, 3):
        await push(position_id)
    await until(lambda: len(seen) == 3)
    assert "the next event comes all the same" in caplog.text
    await sandbox.ctrader.faults.cut()
    await until(lambda: session.state is not tradesession.SessionState.READY)
    await ready_again(sandbox, session)
    await push(4)
    await until(lambda: seen == [1, 2, 3, 4])


async def test_a_plain_function_may_be_a_handler_and_closing_the_stream_stops_it(sandbox: Sandbox, session: ctrader.Session) -> None:
    account = session.accounts[0]
    seen: list[int] = []
    stream = session.on(pb.ProtoOAMarginChangedEvent, lambda event: seen.append(event.positionId))
    event = pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=account.id, positionId=1, usedMargin=1)
    await sandbox.ctrader.push(event, account.id)
    await until(lambda: seen)
    await stream.aclose()
    await sandbox.ctrader.push(event, account.id)
    await session.request(pb.ProtoOAVersionReq())
    assert seen == [1]


async def test_a_handler_may_close_the_session(sandbox: Sandbox) -> None:
    async with tradesession.connect(sandbox.ctrader.config(plaintext=True)) as session:
        account = session.accounts[0]

        async def stop(event: pb.ProtoOAMarginChangedEvent) -> None:
            await session.aclose()

        session.on(pb.ProtoOAMarginChangedEvent, stop)
        await sandbox.ctrader.push(pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=account.id, positionId=1, usedMargin=1), account.id)
        async with asyncio.timeout(60):
            await session.closed()
