"""An authority, an API and the hubs on one port, which do as the test says. Shares no code with the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

import tradesession
from tests.signalr.fake import Record, Served, Server
from tradesession import cplugin
from tradesession.hooks import Record as HookRecord

PLATFORM = "0c2d5a1b-0000-4000-8000-00000000000a"
CLIENT: dict[str, Any] = {"client_id": "planted-client", "client_secret": "planted-client-secret"}

Answer = web.StreamResponse | Callable[[web.Request], Awaitable[web.StreamResponse]]


def envelope(data: Any = None, error: Any = None, **meta: Any) -> web.Response:
    return web.json_response({"data": data, "error": error, "meta": {"activityId": "00-activity-01", **meta}})


async def lost(request: web.Request) -> web.StreamResponse:
    """The request is taken, and the connection breaks."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


class Seen:
    """A request as it came."""

    def __init__(self, request: web.Request, body: str) -> None:
        self.method = request.method
        self.path = request.path
        self.query = request.query
        self.headers = request.headers
        self.body = body

    @property
    def bearer(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")


class Api(Server):
    """`answers` are given to REST calls in order, the last one for ever; `life` is what a token promises, in seconds."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__()
        self.answers = list(answers)
        self.life = 3600
        self.discovery: Any = None
        """The discovery document, where it is to be another one."""
        self.discovery_answers: list[web.Response] = []
        self.token_answers: list[web.Response] = []
        self.seen: list[Seen] = []
        self.tokens: list[dict[str, str]] = []
        """The form of each token request."""
        self.discoveries = 0
        self.good: set[str] = set()
        """The tokens that a REST call or a hub takes."""
        self.checks_tokens = True

    def config(self, **options: Any) -> cplugin.Config:
        given = {"base_url": self.base_url, "authority": self.base_url, "trade_platform": PLATFORM, **CLIENT}
        return cplugin.Config(**({"skip_negotiation": True} | given | options))

    @asynccontextmanager
    async def rest(self, **options: Any) -> AsyncIterator[cplugin.Rest]:
        """The REST interface alone."""
        config = self.config(**options)
        async with tradesession.SessionManager() as manager, cplugin.open_rest(config, manager.tokens(config)) as rest:
            yield rest

    @asynccontextmanager
    async def session(
        self, *greeting: Record, records: list[HookRecord] | None = None, **options: Any
    ) -> AsyncIterator[tuple[cplugin.Session, Served]]:
        """A READY session, and the server's side of its hub."""
        opening = asyncio.create_task(self.shaken(*greeting))
        async with tradesession.connect(self.config(**options), hooks=[(records if records is not None else []).append]) as session:
            yield session, await opening

    def add_routes(self, app: web.Application) -> None:
        """See Server."""
        app.router.add_get("/.well-known/openid-configuration", self._discover)
        app.router.add_post("/connect/token", self._token)
        app.router.add_get("/hubs/{product}/{version}", self._open)
        app.router.add_route("*", "/{path:.*}", self._call)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _discover(self, request: web.Request) -> web.Response:
        self.discoveries += 1
        if self.discovery_answers:
            return self.discovery_answers.pop(0)
        if isinstance(self.discovery, web.Response):
            return self.discovery
        return web.json_response(self.discovery or {"issuer": self.base_url, "token_endpoint": f"{self.base_url}/connect/token"})

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.tokens.append(form | {"Authorization": request.headers.get("Authorization", "")})
        if self.token_answers:
            return self.token_answers.pop(0)
        token = f"planted-token-{len(self.tokens)}"
        self.good.add(token)
        return web.json_response({"access_token": token, "expires_in": self.life, "token_type": "Bearer", "scope": form.get("scope", "")})

    async def _call(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(Seen(request, await request.text()))
        if self.checks_tokens and self.seen[-1].bearer not in self.good:
            return web.Response(status=401)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request) if callable(answer) else _copy(answer)

    async def _open(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(Seen(request, ""))
        if self.checks_tokens and self.seen[-1].bearer not in self.good:
            return web.Response(status=401)
        return await self.upgrade(request)


def _copy(answer: web.StreamResponse) -> web.Response:
    """A response can be sent once."""
    assert isinstance(answer, web.Response)
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
