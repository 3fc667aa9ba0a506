"""One exchange over HTTP: what the driver met becomes a Token or one of the four errors of an Exchange."""

from __future__ import annotations

import json

import pytest

from tradesession.clock import ManualClock
from tradesession.errors import (
    CertificateRefused,
    ConfigurationError,
    Error,
    NotSent,
    OutcomeUnknown,
    ReauthorizationRequired,
    TokenEndpointUnreachable,
    TokenRefused,
    UncertainExchange,
    Unreachable,
)
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.secrets import Secret
from tradesession.tokens.exchange import Exchange, HttpExchange, StaticExchange
from tradesession.tokens.grants import ClientCredentials, Grant, JwtBearer, Static, TokenEndpoint, renewal
from tradesession.tokens.token import Token

ENDPOINT = TokenEndpoint(url="https://example.test/token", client_id="me", client_secret=Secret("planted"))
OLD = Token(access=Secret("a1"), refresh=Secret("r1"), generation=7)


class FakeDriver:
    """Answers with what it was given."""

    def __init__(self, outcome: HttpReply | BaseException) -> None:
        self.outcome = outcome
        self.sent: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> HttpReply:
        self.sent.append(request)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def answer(fields: dict[str, object], status: int = 200) -> HttpReply:
    return HttpReply(status=status, body=json.dumps(fields).encode(), sent_at=1000.0)


def client_credentials(token: Token | None) -> Grant:
    return ClientCredentials(ENDPOINT)


async def test_the_token_counts_from_the_sending_and_is_not_numbered_yet() -> None:
    driver = FakeDriver(answer({"access_token": "a2", "refresh_token": "r2", "expires_in": 60}))
    exchange: Exchange = HttpExchange(renewal(ENDPOINT), driver)
    token = await exchange(OLD)
    assert token == Token(access=Secret("a2"), refresh=Secret("r2"), issued_at=1000.0, expires_at=1060.0)
    assert [request.method for request in driver.sent] == ["POST"]
    assert ("refresh_token", Secret("r1")) in driver.sent[0].form


async def test_a_grant_that_needs_no_token_is_exchanged_without_one() -> None:
    driver = FakeDriver(answer({"access_token": "a"}))
    assert (await HttpExchange(client_credentials, driver)(None)).access == Secret("a")


async def test_an_assertion_is_signed_for_the_time_of_the_exchange() -> None:
    clock = ManualClock(wall=5000.0)
    driver = FakeDriver(answer({"access_token": "a"}))
    exchange = HttpExchange(lambda token: JwtBearer(ENDPOINT, lambda wall: Secret(f"at {wall:.0f}")), driver, clock=clock)
    await exchange(None)
    clock.advance(60)
    await exchange(None)
    assert [dict(request.form)["assertion"] for request in driver.sent] == [Secret("at 5000"), Secret("at 5060")]


@pytest.mark.parametrize("token", [None, Token(access=Secret("a"))])
async def test_without_a_refresh_token_nothing_is_sent(token: Token | None) -> None:
    driver = FakeDriver(answer({}))
    with pytest.raises(ReauthorizationRequired):
        await HttpExchange(renewal(ENDPOINT), driver)(token)
    assert driver.sent == []


@pytest.mark.parametrize("met", [NotSent("closed"), Unreachable("example.test:443 is not reachable (connection refused)")])
async def test_what_never_left_is_an_unreachable_endpoint(met: Error) -> None:
    with pytest.raises(TokenEndpointUnreachable, match="no token was asked for") as caught:
        await HttpExchange(renewal(ENDPOINT), FakeDriver(met))(OLD)
    assert caught.value.__cause__ is met
    assert caught.value.retry_after is None
    assert caught.value.verdict.is_retryable


async def test_a_wrong_certificate_is_not_worth_repeating() -> None:
    with pytest.raises(TokenEndpointUnreachable) as caught:
        await HttpExchange(renewal(ENDPOINT), FakeDriver(CertificateRefused("not trusted")))(OLD)
    assert not caught.value.verdict.is_retryable
    assert TokenEndpointUnreachable("another").verdict.is_retryable


async def test_what_left_without_an_answer_is_uncertain_for_a_refresh_and_harmless_for_a_credential() -> None:
    lost = OutcomeUnknown("it left, and no answer came")
    with pytest.raises(UncertainExchange, match="no answer came") as caught:
        await HttpExchange(renewal(ENDPOINT), FakeDriver(lost))(OLD)
    assert caught.value.__cause__ is lost
    with pytest.raises(TokenEndpointUnreachable, match="no answer came"):
        await HttpExchange(client_credentials, FakeDriver(lost))(None)


async def test_a_wrong_configuration_is_fatal() -> None:
    with pytest.raises(TokenRefused, match="use https") as caught:
        await HttpExchange(renewal(ENDPOINT), FakeDriver(ConfigurationError("use https")))(OLD)
    assert caught.value.code == "configuration"

    def misconfigured(token: Token | None) -> Grant:
        raise ConfigurationError("no key file")

    with pytest.raises(TokenRefused, match="no key file"):
        await HttpExchange(misconfigured, FakeDriver(answer({})))(None)


async def test_a_refusal_passes_as_it_is() -> None:
    with pytest.raises(ReauthorizationRequired):
        await HttpExchange(renewal(ENDPOINT), FakeDriver(answer({"error": "invalid_grant"}, 400)))(OLD)


async def test_a_static_token_is_given_out_and_cannot_be_renewed() -> None:
    exchange: Exchange = StaticExchange(Static(Secret("planted-static")))
    first = await exchange(None)
    assert first.access == Secret("planted-static")
    assert (await exchange(OLD)) == first
    with pytest.raises(ReauthorizationRequired, match="put a new one into the configuration"):
        await exchange(first)
