"""How commands end: the exit code of each error, faults of the server, signals, and what is missing on the machine."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tradesession
from tests.cli.conftest import COMMAND, PATIENCE, Cli, Server, sandbox
from tests.cli.servers import listening
from tradesession import errors
from tradesession.cli import tokens
from tradesession.cli.ctrader.options import OPTIONS, SESSION
from tradesession.cli.exit_codes import ExitCode, exit_code
from tradesession.ctrader import handshake, line
from tradesession.ctrader.accounts import Account
from tradesession.errors import CertificateRefused, ConfigurationError, Error, Rejected, TokenEndpointUnreachable, TokenRefused
from tradesession.tokens.token import Token
from tradesession.verdict import Action, Level, Verdict

CODES: dict[str, int] = {
    "Error": 11,
    "ConfigurationError": 2,
    "UnknownAccount": 6,
    "NotSent": 11,
    "InvalidRequest": 11,
    "Unreachable": 4,
    "CertificateRefused": 5,
    "DeadlineExceeded": 11,
    "OutcomeUnknown": 11,
    "LinkLost": 11,
    "SessionClosed": 11,
    "StreamOverflow": 11,
    "ProtocolError": 11,
    "TokenError": 11,
    "ReauthorizationRequired": 7,
    "TokenRefused": 3,
    "TokenEndpointUnreachable": 10,
    "UncertainExchange": 9,
    "StoreError": 8,
    "StoreUnreachable": 8,
    "StoreUnusable": 8,
    "Conflict": 2,
    "Rejected": 11,
}


def test_every_error_has_its_code() -> None:
    classes = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Error)}
    assert {name: int(exit_code(kind("some text"))) for name, kind in classes.items()} == CODES


@pytest.mark.parametrize(
    ("action", "level", "code"),
    [
        (Action.FATAL, Level.LINK, ExitCode.APPLICATION),
        (Action.RETRY, Level.LINK, ExitCode.REFUSED),
        (Action.FATAL, Level.ACCOUNT, ExitCode.ACCOUNT),
        (Action.REFRESH, Level.TOKEN, ExitCode.HUMAN),
        (Action.FATAL, Level.REQUEST, ExitCode.REFUSED),
    ],
)
def test_a_refusal_ends_by_its_verdict(action: Action, level: Level, code: ExitCode) -> None:
    assert exit_code(Rejected("SOME_CODE", verdict=Verdict(action, level))) is code


def test_what_keeps_an_exchange_from_being_sent_counts() -> None:
    for error, cause, code in (
        (TokenRefused("x"), ConfigurationError("the URL"), ExitCode.USAGE),
        (TokenEndpointUnreachable("x"), CertificateRefused("the certificate"), ExitCode.CERTIFICATE),
    ):
        error.__cause__ = cause
        assert exit_code(error) is code


def test_the_readme_has_the_same_table() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", readme, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == {code.value: code.meaning for code in ExitCode}


def test_the_help_names_the_codes(cli: Cli) -> None:
    shown = " ".join(cli("--help").out.split())  # however it is wrapped
    assert all(f"{code.value}: {code.meaning}" in shown for code in ExitCode)


# --- help --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["handshake ctrader", "login ctrader", "tokens refresh ctrader", "tokens show ctrader", "tokens import ctrader"]
)
def test_help_names_the_variable_of_every_option_and_no_secret(cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    shown = cli(*command.split(), "--help")
    assert shown.code == 0
    assert "TRADESESSION_CTRADER_CLIENT_ID" in shown.out
    if command == "handshake ctrader":
        assert all(variable in shown.out for name in SESSION for variable in OPTIONS.variables(name))


def test_the_version(cli: Cli) -> None:
    assert cli("--version").out == f"tradesession {tradesession.__version__}\n"


def test_nothing_at_all_is_answered_with_help(cli: Cli) -> None:
    assert cli() == cli("--help")


@pytest.mark.parametrize("command", ["handshak", "handshake", "handshake metatrader", "tokens", "tokens show", "login --json"])
def test_a_command_that_is_none_is_2(cli: Cli, command: str) -> None:
    assert "--help" in cli.fails(2, *command.split())


# --- faults --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "options"),
    [
        ("cant-route", 6, []),
        ("unanswered-requests=2102", 11, ["--step-timeout", "0.2"]),
        ("wrong-certificate=expired", 5, []),
    ],
)
def test_a_fault_of_the_server_has_its_code(cli: Cli, fault: str, code: int, options: list[str]) -> None:
    with sandbox("--fault", fault) as server:
        cli.set(server.environment())
        cli.fails(code, "handshake", "ctrader", "--json", *options)


def test_an_answer_of_the_token_endpoint_that_is_lost_is_9_and_then_7(cli: Cli, tmp_path: Path) -> None:
    with sandbox("--fault", "token-reply-lost") as server:
        cli.set(server.environment(access_token=None, store=f"sqlite://{tmp_path}/tokens.sqlite"))
        pair = {"accessToken": server.facts["access_token"], "refreshToken": server.facts["refresh_token"], "expiresIn": 60}
        cli("tokens", "import", "ctrader", stdin=json.dumps(pair).encode())
        ends = [cli("tokens", "refresh", "ctrader", "--force", "--json") for _ in range(2)]
    assert ends[0].code == ExitCode.UNCERTAIN
    assert {end.code for end in ends} <= {ExitCode.UNCERTAIN, ExitCode.HUMAN}


def test_one_refused_account_does_not_hold_back_the_others(cli: Cli, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = server.demo[:2]
    authorise = handshake.authorise

    async def choosy(link: Any, account: Account, *rest: Any) -> Token:
        if account.id == bad:
            raise Rejected("RET_ACCOUNT_DISABLED", verdict=Verdict(Action.FATAL, Level.ACCOUNT), account_id=bad)
        return await authorise(link, account, *rest)

    monkeypatch.setattr(line, "authorise", choosy)
    accounts = cli("handshake", "ctrader", "--json").json["accounts"]
    assert {account["ctidTraderAccountId"]: account["state"] for account in accounts}[bad] == "SUSPENDED"
    assert "SUSPENDED: account" in cli("handshake", "ctrader").out
    named = cli("handshake", "ctrader", "--json", "--account", bad, "--account", good)
    assert named.code == ExitCode.ACCOUNT
    assert json.loads(named.out)["state"] == "READY"
    assert "RET_ACCOUNT_DISABLED" in named.err


def test_what_the_system_refuses_is_told_in_its_words(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(url: str | None) -> None:
        raise OSError(28, "No space left on device", "/some/file")

    monkeypatch.setattr(tokens, "open_store", full)
    assert "No space left on device (/some/file)" in cli.fails(1, "tokens", "list")


# --- programs ------------------------------------------------------------------------------------------------------------------------


def environment(values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TRADESESSION")} | values


AS_A_BACKGROUND_JOB = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
"""How a shell without job control starts what ends in `&`: with SIGINT ignored."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("started", [[], AS_A_BACKGROUND_JOB], ids=["alone", "background job"])
def test_an_interrupted_handshake_is_130(server: Server, number: signal.Signals, started: list[str]) -> None:
    with listening(interrupt_later := Interrupter(number)) as port:
        options = server.environment(ca_file=None, plaintext="1", port=str(port))
        command = [*started, *COMMAND, "handshake", "ctrader", "--json"]
        process = subprocess.Popen(command, env=environment(options), stdout=-1, stderr=-1, text=True)
        interrupt_later.process = process
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (130, "", "error: interrupted\n")


class Interrupter:
    """Interrupts a process as soon as it says something to a server."""

    process: subprocess.Popen[str]

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __call__(self, connection: Any) -> None:
        if connection.recv(1):
            self.process.send_signal(self.number)
            while connection.recv(4096):
                pass


NOHUP = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]


@pytest.mark.parametrize(
    ("number", "started", "code", "said"),
    [
        (signal.SIGTERM, [], 130, "error: interrupted\n"),
        (signal.SIGHUP, [], 130, "error: interrupted\n"),
        (signal.SIGHUP, NOHUP, 0, ""),
    ],
    ids=["told to stop", "the terminal is gone", "nohup"],
)
def test_a_renewal_that_is_to_stop_is_finished_and_saved(
    server: Server, tmp_path: Path, number: signal.Signals, started: list[str], code: int, said: str
) -> None:
    answer = json.dumps({"accessToken": "new", "refreshToken": "newer", "tokenType": "bearer", "expiresIn": 3600})

    class Stopper(Interrupter):
        def __call__(self, connection: Any) -> None:
            if connection.recv(4096):
                self.process.send_signal(self.number)
                connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n{answer}".encode())

    store = {"store": f"sqlite://{tmp_path}/tokens.sqlite", "client_id": "app", "client_secret": "secret"}
    names = environment({f"TRADESESSION_CTRADER_{name.upper()}": value for name, value in store.items() if name != "store"})
    names["TRADESESSION_STORE"] = store["store"]
    spent = '{"accessToken": "old", "refreshToken": "used once", "expiresIn": 0}'
    subprocess.run([*COMMAND, "tokens", "import", "ctrader"], env=names, input=spent, text=True, check=True, capture_output=True)
    with listening(stop := Stopper(number)) as port:
        refresh = [
            *started,
            *COMMAND,
            "tokens",
            "refresh",
            "ctrader",
            "--token-url",
            f"http://127.0.0.1:{port}/apps/token",
            "--min-ttl",
            "60",
        ]
        stop.process = subprocess.Popen(refresh, env=names, stdout=-1, stderr=-1, text=True)
        _, err = stop.process.communicate(timeout=PATIENCE)
    show = [*COMMAND, "tokens", "show", "ctrader", "--json", "--reveal"]
    kept = json.loads(subprocess.run(show, env=names, text=True, check=True, capture_output=True).stdout)
    assert (kept["generation"], kept["refresh_token"], kept["grant"]) == (2, "newer", "usable")
    assert (stop.process.returncode, err) == (code, said)


def test_who_finds_that_nobody_reads_ends_without_a_word(server: Server) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, "watch", "ctrader", "EURUSD", "--json"]
    finished = subprocess.run(command, env=environment(server.environment()), stdout=writing, stderr=-1, text=True, timeout=PATIENCE)
    os.close(writing)
    assert (finished.returncode, finished.stderr) == (1, "")


def test_without_a_standard_output_the_work_is_done_all_the_same(server: Server) -> None:
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
    command = [*closed, *COMMAND, "watch", "ctrader", "EURUSD", "--json", "--count", "1"]
    finished = subprocess.run(command, env=environment(server.environment()), stderr=-1, text=True, timeout=PATIENCE)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_an_interrupted_login_is_130(server: Server) -> None:
    options = server.environment() | {"TRADESESSION_STORE": "memory:", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*COMMAND, "login", "ctrader", "--no-browser"], env=environment(options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while "client_id=" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (130, "error: interrupted\n")


def test_on_a_terminal_the_ticks_are_green(server: Server) -> None:
    terminal, end = pty.openpty()
    values = environment(server.environment()) | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    values.pop("NO_COLOR", None)
    process = subprocess.Popen([*COMMAND, "handshake", "ctrader"], env=values, stdin=end, stdout=end, stderr=end)
    os.close(end)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # how Linux tells that the other side is closed
            break
    os.close(terminal)
    assert process.wait(PATIENCE) == 0
    assert "\x1b[1;32m✓".encode() in shown


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("typer", r"error: typer is not installed.*tradesession\[cli\]'\n"),
        ("rich", r"error: rich\S* is not installed.*tradesession\[cli\]'\n"),
        ("cryptography", r"error: the sandbox needs the extra sandbox.*tradesession\[sandbox\]'\n"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(module: str, said: str) -> None:
    program = f"import sys; sys.modules[{module!r}] = None; from tradesession.cli import main; sys.exit(main())"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (finished.returncode, finished.out if hasattr(finished, "out") else finished.stdout) == (2, "")
    assert re.fullmatch(said, finished.stderr)
