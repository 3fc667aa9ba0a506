from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Server
from tests.cli.servers import listening
from tradesession.cli.ctrader import handshake
from tradesession.cli.output import Screen
from tradesession.errors import ConfigurationError
from tradesession.sandbox import Sandbox


def test_the_json_holds_state_accounts_and_steps(cli: Cli, server: Server) -> None:
    result = cli("handshake", "ctrader", "--json").json
    assert result["state"] == "READY"
    assert (result["environment"], result["transport"]) == ("demo", "tcp")
    assert (result["host"], result["port"]) == (server.facts["demo"]["host"], server.facts["demo"]["port"])
    assert result["accounts"] == [account | {"state": "AUTHORIZED"} for account in server.facts["accounts"] if not account["isLive"]]
    names = [step["name"] for step in result["steps"]]
    assert names == ["connect", "application_auth", "account_list", *["account_auth"] * len(server.demo)]
    assert all(step["milliseconds"] >= 0 for step in result["steps"])
    assert {step["ctidTraderAccountId"] for step in result["steps"][3:]} == set(server.demo)


def test_options_say_the_same_as_variables(cli: Cli, server: Server) -> None:
    given = server.environment()
    cli.set({})
    options = [part for name, value in given.items() for part in (f"--{name[21:].lower().replace('_', '-')}", value)]
    options = [
        part for pair in zip(options[::2], options[1::2], strict=True) if pair[0] not in ("--auth-url", "--redirect-uri") for part in pair
    ]
    assert cli("handshake", "ctrader", "--json", *options).json["state"] == "READY"


def test_over_websocket(cli: Cli, server: Server) -> None:
    result = cli(
        "handshake", "ctrader", "--json", "--transport", "websocket", "--websocket-url", server.facts["demo"]["websocket_url"]
    ).json
    assert (result["state"], result["transport"]) == ("READY", "websocket")


def test_to_loopback_without_tls(cli: Cli, server: Server) -> None:
    cli.set(server.environment(ca_file=None, port=server.facts["demo"]["plain_port"], plaintext="true"))
    assert cli("handshake", "ctrader", "--json").json["state"] == "READY"


def test_live_accounts(cli: Cli, server: Server) -> None:
    result = cli("handshake", "ctrader", "--json", "--environment", "live", "--port", server.facts["live"]["port"]).json
    assert [account["ctidTraderAccountId"] for account in result["accounts"]] == server.live


@pytest.mark.parametrize("variable", ["ACCOUNT", "ACCOUNTS"])
@pytest.mark.parametrize("separator", [" ", ",", ", "])
def test_accounts_from_the_environment(cli: Cli, server: Server, variable: str, separator: str) -> None:
    chosen = server.demo[:2]
    cli.set(server.environment(**{variable: separator.join(map(str, chosen))}))
    result = cli("handshake", "ctrader", "--json").json
    assert [account["ctidTraderAccountId"] for account in result["accounts"]] == chosen


def test_accounts_by_option(cli: Cli, server: Server) -> None:
    chosen = server.demo[1:]
    options = [part for account in chosen for part in ("--account", account)]
    result = cli("handshake", "ctrader", "--json", *options).json
    assert [account["ctidTraderAccountId"] for account in result["accounts"]] == chosen


@pytest.mark.parametrize("given", ["option", "variable"])
def test_a_broker_whose_title_has_a_space(cli: Cli, server: Server, given: str) -> None:
    options = ["--broker", "IC Markets", "--broker", "Pepper"] if given == "option" else []
    cli.set(server.environment(**({"BROKERS": "IC Markets, Pepper"} if given == "variable" else {})))
    result = cli("handshake", "ctrader", "--json", *options)
    assert result.code == 6
    assert "broker 'IC Markets' is not among" in result.err


async def test_both_environments_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    async with Sandbox(seed=1) as sandbox:
        places = {"demo": sandbox.ctrader.demo, "live": sandbox.ctrader.live}
        endpoints = {name: (place.host, place.port) for name, place in places.items()}
        config = sandbox.ctrader.config().replace(environment="both", host="", websocket_url="", endpoints=endpoints)
        result, refusal = await handshake.open_and_close(config, Screen())
    assert (result["state"], refusal) == ("READY", None)
    assert {name: (place["host"], place["port"]) for name, place in result["endpoints"].items()} == endpoints
    assert {account["isLive"] for account in result["accounts"]} == {True, False}
    assert capsys.readouterr().out.count("connected") == 2


def test_a_person_sees_each_step_with_its_time(cli: Cli, server: Server) -> None:
    finished = cli("handshake", "ctrader")
    lines = finished.out.splitlines()
    assert (finished.code, finished.err) == (0, "")
    assert lines[0] == f"cTrader demo at {server.facts['demo']['host']}:{server.facts['demo']['port']}"
    for line, words in zip(lines[1:4], ("connected", "application authenticated", "accounts listed"), strict=True):
        assert words in line
        assert line.endswith("ms")
    assert all(str(account) in finished.out for account in server.demo)
    assert lines[-1] == "READY"


def test_the_log_that_is_asked_for_holds_no_secret(cli: Cli) -> None:
    assert cli("--verbose", "handshake", "ctrader").code == 0
    assert cli("--verbose", "handshake", "ctrader", "--access-token", "no-such-token").code == 7


# --- how it ends -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--client-secret", "--client-id"])
def test_a_refused_application_is_3(cli: Cli, option: str) -> None:
    assert "check client id and secret" in cli.fails(3, "handshake", "ctrader", "--json", option, "wrong")


def test_an_unreachable_host_is_4(cli: Cli) -> None:
    assert "127.0.0.1:1 " in cli.fails(4, "handshake", "ctrader", "--json", "--port", "1")


def test_a_certificate_that_is_not_trusted_is_5(cli: Cli, server: Server) -> None:
    cli.set(server.environment(ca_file=None))
    assert "not trusted" in cli.fails(5, "handshake", "ctrader", "--json")


def test_an_unknown_account_is_6(cli: Cli, server: Server) -> None:
    error = cli.fails(6, "handshake", "ctrader", "--json", "--account", "7")
    assert all(str(account) in error for account in server.demo)


def test_an_account_of_the_other_environment_is_6(cli: Cli, server: Server) -> None:
    assert "environment='live'" in cli.fails(6, "handshake", "ctrader", "--json", "--account", server.live[0])


def test_a_refused_access_token_is_7_and_names_the_remedy(cli: Cli) -> None:
    assert "tokens import" in cli.fails(7, "handshake", "ctrader", "--json", "--access-token", "no-such-token")


def test_no_token_in_the_store_is_7(cli: Cli, server: Server) -> None:
    cli.set(server.environment(access_token=None) | {"TRADESESSION_STORE": "memory:"})
    assert "tradesession login" in cli.fails(7, "handshake", "ctrader", "--json")


def test_a_link_that_the_server_cuts_is_11(cli: Cli, server: Server) -> None:
    with listening(lambda connection: None) as port:
        cli.set(server.environment(ca_file=None, plaintext="1"))
        cli.fails(11, "handshake", "ctrader", "--json", "--port", port)


def test_a_mistake_of_ours_is_1_and_its_text_is_not_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("something private")

    monkeypatch.setattr(handshake, "open_and_close", broken)
    error = cli.fails(1, "handshake", "ctrader", "--json")
    assert "unexpected KeyError at test_handshake.py" in error
    assert "private" not in error


def test_what_a_server_says_cannot_touch_the_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: object) -> None:
        raise ConfigurationError("the server says \x1b[2J\nand more")

    monkeypatch.setattr(handshake, "open_and_close", refused)
    assert cli.fails(2, "handshake", "ctrader") == "error: the server says ?[2J and more\n"


# --- configuration ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--port", "x"], "--port"),
        (["--port", "0"], "port=0"),
        (["--environment", "test"], "environment='test'"),
        (["--transport", "udp"], "transport='udp'"),
        (["--account", "x"], "--account"),
        (["--acount", "1"], "--acount"),
        (["--ca-file", "/no/such/file"], "ca_file='/no/such/file'"),
        (["--step-timeout", "0"], "step_timeout=0"),
        (["--plaintext"], "plaintext"),
        (["--access-token", "", "--refresh-token", "r"], "--refresh-token"),
    ],
)
def test_a_wrong_option_is_2_and_is_named(cli: Cli, options: list[str], named: str) -> None:
    assert named in cli.fails(2, "handshake", "ctrader", "--json", *options)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"port": "x"}, "--port"),
        ({"prot": "5"}, "did you mean TRADESESSION_CTRADER_PORT"),
        ({"client_id": None}, "TRADESESSION_CTRADER_CLIENT_ID"),
        ({"client_secret": None}, "TRADESESSION_CTRADER_CLIENT_SECRET"),
        ({"account": "1 x"}, "--account"),
    ],
)
def test_a_wrong_variable_is_2_and_is_named(cli: Cli, server: Server, changes: dict[str, str | None], named: str) -> None:
    cli.set(server.environment(**changes))
    assert named in cli.fails(2, "handshake", "ctrader", "--json")


def test_a_token_that_is_given_leaves_the_store_alone(cli: Cli, server: Server, tmp_path: Path) -> None:
    cli.set(server.environment(store=f"sqlite://{tmp_path}/tokens.sqlite", refresh_token="unused"))
    assert cli("handshake", "ctrader", "--json").json["state"] == "READY"
    assert list(tmp_path.iterdir()) == []


def test_a_refresh_token_that_is_given_is_never_exchanged(cli: Cli, server: Server) -> None:
    cli.set(server.environment(refresh_token=server.facts["refresh_token"], access_token="no-such-token"))
    cli.fails(7, "handshake", "ctrader", "--json")
    cli.set(server.environment(refresh_token=server.facts["refresh_token"]))
    assert cli("handshake", "ctrader", "--json").json["state"] == "READY"
