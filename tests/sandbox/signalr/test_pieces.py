"""The parts of the hub server without sockets: JSON, records, the handshake, the replay buffer, timers."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.clock import ManualClock
from tradesession.sandbox.signalr import text
from tradesession.sandbox.signalr.handshake import Handshake, read_handshake
from tradesession.sandbox.signalr.records import BadRecord, UnknownType, read_record, write_record
from tradesession.sandbox.signalr.replay import Replay
from tradesession.sandbox.signalr.timers import Timers

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)

# --- JSON and records -----------------------------------------------------------------------------------------------------------------


@given(VALUES)
def test_what_is_written_reads_as_it_was(value: Any) -> None:
    written = text.write(value)
    assert json.loads(written) == value
    assert "\x1e" not in written


@given(VALUES)
def test_what_is_read_is_written_as_it_came(value: Any) -> None:
    written = text.write(value)
    assert text.write(text.read(written.encode())) == written


@given(st.binary())
def test_anything_may_come(data: bytes) -> None:
    try:
        record = read_record(data)
    except (BadRecord, UnknownType):
        return
    assert isinstance(record["type"], int)


@pytest.mark.parametrize("levels", [63, 64])
def test_nesting_has_its_limit(levels: int) -> None:
    data = ('{"type":6,"x":' + "[" * (levels - 1) + "]" * (levels - 1) + "}").encode()
    assert read_record(data)["type"] == 6
    with pytest.raises(BadRecord):
        read_record(('{"type":6,"x":' + "[" * 64 + "]" * 64 + "}").encode())


def test_a_record_ends_with_its_mark() -> None:
    assert write_record({"type": 6}) == '{"type":6}\x1e'
    assert write_record("no JSON") == "no JSON\x1e"


def test_what_json_has_no_form_for_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="set has no form"):
        text.write({1})


# --- replay ---------------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["send", "ack", "lose", "break"]), max_size=60), st.integers(0, 2**32))
def test_every_record_arrives_once_and_in_order_through_any_breaks(steps: list[str], seed: int) -> None:
    """A client that acknowledges now and then, on a wire that loses everything behind a break."""
    rng, replay, client, sent = random.Random(seed), Replay(limit=30), _Client(), 0
    for step in [*steps, *(["break", "ack"] * (len(steps) + 1))]:
        if step == "send":
            sent += 1
            if replay.send(f"{sent:03d}"):
                client.arrives(f"{sent:03d}")
        elif step == "lose":
            client.lose(rng)
        elif step == "break":
            client.resume(*replay.resume())
        elif not client.is_deaf:
            for record in replay.receive_ack(len(client.seen)):
                client.arrives(record)
    assert client.seen == [f"{number:03d}" for number in range(1, sent + 1)]


class _Client:
    """Drops by their numbers what it has already; hears nothing behind a break until it resumes."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.is_deaf = False
        self._number = 0

    def arrives(self, record: str) -> None:
        if self.is_deaf:
            return
        self._number += 1
        if self._number > len(self.seen):
            self.seen.append(record)

    def lose(self, rng: random.Random) -> None:
        """The line breaks, or does not."""
        self.is_deaf = self.is_deaf or rng.random() < 0.7

    def resume(self, number: int, again: list[str]) -> None:
        self.is_deaf, self._number = False, number - 1
        for record in again:
            self.arrives(record)


def test_what_the_client_repeats_is_new_once() -> None:
    replay = Replay(limit=100)
    assert [replay.arrives() for _ in range(3)] == [True] * 3
    assert replay.receive_sequence(2)
    assert [replay.arrives() for _ in range(3)] == [False, False, True]
    assert not replay.receive_sequence(6)


# --- the handshake and timers ---------------------------------------------------------------------------------------------------------


@given(st.binary())
def test_any_handshake_is_answered(data: bytes) -> None:
    handshake = read_handshake(data)
    assert handshake.error or handshake.version <= 2


def test_a_handshake_tells_its_version() -> None:
    assert read_handshake(b'{"protocol":"json","version":2}') == Handshake(2)


def test_a_timer_replaces_the_one_of_its_name_and_none_fires_after_the_end() -> None:
    clock, fired = ManualClock(), list[str]()
    timers = Timers(clock)
    timers.set("a", 1, lambda: fired.append("first"))
    timers.set("a", 2, lambda: fired.append("second"))
    timers.set_once("a", 1, lambda: fired.append("third"))
    clock.advance(3)
    assert fired == ["second"]
    timers.set("a", 1, lambda: fired.append("late"))
    timers.close()
    timers.set("b", 1, lambda: fired.append("later"))
    clock.advance(3)
    assert fired == ["second"]
    assert clock.next_timer() is None
