"""Turns, in simulated time: quotas that no second exceeds, lanes in their order, and a blocked type that holds back nobody else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession import policy
from tradesession.errors import ConfigurationError
from tradesession.protocol.turns import Lane, TokenBucket, Turns

GAPS = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 5)), max_size=200)
RATES = st.floats(0.5, 100)
BURSTS = st.integers(1, 20)


def within_a_second(times: list[float]) -> int:
    """The most that any second sees, however it is cut."""
    times = sorted(times)
    return max((sum(1 for other in times if time <= other < time + 1 - 1e-6) for time in times), default=0)


# --- the bucket ---------------------------------------------------------------------------------------------------------------------


def departures(bucket: TokenBucket, gaps: list[float], start: float = 0.0) -> list[float]:
    """Callers who ask after these pauses, each leaving as soon as he may."""
    now, times = start, []
    for gap in gaps:
        now = bucket.next_at(now + gap)
        bucket.take(now)
        times.append(now)
    return times


@given(RATES, BURSTS, GAPS, st.floats(0, 1e6))
def test_no_sliding_second_sees_more_than_rate_and_burst(rate: float, burst: int, gaps: list[float], start: float) -> None:
    assert within_a_second(departures(TokenBucket(rate, burst), gaps, start)) <= rate + burst


@given(RATES, BURSTS, st.floats(0, 1e6))
def test_after_a_pause_a_burst_leaves_at_once_and_the_next_one_waits_its_interval(rate: float, burst: int, start: float) -> None:
    bucket = TokenBucket(rate, burst)
    for now in (start, start + 1000.0):
        for _ in range(burst):
            assert bucket.next_at(now) == now
            bucket.take(now)
        assert bucket.next_at(now) == pytest.approx(now + 1 / rate, abs=1e-8)


@given(RATES, BURSTS, GAPS)
def test_what_is_promised_holds_when_its_time_has_come(rate: float, burst: int, gaps: list[float]) -> None:
    bucket, now = TokenBucket(rate, burst), 0.0
    for gap in gaps:
        promised = bucket.next_at(now + gap)
        assert promised >= now + gap
        assert bucket.next_at(promised) == promised
        bucket.take(promised)
        now = promised


def test_the_defaults_keep_every_second_below_what_the_open_api_allows() -> None:
    everything = TokenBucket(policy.REQUESTS_PER_SECOND, policy.REQUEST_BURST)
    assert within_a_second(departures(everything, [0.0] * 500)) <= 50
    historical = TokenBucket(policy.HISTORICAL_REQUESTS_PER_SECOND, policy.HISTORICAL_BURST)
    assert within_a_second(departures(historical, [0.0] * 50)) <= 5


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (1.0, 0), (1.0, -3)])
def test_a_quota_that_lets_nothing_pass_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ConfigurationError, match=f"rate={rate:g} a second and burst={burst} "):
        TokenBucket(rate, burst)


def test_an_endless_rate_never_waits() -> None:
    assert departures(TokenBucket(float("inf"), 1), [0.0] * 1000) == [0.0] * 1000


# --- the lanes ----------------------------------------------------------------------------------------------------------------------


class Line:
    """A driver of Turns: whoever cannot go at once stands in line, and the line is called when `next_at` says so."""

    def __init__(self, rate: float = 10, burst: int = 2, historical: float = 4) -> None:
        self.turns: Turns[int] = Turns(TokenBucket(rate, burst), TokenBucket(historical, 1))
        self.now = 0.0
        self.gone: list[tuple[float, int]] = []
        self.lanes: dict[int, tuple[Lane, int]] = {}
        self._tickets = itertools.count()

    def ask(self, lane: Lane = Lane.READ, kind: int = 0) -> int:
        ticket = next(self._tickets)
        self.lanes[ticket] = (lane, kind)
        if self.turns.go(lane, kind, self.now):
            self.gone.append((self.now, ticket))
        else:
            self.turns.join(ticket, lane, kind)
        return ticket

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while (next_at := self.turns.next_at(self.now)) is not None and next_at <= until:
            self.now = next_at
            due = self.turns.due(self.now)
            assert due, "woken up for nothing"
            self.gone += [(self.now, ticket) for ticket in due]
        self.now = until

    @property
    def order(self) -> list[int]:
        return [ticket for _, ticket in self.gone]


def test_within_a_lane_it_is_first_come_first_served() -> None:
    line = Line(rate=10, burst=2)
    tickets = [line.ask() for _ in range(6)]
    assert (line.order, len(line.turns)) == (tickets[:2], 4)
    line.run(10)
    assert line.order == tickets
    assert [time for time, _ in line.gone] == pytest.approx([0, 0, 0.1, 0.2, 0.3, 0.4])


def test_orders_go_before_reads_and_reads_before_history() -> None:
    line = Line(rate=10, burst=1)
    first = line.ask()
    history, read, order = line.ask(Lane.HISTORY), line.ask(Lane.READ), line.ask(Lane.ORDER)
    line.run(10)
    assert line.order == [first, order, read, history]


def test_nobody_of_the_same_lane_is_overtaken_by_one_who_comes_when_there_is_room() -> None:
    line = Line(rate=10, burst=1)
    line.ask()
    waiting = line.ask()
    line.now = 5.0
    late, order = line.ask(), line.ask(Lane.ORDER)
    assert line.order == [0, order]
    line.run(10)
    assert line.order == [0, order, waiting, late]


def test_history_has_a_smaller_quota_of_its_own_and_leaves_the_rest_to_the_others() -> None:
    line = Line(rate=40, burst=10, historical=4)
    for _ in range(12):
        line.ask(Lane.HISTORY)
    for _ in range(60):
        line.ask(Lane.READ)
    line.run(60)
    history = [time for time, ticket in line.gone if line.lanes[ticket][0] is Lane.HISTORY]
    reads = [time for time, ticket in line.gone if line.lanes[ticket][0] is Lane.READ]
    assert (len(history), len(reads)) == (12, 60)
    assert within_a_second(history) <= 5
    assert within_a_second([time for time, _ in line.gone]) <= 50
    assert max(reads) < 2


def test_a_blocked_type_stands_aside_and_holds_back_nobody_behind_it() -> None:
    line = Line(rate=10, burst=1)
    line.ask()
    blocked, other = line.ask(kind=7), line.ask(kind=8)
    line.turns.block(7, 3.0)
    line.turns.block(7, 2.0)  # the longer one counts
    line.run(1)
    assert line.order == [0, other]
    another = line.ask(kind=7)
    assert line.turns.earliest(Lane.READ, 7, line.now) == 3.0
    line.run(10)
    assert line.order == [0, other, blocked, another]
    assert line.gone[2][0] == 3.0


def test_a_blocked_type_does_not_go_at_once_either() -> None:
    line = Line()
    line.turns.block(7, 3.0)
    assert line.ask(kind=7) not in line.order
    assert line.ask(kind=8) not in line.order, "it would overtake one of its lane"
    assert line.ask(Lane.ORDER, kind=9) in line.order


def test_a_pause_holds_back_everybody() -> None:
    line = Line()
    line.turns.pause(2.0)
    line.turns.pause(1.0)
    tickets = [line.ask(Lane.ORDER), line.ask(Lane.READ), line.ask(Lane.HISTORY)]
    assert line.order == []
    line.run(1.9)
    assert line.order == []
    line.run(5)
    assert line.order == tickets
    assert line.gone[0][0] == 2.0


def test_whoever_gives_up_leaves_no_hole_and_may_give_up_again() -> None:
    line = Line(rate=10, burst=1)
    tickets = [line.ask() for _ in range(4)]
    line.turns.leave(tickets[1])
    line.turns.leave(tickets[1])
    line.turns.leave(999)
    line.run(10)
    assert line.order == [tickets[0], tickets[2], tickets[3]]
    assert line.turns.next_at(line.now) is None


def test_at_the_end_everybody_who_waits_is_let_go() -> None:
    line = Line(rate=10, burst=1)
    line.ask()
    waiting = [line.ask(Lane.HISTORY), line.ask(Lane.READ), line.ask(Lane.ORDER)]
    assert line.turns.drain() == list(reversed(waiting))
    assert len(line.turns) == 0
    assert line.turns.drain() == []


@given(RATES, BURSTS, st.lists(st.tuples(st.sampled_from(Lane), st.integers(0, 2), st.floats(0, 0.2)), max_size=80))
def test_everybody_goes_once_no_second_sees_too_many_and_lanes_keep_their_order(
    rate: float, burst: int, script: list[tuple[Lane, int, float]]
) -> None:
    line = Line(rate, burst)
    for lane, kind, pause in script:
        line.ask(lane, kind)
        line.run(pause)
    line.run(1000)
    assert sorted(line.order) == list(range(len(script)))
    assert within_a_second([time for time, _ in line.gone]) <= rate + burst
    for lane in Lane:
        mine = [ticket for ticket in line.order if line.lanes[ticket][0] is lane]
        assert mine == sorted(mine)
    assert [time for time, _ in line.gone] == sorted(time for time, _ in line.gone)
