"""Environments for foreign programs, of pip and of npm: made once, kept beside the project's own, and made anew when what is wanted in them
changes. Tests and benches share them.

Always holds: two processes that want the same environment at once make it once; one that was not finished is never used.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import pytest

DIRECTORY: Final = Path(__file__).parents[2] / ".venv-interop"
"""Ignored by git, as everything whose name begins with .venv."""

_INSTALL_TIMEOUT: Final = 900.0
_PROBE_TIMEOUT: Final = 30.0


class Unavailable(LookupError):
    """An environment cannot be had on this machine; the text says what is missing."""


class NoSuchPython(Unavailable):
    """The machine has none of the Python versions that an environment wants."""


class NotInstalled(Unavailable):
    """The packages could not be installed."""


@dataclass(frozen=True, slots=True)
class _Environment(ABC):
    name: str
    packages: tuple[str, ...]

    def ensure(self) -> Path:
        """As `make`, for tests: where it cannot be had the test is skipped; where CI=true, and where packages do not install, it fails."""
        try:
            return self.make()
        except Unavailable as error:
            if os.environ.get("CI") == "true" or isinstance(error, NotInstalled):
                pytest.fail(str(error))
            pytest.skip(str(error))

    def make(self) -> Path:
        """The environment's interpreter, or for npm its directory. Raises Unavailable."""
        place = DIRECTORY / self.name
        DIRECTORY.mkdir(exist_ok=True)
        with (DIRECTORY / f"{self.name}.lock").open("w") as lock, _locked(lock):
            stamp = place / "made-from"
            if not (stamp.exists() and stamp.read_text() == repr(self)):
                stamp.unlink(missing_ok=True)
                sys.stderr.write(f"making {DIRECTORY.name}/{self.name} with {' and '.join(self.packages)} (once)…\n")
                self._fill(place)
                stamp.write_text(repr(self))
        return self._result(place)

    @abstractmethod
    def _fill(self, place: Path) -> None:
        """Make it, whatever lies there."""

    def _result(self, place: Path) -> Path:
        return place


@dataclass(frozen=True, slots=True)
class Environment(_Environment):
    """What is wanted: packages as pip names them, on one of the Python versions, the first that the machine has."""

    pythons: tuple[str, ...]

    def _fill(self, place: Path) -> None:
        base = next(find_pythons(self.pythons), None)
        if base is None:
            raise NoSuchPython(f"{' and '.join(self.packages)} want Python {' or '.join(self.pythons)}, which this machine lacks")
        _run(base, "-m", "venv", "--clear", str(place))
        # One call for all packages: pip then finds versions that fit together.
        _run(str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.packages)

    def _result(self, place: Path) -> Path:
        return place / "bin" / "python"


@dataclass(frozen=True, slots=True)
class NodeEnvironment(_Environment):
    """What is wanted: packages as npm names them. A script finds them by the path of this directory."""

    def _fill(self, place: Path) -> None:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise Unavailable(f"{' and '.join(self.packages)} want {program}, which this machine lacks")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        _run("npm", "install", "--silent", "--no-fund", "--no-audit", "--no-package-lock", "--prefix", str(place), *self.packages)


OFFICIAL_SDK: Final = Environment(
    "official-sdk",
    # service-identity is what Twisted verifies host names with; the SDK, which verifies none, does not ask for it.
    ("ctrader-open-api==0.9.2", "service-identity"),
    ("3.11", "3.12", "3.13", "3.10"),
)
OFFICIAL_SDK_CPP: Final = Environment("official-sdk-cpp", ("ctrader-open-api==0.9.2", "service-identity"), ("3.10", "3.9"))
"""Where the protobuf that the SDK pins comes with its C++ runtime: on later Pythons it is the one in Python."""
AUTHLIB: Final = Environment("authlib", ("authlib==1.9.9", "httpx==0.28.1"), ("3.11", "3.12", "3.13"))
AIOHTTP_OAUTH2_CLIENT: Final = Environment("aiohttp-oauth2-client", ("aiohttp-oauth2-client==2.0.1",), ("3.11", "3.12", "3.13"))
API_CLIENT: Final = Environment("api-client", ("ctrader-api-client==0.12.0",), ("3.12", "3.13"))
PYSIGNALR: Final = Environment("pysignalr", ("pysignalr==1.3.3",), ("3.11", "3.12", "3.13"))
SIGNALRCORE: Final = Environment("signalrcore", ("signalrcore==1.0.2",), ("3.11", "3.12", "3.13"))
AIOSIGNALR: Final = Environment("aiosignalr", ("aiosignalr==0.1.1",), ("3.11", "3.12", "3.13"))
MYWEBAPI_SDK: Final = Environment("mywebapi-sdk", ("mywebapi-sdk[signalr]==0.3.3", "signalrcore==1.0.2"), ("3.11", "3.12", "3.13"))
MYWEBAPI_SDK_JS: Final = NodeEnvironment("mywebapi-sdk-js", ("@mywebapi.com/sdk@0.2.1",))
SIGNALR_JS: Final = NodeEnvironment("signalr-js", ("@microsoft/signalr@10.0.11",))
OIDC_PROVIDER: Final = NodeEnvironment("oidc-provider", ("oidc-provider@9.13.3",))
CHROMIUM: Final = NodeEnvironment("chromium", ("@sparticuz/chromium@147.0.0", "puppeteer-core@24.43.1"))


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
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"{' '.join(command)} did not end within {_INSTALL_TIMEOUT:g} s") from None
    if done.returncode != 0:
        raise NotInstalled(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}")


@contextmanager
def _locked(file: TextIO) -> Iterator[None]:
    """Hold the lock on this file; the system takes it back from a process that dies. The file stays, so that all lock the same one."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
