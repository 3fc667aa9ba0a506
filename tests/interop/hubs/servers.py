"""The hub servers that the same expectations are held against, and the levers that each of them has.

A server is a process that prints one line of JSON when it listens. It is started once for each set of options, and kept to the end of the
run.
"""

from __future__ import annotations

import asyncio
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

SANDBOX: Final = Path(__file__).with_name("sandbox_peer.py")
"""Ours, with the options and levers of the other."""

START_TIMEOUT: Final = 90.0
VACANT_TIMEOUT: Final = 30.0
"""Twice as long as a stateful connection is kept without a socket."""


class HubServer:
    """A running server. Every lever acts on all of its connections."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.base_url: str = facts["base_url"]
        self._levers: str = facts.get("levers", self.base_url)
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
        async with aiohttp.ClientSession() as session, session.get(f"{self._levers}/_peer/stats") as reply:
            counts: dict[str, int] = await reply.json()
            return counts

    async def vacant(self) -> None:
        """Wait until nothing is connected any more, since a lever would act on what an earlier test has left as well."""
        try:
            async with asyncio.timeout(VACANT_TIMEOUT):
                while (await self.stats()).get("open"):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pytest.fail("a connection of an earlier test stays open: a test that leaves one needs a server of its own")

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
        await self._pull("drop")

    async def status(self, *, connected: bool) -> None:
        """Push OnConnectionStatus to every client."""
        await self._pull(f"status?connected={str(connected).lower()}")

    async def push(self, target: str, *arguments: Any) -> None:
        """Call a target on every client of the MT4 v2 hub."""
        await self._pull(f"push?target={target}", list(arguments))

    async def ask(self, target: str, question: str) -> list[dict[str, Any]]:
        """Ask every client of the MT4 v2 hub, and wait for the answers."""
        answers: list[dict[str, Any]] = await self._pull(f"ask?target={target}&question={question}")
        return answers

    async def _pull(self, lever: str, body: Any = None) -> Any:
        async with aiohttp.ClientSession() as session, session.post(f"{self._levers}/_peer/{lever}", json=body) as reply:
            assert reply.status in (200, 204), f"{lever} was answered with {reply.status}: are there connections of another test?"
            return await reply.json() if reply.status == 200 else None


class Servers:
    """Starts servers of one make, one for each set of options. Whoever gets one has it for itself: the last one's connections are gone."""

    def __init__(self, *program: str | Path) -> None:
        self._program = program
        self._running: dict[tuple[str, ...], tuple[subprocess.Popen[bytes], HubServer]] = {}

    async def get(self, *options: str, vacant: bool = True) -> HubServer:
        """The server with these options; without `vacant` perhaps with connections of earlier tests."""
        if options not in self._running:
            self._running[options] = await asyncio.to_thread(self._start, options)
        server = self._running[options][1]
        if vacant:
            await server.vacant()
        return server

    async def restart(self, server: HubServer) -> None:
        """End this server and start one like it at the same address."""
        options = next(options for options, (_, running) in self._running.items() if running is server)
        process, _ = self._running.pop(options)
        port = server.base_url.rpartition(":")[2]
        await asyncio.to_thread(_stop, process)
        self._running[options] = await asyncio.to_thread(self._start, (*options, "--port", port))

    def stop(self) -> None:
        """End them all."""
        for process, _ in self._running.values():
            process.terminate()
        for process, _ in self._running.values():
            _stop(process)
        self._running.clear()

    def _start(self, options: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], HubServer]:
        place = () if "--port" in options else ("--port", "0")
        process = subprocess.Popen([*self._program, *place, *options], stdout=subprocess.PIPE)
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT)
        line = process.stdout.readline() if ready else b""
        if not line:
            process.kill()
            _stop(process)
            pytest.fail(f"{self._program[-1]} {' '.join(options)} did not start within {START_TIMEOUT:g} s")
        return process, HubServer(json.loads(line))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(START_TIMEOUT)
    if process.stdout is not None:
        process.stdout.close()
