"""What an answer of a REST interface means: exact values, refusals with their verdicts, and answers that are none."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tradesession.b2core.judge import read, rejected
from tradesession.errors import ProtocolError, Rejected
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.secrets import Secret
from tradesession.verdict import Action, Level

REQUEST = HttpRequest(method="GET", url="https://trade.example/x", headers=(("Authorization", Secret("Bearer planted")),))


def reply(body: bytes = b"", status: int = 200, damage: str = "") -> HttpReply:
    return HttpReply(status=status, body=body, damage=damage)


def test_numbers_are_exact() -> None:
    assert read(reply(b'{"price": 1.10, "lots": 3}'), REQUEST) == {"price": Decimal("1.10"), "lots": 3}


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_no_body_is_no_value(body: bytes) -> None:
    assert read(reply(body, 204), REQUEST) is None


@pytest.mark.parametrize("answer", [reply(b"<html>"), reply(b"\xff"), reply(b"[" * 100_000), reply(damage="cut off after 7 bytes")])
def test_a_success_that_cannot_be_read_is_no_value(answer: HttpReply) -> None:
    with pytest.raises(ProtocolError):
        read(answer, REQUEST)


@pytest.mark.parametrize(
    ("status", "action", "level"),
    [
        (400, Action.FATAL, Level.REQUEST),
        (401, Action.REFRESH, Level.TOKEN),
        (403, Action.FATAL, Level.REQUEST),
        (404, Action.FATAL, Level.REQUEST),
        (307, Action.FATAL, Level.REQUEST),
        (408, Action.RETRY, Level.REQUEST),
        (429, Action.RETRY, Level.REQUEST),
        (500, Action.RETRY, Level.REQUEST),
        (503, Action.RETRY, Level.REQUEST),
    ],
)
def test_every_status_has_one_verdict(status: int, action: Action, level: Level) -> None:
    verdict = rejected(reply(status=status), REQUEST).verdict
    assert (verdict.action, verdict.level) == (action, level)


def test_a_server_that_asks_to_wait_is_granted_some_minutes() -> None:
    refusal = rejected(HttpReply(status=503, headers={"retry-after": "99999"}), REQUEST)
    assert (refusal.verdict.action, refusal.verdict.after, refusal.retry_after) == (Action.RETRY_AFTER, 300.0, 300.0)


@pytest.mark.parametrize("body", [b'{"error": {"message": "no planted"}}', b'{"error": "no planted"}', b'{"message": "no planted"}'])
def test_the_servers_text_is_told_without_the_secrets_that_were_sent(body: bytes) -> None:
    with pytest.raises(Rejected, match="no ") as caught:
        read(reply(body, 422), REQUEST)
    assert "planted" not in str(caught.value)


def test_the_details_are_told_each_once() -> None:
    body = b'{"error": {"message": "invalid", "details": [{"issue": "lots"}, {"issue": "invalid"}, {"issue": "price"}]}}'
    assert rejected(reply(body, 422), REQUEST).description == "invalid; lots; price"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": [1]}', b'{"message": 7}'])
def test_a_refusal_without_a_text_is_one_all_the_same(body: bytes) -> None:
    assert rejected(reply(body, 404), REQUEST).description == ""
