"""The other side of a connection, byte by byte, and a Receiver that remembers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tradesession.errors import Error


class Recorder:
    """A Receiver that remembers what it was given, and can be waited for."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.causes: list[Error] = []
        self.refuse: Error | None = None
        self.calls = 0
        self._news = asyncio.Event()

    def received(self, frames: Iterable[bytes]) -> None:
        self.calls += 1
        for frame in frames:
            if self.causes:
                return
            self.take(frame)

    def take(self, frame: bytes) -> None:
        self.frames.append(frame)
        self._news.set()
        if self.refuse is not None:
            raise self.refuse

    def lost(self, cause: Error) -> None:
        self.causes.append(cause)
        self._news.set()

    async def have(self, count: int) -> list[bytes]:
        """Wait for `count` frames, or for the end."""
        while len(self.frames) < count and not self.causes:
            self._news.clear()
            await self._news.wait()
        return self.frames

    async def end(self) -> Error:
        """Wait for the end; there is but one."""
        while not self.causes:
            self._news.clear()
            await self._news.wait()
        (cause,) = self.causes
        return cause


class Peer:
    """One accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self, count: int) -> bytes:
        return await self.reader.readexactly(count)

    async def until(self, end: bytes) -> bytes:
        return await self.reader.readuntil(end)

    async def rest(self) -> bytes:
        """Everything until the client's end of the stream."""
        return await self.reader.read(-1)

    def finish(self) -> None:
        """No more will be sent."""
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close hard: the client sees a reset."""
        self.writer.get_extra_info("socket").setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER of no time at all
        self.writer.transport.abort()


class Listener:
    """A server on loopback whose connections the test plays."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._accepted: asyncio.Queue[Peer] = asyncio.Queue()
        self._peers: list[Peer] = []
        self.port = 0

    async def accept(self) -> Peer:
        return await self._accepted.get()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self._peers.append(peer)
        self._accepted.put_nowait(peer)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.close()
        for peer in self._peers:
            peer.writer.transport.abort()
        await self._server.wait_closed()
