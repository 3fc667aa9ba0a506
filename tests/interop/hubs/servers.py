"""The hub servers that the same expectations are held against, and the levers that each of them has.

A server is a process that prints one line of JSON when it listens. It is started once for each set of options, and kept to the end of the
run.
"""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tradesession.secrets import Secret

HUBPEER: Final = Path(__file__).parents[4] / "shared" / "peers" / "hubpeer"
"""Microsoft's own server; the first start unpacks it."""

START_TIMEOUT: Final = 90.0


class HubServer:
    """A running server. Every lever acts on all of its connections."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.base_url: str = facts["base_url"]
        self.facts = facts

    def hub(self, name: str = "mt4_v2", *, prefix: str = "") -> str:
        """The address of a hub, with the trade platform in its query where that is its place."""
        path = self.base_url + prefix + self.facts["hubs"][name]
        platform = {"mt4_v2": "mt4_platform", "mt5_v2": "mt5_platform"}.get(name)
        return f"{path}?tradePlatform={self.facts[platform]}" if platform else path

    async def token(self) -> Secret:
        """A fresh bearer."""
        form = {"grant_type": "client_credentials", "client_id": self.facts["client_id"], "client_secret": self.facts["client_secret"]}
        async with aiohttp.ClientSession() as session, session.post(self.facts["token_url"], data=form) as reply:
            assert reply.status == 200
            return Secret((await reply.json())["access_token"])

    async def stats(self) -> dict[str, int]:
        """What has happened so far; what never did is missing."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.base_url}/_peer/stats") as reply:
            counts: dict[str, int] = await reply.json()
            return counts

    async def revoke(self) -> None:
        """Every bearer issued so far is refused from now on."""
        await self._pull("revoke")

    async def refuse(self, times: int) -> None:
        """The next checks of a bearer fail."""
        await self._pull(f"refuse?times={times}")

    async def abort(self) -> None:
        """End each connection with a Close record."""
        await self._pull("abort")

    async def drop(self) -> None:
        """Reset each socket."""
        await self._pull("drop", statuses=(204, 500))  # 500 where a connection has no socket at this moment

    async def status(self, *, connected: bool) -> None:
        """Push OnConnectionStatus to every client."""
        await self._pull(f"status?connected={str(connected).lower()}")

    async def push(self, target: str, *arguments: Any) -> None:
        """Call a target on every client of the MT4 v2 hub."""
        await self._pull(f"push?target={target}", list(arguments))

    async def ask(self, target: str, question: str) -> list[dict[str, Any]]:
        """Ask every client of the MT4 v2 hub, and wait for the answers."""
        answers: list[dict[str, Any]] = await self._pull(f"ask?target={target}&question={question}")
        return [answer for answer in answers if "does not exist" not in answer.get("error", "")]  # it counts those that it refused

    async def _pull(self, lever: str, body: Any = None, *, statuses: tuple[int, ...] = (200, 204)) -> Any:
        async with aiohttp.ClientSession() as session, session.post(f"{self.base_url}/_peer/{lever}", json=body) as reply:
            assert reply.status in statuses, reply.status
            return await reply.json() if reply.status == 200 else None


class Servers:
    """Starts servers of one make, one for each set of options."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._running: dict[tuple[str, ...], tuple[subprocess.Popen[bytes], HubServer]] = {}

    def get(self, *options: str) -> HubServer:
        """The server with these options."""
        if options not in self._running:
            self._running[options] = self._start(options)
        return self._running[options][1]

    def restart(self, server: HubServer, *, gently: bool = True) -> HubServer:
        """End this server and start one like it at the same address."""
        options = next(options for options, (_, running) in self._running.items() if running is server)
        process, _ = self._running.pop(options)
        _stop(process, gently=gently)
        port = server.base_url.rpartition(":")[2]
        started, again = self._start((*options, "--port", port))
        self._running[options] = (started, again)
        return again

    def stop(self) -> None:
        """End them all."""
        for process, _ in self._running.values():
            _stop(process, gently=True)
        self._running.clear()

    def _start(self, options: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], HubServer]:
        place = () if "--port" in options else ("--port", "0")
        process = subprocess.Popen([self._program, *place, *options], stdout=subprocess.PIPE)
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT)
        line = process.stdout.readline() if ready else b""
        if not line:
            _stop(process, gently=False)
            pytest.fail(f"{self._program.name} {' '.join(options)} did not start within {START_TIMEOUT:g} s")
        return process, HubServer(json.loads(line))


def _stop(process: subprocess.Popen[bytes], *, gently: bool) -> None:
    if gently:
        process.terminate()
    else:
        process.kill()
    process.wait(START_TIMEOUT)
    if process.stdout is not None:
        process.stdout.close()
