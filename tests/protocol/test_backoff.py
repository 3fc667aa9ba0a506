"""Backoff: it doubles, it is random also at the cap, and success must last before it counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession import policy
from tradesession.errors import ConfigurationError
from tradesession.protocol.backoff import Backoff

CHANCES = st.floats(0, 1, exclude_max=True)


@given(CHANCES, st.integers(1, 200))
def test_every_wait_is_within_its_bound_which_doubles_up_to_the_cap(chance: float, attempts: int) -> None:
    backoff = Backoff(lambda: chance, base=1, cap=60)
    for attempt in range(attempts):
        bound = min(60.0, 2.0**attempt)
        wait = backoff.failed(1000.0 * attempt)
        assert bound / 4 <= wait <= bound
        assert wait == pytest.approx(bound * (0.25 + 0.75 * chance))
    assert backoff.failures == attempts


def test_at_the_cap_there_is_still_chance() -> None:
    chances = iter([0.0] * 20 + [0.0, 0.5, 0.999])
    backoff = Backoff(lambda: next(chances), base=1, cap=60)
    waits = [backoff.failed(0) for _ in range(23)][-3:]
    assert waits == pytest.approx([15, 37.5, 59.955])


def test_a_success_that_lasts_starts_anew_and_one_that_does_not_does_not() -> None:
    backoff = Backoff(lambda: 0.0, base=4, cap=400, steady_after=30)
    assert [backoff.failed(0), backoff.failed(0)] == [1, 2]
    backoff.ready(100)
    assert backoff.failed(129.9) == 4
    backoff.ready(200)
    assert backoff.failed(230) == 1
    assert backoff.failures == 1


def test_an_old_success_counts_once() -> None:
    backoff = Backoff(lambda: 0.0, base=4, cap=400, steady_after=30)
    backoff.ready(0)
    assert [backoff.failed(100), backoff.failed(200), backoff.failed(300)] == [1, 2, 4]


def test_a_server_that_accepts_and_closes_at_once_is_asked_ever_less_often() -> None:
    backoff, now, attempts = Backoff(lambda: 0.0), 0.0, 0
    while now < 3600:
        backoff.ready(now)
        now += 0.01 + backoff.failed(now + 0.01)
        attempts += 1
    assert attempts < 3600 / (policy.BACKOFF_CAP / 4) + 15


@pytest.mark.parametrize(("base", "cap"), [(0, 10), (-1, 10), (11, 10)])
def test_figures_that_cannot_be_meant_are_refused(base: float, cap: float) -> None:
    with pytest.raises(ConfigurationError, match=f"a backoff from {base} s up to {cap} s is none"):
        Backoff(lambda: 0.5, base=base, cap=cap)
