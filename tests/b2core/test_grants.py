"""What is asked for at a sign-in and for a platform's pair, letter by letter, and what every shape of an answer means."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.b2core.errors import CaptchaRequired, CodeRefused, PasswordResetRequired, SignInRefused
from tradesession.b2core.grants import (
    LOCKED_OUT,
    B2Core,
    ChooseMethod,
    CodeWanted,
    Obtained,
    Pair,
    asked,
    asked_platform,
    device_fingerprint,
    read_pair,
    read_refresh,
    read_step,
    read_wizard,
)
from tradesession.errors import ReauthorizationRequired, TokenEndpointUnreachable, TokenError, TokenRefused, UncertainExchange
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.secrets import Secret
from tradesession.tokens.replies import GrantKind
from tradesession.tokens.token import Token

CORE = B2Core("https://my.broker.example")
BEARER = Token(access=Secret("planted-bearer"))
SIGN_IN = CORE.sign_in("u-1", "me@example.com", Secret("planted-password"), "fp")
OF_SIGN_IN = asked(SIGN_IN, GrantKind.PASSWORD, Secret("planted-password"))
OF_REFRESH = asked(CORE.refresh(Secret("planted-refresh"), "fp"), GrantKind.REFRESH_TOKEN, Secret("planted-refresh"))
OF_PAIR = asked_platform(CORE.platform_auth("1", BEARER, ()), BEARER.access)


def reply(body: object, status: int = 200, **headers: str) -> HttpReply:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status=status, body=encoded, sent_at=1_800_000_000.0, headers=headers)


def body_of(request: HttpRequest) -> Any:
    assert request.body is not None
    return json.loads(request.body.reveal())


def part(token: str) -> dict[str, str]:
    return {"token": token, "createdAt": "2027-01-15T08:00:00Z", "expiresAt": "2027-01-15T09:00:00Z"}


# --- requests -----------------------------------------------------------------------------------------------------------------------


def test_the_requests_have_the_documented_paths_and_fields() -> None:
    wizard = CORE.wizard()
    assert (wizard.method, wizard.url, wizard.body) == ("GET", "https://my.broker.example/api/v2/my/signin/wizard", None)
    assert (SIGN_IN.method, SIGN_IN.url) == ("POST", "https://my.broker.example/api/v2/my/signin")
    assert body_of(SIGN_IN) == {"uuid": "u-1", "email": "me@example.com", "password": "planted-password", "device_fingerprint": "fp"}
    assert body_of(CORE.choose("u", "sms")) == {"uuid": "u", "type": "sms"}
    code = CORE.code("u", "google", Secret("123456"))
    assert (code.url.rpartition("/my")[2], body_of(code)) == ("/2fa/google", {"uuid": "u", "code": "123456"})


def test_a_refresh_is_written_in_camel_case_unlike_the_sign_in() -> None:
    refresh = CORE.refresh(Secret("r"), "fp")
    assert (refresh.url.rpartition("/my")[2], body_of(refresh)) == ("/refresh", {"refreshToken": "r", "deviceFingerprint": "fp"})


def test_a_platforms_pair_is_asked_for_with_the_bearer_and_the_headers_about_the_country() -> None:
    geo = (("Geo-Country-Code", "+995"), ("Geo-Country-Name", "Georgia"))
    auth = CORE.platform_auth("1", BEARER, geo)
    headers = dict(auth.headers)
    assert (auth.url.rpartition("/my")[2], auth.body) == ("/platforms/1/auth", None)
    assert headers["Geo-Country-Code"] == "+995"
    assert headers["Authorization"] == Secret("Bearer planted-bearer")
    refresh = CORE.platform_refresh("1", BEARER, Secret("r"))
    assert (refresh.url.rpartition("/my")[2], body_of(refresh)) == ("/platforms/1/refresh", {"refreshToken": "r"})
    assert "Geo-Country-Code" not in dict(refresh.headers)


def test_a_platform_id_cannot_lead_to_another_path() -> None:
    assert CORE.platform_auth("../../x?", BEARER, ()).url.endswith("/platforms/..%2F..%2Fx%3F/auth")


def test_a_device_fingerprint_is_base64_of_json_and_the_same_each_time() -> None:
    text = device_fingerprint({"user_agent": "bot", "a": 1})
    assert json.loads(base64.b64decode(text)) == {"user_agent": "bot", "a": 1}
    assert text == device_fingerprint({"a": 1, "user_agent": "bot"})


def test_no_request_shows_its_secrets() -> None:
    for request in (SIGN_IN, CORE.refresh(Secret("planted-refresh"), ""), CORE.platform_auth("1", BEARER, ())):
        assert "planted" not in f"{request!r} {request}"


# --- the wizard ---------------------------------------------------------------------------------------------------------------------

WIZARD = {
    "code": 200,
    "data": {"recaptcha": {"enabled": False}, "is_qr_available": True},
    "done": False,
    "uuid": "u-1",
    "workflow": "login",
}


@pytest.mark.parametrize("changes", [{}, {"code": 202, "done": True}, {"data": None}, {"data": {}}, {"more": 1}])
def test_a_wizard_gives_a_uuid_whatever_its_edition_says_of_being_done(changes: dict[str, Any]) -> None:
    assert read_wizard(reply(WIZARD | changes), OF_SIGN_IN) == "u-1"


def test_recaptcha_is_an_error_of_its_own() -> None:
    error = read_wizard(reply(WIZARD | {"data": {"recaptcha": {"enabled": True}}}), OF_SIGN_IN)
    assert isinstance(error, CaptchaRequired)
    assert error.verdict.needs_human


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply({"message": "Not found"}, 404), TokenRefused),
        (reply(b"<html>", 200), TokenEndpointUnreachable),
        (reply({"uuid": ""}), TokenEndpointUnreachable),
        (reply({}, 503), TokenEndpointUnreachable),
        (reply({}, 302, location="https://elsewhere.example/x"), TokenEndpointUnreachable),
        (reply({}, 301, location="https://elsewhere.example/x"), TokenRefused),
    ],
)
def test_what_is_no_wizard_is_told_apart_from_one_that_is_down(answer: HttpReply, kind: type[TokenError]) -> None:
    assert type(read_wizard(answer, OF_SIGN_IN)) is kind


# --- steps --------------------------------------------------------------------------------------------------------------------------


def step(body: object, status: int = 200, *, after_code: bool = False) -> object:
    return read_step(reply(body, status), OF_SIGN_IN, "u-1", after_code=after_code)


@pytest.mark.parametrize("workflow", ["confirmation", "login", "2fa", "2fa_google", None])
def test_after_a_choice_comes_its_code_whatever_the_step_is_called(workflow: str | None) -> None:
    body = {"code": 200, "data": {"tfaProviders": ["google", "sms"]}, "done": False, "uuid": "u-2", "workflow": workflow}
    assert read_step(reply(body), OF_SIGN_IN, "u-1", chosen="sms") == CodeWanted("u-2", "sms")
    for change in ({"code": 422}, {"error": {"message": "no"}}):
        refused = read_step(reply(body | {"data": {}, "workflow": "confirmation"} | change), OF_SIGN_IN, "u-1", chosen="sms")
        assert isinstance(refused, SignInRefused)


def test_the_end_of_a_sign_in_has_both_tokens_and_their_lives() -> None:
    data = {"accessToken": part("a"), "refreshToken": part("r"), "tfaProviders": []}
    found = step({"code": 202, "data": data, "done": True, "uuid": "u-1", "workflow": "login"})
    assert isinstance(found, Obtained)
    token = found.token
    assert (token.access, token.refresh, token.lifetime, found.notes) == (Secret("a"), Secret("r"), 3600.0, ())
    assert token.refresh_expires_at == token.expires_at


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("data", [{"accessToken": part("a"), "refreshToken": None}, {"accessToken": {"token": "a"}}, {"accessToken": "a"}])
def test_a_token_that_is_there_is_taken_whatever_stands_around_it(data: dict[str, Any], status: int) -> None:
    found = step({"code": 200, "data": data, "done": False, "workflow": "2fa"}, status)
    assert isinstance(found, Obtained)
    assert (found.token.access, found.token.refresh) == (Secret("a"), None)


@pytest.mark.parametrize(
    ("workflow", "data", "expected"),
    [
        ("2fa_google", {}, CodeWanted("u-2", "google")),
        ("google", {}, CodeWanted("u-2", "google")),
        ("two-factor SMS", {}, CodeWanted("u-2", "sms")),
        ("email_2fa", {}, CodeWanted("u-2", "email")),
        ("2fa", {"tfaProviders": ["sms"]}, CodeWanted("u-2", "sms")),
        ("2fa", {"tfaProviders": [{"type": "GOOGLE"}]}, CodeWanted("u-2", "google")),
        ("2fa", {"tfaProviders": ["google", "sms"]}, ChooseMethod("u-2", ("google", "sms"))),
        ("choose_2fa", {}, ChooseMethod("u-2", ("google", "sms"))),
        ("two_factor", {}, ChooseMethod("u-2", ("google", "sms"))),
        ("", {"tfaProviders": ["email"]}, CodeWanted("u-2", "email")),
    ],
)
def test_http_200_is_a_step_and_the_workflow_names_it(workflow: str, data: dict[str, Any], expected: object) -> None:
    assert step({"code": 200, "data": data, "done": False, "uuid": "u-2", "workflow": workflow}) == expected


def test_the_uuid_is_carried_on_where_an_answer_has_none() -> None:
    assert step({"workflow": "2fa_sms"}) == CodeWanted("u-1", "sms")


@pytest.mark.parametrize("workflow", ["password_reset", "reset-password", "passwordRestore", "signin/password/restore"])
def test_a_forced_reset_is_an_error_of_its_own(workflow: str) -> None:
    assert isinstance(step({"code": 200, "workflow": workflow}), PasswordResetRequired)
    assert isinstance(step({"workflow": workflow, "error": {"message": "no"}}, 403), PasswordResetRequired)


def test_a_captcha_in_the_middle_is_the_same_error() -> None:
    assert isinstance(step({"code": 200, "workflow": "re-captcha"}), CaptchaRequired)
    assert isinstance(step({"data": {"recaptcha": {"enabled": True}}, "message": "no"}, 422), CaptchaRequired)


@pytest.mark.parametrize("body", [{"code": 202, "done": True, "workflow": "login"}, {"code": 200, "workflow": "kyc"}, {"done": False}])
def test_a_step_that_is_not_known_is_a_refusal_and_no_token(body: dict[str, Any]) -> None:
    assert isinstance(step(body), SignInRefused)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 409, 422])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "wrong", "details": [{"issue": "email"}]}}, "wrong; email"),
        ({"error": {"message": "wrong"}}, "wrong"),
        ({"error": "wrong"}, "wrong"),
        ({"message": "wrong"}, "wrong"),
    ],
)
def test_a_refusal_of_credentials_is_for_good_in_either_shape(body: dict[str, Any], said: str, status: int) -> None:
    error = step(body, status)
    assert isinstance(error, SignInRefused)
    assert not error.verdict.is_retryable
    assert said in str(error)
    assert isinstance(step(body, status, after_code=True), CodeRefused)


def test_too_many_tries_are_left_alone_for_as_long_as_the_block_lasts() -> None:
    for headers, wait in (({}, LOCKED_OUT), ({"retry-after": "90"}, 90.0)):
        error = read_step(reply({"message": "Too many attempts"}, 429, **headers), OF_SIGN_IN, "u-1")
        assert isinstance(error, TokenEndpointUnreachable)
        assert error.retry_after == wait


@pytest.mark.parametrize(("body", "status"), [(b"<html>", 200), (b"", 202), ({}, 500), ({}, 502), ({}, 503), ({}, 408)])
def test_a_sign_in_without_a_usable_answer_may_be_tried_again_but_not_soon(body: object, status: int) -> None:
    error = step(body, status)
    assert isinstance(error, TokenEndpointUnreachable)
    assert error.retry_after is not None
    assert error.retry_after >= 12  # five a minute lock the user out


def test_no_text_of_the_server_brings_a_secret_into_an_error() -> None:
    error = step({"error": {"message": "bad password planted-password", "details": [{"issue": "planted-password"}]}}, 401)
    assert "planted-password" not in f"{error} {error!r}"
    assert isinstance(error, SignInRefused)
    assert "planted-password" not in error.description


# --- the refresh --------------------------------------------------------------------------------------------------------------------


def test_a_refresh_may_bring_no_new_refresh_token() -> None:
    found = read_refresh(reply({"code": 200, "data": {"accessToken": part("a2"), "refreshToken": None}}), OF_REFRESH)
    assert isinstance(found, Obtained)
    old = Token(access=Secret("a1"), refresh=Secret("r1"), generation=3)
    assert old.successor(found.token).refresh == Secret("r1")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply({"error": {"message": "no"}}, 401), ReauthorizationRequired),
        (reply({"message": "no"}, 400), ReauthorizationRequired),
        (reply({"error": {"message": "no"}}, 200), ReauthorizationRequired),
        (reply({}, 200), UncertainExchange),
        (reply(b"<html>", 200), UncertainExchange),
        (reply({}, 500), UncertainExchange),
        (reply({}, 503), TokenEndpointUnreachable),
        (reply({}, 429), TokenEndpointUnreachable),
    ],
)
def test_a_refused_refresh_is_told_apart_from_one_without_an_answer(answer: HttpReply, kind: type[TokenError]) -> None:
    assert type(read_refresh(answer, OF_REFRESH)) is kind


# --- the pair -----------------------------------------------------------------------------------------------------------------------

PAIR = {"token": "t", "refreshToken": "r", "ttl": "60", "host": "http://example.com", "header": "Authorization"}


def test_one_ttl_counts_for_both_tokens_of_a_pair() -> None:
    found = read_pair(reply(PAIR), OF_PAIR)
    assert isinstance(found, Pair)
    assert (found.token.access, found.token.refresh, found.host, found.notes) == (Secret("t"), Secret("r"), "http://example.com", ())
    assert found.token.lifetime == 60.0
    assert found.token.refresh_expires_at == found.token.expires_at


def test_identical_tokens_are_a_pair_like_any_other() -> None:
    found = read_pair(reply(PAIR | {"refreshToken": "t"}), OF_PAIR)
    assert isinstance(found, Pair)
    assert found.token.refresh == found.token.access


@pytest.mark.parametrize("changes", [{"refreshToken": None}, {"refreshToken": ""}, {"refreshToken": 7}])
def test_a_pair_without_a_refresh_token_is_asked_for_anew_when_it_ends(changes: dict[str, Any]) -> None:
    found = read_pair(reply(PAIR | changes), OF_PAIR)
    assert isinstance(found, Pair)
    assert (found.token.refresh, found.token.refresh_expires_at) == (None, None)


def test_another_header_than_authorization_is_told() -> None:
    found = read_pair(reply(PAIR | {"header": "X-Token"}), OF_PAIR)
    assert isinstance(found, Pair)
    assert found.notes == ("header-unexpected",)


def test_a_pair_in_an_envelope_is_understood() -> None:
    assert isinstance(read_pair(reply({"code": 200, "data": PAIR, "done": True}), OF_PAIR), Pair)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply({"message": "no"}, 400), TokenRefused),
        (reply({"error": {"message": "no"}}, 403), TokenRefused),
        (reply({"message": "no"}, 404), TokenRefused),
        (reply({"message": "no"}, 422), TokenRefused),
        (reply({"error": {"message": "no"}}, 200), TokenRefused),
        (reply(PAIR | {"token": None}), TokenRefused),
        (reply(b"<html>", 200), TokenEndpointUnreachable),
        (reply({}, 429), TokenEndpointUnreachable),
        (reply({}, 500), TokenEndpointUnreachable),
        (reply({}, 502), TokenEndpointUnreachable),
    ],
)
def test_a_refused_pair_never_kills_a_grant(answer: HttpReply, kind: type[TokenError]) -> None:
    error = read_pair(answer, OF_PAIR)
    assert type(error) is kind


def test_the_remedy_of_an_unknown_platform_names_the_option() -> None:
    assert "platform_id" in str(read_pair(reply({"message": "no"}, 404), OF_PAIR))


def test_a_wizard_that_is_barred_is_told_in_words_of_b2core() -> None:
    assert "base_url" in str(read_wizard(reply(b"<html>", 403), OF_SIGN_IN))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["token", "data", "error", "workflow", "ttl", "x"]) | st.text(), inner),
)


@given(JSON, st.integers(100, 599))
def test_whatever_the_server_sends_a_reading_ends_with_a_value_or_an_error_of_an_exchange(body: object, status: int) -> None:
    answer = reply(body, status)
    assert isinstance(read_wizard(answer, OF_SIGN_IN), (str, TokenError))
    assert isinstance(read_step(answer, OF_SIGN_IN, "u"), (Obtained, ChooseMethod, CodeWanted, TokenError))
    assert isinstance(read_refresh(answer, OF_REFRESH), (Obtained, TokenError))
    assert isinstance(read_pair(answer, OF_PAIR), (Pair, TokenError))
