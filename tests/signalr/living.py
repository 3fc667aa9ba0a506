"""A hub that lives by itself: it answers calls, feeds numbered ticks, and keeps connections over broken sockets where it is stateful.

Item n of the feed is number n on every connection, so what was lost, doubled or misplaced shows at once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.signalr.fake import FakeHub, Record, Served, Source, wire
from tradesession import signalr
from tradesession.clock import Clock
from tradesession.hooks import Record as HookRecord
from tradesession.tasks import TaskOwner

COUNTED = {1, 2, 3, 4, 5}
KNOWN = {1, 2, 3, 4, 5, 6, 7}
"""Types that every server knows; 8 and 9 only where stateful reconnect was agreed."""


class Connection:
    """The server's side of one hub connection, over all of its sockets."""

    def __init__(self, hub: LivingHub, served: Served, *, stateful: bool) -> None:
        self.hub = hub
        self.served: Served | None = served
        self.is_stateful = stateful
        self.sockets = 1
        self.groups: set[str] = set()
        self.streams: dict[str, str] = {}
        self.sums: dict[str, tuple[str, int]] = {}
        self.held: set[str] = set()
        self.calls: list[str] = []
        """Targets of the calls that were executed, in order."""
        self.kinds: set[int] = set()
        """Types of the records that came."""
        self.heard_at = asyncio.get_running_loop().time()
        self._sent = 0
        self._kept: list[Record] = []  # counted ones that were not acknowledged
        self._expected = 1
        self._latest = 0
        self._out: asyncio.Queue[str] = asyncio.Queue()

    # --- out ----------------------------------------------------------------------------------------------------------------------

    def put(self, *records: Record) -> None:
        """Send, or keep it for the next socket."""
        for record in records:
            if self.is_stateful and record.get("type") in COUNTED:
                self._sent += 1
                self._kept.append(record)
        if self.served is not None:
            self._out.put_nowait(wire(*records))

    def finish(self, record: Record, **more: Any) -> None:
        if "invocationId" in record:
            self.put({"type": 3, "invocationId": record["invocationId"], **more})

    def tick(self, number: int) -> None:
        records: list[Record] = [
            {"type": 1, "target": "OnTick", "arguments": [{"symbol": s, "number": number}]} for s in sorted(self.groups)
        ]
        records += [{"type": 2, "invocationId": key, "item": {"symbol": s, "number": number}} for key, s in self.streams.items()]
        if records:
            self.put(*records)

    def again(self, served: Served) -> None:
        """Another socket of this connection."""
        self.sockets += 1
        self.served = served
        self._out = asyncio.Queue()
        self._out.put_nowait(wire({"type": 9, "sequenceId": self._sent - len(self._kept) + 1}, *self._kept))

    async def pump(self, served: Served) -> None:
        """Everything that is to be sent over this socket, in order."""
        out = self._out
        try:
            while True:
                await served.socket.send_str(await out.get())
        except (ConnectionError, RuntimeError):
            pass  # the client has gone

    async def ack(self, served: Served) -> None:
        """What has come, once a second, where there is news."""
        last = 0
        while self.is_stateful and self.served is served:
            await asyncio.sleep(1)
            if self._latest > last and not self.hub.is_deaf:
                last = self._latest
                self.put({"type": 8, "sequenceId": last})

    # --- in -----------------------------------------------------------------------------------------------------------------------

    def take(self, record: Record) -> None:
        kind = record.get("type", 0)
        self.heard_at = asyncio.get_running_loop().time()
        self.kinds.add(kind)
        if self.hub.is_deaf:
            return
        if kind == 9:
            assert record["sequenceId"] <= self._expected
            self._expected = record["sequenceId"]
        elif kind == 8:
            del self._kept[: max(0, record["sequenceId"] - (self._sent - len(self._kept)))]
        elif kind in COUNTED:
            number, self._expected = self._expected, self._expected + 1
            if not self.is_stateful or number > self._latest:
                self._latest = number
                self._serve(record)

    def _serve(self, record: Record) -> None:
        kind, key = record["type"], record.get("invocationId", "")
        if kind in (1, 4):
            self.calls.append(record["target"])
            getattr(self, f"on_{record['target'].lower()}", self.on_nothing)(record, *record["arguments"])
        elif kind == 2:
            call, total = self.sums[key]
            self.sums[key] = call, total + record["item"]
        elif kind == 3 and key in self.sums:
            call, total = self.sums.pop(key)
            self.put({"type": 3, "invocationId": call, "result": total})
        elif kind == 3:
            self.hub.answered.append(record)
        elif self.streams.pop(key, None) is not None:
            self.put({"type": 3, "invocationId": key})
        elif key in self.held:
            self.held.discard(key)
            self.put({"type": 3, "invocationId": key, "result": None})

    # --- methods ------------------------------------------------------------------------------------------------------------------

    def on_echo(self, record: Record, value: Any) -> None:
        self.finish(record, result=value)

    def on_hold(self, record: Record) -> None:
        """Answered when it is cancelled."""
        self.held.add(record.get("invocationId", ""))

    def on_subscribetoticks(self, record: Record, symbol: str) -> None:
        if symbol in self.hub.unknown:
            self.finish(record, error=f"HubException: unknown symbol {symbol}")
        else:
            self.groups.add(symbol)
            self.finish(record, result=None)

    def on_unsubscribefromticks(self, record: Record, symbol: str) -> None:
        self.groups.discard(symbol)
        self.finish(record, result=None)

    def on_streamticks(self, record: Record, symbol: str) -> None:
        if self.hub.delay:
            asyncio.get_running_loop().call_later(self.hub.delay, self.streams.__setitem__, record["invocationId"], symbol)
        else:
            self.streams[record["invocationId"]] = symbol

    def on_count(self, record: Record, upto: int) -> None:
        self.put(*({"type": 2, "invocationId": record["invocationId"], "item": item} for item in range(upto)))
        self.finish(record)

    def on_sum(self, record: Record) -> None:
        self.sums[record["streamIds"][0]] = record["invocationId"], 0

    def on_nothing(self, record: Record, *arguments: Any) -> None:
        self.finish(record, error="HubException: Method does not exist.")


class LivingHub(FakeHub):
    """See the module. `interval` is the seconds between two ticks; `keepalive` those between two pings."""

    def __init__(
        self,
        *,
        stateful: bool = False,
        interval: float = 0.1,
        keepalive: float = 15.0,
        keeps: float = 15.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(stateful=stateful, tls=tls)
        self.number = 0
        self.connections: list[Connection] = []
        """That are served, or wait for another socket."""
        self.ever: list[Connection] = []
        self.answered: list[Record] = []
        self.unknown: set[str] = set()
        """Symbols that cannot be subscribed to."""
        self.delay = 0.0
        """Seconds until a stream begins."""
        self.is_deaf = False
        """Nothing that comes is looked at."""
        self.is_dumb = False
        """Nothing is sent but acknowledgements."""
        self._interval = interval
        self._keepalive = keepalive
        self._keeps = keeps
        self._by_id: dict[str, Connection] = {}
        self._used: set[str] = {""}
        self._tasks = TaskOwner()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._tasks.spawn(self._feed(), name="feed")
        self._tasks.spawn(self._ping(), name="pings")
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self._tasks.aclose()
        await super().__aexit__(exc_type, exc, traceback)

    def cut(self) -> None:
        """Reset every socket."""
        for served in self.sockets:
            served.cut()

    def forget(self) -> None:
        """Know no connection any more."""
        self._by_id.clear()
        self.cut()

    async def _feed(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            self.number += 1
            for connection in self.connections:
                if not self.is_dumb:
                    connection.tick(self.number)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self._keepalive)
            for connection in self.connections:
                if connection.served is not None and asyncio.get_running_loop().time() - connection.heard_at > 2 * self._keepalive + 1:
                    connection.served.cut()
                elif connection.served is not None and not self.is_dumb:
                    connection.put({"type": 6})

    async def serve(self, served: Served) -> None:
        """See FakeHub."""
        records = served.records()
        connection = self._by_id.get(served.query.get("id", ""))
        if connection is None:
            hello = await anext(records, None)
            await self.hold("handshake")
            if hello is None:
                return
            connection = self._begin(served, hello)
        else:
            connection.again(served)
        helpers = [self._tasks.spawn(connection.pump(served), name="pump"), self._tasks.spawn(connection.ack(served), name="acks")]
        async for record in records:
            if record.get("type") == 7:
                self._end(connection)
                break
            connection.take(record)
        for helper in helpers:
            helper.cancel()
        if connection.served is served:
            connection.served = None
            asyncio.get_running_loop().call_later(
                self._keeps if connection.is_stateful else 0.0, self._give_up, connection, connection.sockets
            )
        await served.close()

    def _begin(self, served: Served, hello: Record) -> Connection:
        connection = Connection(self, served, stateful=self.stateful and hello["version"] == 2)
        self.ever.append(connection)
        self.connections.append(connection)
        if connection.is_stateful:
            self._by_id[served.query["id"]] = connection
        connection.put({}, {"type": 1, "target": "OnConnectionStatus", "arguments": [{"connected": True}]})
        return connection

    def _give_up(self, connection: Connection, sockets: int) -> None:
        if connection.served is None and connection.sockets == sockets:
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
        self._by_id = {key: one for key, one in self._by_id.items() if one is not connection}

    def _refusal(self, request: web.Request) -> web.Response | None:
        refusal = super()._refusal(request)
        key = request.query.get("id", "")
        if refusal is None and request.method == "GET" and key in self._used and key not in self._by_id:
            return web.Response(status=404)  # no connection with that id, any more
        self._used.add(key)
        return refusal


@asynccontextmanager
async def at(
    hub: FakeHub, *, token: Any = None, clock: Clock | None = None, records: list[HookRecord] | None = None, **options: Any
) -> AsyncIterator[signalr.Hub]:
    """A READY session with the hub."""
    config = signalr.Config(hub.url, clock=clock, **options)
    async with signalr.connect(
        config, token=token if token is not None else Source(), hooks=[(records if records is not None else []).append]
    ) as session:
        yield session
