"""The registry: numbers, classes, replies, quotas, and what the generated classes do with bytes."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, cast, get_overloads, get_type_hints

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from hypothesis import given
from hypothesis import strategies as st

from tradesession.ctrader import messages as pb
from tradesession.ctrader import registry
from tradesession.ctrader._requests import TypedRequests

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

ALL_CLASSES = [cast("type[Message]", getattr(pb, name)) for name in pb.__all__ if isinstance(getattr(pb, name), type)]
INTEGERS = {
    FieldDescriptorProto.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptorProto.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptorProto.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptorProto.TYPE_UINT64: (0, 2**64 - 1),
}


def definition_of(cls: type[Message]) -> DescriptorProto:
    definition = DescriptorProto()
    cls.DESCRIPTOR.CopyToProto(definition)
    return definition


def build(cls: type[Message], value_of: Callable[[FieldDescriptorProto], Any], *, optional: Callable[[], bool]) -> Message:
    """Fill a message: required fields always, optional ones as `optional` says, payloadType never."""
    values: dict[str, Any] = {}
    for field in definition_of(cls).field:
        if field.name == "payloadType" and cls is not pb.ProtoMessage:
            continue
        if field.label != FieldDescriptorProto.LABEL_REQUIRED and not optional():
            continue
        if field.type == FieldDescriptorProto.TYPE_MESSAGE:
            inner = cast("type[Message]", getattr(pb, field.type_name.rpartition(".")[2]))
            value: Any = build(inner, value_of, optional=optional)
        else:
            value = value_of(field)
        values[field.name] = [value, value] if field.label == FieldDescriptorProto.LABEL_REPEATED else value
    return cls(**values)


def enum_numbers(field: FieldDescriptorProto) -> list[int]:
    return list(getattr(pb, field.type_name.rpartition(".")[2]).values())


def filled(cls: type[Message]) -> Message:
    """A message with every field set, each to a value of its own."""
    numbers = count(7)

    def value_of(field: FieldDescriptorProto) -> Any:
        if field.type == FieldDescriptorProto.TYPE_ENUM:
            return enum_numbers(field)[-1]
        return {
            FieldDescriptorProto.TYPE_STRING: f"text {next(numbers)}",
            FieldDescriptorProto.TYPE_BYTES: b"\x00\xff",
            FieldDescriptorProto.TYPE_BOOL: True,
            FieldDescriptorProto.TYPE_DOUBLE: next(numbers) + 0.25,
        }.get(field.type, next(numbers))

    return build(cls, value_of, optional=lambda: True)


@st.composite
def any_message(draw: st.DrawFn) -> Message:
    def value_of(field: FieldDescriptorProto) -> Any:
        if field.type in INTEGERS:
            return draw(st.integers(*INTEGERS[field.type]))
        if field.type == FieldDescriptorProto.TYPE_ENUM:
            return draw(st.sampled_from(enum_numbers(field)))
        if field.type == FieldDescriptorProto.TYPE_DOUBLE:
            return draw(st.floats(allow_nan=False))
        if field.type == FieldDescriptorProto.TYPE_BOOL:
            return draw(st.booleans())
        return draw(st.binary(max_size=20) if field.type == FieldDescriptorProto.TYPE_BYTES else st.text(max_size=20))

    return build(draw(st.sampled_from(ALL_CLASSES)), value_of, optional=lambda: draw(st.booleans()))


# Numbers and classes


def test_payload_types_and_classes_are_one_to_one() -> None:
    assert len(registry.CLASSES) == len(registry.PAYLOAD_TYPES) == 91
    for number, cls in registry.CLASSES.items():
        assert registry.class_for(number) is cls
        assert registry.payload_type_of(cls) == registry.payload_type_of(cls()) == number
        assert registry.name_of(number) == cls.__name__


@pytest.mark.parametrize(
    ("number", "cls"),
    [
        (50, pb.ProtoErrorRes),
        (51, pb.ProtoHeartbeatEvent),
        (2123, pb.ProtoOATraderUpdatedEvent),
        (2142, pb.ProtoOAErrorRes),
        (2149, pb.ProtoOAGetAccountListByAccessTokenReq),
        (2150, pb.ProtoOAGetAccountListByAccessTokenRes),
        (2160, pb.ProtoOASymbolCategoryListReq),
        (2161, pb.ProtoOASymbolCategoryListRes),
        (2177, pb.ProtoOAGetDynamicLeverageByIDReq),
        (2178, pb.ProtoOAGetDynamicLeverageByIDRes),
    ],
)
def test_a_class_whose_name_differs_from_its_payload_type_is_found(number: int, cls: type[Message]) -> None:
    assert registry.class_for(number) is cls


@pytest.mark.parametrize("number", [0, 5, 2189, 9999])
def test_an_unknown_payload_type_is_no_error(number: int) -> None:
    assert registry.class_for(number) is None
    assert registry.name_of(number) == f"payload type {number}"
    assert not registry.is_historical(number)


@pytest.mark.parametrize("part", [pb.ProtoOATrader, pb.ProtoMessage])
def test_what_does_not_travel_by_itself_has_no_payload_type(part: type[Message]) -> None:
    with pytest.raises(TypeError, match=f"{part.__name__} has no payload type"):
        registry.payload_type_of(part)
    with pytest.raises(TypeError, match=part.__name__):
        registry.payload_type_of(part())


def test_the_tables_cannot_be_changed() -> None:
    for mapping in (registry.CLASSES, registry.PAYLOAD_TYPES, registry.REPLIES, registry.SECRET_FIELDS):
        with pytest.raises(TypeError):
            cast("dict[Any, Any]", mapping)[1] = 1


# Replies, events, quotas


def test_every_request_has_a_reply_and_every_reply_a_request() -> None:
    requests = {cls for cls in registry.PAYLOAD_TYPES if cls.__name__.endswith("Req")}
    replies = {cls for cls in registry.PAYLOAD_TYPES if cls.__name__.endswith("Res")}
    assert set(registry.REPLIES) == requests
    assert set(registry.REPLIES.values()) == replies - {pb.ProtoErrorRes, pb.ProtoOAErrorRes} | {pb.ProtoOAExecutionEvent}
    assert len(registry.REPLIES) == 40


def test_a_reply_has_the_name_of_its_request_unless_it_is_an_order() -> None:
    for request, reply in registry.REPLIES.items():
        assert registry.reply_for(request) is reply
        if request not in registry.ORDER_REQUESTS:
            assert reply.__name__ == request.__name__.removesuffix("Req") + "Res"


def test_the_five_order_requests_are_answered_by_an_execution_event() -> None:
    assert {registry.payload_type_of(cls) for cls in registry.ORDER_REQUESTS} == {2106, 2108, 2109, 2110, 2111}
    assert {registry.reply_for(cls) for cls in registry.ORDER_REQUESTS} == {pb.ProtoOAExecutionEvent}


@pytest.mark.parametrize("cls", [pb.ProtoOATraderRes, pb.ProtoOASpotEvent, pb.ProtoOATrader, pb.ProtoOAErrorRes])
def test_what_is_no_request_has_no_reply(cls: type[Message]) -> None:
    assert registry.reply_for(cls) is None


def test_events_are_exactly_the_messages_that_say_so() -> None:
    assert {cls for cls in registry.PAYLOAD_TYPES if cls.__name__.endswith("Event")} == registry.EVENTS
    assert registry.is_event(pb.ProtoOAExecutionEvent)
    assert not registry.is_event(pb.ProtoOATraderRes)


def test_history_requests_are_the_documented_three_and_the_four_like_them() -> None:
    assert {2133, 2137, 2145} == registry.HISTORICAL_DOCUMENTED
    assert {2133, 2137, 2145, 2143, 2175, 2179, 2183} == registry.HISTORICAL
    assert registry.is_historical(2137)
    assert not registry.is_historical(2121)


def test_all_requests_but_five_are_bound_to_an_account() -> None:
    free = {cls for cls in registry.REPLIES if not registry.is_account_bound(cls)}
    assert free == {
        pb.ProtoOAApplicationAuthReq,
        pb.ProtoOAVersionReq,
        pb.ProtoOAGetAccountListByAccessTokenReq,
        pb.ProtoOAGetCtidProfileByTokenReq,
        pb.ProtoOARefreshTokenReq,
    }
    assert registry.is_account_bound(pb.ProtoOASpotEvent)
    assert not registry.is_account_bound(pb.ProtoOAErrorRes)


def test_the_overloads_of_request_are_the_replies_of_the_registry() -> None:
    typed = {}
    for overload in get_overloads(TypedRequests.request):
        hints = get_type_hints(overload)
        typed[hints["message"]] = hints["return"]
        assert hints["timeout"] == float | None
    assert typed == dict(registry.REPLIES)


async def test_request_hands_on_the_message_the_deadline_and_whether_it_may_wait() -> None:
    class Recorder(TypedRequests):
        async def _request(self, message: Message, timeout: float | None, *, wait: bool = True) -> Message:
            self.seen = (message, timeout, wait)
            return pb.ProtoOAVersionRes(version="1")

    recorder = Recorder()
    question = pb.ProtoOAVersionReq()
    assert (await recorder.request(question, timeout=2.5, wait=False)).version == "1"
    assert recorder.seen[0] is question
    assert recorder.seen[1:] == (2.5, False)
    await recorder.request(question)
    assert recorder.seen[1:] == (None, True)


# Bytes


@pytest.mark.parametrize("cls", ALL_CLASSES, ids=lambda cls: cls.__name__)
def test_a_message_with_every_field_survives_the_wire(cls: type[Message]) -> None:
    message = filled(cls)
    again = cls.FromString(message.SerializeToString())
    assert again == message
    expected = {field.name for field in definition_of(cls).field} - (set() if cls is pb.ProtoMessage else {"payloadType"})
    assert {field.name for field, _ in again.ListFields()} == expected


@given(any_message())
def test_any_message_survives_the_wire(message: Message) -> None:
    assert type(message).FromString(message.SerializeToString()) == message


@pytest.mark.parametrize("cls", registry.PAYLOAD_TYPES, ids=lambda cls: cls.__name__)
def test_the_payload_type_inside_is_read_as_a_default_and_written_only_when_set(cls: type[Message]) -> None:
    message = cast("pb.ProtoOAVersionReq", cls())
    assert message.payloadType == registry.payload_type_of(cls)
    assert message.SerializePartialToString() == b""
    message.payloadType = message.payloadType
    assert message.SerializePartialToString() != b""


def test_unknown_fields_survive() -> None:
    unknown = b"\xb8\x01\x05"  # field 23, varint 5: the server sends such a field in an account
    raw = pb.ProtoOATrader(ctidTraderAccountId=1, balance=2, depositAssetId=3).SerializeToString() + unknown
    assert pb.ProtoOATrader.FromString(raw).SerializeToString().endswith(unknown)


def test_an_unknown_value_of_an_optional_enum_reads_as_the_default_and_survives() -> None:
    raw = pb.ProtoOATrendbar(volume=1).SerializeToString() + b"\x20\x63"  # period = 99
    bar = pb.ProtoOATrendbar.FromString(raw)
    assert not bar.HasField("period")
    assert bar.period == pb.ProtoOATrendbarPeriod.M1
    assert bar.SerializeToString() == raw


def test_an_unknown_value_of_a_required_enum_is_parsed_and_seen_as_absent() -> None:
    raw = b"\x10\x01\x18\x63"  # account 1, executionType = 99
    event = pb.ProtoOAExecutionEvent.FromString(raw)
    assert event.ctidTraderAccountId == 1
    assert not event.HasField("executionType")
    assert event.SerializePartialToString() == raw


# Secrets


def test_every_field_that_holds_a_secret_is_known() -> None:
    assert dict(registry.SECRET_FIELDS) == {
        pb.ProtoMessage: ("payload",),
        pb.ProtoOAApplicationAuthReq: ("clientSecret",),
        pb.ProtoOAAccountAuthReq: ("accessToken",),
        pb.ProtoOAGetAccountListByAccessTokenReq: ("accessToken",),
        pb.ProtoOAGetAccountListByAccessTokenRes: ("accessToken",),
        pb.ProtoOAGetCtidProfileByTokenReq: ("accessToken",),
        pb.ProtoOARefreshTokenReq: ("refreshToken",),
        pb.ProtoOARefreshTokenRes: ("accessToken", "refreshToken"),
    }
    for cls in ALL_CLASSES:
        named = [f.name for f in definition_of(cls).field if f.name.endswith(("Token", "Secret", "token", "secret"))]
        assert set(named) <= set(registry.SECRET_FIELDS.get(cls, ()))


def test_a_described_message_shows_no_secret_and_stays_itself() -> None:
    message = pb.ProtoOARefreshTokenRes(accessToken="planted-1", tokenType="bearer", expiresIn=60, refreshToken="planted-2")
    text = registry.describe(message)
    assert text == ('ProtoOARefreshTokenRes(tokenType: "bearer" expiresIn: 60 accessToken: (hidden) refreshToken: (hidden))')
    assert message.accessToken == "planted-1"


def test_a_described_envelope_shows_no_payload() -> None:
    inner = pb.ProtoOAAccountAuthReq(ctidTraderAccountId=1, accessToken="planted").SerializeToString()
    text = registry.describe(pb.ProtoMessage(payloadType=2102, payload=inner, clientMsgId="a"))
    assert text == 'ProtoMessage(payloadType: 2102 clientMsgId: "a" payload: (hidden))'


def test_a_described_message_without_secrets_shows_all() -> None:
    assert registry.describe(pb.ProtoOAVersionRes(version="88")) == 'ProtoOAVersionRes(version: "88")'
    assert registry.describe(pb.ProtoHeartbeatEvent()) == "ProtoHeartbeatEvent()"
    assert registry.describe(pb.ProtoOAAccountAuthReq(ctidTraderAccountId=1)) == "ProtoOAAccountAuthReq(ctidTraderAccountId: 1)"
