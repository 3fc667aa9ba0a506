"""Which request each grant makes, and by whom its answer is read."""

from __future__ import annotations

import base64
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.errors import ConfigurationError, ReauthorizationRequired, TokenEndpointUnreachable, UncertainExchange
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.secrets import Secret
from tradesession.tokens.grants import (
    JWT_BEARER,
    AuthorizationCode,
    ClientAuth,
    ClientCredentials,
    Grant,
    JwtBearer,
    Password,
    RefreshToken,
    Static,
    TokenEndpoint,
    basic_authorization,
    renewal,
)
from tradesession.tokens.replies import Asked, GrantKind
from tradesession.tokens.token import Token

URL = "https://example.test/token"
WALL = 1_767_225_600.0


def endpoint(**changes: object) -> TokenEndpoint:
    values: dict[str, object] = {"url": URL, "client_id": "me", "client_secret": Secret("planted-client")} | changes
    return TokenEndpoint(**values)  # type: ignore[arg-type]  # the fields of one test differ from those of the next


def revealed(request: HttpRequest) -> dict[str, str]:
    pairs = request.form or request.query
    assert len({name for name, _ in pairs}) == len(pairs), "no parameter may come twice"
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in pairs}


CLIENT = {"client_id": "me", "client_secret": "planted-client"}

CASES: list[tuple[Grant, dict[str, str]]] = [
    (
        AuthorizationCode(endpoint(), Secret("planted-code"), "http://127.0.0.1:1/cb", Secret("planted-verifier")),
        {
            "grant_type": "authorization_code",
            "code": "planted-code",
            "redirect_uri": "http://127.0.0.1:1/cb",
            "code_verifier": "planted-verifier",
        },
    ),
    (RefreshToken(endpoint(), Secret("planted-refresh")), {"grant_type": "refresh_token", "refresh_token": "planted-refresh"}),
    (RefreshToken(endpoint(), Secret("r"), "trading"), {"grant_type": "refresh_token", "refresh_token": "r", "scope": "trading"}),
    (ClientCredentials(endpoint(), "read"), {"grant_type": "client_credentials", "scope": "read"}),
    (
        Password(endpoint(), "ann", Secret("planted-password")),
        {"grant_type": "password", "username": "ann", "password": "planted-password"},
    ),
    (
        JwtBearer(endpoint(), lambda wall: Secret(f"planted-{wall:.0f}")),
        {"grant_type": JWT_BEARER, "assertion": "planted-1767225600"},
    ),
    (
        JwtBearer(endpoint(), lambda wall: Secret("j"), "read", "urn:broker:personal-jwt"),
        {"grant_type": "urn:broker:personal-jwt", "assertion": "j", "scope": "read"},
    ),
]


@pytest.mark.parametrize(("grant", "parameters"), CASES)
def test_a_grant_posts_its_parameters_and_the_clients(grant: Grant, parameters: dict[str, str]) -> None:
    request = grant.request(WALL)
    assert (request.method, request.url, request.query) == ("POST", URL, ())
    assert revealed(request) == parameters | CLIENT


@pytest.mark.parametrize("grant", [grant for grant, _ in CASES])
def test_no_grant_shows_a_secret(grant: Grant) -> None:
    assert "planted" not in f"{grant!r} {grant} {grant.request(WALL)!r}"


def test_a_get_endpoint_takes_everything_in_the_query() -> None:
    request = RefreshToken(endpoint(method="GET"), Secret("r")).request(WALL)
    assert (request.method, request.form) == ("GET", ())
    assert revealed(request) == {"grant_type": "refresh_token", "refresh_token": "r"} | CLIENT


def test_basic_authentication_leaves_the_client_out_of_the_form() -> None:
    request = ClientCredentials(endpoint(auth=ClientAuth.BASIC)).request(WALL)
    assert revealed(request) == {"grant_type": "client_credentials"}
    header = dict(request.headers)["Authorization"]
    assert isinstance(header, Secret)
    assert base64.b64decode(header.reveal().removeprefix("Basic ")) == b"me:planted-client"


@given(st.text(min_size=1), st.text())
def test_basic_credentials_survive_every_character(client_id: str, client_secret: str) -> None:
    header = basic_authorization(client_id, Secret(client_secret)).reveal()
    left, colon, right = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    assert (unquote(left), colon, unquote(right)) == (client_id, ":", client_secret)


def test_a_public_client_sends_its_id_alone() -> None:
    assert revealed(ClientCredentials(endpoint(client_secret=None)).request(WALL)) == {
        "grant_type": "client_credentials",
        "client_id": "me",
    }
    basic = ClientCredentials(endpoint(client_secret=None, auth=ClientAuth.BASIC)).request(WALL)
    assert dict(basic.headers)["Authorization"] == Secret("Basic " + base64.b64encode(b"me:").decode())


def test_no_client_at_all_is_possible() -> None:
    request = Password(TokenEndpoint(url=URL, auth=ClientAuth.NONE), "ann", Secret("p")).request(WALL)
    assert revealed(request) == {"grant_type": "password", "username": "ann", "password": "p"}


def test_extra_parameters_go_with_every_request() -> None:
    request = ClientCredentials(endpoint(extra=(("audience", "desk"), ("pin", Secret("planted-pin"))))).request(WALL)
    assert revealed(request) == {"grant_type": "client_credentials", "audience": "desk", "pin": "planted-pin"} | CLIENT


def test_a_wrong_method_and_a_missing_client_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="method='PUT'"):
        endpoint(method="PUT")
    with pytest.raises(ConfigurationError, match="client_id of a token endpoint is empty"):
        endpoint(client_id="")


def test_a_platform_may_bring_its_own_reader() -> None:
    def read(reply: HttpReply, asked: Asked) -> Token:
        assert asked.kind is GrantKind.PASSWORD
        assert asked.secrets == (Secret("planted-password"), Secret("planted-client"))
        return Token(access=Secret(reply.body.decode()))

    grant = Password(endpoint(reader=read), "ann", Secret("planted-password"))
    assert grant.read(grant.request(WALL), HttpReply(status=200, body=b"mine")).access == Secret("mine")


def test_an_answer_is_read_as_oauth_unless_told_otherwise() -> None:
    grant = RefreshToken(endpoint(), Secret("r"))
    token = grant.read(grant.request(WALL), HttpReply(status=200, body=b'{"access_token": "a", "expires_in": 60}', sent_at=WALL))
    assert (token.access, token.expires_at) == (Secret("a"), WALL + 60)


def test_the_lack_of_an_answer_is_worse_for_what_is_spent_by_use() -> None:
    refresh, password = RefreshToken(endpoint(), Secret("r")), Password(endpoint(), "ann", Secret("p"))
    assert isinstance(refresh.unanswered(refresh.request(WALL), "reset"), UncertainExchange)
    assert isinstance(password.unanswered(password.request(WALL), "reset"), TokenEndpointUnreachable)


def test_a_static_token_is_what_was_configured() -> None:
    static = Static(Secret("planted-static"), expires_at=5.0)
    assert static.token() == Token(access=Secret("planted-static"), expires_at=5.0)
    assert "planted" not in repr(static)


def test_a_renewal_uses_the_current_refresh_token() -> None:
    grant = renewal(endpoint())(Token(access=Secret("a"), refresh=Secret("r7")))
    assert revealed(grant.request(WALL))["refresh_token"] == "r7"


@pytest.mark.parametrize(("token", "said"), [(None, "there is no token yet"), (Token(access=Secret("planted")), "has no refresh token")])
def test_a_renewal_without_a_refresh_token_needs_a_person(token: Token | None, said: str) -> None:
    with pytest.raises(ReauthorizationRequired, match=said):
        renewal(endpoint())(token)
