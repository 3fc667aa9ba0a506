"""A wire that can be cut at any byte: it stands between a client and a server on loopback and counts what passes."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal, Self

Direction = Literal["to_client", "to_server"]
How = Literal["close", "reset", "stall"]
Shape = Literal["as it comes", "pieces", "glued"]

QUIET = 40
"""Turns of the loop without news after which glued bytes are let go: the other side has nothing more to say."""


class Cutter:
    """Passes bytes on, `pieces` one by one, `glued` as late as can be; after `limit` bytes in `direction` it does what `how` says."""

    def __init__(
        self,
        port: int,
        *,
        direction: Direction = "to_client",
        limit: int | None = None,
        how: How = "close",
        shape: Shape = "as it comes",
    ) -> None:
        self._upstream = port
        self._direction = direction
        self._limit = limit
        self._how = how
        self._shape = shape
        self._tasks: set[asyncio.Task[None]] = set()
        self.passed: dict[Direction, int] = {"to_client": 0, "to_server": 0}
        self.cut = asyncio.Event()
        """Set when the limit was reached."""
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()
        await _turns(3)  # closed transports take leave in the next turns

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._pass_on(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            server_reader, server = await asyncio.open_connection("127.0.0.1", self._upstream)
        except BaseException:
            client.transport.abort()
            raise
        pumps = [
            asyncio.ensure_future(self._pump("to_server", client_reader, server)),
            asyncio.ensure_future(self._pump("to_client", server_reader, client)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
            if self._how == "reset":
                client.get_extra_info("socket").setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER of no time: the close is a reset
                client.transport.abort()
            client.close()
            server.transport.abort()

    async def _pump(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = self._limit if direction == self._direction else None
        try:
            while data := await self._read(reader, direction):
                if limit is not None:
                    data = data[: limit - self.passed[direction]]
                self.passed[direction] += len(data)
                for piece in [data[place : place + 1] for place in range(len(data))] if self._shape == "pieces" else [data]:
                    writer.write(piece)
                    if self._shape == "pieces":
                        await _turns(3)
                if limit is not None and self.passed[direction] >= limit:
                    self.cut.set()
                    if self._how == "stall":
                        await asyncio.Event().wait()
                    return
        except ConnectionError:
            return  # one side is gone; the other one follows

    async def _read(self, reader: asyncio.StreamReader, direction: Direction) -> bytes:
        limit = self._limit
        if limit == 0 and direction == self._direction:
            await _turns(QUIET)
            self.cut.set()
            if self._how == "stall":
                await asyncio.Event().wait()
            return b""
        data = await reader.read(1 << 16)
        while self._shape == "glued" and direction == "to_client" and (more := await _soon(reader)):
            data += more
        return data


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _soon(reader: asyncio.StreamReader) -> bytes:
    """What comes within a few turns; nothing when nothing does."""
    reading = asyncio.ensure_future(reader.read(1 << 16))
    for _ in range(QUIET):
        if reading.done():
            break
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    return b"" if reading.cancelled() else reading.result()
