"""Heartbeats at their pace and death at its moment, in simulated time."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradesession import policy
from tradesession.clock import ManualClock
from tradesession.errors import ConfigurationError
from tradesession.protocol.keepalive import Keepalive, Pulse

STARTS = st.floats(0, 1e9)


def drive(keepalive: Keepalive, until: float) -> list[tuple[float, Pulse]]:
    """What a driver does that wakes up at `next_poll` alone, from then to `until`."""
    happened: list[tuple[float, Pulse]] = []
    while (now := keepalive.next_poll()) <= until:
        pulse = keepalive.poll(now)
        happened.append((now, pulse))
        if pulse is Pulse.DEAD:
            break
    return happened


@given(STARTS, st.integers(0, 50))
def test_heartbeats_go_out_exactly_on_pace_while_the_peer_speaks(start: float, beats: int) -> None:
    keepalive = Keepalive(start, interval=10, liveness_timeout=45)
    expected = start
    for _ in range(beats):
        expected += 10
        keepalive.received(expected)
        assert keepalive.next_poll() == expected
        assert keepalive.poll(expected) is Pulse.BEAT
        assert keepalive.poll(expected) is Pulse.NOTHING


@given(STARTS, st.floats(0.1, 60), st.floats(0.001, 600))
@example(1000.1, 10.0, 35.0)
@example(8474.3, 10.0, 35.0)
def test_a_silent_peer_is_dead_at_the_deadline_and_every_wakeup_has_something_to_say(start: float, interval: float, more: float) -> None:
    timeout = interval + more
    keepalive = Keepalive(start, interval=interval, liveness_timeout=timeout)
    happened = drive(keepalive, start + 2 * timeout)
    assert happened[-1] == (start + timeout, Pulse.DEAD)
    assert all(pulse is Pulse.BEAT for _, pulse in happened[:-1])
    assert len(happened) - 1 <= timeout / interval + 1


@given(STARTS, st.lists(st.floats(0, 44), max_size=20))
def test_any_sign_of_life_moves_the_deadline_and_nothing_else_does(start: float, gaps: list[float]) -> None:
    keepalive = Keepalive(start, interval=10, liveness_timeout=45)
    heard = start
    for gap in gaps:
        assert keepalive.poll(heard + gap) is not Pulse.DEAD
        assert keepalive.silence(heard + gap) == heard + gap - heard
        heard += gap
        keepalive.received(heard)
    assert keepalive.poll(heard + 44.9) is not Pulse.DEAD
    assert keepalive.poll(heard + 45) is Pulse.DEAD


def test_beats_that_were_missed_are_not_made_up_for() -> None:
    keepalive = Keepalive(0, interval=10, liveness_timeout=1000)
    assert keepalive.poll(35) is Pulse.BEAT
    assert keepalive.poll(35) is Pulse.NOTHING
    assert keepalive.next_poll() == 45


def test_a_wakeup_that_is_a_little_late_does_not_shift_the_pace() -> None:
    keepalive = Keepalive(0, interval=10, liveness_timeout=1000)
    assert keepalive.poll(10.3) is Pulse.BEAT
    assert keepalive.next_poll() == 20


def test_nothing_is_due_before_its_time() -> None:
    keepalive = Keepalive(0, interval=10, liveness_timeout=45)
    assert keepalive.poll(9.999) is Pulse.NOTHING


def test_both_deadlines_count_from_the_connection() -> None:
    keepalive = Keepalive(0, interval=10, liveness_timeout=45)
    keepalive.begin(44)
    assert keepalive.next_poll() == 54
    assert keepalive.poll(46) is Pulse.NOTHING
    assert keepalive.poll(89) is Pulse.DEAD


def test_a_driver_with_a_manual_clock_comes_to_an_end_at_every_start() -> None:
    for tenth in range(0, 5000, 7):
        clock = ManualClock(monotonic=tenth / 10)
        keepalive = Keepalive(clock.monotonic())
        pulses: list[Pulse] = []

        def wake(keepalive: Keepalive = keepalive, clock: ManualClock = clock, pulses: list[Pulse] = pulses) -> None:
            pulses.append(keepalive.poll(clock.monotonic()))
            if pulses[-1] is not Pulse.DEAD:
                clock.call_at(keepalive.next_poll(), wake)

        clock.call_at(keepalive.next_poll(), wake)
        clock.advance(100)
        assert pulses == [Pulse.BEAT] * 4 + [Pulse.DEAD]


@pytest.mark.parametrize(("interval", "timeout", "named"), [(0, 45, "heartbeat_interval=0 "), (-1, 45, "heartbeat_interval=-1 "),
                                                            (10, 10, "liveness_timeout=10 "), (10, 5, "liveness_timeout=5 ")])  # fmt: skip
def test_figures_that_cannot_be_meant_are_refused(interval: float, timeout: float, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Keepalive(0, interval=interval, liveness_timeout=timeout)


def test_the_defaults_are_the_policys() -> None:
    keepalive = Keepalive(0)
    assert keepalive.next_poll() == policy.HEARTBEAT_INTERVAL
    assert keepalive.poll(policy.LIVENESS_TIMEOUT) is Pulse.DEAD


@given(STARTS, st.lists(st.tuples(st.floats(0, 30), st.integers(0, 5)), max_size=30))
def test_a_peer_that_takes_nothing_off_a_full_buffer_is_dead_though_it_speaks(start: float, looks: list[tuple[float, int]]) -> None:
    keepalive = Keepalive(start, interval=10, liveness_timeout=45)
    now, shrank, before = start, start, 0
    for pause, unsent in looks:
        now += pause
        keepalive.received(now)
        keepalive.looked(now, unsent)
        if not unsent or unsent < before:
            shrank = now
        before = unsent
        is_deaf = unsent > 0 and now >= shrank + 45
        assert keepalive.is_deaf(now) is is_deaf
        assert (keepalive.poll(now) is Pulse.DEAD) is is_deaf
        if is_deaf:
            return
        assert keepalive.next_poll() <= (shrank + 45 if unsent else now + 45)
