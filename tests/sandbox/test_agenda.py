"""The agenda: by time, then by entry, on whatever clock."""

from __future__ import annotations

import pytest

from tradesession.clock import ManualClock
from tradesession.sandbox.ctrader.agenda import Agenda


def test_things_are_done_by_their_time_and_then_in_the_order_of_entry() -> None:
    clock, done = ManualClock(), list[str]()
    agenda = Agenda(clock)
    for when, name in ((1002.0, "c"), (1001.0, "a"), (1002.0, "d"), (1001.0, "b")):
        agenda.enter(when, lambda name=name: done.append(name))  # type: ignore[misc]
    clock.advance(1)
    assert done == ["a", "b"]
    clock.advance(1)
    assert done == ["a", "b", "c", "d"]
    assert clock.next_timer() is None


def test_an_action_may_enter_another_one() -> None:
    clock, done = ManualClock(), list[float]()
    agenda = Agenda(clock)

    def again() -> None:
        done.append(clock.monotonic())
        if len(done) < 3:
            agenda.enter(clock.monotonic() + 1, again)

    agenda.enter(1001.0, again)
    clock.advance(10)
    assert done == [1001.0, 1002.0, 1003.0]


def test_a_failing_action_does_not_stop_the_others() -> None:
    clock, done = ManualClock(), list[int]()
    agenda = Agenda(clock)
    agenda.enter(1001.0, lambda: 1 // 0)
    agenda.enter(1001.0, lambda: done.append(1))
    with pytest.raises(ZeroDivisionError):
        clock.advance(1)
    clock.advance(1)
    assert done == [1]


def test_a_closed_agenda_does_nothing_and_leaves_no_timer() -> None:
    clock, done = ManualClock(), list[int]()
    agenda = Agenda(clock)
    agenda.enter(1001.0, lambda: done.append(1))
    agenda.close()
    clock.advance(5)
    assert (done, clock.next_timer()) == ([], None)
