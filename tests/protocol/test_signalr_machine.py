"""One hub connection as a pure machine: what is live, what is late, what is nobody's; and stateful reconnect within it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tradesession.errors import InvalidRequest, ProtocolError
from tradesession.protocol.signalr.machine import REMEMBERED, Accepted, HubEvent, HubMachine, Late, Phase, Refused, Stray
from tradesession.protocol.signalr.records import CancelInvocation, Close, Completion, Invocation, StreamItem
from tradesession.protocol.signalr.replay import Replay


def wire(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\x1e" for record in records)


def sent(data: bytes | None) -> list[dict[str, Any]]:
    assert data is not None
    assert data.endswith(b"\x1e")
    return [json.loads(record) for record in data.split(b"\x1e")[:-1]]


def opened(**options: Any) -> HubMachine:
    machine = HubMachine(**options)
    machine.handshake()
    assert list(machine.receive(b"{}\x1e")) == [Accepted()]
    return machine


def received(machine: HubMachine, *records: dict[str, Any]) -> list[HubEvent]:
    return list(machine.receive(wire(*records)))


# --- handshake ------------------------------------------------------------------------------------------------------------------------


def test_the_handshake_asks_for_json_and_for_the_version_that_every_server_takes() -> None:
    assert sent(HubMachine().handshake()) == [{"protocol": "json", "version": 1}]
    assert sent(HubMachine(replay=Replay()).handshake()) == [{"protocol": "json", "version": 2}]


def test_records_glued_to_the_handshake_are_not_lost() -> None:
    machine = HubMachine()
    push = {"type": 1, "target": "OnConnectionStatus", "arguments": [{"connected": True}]}
    assert list(machine.receive(b'{"minorVersion":0}\x1e' + wire(push, {"type": 6}))) == [
        Accepted(),
        Invocation("OnConnectionStatus", [{"connected": True}]),
    ]
    assert machine.phase is Phase.OPEN


@pytest.mark.parametrize(("error", "words"), [('"the reason"', "the reason"), ("1", "no readable reason")])
def test_a_refused_handshake_ends_it(error: str, words: str) -> None:
    machine = HubMachine()
    (event,) = machine.receive(b'{"error":' + error.encode() + b'}\x1e{"type":6}\x1e')
    assert isinstance(event, Refused)
    assert words in event.error
    assert "reason" not in repr(event)
    assert machine.phase is Phase.CLOSED
    assert received(machine, {"type": 6}) == []


@pytest.mark.parametrize("data", [b'{"type":6}\x1e', b"nonsense\x1e", b"[]\x1e", b"\x1e"])
def test_anything_else_in_its_place_is_an_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(HubMachine().receive(data))


# --- calls ----------------------------------------------------------------------------------------------------------------------------


def test_a_call_is_answered_once() -> None:
    machine = opened()
    call = machine.invoke("Echo", [1])
    assert sent(call.data) == [{"type": 1, "invocationId": call.invocation_id, "target": "Echo", "arguments": [1]}]
    assert machine.live == 1
    answer = {"type": 3, "invocationId": call.invocation_id, "result": 1}
    assert received(machine, answer, answer) == [
        Completion(call.invocation_id, 1),
        Stray("completion of a call or stream that is not open"),
    ]
    assert machine.live == 0


def test_ids_are_unique_across_calls_streams_and_uploads() -> None:
    machine = opened()
    outgoing = [machine.invoke("A", [], 2), machine.send("B", [], 1), machine.stream("C", [], 1), machine.invoke("D", [])]
    ids = [one.invocation_id for one in outgoing if one.invocation_id] + [upload for one in outgoing for upload in one.stream_ids]
    assert len(ids) == len(set(ids)) == 7
    assert "invocationId" not in sent(outgoing[1].data)[0]


def test_a_call_that_cannot_travel_leaves_no_trace() -> None:
    machine = opened(send_limit=100)
    for refused in (object(), "x" * 100):
        with pytest.raises(InvalidRequest):
            machine.invoke("Echo", [refused])
        with pytest.raises(InvalidRequest):
            machine.stream("Echo", [refused])
        with pytest.raises(InvalidRequest):
            machine.send("Echo", [refused])
    assert machine.live == 0


def test_the_longest_record_that_a_server_takes_may_leave_and_no_longer_one() -> None:
    machine = opened(send_limit=1000)
    room = 1000 - len(machine.send("Echo", [""]).data)
    assert len(machine.send("Echo", ["x" * room]).data) == 1000
    with pytest.raises(InvalidRequest, match=r"1001 bytes is over the 1000 .* raise send_limit"):
        machine.send("Echo", ["x" * (room + 1)])
    assert len(opened(send_limit=None).send("Echo", ["x" * 100_000]).data) > 100_000


def test_an_abandoned_call_is_cancelled_and_its_answer_dropped() -> None:
    machine = opened()
    call = machine.invoke("Slow", [])
    assert sent(machine.abandon(call.invocation_id, "a slow one")) == [{"type": 5, "invocationId": call.invocation_id}]
    assert machine.abandon(call.invocation_id) is None
    late = Late(call.invocation_id, "a slow one")
    assert received(machine, {"type": 3, "invocationId": call.invocation_id, "result": None}) == [late]
    assert received(machine, {"type": 3, "invocationId": call.invocation_id}) == [Stray("completion of a call or stream that is not open")]


def test_abandoned_calls_are_remembered_to_a_limit() -> None:
    machine = opened()
    first, *_, last = [machine.stream("Count", []).invocation_id for _ in range(REMEMBERED + 1)]
    for number in range(1, REMEMBERED + 2):
        machine.abandon(str(number))
    item = {"type": 2, "item": 0}
    assert received(machine, {**item, "invocationId": first}) == [Stray("item of a call or stream that is not open")]
    assert received(machine, {**item, "invocationId": last}) == []


# --- streams --------------------------------------------------------------------------------------------------------------------------


def test_items_come_until_the_completion_and_not_for_plain_calls() -> None:
    machine = opened()
    stream, call = machine.stream("Count", [2]), machine.invoke("Echo", [1])
    assert sent(stream.data)[0]["type"] == 4
    item = {"type": 2, "invocationId": stream.invocation_id, "item": 0}
    assert received(machine, item, {"type": 3, "invocationId": stream.invocation_id}, item) == [
        StreamItem(stream.invocation_id, 0),
        Completion(stream.invocation_id, has_result=False),
        Stray("item of a call or stream that is not open"),
    ]
    assert received(machine, {**item, "invocationId": call.invocation_id}) == [Stray("item of a call or stream that is not open")]
    assert machine.live == 1


def test_items_of_a_cancelled_stream_are_dropped_silently() -> None:
    machine = opened()
    stream = machine.stream("Count", [2])
    machine.abandon(stream.invocation_id)
    late = {"type": 2, "invocationId": stream.invocation_id, "item": 0}
    assert received(machine, late, late, {"type": 3, "invocationId": stream.invocation_id}) == [Late(stream.invocation_id)]


# --- uploads --------------------------------------------------------------------------------------------------------------------------


def test_an_upload_is_items_and_an_end() -> None:
    machine = opened()
    call = machine.invoke("Sum", [], 2)
    first, second = call.stream_ids
    assert sent(call.data)[0]["streamIds"] == [first, second]
    assert sent(machine.upload(first, 1)) == [{"type": 2, "invocationId": first, "item": 1}]
    assert sent(machine.end_upload(first)) == [{"type": 3, "invocationId": first}]
    assert (machine.upload(first, 2), machine.end_upload(first)) == (None, None)
    assert sent(machine.end_upload(second, "broken")) == [{"type": 3, "invocationId": second, "error": "broken"}]


@pytest.mark.parametrize("how", ["answered", "abandoned"])
def test_an_upload_ends_with_its_call(how: str) -> None:
    machine = opened()
    call = machine.stream("Mirror", [], 1)
    if how == "answered":
        received(machine, {"type": 3, "invocationId": call.invocation_id, "error": "enough"})
    else:
        machine.abandon(call.invocation_id)
    assert machine.upload(call.stream_ids[0], 1) is None
    assert machine.end_upload(call.stream_ids[0]) is None


def test_an_upload_to_a_call_without_answer_ends_by_itself() -> None:
    machine = opened()
    (upload,) = machine.send("Take", [], 1).stream_ids
    assert machine.upload(upload, 1) is not None
    assert machine.end_upload(upload) is not None


# --- calls of the server --------------------------------------------------------------------------------------------------------------


def test_a_call_of_the_server_is_answered_or_refused_once() -> None:
    machine = opened()
    ask = {"type": 1, "target": "Ask", "arguments": ["?"], "invocationId": "s1"}
    assert received(machine, ask) == [Invocation("Ask", ["?"], "s1")]
    with pytest.raises(InvalidRequest):
        machine.answer("s1", object())
    assert sent(machine.answer("s1", None)) == [{"type": 3, "invocationId": "s1", "result": None}]
    assert (machine.answer("s1", 1), machine.refuse("s1", "no")) == (None, None)
    received(machine, ask)
    assert sent(machine.refuse("s1", "no")) == [{"type": 3, "invocationId": "s1", "error": "no"}]


def test_a_call_that_the_server_takes_back_is_not_answered() -> None:
    machine = opened()
    cancel = {"type": 5, "invocationId": "s1"}
    assert received(machine, cancel) == []
    received(machine, {"type": 1, "target": "Ask", "arguments": [], "invocationId": "s1"})
    assert received(machine, cancel) == [CancelInvocation("s1")]
    assert machine.answer("s1", 1) is None


# --- the rest -------------------------------------------------------------------------------------------------------------------------


def test_pings_and_goodbyes() -> None:
    machine = opened()
    assert sent(machine.ping()) == [{"type": 6}]
    assert sent(machine.goodbye()) == [{"type": 7}]
    assert received(machine, {"type": 6}) == []


def test_nothing_is_looked_at_behind_a_close() -> None:
    machine = opened()
    close = Close("the reason", allow_reconnect=True)
    assert list(machine.receive(wire({"type": 7, "error": "the reason", "allowReconnect": True}) + b"nonsense\x1e")) == [close]
    assert machine.phase is Phase.CLOSED
    assert list(machine.receive(b"nonsense\x1e")) == []


def test_what_nobody_knows_is_named_and_passed_by() -> None:
    machine = opened()
    events = received(
        machine, {"type": 99}, {"type": 4, "target": "X", "arguments": [], "invocationId": "s1"}, {"type": 8, "sequenceId": 1}
    )
    assert events == [Stray("record of type 99"), Stray("stream invocation, which clients do not serve")]
    assert received(machine, {"type": 9, "sequenceId": 7}) == []  # not agreed: no meaning


def test_what_came_before_an_error_is_delivered_first() -> None:
    machine = opened()
    events = machine.receive(wire({"type": 99}) + b"nonsense\x1e")
    assert next(events) == Stray("record of type 99")
    with pytest.raises(ProtocolError):
        next(events)


# --- stateful reconnect ---------------------------------------------------------------------------------------------------------------


def test_pings_acknowledgements_and_sequences_are_not_counted() -> None:
    machine = opened(replay=Replay())
    machine.ping()
    machine.send("A", [])
    machine.stream("B", [])
    machine.abandon("2")
    machine.ack()
    assert [record["type"] for record in sent(machine.resume())] == [9, 1, 4, 5]
    received(machine, {"type": 8, "sequenceId": 2})
    assert sent(machine.resume())[0] == {"type": 9, "sequenceId": 3}


def test_nothing_counts_on_a_new_socket_before_the_server_says_where_it_is() -> None:
    machine = opened(replay=Replay())
    push = {"type": 1, "target": "P", "arguments": [1]}
    assert received(machine, push, {**push, "arguments": [2]}) == [Invocation("P", [1]), Invocation("P", [2])]
    assert sent(machine.ack()) == [{"type": 8, "sequenceId": 2}]
    assert list(machine.receive(b'{"type":1,"target":"torn')) == []
    machine.suspend()
    assert received(machine, push, {"type": 6}, {"type": 9, "sequenceId": 2}) == []
    assert received(machine, {**push, "arguments": [2]}, {**push, "arguments": [3]}) == [Invocation("P", [3])]
    assert machine.replay is not None
    assert machine.replay.ack() == 3


def test_what_belongs_to_stateful_reconnect_alone_is_no_sign_of_life() -> None:
    machine = opened(replay=Replay())
    machine.send("A", [])
    spoken = machine.spoken
    received(machine, {"type": 8, "sequenceId": 1}, {"type": 9, "sequenceId": 1})
    assert machine.spoken == spoken
    received(machine, {"type": 6}, {"type": 99})
    assert machine.spoken == spoken + 2


def test_a_machine_without_replay_is_not_resumed() -> None:
    machine = opened()
    machine.suspend()
    for resumed in (machine.resume, machine.ack):
        with pytest.raises(AssertionError, match="replay"):
            resumed()


# --- against a server that answers anything at any time -------------------------------------------------------------------------------


class Connection(RuleBasedStateMachine):
    """A server that answers live and dead ids alike, in any order; what the machine hands out must always belong to something."""

    ids = st.integers(1, 12).map(str)

    def __init__(self) -> None:
        super().__init__()
        self.machine = opened()
        self.calls: set[str] = set()
        self.streams: set[str] = set()

    @rule()
    def call(self) -> None:
        self.calls.add(self.machine.invoke("X", []).invocation_id)

    @rule()
    def open_stream(self) -> None:
        self.streams.add(self.machine.stream("X", []).invocation_id)

    @rule(which=ids)
    def give_up(self, which: str) -> None:
        live = which in self.calls | self.streams
        assert (self.machine.abandon(which) is not None) == live
        self.calls.discard(which)
        self.streams.discard(which)

    @rule(which=ids)
    def item(self, which: str) -> None:
        events = [event for event in received(self.machine, {"type": 2, "invocationId": which, "item": 1}) if not isinstance(event, Stray)]
        assert events == ([StreamItem(which, 1)] if which in self.streams else [])

    @rule(which=ids)
    def complete(self, which: str) -> None:
        events = [event for event in received(self.machine, {"type": 3, "invocationId": which}) if isinstance(event, Completion)]
        assert events == ([Completion(which, has_result=False)] if which in self.calls | self.streams else [])
        self.calls.discard(which)
        self.streams.discard(which)

    @invariant()
    def everything_live_is_known(self) -> None:
        assert self.machine.live == len(self.calls) + len(self.streams)


TestConnection = Connection.TestCase
TestConnection.settings = settings(max_examples=60, stateful_step_count=40)
