"""HTTP for calls that must not be repeated, redirected or written down: one request, one reply, over aiohttp.

Sends each request at most once: aiohttp's own repetition of a GET whose connection broke is prevented, since such a GET may carry a
refresh token that works once. Follows no redirect. Speaks https, or http to loopback, and only to the origins it was made for. Knows
of every failure whether the request can have left. Lets no exception of aiohttp out: their texts hold URLs, and URLs hold secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import weakref
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace, TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from yarl import URL

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import ConfigurationError, Error, LinkLost, NotSent, OutcomeUnknown, Unreachable
from tradesession.protocol.http import HttpReply, HttpRequest, Pairs, origin
from tradesession.secrets import Secret
from tradesession.timing import SYSTEM_CLOCK, deadline
from tradesession.transports.tls import certificate_refused, is_loopback, tls_context

T = TypeVar("T")


_TURNS: Final = 20
"""Turns of the event loop that a socket which was shut down may take to be closed: through the selector, TLS and their callbacks."""


class HttpDriver:
    """Runs HttpRequests against the origins it was made for. Owns one aiohttp session, opened with the first request.

    `origins` are URLs, of which scheme, host and port count; a request to any other place is refused before anything is sent. Each
    request has a connection of its own: token calls are rare, and a connection that the server closed meanwhile would leave the
    outcome in doubt. With `keep_alive` connections are used again, for reads, which may be repeated. Proxies from the environment are
    not used.
    """

    def __init__(
        self,
        origins: Iterable[str],
        *,
        ca_file: str | os.PathLike[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock = SYSTEM_CLOCK,
        timeout: float = policy.TOKEN_REQUEST_TIMEOUT,
        reply_limit: int = policy.TOKEN_REPLY_LIMIT,
        keep_alive: bool = False,
    ) -> None:
        self._origins = frozenset(safe_origin(url) for url in origins)
        if not self._origins:
            raise ConfigurationError("an HTTP driver needs at least one origin that it may talk to; give the URLs as origins=")
        custom = ca_file is not None or ssl_context is not None
        self._tls = tls_context(host="", ca_file=ca_file, ssl_context=ssl_context) if custom else None
        self._clock = clock
        self._timeout = timeout
        self._reply_limit = reply_limit
        self._keep_alive = keep_alive
        self._session: aiohttp.ClientSession | None = None
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._closed = False

    async def send(self, request: HttpRequest, *, timeout: float | None = None) -> HttpReply:
        """Send the request once, and read the answer, whatever its status; `timeout` in seconds, the driver's by default.

        Raises ConfigurationError for a place or a content that is not allowed, Unreachable (CertificateRefused among them) or NotSent
        when the request surely never left, OutcomeUnknown when it may have left and no answer came within the time limit.
        """
        return await self._attempt(request, self._once, self._timeout if timeout is None else timeout)

    async def open(self, request: HttpRequest) -> HttpStream:
        """Send the request once; the beginning of the answer, whose body is read piece by piece and may have no end.

        Raises as `send` does. The time limit is for the beginning.
        """
        return await self._attempt(request, self._begun, self._timeout)

    async def _attempt(self, request: HttpRequest, way: Callable[[_Call], Awaitable[T]], seconds: float) -> T:
        if self._closed:
            raise NotSent(f"{request} was not sent: the HTTP driver is closed")
        call = _Call(request, self._origins, self._clock)
        outcome: T | Error
        try:
            async with deadline(self._clock, seconds):
                outcome = await way(call)
        except TimeoutError:
            outcome = call.failed(f"no answer within {seconds:.3g} s")
        except _Broken as broken:
            outcome = call.failure(broken.error)
        if isinstance(outcome, Error):  # raised out here, with no exception of aiohttp as its context and none of its objects in the frame
            raise outcome
        return outcome

    async def _once(self, call: _Call) -> HttpReply:
        response = await self._asked(call)
        try:
            return await HttpStream(response, call.sent_at).whole(self._reply_limit)
        finally:
            response.close()  # not `async with`: what goes wrong at its end must not cost an answer that was read

    async def _begun(self, call: _Call) -> HttpStream:
        return HttpStream(await self._asked(call), call.sent_at)

    async def _asked(self, call: _Call) -> aiohttp.ClientResponse:
        return await self._opened().request(
            call.request.method, call.url, headers=call.headers, data=call.body, allow_redirects=False, trace_request_ctx=call
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            traces = aiohttp.TraceConfig()
            traces.on_request_headers_sent.append(_note_departure)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls or True, force_close=not self._keep_alive, socket_factory=self._new_socket),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                max_line_size=policy.HTTP_HEADER_LIMIT,
                max_field_size=policy.HTTP_HEADER_LIMIT,
                trace_configs=[traces],
                middlewares=(_never_twice,),
            )
        return self._session

    async def aclose(self) -> None:
        """Close every connection; requests under way end with an error of `send`."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await self._end_goodbyes()

    def _new_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        new = socket.socket(family, kind, protocol)
        new.setblocking(False)
        self._sockets.add(new)
        return new

    async def _end_goodbyes(self) -> None:
        """aiohttp waits for no goodbye of TLS, and an event loop may be closed next: end those that are still under way."""
        for left in tuple(self._sockets):
            with contextlib.suppress(OSError):  # it is closed already, or was never connected
                left.shutdown(socket.SHUT_RDWR)
        for _ in range(_TURNS):
            if all(left.fileno() < 0 for left in tuple(self._sockets)):
                break
            await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()


class HttpStream:
    """An answer whose body is still coming. Read it in one task; `close` ends it at any time."""

    def __init__(self, response: aiohttp.ClientResponse, sent_at: float) -> None:
        self._response = response
        self._sent_at = sent_at
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    async def read(self) -> bytes:
        """What has come by now, at least one byte; nothing at the end. Raises LinkLost when the connection breaks before it."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            lost = LinkLost(f"the connection broke ({_reason(error)})")
        raise lost

    async def whole(self, limit: int) -> HttpReply:
        """The reply. Of a body that breaks off the part that came is kept: it may hold all that matters. One that is too long is not."""
        body, damage = bytearray(), ""
        try:
            async for chunk in self._response.content.iter_any():
                body += chunk
                if len(body) > limit:
                    damage = f"more than {limit} bytes"
                    body.clear()
                    break
        except (aiohttp.ClientError, OSError) as error:
            damage = f"cut off after {len(body)} bytes ({_reason(error)})"
        return HttpReply(status=self.status, headers=self.headers, body=bytes(body), sent_at=self._sent_at, damage=damage)

    def close(self) -> None:
        """End it at once, and its connection unless the body was read to its end: a TLS goodbye would wait behind what still comes."""
        connection = self._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        self._response.close()


def safe_origin(url: str) -> str:
    """The origin of a URL that secrets may be sent to. Raises ConfigurationError for http to anywhere but loopback."""
    place = origin(url)
    parts = urlsplit(place)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(f"{place} is refused: secrets would travel in the clear; use https (http is for loopback only)")
    return place


class _Broken(Exception):
    """Carries an error past aiohttp's own repetition, which looks for aiohttp's classes."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


async def _never_twice(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a GET again by itself when the connection breaks after it was sent.

    Takes every exception, not only aiohttp's: a host name that is none fails as a UnicodeError deep in the name lookup, and whatever
    else comes from below may quote the URL as well.
    """
    try:
        return await handler(request)
    except Exception as error:
        broken = _Broken(error)
    raise broken


async def _note_departure(session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams) -> None:
    """Called with the connection open and not a byte written: what fails before this has surely not left."""
    call: _Call = context.trace_request_ctx
    call.depart()


class _Call:
    """One request on its way: what goes out, and whether it has."""

    def __init__(self, request: HttpRequest, origins: frozenset[str], clock: Clock) -> None:
        place = safe_origin(request.url)
        if place not in origins:
            raise ConfigurationError(f"{place} is refused: this driver talks to {', '.join(sorted(origins))} only")
        self.request = request
        self.host, self.port = _host_and_port(place)
        self.sent_at = 0.0
        self._clock = clock
        self._departed = False
        self.headers = _headers(request)
        self.body = _body(request)
        self.url = _url(request)

    def depart(self) -> None:
        self._departed = True
        self.sent_at = self._clock.wall()

    def failure(self, error: Exception) -> Error:
        """Our exception for one of aiohttp's, of which nothing but the kind of the failure is kept."""
        certificate = getattr(error, "certificate_error", None)
        if isinstance(certificate, ssl.SSLCertVerificationError) and not self._departed:
            return certificate_refused(certificate, self.host, self.port)
        return self.failed(_reason(error))

    def failed(self, cause: str) -> Error:
        if self._departed:
            return OutcomeUnknown(f"{self.request} left, and no answer came ({cause})")
        return Unreachable(f"{self.host}:{self.port} is not reachable ({cause}); {self.request} was not sent")


def _host_and_port(place: str) -> tuple[str, int]:
    parts = urlsplit(place)
    return parts.hostname or "", parts.port or 0


def _headers(request: HttpRequest) -> dict[str, str]:
    """The headers as they leave."""
    headers = {"Accept-Encoding": "identity", "Cache-Control": "no-store", "User-Agent": "tradesession"}
    if request.form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    for name, value in request.headers:
        text = _shown(value)
        if not (name + text).isprintable() or not text.isascii():
            raise ConfigurationError(
                f"the header {name!r} of {request} holds characters that no header may hold; check where its value is from"
            )
        headers[name] = text
    return headers


def _body(request: HttpRequest) -> bytes | None:
    """The body as it leaves."""
    if request.body is not None:
        return request.body.reveal().encode()
    return encode_pairs(request.form).encode("ascii") if request.form else None


def _url(request: HttpRequest) -> URL:
    """The URL as it leaves; `encoded` keeps yarl from decoding and encoding it once more."""
    base, _, present = request.url.partition("#")[0].partition("?")
    query = "&".join(part for part in (present, encode_pairs(request.query)) if part)
    return URL(f"{base}?{query}" if query else base, encoded=True)


def encode_pairs(pairs: Pairs) -> str:
    """Names and values form-encoded in UTF-8, as they leave. A space becomes %20, which queries and forms both understand."""
    return urlencode([(name, _shown(value)) for name, value in pairs], quote_via=quote, safe="")


def _shown(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (aiohttp.ClientConnectorDNSError, "its name cannot be resolved"),
    (aiohttp.ClientSSLError, "the TLS handshake failed"),
    (aiohttp.ServerDisconnectedError, "the server closed the connection"),
    (aiohttp.ClientPayloadError, "the body ended early or is not encoded as it says"),
    (aiohttp.ClientResponseError, "the answer is not HTTP"),
)


def _reason(error: Exception) -> str:
    """The kind of a failure in a few words, without the text of the exception."""
    for kind, words in _REASONS:
        if isinstance(error, kind):
            return words
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number in errno.errorcode:
        return os.strerror(number).lower()
    return type(error).__name__
