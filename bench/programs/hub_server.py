"""The SignalR server that all hub clients are measured against: JSON protocol, WebSockets, and one method, `Burst(count)`, whose items it
sends as fast as they are taken.

It speaks what a client needs to get there and no more: negotiation, handshake, one stream at a time. As ASP.NET Core does, it sends each
record in a message of its own. Plain sockets, one thread for each connection.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from base64 import b64encode
from contextlib import suppress
from functools import cache
from hashlib import sha1
from typing import Any, Final

from bench.lines import answer, read_command

SEPARATOR: Final = b"\x1e"
BLOCK: Final = 1_000
"""Items that are encoded beforehand and sent again and again."""
PING_INTERVAL: Final = 5.0
"""Seconds."""

_ACCEPTING: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_NEGOTIATED: Final = json.dumps(
    {
        "negotiateVersion": 1,
        "connectionId": "bench",
        "connectionToken": "bench",
        "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}],
    }
).encode()


def message(payload: bytes) -> bytes:
    """A WebSocket text message of a server."""
    size = len(payload)
    head = bytes([0x81, size]) if size < 126 else bytes([0x81, 126]) + size.to_bytes(2, "big")
    return head + payload


def record(**members: Any) -> bytes:
    """A hub record in a message of its own."""
    return message(json.dumps(members, separators=(",", ":")).encode() + SEPARATOR)


@cache
def items(invocation_id: str) -> list[bytes]:
    """A block of stream items in the shape of a CPlugin tick."""
    return [
        record(
            type=2,
            invocationId=invocation_id,
            item={
                "symbol": "EURUSD",
                "bid": 1.1 + number / 1e5,
                "ask": 1.1 + (number + 1) / 1e5,
                "lastTime": f"2026-01-01T00:{number:05}Z",
            },
        )
        for number in range(BLOCK)
    ]


class Connection:
    """One socket, of a negotiation or of a hub."""

    def __init__(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._rest = b""
        self._sending = threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while self._answer_http():
                pass
            threading.Thread(target=self._beat, daemon=True).start()
            while True:
                for text in self._message().split(SEPARATOR)[:-1]:
                    self._obey(json.loads(text))
        except (EOFError, OSError):
            self._client.close()

    def _answer_http(self) -> bool:
        """Answer a request; whether another one follows, as it was no upgrade."""
        while b"\r\n\r\n" not in self._rest:
            self._read()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
        self._take(int(headers.get(b"content-length", 0)))
        key = headers.get(b"sec-websocket-key")
        if key is None:
            self._client.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_NEGOTIATED), _NEGOTIATED)
            )
            return True
        accept = b64encode(sha1(key + _ACCEPTING).digest())
        self._client.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        return False

    def _beat(self) -> None:
        """Ping as ASP.NET Core does, else clients take the connection for dead while others have their turn."""
        with suppress(OSError):
            while True:
                time.sleep(PING_INTERVAL)
                self._send(record(type=6))

    def _send(self, data: bytes) -> None:
        with self._sending:
            self._client.sendall(data)

    def _message(self) -> bytes:
        """The content of the next message. Pings are answered; neither they nor pongs have any that matters."""
        first, second = self._take(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        mask = self._take(4)
        payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(self._take(size)))
        if first & 0x0F == 8:
            raise EOFError
        if first & 0x0F == 9:
            self._send(bytes([0x8A, len(payload)]) + payload)
        return payload if first & 0x0F < 8 else b""

    def _obey(self, asked: dict[str, Any]) -> None:
        if "protocol" in asked:
            self._send(message(b"{}" + SEPARATOR))
        elif asked.get("type") == 4:
            count, block = int(asked["arguments"][0]), items(asked["invocationId"])
            for start in range(0, count, BLOCK):
                self._send(b"".join(block[: count - start]))
            self._send(record(type=3, invocationId=asked["invocationId"]))

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._read()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _read(self) -> None:
        data = self._client.recv(1 << 16)
        if not data:
            raise EOFError
        self._rest += data


def main() -> None:
    """Serve until stdin ends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            Connection(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    answer(port=listener.getsockname()[1])
    while read_command() is not None:
        answer()


if __name__ == "__main__":
    main()
