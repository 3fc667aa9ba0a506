"""A session with B2Trader: both levels, REST, the hub and its renewals, losses, and the way back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

import tradesession
from tests.leaks import Leaks
from tradesession import b2core
from tradesession.b2core.client import _rows
from tradesession.errors import (
    Error,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
    ProtocolError,
    ReauthorizationRequired,
    Rejected,
    SessionClosed,
    TokenRefused,
)
from tradesession.sandbox import Sandbox
from tradesession.sandbox.b2core import B2CoreSandbox
from tradesession.session.manager import SessionManager
from tradesession.session.states import SessionState
from tradesession.signalr import HubError
from tradesession.tokens.stores import open_store

ORDERS = "/frontoffice/api/v3/orders"
HUB = "GET /frontoffice/ws/v4/account"


@pytest.fixture
async def session(manager: SessionManager, server: B2CoreSandbox) -> AsyncIterator[b2core.Session]:
    async with await manager.open(server.config()) as session:
        yield session


@pytest.fixture
def account(server: B2CoreSandbox) -> str:
    return str(server.state.accounts[0]["accountId"])


async def until(condition: Any, seconds: float = 60) -> None:
    """Wait for a condition, in real time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


# --- opening and closing ----------------------------------------------------------------------------------------------------------------


async def test_ready_means_signed_in_twice_and_connected_to_the_hub(session: b2core.Session, server: B2CoreSandbox) -> None:
    assert session.state is SessionState.READY
    assert [step.name for step in session.steps] == ["sign_in", "platform_token", "connect", "handshake", "restore"]
    assert server.hub.journal.counts["bearer.access_token"] == 1
    assert server.state.unauthorized == 0


async def test_the_hub_can_be_negotiated(manager: SessionManager, server: B2CoreSandbox) -> None:
    async with await manager.open(server.config(negotiate=True)) as session:
        assert [step.name for step in session.steps][2:4] == ["negotiate", "connect"]
    assert server.hub.journal.counts["bearer.header"] == 1  # of the negotiation alone
    assert server.hub.journal.counts["bearer.access_token"] == 1


async def test_nothing_is_left_of_a_session(leaks: Leaks) -> None:
    async with Sandbox(seed=1) as sandbox:
        async with tradesession.connect(sandbox.b2core.config()) as session, session.open_orders("nobody's"):
            await session.accounts()
            await session.platforms()
        assert session.is_closed
        for use in (session.accounts(), session.trader.post(ORDERS, {}), session.hub.invoke("Echo", 1)):
            with pytest.raises((NotSent, SessionClosed)):
                await use


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"password": "wrong"}, b2core.SignInRefused),
        ({"platform_id": 99}, TokenRefused),
        ({"platform_id": 2}, TokenRefused),
        ({"email": "", "password": None, "access_token": "unknown"}, ReauthorizationRequired),
    ],
)
async def test_what_cannot_be_opened_says_why_at_once(
    manager: SessionManager, server: B2CoreSandbox, options: dict[str, Any], kind: type[Error]
) -> None:
    with pytest.raises(kind):
        await manager.open(server.config(**options))
    assert manager.sessions == ()
    assert len(server.state.passwords) <= 1


@pytest.mark.parametrize(("fault", "kind"), [("recaptcha", b2core.CaptchaRequired), ("forced_reset", b2core.PasswordResetRequired)])
async def test_what_a_person_must_do_is_said_at_the_opening(
    manager: SessionManager, server: B2CoreSandbox, fault: str, kind: type[Error]
) -> None:
    setattr(server.faults, fault, True)
    with pytest.raises(kind):
        await manager.open(server.config())


async def test_a_corrected_password_is_used_and_the_wrong_one_not_sent_again(manager: SessionManager, server: B2CoreSandbox) -> None:
    wrong = server.config(password="wrong")
    for _ in range(3):
        with pytest.raises(b2core.SignInRefused):
            await manager.open(wrong.replace())
    assert server.state.passwords == ["wrong"]
    assert (await manager.open(server.config())).state is SessionState.READY
    assert server.state.passwords == ["wrong", server.password]


async def test_a_corrected_country_costs_no_other_sign_in(manager: SessionManager, server: B2CoreSandbox) -> None:
    server.settings.geo_required = True
    with pytest.raises(TokenRefused, match="country_code"):
        await manager.open(server.config())
    await manager.open(server.config(country_code="+995", country_name="Georgia"))
    assert len(server.state.passwords) == 1


async def test_what_other_sessions_use_is_not_replaced_by_a_configuration_that_failed(
    manager: SessionManager, server: B2CoreSandbox
) -> None:
    session = await manager.open(server.config())
    keeper = manager.tokens(server.config())
    server.faults.trader_status = 403
    with pytest.raises(Error):
        await manager.open(server.config(hub_path="/nowhere"))
    assert manager.tokens(server.config()) is keeper
    assert session.state is SessionState.READY


# --- REST -------------------------------------------------------------------------------------------------------------------------------


async def test_accounts_come_with_exact_decimals(session: b2core.Session) -> None:
    first, second = await session.accounts()
    assert (first.type, first.balance, first.public_id) == ("Hedging", Decimal("6020.12"), 1234567)
    assert second.fields["isCopyTradingAccount"] is False


async def test_platforms_are_asked_of_b2core_with_its_own_bearer(session: b2core.Session) -> None:
    assert [platform["id"] for platform in await session.platforms()] == [1, 2]


async def test_a_read_survives_a_dead_token_and_an_order_is_not_repeated_by_itself(
    session: b2core.Session, server: B2CoreSandbox, account: str
) -> None:
    server.state.end_pairs()
    assert len(await session.accounts()) == 2
    assert server.state.requests["GET /frontoffice/api/v3/accounts"] == 2
    server.state.end_pairs()
    with pytest.raises(Rejected) as caught:
        await session.trader.post(ORDERS, {"accountId": account})
    assert caught.value.code == "HTTP 401"
    assert server.state.requests[f"POST {ORDERS}"] == 1
    assert await session.trader.post(ORDERS, {"accountId": account})  # the token was renewed all the same
    assert len(server.state.orders[account]) == 1


async def test_an_order_without_an_answer_is_unknown_and_was_sent_once(
    session: b2core.Session, server: B2CoreSandbox, account: str
) -> None:
    server.faults.order_reply_lost = True
    with pytest.raises(OutcomeUnknown):
        await session.trader.post(ORDERS, {"accountId": account})
    assert len(server.state.orders[account]) == 1


@pytest.mark.parametrize("status", [408, 500, 502, 504])
async def test_an_order_that_a_failing_server_answers_is_unknown(
    session: b2core.Session, server: B2CoreSandbox, account: str, status: int
) -> None:
    server.faults.trader_status = status
    with pytest.raises(OutcomeUnknown, match=f"HTTP {status}.*may have been executed"):
        await session.trader.post(ORDERS, {"accountId": account})
    with pytest.raises(Rejected):
        await session.trader.post(ORDERS, {"accountId": account}, repeatable=True)


@pytest.mark.parametrize("status", [200, 503])
async def test_an_answer_that_is_clear_or_none_to_an_order(
    session: b2core.Session, server: B2CoreSandbox, account: str, status: int
) -> None:
    server.faults.trader_status = status
    error = OutcomeUnknown if status == 200 else Rejected  # an HTML page that says 200 is no answer; 503 says that nothing was begun
    with pytest.raises(error):
        await session.trader.post(ORDERS, {"accountId": account})


async def test_a_hundred_refused_reads_cause_one_renewal(session: b2core.Session, server: B2CoreSandbox) -> None:
    server.state.end_pairs()
    await asyncio.gather(*(session.accounts() for _ in range(100)))
    assert server.state.requests["POST /api/v2/my/platforms/1/auth"] == 2
    assert server.state.requests["POST /api/v2/my/platforms/1/refresh"] == 1


@pytest.mark.parametrize("shape", ["envelope", "laravel"])
async def test_a_refusal_says_what_the_server_said(session: b2core.Session, server: B2CoreSandbox, shape: Any) -> None:
    server.settings.errors = shape
    with pytest.raises(Rejected, match="account is not known") as caught:
        await session.trader.post(ORDERS, {"accountId": "nobody's"})
    assert (caught.value.code, caught.value.verdict.is_retryable) == ("HTTP 404", False)


@pytest.mark.parametrize(("status", "is_retryable"), [(403, False), (429, True), (500, True), (502, True), (503, True)])
async def test_a_status_becomes_a_verdict(session: b2core.Session, server: B2CoreSandbox, status: int, is_retryable: bool) -> None:
    server.faults.trader_status, server.faults.retry_after = status, 7
    with pytest.raises(Rejected) as caught:
        await session.accounts()
    assert caught.value.verdict.is_retryable is is_retryable
    assert caught.value.retry_after == 7.0


async def test_a_redirect_to_another_origin_never_sees_a_bearer(sandbox: Sandbox, session: b2core.Session, server: B2CoreSandbox) -> None:
    shown: list[str] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append((await reader.read(4096)).decode())
        writer.close()

    elsewhere = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with elsewhere:
        port = elsewhere.sockets[0].getsockname()[1]
        server.faults.redirect = f"http://127.0.0.1:{port}"
        for use in (session.accounts(), session.platforms(), session.trader.post(ORDERS, {})):
            with pytest.raises(Rejected, match="not followed"):
                await use
        with pytest.raises(Error):
            await session.renew()
    assert shown == []


@pytest.mark.parametrize("path", ["accounts", "//evil.example/x", "https://evil.example/x", "/x?y=1", "/x#y", "/\\evil.example", "/ä", ""])
async def test_a_path_cannot_lead_anywhere_else(session: b2core.Session, path: str) -> None:
    with pytest.raises(InvalidRequest):
        await session.trader.get(path)


@pytest.mark.parametrize("body", [object(), {"x": float("nan")}, {"x": Decimal(1)}])
async def test_a_body_that_cannot_travel_is_not_sent(session: b2core.Session, server: B2CoreSandbox, body: Any) -> None:
    with pytest.raises(InvalidRequest):
        await session.trader.post(ORDERS, body)
    assert server.state.requests[f"POST {ORDERS}"] == 0


async def test_a_query_is_encoded(session: b2core.Session, server: B2CoreSandbox, account: str) -> None:
    await session.trader.post(ORDERS, {"accountId": account})
    assert len(await session.trader.get(ORDERS, accountId=account)) == 1
    assert await session.trader.get(ORDERS, accountId="a&accountId=" + account) == []


# --- streams ------------------------------------------------------------------------------------------------------------------------------


async def test_orders_come_as_they_change(session: b2core.Session, account: str) -> None:
    async with session.open_orders(account) as orders:
        assert await anext(orders) == []
        await session.trader.post(ORDERS, {"accountId": account, "side": "Sell"})
        assert [order["side"] for order in await anext(orders)] == ["Sell"]


async def test_positions_are_read_out_of_their_own_shape(session: b2core.Session, account: str) -> None:
    async with session.open_positions(account) as positions:
        assert [position["marketId"] for position in await anext(positions)] == ["cfd.eur_chf"]


async def test_a_shape_that_is_not_known_is_an_error_and_no_empty_list(session: b2core.Session) -> None:
    async with session.hub.stream("Count", 1, 0, -1, read=lambda item: _rows(item, "orders")) as items:
        with pytest.raises(ProtocolError):
            await anext(items)


async def test_an_account_that_nobody_knows_ends_its_stream(session: b2core.Session) -> None:
    async with session.open_orders("nobody's") as orders:
        with pytest.raises(HubError, match="account is not known"):
            await anext(orders)


async def test_what_still_comes_after_a_cancel_is_dropped(session: b2core.Session, server: B2CoreSandbox, account: str) -> None:
    server.faults.late_items = 3
    async with session.open_orders(account) as orders:
        await anext(orders)
    async with session.open_orders(account) as orders:
        assert await anext(orders) == []
    assert session.state is SessionState.READY


# --- staying ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("follows_token", [False, True])
async def test_ten_minutes_of_one_minute_tokens_lose_nothing_of_the_hub(
    sandbox: Sandbox, manager: SessionManager, server: B2CoreSandbox, account: str, follows_token: bool
) -> None:
    server.settings.pair_life = 60
    server.settings.hub_follows_token = follows_token
    async with await manager.open(server.config()) as session, session.open_orders(account, gaps=True) as orders:
        assert await anext(orders) == []
        for number in range(120):
            await sandbox.clock.advance(5)
            if number % 10 == 0:
                await session.trader.post(ORDERS, {"accountId": account, "requestedPrice": str(number)})
                placed = await anext(orders)
                assert isinstance(placed, list), f"a gap at {number}"
                assert placed[-1]["requestedPrice"] == str(number)
        assert session.state is SessionState.READY
    assert server.state.unauthorized == 0
    assert 8 <= server.state.requests[HUB] <= 20
    assert server.state.requests["POST /api/v2/my/platforms/1/refresh"] <= 16
    assert len(server.state.passwords) == 1


async def test_a_cut_comes_back_with_its_streams_and_says_what_was_missed(
    sandbox: Sandbox, session: b2core.Session, server: B2CoreSandbox, account: str
) -> None:
    async with session.open_orders(account, gaps=True) as orders:
        assert await anext(orders) == []
        server.hub.connections[0].drop()
        await until(lambda: session.state is not SessionState.READY)
        server.state.place({"accountId": account})
        await sandbox.clock.advance(2)
        await session.ready(60)
        seen: list[Any] = [await anext(orders), await anext(orders)]
    assert [type(one) for one in seen] == [tradesession.Gap, list]
    assert len(seen[1]) == 1


@pytest.mark.parametrize("fault", ["silent_hub", "no_pings"])
async def test_a_hub_that_says_nothing_is_taken_for_dead_and_replaced(
    sandbox: Sandbox, session: b2core.Session, server: B2CoreSandbox, fault: str
) -> None:
    setattr(server.faults, fault, True)
    await sandbox.clock.advance(31)
    server.faults.clear()
    await sandbox.clock.advance(3)
    await until(lambda: server.state.requests[HUB] == 2)
    await session.ready(60)


async def test_an_expired_query_token_is_replaced_once_and_the_socket_opened(
    sandbox: Sandbox, session: b2core.Session, server: B2CoreSandbox
) -> None:
    server.state.end_pairs()
    server.hub.connections[0].drop()
    await until(lambda: session.state is not SessionState.READY)
    await sandbox.clock.advance(2)
    await session.ready(60)
    assert server.state.requests[HUB] == 3  # the first one, the refused one, the good one


async def test_a_close_record_that_wants_us_back_is_obeyed_and_one_that_does_not_ends_the_session(
    sandbox: Sandbox, session: b2core.Session, server: B2CoreSandbox
) -> None:
    server.hub.connections[0].end("maintenance", allow_reconnect=True)
    await until(lambda: session.state is not SessionState.READY)
    await sandbox.clock.advance(2)
    await session.ready(60)
    server.hub.connections[0].end("go away")
    await session.closed()
    assert "go away" in str(session.cause)
    with pytest.raises(NotSent):
        await session.accounts()


async def test_a_dead_bearer_parks_the_session_and_a_new_one_in_the_store_wakes_it(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    async with open_store("memory:", clock=sandbox.clock) as store, SessionManager(clock=sandbox.clock) as manager:
        config = server.config(email="", password=None, access_token=server.describe()["access_token"], store=store)
        session = await manager.open(config)
        server.state.end_bearers()
        server.state.end_pairs()
        server.hub.connections[0].drop()
        await until(lambda: session.state is SessionState.PARKED)
        assert isinstance(session.cause, ReauthorizationRequired)
        asked = server.state.requests.total()
        await sandbox.clock.advance(hours=1)
        assert str(session.state) == str(SessionState.PARKED)
        assert server.state.requests.total() - asked <= 100  # and no storm meanwhile
        person = config.replace(access_token=server.state.bearer().access)
        seed = person._seed()
        assert seed is not None
        await store.put(config.parent_slot, seed)
        await sandbox.clock.advance(330)
        await until(lambda: session.state is SessionState.READY)


async def test_a_bearer_that_is_refused_as_soon_as_it_is_given_is_waited_out(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    async with tradesession.connect(server.config()) as session:
        server.faults.platform_status = 401
        server.state.end_pairs()
        for connection in server.hub.connections:
            connection.drop()
        await sandbox.clock.advance(hours=1)
        assert str(session.state) == str(SessionState.BACKOFF)
        assert "just given" in str(session.cause)
        assert server.state.requests["POST /api/v2/my/refresh"] <= 13, "no more often than every five minutes"
        assert len(server.state.passwords) == 1
        server.faults.platform_status = 0
        await sandbox.clock.advance(minutes=10)
        assert session.state is SessionState.READY


async def test_an_address_that_b2core_names_is_used_if_it_is_listed(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    """The first of the list leads nowhere: only the reply's host can have led to the hub."""
    server.faults.host = server.base_url + "/"
    async with tradesession.connect(server.config(trader_urls=["http://127.0.0.1:1", server.base_url])) as session:
        assert len(await session.accounts()) == 2


@pytest.mark.parametrize("form", ["http://127.0.0.1:{port}", "http://127.0.0.1:{port}/frontoffice", "http://localhost:{port}"])
async def test_a_host_that_is_not_listed_is_never_contacted(
    sandbox: Sandbox, manager: SessionManager, server: B2CoreSandbox, form: str
) -> None:
    visitors: list[Any] = []
    async with await asyncio.start_server(lambda reader, writer: visitors.append(writer), "127.0.0.1", 0) as elsewhere:
        server.faults.host = form.format(port=elsewhere.sockets[0].getsockname()[1])
        server.settings.pair_life = 60
        async with await manager.open(server.config()) as session:
            await sandbox.clock.advance(120)
            server.hub.connections[0].drop()
            await sandbox.clock.advance(3)
            await session.ready(60)
            assert await session.accounts()
    assert server.state.requests[HUB] >= 3
    assert visitors == []


# --- several at once ----------------------------------------------------------------------------------------------------------------------


async def test_ten_sessions_in_two_managers_with_one_store_sign_in_once(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    asked: list[b2core.CodeRequest] = []
    server.settings.two_factor = "sms"

    async def ask(request: b2core.CodeRequest) -> str:
        asked.append(request)
        await asyncio.sleep(0.05)
        return server.state.codes[-1]

    async with (
        open_store("memory:", clock=sandbox.clock) as store,
        SessionManager(clock=sandbox.clock) as one,
        SessionManager(clock=sandbox.clock) as other,
    ):
        config = server.config(store=store, ask_code=ask)
        sessions = await asyncio.gather(*(manager.open(config) for manager in (one, other) for _ in range(5)))
        assert all([await session.accounts() for session in sessions])
        assert len(server.hub.connections) == 10
    assert len(server.state.passwords) == len(asked) == 1
    assert server.state.requests["POST /api/v2/my/platforms/1/auth"] == 1
    assert server.state.unauthorized == 0


@pytest.mark.parametrize("method", ["put", "delete"])
async def test_changes_are_not_repeated_by_themselves_either(
    session: b2core.Session, server: B2CoreSandbox, account: str, method: str
) -> None:
    order = server.state.place({"accountId": account})["orderId"]
    server.state.end_pairs()
    change = getattr(session.trader, method)
    with pytest.raises(Rejected, match="HTTP 401"):
        await change(f"{ORDERS}/{order}")
    assert server.state.requests[f"{method.upper()} {ORDERS}/{order}"] == 1
    assert (await change(f"{ORDERS}/{order}"))["orderId"] == order
    server.state.end_pairs()
    with pytest.raises(Rejected, match="HTTP 404"):  # repeated, as the caller says that it does no harm
        await change(f"{ORDERS}/unknown", repeatable=True)
    assert server.state.requests[f"{method.upper()} {ORDERS}/unknown"] == 2
