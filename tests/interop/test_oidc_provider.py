"""A certified OpenID provider (npm oidc-provider) as CPlugin's authority: discovery, client credentials, renewals, refusals."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import tradesession
from tests.cplugin.scripted import PLATFORM, Api, envelope
from tests.interop.certificates import Files
from tests.interop.environments import OIDC_PROVIDER
from tests.interop.programs import Program, running
from tradesession import cplugin
from tradesession.errors import TokenRefused
from tradesession.timing import AdjustableClock

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120, func_only=True)]

SECRET = "planted-secret-of-32-characters-!%+/"


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """Before a test's time begins."""
    OIDC_PROVIDER.ensure()


@asynccontextmanager
async def provider(certificate: Files, directory: Path, *, life: int = 3600) -> AsyncIterator[tuple[str, Program]]:
    """The provider at work: its issuer."""
    modules = OIDC_PROVIDER.ensure()
    async with running(modules, "oidc_provider.mjs", directory) as program:
        facts = {"modules": str(modules), "certificate": str(certificate.certificate), "key": str(certificate.key)}
        await program.tell(**facts, client_secret=SECRET, life=life)
        yield (await program.step("listening"))["issuer"], program
        await program.end()


def config(issuer: str, certificate: Files, *, base_url: str = "https://127.0.0.1:1", **options: Any) -> cplugin.Config:
    given: dict[str, Any] = {
        "client_id": "body",
        "client_secret": SECRET,
        "authority": issuer,
        "base_url": base_url,
        "ca_file": certificate.authority,
    }
    return cplugin.Config(**(given | {"trade_platform": PLATFORM} | options))


def claims(token: tradesession.Secret) -> dict[str, Any]:
    payload = token.reveal().split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


@pytest.mark.parametrize("client_auth", ["body", "basic"])
async def test_a_token_is_had_by_discovery_and_client_credentials(certificate: Files, tmp_path: Path, client_auth: Any) -> None:
    async with provider(certificate, tmp_path) as (issuer, program), tradesession.SessionManager() as manager:
        keeper = manager.tokens(config(issuer, certificate, client_id=client_auth, client_auth=client_auth))
        token = await keeper.get(min_ttl=60)
        assert await program.step("granted") == {"step": "granted", "kind": "client_credentials", "client": client_auth}
        assert (claims(token.access)["iss"], claims(token.access)["scope"]) == (issuer, "webapi")
        assert (token.lifetime, token.scope, token.refresh) == (3600, "webapi", None)


async def test_tokens_of_a_minute_are_renewed_in_time(certificate: Files, tmp_path: Path) -> None:
    clock = AdjustableClock()
    async with provider(certificate, tmp_path, life=60) as (issuer, program), tradesession.SessionManager(clock=clock) as manager:
        keeper = manager.tokens(config(issuer, certificate))
        seen = set()
        for _ in range(20):
            token = await keeper.get()
            remaining = token.remaining(clock.wall())
            assert remaining is not None
            assert remaining > 0
            seen.add(token.access)
            await clock.advance(15)
    assert 5 <= len(seen) <= 8
    assert [step["step"] for step in program.steps[1:]] == ["granted"] * len(program.steps[1:])


@pytest.mark.parametrize(
    ("options", "code"),
    [({"client_secret": "wrong"}, "invalid_client"), ({"client_id": "nobody"}, "invalid_client"), ({"scope": "other"}, "invalid_scope")],
)
async def test_a_refusal_says_what_is_wrong(certificate: Files, tmp_path: Path, options: dict[str, str], code: str) -> None:
    async with provider(certificate, tmp_path) as (issuer, program), tradesession.SessionManager() as manager:
        with pytest.raises(TokenRefused) as caught:
            await manager.tokens(config(issuer, certificate, **options)).get()
        assert caught.value.code == code
        assert "planted" not in str(caught.value)
        assert (await program.step("refused"))["error"] == code


async def test_a_whole_session_stands_on_its_tokens(certificate: Files, tmp_path: Path) -> None:
    async with provider(certificate, tmp_path) as (issuer, _), Api(envelope("now")) as api:
        api.checks_tokens = False
        opening = asyncio.create_task(api.shaken())
        given = config(issuer, certificate, base_url=api.base_url, skip_negotiation=True)
        async with tradesession.connect(given) as session:
            await opening
            assert (await session.rest.call("GET", "/api/v2/MT4/{tradePlatform}/ServerTime")).data == "now"
        bearers = {seen.bearer for seen in api.seen}
    assert len(bearers) == 1
    assert claims(tradesession.Secret(bearers.pop()))["client_id"] == "body"
