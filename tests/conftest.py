"""What many tests share: a certificate authority to throw away, and the check that nothing stays behind."""

from __future__ import annotations

import gc
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.leaks import Leaks
from tradesession.sandbox.authority import Authority

# The same examples each time, however slow the machine; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=1000)
settings.load_profile("repeatable")


EXHAUSTIVE = ("tests/faults/", "tests/simulation/", "tests/docs/", "test_knobs.py", "tests/bench/", "test_cuts.py", "test_faults.py")
"""Tests that try every byte, phase, fault or seed, or read the documentation: they take most of the time, and tell nothing of a Python."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(part in item.path.as_posix() for part in EXHAUSTIVE):
            item.add_marker(pytest.mark.exhaustive)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: without it each look for leaks takes a millisecond and not fifty."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _the_same_jitter_each_time(request: pytest.FixtureRequest) -> None:
    """Backoff and renewal draw from `random` where a test gives them nothing else; `--hypothesis-profile=explore` lets them vary."""
    if request.config.getoption("--hypothesis-profile", None) != "explore":
        random.seed(request.node.nodeid)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs certificates for loopback; `authority.ca_file` is what a client trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def ca_file(authority: Authority) -> Path:
    """The certificate to trust."""
    return authority.ca_file


@pytest.fixture
async def leaks() -> AsyncIterator[Leaks]:
    """Fails a test that leaves a task, a socket, a file or a pending future; `leaks.check()` looks in between."""
    leaks = Leaks()
    yield leaks
    await leaks.check(thorough=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables that tests made with `record_property("table", text)`; in a parallel run as well."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    tables = [text for report in reports if report.when == "call" for name, text in report.user_properties if name == "table"]
    for text in tables:
        terminalreporter.write_line("")
        terminalreporter.write_line(str(text))
