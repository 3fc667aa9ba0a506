"""A token endpoint in a process of its own: cTrader's wire, refresh tokens that work once, and a count of everything.

Run as a module: it prints its port and serves until its standard input ends. `/token` is the endpoint (GET with a query); the rest is for
the tests: `/consent` makes a pair, `/hold` makes exchanges wait with their answer until `/release`, `/stats` tells what happened.
"""

import asyncio
import json
import sys
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl, urlsplit

LIFETIME = 2_628_000


class Endpoint:
    def __init__(self) -> None:
        self.number = 0
        self.current: dict[str, str] = {}  # refresh token to access token, for every grant
        self.shown: Counter[str] = Counter()
        self.exchanged: Counter[str] = Counter()
        self.successor: dict[str, str] = {}
        self.open = asyncio.Event()
        self.open.set()

    def issue(self) -> dict[str, Any]:
        self.number += 1
        access, refresh = f"access-{self.number:06d}", f"refresh-{self.number:06d}"
        self.current[refresh] = access
        return {
            "accessToken": access,
            "tokenType": "bearer",
            "expiresIn": LIFETIME,
            "refreshToken": refresh,
            "errorCode": None,
            "description": None,
        }

    async def answer(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        if path == "/token":
            refresh = query.get("refresh_token", "")
            self.shown[refresh] += 1
            if self.current.pop(refresh, None) is None:
                return {"errorCode": "ACCESS_DENIED", "description": "Access denied. Make sure the credentials are valid."}
            self.exchanged[refresh] += 1
            pair = self.issue()
            self.successor[refresh] = pair["refreshToken"]
            await self.open.wait()
            return pair
        if path == "/consent":
            return self.issue()
        if path == "/hold":
            self.open.clear()
        elif path == "/release":
            self.open.set()
        return {"current": self.current, "shown": self.shown, "exchanged": self.exchanged, "successor": self.successor}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            parts = urlsplit(head.split(b" ", 2)[1].decode())
            body = json.dumps(await self.answer(parts.path, dict(parse_qsl(parts.query)))).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client was killed
        finally:
            writer.close()


async def main() -> None:
    endpoint = Endpoint()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
