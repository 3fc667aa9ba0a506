"""Correlation, against a plain model of what a dictionary would do."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tradesession.protocol import correlation
from tradesession.protocol.correlation import Correlator


class CorrelatorMachine(RuleBasedStateMachine):
    """Requests, answers, cancellations, late and foreign answers and a loss, in any order."""

    ids = Bundle("ids")

    @initialize(prefix=st.text(max_size=4))
    def start(self, prefix: str) -> None:
        self.correlator: Correlator[int] = Correlator(prefix)
        self.waiting: dict[str, int] = {}
        self.given_up: list[str] = []
        self.seen: set[str] = set()
        self.next = 0

    @rule(target=ids)
    def register(self) -> str:
        self.next += 1
        correlation_id = self.correlator.register(self.next)
        assert correlation_id not in self.seen
        self.seen.add(correlation_id)
        self.waiting[correlation_id] = self.next
        return correlation_id

    @rule(correlation_id=ids)
    def answer(self, correlation_id: str) -> None:
        assert self.correlator.resolve(correlation_id) == self.waiting.pop(correlation_id, None)

    @rule(correlation_id=ids)
    def give_up(self, correlation_id: str) -> None:
        self.correlator.give_up(correlation_id)
        if self.waiting.pop(correlation_id, None) is not None:
            self.given_up.append(correlation_id)

    @rule(correlation_id=ids)
    def ask_whether_late(self, correlation_id: str) -> None:
        assert self.correlator.is_late(correlation_id) == (correlation_id in self.given_up)
        if correlation_id in self.given_up:
            self.given_up.remove(correlation_id)

    @rule(foreign=st.text())
    def foreign_answer(self, foreign: str) -> None:
        if foreign not in self.seen:
            assert self.correlator.resolve(foreign) is None
            assert not self.correlator.is_late(foreign)
            self.correlator.give_up(foreign)

    @rule()
    def lose(self) -> None:
        assert self.correlator.drain() == list(self.waiting.values())
        self.waiting.clear()

    @invariant()
    def as_many_wait_as_should(self) -> None:
        assert len(self.correlator) == len(self.waiting)


TestCorrelator = CorrelatorMachine.TestCase


def test_ids_begin_with_the_prefix_and_differ_between_prefixes() -> None:
    one, other = Correlator[str]("a-"), Correlator[str]("b-")
    assert [one.register("x"), one.register("y")] == ["a-1", "a-2"]
    assert other.register("x") == "b-1"
    assert other.resolve("a-1") is None


def test_only_so_many_given_up_ids_are_remembered_and_the_oldest_go_first() -> None:
    correlator = Correlator[int]("")
    ids = [correlator.register(number) for number in range(correlation.REMEMBERED + 2)]
    for correlation_id in ids:
        correlator.give_up(correlation_id)
    assert not correlator.is_late(ids[0])
    assert not correlator.is_late(ids[1])
    assert correlator.is_late(ids[2])
    assert not correlator.is_late(ids[2])
    assert correlator.is_late(ids[-1])
