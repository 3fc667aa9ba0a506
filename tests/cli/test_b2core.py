"""B2Core on the command line: the same hand as for the other platforms."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Server
from tests.cli.test_tokens import Full
from tradesession import policy
from tradesession.b2core import CodeRequest
from tradesession.cli.b2core import handshake
from tradesession.cli.output import Screen
from tradesession.session import manager


@pytest.fixture
def facts(server: Server) -> dict[str, Any]:
    return dict(server.everything["b2core"])


@pytest.fixture
def b2core(cli: Cli, server: Server, facts: dict[str, Any], tmp_path: Path) -> Cli:
    """The command line, with everything that the sandbox says in its environment."""
    cli.set({f"TRADESESSION_B2CORE_{name.upper()}": str(value) for name, value in facts.items()})
    cli.secrets = server.secrets | {facts["password"], facts["access_token"]}
    return cli


def without(facts: dict[str, Any], *names: str, **changes: str) -> dict[str, str]:
    return {f"TRADESESSION_B2CORE_{name.upper()}": str(value) for name, value in (facts | changes).items() if name not in names}


def test_the_sandbox_says_what_a_client_needs(facts: dict[str, Any]) -> None:
    assert set(facts) == {"base_url", "email", "password", "access_token", "platform_id"}
    assert facts["base_url"].startswith("http://127.0.0.1:")


def test_the_json_holds_state_and_steps(b2core: Cli, facts: dict[str, Any]) -> None:
    result = b2core("handshake", "b2core", "--json").json
    assert (result["state"], result["base_url"], result["platform_id"]) == ("READY", facts["base_url"], str(facts["platform_id"]))
    assert [step["name"] for step in result["steps"]] == ["sign_in", "platform_token", "connect", "handshake", "restore"]
    assert all(step["milliseconds"] >= 0 for step in result["steps"])


def test_with_a_bearer_alone_no_store_is_touched(b2core: Cli, facts: dict[str, Any], tmp_path: Path) -> None:
    store = tmp_path / "tokens.db"
    b2core.set(without(facts, "email", "password") | {"TRADESESSION_STORE": f"sqlite://{store}"})
    assert b2core("handshake", "b2core", "--json").json["state"] == "READY"
    assert not store.exists()


def test_with_email_and_password_both_tokens_go_to_the_store_and_the_next_command_signs_in_no_more(
    b2core: Cli, facts: dict[str, Any], tmp_path: Path
) -> None:
    b2core.set(without(facts, "access_token") | {"TRADESESSION_STORE": f"sqlite://{tmp_path}/tokens.db"})
    for _ in range(2):
        assert b2core("handshake", "b2core", "--json").json["state"] == "READY"
    listed = b2core("tokens", "list", "--json").json
    assert {entry["platform"] for entry in listed["tokens"]} == {"b2core"}
    assert {entry["generation"] for entry in listed["tokens"]} == {1}
    assert len(listed["tokens"]) == 2


def test_for_a_person_each_step_is_a_line(b2core: Cli) -> None:
    out = b2core("handshake", "b2core").out
    assert "signed in at B2Core" in out
    assert "READY" in out


def test_a_wrong_password_is_one_line_with_a_code_of_its_own(b2core: Cli, facts: dict[str, Any]) -> None:
    b2core.set(without(facts, "access_token", password="wrong-and-planted") | {"TRADESESSION_STORE": "memory:"})
    line = b2core.fails(3, "handshake", "b2core", "--json")
    assert "not sent again" in line
    assert "wrong-and-planted" not in line


def test_a_refused_bearer_asks_for_a_person(b2core: Cli, facts: dict[str, Any]) -> None:
    b2core.set(without(facts, "email", "password", access_token="planted-and-unknown"))
    line = b2core.fails(7, "handshake", "b2core")
    assert "access_token" in line
    assert "planted-and-unknown" not in line


def test_an_unknown_platform_is_named(b2core: Cli, facts: dict[str, Any]) -> None:
    b2core.set(without(facts, platform_id="99"))
    assert "platform_id" in b2core.fails(3, "handshake", "b2core")


def test_what_is_missing_is_a_usage_error(b2core: Cli, facts: dict[str, Any]) -> None:
    for name in ("base_url", "platform_id"):
        b2core.set(without(facts, name))
        assert f"TRADESESSION_B2CORE_{name.upper()}" in b2core.fails(2, "handshake", "b2core")
    b2core.set(without(facts, "email", "password", "access_token"))
    assert "access_token" in b2core.fails(2, "handshake", "b2core")
    b2core.set(without(facts) | {"TRADESESSION_B2CORE_PLATFROM_ID": "1"})
    assert "did you mean TRADESESSION_B2CORE_PLATFORM_ID" in b2core.fails(2, "handshake", "b2core")


def test_nobody_who_listens_is_an_endpoint_that_cannot_be_reached(b2core: Cli, facts: dict[str, Any]) -> None:
    b2core.set(without(facts, base_url="http://127.0.0.1:1", store="memory:"))
    assert b2core.fails(10, "handshake", "b2core")


# --- tokens -----------------------------------------------------------------------------------------------------------------------------


def reply(access: str, refresh: str | None = None) -> bytes:
    return json.dumps({"access_token": access, "refresh_token": refresh, "expires_in": 3600}).encode()


def test_a_bearer_from_a_browser_is_brought_in_and_used(b2core: Cli, facts: dict[str, Any], tmp_path: Path) -> None:
    """With a password that is wrong: it is not even sent while the bearer lasts."""
    environment = without(facts, "access_token", password="wrong-and-planted") | {"TRADESESSION_STORE": f"sqlite://{tmp_path}/tokens.db"}
    b2core.set(environment)
    shown = b2core("tokens", "import", "b2core", "--json", stdin=reply(facts["access_token"])).json
    assert (shown["platform"], shown["client_id"], shown["level"]) == ("b2core", facts["email"], "user")
    assert b2core("handshake", "b2core", "--json").json["state"] == "READY"
    levels = {entry["level"] for entry in b2core("tokens", "list", "--json").json["tokens"]}
    assert levels == {"user", f"platform-{facts['platform_id']}"}
    assert "platform-1" in b2core("tokens", "list").out
    b2core.set({"TRADESESSION_STORE": environment["TRADESESSION_STORE"]})
    assert b2core("tokens", "show", "b2core", "--json").json["access_token"] == "***"
    assert b2core("tokens", "remove", "b2core", "--yes", "--json").json == {"removed": True}


def test_the_bearer_is_refreshed_with_the_credentials_at_hand(b2core: Cli, facts: dict[str, Any], tmp_path: Path) -> None:
    b2core.set(without(facts, "access_token") | {"TRADESESSION_STORE": f"sqlite://{tmp_path}/tokens.db"})
    assert b2core("tokens", "refresh", "b2core", "--json").json["generation"] == 1
    assert b2core("tokens", "refresh", "b2core", "--json").json["exchanged"] is False
    assert b2core("tokens", "refresh", "b2core", "--force", "--json").json["generation"] == 2


def test_of_several_users_one_has_to_be_named(b2core: Cli, facts: dict[str, Any], tmp_path: Path) -> None:
    store = {"TRADESESSION_STORE": f"sqlite://{tmp_path}/tokens.db"}
    for email in ("one@example.com", "two@example.com"):
        b2core.set(without(facts, "access_token", email=email) | store)
        b2core("tokens", "import", "b2core", stdin=reply("a"))
    b2core.set(store)
    assert "--base-url, --email" in b2core.fails(2, "tokens", "show", "b2core")


def test_of_two_levels_that_cannot_be_saved_the_users_bearer_ends_in_a_file(
    b2core: Cli, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The platform's pair costs nothing, and would be taken for a bearer when it is brought in."""
    b2core.set(without(facts, "access_token") | {"TRADESESSION_STORE": "memory:"})
    with monkeypatch.context() as patch:
        patch.setattr(Full, "is_full", True)
        patch.setattr(manager, "open_store", lambda url, *, clock: Full())
        patch.setattr(policy, "SAVE_ON_CLOSE_LIMIT", 0.05)
        patch.setattr("tempfile.tempdir", str(tmp_path))
        assert "tokens import b2core" in b2core.fails(8, "handshake", "b2core", "--json")
    (path,) = tmp_path.glob("tradesession-unsaved-*.json")
    pair = json.loads(path.read_bytes())
    b2core.secrets |= {pair["access_token"], pair["refresh_token"]}
    b2core.set(without(facts, "access_token", password="wrong-and-planted") | {"TRADESESSION_STORE": f"sqlite://{tmp_path}/tokens.db"})
    assert b2core("tokens", "import", "b2core", "--force", stdin=path.read_bytes()).code == 0
    assert b2core("handshake", "b2core", "--json").json["state"] == "READY"


def test_a_token_that_is_missing_is_not_sought_by_a_login_that_there_is_not(b2core: Cli, facts: dict[str, Any]) -> None:
    b2core.set({"TRADESESSION_STORE": "memory:"})
    for options in ([], ["--base-url", facts["base_url"], "--email", "me@example.com"]):
        line = b2core.fails(7, "tokens", "show", "b2core", *options)
        assert "`tradesession tokens import b2core`" in line
        assert "login" not in line


# --- a person at the terminal -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """What is written there is typed at the terminal."""
    master, slave = os.openpty()
    with open(slave, encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        yield master
    os.close(master)


async def test_a_code_is_read_from_the_terminal_and_nothing_wipes_the_question_out(
    keyboard: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    ask = handshake.asking(screen)["ask_code"]
    with screen.waiting("shaking hands"):
        asked = asyncio.ensure_future(ask(CodeRequest("sms", "me@example.com")))
        await asyncio.sleep(0)
        shown = capsys.readouterr()
        os.write(keyboard, b"123456\n")
        async with asyncio.timeout(60):
            assert await asked == "123456"
    assert shown.err == "sms code of me@example.com: "
    hidden, visible = "\x1b[?25l", "\x1b[?25h"  # the cursor, while something moves
    assert shown.out.count(hidden) == shown.out.count(visible) == 1
    assert capsys.readouterr().out.count(hidden) == 1, "it moves again once the question is answered"


async def test_a_question_that_nobody_answered_sets_nothing_moving_again(
    keyboard: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    screen = Screen()
    with screen.waiting("shaking hands"):
        asked = asyncio.ensure_future(handshake.ask(screen, CodeRequest("sms", "me@example.com")))
        await asyncio.sleep(0)
    capsys.readouterr()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert capsys.readouterr().out == ""


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert handshake.asking(Screen()) == {}
