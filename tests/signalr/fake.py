"""A hub that does as the test says, record by record, over real sockets; and a token source that remembers. Shares no code with ours."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from tradesession import signalr
from tradesession.clock import Clock
from tradesession.hooks import Record as HookRecord
from tradesession.secrets import Secret
from tradesession.tokens.changes import TokenChanges
from tradesession.tokens.token import Token

Record = dict[str, Any]

PATIENCE = 60.0
"""Seconds for anything that a client is to do, on the loop's own clock."""


def wire(*records: Record | str) -> str:
    return "".join((record if isinstance(record, str) else json.dumps(record)) + "\x1e" for record in records)


class Served:
    """One socket, seen from the server."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.query = dict(request.query)
        self.headers = dict(request.headers)
        self.socket = socket
        self.received: list[Record] = []
        """Every record that the client sent, its handshake first."""
        self.is_over = False
        self._request = request
        self._news = asyncio.Event()
        self._looked_at = 0

    async def send(self, *records: Record | str) -> None:
        """In one message."""
        await self.socket.send_str(wire(*records))

    async def next(self, kind: int | None = None) -> Record:
        """The next record of this type, or of any; those before it are passed by."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while self._looked_at < len(self.received):
                    record = self.received[self._looked_at]
                    self._looked_at += 1
                    if kind is None or record.get("type") == kind:
                        return record
                assert not self.is_over, f"the client has gone, and sent no record of type {kind}"
                self._news.clear()
                await self._news.wait()

    async def shake(self, *more: Record) -> None:
        """Accept the handshake, with these records glued to the answer."""
        assert (await self.next())["protocol"] == "json"
        await self.send({}, *more)

    async def gone(self) -> None:
        """Wait until the client has closed, or the socket broke."""
        async with asyncio.timeout(PATIENCE):
            while not self.is_over:
                self._news.clear()
                await self._news.wait()

    def cut(self) -> None:
        """Reset the socket."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    async def close(self) -> None:
        """Close the WebSocket in order."""
        await self.socket.close()

    async def records(self) -> AsyncIterator[Record]:
        """Every record that the client sends, until it closes or the socket breaks."""
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                records = [json.loads(record) for record in message.data.split("\x1e")[:-1]]
                self.received += records
                self._news.set()
                for record in records:
                    yield record
        self.is_over = True
        self._news.set()

    async def read(self) -> None:
        """Take what comes, for the test to look at."""
        async for _ in self.records():
            pass


class Server:
    """Listens on loopback, and hands the sockets that clients open to the test. Those derived from it say where sockets are opened."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.sockets: list[Served] = []
        self._tls = tls
        self._accepted: asyncio.Queue[Served] = asyncio.Queue()

    def add_routes(self, app: web.Application) -> None:
        """What it serves."""

    async def accept(self) -> Served:
        """The next socket that a client opens."""
        async with asyncio.timeout(PATIENCE):
            return await self._accepted.get()

    async def shaken(self, *more: Record) -> Served:
        """The next socket, with its handshake done."""
        served = await self.accept()
        await served.shake(*more)
        return served

    async def __aenter__(self) -> Self:
        app = web.Application()
        self.add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        for served in self.sockets:
            served.cut()
        await self._runner.cleanup()

    async def upgrade(self, request: web.Request) -> web.StreamResponse:
        """Open a socket and serve it."""
        socket = web.WebSocketResponse(timeout=0.1)
        await socket.prepare(request)
        served = Served(request, socket)
        self.sockets.append(served)
        await self.serve(served)
        return socket

    async def serve(self, served: Served) -> None:
        """Hand it to the test."""
        self._accepted.put_nowait(served)
        await served.read()


class FakeHub(Server):
    """A server with one hub. `answers` are given to the next requests in place of what it would do: an HTTP status, or a whole response."""

    def __init__(self, *, stateful: bool = False, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.stateful = stateful
        self.held: set[str] = set()
        """What takes for ever while it is named here: `negotiation`, `opening`, `handshake`."""
        self.answers: list[int | web.Response] = []
        self.redirect: Record | None = None
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        """Path, query and headers of every request, refused ones included."""
        self._count = 0

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """Its address behind this port."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{port}/hub"

    def bearers(self) -> list[str | None]:
        """What stood in the Authorization header of each request."""
        return [headers.get("Authorization") for _, _, headers in self.requests]

    def add_routes(self, app: web.Application) -> None:
        """See Server."""
        app.router.add_post("/hub/negotiate", self._negotiate)
        app.router.add_get("/hub", self._open)

    def _refusal(self, request: web.Request) -> web.Response | None:
        self.requests.append((request.path, dict(request.query), dict(request.headers)))
        answer = self.answers.pop(0) if self.answers else 0
        if isinstance(answer, web.Response):
            return answer
        return web.Response(status=answer) if answer else None

    async def hold(self, what: str) -> None:
        """Wait while it is to take for ever."""
        while what in self.held:
            await asyncio.sleep(0.1)

    async def _negotiate(self, request: web.Request) -> web.Response:
        await self.hold("negotiation")
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if self.redirect is not None:
            return web.json_response(self.redirect)
        self._count += 1
        answer: Record = {
            "negotiateVersion": 1,
            "connectionId": f"public-{self._count}",
            "connectionToken": f"token-of-connection-{self._count}",
            "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}],
        }
        if self.stateful:
            answer["useStatefulReconnect"] = True
        return web.json_response(answer)

    async def _open(self, request: web.Request) -> web.StreamResponse:
        await self.hold("opening")
        refusal = self._refusal(request)
        return await self.upgrade(request) if refusal is None else refusal


class Source:
    """A token source whose tokens are numbered, and live for `life` seconds of the clock."""

    def __init__(self, clock: Clock | None = None, life: float | None = None) -> None:
        self.gets = 0
        self.rejected: list[str] = []
        self.fail: Exception | None = None
        self.may_renew = True
        self._clock = clock
        self._life = life
        self._token: Token | None = None
        self._count = 0

    async def get(self, min_ttl: float | None = None) -> Token:
        self.gets += 1
        if self.fail is not None:
            raise self.fail
        remaining = self._token.remaining(self._clock.wall()) if self._token is not None and self._clock is not None else None
        is_short = remaining is not None and remaining <= (min_ttl or 0.0) and self.may_renew
        if self._token is None or is_short:
            self._count += 1
            now = self._clock.wall() if self._clock is not None and self._life is not None else None
            self._token = Token(
                access=Secret(f"bearer-number-{self._count}"),
                issued_at=now,
                expires_at=now + self._life if now is not None and self._life is not None else None,
            )
        return self._token

    async def reject(self, token: Token) -> None:
        self.rejected.append(token.access.reveal())
        self._token = None

    def changes(self) -> AsyncIterator[Token]:
        return TokenChanges()


@asynccontextmanager
async def connected(
    hub: FakeHub,
    *,
    token: Any = None,
    clock: Clock | None = None,
    records: list[HookRecord] | None = None,
    then: Callable[[Served], Any] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[signalr.Hub, Served]]:
    """A READY session with the hub, and the server's side of it."""
    config = signalr.Config(hub.url, clock=clock, **options)
    hooks = [(records if records is not None else []).append]
    opening = asyncio.create_task(hub.shaken())
    async with signalr.connect(config, token=token if token is not None else Source(), hooks=hooks) as session:
        yield session, await opening
