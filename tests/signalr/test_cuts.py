"""The way in, cut at every byte: whatever came, the opening ends at once, with an error of ours, and leaves nothing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct

import pytest

from tests.leaks import Leaks
from tests.signalr.fake import Source, wire
from tradesession import signalr
from tradesession.errors import Error

NEGOTIATION = json.dumps(
    {
        "negotiateVersion": 1,
        "connectionId": "p",
        "connectionToken": "s",
        "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text"]}],
    }
).encode()
GREETING = wire({}, {"type": 1, "target": "OnConnectionStatus", "arguments": [{"connected": True}]}).encode()
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def negotiation() -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(NEGOTIATION)
    return head + NEGOTIATION


def opening(request: bytes) -> bytes:
    key = next(line.partition(b":")[2].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept


class CutServer:
    """Answers as a hub would, up to so many bytes in all; then it ends the connection, softly or hard."""

    def __init__(self, allowed: int, *, hard: bool) -> None:
        self.left = allowed
        self._hard = hard

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            if request.startswith(b"POST"):
                self.give(writer, negotiation())
            else:
                self.give(writer, opening(request))
                if self.left > 0:
                    await reader.read(1)  # of the handshake
                    self.give(writer, b"\x81" + struct.pack("!B", len(GREETING)) + GREETING)
            if self.left > 0:
                await reader.read(-1)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client was faster
        finally:
            if self._hard:
                writer.transport.abort()
            writer.close()

    def give(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data[: max(0, self.left)])
        self.left -= len(data)


WHOLE = len(negotiation()) + len(opening(b"Sec-WebSocket-Key: x")) + 2 + len(GREETING)


@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
async def test_a_cut_at_every_byte(hard: bool, leaks: Leaks) -> None:
    assert len(GREETING) < 126
    for allowed in range(WHOLE):
        script = CutServer(allowed, hard=hard)
        server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
        async with server:
            config = signalr.Config(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hub")
            caught: Exception | None = None
            async with asyncio.timeout(60):
                try:
                    async with signalr.connect(config, token=Source()) as hub:
                        assert hub.connection_id == "p"
                except Exception as error:
                    caught = error
        # A frame that is torn is not delivered, so nothing of the greeting counts before all of it has come.
        assert isinstance(caught, Error), (allowed, caught)
        assert "bearer-number" not in str(caught)
    await leaks.check()


async def test_whole_it_is_a_hub(leaks: Leaks) -> None:
    script = CutServer(WHOLE + 1, hard=False)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    async with server:
        config = signalr.Config(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hub")
        async with signalr.connect(config, token=Source()) as hub, hub.on("OnConnectionStatus") as statuses:
            assert await anext(statuses) == {"connected": True}
    await leaks.check()
