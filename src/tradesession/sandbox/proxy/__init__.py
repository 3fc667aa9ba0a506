"""FaultProxy: a TCP proxy on loopback that plays a bad network between any client and any server.

    async with FaultProxy("127.0.0.1", sandbox.ctrader.demo.port, clock=sandbox.clock) as proxy:
        config = sandbox.ctrader.config(**proxy.endpoint())
        proxy.faults.latency = 0.2
        ...
        proxy.cut(to_client=500)

It passes bytes and knows nothing of what they mean, so TLS goes through untouched. Time comes from the clock it is given. Always holds:
only loopback is listened on; without a fault everything passes unchanged and in order, ends of streams and resets included; when the
block is left no task and no socket remains.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from tradesession.clock import Clock
from tradesession.errors import ConfigurationError
from tradesession.sandbox.ctrader.server import is_loopback
from tradesession.sandbox.proxy.connection import ProxiedConnection
from tradesession.sandbox.proxy.pipe import GARBAGE_SIZE
from tradesession.sandbox.proxy.switches import Direction, Ending, ProxySwitches, Side, Switches
from tradesession.tasks import TaskOwner
from tradesession.timing import SYSTEM_CLOCK

__all__ = ["Direction", "Ending", "FaultProxy", "ProxiedConnection", "ProxyStatistics", "ProxySwitches", "Side", "Switches"]

_BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class ProxyStatistics:
    """Counts since the proxy began; bytes are those that were passed on."""

    connections: int
    """Accepted."""
    open: int
    """Accepted and not over."""
    unreachable: int
    """Accepted, and the server could not be connected to."""
    bytes_to_client: int
    bytes_to_server: int


class FaultProxy:
    """See the module. `host` and `port` say where the server is; `seed` makes jitter and garbage repeatable.

    `faults` are switches for all connections, also for those that are open; `connections[…].faults` are those of one. `once` changes the
    switches for the next connection alone. `cut` and `garbage` happen to the connections that are open; each connection has them too.
    """

    def __init__(self, host: str, port: int, *, clock: Clock = SYSTEM_CLOCK, seed: int = 1, listen_on: str = "127.0.0.1") -> None:
        if not is_loopback(listen_on):
            raise ConfigurationError(f"listen_on={listen_on!r} is not a loopback address: a proxy serves this machine only, use 127.0.0.1")
        self.faults = ProxySwitches()
        """What is wrong with all connections."""
        self.host = listen_on
        """Where clients connect to."""
        self.port = 0
        """Where clients connect to; a free port, the same over a time of refused connections."""
        self._target = host, port
        self._clock = clock
        self._seed = seed
        self._listening: socket.socket | None = None
        self._tasks = TaskOwner()
        self._open: dict[ProxiedConnection, None] = {}
        self._next: deque[dict[str, Any]] = deque()
        self._count = 0
        self._unreachable = 0
        self._past_to_client = 0
        self._past_to_server = 0
        self._is_running = False
        self.faults.watch(self._switched)

    # --- where it is -------------------------------------------------------------------------------------------------------------

    @property
    def address(self) -> tuple[str, int]:
        """`host` and `port`."""
        return self.host, self.port

    def endpoint(self) -> dict[str, Any]:
        """The options of a cTrader Config that lead it through here, by TCP or WebSocket: `sandbox.ctrader.config(**proxy.endpoint())`."""
        return {"host": self.host, "port": self.port, "websocket_url": ""}

    @property
    def connections(self) -> list[ProxiedConnection]:
        """What is open now, oldest first."""
        return list(self._open)

    @property
    def statistics(self) -> ProxyStatistics:
        """What went through so far."""
        return ProxyStatistics(
            self._count,
            len(self._open),
            self._unreachable,
            self._past_to_client + sum(one.bytes_to_client for one in self._open),
            self._past_to_server + sum(one.bytes_to_server for one in self._open),
        )

    # --- what can be done to it ------------------------------------------------------------------------------------------------------

    def once(self, **switches: Any) -> None:
        """Change the switches for the next connection alone; called again, for the one after it. Refusing is for all or none."""
        ProxySwitches().update(**switches)  # raises for what is no switch
        if {"refuse", "unaccepted"} & set(switches):
            raise ConfigurationError("refuse and unaccepted are no switches of one connection; set them in `faults`")
        self._next.append(switches)

    def cut(
        self,
        *,
        after: float = 0.0,
        to_client: int | None = None,
        to_server: int | None = None,
        ending: Ending = "reset",
        side: Side | None = None,
    ) -> int:
        """End every open connection, see `ProxiedConnection.cut`; how many there were."""
        hit = self.connections
        for connection in hit:
            connection.cut(after=after, to_client=to_client, to_server=to_server, ending=ending, side=side)
        return len(hit)

    def garbage(self, data: bytes | int = GARBAGE_SIZE, *, direction: Direction = "to_client", after_bytes: int = 0) -> int:
        """Put bytes into every open connection, see `ProxiedConnection.garbage`; how many there were."""
        hit = self.connections
        for connection in hit:
            connection.garbage(data, direction=direction, after_bytes=after_bytes)
        return len(hit)

    # --- life ------------------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._is_running = True
        self._listen()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self._is_running = False
        self._shut()
        await asyncio.sleep(0)  # who was accepted just now is taken up first: a task that never began could not close its socket
        await self._tasks.aclose()
        for connection in self.connections:
            connection.cut()
        for connection in self.connections:
            await connection.over.wait()

    # --- listening -------------------------------------------------------------------------------------------------------------------

    def _switched(self, name: str) -> None:
        if name in ("refuse", "unaccepted"):
            self._listen()
            return
        for connection in self._open:
            if hasattr(connection.faults, name):
                setattr(connection.faults, name, getattr(self.faults, name))

    def _listen(self) -> None:
        """Listen and accept, or do not, as the switches say."""
        if not self._is_running:
            return
        if self.faults.refuse:
            self._shut()
            return
        if self._listening is None:
            self._listening = self._opened()
            self.port = self._listening.getsockname()[1]
        self._listening.listen(0 if self.faults.unaccepted else _BACKLOG)
        loop = asyncio.get_running_loop()
        if self.faults.unaccepted:
            loop.remove_reader(self._listening)
        else:
            loop.add_reader(self._listening, self._accept)

    def _opened(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # With the protocol named, asyncio turns Nagle's algorithm off on what is accepted.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self.host, self.port))
            listening.setblocking(False)
        except OSError as error:
            listening.close()
            raise ConfigurationError(
                f"the proxy cannot listen on {self.host}:{self.port} ({error.strerror}); choose another address"
            ) from error
        return listening

    def _shut(self) -> None:
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    def _accept(self) -> None:
        while self._listening is not None:
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            accepted.setblocking(False)
            self._count += 1
            switches = ProxySwitches()
            switches.update(**self.faults.values() | (self._next.popleft() if self._next else {}))
            connection = ProxiedConnection(self._count, switches, self._clock, self._seed, self._ended)
            self._open[connection] = None
            self._tasks.spawn(self._serve(connection, accepted), name=f"fault proxy connection {self._count}")

    async def _serve(self, connection: ProxiedConnection, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection.client, accepted)
        except OSError:
            accepted.close()
            connection.without_client()
            return
        except asyncio.CancelledError:  # asyncio closes the socket, of which the connection hears
            connection.without_server()
            raise
        if connection.is_blackhole:
            return
        try:
            await loop.create_connection(lambda: connection.server, *self._target)
        except OSError:
            self._unreachable += 1
            connection.without_server()
        except asyncio.CancelledError:
            connection.without_server()
            raise

    def _ended(self, connection: ProxiedConnection) -> None:
        del self._open[connection]
        self._past_to_client += connection.bytes_to_client
        self._past_to_server += connection.bytes_to_server
