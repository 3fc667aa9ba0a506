"""Silence: when it means that a stream is dead, and when that a market is closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tradesession import policy
from tradesession.tradingview.liveness import Finding, Silence

OPEN: Callable[[str, float], bool] = lambda symbol, wall: True  # noqa: E731 - a table entry


@pytest.fixture
def silence() -> Silence:
    one = Silence(60.0, OPEN)
    one.begin(0.0)
    return one


def test_what_was_never_heard_is_not_missed(silence: Silence) -> None:
    assert silence.look(10_000.0, 0.0) == Finding()
    assert silence.silence("EURUSD", 10_000.0) is None


def test_a_connection_is_dead_when_all_that_was_heard_is_silent(silence: Silence) -> None:
    silence.received(5.0)
    silence.heard("EURUSD", 5.0)
    silence.heard("GBPUSD", 5.0)
    assert silence.look(64.9, 0.0) == Finding()
    assert silence.look(65.0, 0.0) == Finding((("EURUSD", 60.0), ("GBPUSD", 60.0)), is_dead=True)


def test_one_symbol_that_speaks_keeps_the_connection_and_the_silent_one_is_told_once(silence: Silence) -> None:
    silence.heard("EURUSD", 5.0)
    for now in (30.0, 60.0, 90.0, 120.0):
        silence.received(now)
        silence.heard("GBPUSD", now)
    assert silence.look(121.0, 0.0) == Finding((("EURUSD", 116.0),))
    assert silence.look(150.0, 0.0) == Finding()
    silence.heard("EURUSD", 151.0)
    silence.heard("GBPUSD", 211.0)
    assert silence.look(211.0, 0.0) == Finding((("EURUSD", 60.0),))
    assert silence.silence("EURUSD", 211.0) == 60.0


def test_anything_that_comes_is_a_sign_of_life(silence: Silence) -> None:
    silence.heard("EURUSD", 5.0)
    silence.received(64.0)
    assert not silence.look(65.0, 0.0).is_dead


def test_a_closed_market_is_not_missed_and_its_silence_begins_when_it_opens() -> None:
    silence = Silence(60.0, lambda symbol, wall: not 100 <= wall < 1000)
    silence.begin(0.0)
    silence.received(90.0)
    silence.heard("EURUSD", 90.0)
    assert silence.look(990.0, 990.0) == Finding()
    assert silence.look(1005.0, 1005.0) == Finding()
    assert silence.look(1064.0, 1064.0) == Finding()
    assert silence.look(1065.0, 1065.0).is_dead


def test_a_reconnect_that_brings_nothing_makes_the_next_one_wait_twice_as_long(silence: Silence) -> None:
    silence.heard("EURUSD", 0.0)
    now, waits = 0.0, []
    for _ in range(9):
        began = now
        while not silence.look(now, 0.0).is_dead:
            now += 15.0
        waits.append(now - began)
        silence.begin(now)
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert silence.patience == policy.TRADINGVIEW_SILENCE_LIMIT
    silence.heard("EURUSD", now)
    assert silence.patience == 60


def test_a_new_connection_begins_every_silence_anew(silence: Silence) -> None:
    silence.heard("EURUSD", 0.0)
    silence.begin(59.0)
    assert silence.look(118.0, 0.0) == Finding()


def test_it_can_be_turned_off() -> None:
    silence = Silence(0.0, OPEN)
    silence.heard("EURUSD", 0.0)
    assert silence.look(1e9, 0.0) == Finding()


def test_a_patience_above_the_limit_stays_as_it_is() -> None:
    assert Silence(10_000.0, OPEN).patience == 10_000.0
