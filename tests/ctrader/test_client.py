"""The cTrader session as a bot sees it, against the sandbox: its opening, and its requests."""

import asyncio

import pytest

import tradesession
from tests.ctrader.conftest import until
from tradesession import ctrader
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.hooks import LateReply, Record, RequestTimed, StateChanged, StepTimed, Unclassified
from tradesession.sandbox import Sandbox

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
