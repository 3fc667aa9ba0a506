"""Quotas, in simulated time: no second, however it is cut, sees too many; the first to ask is the first to leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession import policy
from tradesession.errors import ConfigurationError
from tradesession.protocol.quota import TokenBucket

GAPS = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 5)), max_size=200)


def departures(bucket: TokenBucket, gaps: list[float], start: float = 0.0) -> list[float]:
    now, times = start, []
    for gap in gaps:
        now += gap
        times.append(now + bucket.reserve(now))
    return times


@given(st.floats(0.5, 100), st.integers(1, 20), GAPS, st.floats(0, 1e6))
def test_no_sliding_second_sees_more_than_rate_and_burst(rate: float, burst: int, gaps: list[float], start: float) -> None:
    times = departures(TokenBucket(rate, burst), gaps, start)
    for first, time in enumerate(times):
        within = sum(1 for other in times[first:] if other < time + 1 - 1e-6)
        assert within <= rate + burst


@given(st.floats(0.5, 100), st.integers(1, 20), GAPS)
def test_who_asks_first_leaves_first_and_nobody_leaves_before_he_asked(rate: float, burst: int, gaps: list[float]) -> None:
    bucket = TokenBucket(rate, burst)
    now = last = 0.0
    for gap in gaps:
        now += gap
        wait = bucket.reserve(now)
        assert wait >= 0
        assert now + wait >= last - 1e-9
        last = now + wait


@given(st.floats(0.5, 100), st.integers(1, 20))
def test_after_a_pause_a_burst_leaves_at_once_and_the_next_one_waits_its_interval(rate: float, burst: int) -> None:
    bucket = TokenBucket(rate, burst)
    for start in (0.0, 1000.0):
        waits = [bucket.reserve(start) for _ in range(burst + 2)]
        assert waits[:burst] == [0.0] * burst
        assert waits[burst:] == pytest.approx([1 / rate, 2 / rate], abs=1e-9)


def test_the_defaults_keep_every_second_at_fifty_even_when_everybody_asks_at_once() -> None:
    times = departures(TokenBucket(policy.REQUESTS_PER_SECOND, policy.REQUEST_BURST), [0.0] * 500)
    assert max(sum(1 for other in times if time <= other < time + 1) for time in times) <= 50


def test_the_quota_is_used_up_to_its_rate() -> None:
    times = departures(TokenBucket(45, 5), [0.0] * 455)
    assert times[-1] == pytest.approx(10.0)


@given(GAPS, st.floats(0, 2))
def test_a_wait_that_is_too_long_is_told_and_not_taken(gaps: list[float], at_most: float) -> None:
    bucket, patient = TokenBucket(4, 1), TokenBucket(4, 1)
    now = 0.0
    for gap in gaps:
        now += gap
        told = bucket.reserve(now, at_most)
        if told > at_most:
            assert bucket.reserve(now, at_most) == told
        else:
            assert patient.reserve(now) == pytest.approx(told, abs=1e-9)


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (1.0, 0), (1.0, -3)])
def test_a_quota_that_lets_nothing_pass_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ConfigurationError, match=f"rate={rate:g} a second and burst={burst} "):
        TokenBucket(rate, burst)


def test_an_endless_rate_never_waits() -> None:
    bucket = TokenBucket(float("inf"), 1)
    assert [bucket.reserve(0.0) for _ in range(1000)] == [0.0] * 1000
