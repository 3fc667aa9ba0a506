"""The command line: names, JSON on stdout alone, what is not known."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import bench.__main__ as command
from bench.driver import ROOT
from bench.results import Options, Result, results


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Benches that cost nothing, and which of them were run."""
    asked: list[tuple[str, bool]] = []

    def bench(name: str, options: Options) -> list[Result]:
        asked.append((name, options.quick))
        return results(name, "µs", {"floor": [1.0], "ours": [2.0]}, base="floor")

    monkeypatch.setattr(command, "BENCHES", {"one": lambda options: bench("one", options), "two": lambda options: bench("two", options)})
    return asked


def test_all_run_without_a_name_and_those_that_are_named_with_one(asked: list[tuple[str, bool]]) -> None:
    assert command.main([]) == 0
    assert command.main(["two", "--quick"]) == 0
    assert asked == [("one", False), ("two", False), ("two", True)]


def test_json_stands_on_stdout_alone(asked: list[tuple[str, bool]], capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["--json"])
    told = capsys.readouterr()
    assert [(one["bench"], one["subject"], one["ratio"]) for one in json.loads(told.out)] == [
        ("one", "floor", 1.0), ("one", "ours", 2.0), ("two", "floor", 1.0), ("two", "ours", 2.0),
    ]  # fmt: skip
    assert told.err == "one …\ntwo …\n"


def test_without_json_it_is_a_table(asked: list[tuple[str, bool]], capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["one"])
    assert capsys.readouterr().out.startswith("\none: µs\n")


def test_an_unknown_name_is_an_error_that_names_the_known_ones_before_anything_runs(
    asked: list[tuple[str, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["one", "three"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith("there is no bench 'three'; there are one, two\n")
    assert asked == []


def test_all_benches_are_known() -> None:
    module = [sys.executable, "-m", "bench", "nothing"]
    done = subprocess.run(module, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there are events, requests, connect, recovery, idle, growth, token, hub" in done.stderr
