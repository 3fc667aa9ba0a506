"""`handshake cplugin` and `watch cplugin`, as programs and people see them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, PATIENCE, Cli, Server, sandbox
from tests.cli.servers import listening
from tradesession.sandbox import Sandbox

VARIABLES = ("base_url", "authority", "client_id", "client_secret", "trade_platform", "ca_file")


def environment(facts: dict[str, Any], **changes: str | None) -> dict[str, str]:
    """What leads a command to this sandbox; None takes a variable away."""
    values = {name: facts[name] for name in VARIABLES} | changes
    return {f"TRADESESSION_CPLUGIN_{name.upper()}": value for name, value in values.items() if value is not None}


@contextmanager
def faulty(cli: Cli, *faults: str) -> Iterator[None]:
    """The command line, pointed at a sandbox with these faults."""
    with sandbox(*(part for fault in faults for part in ("--fault", f"cplugin.{fault}"))) as server:
        cli.set(environment(server.everything["cplugin"]))
        yield


@pytest.fixture
def facts(cli: Cli, server: Server) -> dict[str, Any]:
    """The command line, pointed at the sandbox that all tests share."""
    facts: dict[str, Any] = server.everything["cplugin"]
    cli.set(environment(facts))
    cli.secrets = {facts["client_secret"]}
    return facts


# --- handshake ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hub", ["mt4-v1", "mt4-v2", "mt5-v2"])
def test_the_json_has_state_steps_and_hub(cli: Cli, facts: dict[str, Any], hub: str) -> None:
    platform = facts["platforms"][hub[:3]]
    result = cli("handshake", "cplugin", "--json", "--hub", hub, "--trade-platform", platform).json
    assert (result["state"], result["hub"], result["trade_platform"]) == ("READY", hub, platform)
    assert [step["name"] for step in result["steps"]] == ["token", "ping", "hub"]
    assert all(step["milliseconds"] >= 0 and step["skipped"] is False for step in result["steps"])
    assert [step["name"] for step in result["steps"][2]["steps"]] == ["negotiate", "connect", "handshake", "restore"]
    assert result["connection_id"]
    assert result["platform_connected"] is True


def test_the_negotiation_can_be_skipped_and_the_bearer_stand_elsewhere(cli: Cli, facts: dict[str, Any]) -> None:
    result = cli("handshake", "cplugin", "--json", "--skip-negotiation", "--bearer-in", "signalr_token").json
    assert (result["negotiated"], result["connection_id"], result["bearer_in"]) == (False, None, "signalr_token")


def test_options_say_the_same_as_variables(cli: Cli, facts: dict[str, Any]) -> None:
    cli.set({})
    options = [part for name in VARIABLES for part in ("--" + name.replace("_", "-"), facts[name])]
    assert cli("handshake", "cplugin", "--json", *options).json["state"] == "READY"


def test_a_person_sees_each_step(cli: Cli, facts: dict[str, Any]) -> None:
    finished = cli("handshake", "cplugin")
    assert (finished.code, finished.err) == (0, "")
    lines = finished.out.splitlines()
    assert lines[0].startswith("CPlugin mt4-v2 at https://127.0.0.1:")
    for line, words in zip(lines[1:], ("token obtained", "pinged over REST", "hub ready", "READY"), strict=True):
        assert words in line


@pytest.mark.parametrize("status", [400, 404, 405, 426, 501])
def test_a_rest_call_that_the_server_lacks_is_skipped(cli: Cli, server: Server, status: int) -> None:
    with faulty(cli, f"rest_status={status}"):
        result = cli("handshake", "cplugin", "--json").json
        assert result["state"] == "READY"
        assert result["steps"][1] == {"name": "ping", "milliseconds": None, "skipped": True, "reason": f"HTTP {status}"}
        assert "skipped: HTTP" in cli("handshake", "cplugin").out


def test_a_rest_interface_that_gives_no_answer_is_skipped(cli: Cli, server: Server) -> None:
    with faulty(cli, "rest_delay=60"):
        result = cli("handshake", "cplugin", "--json", "--request-timeout", "0.2").json
        assert (result["state"], result["steps"][1]["reason"]) == ("READY", "no answer of the API")


def test_without_a_trade_platform_there_is_nothing_to_ping(cli: Cli, facts: dict[str, Any]) -> None:
    cli.set(environment(facts, trade_platform=None))
    result = cli("handshake", "cplugin", "--json", "--hub", "mt4-v1").json
    assert (result["state"], result["steps"][1]["skipped"], result["trade_platform"]) == ("READY", True, None)
    assert result["platform_connected"] is None


def test_the_hub_of_v1_says_of_a_platform_that_nobody_knows_that_it_is_not_connected(cli: Cli, server: Server) -> None:
    with faulty(cli, "refuse_platform"):
        result = cli("handshake", "cplugin", "--json", "--hub", "mt4-v1").json
        assert (result["state"], result["platform_connected"]) == ("READY", False)


def test_the_log_that_is_asked_for_holds_no_secret(cli: Cli, facts: dict[str, Any]) -> None:
    assert cli("--verbose", "handshake", "cplugin").code == 0
    cli.secrets |= {"planted-token"}
    assert cli("--verbose", "handshake", "cplugin", "--access-token", "planted-token").code == 7


# --- how it ends -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--client-secret", "wrong"], 3, "invalid_client"),
        (["--scope", "other"], 3, "invalid_scope"),
        (["--base-url", "http://127.0.0.1:1"], 4, "127.0.0.1:1 "),
        (["--authority", "http://127.0.0.1:1"], 10, "127.0.0.1:1 "),
        (["--access-token", "no-such-token"], 7, "token"),
        (["--trade-platform", "00000000-0000-4000-8000-000000000000"], 11, "unknown"),
        (["--trade-platform", "x"], 2, "no GUID"),
        (["--hub", "mt4"], 2, "did you mean mt4-v2"),
        (["--bearer-in", "url"], 2, "bearer_in"),
        (["--environment", "prod"], 2, "addresses of its own"),
        (["--hubb", "mt4-v2"], 2, "--hubb"),
        (["--ca-file", "/no/such/file"], 2, "/no/such/file"),
    ],
)
def test_the_exit_code_says_why(cli: Cli, facts: dict[str, Any], options: list[str], code: int, said: str) -> None:
    assert said in cli.fails(code, "handshake", "cplugin", "--json", *options)


def test_a_certificate_that_is_not_trusted_is_5(cli: Cli, facts: dict[str, Any]) -> None:
    cli.set(environment(facts, ca_file=None))
    assert "not trusted" in cli.fails(5, "handshake", "cplugin", "--json")


@pytest.mark.parametrize(
    ("fault", "code"),
    [("refuse_every_bearer", 7), ("forbid", 11), ("negotiate_status=403", 3), ("handshake_error=no", 11), ("rest_status=500", 11)],
)
def test_a_server_that_refuses_has_its_code(cli: Cli, server: Server, fault: str, code: int) -> None:
    with faulty(cli, fault):
        cli.fails(code, "handshake", "cplugin", "--json")


def test_a_missing_secret_names_its_variable(cli: Cli, facts: dict[str, Any]) -> None:
    cli.set(environment(facts, client_secret=None))
    assert "TRADESESSION_CPLUGIN_CLIENT_SECRET" in cli.fails(2, "handshake", "cplugin", "--json")


def test_a_variable_that_is_no_option_is_named(cli: Cli, facts: dict[str, Any]) -> None:
    cli.set(environment(facts, trade_platfrom="x"))
    assert "did you mean TRADESESSION_CPLUGIN_TRADE_PLATFORM" in cli.fails(2, "handshake", "cplugin", "--json")


def test_something_that_is_no_api_is_an_error(cli: Cli, facts: dict[str, Any]) -> None:
    with listening(lambda connection: None) as port:
        cli.fails(10, "handshake", "cplugin", "--json", "--authority", f"http://127.0.0.1:{port}")


# --- watch -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hub", "names"), [("mt4-v2", {"symbol", "bid", "ask", "lastTime"}), ("mt4-v1", {"Symbol", "Bid", "Ask"})])
def test_a_line_is_a_tick_as_on_the_wire(cli: Cli, facts: dict[str, Any], hub: str, names: set[str]) -> None:
    finished = cli("watch", "cplugin", "ticks", "EURUSD", "GBPUSD", "--json", "--count", 4, "--hub", hub)
    assert finished.code == 0, finished.err
    first, *ticks = (json.loads(line) for line in finished.out.splitlines())
    assert (first["kind"], first["after"], first["hub"]) == ("state", "READY", hub)
    assert len(ticks) == 4
    assert all(set(tick) == names for tick in ticks)


def test_without_a_terminal_each_tick_is_a_line(cli: Cli, facts: dict[str, Any]) -> None:
    finished = cli("watch", "cplugin", "ticks", "EURUSD", "--count", 2)
    assert [line.split()[0] for line in finished.out.splitlines()] == ["--", "EURUSD", "EURUSD"]


def test_an_unknown_symbol_is_an_error_that_names_it(cli: Cli, facts: dict[str, Any]) -> None:
    assert "EURUSB" in cli.fails(11, "watch", "cplugin", "ticks", "EURUSD", "EURUSB")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
async def test_it_stays_through_losses_and_renewals_and_says_goodbye(ending: signal.Signals) -> None:
    async with Sandbox(seed=1) as running:
        server = running.cplugin
        server.faults.token_life, server.faults.close_at_expiry = 4.0, True
        names = environment(server.describe())
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "watch", "cplugin", "ticks", "EURUSD", "--json", env=os.environ | names, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        lines: list[dict[str, Any]] = []

        async def until(*kinds: str) -> None:
            assert process.stdout is not None
            for kind in kinds:
                lines.append(json.loads(await process.stdout.readline()))
                while lines[-1].get("kind", "tick") != kind:
                    lines.append(json.loads(await process.stdout.readline()))

        try:
            async with asyncio.timeout(PATIENCE):
                await until("state", "tick")
                while server.journal.counts["connected"] < 3:  # two renewals
                    await until("tick")
                assert not any(line.get("kind") == "gap" for line in lines)
                server.faults.drop()
                await until("gap", "tick")
        finally:
            process.send_signal(ending)
            async with asyncio.timeout(PATIENCE):
                await process.communicate()
        assert process.returncode == 0
        async with asyncio.timeout(PATIENCE):
            while server.connections:
                await asyncio.sleep(0)
