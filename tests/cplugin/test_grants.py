"""Client credentials: discovery and its checks, what is sent, and renewals, which are exchanges like the first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

import tradesession
from tests.cplugin.scripted import Api, envelope
from tradesession import cplugin, policy
from tradesession.errors import TokenEndpointUnreachable, TokenRefused
from tradesession.timing import AdjustableClock


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with Api(envelope("now")) as api:
        yield api


async def get(config: cplugin.Config) -> str:
    async with tradesession.SessionManager() as manager:
        return (await manager.tokens(config).get()).access.reveal()


async def test_the_client_stands_in_the_body_with_its_scope(api: Api) -> None:
    assert await get(api.config()) == "planted-token-1"
    assert api.tokens == [
        {
            "grant_type": "client_credentials",
            "scope": "webapi",
            "client_id": "planted-client",
            "client_secret": "planted-client-secret",
            "Authorization": "",
        }
    ]


async def test_or_in_the_header_and_without_a_scope(api: Api) -> None:
    await get(api.config(client_auth="basic", scope=""))
    [form] = api.tokens
    assert form.pop("Authorization").startswith("Basic ")
    assert form == {"grant_type": "client_credentials"}


async def test_a_given_endpoint_needs_no_discovery(api: Api) -> None:
    async with Api() as elsewhere:
        assert await get(api.config(authority="", token_url=f"{elsewhere.base_url}/connect/token")) == "planted-token-1"
    assert api.discoveries == 0


async def test_an_authority_may_have_a_path(api: Api) -> None:
    api.answers = [web.json_response({"token_endpoint": f"{api.base_url}/connect/token"})]
    api.checks_tokens = False
    await get(api.config(authority=f"{api.base_url}/realm/"))
    assert api.seen[0].path == "/realm/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("document", "code", "said"),
    [
        ({"token_endpoint": "https://elsewhere.test/connect/token"}, "discovery_invalid", "elsewhere.*give it as token_url"),
        ({"token_endpoint": "http://elsewhere.test/connect/token"}, "discovery_invalid", "not safe"),
        ({"token_endpoint": "/connect/token"}, "discovery_invalid", "not safe"),
        ({"token_endpoint": "https://me:pass@elsewhere.test/"}, "discovery_invalid", "not safe"),
        ({"token_endpoint": None}, "discovery_invalid", "names no token_endpoint"),
        ({"issuer": "me"}, "discovery_invalid", "names no token_endpoint"),
        (web.Response(text="<html>"), "discovery_invalid", "names no token_endpoint"),
        (web.Response(status=404), "discovery_failed", "HTTP 404"),
        (web.Response(status=302, headers={"Location": "https://elsewhere.test/"}), "discovery_failed", "HTTP 302"),
    ],
)
async def test_a_discovery_that_cannot_be_trusted_gets_no_secret(api: Api, document: Any, code: str, said: str) -> None:
    api.discovery = document
    with pytest.raises(TokenRefused, match=said) as caught:
        await get(api.config())
    assert caught.value.code == code
    assert api.tokens == []


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_discovery_that_fails_now_may_work_later(api: Api, status: int) -> None:
    api.discovery = web.Response(status=status, headers={"Retry-After": "5"})
    with pytest.raises(TokenEndpointUnreachable, match=f"HTTP {status}") as caught:
        await get(api.config())
    assert caught.value.retry_after == 5


async def test_an_authority_that_is_not_there_is_unreachable(api: Api) -> None:
    config = api.config()
    await api._runner.cleanup()
    with pytest.raises(TokenEndpointUnreachable, match="discovery failed"):
        await get(config)


@pytest.mark.parametrize("error", ["invalid_client", "invalid_scope", "unauthorized_client", "unsupported_grant_type"])
async def test_a_refusal_of_the_client_is_told(api: Api, error: str) -> None:
    api.token_answers = [web.json_response({"error": error}, status=400)]
    with pytest.raises(TokenRefused, match=error) as caught:
        await get(api.config())
    assert caught.value.code == error


async def test_an_unanswered_exchange_leaves_nothing_in_doubt(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no refresh token that could be spent: the next one is asked for as before."""
    monkeypatch.setattr(policy, "TOKEN_RETRY_FIRST", 0.001)
    api.token_answers = [web.Response(status=502) for _ in range(policy.TOKEN_FAILED_TRIES)]
    async with tradesession.SessionManager() as manager:
        keeper = manager.tokens(api.config())
        with pytest.raises(TokenEndpointUnreachable, match="tried again"):
            await keeper.get()
        assert (await keeper.renew()).access.reveal() == f"planted-token-{policy.TOKEN_FAILED_TRIES + 1}"


@pytest.mark.parametrize("status", [502, 503])
@pytest.mark.parametrize("place", ["token_answers", "discovery_answers"])
async def test_an_authority_that_is_unwell_for_a_moment_prevents_no_opening(
    api: Api, place: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "TOKEN_RETRY_FIRST", 0.001)
    setattr(api, place, [web.Response(status=status) for _ in range(policy.TOKEN_FAILED_TRIES - 1)])
    async with tradesession.SessionManager() as manager:
        assert (await manager.tokens(api.config()).get()).generation == 1


@pytest.mark.parametrize("life", [60, 3600])
async def test_a_renewal_is_another_exchange_however_short_the_life(api: Api, life: int) -> None:
    api.life = life
    clock = AdjustableClock()
    async with tradesession.SessionManager(clock=clock) as manager:
        keeper = manager.tokens(api.config())
        for _ in range(40):
            token = await keeper.get()
            remaining = token.remaining(clock.wall())
            assert remaining is not None
            assert remaining > 0
            assert token.refresh is None
            await clock.advance(life / 8)
    assert 5 <= len(api.tokens) <= 8  # in five lives
    assert {form["grant_type"] for form in api.tokens} == {"client_credentials"}


async def test_many_callers_share_one_exchange(api: Api) -> None:
    async with tradesession.SessionManager() as manager:
        keeper = manager.tokens(api.config())
        tokens = await asyncio.gather(*(keeper.get() for _ in range(50)))
    assert len({token.access for token in tokens}) == len(api.tokens) == api.discoveries == 1


async def test_a_discovery_is_believed_for_a_while_and_doubted_after_a_failure(api: Api) -> None:
    clock = AdjustableClock()
    async with tradesession.SessionManager(clock=clock) as manager:
        keeper = manager.tokens(api.config())
        await keeper.renew()
        await keeper.renew()
        assert api.discoveries == 1
        api.token_answers = [web.json_response({"error": "invalid_client"}, status=400)]
        with pytest.raises(TokenRefused):
            await keeper.renew()
        await keeper.renew()
        assert api.discoveries == 2
        await clock.advance(policy.CPLUGIN_DISCOVERY_LIFE)
        await keeper.renew()
        assert api.discoveries >= 3


async def test_nothing_is_stored(api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("TRADESESSION_STORE", f"sqlite://{tmp_path}/tokens.sqlite")
    await get(api.config())
    assert list(tmp_path.iterdir()) == []
