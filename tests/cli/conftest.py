"""A sandbox in a process of its own, and the command line called as a program is called."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen

import pytest

from tradesession.cli.app import run

PATIENCE = 60.0
FORM = "application/x-www-form-urlencoded"
COMMAND = (sys.executable, "-W", "error", "-m", "tradesession.cli")


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must hold one JSON object and nothing else."""
        assert self.code == 0, self.err
        assert self.out.count("\n") == 1
        return json.loads(self.out)


class Server:
    """The sandbox that other processes see."""

    def __init__(self, everything: dict[str, Any]) -> None:
        described = everything["ctrader"]
        self.everything = everything
        self.facts = described
        self.demo = [account["ctidTraderAccountId"] for account in described["accounts"] if not account["isLive"]]
        self.live = [account["ctidTraderAccountId"] for account in described["accounts"] if account["isLive"]]
        self.secrets = {described[name] for name in ("client_secret", "access_token", "refresh_token")}

    def environment(self, **changes: str | None) -> dict[str, str]:
        """What leads a command here; None takes a variable away."""
        names = ("client_id", "client_secret", "access_token", "ca_file", "token_url", "auth_url", "redirect_uri")
        values: dict[str, Any] = {name: self.facts[name] for name in names}
        values |= {"host": self.facts["demo"]["host"], "port": self.facts["demo"]["port"]} | changes
        return {f"TRADESESSION_CTRADER_{name.upper()}": str(value) for name, value in values.items() if value is not None}

    def consent(self, page: str, decision: str = "allow") -> str:
        """Answer a consent page, as a browser would; the address that it sends the browser to."""

        parts = urlsplit(page)
        connection = HTTPConnection(parts.netloc, timeout=PATIENCE)
        connection.request("POST", f"{parts.path}?{parts.query}", f"decision={decision}", {"Content-Type": FORM})
        address = connection.getresponse().headers["Location"]
        connection.close()
        assert address is not None
        return address

    def reply(self) -> bytes:
        """What the token endpoint answers to a new consent: a grant of its own."""
        uri = self.facts["redirect_uri"]
        client = {"client_id": self.facts["client_id"]}
        there = self.consent(self.facts["auth_url"] + "?" + urlencode({**client, "redirect_uri": uri, "scope": "trading"}))
        fields = {"grant_type": "authorization_code", "code": parse_qs(urlsplit(there).query)["code"][0], "redirect_uri": uri}
        query = urlencode({**fields, **client, "client_secret": self.facts["client_secret"]})
        with urlopen(f"{self.facts['token_url']}?{query}", timeout=PATIENCE) as response:
            body: bytes = response.read()
        self.secrets |= {json.loads(body)[name] for name in ("accessToken", "refreshToken")}
        return body


@contextmanager
def sandbox(*options: str) -> Iterator[Server]:
    """A sandbox in a process of its own, as `tradesession sandbox` with these options starts it."""
    arguments = [*COMMAND, "sandbox", "--json", *options]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Server(json.loads(process.stdout.readline()))
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A sandbox for all tests: none of them changes what another one sees, as each brings a grant of its own where it renews one."""
    with sandbox("--plain") as server, held(urlsplit(server.facts["redirect_uri"]).port):
        yield server


@contextmanager
def held(port: int | None) -> Iterator[None]:
    """Keep a free port from being given to somebody else's connection; whoever names it may listen there (on Linux)."""
    with socket.socket() as holder:
        if sys.platform == "linux":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", port))
        yield


class Cli:
    """Runs command lines in this process, with nothing in the environment but what is given here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.secrets: set[str] = set()

    def set(self, environment: dict[str, str]) -> None:
        """The TRADESESSION variables from now on."""
        for name in [name for name in os.environ if name.startswith("TRADESESSION")]:
            self._monkeypatch.delenv(name)
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)

    def __call__(self, *arguments: object, stdin: bytes = b"", terminal: bool = False, reveals: bool = False) -> Finished:
        """The outcome. No planted secret may show in it, unless `reveals`. `terminal` says what standard input is."""
        text = io.TextIOWrapper(io.BytesIO(stdin))
        self._monkeypatch.setattr(text, "isatty", lambda: terminal)
        self._monkeypatch.setattr("sys.stdin", text)
        code = run([str(argument) for argument in arguments])
        finished = Finished(code, *self._capsys.readouterr())
        if not reveals:
            for secret in self.secrets:
                assert secret not in finished.out + finished.err
        return finished

    def fails(self, code: int, *arguments: object, stdin: bytes = b"") -> str:
        """The one line on standard error of a command that ends with this code."""
        finished = self(*arguments, stdin=stdin)
        assert finished.code == code, finished.err
        assert finished.err.startswith("error: ")
        assert finished.err.count("\n") == 1
        assert "Traceback" not in finished.err
        if "--json" in arguments:
            assert finished.out == ""
        return finished.err


@pytest.fixture
def cli(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line, pointed at the sandbox."""
    cli = Cli(monkeypatch, capsys)
    cli.set(server.environment())
    cli.secrets = server.secrets
    return cli
