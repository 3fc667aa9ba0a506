"""`tradesession preflight tradingview`: what it prints and writes, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Server, sandbox
from tradesession import preflight
from tradesession.preflight import RULES, Plan, Problem, Report, Result, Status

NAMES = (
    *("base_url", "token_url", "app_url", "user_id", "client_id", "client_secret"),
    *("login", "password", "key_file", "certificate_file", "ca_file"),
)
LATE = {"streaming.delay", "server.speed"}
"""What even a correct broker may seem to break on a machine that stands still for seconds: these tests alone run in real time."""
SECONDS = "7"
"""Of listening: trades come each fifth one."""


def environment(server: Server, **changes: str | None) -> dict[str, str]:
    """What leads the command to the sandboxed broker; None takes a variable away."""
    values: dict[str, Any] = {name: server.everything["tradingview"][name] for name in NAMES} | changes
    return {f"TRADESESSION_TRADINGVIEW_{name.upper()}": value for name, value in values.items() if value is not None}


@pytest.fixture
def broker(cli: Cli, server: Server) -> Cli:
    """The command line, pointed at the sandboxed broker, whose secrets may not show."""
    cli.set(environment(server))
    described = server.everything["tradingview"]
    cli.secrets = {described["client_secret"], described["password"], Path(described["key_file"]).read_text().splitlines()[3]}
    return cli


def canned(*statuses: Status) -> Report:
    """A report with rules of these statuses."""
    problem = Problem("one thing", "another \x1b[31m", "GET /it")
    results = [
        Result(rule, status, () if status in (Status.PASSED, Status.SKIPPED) else (problem,), 3, "no reason" * (status is Status.SKIPPED))
        for rule, status in zip(RULES, statuses, strict=False)
    ]
    return Report("https://broker.example/api", 1_767_268_800.0, 31.4, 99, results)


@pytest.fixture
def outcome(broker: Cli, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the next examination comes to: a report, or an exception; nothing is contacted."""
    outcomes: list[Any] = []

    async def run(plan: Plan) -> Report:
        if isinstance(outcomes[0], Exception):
            raise outcomes[0]
        report: Report = outcomes[0]
        return report

    monkeypatch.setattr(preflight, "run", run)
    return outcomes


def test_a_correct_broker_is_clean(broker: Cli, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    finished = broker("--verbose", "preflight", "tradingview", "--json", "--html", page, "--stream-seconds", SECONDS)
    report = json.loads(finished.out)
    assert {finding["id"] for finding in report["findings"]} <= LATE
    assert (finished.code, report["clean"], report["failed"] == 0) in ((0, True, True), (1, False, False))
    assert sum(report[status.value] for status in Status) == len(RULES) == len(report["checks"])
    assert report["passed"] > 90
    assert "<h1>Preflight: " in page.read_text()
    assert not any(secret in page.read_text() for secret in broker.secrets)


def test_a_broken_rule_is_a_finding_and_the_code_is_1(broker: Cli) -> None:
    with sandbox("--fault", "tradingview.history=left-ok", "--seed", "2") as other:
        broker.set(environment(other))
        url = other.everything["tradingview"]["base_url"]
        finished = broker("preflight", "tradingview", url, "--json", "--stream-seconds", SECONDS, "--symbols", 1)
    report = json.loads(finished.out)
    assert (finished.code, finished.err, report["clean"]) == (1, "", False)
    assert {finding["id"] for finding in report["findings"]} - LATE == {"history.left-boundary"}
    assert {"where", "expected", "found", "rule", "source"} <= report["findings"][0].keys()


def test_a_person_sees_a_table_and_below_it_what_is_wrong(broker: Cli, outcome: list[Any]) -> None:
    outcome.append(canned(Status.PASSED, Status.FAILED, Status.WARNING, Status.SKIPPED))
    finished = broker("preflight", "tradingview")
    assert finished.code == 1
    for text in (RULES[0].id, "FAILED", "no reason", "expected one thing; found another ?[31m (GET /it)", "and 3 more", RULES[1].source):
        assert text in finished.out
    assert "1 passed, 1 failed, 1 warning, 1 skipped; 99 requests in 31.4 s" in finished.out


def test_warnings_alone_are_clean(broker: Cli, outcome: list[Any]) -> None:
    outcome.append(canned(Status.PASSED, Status.WARNING))
    assert broker("preflight", "tradingview", "--json").json["warnings"][0]["found"] == "another \x1b[31m"


def test_a_mistake_of_ours_is_no_finding(broker: Cli, outcome: list[Any]) -> None:
    outcome.append(KeyError("a secret"))
    assert "a mistake in tradesession" in broker.fails(11, "preflight", "tradingview", "--json")


def test_refused_credentials_have_a_code_of_their_own_and_a_report(broker: Cli, server: Server) -> None:
    names = ("key_file", "certificate_file", "token_url", "app_url", "user_id", "client_id", "client_secret")
    broker.set(environment(server, password="not-the-one", **dict.fromkeys(names)))
    finished = broker("preflight", "tradingview", "--json")
    assert (finished.code, finished.err) == (7, "")
    assert {finding["id"] for finding in json.loads(finished.out)["findings"]} == {"password.token", "token.obtained"}


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({}, {"login", "key"}),
        ({"auth": "password"}, {"login"}),
        ({"auth": "none"}, set()),
        ({"auth": "token", "token": "given-by-hand"}, {"token"}),
        ({"token": "given-by-hand"}, {"login", "key", "token"}),
    ],
)
def test_each_credential_that_is_given_is_examined_unless_one_is_named(
    broker: Cli, server: Server, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], sent: set[str]
) -> None:
    plans: list[Plan] = []

    async def run(plan: Plan) -> Report:
        plans.append(plan)
        return canned(Status.PASSED)

    monkeypatch.setattr(preflight, "run", run)
    broker.set(environment(server, **changes))
    assert broker("preflight", "tradingview").code == 0
    assert {name for name in ("login", "key", "token") if getattr(plans[0], name) is not None} == sent
    assert plans[0].is_public is (not sent)


def test_a_server_that_is_not_there_cannot_be_examined(broker: Cli, server: Server) -> None:
    assert "127.0.0.1:9" in broker.fails(4, "preflight", "tradingview", "https://127.0.0.1:9/api", "--json")
    broker.set(environment(server, ca_file=None))
    assert "not trusted" in broker.fails(5, "preflight", "tradingview", "--json")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_url": None}, "URL"),
        ({"base_url": "http://broker.example/api"}, "in the clear"),
        ({"base_url": "https://broker.example/api?a=1"}, "a query"),
        ({"login": None, "password": None, "key_file": None}, "key_file"),
        ({"auth": "token"}, "TOKEN"),
        ({"auth": "guess"}, "guess"),
        ({"password": None}, "password"),
        ({"client_secret": None}, "client_secret"),
        ({"key_file": "/does/not/exist"}, "/does/not/exist"),
        ({"ca_file": "/does/not/exist"}, "/does/not/exist"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    broker: Cli, server: Server, changes: dict[str, str | None], said: str
) -> None:
    broker.set(environment(server, **changes))
    assert said in broker.fails(2, "preflight", "tradingview", "--json")


def test_a_page_that_cannot_be_written_is_told_at_once(broker: Cli, tmp_path: Path) -> None:
    assert "cannot be written" in broker.fails(2, "preflight", "tradingview", "--html", tmp_path / "nowhere" / "report.html")


def test_streams_need_less_time_than_there_is(broker: Cli) -> None:
    assert "the streams take" in broker.fails(2, "preflight", "tradingview", "--stream-seconds", "200")
