"""The sandbox as a hub server for these tests: the options and levers of the ASP.NET Core one, so that the same expectations fit both.

python sandbox_peer.py --port 0 --token-life 2 --close-at-expiry
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from typing import Any, Final

from aiohttp import web

from tradesession.sandbox.cplugin.server import CPluginSandbox
from tradesession.sandbox.signalr.methods import HubException
from tradesession.timing import AdjustableClock

ASK_TIMEOUT: Final = 10.0


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--token-life", type=float, default=3600.0)
    parser.add_argument("--close-at-expiry", action="store_true")
    parser.add_argument("--stateful", action="store_true")
    parser.add_argument("--keepalive", type=float, default=15.0)
    parser.add_argument("--client-timeout", type=float, default=30.0)
    parser.add_argument("--handshake-timeout", type=float, default=15.0)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--max-message", type=int, default=32 * 1024)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--detailed-errors", action="store_true")
    return parser.parse_args()


def made(given: argparse.Namespace) -> CPluginSandbox:
    """A sandbox that does as the options say."""
    sandbox = CPluginSandbox(given.seed, AdjustableClock(), None, "127.0.0.1", port=given.port)
    settings, faults = sandbox.settings, sandbox.faults
    settings.keep_alive = given.keepalive
    settings.client_timeout = given.client_timeout
    settings.handshake_timeout = given.handshake_timeout
    settings.max_message, settings.parallel, settings.detailed_errors = given.max_message, given.parallel, given.detailed_errors
    settings.any_platform = False
    settings.arguments_may_be_left_out = False
    settings.update_interval = 0.02
    sandbox.feed.interval = 1 / given.rate
    sandbox.feed.numbered = True
    faults.token_life, faults.close_at_expiry, faults.stateful_reconnect = given.token_life, given.close_at_expiry, given.stateful
    return sandbox


class Levers:
    """What a test may pull, over HTTP."""

    def __init__(self, sandbox: CPluginSandbox) -> None:
        self._sandbox = sandbox
        app = web.Application()
        app.router.add_get("/_peer/stats", self._stats)
        for name in ("revoke", "refuse", "abort", "drop", "status", "push", "ask"):
            app.router.add_post(f"/_peer/{name}", getattr(self, f"_{name}"))
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> str:
        """Listen; the address."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def aclose(self) -> None:
        await self._runner.cleanup()

    async def _stats(self, request: web.Request) -> web.Response:
        counts = self._sandbox.journal.counts
        count = {"count.opened": counts["stream.Count"], "count.closed": counts["ended.Count"]}
        return web.json_response({**counts, **count, "open": len(self._sandbox.connections), "feed": self._sandbox.feed.number})

    async def _revoke(self, request: web.Request) -> web.Response:
        self._sandbox.revoke()
        return web.Response(status=204)

    async def _refuse(self, request: web.Request) -> web.Response:
        self._sandbox.faults.refuse_bearer = int(request.query["times"])
        return web.Response(status=204)

    async def _abort(self, request: web.Request) -> web.Response:
        self._sandbox.faults.close()
        return web.Response(status=204)

    async def _drop(self, request: web.Request) -> web.Response:
        self._sandbox.faults.drop()
        return web.Response(status=204)

    async def _status(self, request: web.Request) -> web.Response:
        self._sandbox.connect_platform(request.query["connected"] == "true")
        return web.Response(status=204)

    async def _push(self, request: web.Request) -> web.Response:
        body = await request.json()
        await self._sandbox.push(request.query["target"], *(body if isinstance(body, list) else [body]), hub="mt4_v2")
        return web.Response(status=204)

    async def _ask(self, request: web.Request) -> web.Response:
        answers: list[dict[str, Any]] = []
        for connection in self._sandbox.connections:
            try:
                async with asyncio.timeout(ASK_TIMEOUT):
                    answers.append({"result": await connection.ask(request.query["target"], request.query["question"])})
            except HubException as error:
                answers.append({"error": str(error)})
        return web.json_response(answers)


async def serve() -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    sandbox = made(options())
    levers = Levers(sandbox)
    await sandbox.start()
    try:
        described = sandbox.describe()
        platforms = {f"{name}_platform": platform for name, platform in described["platforms"].items()}
        print(json.dumps({**described, **platforms, "levers": await levers.start()}), flush=True)  # noqa: T201 - that is how others find it
        await stopped.wait()
    finally:
        await sandbox.aclose()
        await levers.aclose()


if __name__ == "__main__":
    asyncio.run(serve())
