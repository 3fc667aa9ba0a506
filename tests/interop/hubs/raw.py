"""A hub client that does as it is told: it negotiates, opens a socket and sends texts, right or wrong. Shares no code with ours."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from tests.interop.hubs.servers import HubServer

PATIENCE: Final = 60.0
"""Seconds for anything that a server is to do."""

HANDSHAKE: Final = {"protocol": "json", "version": 1}

Record = dict[str, Any]

FAILED: Final = "Failed to invoke '{}' due to an error on the server."
UNEXPECTED: Final = "An unexpected error occurred invoking '{}' on the server."
BROKEN: Final[Record] = {"type": 7, "error": "Connection closed with an error.", "allowReconnect": True}
"""What ends a connection of which a record cannot be read."""


def call(target: str, *arguments: object, invocation_id: str = "1", kind: int = 1, **more: object) -> Record:
    return {"type": kind, "invocationId": invocation_id, "target": target, "arguments": list(arguments), **more}


def stream(target: str, *arguments: object, invocation_id: str = "1", **more: object) -> Record:
    return call(target, *arguments, invocation_id=invocation_id, kind=4, **more)


def item(value: object, invocation_id: str = "1") -> Record:
    return {"type": 2, "invocationId": invocation_id, "item": value}


def done(invocation_id: str = "1", **more: object) -> Record:
    return {"type": 3, "invocationId": invocation_id, **more}


def text_of(*records: Record | str) -> str:
    """Records as they travel; a string is taken as it is."""
    return "".join((record if isinstance(record, str) else json.dumps(record)) + "\x1e" for record in records)


class RawSocket:
    """An open WebSocket to a hub."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.messages: list[str] = []
        """Everything that came, message by message."""
        self._records: list[Record] = []

    async def send(self, *records: Record | str) -> None:
        """In one message."""
        await self.socket.send_str(text_of(*records))

    async def next(self) -> Record | None:
        """The next record; None when the socket is closed."""
        while not self._records:
            async with asyncio.timeout(PATIENCE):
                message = await self.socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return None
            self.messages.append(message.data)
            self._records += [json.loads(record) for record in message.data.split("\x1e")[:-1]]
        return self._records.pop(0)

    async def next_of(self, *types: int) -> Record:
        """The next record of one of these types; others are passed by."""
        while True:
            record = await self.next()
            assert record is not None, f"closed with {self.socket.close_code}, and no record of type {types} came"
            if record.get("type") in types:
                return record

    async def answer(self, record: Record) -> Record:
        """Send a call, and get its completion; pushes are passed by."""
        await self.send(record)
        return await self.next_of(3)

    async def rest(self) -> list[Record]:
        """Everything until the socket is closed."""
        records = []
        while (record := await self.next()) is not None:
            records.append(record)
        return records


class RawHub:
    """Talks to one server. `bearer` is shown in the header unless told otherwise."""

    def __init__(self, server: HubServer, bearer: str) -> None:
        self.server = server
        self.bearer = bearer
        self._session = aiohttp.ClientSession()
        self._sockets: list[aiohttp.ClientWebSocketResponse] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        for socket in self._sockets:
            await socket.close()
        await self._session.close()

    async def request(self, method: str, url: str, *, bearer: str | None = "its own") -> tuple[int, dict[str, str], str]:
        """Status, headers, body."""
        async with self._session.request(method, url, headers=self._headers(bearer), allow_redirects=False) as reply:
            return reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.text()

    async def negotiate(self, query: str = "negotiateVersion=1", *, hub: str = "mt4_v2", prefix: str = "") -> Record:
        """The answer to a negotiation that succeeds."""
        url, _, own = self.server.hub(hub, prefix=prefix).partition("?")
        query = "&".join(part for part in (own, query) if part)
        status, _, body = await self.request("POST", f"{url}/negotiate?{query}")
        assert status == 200, (status, body)
        answer: Record = json.loads(body)
        return answer

    async def open(self, query: str = "", *, hub: str = "mt4_v2", url: str = "", bearer: str | None = "its own") -> RawSocket:
        """A socket, by default without negotiation. Raises aiohttp.WSServerHandshakeError."""
        url = url or self.server.hub(hub)
        url += f"{'&' if '?' in url else '?'}{query}" if query else ""
        socket = await self._session.ws_connect(URL(url, encoded=True), headers=self._headers(bearer), autoping=True, max_msg_size=0)
        self._sockets.append(socket)
        return RawSocket(socket)

    async def shaken(self, query: str = "", *, hub: str = "mt4_v2", version: int = 1) -> RawSocket:
        """A socket with its handshake done, and the greeting of the hub passed by."""
        raw = await self.open(query, hub=hub)
        await raw.send({**HANDSHAKE, "version": version})
        assert await raw.next() == {}
        if hub != "mt4_v1":
            assert (await raw.next_of(1))["target"] == "OnConnectionStatus"
        return raw

    async def stateful(self) -> tuple[str, RawSocket]:
        """A connection with stateful reconnect: the query that names it, and its socket."""
        query = f"id={(await self.negotiate('negotiateVersion=1&useStatefulReconnect=true'))['connectionToken']}"
        return query, await self.shaken(query, version=2)

    async def refusal(self, query: str = "", *, bearer: str | None = "its own") -> tuple[int, str | None]:
        """The status, and the challenge, that the opening of a socket is refused with."""
        try:
            await self.open(query, bearer=bearer)
        except aiohttp.WSServerHandshakeError as error:
            return error.status, error.headers["WWW-Authenticate"] if error.headers and error.status == 401 else None
        return 101, None

    def _headers(self, bearer: str | None) -> dict[str, str]:
        if bearer is None:
            return {}
        return {"Authorization": f"Bearer {self.bearer if bearer == 'its own' else bearer}"}
