"""What a stored token looks like, and what is read back; how times and lines are written."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from typing import Any

import pytest

from tradesession.cli.output import Screen, moment, one_line, span
from tradesession.cli.stored import as_facts, as_json, expiry, exported, imported
from tradesession.errors import ConfigurationError
from tradesession.secrets import Secret
from tradesession.tokens.store import GrantStatus, StoredGrant
from tradesession.tokens.token import Slot, Token

NOW = 1_800_000_000.0
SLOT = Slot("ctrader", "openapi", "client", "ann")


def read(**fields: Any) -> Token:
    return imported(json.dumps({"access_token": "a", "refresh_token": "r"} | fields).encode(), NOW)


@pytest.mark.parametrize(
    ("fields", "expires_at"),
    [
        ({"expires_in": 60}, NOW + 60),
        ({"expiresIn": "60"}, NOW + 60),
        ({"expires_in": 9999, "expires_at": NOW + 60}, NOW + 60),
        ({"expiresAt": NOW + 60}, NOW + 60),
        ({"expires_in": 60, "issued_at": NOW - 50}, NOW + 10),
        ({"expires_in": 0}, NOW),
        ({"expires_in": -1}, NOW),
        ({}, None),
        ({"expires_in": True}, None),
        ({"expires_in": "soon"}, None),
        ({"expires_at": 1e999}, None),
        ({"expires_at": None}, None),
    ],
)
def test_the_life_of_what_is_imported(fields: dict[str, Any], expires_at: float | None) -> None:
    assert read(**fields).expires_at == expires_at


@pytest.mark.parametrize("names", [("accessToken", "refreshToken"), ("access_token", "refresh_token")])
def test_both_spellings_are_understood(names: tuple[str, str]) -> None:
    token = imported(json.dumps(dict(zip(names, ("a", "r"), strict=True))).encode(), NOW)
    assert (token.access, token.refresh) == (Secret("a"), Secret("r"))


def test_a_pair_without_a_refresh_token_is_one() -> None:
    assert imported(b'{"accessToken": "a"}', NOW).refresh is None


def test_what_is_exported_is_read_back() -> None:
    token = Token(
        access=Secret("a"),
        refresh=Secret("r"),
        issued_at=NOW - 5,
        expires_at=NOW + 5,
        refresh_expires_at=NOW + 50,
        scope="trading",
        token_type="mac",
        generation=7,
    )
    assert all(getattr(token, field.name) != field.default for field in fields(token)), "every field is tried"
    assert imported(json.dumps(exported(token)).encode(), NOW) == token


@pytest.mark.parametrize("text", [b"", b"\xff", b"[1]", b"[" * 100_000, b'{"accessToken": ""}', b'{"accessToken": 5}', b'{"error": "x"}'])
def test_what_holds_no_token_is_refused_without_quoting_it(text: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        imported(text, NOW)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("generation", [-1, 2**63, 1e300])
def test_a_generation_that_no_store_can_count_on_from_is_refused(generation: float) -> None:
    with pytest.raises(ConfigurationError, match="counts no rotations"):
        imported(json.dumps({"accessToken": "a", "generation": generation}).encode(), NOW)


def grant(**fields: Any) -> StoredGrant:
    known: dict[str, Any] = {"access": Secret("the-access"), "issued_at": NOW, "expires_at": NOW + 60, "generation": 3}
    token = Token(**known | fields)
    return StoredGrant(token=token, status=GrantStatus.DEAD, cause="it was revoked", age=0.0, since=0.0, revision=1)


def test_a_dead_grant_says_why() -> None:
    shown = as_json(SLOT, grant(), NOW)
    assert (shown["grant"], shown["cause"], shown["state"]) == ("dead", "it was revoked", "fresh")
    assert as_facts(SLOT, grant(scope="trading"), NOW)["grant"] == "dead: it was revoked"


def test_what_is_not_there_is_not_made_up() -> None:
    shown = as_json(SLOT, grant(expires_at=None), NOW, reveal=True)
    assert (shown["refresh_token"], shown["refresh_fingerprint"], shown["expires_at"]) == (None, None, None)
    facts = as_facts(SLOT, grant(expires_at=None), NOW, reveal=True)
    assert (facts["refresh token"], facts["expires"], facts["access token"]) == ("none", "not known", "the-access")


def test_an_expiry_lies_ahead_or_behind() -> None:
    assert expiry(grant().token, NOW) == "2027-01-15T08:01:00Z (in 1 min)"
    assert expiry(grant().token, NOW + 90) == "2027-01-15T08:01:00Z (30.0 s ago)"
    assert moment(None) is None


@pytest.mark.parametrize("expires_at", [1.798e12, 1e30, 1e300, -1e18])
def test_an_expiry_that_no_calendar_has_is_shown_all_the_same(expires_at: float) -> None:
    stored = grant(expires_at=expires_at)
    assert "in no calendar" in as_facts(SLOT, stored, NOW)["expires"]
    assert as_json(SLOT, stored, NOW)["expires_at"] == expires_at


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00123, "1.2 ms"), (0.0567, "57 ms"), (1.26, "1.3 s"), (59.0, "59.0 s"), (3599, "59 min"), (3700, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_line_is_one_line_and_nothing_moves_the_cursor() -> None:
    assert one_line("a\n b\t\x1b[31mc\x07") == "a b ?[31mc?"


def test_a_screen_that_nobody_reads_any_more_is_an_error_like_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich would end the process by SystemExit: inside the task of a session that is an end without order."""

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Broken())
    with pytest.raises(BrokenPipeError):
        Screen().say("hello")
