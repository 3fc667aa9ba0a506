"""A session lives through years of bad days. `TRADESESSION_SEEDS=17-17` plays the year of seed 17 again."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.accidents import ACCIDENTS
from tests.simulation.conftest import chosen
from tests.simulation.year import Log, Pace, live
from tradesession.sandbox.simulation import run_simulation

pytestmark = pytest.mark.usefixtures("quiet_log")

QUIET = Pace(heartbeat=900.0)
"""For years: the twentieth part of the heartbeats would do as well as the ninetieth, and costs twice the time."""


def year(seed: int, pace: Pace, *, kernel_sockets: bool = False) -> Log:
    return run_simulation(lambda world: live(world, pace), seed, kernel_sockets=kernel_sockets)


@pytest.mark.timeout(600)
def test_a_year(any_seed: int) -> None:
    log = year(any_seed, QUIET)
    assert log.accidents["weekend"] == 52
    assert sum(log.accidents.values()) > 120
    assert log.rotations >= 12
    assert log.reconnects > 60
    assert log.gaps >= log.reconnects
    assert log.checks > 150
    assert log.quotes > 1500
    assert log.fills > 500
    assert log.outcomes["NewOrderReq: reply"] > 800
    assert {kind: count for kind, count in log.grown.items() if count > 20} == {}


def test_two_weeks_with_heartbeats_as_they_are() -> None:
    log = year(1, Pace(days=14, heartbeat=10.0, accidents_a_week=20))
    assert log.accidents["weekend"] == 2
    assert sum(log.accidents.values()) > 25
    assert log.checks > 5


def test_most_accidents_happen_in_a_month_of_them() -> None:
    log = year(7, Pace(days=30, heartbeat=60.0, accidents_a_week=70))
    assert len(set(ACCIDENTS) & set(log.accidents)) > 0.9 * len(ACCIDENTS)
    assert log.reconnects > 100


# --- the same seed, the same year -------------------------------------------------------------------------------------------------

SHORT = Pace(days=15, heartbeat=300.0, accidents_a_week=14)


def digest(log: Log) -> str:
    return hashlib.sha256(repr(log.lines).encode()).hexdigest()


def test_a_seed_gives_the_same_days_in_every_process() -> None:
    here = digest(year(5, SHORT))
    assert here == digest(year(5, SHORT))
    assert here != digest(year(6, SHORT))
    program = "from tests.simulation import test_year as t; print(t.digest(t.year(5, t.SHORT)))"
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == here


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loopback promises no order")
def test_sockets_in_memory_give_the_same_days_as_those_of_the_kernel() -> None:
    """Apart from the ports, which are the machine's, and from the words for an end at which two things met in one moment."""
    seen = [
        [(moment, re.sub(r"cause='[^']*'|127\.0\.0\.1:\d+", "", line)) for moment, line in year(5, SHORT, kernel_sockets=kernel).lines]
        for kernel in (False, True)
    ]
    assert len(seen[0]) > 500
    assert seen[0] == seen[1]


def test_seeds_can_be_counted_or_named() -> None:
    assert list(chosen("3")) == [1, 2, 3]
    assert list(chosen("17-17")) == [17]
    assert list(chosen("101-103")) == [101, 102, 103]
