"""Stateful reconnect as two counters: sockets that break at any moment cost no record, and double none."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tradesession.errors import ProtocolError
from tradesession.protocol.signalr.replay import Replay


def test_what_is_acknowledged_is_let_go() -> None:
    replay = Replay(limit=6)
    for data in (b"aa", b"bb", b"cc"):
        replay.sent(data)
    assert (replay.buffered, replay.is_full, replay.oldest) == (6, True, 1)
    assert replay.resume() == (1, [b"aa", b"bb", b"cc"])
    replay.acknowledged(2)
    assert (replay.buffered, replay.is_full) == (2, False)
    assert replay.resume() == (3, [b"cc"])
    replay.acknowledged(1)  # an old one, late
    replay.acknowledged(3)
    assert (replay.resume(), replay.oldest) == ((4, []), 0)


def test_an_acknowledgement_of_what_never_left_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="acknowledged record 1, and only 0 were sent"):
        Replay().acknowledged(1)


def test_repeated_records_are_dropped_and_acknowledged_anew() -> None:
    replay = Replay()
    assert [replay.accept(), replay.accept()] == [True, True]
    assert replay.wants_ack
    assert replay.ack() == 2
    replay.suspend()
    assert (replay.awaits_sequence, replay.wants_ack) == (True, False)
    replay.resynchronise(1)
    assert (replay.awaits_sequence, replay.accept(), replay.wants_ack) == (False, False, True)
    assert [replay.accept(), replay.accept()] == [False, True]
    assert replay.ack() == 3


@pytest.mark.parametrize("number", [0, 3])
def test_a_hole_is_an_error(number: int) -> None:
    replay = Replay()
    replay.accept()
    with pytest.raises(ProtocolError, match="something is missing"):
        replay.resynchronise(number)


def test_an_acknowledgement_is_urgent_after_many_bytes() -> None:
    replay = Replay(ack_bytes=10)
    replay.heard(9)
    before = replay.is_ack_urgent
    replay.heard(1)
    assert (before, replay.is_ack_urgent) == (False, True)
    replay.ack()
    acknowledged = replay.is_ack_urgent
    replay.heard(10)
    replay.suspend()
    assert (acknowledged, replay.is_ack_urgent) == (False, False)


class Side:
    """One end: what it sent, what it got, and what is on the wire towards it."""

    def __init__(self) -> None:
        self.replay = Replay()
        self.sent: list[bytes] = []
        self.got: list[bytes] = []
        self.wire: deque[tuple[str, int | bytes]] = deque()

    def send(self, other: Side, connected: bool) -> None:
        data = b"%d" % len(self.sent)
        self.sent.append(data)
        self.replay.sent(data)
        if connected:
            other.wire.append(("record", data))

    def take(self) -> None:
        kind, value = self.wire.popleft()
        if kind == "sequence":
            assert isinstance(value, int)
            self.replay.resynchronise(value)
        elif self.replay.awaits_sequence:
            return
        elif kind == "ack":
            assert isinstance(value, int)
            self.replay.acknowledged(value)
        elif self.replay.accept():
            assert isinstance(value, bytes)
            self.got.append(value)


class TwoSides(RuleBasedStateMachine):
    """Both ends run the same code; a break loses all that is on the wire."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = (Side(), Side())
        self.connected = True

    @rule(which=st.integers(0, 1))
    def send(self, which: int) -> None:
        self.sides[which].send(self.sides[1 - which], self.connected)

    @rule(which=st.integers(0, 1), count=st.integers(1, 5))
    def deliver(self, which: int, count: int) -> None:
        for _ in range(min(count, len(self.sides[which].wire))):
            self.sides[which].take()

    @rule(which=st.integers(0, 1))
    def acknowledge(self, which: int) -> None:
        if self.connected and self.sides[which].replay.wants_ack:
            self.sides[1 - which].wire.append(("ack", self.sides[which].replay.ack()))

    @rule()
    def break_socket(self) -> None:
        self.connected = False
        for side in self.sides:
            side.wire.clear()

    @rule()
    def connect(self) -> None:
        if self.connected:
            return
        self.connected = True
        for side in self.sides:
            side.replay.suspend()
        for side, other in (self.sides, self.sides[::-1]):
            number, records = side.replay.resume()
            other.wire.append(("sequence", number))
            other.wire.extend(("record", data) for data in records)

    @invariant()
    def nothing_is_lost_doubled_or_misplaced(self) -> None:
        for side, other in (self.sides, self.sides[::-1]):
            assert side.got == other.sent[: len(side.got)]

    def teardown(self) -> None:
        self.connect()
        for side in self.sides:
            while side.wire:
                side.take()
        for side, other in (self.sides, self.sides[::-1]):
            assert side.got == other.sent


TestTwoSides = TwoSides.TestCase
TestTwoSides.settings = settings(max_examples=100, stateful_step_count=40)
