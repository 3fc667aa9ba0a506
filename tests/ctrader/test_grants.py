"""cTrader's consent address, token requests, and the answers of its token endpoint and socket."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import pytest

from tradesession.ctrader.grants import (
    CONSENT_URL,
    SDK_CONSENT_URL,
    TOKEN_URL,
    authorization_url,
    read_socket_refresh,
    socket_refusal,
    socket_unanswered,
    token_endpoint,
)
from tradesession.ctrader.messages import ProtoOAErrorCode, ProtoOARefreshTokenRes
from tradesession.errors import (
    ConfigurationError,
    Error,
    ReauthorizationRequired,
    TokenEndpointUnreachable,
    TokenError,
    TokenRefused,
    UncertainExchange,
)
from tradesession.protocol.http import HttpReply
from tradesession.secrets import Secret
from tradesession.tokens.grants import AuthorizationCode, RefreshToken, renewal
from tradesession.tokens.token import Token

SENT = 1_767_225_600.0
APPLICATION = token_endpoint("42_app", Secret("planted-client"))
REDIRECT = "http://127.0.0.1:8080/callback"


def read(fields: object, status: int = 200, *, refresh: bool = True, **headers: str) -> Token:
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    named = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    grant = (
        RefreshToken(APPLICATION, Secret("planted-refresh"))
        if refresh
        else AuthorizationCode(APPLICATION, Secret("planted-code"), REDIRECT)
    )
    return grant.read(grant.request(SENT), HttpReply(status=status, headers=named, body=body, sent_at=SENT))


def refused(fields: object, status: int = 200, *, refresh: bool = True, **headers: str) -> TokenError:
    with pytest.raises(TokenError) as caught:
        read(fields, status, refresh=refresh, **headers)
    assert "planted" not in str(caught.value)
    return caught.value


# --- consent ----------------------------------------------------------------------------------------------------------------------


def test_the_consent_address_is_the_documented_one() -> None:
    url = authorization_url("42_app", REDIRECT, state=Secret("s"))
    assert url.startswith(CONSENT_URL + "?")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "client_id": "42_app",
        "redirect_uri": REDIRECT,
        "scope": "trading",
        "product": "web",
        "state": "s",
    }
    assert "redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Fcallback" in url


def test_the_address_of_the_vendors_sdks_is_a_setting() -> None:
    url = authorization_url("42_app", REDIRECT, scope="accounts", base=SDK_CONSENT_URL)
    assert url.startswith(SDK_CONSENT_URL + "?")
    assert dict(parse_qsl(urlsplit(url).query)) == {"client_id": "42_app", "redirect_uri": REDIRECT, "scope": "accounts"}


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="scope='trade' is none of cTrader's; it is 'trading' or 'accounts'"):
        authorization_url("42_app", REDIRECT, scope="trade")


# --- requests ---------------------------------------------------------------------------------------------------------------------

REFRESH_PAIRS = (
    ("grant_type", "refresh_token"),
    ("refresh_token", Secret("r1")),
    ("client_id", "42_app"),
    ("client_secret", Secret("planted-client")),
)


def test_a_refresh_is_a_get_with_a_query_as_documented() -> None:
    request = RefreshToken(APPLICATION, Secret("r1")).request(SENT)
    assert (request.method, request.url, request.query, request.form) == ("GET", TOKEN_URL, REFRESH_PAIRS, ())
    assert "planted" not in repr(request)


def test_a_refresh_may_be_a_form() -> None:
    endpoint = token_endpoint("42_app", Secret("planted-client"), url="http://127.0.0.1:1/token", method="POST")
    request = RefreshToken(endpoint, Secret("r1")).request(SENT)
    assert (request.method, request.url, request.query, request.form) == ("POST", "http://127.0.0.1:1/token", (), REFRESH_PAIRS)


def test_a_code_goes_with_the_redirect_uri_of_its_consent() -> None:
    request = AuthorizationCode(APPLICATION, Secret("c"), REDIRECT).request(SENT)
    assert request.query == (
        ("grant_type", "authorization_code"),
        ("code", Secret("c")),
        ("redirect_uri", REDIRECT),
        ("client_id", "42_app"),
        ("client_secret", Secret("planted-client")),
    )


def test_a_token_is_renewed_with_its_refresh_token() -> None:
    grant = renewal(APPLICATION)(Token(access=Secret("a1"), refresh=Secret("r1")))
    assert grant.request(SENT).query == REFRESH_PAIRS
    with pytest.raises(ReauthorizationRequired):
        renewal(APPLICATION)(None)


# --- answers over HTTP ------------------------------------------------------------------------------------------------------------

GOOD = {"accessToken": "a2", "tokenType": "bearer", "expiresIn": 2_628_000, "refreshToken": "r2", "errorCode": None}


@pytest.mark.parametrize(
    "fields",
    [
        GOOD,
        GOOD | {"description": None, "accessTokenNews": 1},
        {"access_token": "a2", "token_type": "bearer", "expires_in": 2_628_000, "refresh_token": "r2"},
        GOOD | {"access_token": "a2", "refresh_token": "r2", "expires_in": 2_628_000},
        GOOD | {"expiresIn": "2628000"},
    ],
)
@pytest.mark.parametrize("refresh", [True, False])
def test_a_pair_is_read_in_all_its_spellings(fields: dict[str, object], refresh: bool) -> None:
    token = read(fields, refresh=refresh)
    assert token == Token(access=Secret("a2"), refresh=Secret("r2"), issued_at=SENT, expires_at=SENT + 2_628_000)


@pytest.mark.parametrize("code", ["ACCESS_DENIED", "CH_ACCESS_TOKEN_INVALID", "OA_AUTH_TOKEN_EXPIRED", "INVALID_GRANT"])
@pytest.mark.parametrize("status", [200, 400, 401])
@pytest.mark.parametrize("refresh", [True, False])
def test_a_dead_grant_needs_a_person_whatever_the_status(code: str, status: int, refresh: bool) -> None:
    error = refused({"errorCode": code, "description": "Make sure", "accessToken": None}, status, refresh=refresh)
    assert isinstance(error, ReauthorizationRequired)
    assert f"{code} (Make sure)" in str(error)
    assert "consent again" in str(error)


@pytest.mark.parametrize("code", ["CH_CLIENT_AUTH_FAILURE", "CH_OA_CLIENT_NOT_FOUND"])
def test_a_wrong_application_is_a_matter_of_configuration(code: str) -> None:
    error = refused({"errorCode": code, "description": "planted-client is wrong"})
    assert isinstance(error, TokenRefused)
    assert (error.code, error.description) == (code, "*** is wrong")
    assert "the application is active in the Open API portal" in str(error)


def test_the_standard_error_object_is_understood_as_well() -> None:
    assert isinstance(refused({"error": "invalid_grant", "error_description": "spent"}, 400), ReauthorizationRequired)
    assert isinstance(refused({"error": "invalid_client"}, 401), TokenRefused)


def test_an_unknown_code_is_a_refusal_that_names_it() -> None:
    error = refused({"errorCode": "INVALID_REQUEST", "description": "no redirect"})
    assert isinstance(error, TokenRefused)
    assert (error.code, error.description) == ("INVALID_REQUEST", "no redirect")


def test_a_stale_refresh_token_may_be_answered_by_a_bare_400() -> None:
    assert isinstance(refused(b"", 400), ReauthorizationRequired)
    assert isinstance(refused(b"<html>", 400, refresh=False), TokenRefused)


@pytest.mark.parametrize("code", ["SERVER_IS_UNDER_MAINTENANCE", "REQUEST_FREQUENCY_EXCEEDED", "CH_SERVER_NOT_REACHABLE"])
def test_an_endpoint_that_cannot_now_is_asked_again_later(code: str) -> None:
    error = refused({"errorCode": code}, retry_after="30")
    assert isinstance(error, TokenEndpointUnreachable)
    assert error.retry_after == 30.0


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"errorCode": "UNKNOWN_ERROR"}, 200), (b"<html>", 200), ({}, 200), ({"errorCode": None}, 200), (b"", 502), (b"<html>", 500)],
)
def test_an_answer_that_says_nothing_leaves_the_refresh_token_in_doubt(fields: object, status: int) -> None:
    assert isinstance(refused(fields, status), UncertainExchange)


# --- answers over the socket ------------------------------------------------------------------------------------------------------


def test_a_refresh_over_the_socket_yields_the_same_token() -> None:
    reply = ProtoOARefreshTokenRes(accessToken="a2", refreshToken="r2", tokenType="bearer", expiresIn=2_628_000)
    assert read_socket_refresh(reply, SENT) == read(GOOD)


def test_a_reply_without_a_token_leaves_the_refresh_token_in_doubt() -> None:
    with pytest.raises(UncertainExchange, match="at the open connection"):
        read_socket_refresh(ProtoOARefreshTokenRes(), SENT)
    assert isinstance(socket_unanswered("the connection ended"), UncertainExchange)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("CH_ACCESS_TOKEN_INVALID", ReauthorizationRequired),
        ("ACCESS_DENIED", ReauthorizationRequired),
        ("CH_CLIENT_AUTH_FAILURE", TokenRefused),
        ("CH_CLIENT_NOT_AUTHENTICATED", TokenEndpointUnreachable),
        ("BLOCKED_PAYLOAD_TYPE", TokenEndpointUnreachable),
        ("TIMEOUT_ERROR", UncertainExchange),
        ("SOMETHING_NEW", TokenRefused),
    ],
)
def test_a_refusal_over_the_socket_is_judged_like_one_over_http(code: str, kind: type[Error]) -> None:
    error = socket_refusal(code, "about planted-refresh", Secret("planted-refresh"))
    assert type(error) is kind
    assert code in str(error)
    assert "planted" not in str(error)


@pytest.mark.parametrize("code", ProtoOAErrorCode.keys())
def test_every_code_of_the_open_api_has_an_outcome(code: str) -> None:
    assert isinstance(socket_refusal(code), (ReauthorizationRequired, TokenRefused, TokenEndpointUnreachable, UncertainExchange))
