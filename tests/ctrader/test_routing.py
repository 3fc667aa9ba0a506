"""The dialect: envelopes both ways, and what counts as an answer, a refusal, an event."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from tradesession.ctrader import messages as pb
from tradesession.ctrader import registry
from tradesession.ctrader.judge import text
from tradesession.ctrader.routing import HEARTBEAT, WITH_EFFECTS, OpenApiDialect, encode_envelope
from tradesession.errors import InvalidRequest, ProtocolError, Rejected
from tradesession.protocol.turns import Lane
from tradesession.session.link import Incoming
from tradesession.verdict import Action, Level, Verdict

TRADER = pb.ProtoOATraderReq(ctidTraderAccountId=7)
ORDER = pb.ProtoOANewOrderReq(
    ctidTraderAccountId=7, symbolId=1, orderType=pb.ProtoOAOrderType.MARKET, tradeSide=pb.ProtoOATradeSide.BUY, volume=100
)


@pytest.fixture
def dialect() -> OpenApiDialect:
    return OpenApiDialect(lambda: 1_767_225_600.0)


def incoming(message: Message, *, kind: int | None = None, correlation_id: str = "id") -> Incoming:
    number = registry.payload_type_of(message) if kind is None else kind
    return Incoming(number, correlation_id, message.SerializePartialToString())


# --- out ----------------------------------------------------------------------------------------------------------------------------


def test_a_request_travels_in_an_envelope_with_its_number_and_its_id(dialect: OpenApiDialect) -> None:
    envelope = pb.ProtoMessage.FromString(dialect.encode(TRADER, "id-1"))
    assert (envelope.payloadType, envelope.clientMsgId) == (2121, "id-1")
    assert pb.ProtoOATraderReq.FromString(envelope.payload) == TRADER


def test_without_an_id_the_envelope_has_none() -> None:
    assert not pb.ProtoMessage.FromString(encode_envelope(TRADER)).HasField("clientMsgId")


def test_the_heartbeat_is_an_envelope_and_nothing_else(dialect: OpenApiDialect) -> None:
    envelope = pb.ProtoMessage.FromString(dialect.heartbeat())
    assert (envelope.payloadType, envelope.HasField("payload"), envelope.HasField("clientMsgId")) == (HEARTBEAT, False, False)
    assert HEARTBEAT == 51


def test_what_is_missing_is_named_and_values_are_not(dialect: OpenApiDialect) -> None:
    with pytest.raises(InvalidRequest, match=r"^ProtoOAAccountAuthReq cannot be sent without ctidTraderAccountId$"):
        dialect.encode(pb.ProtoOAAccountAuthReq(accessToken="planted"), "id")
    with pytest.raises(InvalidRequest, match="symbolId") as caught:
        dialect.encode(pb.ProtoOANewOrderReq(ctidTraderAccountId=7), "id")
    assert all(name in str(caught.value) for name in ("symbolId", "orderType", "tradeSide", "volume"))


@pytest.mark.parametrize("message", [pb.ProtoOATraderRes(), pb.ProtoOASpotEvent(), pb.ProtoHeartbeatEvent(), pb.ProtoMessage()])
def test_what_is_no_request_is_refused(dialect: OpenApiDialect, message: Message) -> None:
    with pytest.raises(InvalidRequest, match=f"{type(message).__name__} is no request: send one of the messages whose names end in Req"):
        dialect.encode(message, "id")


def test_what_travels_not_by_itself_has_no_envelope() -> None:
    with pytest.raises(InvalidRequest, match="has no payload type"):
        encode_envelope(pb.ProtoOACtidTraderAccount(ctidTraderAccountId=1))


@pytest.mark.parametrize("request_class", registry.REPLIES, ids=lambda cls: cls.__name__)
def test_every_request_has_a_name_a_lane_and_its_own_number(dialect: OpenApiDialect, request_class: type[Message]) -> None:
    request = request_class()
    assert dialect.name(request) == request_class.__name__
    assert dialect.kind(request) == registry.PAYLOAD_TYPES[request_class]
    expected = Lane.ORDER if request_class in registry.ORDER_REQUESTS else Lane.READ
    if dialect.kind(request) in registry.HISTORICAL:
        expected = Lane.HISTORY
    assert dialect.lane(request) is expected
    assert dialect.has_effects(request) == (request_class in WITH_EFFECTS)


def test_orders_and_the_refresh_are_what_must_not_happen_twice() -> None:
    assert {cls.__name__ for cls in WITH_EFFECTS} == {
        "ProtoOANewOrderReq",
        "ProtoOACancelOrderReq",
        "ProtoOAAmendOrderReq",
        "ProtoOAAmendPositionSLTPReq",
        "ProtoOAClosePositionReq",
        "ProtoOARefreshTokenReq",
    }


# --- in -----------------------------------------------------------------------------------------------------------------------------


NUMBERS = st.sampled_from([*registry.CLASSES, 1, 127, 128, 16_383, 16_384, 2**32 - 1])
ENVELOPES = st.builds(
    lambda kind, body, rest, tail: pb.ProtoMessage(payloadType=kind, payload=body, **rest).SerializeToString() + tail,
    NUMBERS,
    st.one_of(st.binary(max_size=140), st.integers(120, 135).map(bytes)),
    st.sampled_from([{}, {}, {"clientMsgId": "id"}]),
    st.sampled_from([b"", b"", b"", b"\x12\x00", b"\x1a\x01x", b"\x08\x05", b"\x20\x01"]),
)


@given(ENVELOPES, st.integers(0, 200), st.integers(0, 255), st.booleans())
def test_an_envelope_is_read_as_protobuf_reads_it_whichever_way_it_takes(frame: bytes, place: int, byte: int, is_torn: bool) -> None:
    dialect = OpenApiDialect(lambda: 0.0)
    cut = place % (len(frame) + 1)
    changed = frame[:cut] if is_torn else frame[:cut] + bytes([byte]) + frame[cut + 1 :]
    assert dialect.decode(frame) == as_protobuf_reads(frame)
    try:
        expected = as_protobuf_reads(changed)
    except DecodeError:
        with pytest.raises(ProtocolError):
            dialect.decode(changed)
    else:
        assert dialect.decode(changed) == expected


def as_protobuf_reads(frame: bytes) -> tuple[int, str, bytes]:
    envelope = pb.ProtoMessage.FromString(frame)
    if not envelope.HasField("payloadType"):
        raise DecodeError("payloadType is required")
    return envelope.payloadType, text(envelope.clientMsgId), envelope.payload


@given(st.integers(0, 2**32 - 1), st.text(max_size=20), st.binary(max_size=50))
def test_an_envelope_is_read_back_whatever_it_holds(kind: int, correlation_id: str, body: bytes) -> None:
    correlation_id = correlation_id.encode("utf-8", "ignore").decode()
    frame = pb.ProtoMessage(payloadType=kind, clientMsgId=correlation_id, payload=body).SerializeToString()
    unknown_field = b"\x92\x03\x04more"  # field 50, as a later version of the protocol may have
    for encoded in (frame, frame + unknown_field, unknown_field + frame):
        assert OpenApiDialect(lambda: 0.0).decode(encoded) == Incoming(kind, correlation_id, body)


def test_an_envelope_without_a_payload_or_an_id_is_fine(dialect: OpenApiDialect) -> None:
    assert dialect.decode(pb.ProtoMessage(payloadType=2101).SerializeToString()) == Incoming(2101, "", b"")


@pytest.mark.parametrize(
    "frame", [b"", b"hello", b"\xff\xff\xff\xff", b"\x12\x05hello", pb.ProtoMessage(payload=b"x").SerializePartialToString()]
)
def test_a_frame_that_is_no_envelope_is_refused_with_its_length_and_not_its_content(dialect: OpenApiDialect, frame: bytes) -> None:
    with pytest.raises(ProtocolError, match=rf"^a frame of {len(frame)} bytes holds no .*: is this the protobuf port\?$"):
        dialect.decode(frame)


@given(st.binary(max_size=60))
def test_garbage_is_an_envelope_or_refused_and_nothing_else(frame: bytes) -> None:
    try:
        decoded = OpenApiDialect(lambda: 0.0).decode(frame)
    except ProtocolError:
        return
    assert [type(part) for part in decoded] == [int, str, bytes]


def test_an_id_that_is_no_utf8_is_text_all_the_same(dialect: OpenApiDialect) -> None:
    frame = pb.ProtoMessage(payloadType=51).SerializeToString() + b"\x1a\x02\xff\xfe"
    assert dialect.decode(frame) == (51, "\ufffd\ufffd", b"")


def test_a_reply_is_read_with_only_what_is_required_and_with_fields_that_nobody_knows(dialect: OpenApiDialect) -> None:
    full = pb.ProtoOATraderRes(ctidTraderAccountId=7, trader=pb.ProtoOATrader(ctidTraderAccountId=7, balance=1, depositAssetId=2))
    message = incoming(full)
    reply: Any = dialect.read_reply(TRADER, message._replace(body=message.body + b"\x92\x03\x04more"))
    assert (reply.trader.balance, reply.trader.HasField("traderLogin")) == (1, False)


def test_an_empty_reply_is_a_reply(dialect: OpenApiDialect) -> None:
    request = pb.ProtoOAApplicationAuthReq(clientId="a", clientSecret="planted")
    assert dialect.read_reply(request, Incoming(2101, "id", b"")) == pb.ProtoOAApplicationAuthRes()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Incoming(2115, "id", b""), "ProtoOATraderReq was answered with ProtoOASymbolsListRes in place of ProtoOATraderRes"),
        (Incoming(9999, "id", b""), "ProtoOATraderReq was answered with payload type 9999 in place of ProtoOATraderRes"),
        (Incoming(2131, "id", b""), "ProtoOATraderReq was answered with ProtoOASpotEvent in place of ProtoOATraderRes"),
        (Incoming(2122, "id", b"\xff\xff"), r"ProtoOATraderReq was answered with ProtoOATraderRes, which cannot be decoded \(2 bytes\)"),
        (Incoming(2142, "id", b"\xff\xff"), r"ProtoOATraderReq was answered with ProtoOAErrorRes, which cannot be decoded \(2 bytes\)"),
    ],
)
def test_what_is_no_answer_is_told_by_its_name(dialect: OpenApiDialect, answer: Incoming, told: str) -> None:
    with pytest.raises(ProtocolError, match=f"^{told}$"):
        dialect.read_reply(TRADER, answer)


@pytest.mark.parametrize(
    "refusal",
    [
        pb.ProtoErrorRes(errorCode="ENTITY_NOT_FOUND", description="why"),
        pb.ProtoOAErrorRes(errorCode="ENTITY_NOT_FOUND", description="why"),
        pb.ProtoOAOrderErrorEvent(errorCode="ENTITY_NOT_FOUND", description="why", ctidTraderAccountId=7),
    ],
    ids=lambda message: type(message).__name__,
)
@pytest.mark.parametrize("request_message", [TRADER, ORDER], ids=lambda message: type(message).__name__)
def test_each_error_message_refuses_any_request(dialect: OpenApiDialect, refusal: Message, request_message: Message) -> None:
    with pytest.raises(Rejected) as caught:
        dialect.read_reply(request_message, incoming(refusal))
    error = caught.value
    assert (error.code, error.description, error.request) == ("ENTITY_NOT_FOUND", "why", type(request_message).__name__)
    assert error.verdict == Verdict(Action.FATAL, Level.REQUEST)


@pytest.mark.parametrize("kind", [pb.ProtoOAExecutionType.ORDER_REJECTED, pb.ProtoOAExecutionType.ORDER_CANCEL_REJECTED])
def test_a_rejected_execution_is_a_refusal_with_or_without_a_code(dialect: OpenApiDialect, kind: Any) -> None:
    for code in ("NOT_ENOUGH_MONEY", ""):
        event = pb.ProtoOAExecutionEvent(ctidTraderAccountId=7, executionType=kind)
        if code:
            event.errorCode = code
        with pytest.raises(Rejected) as caught:
            dialect.read_reply(ORDER, incoming(event))
        assert caught.value.code == (code or "UNKNOWN_ERROR")
        assert caught.value.account_id == 7


def test_an_accepted_execution_with_an_error_code_is_a_refusal_and_without_one_the_reply(dialect: OpenApiDialect) -> None:
    event = pb.ProtoOAExecutionEvent(ctidTraderAccountId=7, executionType=pb.ProtoOAExecutionType.ORDER_ACCEPTED)
    assert dialect.read_reply(ORDER, incoming(event)) == event
    event.errorCode = "TRADING_DISABLED"
    with pytest.raises(Rejected, match="TRADING_DISABLED"):
        dialect.read_reply(ORDER, incoming(event))


def test_executions_and_order_errors_are_events_as_well_and_replies_are_not(dialect: OpenApiDialect) -> None:
    assert dialect.is_event(Incoming(2126, "id", b""))
    assert dialect.is_event(Incoming(2132, "id", b""))
    assert dialect.is_event(Incoming(2131, "", b""))
    assert not dialect.is_event(Incoming(2122, "id", b""))
    assert not dialect.is_event(Incoming(2142, "id", b""))
    assert not dialect.is_event(Incoming(9999, "", b""))


@pytest.mark.parametrize(
    ("request_message", "secret"),
    [
        (pb.ProtoOAApplicationAuthReq(clientId="app", clientSecret="planted/1"), "planted/1"),
        (pb.ProtoOAAccountAuthReq(ctidTraderAccountId=7, accessToken="planted/2"), "planted/2"),
        (pb.ProtoOARefreshTokenReq(refreshToken="planted/3"), "planted/3"),
        (pb.ProtoOAGetAccountListByAccessTokenReq(accessToken="planted/4"), "planted/4"),
    ],
)
def test_a_refusal_that_quotes_the_secret_of_its_request_loses_it(dialect: OpenApiDialect, request_message: Message, secret: str) -> None:
    quoted = f"the value '{secret}' ({secret.replace('/', '%2F')}) is wrong"
    for refusal in (pb.ProtoOAErrorRes(errorCode="X", description=quoted), pb.ProtoErrorRes(errorCode="X", description=quoted)):
        with pytest.raises(Rejected) as caught:
            dialect.read_reply(request_message, incoming(refusal))
        assert caught.value.description == "the value '***' (***) is wrong"
        assert "planted" not in str(caught.value)


@given(
    st.sampled_from(sorted(registry.REPLIES, key=lambda cls: cls.__name__)),
    st.sampled_from(sorted(registry.CLASSES)),
    st.binary(max_size=60),
)
def test_garbage_in_an_answer_is_a_reply_a_refusal_or_no_answer_and_nothing_else(
    request_class: type[Message], kind: int, body: bytes
) -> None:
    try:
        reply = OpenApiDialect(lambda: 0.0).read_reply(request_class(), Incoming(kind, "id", body))
    except (ProtocolError, Rejected):
        return
    assert type(reply) is registry.REPLIES[request_class]
