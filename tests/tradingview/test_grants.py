"""What is sent for a token, and every shape and unit in which servers answer (facts, tables A1.1 to A1.4 and A2.2)."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest

from tests.tradingview.certificates import KeyFiles
from tradesession import ReauthorizationRequired, Secret, TokenEndpointUnreachable, TokenRefused, UncertainExchange
from tradesession.errors import ConfigurationError, TokenError
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.tokens.replies import Asked, GrantKind
from tradesession.tokens.token import Token
from tradesession.tradingview import SAXO, ClientAuth, FixedToken, PasswordBearer, ServerOAuth2Bearer, Variant, grants
from tradesession.tradingview.credentials import Credential

NOW = 1_800_000_000.0
PASSWORD = "pass word&="
CREDENTIAL = PasswordBearer(login="me@broker", password=PASSWORD)


def answer(body: Any, *, status: int = 200, kind: GrantKind = GrantKind.PASSWORD, date: float | None = None) -> Token | TokenError:
    headers = {"content-type": "application/json"} | ({"date": formatdate(date, usegmt=True)} if date is not None else {})
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = HttpReply(status=status, headers=headers, body=content, sent_at=NOW)
    asked = Asked(kind, "https://broker.example/authorize", (Secret(PASSWORD),))
    return grants.read_reply(reply, asked)


def token(body: Any, **options: Any) -> Token:
    found = answer(body, **options)
    assert isinstance(found, Token)
    return found


def life(body: Any, **options: Any) -> float | None:
    return token(body, **options).remaining(NOW)


def enveloped(**fields: Any) -> dict[str, Any]:
    return {"s": "ok", "d": {"access_token": "a", **fields}}


def flat(**fields: Any) -> dict[str, Any]:
    return {"access_token": "a", "token_type": "Bearer", **fields}


# --- what is sent -------------------------------------------------------------------------------------------------------------------


def sent(request: HttpRequest) -> dict[str, str]:
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in request.form}


def test_authorize_gets_a_form_with_login_password_and_locale_and_nothing_else() -> None:
    request = grants.login(CREDENTIAL, "https://broker.example/api").request(NOW)
    assert (request.method, request.url) == ("POST", "https://broker.example/api/authorize")
    assert sent(request) == {"login": "me@broker", "password": PASSWORD, "locale": "en"}
    assert dict(request.headers) == {"Accept": "application/json"}
    assert PASSWORD not in f"{request!r}"


def test_another_address_and_another_locale_may_be_said() -> None:
    credential = PasswordBearer(login="me", password="p", url="https://login.example/here", locale="de_DE")
    request = grants.login(credential, "https://broker.example").request(NOW)
    assert request.url == "https://login.example/here"
    assert sent(request)["locale"] == "de_DE"


def certified(files: KeyFiles, **options: Any) -> ServerOAuth2Bearer:
    given: dict[str, Any] = {
        "token_url": "https://broker.example/authorize/token",
        "client_id": "client-1",
        "client_secret": "s3cret",
        "user_id": "user-1",
        "app_url": "https://app.example",
        "key_file": files.both,
    }
    return ServerOAuth2Bearer.from_files(**given | options)


def test_the_assertion_goes_as_a_form_with_the_client_in_the_body(files: KeyFiles) -> None:
    request = grants.assertion(certified(files), lambda wall: Secret(f"signed at {wall:.0f}")).request(NOW)
    assert (request.method, request.url) == ("POST", "https://broker.example/authorize/token")
    assert sent(request) == {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": "signed at 1800000000",
        "client_id": "client-1",
        "client_secret": "s3cret",
    }


def test_saxos_variant_has_its_own_grant_type_and_the_client_in_the_header(files: KeyFiles) -> None:
    request = grants.assertion(certified(files, variant=SAXO), lambda wall: Secret("signed")).request(NOW)
    assert sent(request) == {"grant_type": "urn:saxobank:oauth:grant-type:personal-jwt", "assertion": "signed"}
    header = dict(request.headers)["Authorization"]
    assert isinstance(header, Secret)
    assert header.reveal() == "Basic Y2xpZW50LTE6czNjcmV0"


def test_a_refresh_token_is_spent_at_the_token_url_by_the_same_client(files: KeyFiles) -> None:
    request = grants.refresh(certified(files), Secret("r")).request(NOW)
    assert sent(request) == {"grant_type": "refresh_token", "refresh_token": "r", "client_id": "client-1", "client_secret": "s3cret"}
    by_password = PasswordBearer(login="me", password="p", refresh="oauth", token_url="https://broker.example/token")
    assert sent(grants.refresh(by_password, Secret("r")).request(NOW)) == {"grant_type": "refresh_token", "refresh_token": "r"}


def test_the_client_may_prove_itself_otherwise(files: KeyFiles) -> None:
    variant = Variant(grant_type="urn:your-broker:oauth:grant-type:personal-jwt", client_auth=ClientAuth.NONE)
    assert sent(grants.assertion(certified(files, variant=variant), lambda _: Secret("signed")).request(NOW)) == {
        "grant_type": "urn:your-broker:oauth:grant-type:personal-jwt",
        "assertion": "signed",
    }


# --- credentials --------------------------------------------------------------------------------------------------------------------


def test_the_audience_is_the_token_url_unless_the_configuration_says_otherwise(files: KeyFiles) -> None:
    assert certified(files).audience == "https://broker.example/authorize/token"
    assert certified(files, audience="https://broker.example/other").audience == "https://broker.example/other"
    with pytest.raises(ConfigurationError, match="audience is on another host than token_url"):
        certified(files, audience="https://evil.example/token")
    assert certified(files, audience="https://evil.example/token", foreign_audience=True).audience == "https://evil.example/token"


@pytest.mark.parametrize("lifetime", [4.9, 300.1, float("nan")])
def test_an_assertion_lives_five_seconds_to_five_minutes(files: KeyFiles, lifetime: float) -> None:
    with pytest.raises(ConfigurationError, match="must lie between 5 and 300 s"):
        certified(files, lifetime=lifetime)
    assert certified(files).lifetime == 60


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PasswordBearer(login="", password="p"), "login is empty"),
        (lambda: PasswordBearer(login="me", password=""), "password is empty"),
        (lambda: PasswordBearer(login="me\ud800", password="p"), "no UTF-8"),
        (lambda: PasswordBearer(login="me", password="p", refresh="never"), "refresh='never' is none of"),  # type: ignore[arg-type]
        (lambda: PasswordBearer(login="me", password="p", refresh="oauth"), "token_url: a URL is needed"),
        (lambda: PasswordBearer(login="me", password="p", url="ftp://x"), "url: a URL is needed"),
        (lambda: FixedToken(token=""), "token is empty"),
    ],
)
def test_credentials_that_cannot_be_meant_are_refused_by_name(make: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make()


def test_credentials_show_no_secret(files: KeyFiles) -> None:
    shown = repr([certified(files), CREDENTIAL, FixedToken(token="t0ken")])
    for secret in ("s3cret", PASSWORD, "t0ken"):
        assert secret not in shown


def test_each_credential_set_has_a_slot_of_its_own(files: KeyFiles) -> None:
    credentials: list[Credential | None] = [
        certified(files),
        certified(files, client_id="client-2"),
        certified(files, user_id="user-2"),
        CREDENTIAL,
        PasswordBearer(login="other", password="p"),
        FixedToken(token="one"),
        FixedToken(token="two"),
        None,
    ]
    slots = {
        grants.slot(credential, place, name) for credential in credentials for place in ("a:443", "b:443") for name in ("1", "2", "3", "4")
    }
    assert len(slots) == 8 * 2 * 4
    assert {slot.platform for slot in slots} == {"tradingview"}


# --- shapes -------------------------------------------------------------------------------------------------------------------------


def test_the_enveloped_reply_has_an_absolute_expiry() -> None:
    found = token(enveloped(expiration=NOW + 1200))
    assert found.access == Secret("a")
    assert found.expires_at == NOW + 1200
    assert found.issued_at == NOW
    assert found.refresh is None


def test_the_flat_reply_has_relative_lives() -> None:
    found = token(flat(expires_in=1200, refresh_token="r", refresh_token_expires_in=2400))
    assert (found.expires_at, found.refresh, found.refresh_expires_at) == (NOW + 1200, Secret("r"), NOW + 2400)
    assert found.token_type == "bearer"


def test_both_generations_may_be_mixed() -> None:
    within = enveloped(expires_in=1200, refresh_token="r", refresh_token_expires_in=2400)
    assert (token(within).expires_at, token(within).refresh) == (NOW + 1200, Secret("r"))
    beside = enveloped(expiration=NOW + 900) | flat(expires_in=1200, refresh_token="r")
    assert token(beside).expires_at == NOW + 900, "the earlier one counts"
    assert token(beside).refresh == Secret("r")
    assert token({"s": "ok", **flat(expires_in=60)}).expires_at == NOW + 60


@pytest.mark.parametrize(
    "expiry", [{}, {"expiration": None}, {"expiration": ""}, {"expiration": True}, {"expiration": "soon"}, {"expires_in": 0}]
)
def test_an_expiry_that_says_nothing_promises_nothing(expiry: dict[str, Any]) -> None:
    assert life(enveloped(**expiry)) is None


# --- units --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expiration", "expected"),
    [
        (NOW + 1200, 1200.0),
        (NOW + 1200.5, 1200.5),
        (str(int(NOW + 1200)), 1200.0),
        (f"{NOW + 1200.25:.2f}", 1200.25),
        ((NOW + 1200) * 1000, 1200.0),
        (str(int((NOW + 1200) * 1000)), 1200.0),
        (1200, 1200.0),
        (NOW - 60, None),
        (-1, None),
        (0, None),
        (float("inf"), None),
        (10**400, None),
    ],
)
def test_expiration_is_a_point_in_time_in_whatever_spelling(expiration: Any, expected: float | None) -> None:
    found = life(enveloped(expiration=expiration))
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-3))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"expires_in": 1200}, 1200.0),
        ({"expires_in": "1200"}, 1200.0),
        ({"expires_in": 1200.5}, 1200.5),
        ({"expiresIn": 1200}, 1200.0),
        ({"expired_in": 1200}, 1200.0),
        ({"expires_in": 2_147_483}, 2_147_483.0),
        ({"expires_in": 2_147_483_647}, 2_147_483.647),
        ({"expires_in": -5}, None),
        ({"expires_in": 60, "expiration": NOW + 36_000}, 60.0),
    ],
)
def test_a_life_is_in_seconds_unless_none_may_be_so_long(fields: dict[str, Any], expected: float | None) -> None:
    assert life(flat(**fields)) == (None if expected is None else pytest.approx(expected, abs=1e-3))


def test_a_clock_of_ours_that_is_ahead_does_not_bury_a_new_token() -> None:
    assert life(enveloped(expiration=NOW - 600 + 300), date=NOW - 600) == pytest.approx(300, abs=1)


def test_a_clock_of_ours_that_is_behind_does_not_make_a_token_live_longer() -> None:
    assert life(enveloped(expiration=NOW + 600 + 300), date=NOW + 600) == pytest.approx(300, abs=1)


def test_a_date_that_is_none_is_passed_by() -> None:
    reply = HttpReply(status=200, headers={"date": "yesterday"}, body=json.dumps(enveloped(expiration=NOW + 60)).encode(), sent_at=NOW)
    found = grants.read_reply(reply, Asked(GrantKind.PASSWORD, "x"))
    assert isinstance(found, Token)
    assert found.expires_at == NOW + 60


# --- refusals -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"s": "error", "errmsg": "Wrong login or password"}, 200),
        ({"s": "error"}, 200),
        ({"s": "error", "errmsg": "Wrong login or password"}, 401),
        ({"error": "invalid_grant"}, 400),
        (b"<html>", 401),
        (b"", 401),
        ({"s": "error", "errmsg": "No", "d": {"access_token": "a"}}, 200),
    ],
)
def test_a_refused_password_needs_a_person(body: Any, status: int) -> None:
    error = answer(body, status=status)
    assert isinstance(error, ReauthorizationRequired)
    assert "check the login and the password; it is not sent again by itself" in str(error)


def test_the_text_of_a_refusal_shows_and_what_was_sent_does_not() -> None:
    error = answer({"s": "error", "errmsg": f"{PASSWORD} is wrong\nfor you"})
    assert isinstance(error, ReauthorizationRequired)
    assert PASSWORD not in str(error)
    assert "*** is wrong for you" in str(error)


@pytest.mark.parametrize(
    ("body", "status", "kind", "expected"),
    [
        ({"error": "invalid_grant"}, 400, GrantKind.JWT_BEARER, TokenRefused),
        ({"error": "invalid_client"}, 401, GrantKind.JWT_BEARER, TokenRefused),
        ({"s": "error", "errmsg": "no"}, 200, GrantKind.JWT_BEARER, TokenRefused),
        ({"error": "invalid_grant"}, 400, GrantKind.REFRESH_TOKEN, ReauthorizationRequired),
        ({"s": "error", "errmsg": "no"}, 200, GrantKind.REFRESH_TOKEN, ReauthorizationRequired),
        ({"s": "error", "errmsg": "busy"}, 503, GrantKind.REFRESH_TOKEN, TokenEndpointUnreachable),
        ({"s": "error", "errmsg": "busy"}, 500, GrantKind.REFRESH_TOKEN, UncertainExchange),
        ({"s": "error", "errmsg": "busy"}, 429, GrantKind.JWT_BEARER, TokenEndpointUnreachable),
        ({"s": "error", "errmsg": "busy"}, 503, GrantKind.PASSWORD, TokenEndpointUnreachable),
        ({"s": "error", "errmsg": "slower"}, 429, GrantKind.PASSWORD, TokenEndpointUnreachable),
        ({"s": "error", "errmsg": "failed"}, 500, GrantKind.PASSWORD, TokenEndpointUnreachable),
        (b"<html>", 502, GrantKind.PASSWORD, TokenEndpointUnreachable),
        (b"<html>", 200, GrantKind.PASSWORD, TokenEndpointUnreachable),
        (b"<html>", 200, GrantKind.REFRESH_TOKEN, UncertainExchange),
        (b"", 307, GrantKind.PASSWORD, TokenEndpointUnreachable),
        (b"", 308, GrantKind.PASSWORD, TokenRefused),
        (b"", 404, GrantKind.PASSWORD, TokenRefused),
    ],
)
def test_other_refusals_mean_what_they_mean_elsewhere(body: Any, status: int, kind: GrantKind, expected: type[Exception]) -> None:
    assert type(answer(body, status=status, kind=kind)) is expected
