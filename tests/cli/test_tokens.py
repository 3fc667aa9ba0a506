from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Server
from tests.cli.servers import listening
from tradesession import ctrader, policy
from tradesession.cli.manager import managed
from tradesession.cli.stored import imported
from tradesession.ctrader.grants import slot
from tradesession.errors import StoreError, StoreUnreachable
from tradesession.session import manager
from tradesession.tokens.store import Write
from tradesession.tokens.stores.memory import MemoryStore


@pytest.fixture
def store(cli: Cli, server: Server, tmp_path: Path) -> str:
    """An empty store, named by the environment; no token is."""
    url = f"sqlite://{tmp_path}/tokens.sqlite"
    cli.set(server.environment(access_token=None) | {"TRADESESSION_STORE": url})
    return url


@pytest.fixture
def reply(cli: Cli, server: Server, store: str) -> bytes:
    """A fresh grant, imported."""
    body = server.reply()
    assert cli("tokens", "import", "ctrader", stdin=body).code == 0
    return body


# --- bringing in, looking at, taking out --------------------------------------------------------------------------------------------


def test_a_reply_is_imported_as_it_is_and_shown_without_its_secrets(cli: Cli, server: Server, store: str) -> None:
    body = server.reply()
    imported = cli("tokens", "import", "ctrader", "--json", stdin=body).json
    shown = cli("tokens", "show", "ctrader", "--json").json
    assert imported == shown
    assert (shown["generation"], shown["state"], shown["grant"]) == (1, "fresh", "usable")
    assert (shown["access_token"], shown["refresh_token"]) == ("***", "***")
    assert shown["expires_at"] == pytest.approx(time.time() + json.loads(body)["expiresIn"], abs=60)


def test_the_secrets_are_shown_on_request(cli: Cli, reply: bytes) -> None:
    shown = json.loads(cli("tokens", "show", "ctrader", "--json", "--reveal", reveals=True).out)
    assert (shown["access_token"], shown["refresh_token"]) == (json.loads(reply)["accessToken"], json.loads(reply)["refreshToken"])


def test_a_person_sees_the_same(cli: Cli, reply: bytes) -> None:
    shown = cli("tokens", "show", "ctrader").out
    assert "generation     1" in shown
    assert "*** (fingerprint " in shown
    assert json.loads(reply)["refreshToken"] in cli("tokens", "show", "ctrader", "--reveal", reveals=True).out


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"", "no JSON object"),
        (b"[]", "no JSON object"),
        (b'{"a": 1}', "no access token"),
        (b'{"errorCode": "ACCESS_DENIED", "accessToken": null}', "ACCESS_DENIED"),
    ],
)
def test_what_is_no_reply_is_2(cli: Cli, store: str, reply: bytes, said: str) -> None:
    assert said in cli.fails(2, "tokens", "import", "ctrader", "--json", stdin=reply)


def test_an_import_says_whose_token_it_is(cli: Cli, server: Server, store: str) -> None:
    cli.set(server.environment(client_id=None) | {"TRADESESSION_STORE": store})
    assert "--client-id" in cli.fails(2, "tokens", "import", "ctrader", stdin=server.reply())
    assert cli("tokens", "import", "ctrader", "--client-id", "c", "--subject", "me", stdin=server.reply()).code == 0
    assert cli("tokens", "show", "ctrader", "--json").json["subject"] == "me"  # the only one there is


def test_a_newer_token_is_not_overwritten_unless_told(cli: Cli, reply: bytes) -> None:
    assert cli("tokens", "refresh", "ctrader", "--force", "--json").json["generation"] == 2
    assert "--force" in cli.fails(2, "tokens", "import", "ctrader", "--json", stdin=reply)
    assert cli("tokens", "show", "ctrader", "--json").json["generation"] == 2
    assert cli("tokens", "import", "ctrader", "--json", "--force", stdin=reply).json["generation"] == 3


def test_several_tokens_are_listed_and_one_is_chosen(cli: Cli, server: Server, store: str) -> None:
    assert cli("tokens", "list", "--json").json == {"tokens": []}
    for subject in ("ann", "bob"):
        cli("tokens", "import", "ctrader", "--subject", subject, stdin=server.reply())
    listed = cli("tokens", "list", "ctrader", "--json").json["tokens"]
    assert [token["subject"] for token in listed] == ["ann", "bob"]
    assert cli("tokens", "list").out.count("subject") == 2
    cli.set({"TRADESESSION_STORE": store})
    assert "ann" in cli.fails(2, "tokens", "show", "ctrader")
    assert cli("tokens", "show", "ctrader", "--subject", "bob", "--json").json["subject"] == "bob"
    assert "no platform" in cli.fails(2, "tokens", "list", "ctrade")


def test_an_export_is_asked_for_twice_and_can_be_imported(cli: Cli, server: Server, reply: bytes, tmp_path: Path) -> None:
    for options in ([], ["--yes"], ["--reveal"]):
        assert "--reveal and --yes" in cli.fails(2, "tokens", "export", "ctrader", *options)
    pair = cli("tokens", "export", "ctrader", "--reveal", "--yes", reveals=True).out.encode()
    assert json.loads(pair)["access_token"] == json.loads(reply)["accessToken"]
    elsewhere = f"sqlite://{tmp_path}/other.sqlite"
    before = cli("tokens", "show", "ctrader", "--json").json
    after = cli("tokens", "import", "ctrader", "--store", elsewhere, "--json", stdin=pair).json
    assert (after["expires_at"], after["refresh_fingerprint"]) == (before["expires_at"], before["refresh_fingerprint"])


def test_what_is_removed_is_gone(cli: Cli, reply: bytes) -> None:
    assert cli("tokens", "remove", "ctrader", "--json").json == {"removed": True}
    for command in (["show"], ["remove"], ["export", "--reveal", "--yes"], ["refresh", "--json"]):
        assert "login" in cli.fails(7, "tokens", command[0], "ctrader", *command[1:])


def test_on_a_terminal_a_removal_is_asked_about(cli: Cli, reply: bytes) -> None:
    assert "not removed" in cli("tokens", "remove", "ctrader", stdin=b"n\n", terminal=True).out
    assert cli("tokens", "remove", "ctrader", "--json", stdin=b"y\n", terminal=True).json == {"removed": True}


def test_on_a_terminal_an_import_says_what_it_waits_for(cli: Cli, server: Server, store: str) -> None:
    finished = cli("tokens", "import", "ctrader", stdin=server.reply(), terminal=True)
    assert finished.code == 0
    assert "Ctrl-D" in finished.err


# --- renewing ----------------------------------------------------------------------------------------------------------------------


def test_a_token_that_lives_long_enough_is_not_exchanged(cli: Cli, reply: bytes) -> None:
    first = cli("tokens", "refresh", "ctrader", "--min-ttl", "60", "--json").json
    assert (first["generation"], first["exchanged"]) == (1, False)
    assert "good as it is" in cli("tokens", "refresh", "ctrader").out


def test_one_that_does_not_is_exchanged_once(cli: Cli, server: Server, store: str) -> None:
    body = json.loads(server.reply()) | {"expiresIn": 1}
    cli("tokens", "import", "ctrader", stdin=json.dumps(body).encode())
    renewed = cli("tokens", "refresh", "ctrader", "--min-ttl", "60", "--json", reveals=True).json
    assert (renewed["generation"], renewed["exchanged"]) == (2, True)
    assert renewed["expires_at"] > time.time() + 60
    again = cli("tokens", "refresh", "ctrader", "--min-ttl", "60", "--json").json
    assert again == renewed | {"exchanged": False}


def test_a_handshake_takes_the_token_from_the_store_and_renews_it_there(cli: Cli, server: Server, store: str) -> None:
    body = json.loads(server.reply()) | {"accessToken": "forged", "expiresIn": 1}
    cli("tokens", "import", "ctrader", stdin=json.dumps(body).encode())
    assert cli("handshake", "ctrader", "--json").json["state"] == "READY"
    assert cli("tokens", "show", "ctrader", "--json").json["generation"] == 2


def test_a_dead_grant_is_7(cli: Cli, reply: bytes) -> None:
    cli("tokens", "refresh", "ctrader", "--force")
    cli("tokens", "import", "ctrader", "--force", stdin=reply)
    assert "login ctrader" in cli.fails(7, "tokens", "refresh", "ctrader", "--force", "--json")
    assert cli("tokens", "show", "ctrader", "--json").json["grant"] == "dead"


def test_an_endpoint_that_cannot_be_reached_is_10(cli: Cli, reply: bytes) -> None:
    cli.fails(10, "tokens", "refresh", "ctrader", "--min-ttl", "9999999", "--force", "--json", "--token-url", "http://127.0.0.1:1/token")
    assert cli("tokens", "show", "ctrader", "--json").json["grant"] == "usable"


def test_an_exchange_without_an_answer_is_9(cli: Cli, server: Server, store: str) -> None:
    body = json.loads(server.reply()) | {"expiresIn": 1}
    cli("tokens", "import", "ctrader", stdin=json.dumps(body).encode())
    with listening(lambda connection: connection.recv(1 << 16)) as port:
        error = cli.fails(9, "tokens", "refresh", "ctrader", "--min-ttl", "60", "--json", "--token-url", f"http://127.0.0.1:{port}/token")
    assert "may be spent" in error
    assert cli("tokens", "show", "ctrader", "--json").json["grant"] == "uncertain"


def test_an_endpoint_that_may_not_be_used_is_2(cli: Cli, reply: bytes) -> None:
    assert "https" in cli.fails(2, "tokens", "refresh", "ctrader", "--force", "--token-url", "http://example.com/token")


@pytest.mark.parametrize(
    "command", [["tokens", "list"], ["tokens", "show", "ctrader"], ["tokens", "refresh", "ctrader"], ["handshake", "ctrader"]]
)
def test_a_store_that_must_not_be_used_is_8(cli: Cli, store: str, tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "tokens.sqlite"
    path.write_bytes(b"this is no database" * 100)
    path.chmod(0o600)
    cli.fails(8, *command, "--json")
    assert path.read_bytes() == b"this is no database" * 100


def test_a_store_that_cannot_be_reached_is_8(cli: Cli, store: str) -> None:
    pytest.importorskip("redis")
    cli.fails(8, "tokens", "list", "--json", "--store", "redis://127.0.0.1:1/0")


def test_a_store_that_is_none_is_2(cli: Cli, store: str) -> None:
    assert "sqlite" in cli.fails(2, "tokens", "list", "--json", "--store", "sqllite:///x")


class Full(MemoryStore):
    """Takes the server's first pair, and nothing behind it."""

    is_full = False

    @classmethod
    async def of(cls, server: Server) -> Full:
        full = cls()
        await full.put(slot(server.facts["client_id"]), imported(server.reply(), time.time()))
        full.is_full = True
        return full

    async def _write(self, key: str, write: Write) -> bool:
        if self.is_full:
            raise StoreUnreachable("the store is away")
        return await super()._write(key, write)


async def test_a_pair_that_is_not_saved_when_somebody_interrupts_ends_in_a_file(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    full = await Full.of(server)
    config = ctrader.Config.from_env(server.environment(access_token=None, refresh_token=None), store=full)

    async def interrupted() -> None:
        async with managed(config) as opened:
            await opened.tokens(config).renew()
            running.cancel()  # comes in mid-closing, which waits for the store

    running = asyncio.ensure_future(interrupted())
    with pytest.raises(StoreError, match=r"the only good one, is in .*tradesession-unsaved-.*\.json"):
        await running
    (path,) = tmp_path.glob("tradesession-unsaved-*.json")
    assert imported(path.read_bytes(), time.time()).generation == 2


def test_a_pair_that_cannot_be_saved_ends_in_a_file(cli: Cli, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    full = asyncio.run(Full.of(server))
    cli.set(server.environment(access_token=None, store="memory:"))
    with monkeypatch.context() as patch:
        patch.setattr(manager, "open_store", lambda url, *, clock: full)
        patch.setattr(policy, "SAVE_ON_CLOSE_LIMIT", 0.05)
        patch.setattr("tempfile.tempdir", str(tmp_path))
        error = cli.fails(8, "tokens", "refresh", "ctrader", "--force", "--json")
    (path,) = tmp_path.glob("tradesession-unsaved-*.json")
    assert str(path) in error
    assert path.stat().st_mode & 0o777 == 0o600
    cli.set(server.environment(access_token=None, store=f"sqlite://{tmp_path}/tokens.sqlite"))
    assert cli("tokens", "import", "ctrader", "--force", stdin=path.read_bytes()).code == 0
    assert cli("tokens", "refresh", "ctrader", "--force", "--json").json["exchanged"] is True
