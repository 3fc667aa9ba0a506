"""ManualClock: time that a test moves by hand."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from tradesession.clock import ManualClock


def test_time_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock(monotonic=5.0, wall=100.0)
    assert (clock.monotonic(), clock.wall()) == (5.0, 100.0)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.wall()) == (7.5, 102.5)


def test_the_wall_clock_alone_can_be_set() -> None:
    clock = ManualClock(monotonic=5.0, wall=100.0)
    clock.wall_offset -= 60
    assert (clock.monotonic(), clock.wall()) == (5.0, 40.0)


@given(st.lists(st.floats(0, 100), max_size=20), st.floats(0, 120))
def test_timers_fire_in_order_each_at_its_own_time_and_only_those_that_are_due(delays: list[float], until: float) -> None:
    clock = ManualClock(monotonic=0.0)
    fired: list[tuple[float, int]] = []
    for number, delay in enumerate(delays):
        clock.call_at(delay, partial(lambda number: fired.append((clock.monotonic(), number)), number))
    clock.advance(until)
    assert fired == sorted((delay, number) for number, delay in enumerate(delays) if delay <= until)
    assert clock.monotonic() == until
    rest = [delay for delay in delays if delay > until]
    assert clock.next_timer() == (min(rest) if rest else None)


def test_a_timer_set_by_a_timer_fires_in_the_same_advance() -> None:
    clock = ManualClock(monotonic=0.0)
    beats: list[float] = []

    def beat() -> None:
        beats.append(clock.monotonic())
        clock.call_at(clock.monotonic() + 10, beat)

    clock.call_at(10, beat)
    clock.advance(35)
    assert beats == [10, 20, 30]


def test_a_cancelled_timer_does_not_fire_and_may_be_cancelled_again() -> None:
    clock = ManualClock(monotonic=0.0)
    fired: list[int] = []
    timers = [clock.call_at(1, lambda: fired.append(1)), clock.call_at(2, lambda: fired.append(2))]
    timers[0].cancel()
    clock.advance(3)
    timers[0].cancel()
    timers[1].cancel()
    assert fired == [2]
    assert clock.next_timer() is None


def test_a_timer_in_the_past_fires_at_the_next_advance_and_time_does_not_go_back() -> None:
    clock = ManualClock(monotonic=10.0)
    seen: list[float] = []
    clock.call_at(3.0, lambda: seen.append(clock.monotonic()))
    clock.advance(0)
    assert seen == [10.0]


def test_step_fires_one_timer_and_says_when_there_is_none_left() -> None:
    clock = ManualClock(monotonic=0.0)
    fired: list[int] = []
    clock.call_at(1, lambda: fired.append(1))
    clock.call_at(1, lambda: fired.append(2))
    assert clock.step(5)
    assert (fired, clock.monotonic()) == ([1], 1)
    assert clock.step(5)
    assert not clock.step(5)
    assert (fired, clock.monotonic()) == ([1, 2], 5)
