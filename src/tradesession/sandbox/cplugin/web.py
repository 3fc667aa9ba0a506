"""The web server: bearers, negotiation, upgrades, and the way to REST and the authority.

Owns no sockets: it makes protocols for the listeners. Always holds: nothing of a hub or of REST is told without a good bearer.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from tradesession.sandbox.cplugin.authority import AuthorityPages, origin_of
from tradesession.sandbox.cplugin.core import Core
from tradesession.sandbox.cplugin.hubs import HUBS, PATHS
from tradesession.sandbox.cplugin.rest import Rest
from tradesession.sandbox.signalr.core import Bearer
from tradesession.sandbox.signalr.registry import Registry
from tradesession.sandbox.signalr.socket import HubSocket

_QUERY_BEARERS: Final = ("access_token", "signalr_token")
_TRANSPORTS: Final = (
    ("WebSockets", ["Text", "Binary"]),
    ("ServerSentEvents", ["Text"]),
    ("LongPolling", ["Text", "Binary"]),
)
_SHUTDOWN_TIMEOUT: Final = 1.0
_HUB_PATH: Final = re.compile(r"(?:/(?P<redirect>redirect)|/hop/(?P<hop>[0-9]+))?(?P<hub>/hubs/\w+/\w+)(?P<negotiate>/negotiate)?")
_HUB_NAMES: Final = {path: name for name, path in PATHS.items()}


class WebServer:
    """Serves one sandbox, on whatever listens."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.registry = Registry(core, HUBS)
        self.rest = Rest(core)
        app = web.Application(middlewares=[_no_pages])
        AuthorityPages(core).add_to(app.router)
        app.router.add_route("*", "/{api:[aA][pP][iI]}/{tail:.*}", self._api)
        app.router.add_route("*", "/{path:.*}", self._hubs)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT)

    async def start(self) -> None:
        """Be ready to make protocols."""
        await self._runner.setup()

    def protocol(self) -> asyncio.Protocol:
        """For a connection."""
        assert self._runner.server is not None
        return self._runner.server()

    async def aclose(self) -> None:
        """End every hub connection and every request."""
        await self.registry.aclose()
        await self._runner.cleanup()

    # --- bearers ---

    def _bearer(self, request: web.Request, *, on_hub: bool) -> Bearer | web.Response:
        """The good bearer of a request, or the refusal."""
        faults, journal = self._core.faults, self._core.journal
        where, token = _find_bearer(request, on_hub=on_hub)
        if not token:
            journal.count("refused.no bearer")
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        bearer = self._core.identity.check(token)
        if faults.refuse_every_bearer or faults.refuse_bearer:
            faults.refuse_bearer = max(0, faults.refuse_bearer - 1)
            bearer = "forced"
        if isinstance(bearer, str):
            journal.count(f"refused.{bearer}")
            return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if faults.forbid:
            journal.count("refused.forbidden")
            return web.Response(status=403)
        journal.count(f"bearer.{where}")
        return bearer

    async def _api(self, request: web.Request) -> web.Response:
        bearer = self._bearer(request, on_hub=False)
        return bearer if isinstance(bearer, web.Response) else await self.rest.serve(request)

    # --- hubs ---

    async def _hubs(self, request: web.Request) -> web.StreamResponse:
        """Find the hub, whatever the case of its path. A path under `/redirect` leads to the hub itself, as a balancer would, and asks for
        no bearer; one under `/hop/N` leads on N times before it is the hub."""
        match = _HUB_PATH.fullmatch(request.path.lower())
        hub = _HUB_NAMES.get(match["hub"]) if match else None
        if match is None or hub is None:
            return web.Response(status=404)
        if not match["negotiate"]:
            return await self._open(request, hub)
        if request.method != "POST":
            return web.Response(status=405)
        if match["redirect"]:
            return self._elsewhere(request, origin_of(request) + PATHS[hub])
        return self._negotiate(request, hub, hops=int(match["hop"]) if match["hop"] else self._core.faults.negotiate_redirects)

    def _negotiate(self, request: web.Request, hub: str, *, hops: int) -> web.Response:
        faults = self._core.faults
        bearer = self._bearer(request, on_hub=True)
        if isinstance(bearer, web.Response):
            return bearer
        if faults.negotiate_status:
            return web.Response(status=faults.negotiate_status)
        if faults.negotiate_error:
            return web.json_response({"error": faults.negotiate_error})
        if faults.negotiate_redirect_to:
            return self._elsewhere(request, faults.negotiate_redirect_to)
        if hops:
            return self._elsewhere(request, f"{origin_of(request)}/hop/{hops - 1}{PATHS[hub]}")
        return self._ids(request, hub, bearer)

    def _elsewhere(self, request: web.Request, url: str) -> web.Response:
        self._core.journal.count("redirected")
        query = request.url.query.copy()
        for name in ("negotiateVersion", *_QUERY_BEARERS):
            query.popall(name, None)
        answer = {"url": f"{url}?{'&'.join(f'{name}={value}' for name, value in query.items())}" if query else url}
        if not self._core.faults.redirect_without_token:
            answer["accessToken"] = self._core.identity.issue("redirected", self._core.faults.token_life, origin_of(request))
        return web.json_response(answer)

    def _ids(self, request: web.Request, hub: str, bearer: Bearer) -> web.Response:
        faults = self._core.faults
        asked = request.query.get("negotiateVersion", "0")
        if not re.fullmatch(r"-?[0-9]+", asked):
            return web.json_response({"error": "The client requested a non-integer protocol version."})
        version = min(1, int(asked))
        if version < 0:
            return web.json_response({"error": f"The client requested version '{asked}', but the server does not support this version."})
        answered = version if faults.negotiate_version is None else faults.negotiate_version
        version = min(1, answered)
        stateful = faults.stateful_reconnect and request.query.get("useStatefulReconnect", "").lower() == "true"
        given = self.registry.negotiate(hub, bearer, version=version, stateful=stateful)
        self._core.journal.count("negotiated")
        answer: dict[str, Any] = {
            "negotiateVersion": answered,
            "connectionId": given.connection_id,
            "availableTransports": [
                {"transport": name, "transferFormats": formats}
                for name, formats in _TRANSPORTS
                if not (faults.no_websockets and name == "WebSockets")
            ],
        }
        if version:
            answer["connectionToken"] = given.token
        if stateful:
            answer["useStatefulReconnect"] = True
        return web.json_response(answer)

    async def _open(self, request: web.Request, hub: str) -> web.StreamResponse:
        faults = self._core.faults
        bearer = self._bearer(request, on_hub=True)
        if isinstance(bearer, web.Response):
            return bearer
        token = request.query.get("id")
        if request.method not in ("GET", "POST", "DELETE"):
            return web.Response(status=405)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return self._no_upgrade(request.method, token)
        if faults.upgrade_status:
            return web.Response(status=faults.upgrade_status)
        if faults.upgrade_redirect:
            return web.Response(status=302, headers={"Location": faults.upgrade_redirect})
        connection = self.registry.open(hub, bearer, request.query)
        if isinstance(connection, int):
            return web.Response(status=connection)
        return await HubSocket(self._core, request).run(connection)

    def _no_upgrade(self, method: str, token: str | None) -> web.Response:
        """The transports that the negotiation names and the sandbox does not serve, and requests that are none."""
        if token is None:
            return web.Response(status=400, text="Connection ID required")
        if not self.registry.knows(token):
            return web.Response(status=404, text="No Connection with that ID")
        if method == "DELETE":
            return web.Response(status=400, text="Cannot terminate this connection using the DELETE endpoint.")
        return web.Response(status=405, text="The sandbox serves WebSockets only")


def _find_bearer(request: web.Request, *, on_hub: bool) -> tuple[str, str]:
    """Where the bearer stands, and the bearer. Only hubs look into the query."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return "header", token.strip()
    for name in _QUERY_BEARERS if on_hub else ():
        if request.query.get(name):
            return name, request.query[name]
    return "", ""


@web.middleware
async def _no_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what does not exist without a body, as the real server does."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return web.Response(status=error.status)
