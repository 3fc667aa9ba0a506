from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError

from tests.sandbox.raw_client import RawClient, account_auth, causes, connect
from tradesession.clock import ManualClock
from tradesession.ctrader import messages as pb
from tradesession.ctrader import registry
from tradesession.errors import ConfigurationError
from tradesession.sandbox import Sandbox
from tradesession.sandbox.ctrader import known_faults
from tradesession.sandbox.ctrader.encoding import UNKNOWN_NUMBER
from tradesession.sandbox.ctrader.switches import Switches
from tradesession.sandbox.ctrader.wire import decode_fields

ORDER = registry.payload_type_of(pb.ProtoOANewOrderReq)
VERSION = registry.payload_type_of(pb.ProtoOAVersionReq)


def order(account_id: int) -> pb.ProtoOANewOrderReq:
    return pb.ProtoOANewOrderReq(
        ctidTraderAccountId=account_id,
        symbolId=1,
        orderType=pb.ProtoOAOrderType.MARKET,
        tradeSide=pb.ProtoOATradeSide.BUY,
        volume=100_000,
    )


async def test_what_the_sandbox_has_no_answer_to_is_refused_by_name(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    reply = await client.request(pb.ProtoOAMarginCallListReq(ctidTraderAccountId=account.id))
    assert (reply.code, reply.message.ctidTraderAccountId) == ("UNSUPPORTED_MESSAGE", account.id)


async def test_orders_under_a_grant_to_look_are_not_allowed(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account, grant=sandbox.ctrader.grant(scope="accounts"))
    assert (await client.request(order(account.id))).code == "TRADING_NOT_ALLOWED"


@pytest.mark.parametrize("selection", [True, {ORDER}, [pb.ProtoOANewOrderReq]])
async def test_requests_can_stay_unanswered(sandbox: Sandbox, client: RawClient, selection: bool | set[int]) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    sandbox.ctrader.faults.unanswered_requests = selection
    await client.send(order(account.id), "order")
    if selection is True:
        await client.send(pb.ProtoOAVersionReq(), "version")
        await sandbox.clock.advance(1)
        sandbox.ctrader.faults.clear()
    assert await client.is_alive()
    assert client.events == []
    assert sandbox.ctrader.state.requests["ProtoOANewOrderReq"] == 1


async def test_a_reply_can_be_undecodable_and_still_carry_its_id(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.faults.undecodable_replies = {VERSION}
    await client.send(pb.ProtoOAVersionReq(), "v")
    envelope = pb.ProtoMessage.FromString(await client.read())
    assert (envelope.payloadType, envelope.clientMsgId) == (2105, "v")
    with pytest.raises(DecodeError):
        pb.ProtoOAVersionRes.FromString(envelope.payload)


async def test_a_reply_can_be_of_the_wrong_type(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.faults.wrong_reply_type = {pb.ProtoOAVersionReq}
    assert (await client.request(pb.ProtoOAVersionReq())).name == "ProtoOAAccountLogoutRes"


async def test_a_server_can_know_only_some_of_the_messages(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    sandbox.ctrader.faults.unsupported_requests = {pb.ProtoOATraderReq}
    assert (await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))).code == "UNSUPPORTED_MESSAGE"
    assert await client.is_alive()


async def test_payload_types_can_be_blocked(sandbox: Sandbox, client: RawClient) -> None:
    await client.authenticate(sandbox)
    sandbox.ctrader.settings.retry_after = 17
    sandbox.ctrader.faults.blocked_payload_types = {VERSION}
    reply = await client.request(pb.ProtoOAVersionReq())
    assert (reply.code, reply.message.retryAfter) == ("BLOCKED_PAYLOAD_TYPE", 17)
    assert (await client.request(pb.ProtoOARefreshTokenReq(refreshToken="x"))).code == "CH_ACCESS_TOKEN_INVALID"


async def test_accounts_can_be_unreachable_while_the_application_is_not(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    grant = await client.authenticate(sandbox)
    sandbox.ctrader.faults.cant_route = True
    assert (await client.request(account_auth(account, grant))).code == "CANT_ROUTE_REQUEST"
    assert (await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))).code == "CANT_ROUTE_REQUEST"
    assert await client.is_alive()


@pytest.mark.parametrize("common", [False, True])
async def test_maintenance_refuses_everything_until_its_end(sandbox: Sandbox, client: RawClient, common: bool) -> None:
    sandbox.ctrader.settings.common_errors = common
    await client.authenticate(sandbox)
    end = sandbox.clock.wall() + 25
    sandbox.ctrader.faults.maintenance(seconds=25)
    reply = await client.request(pb.ProtoOAVersionReq())
    assert (reply.code, reply.name) == ("SERVER_IS_UNDER_MAINTENANCE", "ProtoErrorRes" if common else "ProtoOAErrorRes")
    unit = 1000 if common else 1  # milliseconds in 50, seconds in 2142
    assert abs(reply.message.maintenanceEndTimestamp / unit - end) <= 1
    await sandbox.clock.advance(26)
    assert await client.is_alive()


async def test_errors_can_travel_as_the_common_message(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.settings.common_errors = True
    reply = await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=1))
    assert (reply.payload_type, reply.code) == (50, "CH_CLIENT_NOT_AUTHENTICATED")


async def test_messages_can_come_from_a_later_version(sandbox: Sandbox, either: RawClient) -> None:
    faults = sandbox.ctrader.faults
    faults.unknown_fields = faults.unknown_enum_values = faults.unknown_payload_types = True
    account = sandbox.ctrader.accounts[0]
    await either.authenticate(sandbox, account)
    reply = await either.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))
    assert reply.message.trader.traderLogin == account.login
    assert not reply.message.trader.HasField("accountType")
    assert UNKNOWN_NUMBER in dict(decode_fields(reply.payload))
    assert {(event.payload_type, event.message) for event in either.events} == {(2999, None)}


async def test_events_can_carry_the_id_of_somebody_else(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    sandbox.ctrader.faults.foreign_message_ids = True
    await client.request(pb.ProtoOASubscribeSpotsReq(ctidTraderAccountId=account.id, symbolId=[1]))
    assert (await client.receive()).message_id == "another-client-1"


async def test_events_can_come_between_a_request_and_its_reply(sandbox: Sandbox, either: RawClient) -> None:
    sandbox.ctrader.faults.events_before_reply = True
    account = sandbox.ctrader.accounts[0]
    await either.authenticate(sandbox, account)
    either.events.clear()
    await either.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))
    assert [event.name for event in either.events] == ["ProtoHeartbeatEvent", "ProtoOATraderUpdatedEvent"]


async def test_replies_can_come_out_of_order(sandbox: Sandbox, either: RawClient) -> None:
    sandbox.ctrader.faults.reorder_replies = True
    for number in range(4):
        await either.send(pb.ProtoOAVersionReq(), str(number))
    assert [(await either.receive()).message_id for _ in range(4)] == ["3", "2", "1", "0"]


async def test_latency_delays_everything_and_keeps_the_order(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.settings.latency = 0.5
    for number in range(3):
        await client.send(pb.ProtoOAVersionReq(), str(number))
    await sandbox.clock.advance(0.4)
    assert sandbox.ctrader.connections[0].channel.last_output < sandbox.clock.monotonic() - 0.3
    await sandbox.clock.advance(0.2)
    assert [(await client.receive()).message_id for _ in range(3)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("", ["reply", "first"]),
        ("duplicate", ["reply", "first", "first"]),
        ("before-reply", ["first", "reply"]),
        ("missing", ["reply"]),
    ],
)
async def test_the_first_price_can_come_twice_early_or_never(sandbox: Sandbox, client: RawClient, fault: str, expected: list[str]) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    sandbox.ctrader.feed.pause()
    if fault:
        sandbox.ctrader.faults.set("first-spot", fault)
    await client.send(pb.ProtoOASubscribeSpotsReq(ctidTraderAccountId=account.id, symbolId=[1]), "s")
    await client.send(pb.ProtoOAVersionReq(), "end")
    received = []
    while (one := await client.receive()).message_id != "end":
        received.append("reply" if one.message_id else "first")
    assert received == expected


async def test_the_first_price_can_come_after_a_later_one(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    sandbox.ctrader.feed.pause()
    sandbox.ctrader.faults.first_spot = "after-tick"
    await client.request(pb.ProtoOASubscribeSpotsReq(ctidTraderAccountId=account.id, symbolId=[1]))
    tick, first = [(await client.receive()).message for _ in range(2)]
    assert (tick.bid, tick.ask) != (first.bid, first.ask)
    assert first.HasField("bid")
    assert first.HasField("ask")


async def test_an_account_can_be_dropped_while_the_socket_lives(sandbox: Sandbox, client: RawClient) -> None:
    first, second = sandbox.ctrader.accounts[:2]
    grant = await client.authenticate(sandbox, first, second)
    assert sandbox.ctrader.faults.account_disconnect(first) == 1
    assert (await client.event(pb.ProtoOAAccountDisconnectEvent)).ctidTraderAccountId == first.id
    assert (await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=first.id))).code == "INVALID_REQUEST"
    assert (await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=second.id))).code == ""
    await client.authenticate_again(first, grant)
    assert sandbox.ctrader.faults.account_disconnect(12345) == 0


async def test_an_account_can_be_dropped_some_time_after_it_was_authorised(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.faults.account_disconnect_after = 10.0
    await client.authenticate(sandbox, sandbox.ctrader.accounts[0])
    await sandbox.clock.advance(9)
    assert await client.is_alive()
    assert client.events == []
    await sandbox.clock.advance(1)
    assert (await client.receive()).name == "ProtoOAAccountDisconnectEvent"


async def test_the_server_can_end_a_connection_with_a_reason(sandbox: Sandbox, either: RawClient) -> None:
    await either.authenticate(sandbox)
    assert sandbox.ctrader.faults.client_disconnect("night") == 1
    assert (await either.event(pb.ProtoOAClientDisconnectEvent)).reason == "night"
    assert await either.wait_closed() in ("", "1000 Bye")
    await either.aclose()
    assert await causes(sandbox) == ["disconnected by the server"]


async def test_the_server_can_end_every_connection_some_time_after_it_opened(sandbox: Sandbox) -> None:
    sandbox.ctrader.faults.disconnect_after = 10.0
    async with await connect(sandbox) as client:
        await client.authenticate(sandbox)
        await sandbox.clock.advance(10)
        assert await client.event(pb.ProtoOAClientDisconnectEvent)
        await client.wait_closed()


async def test_an_event_can_be_pushed_to_whoever_uses_an_account(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    event = pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=account.id, positionId=1, usedMargin=2)
    assert await sandbox.ctrader.push(event, account) == 1
    assert await sandbox.ctrader.push(event, account.id + 1) == 0
    assert await sandbox.ctrader.push(event) == 1
    assert [(await client.receive()).message for _ in range(2)] == [event, event]


# --- names and values, as on the command line ---


@pytest.fixture
def switches() -> Switches:
    return Switches(ManualClock(monotonic=1000.0))


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("half-open", "", "half_open", True),
        ("half_open", "on", "half_open", True),
        ("half-open", "off", "half_open", False),
        ("slice-output", "3", "slice_output", 3),
        ("cut-input-after", "0", "cut_input_after", 0),
        ("glue-output", "0.5", "glue_output", 0.5),
        ("maintenance", "600", "maintenance_until", 1600.0),
        ("unanswered-requests", "", "unanswered_requests", True),
        ("unanswered-requests", "2106,ProtoOAVersionReq", "unanswered_requests", frozenset({2106, 2104})),
        ("first-spot", "missing", "first_spot", "missing"),
        ("wrong-certificate", "expired", "wrong_certificate", "expired"),
        ("orders-unanswered", "executed", "orders_unanswered", "executed"),
        ("reject-accepted-orders", "NO_QUOTES", "reject_accepted_orders", "NO_QUOTES"),
        ("truncate-history", "7", "truncate_history", 7),
    ],
)
def test_a_fault_is_set_by_its_name(switches: Switches, name: str, value: str, attribute: str, expected: object) -> None:
    switches.set(name, value)
    assert getattr(switches, attribute) == expected


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("half-opne", "", "did you mean 'half-open'"),
        ("nonsense", "", "tls-hang"),
        ("half-open", "maybe", "half-open=on"),
        ("slice-output", "", "a whole number"),
        ("glue-output", "x", "a number of seconds"),
        ("unanswered-requests", "ProtoOANothing", "numbers or message names"),
        ("first-spot", "late", "duplicate or before-reply"),
        ("orders-unanswered", "", "executed or dropped"),
        ("reject-accepted-orders", "", "the name of an error code"),
    ],
)
def test_a_wrong_fault_is_refused_with_what_would_be_right(switches: Switches, name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        switches.set(name, value)
    assert said in str(refused.value)


def test_every_fault_has_a_name_and_a_line_about_it_and_can_be_taken_back(switches: Switches) -> None:
    assert len(known_faults()) > 25
    assert all(text and not text.endswith(".") for text in known_faults().values())
    before = repr(switches)
    switches.set("half-open")
    switches.set("maintenance", "5")
    assert repr(switches) != before
    switches.clear()
    assert repr(switches) == before
