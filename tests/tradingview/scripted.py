"""A broker's server that answers as a test says, request by request, and remembers what it was asked; and sessions with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

import tradesession
from tradesession.hooks import Record
from tradesession.sandbox.authority import Authority
from tradesession.tradingview import Config, PasswordBearer, Session

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SYMBOLS = {"s": "ok", "symbol": ["EURUSD", "AAPL"], "ticker": ["fx:1", "AAPL"], "session-regular": "24x7", "timezone": "Etc/UTC"}
OK = {"s": "ok"}
GROUPS = {"s": "ok", "d": {"groups": []}}
LOGIN = PasswordBearer(login="me", password="secret")
PATIENCE = 60.0


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    authorization: str


@dataclass
class Broker:
    """`answers` by "METHOD /path"; a dict is JSON, an int a status, a callable a handler, a list is used up one by one (the last stays)."""

    base_url: str = ""
    answers: dict[str, Any] = field(default_factory=dict, repr=False)
    asked: list[Asked] = field(default_factory=list, repr=False)
    streams: list[asyncio.Queue[bytes | None]] = field(default_factory=list)
    """Of the open streams: what is put is written, None ends it."""
    logins: int = 0

    def count(self, what: str) -> int:
        return sum(f"{one.method} {one.path}" == what for one in self.asked)

    def write(self, data: bytes | None, stream: int = -1) -> None:
        self.streams[stream].put_nowait(data)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        what = f"{request.method} {request.path}"
        self.asked.append(Asked(request.method, request.path, dict(request.query), form, request.headers.get("Authorization", "")))
        answer = self.answers.get(what, self.default(what))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            response: web.StreamResponse = await answer(request)
            return response
        if isinstance(answer, int):
            return web.Response(status=answer, text="<html>", content_type="text/html")
        if isinstance(answer, dict):
            return web.json_response(answer)
        return web.Response(body=answer)

    def default(self, what: str) -> Any:
        if what == "POST /authorize":
            self.logins += 1
            return {"s": "ok", "d": {"access_token": f"token-{self.logins}"}}
        return {"GET /symbol_info": SYMBOLS, "GET /streaming": self.stream}.get(what, 404)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.streams.append(queue)
        try:
            while (data := await queue.get()) is not None:
                await response.write(data)
        except ConnectionError:
            pass
        return response


@asynccontextmanager
async def broker(answers: dict[str, Any] | None = None, *, authority: Authority | None = None) -> AsyncIterator[Broker]:
    """On a free port of loopback, without TLS unless there is an authority."""
    server = Broker(answers=answers or {})
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server_context() if authority else None).start()
    server.base_url = f"http{'s' if authority else ''}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        for queue in server.streams:
            queue.put_nowait(None)
        await runner.cleanup()


@asynccontextmanager
async def opened(server: Broker, *, seen: list[Record] | None = None, **options: Any) -> AsyncIterator[Session]:
    given: dict[str, Any] = {"auth": LOGIN, "store": "memory:", "streams": 0}
    hooks = [seen.append] if seen is not None else []
    async with tradesession.connect(Config(server.base_url, **given | options), hooks=hooks) as session:
        yield session


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


def quote(bid: str, symbol: str = "EURUSD", ask: str = "2") -> bytes:
    return f'{{"f":"q","id":"{symbol}","bp":{bid},"ap":{ask},"t":1700000000}}\n'.encode()


async def take(stream: Any, count: int) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(stream) for _ in range(count)]
