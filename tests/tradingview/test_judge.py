"""What an answer means: envelopes at HTTP 200, 401, and the statuses that stand in no document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tradesession import Action, Error, Level, LinkLost, ProtocolError, Rejected, Secret
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.tradingview.judge import judged

TOKEN = "t0ken-of-ours"
REQUEST = HttpRequest(method="GET", url="https://broker.example/history", headers=(("Authorization", Secret(f"Bearer {TOKEN}")),))


def judge(body: Any = b"", *, status: int = 200, damage: str = "", **headers: str) -> dict[str, Any] | Error:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    known = {name.replace("_", "-"): value for name, value in headers.items()}
    return judged(HttpReply(status=status, headers=known, body=content, damage=damage), REQUEST, "/history")


@pytest.mark.parametrize("status", ["ok", "no_data"])
def test_a_success_is_its_fields(status: str) -> None:
    assert judge({"s": status, "t": [1]}) == {"s": status, "t": [1]}


def test_an_error_envelope_at_http_200_is_a_refusal_with_its_text() -> None:
    error = judge({"s": "error", "errmsg": "Unknown\nsymbol"})
    assert isinstance(error, Rejected)
    assert (error.code, error.description, error.request) == ("error", "Unknown\nsymbol", "/history")
    assert "/history was refused with error (Unknown symbol)" in str(error)
    assert error.verdict.action is Action.FATAL


@pytest.mark.parametrize(
    ("status", "action", "level"),
    [
        (401, Action.REFRESH, Level.TOKEN),
        (400, Action.FATAL, Level.REQUEST),
        (403, Action.FATAL, Level.REQUEST),
        (404, Action.FATAL, Level.REQUEST),
        (301, Action.FATAL, Level.LINK),
        (308, Action.FATAL, Level.LINK),
        (302, Action.RETRY, Level.LINK),
        (307, Action.RETRY, Level.LINK),
        (429, Action.RETRY, Level.REQUEST),
        (503, Action.RETRY, Level.REQUEST),
        (500, Action.RETRY, Level.REQUEST),
        (502, Action.RETRY, Level.REQUEST),
    ],
)
def test_each_status_has_its_verdict(status: int, action: Action, level: Level) -> None:
    error = judge({"s": "ok"}, status=status)
    assert isinstance(error, Rejected)
    assert error.code == f"HTTP {status}"
    assert (error.verdict.action, error.verdict.level) == (action, level)


def test_retry_after_is_kept_within_reason() -> None:
    error = judge(status=429, retry_after="7")
    assert isinstance(error, Rejected)
    assert (error.verdict.action, error.verdict.after, error.retry_after) == (Action.RETRY_AFTER, 7.0, 7.0)


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", {"t": []}, {"s": "maybe"}, {"s": 7}])
def test_what_is_no_envelope_is_an_error_of_the_protocol(body: Any) -> None:
    assert isinstance(judge(body, content_type="text/html"), ProtocolError)


def test_an_answer_that_is_cut_off_is_a_loss() -> None:
    error = judge(damage="cut off after 5 bytes")
    assert isinstance(error, LinkLost)


def test_no_text_of_the_server_shows_what_was_sent() -> None:
    errors = [
        judge({"s": "error", "errmsg": f"bad token {TOKEN}"}),
        judge({"errmsg": f"bad token {TOKEN}"}, status=403),
        judge({"error": f"bad token {TOKEN}"}, status=400),
        judge(status=302, location=f"https://evil.example/?t={TOKEN}#{TOKEN}"),
        judge(b"x", content_type=f"text/{TOKEN}"),
        judge(status=401),
    ]
    for error in errors:
        assert isinstance(error, Error)
        assert TOKEN not in f"{error} {error!r} {vars(error)}"


def test_a_redirect_says_where_to_and_that_it_is_not_followed() -> None:
    error = judge(status=308, location="https://new.example/api")
    assert "a redirect to https://new.example/api" in str(error)
    assert "set base_url to where it is now" in str(error)
    assert "nowhere" in str(judge(status=308))
