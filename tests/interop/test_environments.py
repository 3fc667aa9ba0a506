"""What happens on a machine that lacks the Python that a foreign client wants."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.interop import environments
from tests.interop.environments import Environment, find_pythons

FOR_NOBODY = Environment("nobody", ("a-package==1",), ("2.99",))


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environments, "DIRECTORY", tmp_path)
    return tmp_path


def test_a_missing_python_skips_with_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"a-package==1 want Python 2\.99, which this machine lacks"):
        FOR_NOBODY.ensure()


def test_a_missing_python_fails_in_continuous_integration(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="a-package==1"):
        FOR_NOBODY.ensure()
    assert not (directory / "nobody").exists()


def test_the_python_of_these_tests_is_found_first() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert next(find_pythons(("2.99", version))) == sys.executable
