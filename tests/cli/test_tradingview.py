"""The TradingView commands, against a sandbox in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, PATIENCE, Cli

KEYS = (
    *("base_url", "token_url", "app_url", "user_id", "client_id", "client_secret", "login", "password"),
    *("key_file", "certificate_file", "ca_file"),
)  # fmt: skip


@pytest.fixture(scope="module")
def broker() -> Iterator[dict[str, Any]]:
    process = subprocess.Popen([*COMMAND, "sandbox", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["tradingview"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


def environment(broker: dict[str, Any], **changes: str) -> dict[str, str]:
    values = {name: broker[name] for name in KEYS} | changes
    return {f"TRADESESSION_TRADINGVIEW_{name.upper()}": value for name, value in values.items()} | {"TRADESESSION_STORE": "memory:"}


@pytest.fixture
def tv(broker: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    cli = Cli(monkeypatch, capsys)
    cli.set(environment(broker))
    cli.secrets = {broker["client_secret"], broker["password"]}
    return cli


def test_every_documented_key_is_a_variable_and_the_certificate_is_taken_first(tv: Cli, broker: dict[str, Any]) -> None:
    assert set(broker) == set(KEYS)
    result = tv("handshake", "tradingview", "--json").json
    assert (result["state"], result["auth"], result["base_url"]) == ("READY", "server", broker["base_url"])
    assert result["symbols"] > 0
    assert [step["name"] for step in result["steps"]] == ["token", "symbol_info", "streaming"]
    assert all(step["milliseconds"] >= 0 for step in result["steps"])


def test_by_password_and_with_more_streams(tv: Cli) -> None:
    result = tv("handshake", "tradingview", "--json", "--auth", "password", "--streams", "4").json
    assert (result["auth"], result["streams"]) == ("password", 4)
    assert [step["name"] for step in result["steps"]].count("streaming") == 4


def test_a_person_sees_each_step(tv: Cli, broker: dict[str, Any]) -> None:
    shown = tv("handshake", "tradingview").out
    for text in (broker["base_url"], "token obtained", "symbols listed", "stream open", "READY"):
        assert text in shown


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--auth", "password", "--password", "wrong"], 7, "check the login and the password; it is not sent again by itself"),
        (["--client-secret", "nonsense"], 3, "check the client id and the client secret"),
        (["--user-id", "somebody"], 3, "check the key, the certificate known to the server, the subject"),
        (["--auth", "token", "--token", "nonsense"], 7, "put a new one into the configuration"),
        (["--auth", "none"], 7, "the server does not take the token, or wants one"),
        (["--auth", "magic"], 2, "auth='magic' is none of"),
        (["--key-file", "/nowhere/key.pem"], 2, "key_file='/nowhere/key.pem' cannot be read"),
        (["--base-url", "http://broker.example"], 2, "secrets would travel in the clear"),
        (["--base-url", "https://127.0.0.1:1"], 4, "127.0.0.1:1 is not reachable"),
        (["--streams", "7"], 2, "streams=7 is none of 0 to 4"),
    ],
)
def test_each_ending_has_its_code_and_one_line(tv: Cli, options: list[str], code: int, said: str) -> None:
    assert said in tv.fails(code, "handshake", "tradingview", "--json", *options)


def test_an_authority_that_is_not_trusted(tv: Cli, broker: dict[str, Any]) -> None:
    tv.set(environment(broker, ca_file=broker["certificate_file"]))
    assert "is not trusted" in tv.fails(5, "handshake", "tradingview", "--json")


def test_without_a_base_url_it_says_what_is_missing(tv: Cli) -> None:
    tv.set({})
    assert "TRADESESSION_TRADINGVIEW_BASE_URL" in tv.fails(2, "handshake", "tradingview")


def test_quotes_come_as_lines(tv: Cli) -> None:
    finished = tv("watch", "tradingview", "EURUSD", "--count", "2", "--json")
    assert finished.code == 0, finished.err
    state, *quotes = map(json.loads, finished.out.splitlines())
    assert (state["kind"], state["after"]) == ("state", "READY")
    assert [quote["symbol"] for quote in quotes] == ["EURUSD", "EURUSD"]
    assert all(float(quote["bid"]) <= float(quote["ask"]) for quote in quotes)


def test_a_token_rests_in_the_store_and_can_be_looked_at(tv: Cli, broker: dict[str, Any], tmp_path: Any) -> None:
    tv.set(environment(broker) | {"TRADESESSION_STORE": f"sqlite:///{tmp_path}/tokens.sqlite"})
    first = tv("tokens", "refresh", "tradingview", "--json").json
    again = tv("tokens", "refresh", "tradingview", "--json", "--force").json
    assert (first["generation"], first["exchanged"], again["generation"], again["exchanged"]) == (1, True, 2, True)
    listed = tv("tokens", "list", "--json").json["tokens"]
    assert [(token["platform"], token["client_id"], token["generation"]) for token in listed] == [("tradingview", broker["client_id"], 2)]
