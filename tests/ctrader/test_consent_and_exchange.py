"""From a person's consent to a renewed pair, against the sandbox's pages and token endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tradesession.ctrader.grants import authorization_url, token_endpoint
from tradesession.errors import ReauthorizationRequired, TokenEndpointUnreachable, TokenError, TokenRefused, UncertainExchange
from tradesession.sandbox import Sandbox
from tradesession.sandbox.ctrader import CTraderSandbox
from tradesession.secrets import Secret
from tradesession.tokens.consent import RedirectCatcher, new_state, parse_pasted
from tradesession.tokens.exchange import HttpExchange
from tradesession.tokens.grants import AuthorizationCode, TokenEndpoint, renewal
from tradesession.tokens.token import Token
from tradesession.transports.http import HttpDriver


@pytest.fixture
async def server() -> AsyncIterator[CTraderSandbox]:
    async with Sandbox(seed=1) as sandbox:
        yield sandbox.ctrader


@pytest.fixture
async def driver(server: CTraderSandbox) -> AsyncIterator[HttpDriver]:
    async with HttpDriver([server.token_url]) as driver:
        yield driver


def endpoint(server: CTraderSandbox, method: str = "GET", secret: str | None = None) -> TokenEndpoint:
    application = server.application
    return token_endpoint(
        application.client_id, Secret(application.client_secret if secret is None else secret), url=server.token_url, method=method
    )


async def decide(url: str, decision: str) -> str:
    """Play the browser of a person who presses one button, and follow where it leads; the text of the last page."""
    async with aiohttp.ClientSession() as browser, browser.post(url, data={"decision": decision}) as page:
        return await page.text()


async def consented(server: CTraderSandbox, driver: HttpDriver, method: str = "GET") -> Token:
    state = new_state()
    async with RedirectCatcher(state=state, require_state=True) as catcher:
        url = authorization_url(server.application.client_id, catcher.redirect_uri, state=state, base=server.auth_url)
        assert "Consent received" in await decide(url, "allow")
        code = await catcher.code()
    grant = AuthorizationCode(endpoint(server, method), code, catcher.redirect_uri)
    return await HttpExchange(lambda token: grant, driver)(None)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_consent_becomes_a_pair_and_the_pair_the_next_one(server: CTraderSandbox, driver: HttpDriver, method: str) -> None:
    first = await consented(server, driver, method)
    assert first.refresh
    assert first.lifetime is not None
    assert first.lifetime > 86_400
    renew = HttpExchange(renewal(endpoint(server, method)), driver)
    second = await renew(first)
    assert second.access != first.access
    assert second.refresh != first.refresh
    with pytest.raises(ReauthorizationRequired):
        await renew(first)
    assert (await renew(second)).access != second.access


async def test_a_person_who_says_no_is_named_as_the_cause(server: CTraderSandbox) -> None:
    async with RedirectCatcher() as catcher:
        url = authorization_url(server.application.client_id, catcher.redirect_uri, base=server.auth_url)
        assert "The login did not succeed" in await decide(url, "deny")
        with pytest.raises(ReauthorizationRequired, match="access_denied"):
            await catcher.code()


async def test_a_state_that_does_not_come_back_is_no_hindrance(server: CTraderSandbox) -> None:
    server.settings.echo_state = False
    async with RedirectCatcher(state=new_state()) as catcher:
        url = authorization_url(server.application.client_id, catcher.redirect_uri, state=new_state(), base=server.auth_url)
        await decide(url, "allow")
        assert await catcher.code()


async def test_the_address_may_be_pasted_instead(server: CTraderSandbox, driver: HttpDriver) -> None:
    url = authorization_url(server.application.client_id, server.redirect_uri, base=server.auth_url)
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(url, data={"decision": "allow"}, allow_redirects=False) as answer,
    ):
        code = parse_pasted(answer.headers["Location"])
    grant = AuthorizationCode(endpoint(server), code, server.redirect_uri)
    assert (await HttpExchange(lambda token: grant, driver)(None)).access


@pytest.mark.parametrize(("shape", "wrong"), [("ctrader", ReauthorizationRequired), ("rfc6749", TokenRefused)])
async def test_a_wrong_secret_is_refused_in_either_shape(
    server: CTraderSandbox, driver: HttpDriver, shape: str, wrong: type[TokenError]
) -> None:
    token = await consented(server, driver)
    server.settings.oauth_error_shape = shape  # type: ignore[assignment]  # one of two literals
    with pytest.raises(wrong, match="secret"):
        await HttpExchange(renewal(endpoint(server, secret="planted")), driver)(token)
    assert (await HttpExchange(renewal(endpoint(server)), driver)(token)).access


async def test_an_answer_that_is_lost_leaves_the_outcome_uncertain_and_is_not_asked_for_twice(
    server: CTraderSandbox, driver: HttpDriver
) -> None:
    token = await consented(server, driver)
    renew = HttpExchange(renewal(endpoint(server)), driver)
    server.faults.token_reply_lost = True
    with pytest.raises(UncertainExchange, match="may be spent"):
        await renew(token)
    assert token.refresh is not None
    assert server.state.exchanges[token.refresh.reveal()] == 1
    server.faults.token_reply_lost = False
    with pytest.raises(ReauthorizationRequired):
        await renew(token)


async def test_an_endpoint_that_is_down_costs_nothing(server: CTraderSandbox, driver: HttpDriver) -> None:
    token = await consented(server, driver)
    renew = HttpExchange(renewal(endpoint(server)), driver)
    server.faults.token_status = 503
    with pytest.raises(TokenEndpointUnreachable):
        await renew(token)
    server.faults.token_status = 0
    assert (await renew(token)).access
