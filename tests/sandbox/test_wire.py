from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.encoding import UNKNOWN_ENUM_VALUE, UNKNOWN_NUMBER, encode_message
from tradesession.sandbox.ctrader.wire import (
    Envelope,
    FrameReader,
    FrameTooLongError,
    WireError,
    decode_envelope,
    decode_fields,
    decode_varint,
    encode_envelope,
    encode_frame,
    encode_varint,
)

envelopes = st.builds(Envelope, st.integers(0, 2**32 - 1), st.none() | st.binary(max_size=300), st.none() | st.text(max_size=40))


@given(envelopes)
def test_an_envelope_reads_the_same_in_the_generated_class(envelope: Envelope) -> None:
    theirs = pb.ProtoMessage.FromString(encode_envelope(envelope))
    assert theirs.payloadType == envelope.payload_type
    assert (theirs.payload if theirs.HasField("payload") else None) == envelope.payload
    assert (theirs.clientMsgId if theirs.HasField("clientMsgId") else None) == envelope.message_id


@given(envelopes)
def test_what_the_generated_class_writes_is_read_back(envelope: Envelope) -> None:
    theirs = pb.ProtoMessage(payloadType=envelope.payload_type, payload=envelope.payload, clientMsgId=envelope.message_id)
    assert decode_envelope(theirs.SerializeToString()) == envelope


@given(envelopes, st.integers(4, 2**29 - 1), st.integers(-(2**63), 2**64 - 1))
def test_unknown_fields_of_an_envelope_pass_by(envelope: Envelope, number: int, value: int) -> None:
    unknown = [
        encode_varint(number << 3) + encode_varint(value),
        encode_varint(number << 3 | 1) + b"12345678",
        encode_varint(number << 3 | 2) + encode_varint(3) + b"abc",
        encode_varint(number << 3 | 5) + b"1234",
    ]
    assert decode_envelope(b"".join(unknown) + encode_envelope(envelope) + b"".join(unknown)) == envelope


@given(st.binary(max_size=200))
def test_any_bytes_are_an_envelope_or_a_wire_error(data: bytes) -> None:
    try:
        read = decode_envelope(data)
    except WireError:
        read = Envelope(0)
    assert isinstance(read, Envelope)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "payloadType is missing"),
        (b"\x08", "end within a number"),
        (b"\xff" * 11, "more than ten bytes"),
        (b"\x00\x01", "field number 0"),
        (b"\x08\x33\x12\x05ab", "end within a field"),
        (b"\x08\x33\x1a\x01\xff", "not UTF-8"),
        (b"\x0a\x01a", "wrong wire type"),
        (b"\x0b", "wire type 3"),
    ],
)
def test_bytes_that_are_no_envelope_are_refused_with_the_reason(data: bytes, complaint: str) -> None:
    with pytest.raises(WireError, match=complaint):
        decode_envelope(data)


@given(st.integers(0, 2**64 - 1))
def test_a_varint_is_read_back(value: int) -> None:
    data = encode_varint(value)
    assert decode_varint(data, 0) == (value, len(data))


@given(st.lists(st.binary(max_size=50), max_size=10), st.data())
def test_frames_come_out_whole_however_they_are_cut(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(encode_frame(frame) for frame in frames)
    reader = FrameReader(50)
    found: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == frames


def test_a_frame_over_the_cap_is_refused_by_its_length_alone_and_the_one_before_it_is_kept() -> None:
    reader = FrameReader(10)
    frames = reader.feed(encode_frame(b"short") + (11).to_bytes(4, "big"))
    assert next(iter(frames)) == b"short"
    with pytest.raises(FrameTooLongError, match="11 bytes"):
        next(iter(frames))


def test_unknown_fields_and_enum_values_are_written_at_every_depth() -> None:
    message = pb.ProtoOASymbolByIdRes(
        ctidTraderAccountId=1,
        symbol=[pb.ProtoOASymbol(symbolId=number, digits=5, pipPosition=4, tradingMode=pb.ProtoOATradingMode.ENABLED) for number in (1, 2)],
    )
    plain = encode_message(message)
    assert pb.ProtoOASymbolByIdRes.FromString(plain) == message
    strange = encode_message(message, unknown_fields=True, unknown_enum_values=True)
    read = pb.ProtoOASymbolByIdRes.FromString(strange)
    assert [one.symbolId for one in read.symbol] == [1, 2]
    assert [one.HasField("tradingMode") for one in read.symbol] == [False, False]
    symbols = [bytes(value) for number, value in decode_fields(strange) if number == 3 and isinstance(value, bytes)]
    assert [dict(decode_fields(one))[27] for one in symbols] == [UNKNOWN_ENUM_VALUE] * 2
    assert all(UNKNOWN_NUMBER in dict(decode_fields(data)) for data in (strange, *symbols))


def test_unknown_fields_leave_known_enum_values_alone() -> None:
    symbol = pb.ProtoOASymbol(symbolId=1, digits=5, pipPosition=4, tradingMode=pb.ProtoOATradingMode.CLOSE_ONLY_MODE)
    data = encode_message(symbol, unknown_fields=True)
    assert pb.ProtoOASymbol.FromString(data).tradingMode == pb.ProtoOATradingMode.CLOSE_ONLY_MODE
    assert UNKNOWN_NUMBER in dict(decode_fields(data))


def test_a_required_enum_keeps_its_value() -> None:
    event = pb.ProtoOAExecutionEvent(ctidTraderAccountId=1, executionType=pb.ProtoOAExecutionType.ORDER_FILLED)
    read = pb.ProtoOAExecutionEvent.FromString(encode_message(event, unknown_enum_values=True))
    assert read.executionType == pb.ProtoOAExecutionType.ORDER_FILLED
