"""The parts without sockets: the feed, times, the names of faults."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tradesession.clock import ManualClock
from tradesession.errors import ConfigurationError
from tradesession.sandbox import known_faults
from tradesession.sandbox.cplugin.feed import START, Feed, Tick
from tradesession.sandbox.cplugin.payloads import Payloads
from tradesession.sandbox.cplugin.settings import Settings
from tradesession.sandbox.cplugin.switches import Switches

# --- the feed -------------------------------------------------------------------------------------------------------------------------


def ticks(seed: int, symbol: str | None, beats: int) -> list[Tick]:
    clock, heard = ManualClock(), list[Tick]()
    feed = Feed(seed, clock)
    feed.listen("somebody", symbol, heard.append)
    clock.advance(beats * feed.interval + 0.01)
    feed.close()
    assert clock.next_timer() is None
    return heard


def test_the_same_seed_gives_the_same_ticks_whoever_listens() -> None:
    assert ticks(1, "EURUSD", 50) == [tick for tick in ticks(1, None, 50) if tick.symbol == "EURUSD"]
    assert [tick.bid for tick in ticks(1, "EURUSD", 50)] != [tick.bid for tick in ticks(2, "EURUSD", 50)]


def test_ticks_are_sane() -> None:
    heard = ticks(3, "EURUSD", 500)
    assert all(0 < tick.bid < tick.ask for tick in heard)
    assert [tick.number for tick in heard] == list(range(1, 501))
    assert all(one.time < other.time for one, other in itertools.pairwise(heard))


def test_a_feed_rests_while_nobody_listens_or_it_is_paused() -> None:
    clock, heard = ManualClock(), list[Tick]()
    feed = Feed(1, clock)
    feed.pause()
    feed.listen("somebody", "EURUSD", heard.append)
    clock.advance(10)
    assert heard == []
    feed.tick()
    feed.resume()
    clock.advance(feed.interval)
    assert len(heard) == 2
    feed.leave("somebody", "EURUSD")
    assert clock.next_timer() is None


def test_numbered_ticks_have_their_number_for_a_time() -> None:
    feed, heard = Feed(1, ManualClock()), list[Tick]()
    feed.numbered = True
    feed.listen("somebody", "EURUSD", heard.append)
    for _ in range(3):
        feed.tick()
    assert [round((tick.time - START) * 1000) for tick in heard] == [1, 2, 3]
    feed.close()


@pytest.mark.parametrize(
    ("times", "written"),
    [("zone", "2026-01-01T00:00:00.25Z"), ("no zone", "2026-01-01T00:00:00.25"), ("seven digits", "2026-01-01T00:00:00.2500000Z")],
)
def test_times_travel_in_three_ways(times: Any, written: str) -> None:
    assert Payloads(Settings(times=times)).time(START + 0.25) == written


# --- the names of faults --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", known_faults()["cplugin"])
def test_every_fault_is_set_by_its_name_and_taken_back(name: str) -> None:
    faults = Switches(ManualClock())
    field = Switches.names()[name]
    _, form = field.metadata["kind"]
    value = "7" if "number" in form else form.split(" or ")[0] if " or " in form and "=" not in form else "" if "=" in form else "a text"
    faults.set(name, value)
    assert getattr(faults, field.name) != field.default
    faults.clear()
    assert getattr(faults, field.name) == field.default


def test_an_unknown_fault_is_refused_with_what_was_meant() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'no-pings'"):
        Switches(ManualClock()).set("no-ping")


@pytest.mark.parametrize(("name", "value"), [("no-pings", "perhaps"), ("split-frames", "x"), ("expires-in", "never"), ("token-error", "")])
def test_a_value_that_does_not_fit_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match="give it as"):
        Switches(ManualClock()).set(name, value)
