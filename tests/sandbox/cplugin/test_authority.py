"""Discovery, keys, tokens, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.interop.hubs.raw import RawHub
from tradesession.sandbox import Sandbox
from tradesession.sandbox.cplugin import CPluginSandbox

FORM = {"grant_type": "client_credentials"}


async def ask(server: CPluginSandbox, basic: str | None = None, **form: str) -> tuple[int, dict[str, Any]]:
    """A token request; by the form alone unless told otherwise."""
    headers = {"Authorization": f"Basic {base64.b64encode(basic.encode()).decode()}"} if basic else {}
    body = {**FORM, **({} if basic else {"client_id": server.client_id, "client_secret": server.client_secret}), **form}
    url = f"{server.plain_url}/connect/token"
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers, allow_redirects=False) as reply:
        return reply.status, await reply.json() if reply.content_type == "application/json" else {}


async def get(server: CPluginSandbox, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{server.plain_url}{path}") as reply:
        return reply.status, await reply.json() if reply.content_type == "application/json" else await reply.text()


async def test_discovery_leads_to_the_token_endpoint_and_the_keys(server: CPluginSandbox) -> None:
    status, document = await get(server, "/.well-known/openid-configuration")
    assert status == 200
    assert (document["issuer"], document["token_endpoint"]) == (server.plain_url, f"{server.plain_url}/connect/token")
    status, keys = await get(server, document["jwks_uri"].removeprefix(server.plain_url or ""))
    assert (status, [key["alg"] for key in keys["keys"]]) == (200, ["RS256"])


async def test_a_token_is_a_jwt_that_another_library_verifies(server: CPluginSandbox) -> None:
    status, answer = await ask(server, scope="webapi")
    assert (status, answer["token_type"], answer["expires_in"], answer["scope"]) == (200, "Bearer", 3600, "webapi")
    _, keys = await get(server, "/.well-known/openid-configuration/jwks")
    claims = jwt.decode(answer["access_token"], KeySet.import_key_set(keys), algorithms=["RS256"]).claims
    assert (claims["iss"], claims["client_id"], claims["aud"]) == (server.plain_url, server.client_id, "webapi")
    assert 3600 <= claims["exp"] - claims["iat"] <= 3601


async def test_a_client_may_prove_itself_by_basic(server: CPluginSandbox) -> None:
    assert (await ask(server, basic=f"{server.client_id}:{server.client_secret}"))[0] == 200
    assert await ask(server, basic=f"{server.client_id}:wrong") == (400, {"error": "invalid_client", "error_description": WRONG})


WRONG = "The client is unknown, or its secret is wrong"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"scope": "everything"}, "invalid_scope"),
    ],
)
async def test_a_request_that_gets_no_token(server: CPluginSandbox, form: dict[str, str], error: str) -> None:
    status, answer = await ask(server, **form)
    assert (status, answer["error"]) == (400, error)
    assert server.journal.counts[f"token.{error}"] == 1


async def test_a_body_that_is_no_form_is_an_invalid_request(server: CPluginSandbox) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{server.plain_url}/connect/token", json=FORM) as reply:
        assert (reply.status, (await reply.json())["error"]) == (400, "invalid_request")


async def test_a_token_ends(sandbox: Sandbox, server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.token_life = 60.0
    _, answer = await ask(server)
    raw.bearer = answer["access_token"]
    assert await raw.refusal() == (101, None)
    await sandbox.clock.advance(61)
    assert await raw.refusal() == (401, 'Bearer error="invalid_token"')
    assert server.journal.counts["refused.expired"] == 1


async def test_a_token_may_be_revoked_alone_or_with_all_others(server: CPluginSandbox, raw: RawHub) -> None:
    first, second = server.issue(), server.issue()
    server.revoke(first)
    assert [(await raw.refusal(bearer=bearer))[0] for bearer in (first, second)] == [401, 101]
    with pytest.raises(ValueError, match="revoked"):
        server.revoke(first)
    server.revoke()
    assert (await raw.refusal(bearer=second))[0] == 401
    assert (await raw.refusal(bearer=server.issue()))[0] == 101


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        (lambda token: "nothing", "not a JWT"),
        (lambda token: f"{token[:-8]}AAAAAAAA", "bad signature"),
        (lambda token: f"{token.partition('.')[0]}.e30.{token.rpartition('.')[2]}", "bad signature"),
        (lambda token: f"e30{token[token.index('.') :]}", "malformed"),
        (lambda token: f"eyJhbGciOiJub25lIiwia2lkIjoiIn0{token[token.index('.') :]}", "unknown key or algorithm"),
    ],
)
async def test_what_is_no_token_of_ours_is_refused(server: CPluginSandbox, raw: RawHub, spoilt: Any, why: str) -> None:
    assert (await raw.refusal(bearer=spoilt(server.issue())))[0] == 401
    assert server.journal.counts[f"refused.{why}"] == 1


async def test_the_token_of_another_sandbox_is_refused(server: CPluginSandbox, raw: RawHub) -> None:
    async with Sandbox(seed=1) as other:
        assert (await raw.refusal(bearer=other.cplugin.issue()))[0] == 401
    assert server.journal.counts["refused.another issuer"] == 1


# --- faults ---------------------------------------------------------------------------------------------------------------------------


async def test_the_next_requests_are_refused(server: CPluginSandbox) -> None:
    server.faults.refuse_tokens = 2
    assert [(await ask(server))[0] for _ in range(3)] == [400, 400, 200]


async def test_an_error_of_choice(server: CPluginSandbox) -> None:
    server.faults.token_error = "invalid_scope"
    assert (await ask(server))[1]["error"] == "invalid_scope"


async def test_a_status_and_a_redirect(server: CPluginSandbox) -> None:
    server.faults.token_redirect = "https://elsewhere.invalid/"
    assert await ask(server) == (307, {})
    server.faults.token_status = 503
    assert await ask(server) == (503, {})
    assert server.journal.counts["token.issued"] == 0


@pytest.mark.parametrize(("shape", "value"), [("missing", None), ("zero", 0), ("negative", -1), ("text", "soon")])
async def test_a_life_that_is_none(server: CPluginSandbox, shape: str, value: object) -> None:
    server.faults.set("expires-in", shape)
    _, answer = await ask(server)
    assert answer.get("expires_in") == value
    assert answer["access_token"]


async def test_an_answer_that_is_lost_or_late(sandbox: Sandbox, server: CPluginSandbox) -> None:
    server.faults.token_reply_lost = True
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await ask(server)
    assert server.journal.counts["token.issued"] == 1
    server.faults.clear()
    server.faults.token_delay = 3600.0
    late = asyncio.create_task(ask(server))
    while server.journal.counts["token.issued"] < 2:
        await asyncio.sleep(0)
    await sandbox.clock.advance(3500)
    assert not late.done()
    await sandbox.clock.advance(101)
    assert (await late)[0] == 200


async def test_a_discovery_document_that_is_wrong(server: CPluginSandbox) -> None:
    server.faults.discovery_endpoint = "https://elsewhere.invalid/token"
    assert (await get(server, "/.well-known/openid-configuration"))[1]["token_endpoint"] == "https://elsewhere.invalid/token"
    server.faults.discovery_garbage = True
    assert (await get(server, "/.well-known/openid-configuration"))[1] == "<html>no JSON</html>"
    server.faults.discovery_status = 404
    assert (await get(server, "/.well-known/openid-configuration"))[0] == 404
