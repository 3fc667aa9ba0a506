"""The sandboxed B2Core and B2Trader as a whole: one web server without TLS on loopback, with the hub on the same port.

Owns everything that runs; `aclose` ends it. Always holds: nothing of it is reachable from another machine, and nothing is logged, for an
address carries a token here.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from tradesession.sandbox.b2core.core_api import CoreApi
from tradesession.sandbox.b2core.hub import TraderHub
from tradesession.sandbox.b2core.settings import Faults, Settings
from tradesession.sandbox.b2core.state import PLATFORM_ID, Refused, State
from tradesession.timing import AdjustableClock, sleep

if TYPE_CHECKING:
    from tradesession.b2core import Config

CORE: Final = "/api/v2/my"
TRADER: Final = "/frontoffice/api/v3"
HUB: Final = "/frontoffice/ws/v4/account"

_SHUTDOWN_TIMEOUT: Final = 1.0
_HTML: Final = "<!DOCTYPE html><title>Bad Gateway</title><h1>Something is wrong</h1>"

Answer = Callable[[web.Request, dict[str, str]], Any]


class B2CoreSandbox:
    """A broker's B2Core with one user, and its B2Trader. Made and started by `Sandbox`."""

    def __init__(self, seed: int, clock: AdjustableClock, host: str) -> None:
        self._clock = clock
        self._host = host
        self._stack = AsyncExitStack()
        self.settings = Settings(clock, self._apply)
        """What can be done in more than one way; may be changed at any time."""
        self.faults = Faults(clock, self._apply)
        """What goes wrong on purpose."""
        self.state = State(seed, clock, self.settings, self.faults)
        """Who there is, what was handed out, and counters for assertions."""
        self.hub = TraderHub(seed, clock, self.state, self.settings, self.faults)
        """B2Trader's hub: its connections, and what happened there."""
        self._core = CoreApi(self.state, self.settings, self.faults)
        self._described: str | None = None
        self.port = 0
        self.base_url = ""
        """The address of B2Core, and of B2Trader, once it has started."""

    # --- life ---

    async def start(self) -> None:
        """Listen on a free port."""
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT, handler_cancellation=True)
        self._stack.push_async_callback(runner.cleanup)
        self._stack.push_async_callback(self.hub.aclose)
        await runner.setup()
        await web.TCPSite(runner, self._host, 0).start()
        self.port = runner.addresses[0][1]
        self.base_url = f"http://[{self._host}]:{self.port}" if ":" in self._host else f"http://{self._host}:{self.port}"
        self._core.base_url = self.base_url

    async def aclose(self) -> None:
        """Close every connection and the port."""
        await self._stack.aclose()

    # --- where and who ---

    @property
    def email(self) -> str:
        """Of the user."""
        return self.state.email

    @property
    def password(self) -> str:
        """Of the user."""
        return self.state.password

    @property
    def platform_id(self) -> int:
        """The B2Trader among the platforms."""
        return PLATFORM_ID

    def config(self, **overrides: Any) -> Config:
        """A client's configuration that signs in with email and password, in memory; `overrides` are options of `b2core.Config`."""
        from tradesession.b2core import Config

        options: dict[str, Any] = {
            "base_url": self.base_url,
            "platform_id": self.platform_id,
            "email": self.email,
            "password": self.password,
            "store": "memory:",
            "clock": self._clock,
        }
        return Config(**(options | overrides))

    def describe(self) -> dict[str, Any]:
        """Everything a program in another process needs: the value of `b2core` in what `tradesession sandbox --json` prints."""
        if self._described is None:
            self._described = self.state.bearer().access
        return {
            "base_url": self.base_url,
            "email": self.email,
            "password": self.password,
            "access_token": self._described,
            "platform_id": self.platform_id,
        }

    # --- HTTP ---

    def _application(self) -> web.Application:
        app = web.Application()
        add = app.router.add_route
        add("GET", f"{CORE}/signin/wizard", self._answered(lambda _, __: self._core.wizard(), status=lambda: self.faults.sign_in_status))
        add("POST", f"{CORE}/signin", self._on_core(lambda _, body: self._core.sign_in(body)))
        add("POST", f"{CORE}/signin/2fa", self._on_core(lambda _, body: self._core.choose(body)))
        add("POST", f"{CORE}/2fa/{{method}}", self._on_core(lambda request, body: self._core.code(request.match_info["method"], body)))
        add("POST", f"{CORE}/refresh", self._on_core(lambda _, body: self._core.refresh(body)))
        add("GET", f"{CORE}/platforms", self._answered(lambda request, _: self._core.platforms(_bearer(request))))
        add("POST", f"{CORE}/platforms/{{id}}/auth", self._on_platform(self._platform_auth))
        add("POST", f"{CORE}/platforms/{{id}}/refresh", self._on_platform(self._platform_refresh))
        add("GET", f"{TRADER}/accounts", self._on_trader(lambda _, __: self.state.accounts))
        add("GET", f"{TRADER}/orders", self._on_trader(self._orders))
        add("POST", f"{TRADER}/orders", self._on_trader(lambda _, body: self.state.place(body), takes_orders=True))
        add("PUT", f"{TRADER}/orders/{{id}}", self._on_trader(lambda request, body: self.state.amend(request.match_info["id"], body)))
        add("DELETE", f"{TRADER}/orders/{{id}}", self._on_trader(lambda request, _: self.state.cancel(request.match_info["id"])))
        add("GET", HUB, self._on_hub(self.hub.open))
        add("POST", f"{HUB}/negotiate", self._on_hub(self.hub.negotiate))
        return app

    def _on_hub(self, serve: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.StreamResponse:
            self.state.requests[f"{request.method} {request.path}"] += 1
            if self.faults.redirect:
                return web.Response(status=307, headers={"Location": self.faults.redirect + request.path_qs})
            return await serve(request)

        return handler

    def _apply(self) -> None:
        if hasattr(self, "hub"):
            self.hub.apply_faults()

    def _platform_auth(self, request: web.Request, body: dict[str, str]) -> Any:
        geo = request.headers.get("Geo-Country-Code", ""), request.headers.get("Geo-Country-Name", "")
        return self._core.platform_auth(_platform(request), _bearer(request), geo)

    def _platform_refresh(self, request: web.Request, body: dict[str, str]) -> Any:
        return self._core.platform_refresh(_platform(request), _bearer(request), body)

    def _orders(self, request: web.Request, body: dict[str, str]) -> Any:
        account = request.query.get("accountId")
        return [order for owner, orders in self.state.orders.items() if account in (None, owner) for order in orders]

    # --- the ways of all requests ---

    def _on_core(self, answer: Answer) -> Callable[[web.Request], Any]:
        return self._answered(answer, status=lambda: self.faults.sign_in_status, gives_token=True)

    def _on_platform(self, answer: Answer) -> Callable[[web.Request], Any]:
        return self._answered(answer, status=lambda: self.faults.platform_status, gives_token=True)

    def _on_trader(self, answer: Answer, *, takes_orders: bool = False) -> Callable[[web.Request], Any]:
        def checked(request: web.Request, body: dict[str, str]) -> Any:
            if not self.state.is_good(_bearer(request).partition(" ")[2]):
                raise Refused(401, "The token is missing or no longer good.")
            return answer(request, body)

        return self._answered(checked, status=lambda: self.faults.trader_status, takes_orders=takes_orders)

    def _answered(
        self,
        answer: Answer,
        *,
        status: Callable[[], int] = lambda: 0,
        gives_token: bool = False,
        takes_orders: bool = False,
    ) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = await answered(request)
            response.headers["Date"] = formatdate(self._clock.wall(), usegmt=True)  # by the sandbox's clock, as its tokens are
            return response

        async def answered(request: web.Request) -> web.StreamResponse:
            self.state.requests[f"{request.method} {request.path}"] += 1
            if self.faults.redirect:
                return web.Response(status=307, headers={"Location": self.faults.redirect + request.path_qs})
            if status():
                return self._failure(status())
            try:
                response = web.json_response(answer(request, await _body(request)))
            except Refused as refused:
                response = self._refusal(refused)
            if gives_token and self.faults.token_delay:
                await sleep(self._clock, self.faults.token_delay)
            is_lost = (gives_token and self.faults.token_reply_lost) or (takes_orders and self.faults.order_reply_lost)
            if is_lost and request.transport is not None:
                request.transport.abort()
            return response

        return handler

    def _failure(self, status: int) -> web.Response:
        headers = {"Retry-After": str(self.faults.retry_after)} if self.faults.retry_after else {}
        return web.Response(status=status, text=_HTML, content_type="text/html", headers=headers)

    def _refusal(self, refused: Refused) -> web.Response:
        body: dict[str, Any] = {"message": refused.message}
        if self.settings.errors == "envelope":
            body = {"error": body | {"details": [{"issue": refused.issue}] if refused.issue else []}}
        headers = {"Retry-After": f"{refused.retry_after:.0f}"} if refused.retry_after is not None else {}
        return web.json_response(body, status=refused.status, headers=headers)


def _bearer(request: web.Request) -> str:
    return request.headers.get("Authorization", "")


def _platform(request: web.Request) -> int:
    ident = request.match_info["id"]
    return int(ident) if ident.isdecimal() else 0


async def _body(request: web.Request) -> dict[str, str]:
    try:
        found = json.loads(await request.read() or b"{}")
    except ValueError:
        raise Refused(400, "The body is no JSON.") from None
    return found if isinstance(found, dict) else {}
