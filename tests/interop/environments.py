"""Virtual environments for foreign programs: made once, kept beside the project's own, and made anew when what is wanted in them changes.

Always holds: two test processes that want the same environment at once make it once; one that was not finished is never used.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import pytest

DIRECTORY: Final = Path(__file__).parents[2] / ".venv-interop"
"""Ignored by git, as everything whose name begins with .venv."""

_PIP_TIMEOUT: Final = 900.0
_PROBE_TIMEOUT: Final = 30.0


class NoSuchPython(LookupError):
    """The machine has none of the Python versions that an environment wants."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What is wanted: packages as pip names them, on one of the Python versions, the first that the machine has."""

    name: str
    packages: tuple[str, ...]
    pythons: tuple[str, ...]

    def ensure(self) -> Path:
        """For tests: the environment's interpreter. Without a Python for it the test is skipped; where CI=true it fails."""
        try:
            return self.make()
        except NoSuchPython as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))

    def make(self) -> Path:
        """The environment's interpreter. Raises NoSuchPython."""
        venv = DIRECTORY / self.name
        DIRECTORY.mkdir(exist_ok=True)
        with (DIRECTORY / f"{self.name}.lock").open("w") as lock, _locked(lock):
            python = venv / "bin" / "python"
            stamp = venv / "made-from"
            if not (python.exists() and stamp.exists() and stamp.read_text() == repr(self)):
                stamp.unlink(missing_ok=True)
                self._fill(venv)
                stamp.write_text(repr(self))
        return python

    def _fill(self, venv: Path) -> None:
        base = next(find_pythons(self.pythons), None)
        if base is None:
            raise NoSuchPython(f"{' and '.join(self.packages)} want Python {' or '.join(self.pythons)}, which this machine lacks")
        _run(base, "-m", "venv", "--clear", str(venv))
        # One call for all packages: pip then finds versions that fit together.
        _run(str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.packages)


OFFICIAL_SDK: Final = Environment(
    "official-sdk",
    # service-identity is what Twisted verifies host names with; the SDK, which verifies none, does not ask for it.
    ("ctrader-open-api==0.9.2", "service-identity"),
    ("3.11", "3.12", "3.13", "3.10"),
)
OFFICIAL_SDK_CPP: Final = Environment("official-sdk-cpp", ("ctrader-open-api==0.9.2", "service-identity"), ("3.10", "3.9"))
"""Where the protobuf that the SDK pins comes with its C++ runtime: on later Pythons it is the one in Python."""
API_CLIENT: Final = Environment("api-client", ("ctrader-api-client==0.12.0",), ("3.12", "3.13"))


def find_pythons(versions: tuple[str, ...]) -> Iterator[str]:
    """Interpreters of these versions, from PATH and from pyenv, in the order of the versions."""
    for version in versions:
        if version == f"{sys.version_info.major}.{sys.version_info.minor}":
            yield sys.executable
        for choice in ("", _output("pyenv", "latest", version)):
            found = _output(f"python{version}", "-c", "import sys; print(sys.executable)", PYENV_VERSION=choice)
            if found:
                yield found


def _output(*command: str, **variables: str) -> str:
    """What a command prints; empty when it does not exist or fails."""
    try:
        done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=_PROBE_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}")


@contextmanager
def _locked(file: TextIO) -> Iterator[None]:
    """Hold the lock on this file; the system takes it back from a process that dies. The file stays, so that all lock the same one."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
