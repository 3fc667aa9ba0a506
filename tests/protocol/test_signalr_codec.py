"""Records of the hub protocol: framing under any chunking, and the JSON of each kind both ways."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.errors import ConfigurationError, InvalidRequest, ProtocolError
from tradesession.protocol.signalr.codec import MAX_DEPTH, JsonCodec
from tradesession.protocol.signalr.framing import SEPARATOR, RecordDecoder
from tradesession.protocol.signalr.records import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Ping,
    Record,
    Sequence,
    StreamInvocation,
    StreamItem,
    Unknown,
)

CODEC = JsonCodec()

# --- framing --------------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary().filter(lambda data: SEPARATOR not in data)), st.lists(st.integers(0, 300)))
def test_any_chunking_gives_the_same_records(records: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(record + SEPARATOR for record in records)
    decoder = RecordDecoder()
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    assert [record for start, stop in pairwise(places) for record in decoder.feed(stream[start:stop])] == records
    assert decoder.buffered == 0


def test_a_torn_record_waits_for_its_end_and_can_be_forgotten() -> None:
    decoder = RecordDecoder()
    assert decoder.feed(b"one\x1etw") == [b"one"]
    assert decoder.buffered == 2
    assert decoder.feed(b"o\x1e") == [b"two"]
    decoder.feed(b"torn by a socket")
    decoder.clear()
    assert decoder.feed(b"whole\x1e") == [b"whole"]


@pytest.mark.parametrize(
    "pieces", [[b"x" * 11], [b"x" * 11 + b"\x1e"], [b"x" * 6, b"x" * 5], [b"x" * 6, b"x" * 5 + b"\x1e"], [b"a\x1e" + b"x" * 11]]
)
def test_a_record_over_the_cap_is_refused_whole_or_not(pieces: list[bytes]) -> None:
    decoder = RecordDecoder(max_record=10)
    assert decoder.feed(b"y" * 10 + SEPARATOR) == [b"y" * 10]
    *before, last = pieces
    for piece in before:
        assert decoder.feed(piece) == []
    with pytest.raises(ProtocolError, match=r"11 bytes .* max_record must be raised"):
        decoder.feed(last)
    assert decoder.buffered == 0


def test_a_cap_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_record=0"):
        RecordDecoder(0)


# --- both ways ------------------------------------------------------------------------------------------------------------------------

text = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)
ids = st.lists(names, max_size=3).map(tuple)
records = st.one_of(
    st.builds(Invocation, text, st.lists(values), st.none() | names, ids),
    st.builds(StreamItem, names, values),
    st.builds(Completion, names, values, st.none(), st.just(True)),
    st.builds(Completion, names, st.none(), st.none() | text, st.just(False)),
    st.builds(StreamInvocation, text, st.lists(values), names, ids),
    st.builds(CancelInvocation, names),
    st.just(Ping()),
    st.builds(Close, st.none() | text, st.booleans()),
    st.builds(Ack, st.integers(0, 2**40)),
    st.builds(Sequence, st.integers(0, 2**40)),
)


@given(st.lists(records))
def test_what_is_written_is_read_back_the_same(written: list[Record]) -> None:
    stream = b"".join(CODEC.encode(record) for record in written)
    assert [CODEC.decode(record) for record in RecordDecoder().feed(stream)] == written


@given(records, st.dictionaries(st.text(min_size=20, max_size=30), values, max_size=3), st.randoms())
def test_unknown_members_and_any_order_of_members_are_taken(record: Record, more: dict[str, Any], random: Any) -> None:
    members = list({**json.loads(CODEC.encode(record)[:-1]), **more}.items())
    random.shuffle(members)
    assert CODEC.decode(json.dumps(dict(members)).encode()) == record


@pytest.mark.parametrize(
    ("record", "members"),
    [
        (Invocation("Send", [1, "a"]), {"type": 1, "target": "Send", "arguments": [1, "a"]}),
        (
            Invocation("Sum", [], "7", ("8", "9")),
            {"type": 1, "invocationId": "7", "target": "Sum", "arguments": [], "streamIds": ["8", "9"]},
        ),
        (StreamItem("8", {"a": None}), {"type": 2, "invocationId": "8", "item": {"a": None}}),
        (Completion("s1", None), {"type": 3, "invocationId": "s1", "result": None}),
        (Completion("8", has_result=False), {"type": 3, "invocationId": "8"}),
        (Completion("8", error="no"), {"type": 3, "invocationId": "8", "error": "no"}),
        (StreamInvocation("Count", [3], "1"), {"type": 4, "invocationId": "1", "target": "Count", "arguments": [3]}),
        (CancelInvocation("1"), {"type": 5, "invocationId": "1"}),
        (Ping(), {"type": 6}),
        (Close(), {"type": 7}),
        (Close("why", allow_reconnect=True), {"type": 7, "error": "why", "allowReconnect": True}),
        (Ack(3), {"type": 8, "sequenceId": 3}),
        (Sequence(4), {"type": 9, "sequenceId": 4}),
    ],
)
def test_each_record_has_the_members_of_the_protocol(record: Record, members: dict[str, Any]) -> None:
    data = CODEC.encode(record)
    assert data.endswith(SEPARATOR)
    assert json.loads(data[:-1]) == members


# --- out ------------------------------------------------------------------------------------------------------------------------------


class Side(enum.StrEnum):
    BUY = "buy"


def test_what_python_has_and_json_has_not_is_written_as_dotnet_reads_it() -> None:
    platform = uuid.UUID("5a1b0c2d-0000-4000-8000-000000000004")
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=dt.UTC)
    data = CODEC.encode(Invocation("Connect", [platform, moment, moment.date(), Side.BUY, (1, 2)]))
    assert json.loads(data[:-1])["arguments"] == [str(platform), "2026-01-02T03:04:05.000600+00:00", "2026-01-02", "buy", [1, 2]]


def test_separators_within_texts_do_not_end_a_record() -> None:
    data = CODEC.encode(Invocation("Say", ["a\x1eb"]))
    assert data.count(SEPARATOR) == 1
    assert CODEC.decode(data[:-1]) == Invocation("Say", ["a\x1eb"])


circular: list[Any] = []
circular.append(circular)


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        (object(), "'Send' cannot be written in JSON .object is no JSON value"),
        ({(1, 2): 3}, "cannot be written in JSON"),
        (b"bytes", "bytes is no JSON value"),
        (float("nan"), "cannot express"),
        (float("inf"), "cannot express"),
        (circular, "cannot express"),
        ("\ud800", "half a surrogate pair"),
    ],
)
def test_what_cannot_travel_is_refused_by_name_before_it_leaves(argument: object, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        CODEC.encode(Invocation("Send", [argument]))


def nested(depth: int) -> Any:
    value: Any = '[{ in a text do not count, nor does \\" }]' * 40
    for _ in range(depth):
        value = [value]
    return value


def test_nesting_that_a_server_does_not_read_is_refused() -> None:
    CODEC.encode(Completion("s1", nested(MAX_DEPTH - 1)))
    CODEC.encode(Invocation("Echo", [[]] * 100))
    with pytest.raises(InvalidRequest, match="a Completion is nested over 64 deep"):
        CODEC.encode(Completion("s1", nested(MAX_DEPTH)))


def test_an_unknown_type_cannot_be_sent() -> None:
    with pytest.raises(KeyError):
        CODEC.encode(Unknown(99))


# --- in -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"type":"1"}',
        b'{"type":true}',
        b'{"type":1.0}',
        b'{"type":6} {"type":6}',
        b'{"type":2,"invocationId":"1","item":NaN}',
        b'{"type":1,"arguments":[]}',
        b'{"type":1,"target":1,"arguments":[]}',
        b'{"type":1,"target":"X"}',
        b'{"type":1,"target":"X","arguments":{}}',
        b'{"type":1,"target":"X","arguments":[],"invocationId":1}',
        b'{"type":1,"target":"X","arguments":[],"streamIds":"1"}',
        b'{"type":1,"target":"X","arguments":[],"streamIds":[1]}',
        b'{"type":2,"invocationId":"1"}',
        b'{"type":2,"item":1}',
        b'{"type":2,"invocationId":1,"item":1}',
        b'{"type":3}',
        b'{"type":3,"invocationId":null}',
        b'{"type":3,"invocationId":"1","error":1}',
        b'{"type":3,"invocationId":"1","error":"x","result":1}',
        b'{"type":4,"target":"X","arguments":[]}',
        b'{"type":5}',
        b'{"type":7,"error":{}}',
        b'{"type":7,"allowReconnect":1}',
        b'{"type":8}',
        b'{"type":8,"sequenceId":"1"}',
        b'{"type":9,"sequenceId":-1}',
        b'{"type":9,"sequenceId":true}',
        b"[" * 100_000,
    ],
)
def test_malformed_records_are_protocol_errors_that_show_nothing(data: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"^the server sent a record") as caught:
        CODEC.decode(data)
    assert caught.value.__context__ is None


@given(st.binary())
def test_noise_is_a_record_or_a_protocol_error(data: bytes) -> None:
    try:
        record = CODEC.decode(data)
    except ProtocolError as error:
        shown: object = error.__context__
    else:
        shown = record
    assert shown is None or isinstance(shown, (Ping, Unknown))


def test_nulls_stand_for_what_is_absent() -> None:
    assert CODEC.decode(b'{"type":1,"target":"X","arguments":[],"invocationId":null,"streamIds":null,"headers":null}') == Invocation(
        "X", []
    )
    assert CODEC.decode(b'{"type":3,"invocationId":"1","error":null,"result":2}') == Completion("1", 2)
    assert CODEC.decode(b'{"type":3,"invocationId":"1","error":"x","result":null}') == Completion("1", None, "x")
    assert CODEC.decode(b'{"type":7,"error":null,"allowReconnect":null}') == Close()


def test_types_of_the_future_are_told_apart() -> None:
    assert CODEC.decode(b'{"type":10,"whatever":1}') == Unknown(10)


def test_numbers_with_a_point_may_become_decimals() -> None:
    codec = JsonCodec(Decimal)
    record = codec.decode(b'{"type":2,"invocationId":"1","item":[1.10,2]}')
    assert isinstance(record, StreamItem)
    assert [str(number) for number in record.item] == ["1.10", "2"]
    with pytest.raises(ProtocolError):
        codec.decode(b'{"type":2,"invocationId":"1","item":1e99999999999999999999999}')


def test_payloads_do_not_show() -> None:
    shown = repr(
        [Invocation("X", ["secret"]), StreamItem("1", "secret"), Completion("1", "secret"), StreamInvocation("X", ["secret"], "1")]
    )
    assert "secret" not in shown
    assert "X" in shown
