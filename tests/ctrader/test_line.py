"""The line: whom it connects to, and a server that speaks before it is spoken to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.ctrader.scripted import envelope
from tradesession import ctrader
from tradesession.ctrader import messages as pb
from tradesession.errors import ConfigurationError, LinkLost, NotSent
from tradesession.session.manager import SessionManager

pytestmark = pytest.mark.usefixtures("leaks")


@asynccontextmanager
async def serving(speak: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[int]:
    """A server that says what it has to say at once, and reads until the client leaves; the port."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        speak(writer)
        await reader.read(-1)
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def opened(**options: Any) -> ctrader.Session:
    config = ctrader.Config(**({"client_id": "app", "client_secret": "secret", "access_token": "token"} | options))
    async with SessionManager() as manager:
        return await manager.open(config)


@pytest.mark.parametrize("glued", [False, True])
async def test_a_server_that_ends_the_connection_before_it_is_asked_anything_is_heard(glued: bool) -> None:
    def speak(writer: asyncio.StreamWriter) -> None:
        frame = envelope(pb.ProtoOAClientDisconnectEvent(reason="maintenance"))
        hello = envelope(pb.ProtoHeartbeatEvent())
        pieces = [len(one).to_bytes(4) + one for one in (hello, frame)]
        for piece in [b"".join(pieces)] if glued else pieces:
            writer.write(piece)

    async with serving(speak) as port:
        with pytest.raises((LinkLost, NotSent), match="the server disconnects this client: maintenance"):
            await opened(host="127.0.0.1", port=port, plaintext=True)


async def test_plaintext_is_decided_by_whom_the_websocket_goes_to() -> None:
    async with serving(lambda writer: writer.write(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")) as port:
        with pytest.raises(NotSent, match="HTTP status 404"):
            await opened(transport="websocket", websocket_url=f"ws://127.0.0.1:{port}/", plaintext=True)
    with pytest.raises(ConfigurationError, match=r"plaintext to '192\.0\.2\.1' is refused"):
        await opened(transport="websocket", websocket_url="ws://192.0.2.1/", plaintext=True, host="127.0.0.1")


@pytest.mark.parametrize("url", ["wss://[::1", "nonsense", "wss://"])
async def test_what_is_no_address_is_told_when_it_is_used(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is no WebSocket address"):
        await opened(transport="websocket", websocket_url=url)


async def test_plaintext_to_a_public_host_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigurationError, match=r"plaintext to 'demo\.ctraderapi\.com' is refused"):
        await opened(plaintext=True)
