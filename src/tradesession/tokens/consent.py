"""Consent: sending a person to a platform's page, and catching the redirect that brings the code back.

The catcher is bound to loopback alone, takes one code, writes no log (the code travels in URLs) and opens no browser: whoever starts
a login does. `state` is evidence where it is echoed: a wrong one is refused and waiting goes on; a missing one is accepted unless
`require_state` is set, because not every platform is known to echo it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from aiohttp import web

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import ConfigurationError, ReauthorizationRequired, TokenError
from tradesession.protocol.http import origin
from tradesession.secrets import Secret
from tradesession.timing import SYSTEM_CLOCK, deadline
from tradesession.tokens import consent_pages
from tradesession.tokens.redirects import Redirect, authorization_url, new_state, parse_pasted, pkce_challenge
from tradesession.transports.tls import is_loopback

__all__ = ["RedirectCatcher", "authorization_url", "new_state", "parse_pasted", "pkce_challenge"]

_silent = logging.Logger("silent")  # noqa: LOG001 - it must stand outside the tree of loggers: aiohttp's errors quote request lines
_silent.addHandler(logging.NullHandler())


class RedirectCatcher:
    """Listens on loopback for the redirect that brings the code.

        async with RedirectCatcher("http://127.0.0.1:0/callback", state=state) as catcher:
            print(authorization_url(page, redirect_uri=catcher.redirect_uri, state=state, …))
            code = await catcher.code()

    `redirect_uri` is the registered one; its port 0 takes any free port. The person has `timeout` seconds. Leaving the block waits up
    to `farewell` seconds until the browser has fetched its last page, so that it does not end at an error of its own.
    """

    def __init__(
        self,
        redirect_uri: str = "http://127.0.0.1:0/callback",
        *,
        state: Secret | None = None,
        require_state: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        timeout: float = policy.CONSENT_TIMEOUT,
        farewell: float = policy.CLOSE_TIMEOUT,
    ) -> None:
        origin(redirect_uri)
        parts = urlsplit(redirect_uri)
        self._host = parts.hostname or ""
        if parts.scheme != "http" or not is_loopback(self._host) or parts.fragment:
            raise ConfigurationError(
                f"the redirect URI {redirect_uri!r} cannot be caught on this machine: that takes http://127.0.0.1:PORT/PATH; "
                "register such a one, or paste the address instead"
            )
        if require_state and state is None:
            raise ConfigurationError("require_state=True needs a state to compare with; give state=new_state()")
        self.redirect_uri = redirect_uri
        """Where the consent page must send the browser; with its real port from the moment the block is entered."""
        self._port = 80 if parts.port is None else parts.port
        self._path = parts.path or "/"
        self._end = self._path.rstrip("/") + "/end"
        self._state = state
        self._require_state = require_state
        self._clock = clock
        self._timeout = timeout
        self._farewell = farewell
        self._runner: web.ServerRunner | None = None
        self._outcome: Secret | TokenError | None = None
        self._arrived = asyncio.Event()
        self._shown = asyncio.Event()

    async def code(self) -> Secret:
        """Wait for the code.

        Raises ReauthorizationRequired when consent was denied or nobody gave it in time, TokenRefused when the consent page refused
        for another reason.
        """
        try:
            async with deadline(self._clock, self._timeout):
                await self._arrived.wait()
        except TimeoutError:
            raise ReauthorizationRequired(
                f"no consent came to {self.redirect_uri} within {self._timeout:g} s; start the login again, or paste the address instead"
            ) from None
        if isinstance(self._outcome, Secret):
            return self._outcome
        assert self._outcome is not None
        raise self._outcome

    async def __aenter__(self) -> Self:
        server = web.Server(self._serve, access_log=None, logger=_silent, lingering_time=0.0)
        self._runner = web.ServerRunner(server, shutdown_timeout=policy.CLOSE_TIMEOUT)
        await self._runner.setup()
        address = "127.0.0.1" if self._host == "localhost" else self._host
        try:
            await web.TCPSite(self._runner, address, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(_unbound(error, address, self._port)) from None
        if self._port == 0:
            self._port = self._runner.addresses[0][1]
            host = f"[{self._host}]" if ":" in self._host else self._host
            self.redirect_uri = urlunsplit(urlsplit(self.redirect_uri)._replace(netloc=f"{host}:{self._port}"))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._runner is not None
        try:
            if self._outcome is not None and (kind is None or issubclass(kind, Exception)):
                with suppress(TimeoutError):
                    async with deadline(self._clock, self._farewell):
                        await self._shown.wait()
        finally:
            await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request of whatever speaks to us: the browser, its guesses, a scanner."""
        response = self._answer(request)
        response.headers.update(consent_pages.HEADERS)
        response.force_close()
        await response.prepare(request)
        await response.write_eof()
        if request.rel_url.raw_path == self._end and response.status == 200 and request.method == "GET":
            self._shown.set()
        return response

    def _answer(self, request: web.BaseRequest) -> web.Response:
        if not _names_loopback(request.headers.get("Host", "")):
            return _page(421, "Not here", "This address is served to this machine only.")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        path = request.rel_url.raw_path
        if path == self._end and self._outcome is not None:
            return self._last_page()
        if path != self._path:
            return web.Response(status=404)
        if request.method == "HEAD":  # a preview must not use up the code
            return web.Response()
        return self._take(Redirect.read(request.rel_url.raw_query_string, self._state, require_state=self._require_state))

    def _take(self, redirect: Redirect) -> web.Response:
        """Settle the outcome with the first redirect that is meant for us, and move the browser to an address without the code."""
        if redirect.fault:
            return _page(400, "This is not the answer we wait for", f"The address was not accepted: {redirect.fault}. Waiting goes on.")
        if self._outcome is None:
            self._outcome = redirect.code or redirect.refusal
            self._arrived.set()
        elif redirect.code is None or redirect.code != self._outcome:
            return _page(409, "This login is over", "It has had its answer already; another one is not accepted.")
        return web.Response(status=303, headers={"Location": self._end})

    def _last_page(self) -> web.Response:
        if isinstance(self._outcome, Secret):
            text = "You can close this window and go back to where you started the login."
            return _page(200, "Consent received", text, good=True)
        return _page(200, "The login did not succeed", str(self._outcome))


def _page(status: int, title: str, text: str, *, good: bool = False) -> web.Response:
    html = consent_pages.page(title, text, good=good)
    return web.Response(status=status, text=html, content_type="text/html", charset="utf-8")


def _names_loopback(host: str) -> bool:
    """Whether a Host header is ours; a foreign name that somebody made resolve to loopback is not."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _unbound(error: OSError, address: str, port: int) -> str:
    """Why the listener could not start, and what to do."""
    if error.errno == errno.EADDRINUSE:
        cause = "another program listens there; stop it"
    elif error.errno == errno.EACCES:
        cause = "this port needs rights that the program does not have; register a redirect URI with a port above 1023"
    else:
        cause = f"{os.strerror(error.errno) if error.errno else type(error).__name__}; register another redirect URI"
    return f"cannot listen on {address} port {port}: {cause}, or paste the address instead"
