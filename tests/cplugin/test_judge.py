"""What an answer of the API means, code by code and status by status, for what only reads and for what has effects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tradesession.cplugin import ApiError, CallUnknown, Reply
from tradesession.cplugin.judge import RULINGS, Asked, judge
from tradesession.errors import Error, ProtocolError
from tradesession.protocol.http import HttpReply
from tradesession.secrets import Secret
from tradesession.verdict import Action, Level

READ = Asked(name="GET /api/v2/x", is_enveloped=True, has_effects=False)
TRADE = Asked(name="POST /api/v2/x", is_enveloped=True, has_effects=True, idempotency_key="key-1")
V1 = Asked(name="GET /api/x", is_enveloped=False, has_effects=False)
V1_TRADE = Asked(name="POST /api/x", is_enveloped=False, has_effects=True)


def reply(body: Any, status: int = 200, **headers: str) -> HttpReply:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status=status, body=text, headers={name.replace("_", "-"): value for name, value in headers.items()})


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"data": None, "error": {"code": code, "managerCode": None, "message": "so it is", **more}, "meta": {"activityId": "00-a-01"}}


def refused(answer: Reply | Error) -> ApiError:
    assert isinstance(answer, ApiError), answer
    return answer


def test_a_success_has_data_the_trace_and_the_next_page() -> None:
    body = {"data": [1], "error": None, "meta": {"activityId": "00-a-01", "paging": {"nextCursor": "c", "hasMore": True}}}
    answer = judge(reply(body, x_request_timeout_applied="7.5"), READ)
    assert answer == Reply(data=[1], activity_id="00-a-01", next_cursor="c", timeout_applied=7.5)


@pytest.mark.parametrize(
    "body",
    [
        {"data": None, "error": None, "meta": None},
        {"data": None, "error": None},
        {"data": None},
        {"data": None, "error": {"code": "Ok", "managerCode": 0, "message": ""}, "meta": {}},
        {"data": None, "error": None, "meta": {"paging": {"nextCursor": "left over", "hasMore": False}}},
        {"data": None, "error": None, "meta": {"paging": None}, "new": 1},
    ],
)
def test_an_envelope_may_lack_all_but_the_data(body: Any) -> None:
    assert judge(reply(body), READ) == Reply(data=None)


@pytest.mark.parametrize("code", [*RULINGS, "BrandNew"])
def test_each_code_is_a_refusal_with_its_words(code: str) -> None:
    answer = refused(judge(reply(error(code, managerCode="RET_INVALID_DATA")), READ))
    assert (answer.code, answer.description, answer.manager_code) == (code, "so it is", "RET_INVALID_DATA")
    assert (answer.activity_id, answer.status) == ("00-a-01", 200)
    assert code in str(answer)
    assert "RET_INVALID_DATA" in str(answer)
    assert answer.verdict.level is Level.REQUEST
    assert bool(answer.remedy) == (code in RULINGS)


@pytest.mark.parametrize(
    ("code", "may_repeat", "is_untouched"),
    [
        ("Validation", False, False),
        ("NotFound", False, False),
        ("Forbidden", False, False),
        ("MT4Error", False, False),
        ("MT5Error", False, False),
        ("NoConnect", True, False),
        ("Timeout", True, False),
        ("Busy", True, True),
        ("Internal", True, False),
        ("BrandNew", False, False),
    ],
)
def test_which_codes_a_read_is_repeated_after(code: str, may_repeat: bool, is_untouched: bool) -> None:
    answer = refused(judge(reply(error(code)), READ))
    assert (answer.verdict.is_retryable, answer.is_untouched) == (may_repeat, is_untouched)


@pytest.mark.parametrize("code", ["OutcomeUnknown", "Internal", "Timeout"])
def test_codes_that_leave_a_trade_open(code: str) -> None:
    answer = judge(reply(error(code)), TRADE)
    assert isinstance(answer, CallUnknown)
    assert (answer.idempotency_key, answer.activity_id) == ("key-1", "00-a-01")
    assert "settle()" in str(answer)


def test_an_unknown_outcome_of_a_read_may_be_asked_for_again() -> None:
    assert refused(judge(reply(error("OutcomeUnknown")), READ)).verdict.is_retryable


@pytest.mark.parametrize("manager_code", [135, "RET_TRADE_MARKET_CLOSED"])
def test_the_trade_servers_code_is_a_number_or_a_word(manager_code: str | int) -> None:
    assert refused(judge(reply(error("MT4Error", managerCode=manager_code)), TRADE)).manager_code == manager_code


@pytest.mark.parametrize(
    ("outcome", "is_open"),
    [("unknown", True), ("in-progress", True), ("timeout", True), ("not-started", False), ("", False)],
)
def test_the_outcome_header_decides_over_a_trade(outcome: str, is_open: bool) -> None:
    answer = judge(reply(error("BrandNew"), x_request_outcome=outcome), TRADE)
    assert isinstance(answer, CallUnknown) is is_open
    if outcome == "not-started":
        assert refused(answer).is_untouched
        assert refused(answer).verdict.is_retryable


@pytest.mark.parametrize(
    ("status", "trade_is_open", "read_may_repeat"),
    [
        (400, False, False), (403, False, False), (404, False, False), (405, False, False), (408, True, True), (409, False, False),
        (429, False, True), (500, True, True), (502, True, True), (503, False, True), (504, True, True), (599, True, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b""])
def test_what_stands_before_the_api_answers_in_statuses(status: int, trade_is_open: bool, read_may_repeat: bool, body: bytes) -> None:
    assert isinstance(judge(reply(body, status), TRADE), CallUnknown) is trade_is_open
    answer = refused(judge(reply(body, status), READ))
    assert (answer.code, answer.status, answer.verdict.is_retryable) == (f"HTTP {status}", status, read_may_repeat)


def test_a_refused_bearer_is_the_tokens_affair() -> None:
    assert refused(judge(reply(b"", 401), TRADE)).verdict.level is Level.TOKEN


def test_a_pause_that_the_server_asks_for_is_granted_within_limits() -> None:
    answer = refused(judge(reply(b"", 503, retry_after="7"), READ))
    assert (answer.verdict.action, answer.verdict.after) == (Action.RETRY_AFTER, 7)
    assert refused(judge(reply(b"", 429, retry_after="99999"), READ)).retry_after == 60


def test_an_error_in_an_envelope_at_another_status_is_read_as_well() -> None:
    answer = refused(judge(reply(error("Validation"), 400), READ))
    assert (answer.code, answer.status) == ("Validation", 400)


@pytest.mark.parametrize("body", [{"error": {"code": "NotFound"}}, {"data": None, "error": "no"}, {"data": 5, "error": {}}])
def test_an_error_of_an_odd_shape_is_an_error(body: Any) -> None:
    refused(judge(reply(body), READ))


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"5", b'{"result": 1}', b"\xff", b'{"data"'])
def test_an_answer_without_an_envelope_is_none(body: bytes) -> None:
    assert isinstance(judge(reply(body), READ), ProtocolError)
    assert isinstance(judge(reply(body), TRADE), CallUnknown)


def test_an_answer_that_is_not_whole_is_none() -> None:
    damaged = HttpReply(status=200, damage="cut off after 5 bytes")
    assert isinstance(judge(damaged, V1), ProtocolError)
    assert "cut off" in str(judge(damaged, V1_TRADE))


@pytest.mark.parametrize("body", [[1, 2], {"a": 1}, "text", 5, None, True, {"data": 1, "error": None}])
def test_v1_answers_in_plain_json(body: Any) -> None:
    assert judge(reply(body), V1) == Reply(data=body)


def test_v1_has_words_of_its_own_for_an_error() -> None:
    body = {"ErrorType": "Manager", "ErrorCode": 13, "ErrorDescription": "not found", "RequestId": "r-1"}
    answer = refused(judge(reply(body), V1))
    assert (answer.code, answer.manager_code, answer.description, answer.activity_id) == ("Manager", 13, "not found", "r-1")
    assert refused(judge(reply({"errorType": "WebApi", "errorCode": "NotFound"}, 404), V1)).code == "NotFound"
    assert refused(judge(reply({"errorCode": 13}, 400), V1)).code == "13"


def test_the_problem_details_of_asp_net_are_told() -> None:
    body = {"title": "One or more validation errors occurred.", "status": 400, "traceId": "00-t-00"}
    answer = refused(judge(reply(body, 400), V1))
    assert (answer.description, answer.activity_id) == ("One or more validation errors occurred.", "00-t-00")


def test_a_secret_that_a_server_repeats_is_masked() -> None:
    asked = Asked(name="GET /", is_enveloped=True, has_effects=False, secrets=(Secret("planted-bearer"),))
    assert "planted" not in str(judge(reply(error("Validation", message="you sent planted-bearer")), asked))


@pytest.mark.parametrize(
    ("answer", "code"), [(reply(error("MT4Error")), "MT4Error"), (reply(b"", 404), "HTTP 404"), (reply(error("M4")), "M***")]
)
def test_a_known_code_stays_whole_whatever_was_sent(answer: HttpReply, code: str) -> None:
    asked = Asked(name="PUT /api/v2/x", is_enveloped=True, has_effects=True, secrets=(Secret("4"),))
    assert refused(judge(answer, asked)).code == code
