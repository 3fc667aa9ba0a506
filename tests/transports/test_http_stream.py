"""An answer that is read piece by piece: its beginning, its pieces, its end, and what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.leaks import Leaks
from tradesession.errors import ConfigurationError, LinkLost, NotSent, OutcomeUnknown, Unreachable
from tradesession.protocol.http import HttpRequest
from tradesession.timing import AdjustableClock
from tradesession.transports.http import HttpDriver, HttpStream

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Name: value\r\n\r\n"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that does as the script says after each request; its address, and the requests."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                heads.append(head)
                await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def to_the_end(stream: HttpStream) -> None:
    while await stream.read():
        pass


def get(base: str) -> HttpRequest:
    return HttpRequest(method="GET", url=f"{base}/stream")


async def test_pieces_come_as_they_are_sent_and_nothing_behind_the_end(leaks: Leaks) -> None:
    more = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(b"one"))
        await more.wait()
        writer.write(chunk(b"two") + chunk(b""))

    async with serving(script) as (base, _), HttpDriver([base]) as driver:
        stream = await driver.open(get(base))
        assert (stream.status, stream.headers["x-name"]) == (200, "value")
        assert await stream.read() == b"one"
        more.set()
        assert await stream.read() == b"two"
        assert await stream.read() == b""
        stream.close()


async def test_the_time_limit_is_for_the_beginning_alone() -> None:
    clock = AdjustableClock()
    more = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        await more.wait()
        writer.write(chunk(b"late"))

    async with serving(script) as (base, _), HttpDriver([base], clock=clock, timeout=5) as driver:
        stream = await driver.open(get(base))
        reading = asyncio.ensure_future(stream.read())
        await clock.advance(hours=1)
        assert not reading.done()
        more.set()
        assert await reading == b"late"
        stream.close()


async def test_a_beginning_that_does_not_come_leaves_the_outcome_unknown() -> None:
    clock = AdjustableClock()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client hangs up

    async with serving(script) as (base, heads), HttpDriver([base], clock=clock, timeout=5) as driver:
        opening = asyncio.ensure_future(driver.open(get(base)))
        async with asyncio.timeout(60):
            while not heads:
                await asyncio.sleep(0.001)
        await clock.advance(seconds=5)
        with pytest.raises(OutcomeUnknown, match="no answer within 5 s"):
            await opening


async def test_a_connection_that_breaks_is_a_loss_that_shows_no_url() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(b"one"))
        await writer.drain()
        writer.transport.abort()

    async with serving(script) as (base, _), HttpDriver([base]) as driver:
        stream = await driver.open(get(base))
        with pytest.raises(LinkLost, match="the connection broke") as caught:
            await to_the_end(stream)
        assert base not in str(caught.value)
        assert caught.value.__context__ is None
        stream.close()


async def test_closing_ends_it_at_once_and_twice_does_no_harm(leaks: Leaks) -> None:
    ended = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(b"one"))
        try:
            await reader.read()
        finally:
            ended.set()

    async with serving(script) as (base, _), HttpDriver([base]) as driver:
        stream = await driver.open(get(base))
        stream.close()
        stream.close()
        async with asyncio.timeout(60):
            await ended.wait()


async def test_it_goes_to_known_origins_and_through_open_drivers_only() -> None:
    driver = HttpDriver(["http://127.0.0.1:1"])
    with pytest.raises(ConfigurationError, match="this driver talks to"):
        await driver.open(get("http://127.0.0.1:2"))
    with pytest.raises(Unreachable):
        await driver.open(get("http://127.0.0.1:1"))
    await driver.aclose()
    with pytest.raises(NotSent, match="is closed"):
        await driver.open(get("http://127.0.0.1:1"))


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_connections_are_used_again_where_that_is_wanted(keep_alive: bool) -> None:
    peers: set[object] = set()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.add(writer.get_extra_info("peername"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with serving(script) as (base, _), HttpDriver([base], keep_alive=keep_alive) as driver:
        for _ in range(3):
            assert (await driver.send(get(base))).body == b"ok"
    assert len(peers) == (1 if keep_alive else 3)
