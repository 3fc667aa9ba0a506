"""The authority over HTTP: discovery, keys, tokens. Facts: section 1.

Runs in the web server. Nothing is logged, for forms carry secrets here.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from tradesession.sandbox.cplugin.core import Core
from tradesession.sandbox.cplugin.identity import SCOPE, Refused
from tradesession.timing import sleep

DISCOVERY_PATH = "/.well-known/openid-configuration"
JWKS_PATH = "/.well-known/openid-configuration/jwks"
TOKEN_PATH = "/connect/token"  # noqa: S105 - a path


class AuthorityPages:
    """The pages of one sandbox's authority."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        router.add_get(DISCOVERY_PATH, self._discovery)
        router.add_get(JWKS_PATH, self._jwks)
        router.add_post(TOKEN_PATH, self._token)

    async def _discovery(self, request: web.Request) -> web.Response:
        faults, origin = self._core.faults, origin_of(request)
        if faults.discovery_status:
            return web.Response(status=faults.discovery_status)
        if faults.discovery_garbage:
            return web.Response(text="<html>no JSON</html>", content_type="text/html")
        return web.json_response(
            {
                "issuer": origin,
                "jwks_uri": origin + JWKS_PATH,
                "token_endpoint": faults.discovery_endpoint or origin + TOKEN_PATH,
                "grant_types_supported": ["client_credentials"],
                "response_types_supported": ["token"],
                "scopes_supported": [SCOPE],
                "subject_types_supported": ["public"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def _jwks(self, request: web.Request) -> web.Response:
        return web.json_response(self._core.identity.jwks())

    async def _token(self, request: web.Request) -> web.StreamResponse:
        faults, journal = self._core.faults, self._core.journal
        journal.count("token.requests")
        if faults.token_status:
            return web.Response(status=faults.token_status, text="fault: token status")
        if faults.token_redirect:
            return web.Response(status=307, headers={"Location": faults.token_redirect})
        try:
            body, status = await self._grant(request), 200
            journal.count("token.issued")
        except Refused as refused:
            journal.count(f"token.{refused.error}")
            body = {"error": refused.error, "error_description": refused.description}
            status = self._core.settings.token_error_status if refused.error == "invalid_client" else 400
        if faults.token_delay:
            await sleep(self._core.clock, faults.token_delay)
        if faults.token_reply_lost and request.transport is not None:
            request.transport.abort()
        return web.json_response(body, status=status, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})

    async def _grant(self, request: web.Request) -> dict[str, Any]:
        faults, identity = self._core.faults, self._core.identity
        if request.content_type != "application/x-www-form-urlencoded":
            raise Refused("invalid_request", "The body is a form")
        form = {name: str(value) for name, value in (await request.post()).items()}
        if faults.refuse_tokens:
            faults.refuse_tokens -= 1
            raise Refused("invalid_client", "fault: refuse tokens")
        if faults.token_error:
            raise Refused(faults.token_error, "fault: token error")
        client = identity.authenticate(*_credentials(request, form))
        if form.get("grant_type") != "client_credentials":
            raise Refused("unsupported_grant_type", "grant_type is client_credentials")
        if set(form.get("scope", "").split()) - {SCOPE}:
            raise Refused("invalid_scope", f"scope is {SCOPE}, or left out")
        token = identity.issue(client.id, faults.token_life, origin_of(request))
        body = {"access_token": token, "expires_in": math.ceil(faults.token_life), "token_type": "Bearer", "scope": SCOPE}
        match faults.expires_in:
            case "missing":
                del body["expires_in"]
            case "zero":
                body["expires_in"] = 0
            case "negative":
                body["expires_in"] = -1
            case "text":
                body["expires_in"] = "soon"
        return body


def origin_of(request: web.Request) -> str:
    """The address by which the sandbox was reached."""
    return f"{request.scheme}://{request.host}"


def _credentials(request: web.Request, form: dict[str, str]) -> tuple[str, str]:
    """Id and secret, by HTTP Basic or in the form."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused("invalid_request", "The Authorization header is no Basic one") from error
    return unquote_plus(name), unquote_plus(secret)
