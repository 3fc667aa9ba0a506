"""What the answers of token endpoints mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession import policy
from tradesession.errors import ReauthorizationRequired, TokenEndpointUnreachable, TokenError, TokenRefused, UncertainExchange
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.secrets import Secret
from tradesession.tokens.replies import Asked, GrantKind, read_oauth, refusal, token_from, unanswered
from tradesession.tokens.token import Token

SENT = 1_767_225_600.0
PLANTED = "plan+ted/secret%=1"
SPENT = (GrantKind.AUTHORIZATION_CODE, GrantKind.REFRESH_TOKEN)
REUSABLE = (GrantKind.CLIENT_CREDENTIALS, GrantKind.PASSWORD, GrantKind.JWT_BEARER)
EVERY_KIND = SPENT + REUSABLE


def asked(kind: GrantKind = GrantKind.REFRESH_TOKEN, *, secret: str = PLANTED) -> Asked:
    request = HttpRequest(method="POST", url="https://example.test/token", form=(("refresh_token", Secret(secret)),))
    return Asked.by(request, kind)


def reply(fields: object = None, status: int = 200, *, body: bytes | None = None, damage: str = "", **headers: str) -> HttpReply:
    content = body if body is not None else b"" if fields is None else json.dumps(fields).encode()
    named = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status=status, headers=named, body=content, sent_at=SENT, damage=damage)


def refused(answer: HttpReply, kind: GrantKind = GrantKind.REFRESH_TOKEN) -> TokenError:
    error = read_oauth(answer, asked(kind))
    assert isinstance(error, TokenError)
    assert "\n" not in str(error)
    return error


def granted(answer: HttpReply) -> Token:
    token = read_oauth(answer, asked())
    assert isinstance(token, Token)
    return token


# --- a token ----------------------------------------------------------------------------------------------------------------------


def test_the_standard_answer_becomes_a_token_that_counts_from_the_sending() -> None:
    token = granted(
        reply(
            {
                "access_token": "a",
                "token_type": "Bearer",
                "expires_in": 1200,
                "refresh_token": "r",
                "refresh_token_expires_in": 2400,
                "scope": "trading",
            }
        )
    )
    assert token.access == Secret("a")
    assert token.refresh == Secret("r")
    assert token.issued_at == SENT
    assert token.expires_at == SENT + 1200
    assert token.refresh_expires_at == SENT + 2400
    assert (token.scope, token.token_type, token.generation) == ("trading", "bearer", 0)


def test_camel_case_names_are_read_as_well() -> None:
    token = granted(reply({"accessToken": "a", "tokenType": "bearer", "expiresIn": 60, "refreshToken": "r"}))
    assert (token.access, token.refresh, token.lifetime) == (Secret("a"), Secret("r"), 60.0)


def test_the_least_answer_promises_nothing_but_access() -> None:
    token = granted(reply({"access_token": "a"}))
    assert (token.refresh, token.expires_at, token.refresh_expires_at, token.scope) == (None, None, None, None)
    assert token.token_type == "bearer"


@pytest.mark.parametrize(("value", "life"), [(60, 60.0), ("60", 60.0), (" 60.5 ", 60.5), (60.5, 60.5), (2_628_000, 2_628_000.0)])
def test_a_life_is_a_number_or_a_text(value: object, life: float) -> None:
    token = token_from({"access_token": "a", "expires_in": value}, SENT)
    assert token is not None
    assert token.expires_at == SENT + life


@pytest.mark.parametrize("value", [None, 0, -1, "0", "soon", "", True, [60], {"s": 1}, "nan", float("inf"), 10**400])
def test_a_life_that_says_nothing_is_none(value: object) -> None:
    token = token_from({"access_token": "a", "expires_in": value}, SENT)
    assert token is not None
    assert token.expires_at is None


def test_a_useless_first_spelling_does_not_hide_the_second() -> None:
    token = token_from({"access_token": None, "accessToken": "a", "expires_in": "", "expiresIn": 5}, SENT)
    assert token is not None
    assert (token.access, token.lifetime) == (Secret("a"), 5.0)


@pytest.mark.parametrize(("value", "scope"), [("a b", "a b"), (["a", "b"], "a b"), ([], None), ("", None), (7, None)])
def test_a_scope_is_a_text_or_a_list(value: object, scope: str | None) -> None:
    token = token_from({"access_token": "a", "scope": value}, SENT)
    assert token is not None
    assert token.scope == scope


def test_a_pair_is_never_thrown_away_for_what_stands_beside_it() -> None:
    token = granted(reply({"access_token": "a", "refresh_token": "r", "token_type": "Mac", "expires_in": "never", "news": [1]}, 201))
    assert (token.access, token.refresh, token.token_type) == (Secret("a"), Secret("r"), "mac")


@given(
    st.dictionaries(
        st.sampled_from(["access_token", "accessToken", "refresh_token", "expires_in", "expiresIn", "scope", "token_type", "error"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text() | st.integers()),
    ),
    st.integers(100, 599),
)
def test_every_answer_is_a_token_or_one_of_the_four_errors(fields: dict[str, object], status: int) -> None:
    for kind in EVERY_KIND:
        outcome = read_oauth(reply(fields, status), asked(kind))
        if isinstance(outcome, Token):
            assert outcome.access
            continue
        assert "\n" not in str(outcome)
        assert isinstance(outcome, (ReauthorizationRequired, TokenRefused, TokenEndpointUnreachable, UncertainExchange))
        assert kind in SPENT or not isinstance(outcome, (ReauthorizationRequired, UncertainExchange))


# --- a refusal --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SPENT)
@pytest.mark.parametrize("code", ["invalid_grant", "INVALID_GRANT", "access_denied", "consent_required"])
def test_a_dead_grant_needs_a_person(kind: GrantKind, code: str) -> None:
    error = refused(reply({"error": code, "error_description": "it is over"}, 400), kind)
    assert isinstance(error, ReauthorizationRequired)
    assert f"{code} (it is over)" in str(error)
    assert "give consent again" in str(error)


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [(GrantKind.CLIENT_CREDENTIALS, "secret"), (GrantKind.PASSWORD, "password"), (GrantKind.JWT_BEARER, "clock")],
)
def test_a_refused_credential_is_a_matter_of_configuration(kind: GrantKind, remedy: str) -> None:
    error = refused(reply({"error": "invalid_grant"}, 400), kind)
    assert isinstance(error, TokenRefused)
    assert remedy in str(error)


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize(
    "code", ["invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_request", "something_new"]
)
def test_a_wrong_client_or_request_is_fatal(kind: GrantKind, code: str) -> None:
    error = refused(reply({"error": code, "error_description": "no"}, 401), kind)
    assert isinstance(error, TokenRefused)
    assert (error.code, error.description) == (code, "no")
    assert not error.verdict.is_retryable
    assert f"refused with {code} (no): " in str(error)


@pytest.mark.parametrize(("status", "remedy"), [(401, "client secret"), (400, "token URL"), (403, "token URL"), (404, "token URL")])
def test_a_refusal_without_a_code_is_told_by_its_status(status: int, remedy: str) -> None:
    error = refused(reply(status=status, body=b"<html>planted</html>", content_type="text/html"))
    assert isinstance(error, TokenRefused)
    assert error.code == f"HTTP {status}"
    assert f"HTTP {status}, text/html, 20 bytes" in str(error)
    assert remedy in str(error)
    assert "planted" not in str(error)


@pytest.mark.parametrize("status", [400, 200, 500])
def test_the_code_counts_more_than_the_status(status: int) -> None:
    assert isinstance(refused(reply({"error": "invalid_grant"}, status)), ReauthorizationRequired)


@pytest.mark.parametrize("status", [200, 400])
def test_an_unknown_code_is_a_refusal_whatever_the_status(status: int) -> None:
    assert isinstance(refused(reply({"error": "quota"}, status)), TokenRefused)


# --- not now ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_an_endpoint_that_is_not_at_work_spends_nothing(kind: GrantKind, status: int) -> None:
    error = refused(reply(status=status, body=b"<html>", retry_after="17"), kind)
    assert isinstance(error, TokenEndpointUnreachable)
    assert error.retry_after == 17.0
    assert error.verdict.is_retryable
    assert "it asks to wait 17 s" in str(error)


def test_a_wait_is_none_when_none_was_asked_for_and_capped_when_it_is_absurd() -> None:
    without = refused(reply({"error": "temporarily_unavailable"}, 503))
    absurd = refused(reply({"error": "slow_down"}, 400, retry_after="999999"))
    assert isinstance(without, TokenEndpointUnreachable)
    assert isinstance(absurd, TokenEndpointUnreachable)
    assert without.retry_after is None
    assert absurd.retry_after == policy.RETRY_AFTER_LIMIT


@pytest.mark.parametrize("status", [302, 303, 307])
def test_a_passing_redirect_may_pass(status: int) -> None:
    error = refused(reply(status=status, location="https://elsewhere.test/sorry?token=planted#planted"))
    assert isinstance(error, TokenEndpointUnreachable)
    assert "https://elsewhere.test/sorry?token=***, which is not followed" in str(error)


@pytest.mark.parametrize("status", [301, 308])
def test_a_lasting_redirect_is_a_matter_of_configuration(status: int) -> None:
    error = refused(reply(status=status, location="https://new.test/token"))
    assert isinstance(error, TokenRefused)
    assert "set the token URL" in str(error)


@pytest.mark.parametrize(("location", "shown"), [("", "nowhere"), ("https://[half", "(an address that cannot be read)")])
def test_a_redirect_to_nonsense_is_described(location: str, shown: str) -> None:
    assert f"a redirect to {shown}, which is not followed" in str(refused(reply(status=302, location=location)))


# --- nobody knows -----------------------------------------------------------------------------------------------------------------

NO_TOKEN = [
    reply(status=500, body=b"<html>", content_type="text/html"),
    reply(status=502),
    reply(status=504),
    reply(status=101),
    reply({"error": "server_error"}, 500),
    reply({}, 200),
    reply([1], 200),
    reply({"access_token": ""}, 200),
    reply({"access_token": 7}, 200),
    reply(body=b"<html>sign in</html>", content_type="text/html"),
    reply(body=b"", damage="more than 1048576 bytes"),
]


@pytest.mark.parametrize("answer", NO_TOKEN)
def test_an_answer_without_a_token_leaves_a_spent_grant_uncertain(answer: HttpReply) -> None:
    for kind, spent in ((GrantKind.REFRESH_TOKEN, "the refresh token"), (GrantKind.AUTHORIZATION_CODE, "the code")):
        error = refused(answer, kind)
        assert isinstance(error, UncertainExchange)
        assert f"{spent} may be spent: if it is, give consent again" in str(error)


@pytest.mark.parametrize("answer", NO_TOKEN)
@pytest.mark.parametrize("kind", REUSABLE)
def test_an_answer_without_a_token_costs_a_reusable_grant_nothing(answer: HttpReply, kind: GrantKind) -> None:
    error = refused(answer, kind)
    assert isinstance(error, TokenEndpointUnreachable)
    assert "can be tried again" in str(error)


def test_a_damaged_body_is_described_by_status_type_and_damage() -> None:
    assert "HTTP 200, application/json, more than 9 bytes" in str(refused(reply(damage="more than 9 bytes")))
    assert "HTTP 200, no content type, 0 bytes" in str(refused(reply(content_type="")))


def test_no_answer_at_all_is_uncertain_for_what_is_spent_by_use_only() -> None:
    assert isinstance(unanswered(asked(GrantKind.REFRESH_TOKEN), "reset"), UncertainExchange)
    assert isinstance(unanswered(asked(GrantKind.PASSWORD), "reset"), TokenEndpointUnreachable)


def test_a_refusal_that_did_not_come_over_http_needs_no_status() -> None:
    unknown = refusal(asked(), None, "NEW_CODE", "why not")
    assert isinstance(unknown, TokenRefused)
    assert str(unknown) == "the refresh_token exchange at https://example.test/token was refused with NEW_CODE (why not)"
    assert "no reason given" in str(refusal(asked(), None, ""))
    assert isinstance(refusal(asked(), None, "slow_down"), TokenEndpointUnreachable)


# --- the server's words -----------------------------------------------------------------------------------------------------------


def test_a_text_of_the_server_is_one_short_printable_line() -> None:
    error = refused(reply({"error": "odd\r\ncode\x1b[31m", "error_description": "a\n\tb\x00" + "x" * 1000 + "\ud800"}, 400))
    assert isinstance(error, TokenRefused)
    assert str(error).isprintable()
    assert error.code == "odd code?[31m"
    assert error.description.startswith("a b?xxx")
    assert len(error.description) == 201


@pytest.mark.parametrize(
    "echo",
    [PLANTED, "plan%2Bted%2Fsecret%25%3D1", f"prefix{PLANTED}suffix", f"{PLANTED} {PLANTED}"],
)
def test_a_server_that_echoes_a_secret_does_not_get_it_into_an_exception(echo: str) -> None:
    for fields in ({"error": echo}, {"error": "invalid_grant", "error_description": echo}, {"error": "x", "error_description": echo}):
        error = refused(reply(fields, 400))
        assert "ted" not in f"{error} {vars(error)}".replace("granted", "")
        assert "***" in str(error)


def test_a_secret_in_a_content_type_or_a_location_is_masked() -> None:
    assert "ted" not in str(refused(reply(status=404, content_type=f"text/{PLANTED}")))
    assert "ted" not in str(refused(reply(status=302, location=f"https://evil.test/{PLANTED}")))


def test_the_credentials_of_a_header_are_masked_without_their_scheme() -> None:
    request = HttpRequest(method="POST", url="https://example.test/", headers=(("Authorization", Secret("Basic cGxhbnRlZA==")),))
    error = refusal(Asked.by(request, GrantKind.PASSWORD), None, "bad", "you sent cGxhbnRlZA== and more")
    assert "cGxhbnRlZA" not in str(error)


def test_a_secret_inside_another_one_does_not_uncover_the_rest() -> None:
    question = Asked(GrantKind.REFRESH_TOKEN, "x", (Secret("abc"), Secret("abcdef")))
    assert question.quoted("abcdef abc") == "*** ***"
