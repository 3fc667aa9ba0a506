"""The endpoint and the nursery as seen by a test."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tradesession.secrets import Secret
from tradesession.tokens.token import Token

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def program(module: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A module as a process that ends with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class Endpoint:
    """The token endpoint; see `endpoint`."""

    def __init__(self, port: int, client: aiohttp.ClientSession) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._client = client

    async def ask(self, path: str) -> dict[str, Any]:
        async with self._client.get(self.url + path) as reply:
            answer: dict[str, Any] = await reply.json()
            return answer

    async def consent(self, expires_at: float = 1.0) -> Token:
        """A fresh pair whose access token has run out."""
        pair = await self.ask("/consent")
        return Token(access=Secret(pair["accessToken"]), refresh=Secret(pair["refreshToken"]), issued_at=0.0, expires_at=expires_at)

    async def until_shown(self, refresh: str, times: int = 1) -> None:
        """Wait until a refresh token was shown."""
        while (await self.ask("/stats"))["shown"].get(refresh, 0) < times:
            await asyncio.sleep(0.005)

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["Endpoint"]:
        async with program("tests.faults.tokens.endpoint") as process, aiohttp.ClientSession() as client:
            assert process.stdout is not None
            yield cls(int(await process.stdout.readline()), client)


class Child:
    """One process that renews."""

    def __init__(self) -> None:
        self.pid = 0
        self.steps: list[str] = []
        self.result: dict[str, Any] | None = None
        self.signal: int | None = None
        self.changed = asyncio.Event()

    def hear(self, event: dict[str, Any]) -> None:
        self.pid = event["pid"]
        if event["event"] == "at":
            self.steps.append(event["step"])
        elif event["event"] == "ended":
            self.result = event
        elif event["event"] == "gone":
            self.signal = event["signal"]
        self.changed.set()

    async def until(self, step: str) -> None:
        while step not in self.steps:
            assert self.signal is None, f"ended before {step!r}: {self.result}"
            self.changed.clear()
            await self.changed.wait()

    async def gone(self) -> dict[str, Any]:
        """Wait for its end; its result, or {} when it was killed."""
        while self.signal is None:
            self.changed.clear()
            await self.changed.wait()
        return self.result or {}

    async def kill(self) -> None:
        if self.signal is None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself a moment ago
                os.kill(self.pid, signal.SIGKILL)
        await self.gone()


class Nursery:
    """The nursery; see `nursery`. Children are told apart by their process ids, in the order of their beginning."""

    def __init__(self, process: asyncio.subprocess.Process, endpoint: Endpoint) -> None:
        self._process = process
        self._endpoint = endpoint
        self._children: dict[int, Child] = {}
        self._unborn: list[Child] = []

    async def renew(self, store: str, slot: str, **order: object) -> Child:
        """A child that has begun."""
        (child,) = await self.renew_all([{"store": store, "slot": slot, **order}])
        return child

    async def renew_all(self, orders: list[dict[str, Any]]) -> list[Child]:
        """Several children, which have all begun."""
        assert self._process.stdin is not None
        children = [Child() for _ in orders]
        self._unborn += children
        for order in orders:
            line = json.dumps({"endpoint": self._endpoint.url, **order}) + "\n"
            self._process.stdin.write(line.encode())
        while any(child.pid == 0 for child in children):
            await asyncio.sleep(0.001)
        return children

    async def listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event = json.loads(line)
            if event["pid"] not in self._children:
                if event["event"] == "gone":
                    continue
                self._children[event["pid"]] = self._unborn.pop(0)
            child = self._children[event["pid"]]
            child.hear(event)
            if child.signal is not None:
                del self._children[event["pid"]]

    @classmethod
    @asynccontextmanager
    async def running(cls, endpoint: Endpoint) -> AsyncIterator["Nursery"]:
        async with program("tests.faults.tokens.nursery") as process:
            assert process.stdout is not None
            await process.stdout.readline()
            nursery = cls(process, endpoint)
            listening = asyncio.create_task(nursery.listen())
            try:
                yield nursery
            finally:
                for child in list(nursery._children.values()):
                    await child.kill()
                listening.cancel()
                await asyncio.wait([listening])
