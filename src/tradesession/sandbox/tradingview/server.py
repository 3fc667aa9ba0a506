"""The sandboxed broker as a whole: its web server, its four credential sets, its market, and its knobs.

Owns everything that runs; `aclose` ends it. Always holds: nothing of it is reachable from another machine, nothing is logged, and every
endpoint but the two that give tokens refuses a missing, unknown or expired token with HTTP 401.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from aiohttp import web
from cryptography.hazmat.primitives import serialization

from tradesession.sandbox.authority import Authority
from tradesession.sandbox.tradingview.assertion import make_key
from tradesession.sandbox.tradingview.data import Data, Reply, error
from tradesession.sandbox.tradingview.faults import Faults
from tradesession.sandbox.tradingview.market import Market
from tradesession.sandbox.tradingview.settings import Settings
from tradesession.sandbox.tradingview.state import Credential, Session, State
from tradesession.sandbox.tradingview.stream import END, Stream, Streams
from tradesession.sandbox.tradingview.tokens import Answer, TokenDesk
from tradesession.timing import AdjustableClock, sleep

if TYPE_CHECKING:
    from tradesession.tradingview import Config

BASE_PATH: Final = "/api"
_SHUTDOWN_TIMEOUT: Final = 1.0
_LONG: Final = 86_400.0
_HUGE: Final = (1 << 20) + (1 << 16)
_HTML: Final = "<!DOCTYPE html><title>Bad Gateway</title><h1>Something is wrong</h1>"

Handler = Callable[[web.Request, Session, float], Awaitable[web.StreamResponse]]


class TradingViewSandbox:
    """A broker's server on loopback, as TradingView's data integration wants it. Made and started by `Sandbox`.

    With `plain` it listens on a port without TLS too.
    """

    def __init__(self, seed: int, clock: AdjustableClock, authority: Authority, host: str, *, plain: bool) -> None:
        self._clock = clock
        self._host = host
        self._plain = plain
        self._authority = authority
        self._runner: web.AppRunner | None = None
        self._keys: dict[int, tuple[Path, Path]] = {}
        self.settings = Settings(clock)
        """What can be done in more than one way; may be changed at any time."""
        self.faults = Faults(clock)
        """What goes wrong on purpose."""
        self.state = State(seed, clock, self.settings, self.faults)
        """Credential sets, tokens, and counters for assertions."""
        self.market = Market(seed)
        """The prices, as a function of time."""
        self.streams = Streams(clock, self.market, self.settings, self.faults, self.state)
        """The open streams; `end`, `cut`."""
        self._data = Data(self.market, self.settings, self.faults)
        self._desk = TokenDesk(self.state, self.settings, self.faults)
        self.ca_file = authority.ca_file
        """What a client has to trust."""
        self.base_url = ""
        """Where the endpoints begin, once it has started."""
        self.plain_base_url = ""
        """The same without TLS, where there is one."""

    # --- life ---

    async def start(self) -> None:
        """Listen on a free port, and with `plain` on another one without TLS."""
        app = web.Application()
        app.router.add_post(f"{BASE_PATH}/authorize", self._authorize)
        app.router.add_post(f"{BASE_PATH}/authorize/token", self._token)
        app.router.add_post(f"{BASE_PATH}/logout", self._guarded(self._logout))
        for path, handler in self._handlers().items():
            app.router.add_get(f"{BASE_PATH}/{path}", self._guarded(handler))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, 0, ssl_context=self._authority.server_context()).start()
        if self._plain:
            await web.TCPSite(self._runner, self._host, 0).start()
        host = f"[{self._host}]" if ":" in self._host else self._host
        ports = [address[1] for address in self._runner.addresses]
        self.base_url = f"https://{host}:{ports[0]}{BASE_PATH}"
        self.plain_base_url = f"http://{host}:{ports[1]}{BASE_PATH}" if self._plain else ""
        self._desk.token_url = self.token_url

    async def aclose(self) -> None:
        """Close every connection and the ports."""
        self.streams.end()
        self.streams.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- where and who ---

    @property
    def token_url(self) -> str:
        """The token endpoint, and the audience of every assertion."""
        return f"{self.base_url}/authorize/token"

    @property
    def credentials(self) -> list[Credential]:
        """The four sets, by slot from 1 on."""
        return self.state.credentials

    def key_files(self, slot: int = 1) -> tuple[Path, Path]:
        """Where the private key and the certificate of a set lie, both in PEM; they are made when first asked for."""
        if slot not in self._keys:
            credential = self.credentials[slot - 1]
            key, certificate = make_key(credential.client_id)
            directory = self.ca_file.parent / "tradingview"  # apart from the authority: some clients trust whole directories
            directory.mkdir(exist_ok=True)
            paths = directory / f"{slot}-key.pem", directory / f"{slot}-certificate.pem"
            with os.fdopen(os.open(paths[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(key)
            paths[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
            credential.certificate = certificate.public_bytes(serialization.Encoding.DER)
            self._keys[slot] = paths
        return self._keys[slot]

    def config(self, slot: int = 1, *, by: Literal["certificate", "password"] = "certificate", **overrides: Any) -> Config:
        """A client configuration that leads here, with the credential set of a slot; `overrides` are options of `tradingview.Config`."""
        from tradesession import tradingview

        credential = self.credentials[slot - 1]
        options: dict[str, Any] = {"slot_name": str(slot), "ca_file": self.ca_file, "store": "memory:", "clock": self._clock}
        if by == "password":
            options["auth"] = tradingview.PasswordBearer(login=credential.login, password=credential.password)
        else:
            key_file, certificate_file = self.key_files(slot)
            options["auth"] = tradingview.ServerOAuth2Bearer.from_files(
                token_url=self.token_url,
                client_id=credential.client_id,
                client_secret=credential.client_secret,
                user_id=credential.user_id,
                app_url=credential.app_url,
                key_file=key_file,
                certificate_file=certificate_file,
                variant=tradingview.Variant(grant_type=credential.grant_type),
            )
        return tradingview.Config(**{"base_url": self.base_url} | options | overrides)

    def describe(self, slot: int = 1) -> dict[str, Any]:
        """Everything a program in another process needs: the value of `tradingview` in what `tradesession sandbox --json` prints."""
        credential, (key_file, certificate_file) = self.credentials[slot - 1], self.key_files(slot)
        described = {
            "base_url": self.base_url,
            "token_url": self.token_url,
            "app_url": credential.app_url,
            "user_id": credential.user_id,
            "client_id": credential.client_id,
            "client_secret": credential.client_secret,
            "login": credential.login,
            "password": credential.password,
            "key_file": str(key_file),
            "certificate_file": str(certificate_file),
            "ca_file": str(self.ca_file),
        }
        return described | ({"plain": {"base_url": self.plain_base_url}} if self.plain_base_url else {})

    # --- tokens ---

    async def _authorize(self, request: web.Request) -> web.StreamResponse:
        return await self._give(request, self._desk.authorize)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        return await self._give(request, lambda form: self._desk.token(form, request.headers.get("Authorization", "")))

    async def _give(self, request: web.Request, give: Callable[[dict[str, str]], Answer]) -> web.StreamResponse:
        self._count(request)
        if self.faults.token_status:
            return self._failure(self.faults.token_status)
        if self.faults.redirect:
            return self._redirected(request)
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        status, body = give(form)
        if self.faults.token_delay:
            await sleep(self._clock, self.faults.token_delay)
        if self.faults.token_reply_lost and request.transport is not None:
            request.transport.abort()
        return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})

    # --- data ---

    def _handlers(self) -> dict[str, Handler]:
        def now() -> int:
            return math.floor(self._clock.wall())

        def of(reply: Callable[[web.Request], Reply]) -> Handler:
            async def answer(request: web.Request, session: Session, expires_at: float) -> web.StreamResponse:
                return self._reply(reply(request))

            return answer

        return {
            "groups": of(lambda _: self._data.groups() if self.settings.groups else error("There are no groups here")),
            "permissions": of(lambda _: self._data.permissions()),
            "symbol_info": of(lambda request: self._data.symbol_info(request.query.get("group"))),
            "history": of(lambda request: self._data.history(request.query, now())),
            "quotes": of(lambda request: self._data.quotes(request.query.get("symbols"), now())),
            "streaming": self._stream,
        }

    def _guarded(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            self._count(request)
            if self.faults.hang:
                await sleep(self._clock, _LONG)
            if self.faults.redirect:
                return self._redirected(request)
            if self.faults.status:
                return self._failure(self.faults.status)
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            found = self.state.session_of(token) if scheme.lower() == "bearer" else None
            if found is None:
                if self.faults.bad_token == "envelope":  # noqa: S105 - the name of a fault
                    return self._reply(error("The token is missing or no longer good"))
                if self.faults.bad_token == "accepted":  # noqa: S105
                    return await handler(request, Session(self.credentials[0], by_assertion=False), math.inf)
                self.state.unauthorized += 1
                return web.json_response(
                    error("The token is missing or no longer good"), status=401, headers={"WWW-Authenticate": "Bearer"}
                )
            return await handler(request, *found)

        return guarded

    async def _logout(self, request: web.Request, session: Session, expires_at: float) -> web.StreamResponse:
        self.state.end(session)
        return self._reply({"s": "ok"})

    def _reply(self, body: Reply) -> web.StreamResponse:
        text = json.dumps(body)
        if self.faults.html:
            return web.Response(text=_HTML, content_type="text/html")
        if self.faults.garbage:
            return web.Response(body=b'{"s": "ok", \xff\x00', content_type="application/json")
        if self.faults.huge:
            text = json.dumps(body | {"padding": "x" * _HUGE})
        return web.Response(text=text, content_type="text/plain" if self.faults.text_type else "application/json")

    # --- the stream ---

    async def _stream(self, request: web.Request, session: Session, expires_at: float) -> web.StreamResponse:
        if self.faults.stream_refused and len(self.streams.open) >= self.faults.stream_refused:
            return self._failure(429)
        if self.faults.html or self.faults.garbage:
            return self._reply({"s": "ok"})
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-store"})
        encode: Callable[[bytes], bytes] = bytes
        if self.settings.gzip and "gzip" in request.headers.get("Accept-Encoding", ""):
            response.headers["Content-Encoding"] = "gzip"
            encode = _gzip()
        if self.faults.stream_not_chunked:
            response.content_length = 1 << 40
        stream = self.streams.add(session, expires_at)
        try:
            await response.prepare(request)
            await self._write(stream, response, encode)
            if stream.ended == "cut":
                await response.write(encode(b'{"f":"q","id":"EUR'))
            if (stream.ended == "cut" or self.faults.stream_not_chunked) and request.transport is not None:
                request.transport.abort()
        except ConnectionError:  # the client has gone: its own affair
            pass
        finally:
            self.streams.remove(stream)
        return response

    async def _write(self, stream: Stream, response: web.StreamResponse, encode: Callable[[bytes], bytes]) -> None:
        while True:
            pieces = [await stream.lines.get()]
            while not stream.lines.empty():
                pieces.append(stream.lines.get_nowait())
            data = b"".join(pieces)
            if data:
                await response.write(encode(data))
            if END in pieces:
                return

    # --- what goes wrong ---

    def _count(self, request: web.Request) -> None:
        self.state.requests[f"{request.method} {request.path.removeprefix(BASE_PATH)}"] += 1

    def _failure(self, status: int) -> web.StreamResponse:
        headers = {"Retry-After": str(self.faults.retry_after)} if self.faults.retry_after else {}
        return web.Response(status=status, text=_HTML, content_type="text/html", headers=headers)

    def _redirected(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": self.faults.redirect + request.path_qs})


def _gzip() -> Callable[[bytes], bytes]:
    """A compressor that keeps nothing back."""
    compressor = zlib.compressobj(wbits=31)
    return lambda data: compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
