"""A WebSocket that carries a hub connection: messages out in order, bytes in, with the faults of messages.

Runs two tasks, in its own `run`. Always holds: what was written leaves in order, or the socket is gone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import WSMsgType, web

from tradesession.sandbox.signalr.connection import HubConnection
from tradesession.sandbox.signalr.core import HubCore
from tradesession.timing import sleep

HIGH_WATER: Final = 256
"""Messages that wait before a stream is held up."""

MAX_WAITING: Final = 100_000
"""Messages that wait before a client that does not read is reset."""

CLOSE_TIMEOUT: Final = 5.0
"""Seconds for the client to answer the end of the WebSocket."""


class HubSocket:
    """The upgraded request of one client."""

    def __init__(self, core: HubCore, request: web.Request) -> None:
        self._core = core
        self._request = request
        self._websocket = web.WebSocketResponse(timeout=CLOSE_TIMEOUT, compress=False, max_msg_size=0)
        self._waiting: deque[str] = deque()
        self._wake = asyncio.Event()
        self._roomy = asyncio.Event()
        self._is_closing = False
        self._orderly = False
        self.cause = "the client"

    async def run(self, connection: HubConnection) -> web.WebSocketResponse:
        """Carry the connection until the socket is gone."""
        await self._websocket.prepare(self._request)
        connection.attach(self)
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write_all())
                await self._read_all(connection)
                if not self._is_closing:
                    writer.cancel()
        finally:
            self._roomy.set()
            connection.detached(self, orderly=self._orderly, cause=self.cause)
        return self._websocket

    def write(self, text: str) -> None:
        """Send a message, some time."""
        self._waiting.append(text)
        self._wake.set()
        if len(self._waiting) > MAX_WAITING:
            self.cause = "the client does not read"
            self.abort()

    async def room(self) -> None:
        """Wait until not too much waits."""
        while len(self._waiting) >= HIGH_WATER and not self._roomy.is_set():
            await self._roomy.wait()

    def close(self) -> None:
        """Close in an orderly way when everything has left."""
        self._is_closing = True
        self._wake.set()

    def abort(self) -> None:
        """Reset."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _read_all(self, connection: HubConnection) -> None:
        async for message in self._messages():
            if message.type is WSMsgType.TEXT:
                connection.received(message.data.encode())
            elif message.type is WSMsgType.BINARY:
                connection.received(message.data)

    async def _messages(self) -> Any:
        while True:
            message = await self._websocket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                self._orderly = message.type is WSMsgType.CLOSE
                return
            yield message

    async def _write_all(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._send(await self._next())
                if self._is_closing:
                    await self._websocket.close()
                    return
        except ConnectionError:  # the reader hears of it as well
            return

    async def _next(self) -> str:
        """The next message to send."""
        if self._core.faults.glue_frames:
            await sleep(self._core.clock, self._core.faults.glue_frames)
            glued = "".join(self._waiting)
            self._waiting.clear()
        else:
            glued = self._waiting.popleft()
        if len(self._waiting) < HIGH_WATER:
            self._roomy.set()
            self._roomy = asyncio.Event()
        return glued

    async def _send(self, text: str) -> None:
        send: Callable[[str], Awaitable[None]] = self._send_binary if self._core.faults.binary_frames else self._websocket.send_str
        size = self._core.faults.split_frames or len(text)
        for start in range(0, len(text), max(1, size)):
            await send(text[start : start + size])

    async def _send_binary(self, text: str) -> None:
        await self._websocket.send_bytes(text.encode())
