"""A session lives through years of bad days, a few of them in each run of the tests, 200 in continuous integration.

`TRADESESSION_SEEDS=17-17 scripts/test tests/simulation/test_year.py` plays the year of seed 17 again; every failure names its seed.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from tests.simulation.accidents import ACCIDENTS
from tests.simulation.conftest import chosen
from tests.simulation.year import Log, Pace, live
from tradesession import policy
from tradesession.sandbox.simulation import run_simulation

pytestmark = [pytest.mark.usefixtures("quiet_log"), pytest.mark.timeout(600)]


def year(seed: int, pace: Pace, *, kernel_sockets: bool = False) -> Log:
    with mock.patch.object(policy, "CLOCK_CHECK", pace.heartbeat):  # a look every five minutes is a quarter of all that happens in a year
        return run_simulation(lambda world: live(world, pace), seed, kernel_sockets=kernel_sockets)


def test_a_year(any_seed: int) -> None:
    """All that must hold at any time is looked at by the year itself; here is only whether it was a year worth its name."""
    log = year(any_seed, Pace())
    assert log.accidents["weekend"] == 52
    assert sum(log.accidents.values()) > 110
    assert log.rotations >= 12
    assert log.consents <= 2, "fourteen answers hardly ever fall into an accident"
    assert log.reconnects > 60
    assert log.gaps >= log.reconnects
    assert log.checks > 300
    assert log.quotes > 1000
    assert log.fills > 500
    assert log.outcomes["NewOrderReq: reply"] > 400
    assert {kind: count for kind, count in log.grown.items() if count > 20} == {}


def test_a_week_with_heartbeats_as_they_are() -> None:
    log = year(1, Pace(days=7, heartbeat=10.0, accidents_a_week=40))
    assert log.accidents["weekend"] == 1
    assert sum(log.accidents.values()) > 25
    assert log.checks > 5


def test_most_accidents_happen_in_a_month_of_them() -> None:
    log = year(7, Pace(days=30, heartbeat=60.0, accidents_a_week=70, token_life=4 * 3600))
    assert len(set(ACCIDENTS) & set(log.accidents)) > 0.9 * len(ACCIDENTS)
    assert log.reconnects > 100
    assert log.rotations > 150


# --- the same seed, the same year -------------------------------------------------------------------------------------------------

SHORT = Pace(days=15, heartbeat=300.0, accidents_a_week=14, keeps_records=True)


def digest(log: Log) -> str:
    return hashlib.sha256(repr(log.records).encode()).hexdigest()


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
    pace = replace(SHORT, without=("line: unaccepted",))  # the kernel repeats what got no answer in its own time
    seen = [
        [
            (moment, re.sub(r"cause=('[^']*'|\"[^\"]*\")|127\.0\.0\.1:\d+", "", str(record)))
            for moment, record in year(5, pace, kernel_sockets=kernel).records
        ]
        for kernel in (False, True)
    ]
    assert len(seen[0]) > 500
    assert seen[0] == seen[1]


def test_seeds_can_be_counted_or_named() -> None:
    assert list(chosen("3")) == [1, 2, 3]
    assert list(chosen("17-17")) == [17]
    assert list(chosen("101-103")) == [101, 102, 103]
