from __future__ import annotations

import sqlite3
import webbrowser
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen

import pytest

from tests.cli.conftest import PATIENCE, Cli, Server
from tradesession.errors import StoreUnreachable
from tradesession.tokens.store import Write
from tradesession.tokens.stores.memory import MemoryStore


@pytest.fixture
def store(cli: Cli, server: Server, tmp_path: Path) -> str:
    """An empty store, named by the environment, and a browser."""
    url = f"sqlite://{tmp_path}/tokens.sqlite"
    cli.set(server.environment(access_token=None, store=url))
    return url


@pytest.fixture
def pages(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages that the browser showed last; it says yes to every consent page."""
    return browsing(server, monkeypatch, "allow")


def browsing(server: Server, monkeypatch: pytest.MonkeyPatch, decision: str) -> list[str]:
    shown: list[str] = []

    def browse(url: str) -> bool:
        with urlopen(server.consent(url, decision), timeout=PATIENCE) as page:
            shown.append(page.read().decode())
        return True

    monkeypatch.setenv("BROWSER", "ours")
    monkeypatch.setattr(webbrowser, "open", browse)
    return shown


def test_a_consent_in_the_browser_becomes_a_token_in_the_store(cli: Cli, store: str, pages: list[str]) -> None:
    finished = cli("login", "ctrader")
    assert (finished.code, finished.err) == (0, "")
    assert "token stored" in finished.out
    assert "Consent received" in pages[0]
    shown = cli("tokens", "show", "ctrader", "--json").json
    assert (shown["generation"], shown["state"], shown["grant"]) == (1, "fresh", "usable")
    assert cli("handshake", "ctrader", "--json").json["state"] == "READY"


def test_with_json_the_talk_goes_to_standard_error(cli: Cli, store: str, pages: list[str]) -> None:
    finished = cli("login", "ctrader", "--json", "--subject", "ann")
    assert finished.json["subject"] == "ann"
    assert finished.json["refresh_token"] == "***"
    assert "client_id=" in finished.err


def test_no_consent_is_asked_for_in_vain(cli: Cli, server: Server, store: str, pages: list[str], tmp_path: Path) -> None:
    cli("tokens", "import", "ctrader", stdin=server.reply())
    with closing(sqlite3.connect(tmp_path / "tokens.sqlite", isolation_level=None)) as connection:
        connection.execute("UPDATE grants SET payload = x'00'")
    assert "tokens remove" in cli.fails(8, "login", "ctrader", "--json")
    assert pages == []
    assert cli("tokens", "remove", "ctrader", "--yes", "--json").json == {"removed": True}
    assert cli("login", "ctrader", "--json").json["generation"] == 3


def test_what_a_consent_yields_ends_in_a_file_when_the_store_has_gone_away(
    cli: Cli, store: str, pages: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Away(MemoryStore):
        async def _write(self, key: str, write: Write) -> bool:
            raise StoreUnreachable("the store is away")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("tradesession.cli.ctrader.login.open_store", lambda url: Away())
        finished = cli("login", "ctrader", "--json", "--subject", "ann")
    (path,) = tmp_path.glob("tradesession-unsaved-*.json")
    assert finished.code == 8
    assert str(path) in finished.err
    assert "subject ann" in finished.err
    assert cli("tokens", "import", "ctrader", "--subject", "ann", stdin=path.read_bytes()).code == 0
    assert cli("tokens", "refresh", "ctrader", "--subject", "ann", "--force", "--json").json["exchanged"] is True


def test_a_new_consent_replaces_what_was_stored(cli: Cli, server: Server, store: str, pages: list[str]) -> None:
    cli("tokens", "import", "ctrader", stdin=server.reply())
    assert cli("login", "ctrader", "--json").json["generation"] == 2


@pytest.mark.parametrize("whole", [True, False])
def test_without_a_browser_the_code_is_pasted(cli: Cli, server: Server, store: str, whole: bool) -> None:
    query = {"client_id": server.facts["client_id"], "redirect_uri": server.facts["redirect_uri"], "scope": "trading"}
    address = server.consent(f"{server.facts['auth_url']}?{urlencode(query)}")
    pasted = address if whole else parse_qs(urlsplit(address).query)["code"][0]
    finished = cli("login", "ctrader", "--paste", stdin=f"{pasted}\n".encode())
    assert finished.code == 0
    assert pasted not in finished.out


def test_a_refused_consent_is_7(cli: Cli, server: Server, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    browsing(server, monkeypatch, "deny")
    assert "access_denied" in cli.fails(7, "login", "ctrader")


def test_a_person_who_does_not_come_back_is_7(cli: Cli, store: str) -> None:
    assert "within 0.1 s" in cli.fails(7, "login", "ctrader", "--no-browser", "--timeout", "0.1")


def test_a_code_that_is_spent_is_7(cli: Cli, store: str) -> None:
    assert "give consent again" in cli.fails(7, "login", "ctrader", "--paste", stdin=b"no-such-code\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--paste"], "nothing was pasted"),
        (["--redirect-uri", "https://example.com/back"], "cannot be caught"),
        (["--scope", "all"], "scope='all'"),
        (["--auth-url", "http://example.com/"], "https"),
        (["--timeout", "0"], "--timeout"),
        (["--store", "nonsense:"], "nonsense"),
    ],
)
def test_a_wrong_option_is_2(cli: Cli, store: str, options: list[str], said: str) -> None:
    assert said in cli.fails(2, "login", "ctrader", "--no-browser", *options)


def test_a_store_that_must_not_be_used_is_8_before_anybody_is_asked(cli: Cli, store: str, tmp_path: Path, pages: list[str]) -> None:
    (tmp_path / "tokens.sqlite").write_bytes(b"this is no database" * 100)
    (tmp_path / "tokens.sqlite").chmod(0o600)
    cli.fails(8, "login", "ctrader")
    assert pages == []
