"""One proxied connection: two sockets and the two pipes between them, and the ways to break it.

No tasks of its own. Always holds: what happens to one connection does not touch another; when both sockets are closed it is over, and
its owner has been told once.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Final, cast

from tradesession.clock import Clock, TimerHandle
from tradesession.sandbox.proxy.pipe import GARBAGE_SIZE, Pipe
from tradesession.sandbox.proxy.switches import Direction, Ending, ProxySwitches, Side, Switches

_NO_LINGER: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that makes the close a reset."""


class ProxiedConnection:
    """A client's connection through a proxy. Made by the proxy; look at it, and break it, through `proxy.connections`."""

    def __init__(self, number: int, switches: ProxySwitches, clock: Clock, seed: int, on_end: Callable[[ProxiedConnection], None]) -> None:
        self.number = number
        """From 1, in the order in which they were accepted."""
        self.faults = Switches()
        """What is wrong with this connection alone; a switch of the proxy that is set later overrules it."""
        self.faults.update(**{name: value for name, value in switches.values().items() if name in self.faults.values()})
        self.over = asyncio.Event()
        """Set when both its sockets are closed."""
        self.is_blackhole = switches.blackhole
        self.client = Peer(self)
        self.server = Peer(self)
        self._initial = switches
        self._clock = clock
        self._on_end = on_end
        self._chance = random.Random(f"{seed}:{number}:garbage")
        self._has_no_server = switches.blackhole
        self._lost_something = False
        self._is_cut = False
        self._timers: list[TimerHandle] = []
        self._endings: dict[Direction, tuple[Ending, Side | None]] = {}
        self._to_client = self._pipe("to_client", seed)
        self._to_server = self._pipe("to_server", seed)
        self.faults.watch(self._apply)

    def _pipe(self, direction: Direction, seed: int) -> Pipe:
        chance = random.Random(f"{seed}:{self.number}:{direction}")
        return Pipe(direction, self.faults, self._clock, chance, cut=partial(self._cut_by, direction), finished=self._pipe_finished)

    # --- what it is --------------------------------------------------------------------------------------------------------------

    @property
    def bytes_to_client(self) -> int:
        """Bytes of the server's that were passed on."""
        return self._to_client.passed

    @property
    def bytes_to_server(self) -> int:
        """Bytes of the client's that were passed on."""
        return self._to_server.passed

    @property
    def is_half_open(self) -> bool:
        """Whether nothing passes any more. Once bytes were lost that is for good: to go on after them is what no network does."""
        return self.faults.half_open or self._lost_something

    # --- what can be done to it ----------------------------------------------------------------------------------------------------

    def cut(
        self,
        *,
        after: float = 0.0,
        to_client: int | None = None,
        to_server: int | None = None,
        ending: Ending = "reset",
        side: Side | None = None,
    ) -> None:
        """End the connection: now, `after` so many seconds, or when so many more bytes have gone `to_client` or `to_server`.

        "reset" ends it at once, "finish" with the end of the stream; what is still under way in the proxy is lost either way. With `side`
        only that peer hears of it, and the other one is left half-open.
        """
        if to_client is not None or to_server is not None:
            for direction, pipe, count in (("to_client", self._to_client, to_client), ("to_server", self._to_server, to_server)):
                if count is not None:
                    self._endings[cast("Direction", direction)] = ending, side
                    pipe.cut_after(count)
        elif after > 0:
            self._timers.append(self._clock.call_at(self._clock.monotonic() + after, partial(self._end, ending, side)))
        else:
            self._end(ending, side)

    def garbage(self, data: bytes | int = GARBAGE_SIZE, *, direction: Direction = "to_client", after_bytes: int = 0) -> None:
        """Put bytes into the stream, or so many random ones: now, or when `after_bytes` more have gone that way."""
        pipe = self._to_client if direction == "to_client" else self._to_server
        pipe.inject(self._chance.randbytes(data) if isinstance(data, int) else data, after_bytes)

    # --- from the proxy ------------------------------------------------------------------------------------------------------------

    def without_server(self) -> None:
        """There will be no server's side, so the client's ends."""
        self._has_no_server = True
        if self.client.is_lost:
            self._finish()
        else:
            self.client.end("reset")

    def without_client(self) -> None:
        """It was gone before it could be taken up."""
        self._finish()

    # --- from the peers ------------------------------------------------------------------------------------------------------------

    def connected(self, peer: Peer) -> None:
        """One of the two sockets is connected."""
        client, server = self.client.transport, self.server.transport
        if self.client.is_lost or self._is_cut:
            peer.end("reset")
        elif client is not None and server is not None:
            self._arm()
            self._to_server.attach(source=client, target=server)
            self._to_client.attach(source=server, target=client)

    def received(self, peer: Peer, data: bytes) -> None:
        """Bytes from one of the two."""
        if self.is_blackhole or self.is_half_open:
            self._lost_something = True
        else:
            self._from(peer).feed(data)

    def finished(self, peer: Peer) -> None:
        """One of the two will send no more."""
        if self.is_blackhole or self.is_half_open:
            peer.end("finish")  # it has given up, and the other one hears nothing of it
        else:
            self._from(peer).finish()

    def lost(self, peer: Peer, error: Exception | None) -> None:
        """One of the two sockets is closed."""
        other = self.server if peer is self.client else self.client
        self._to(peer).stop()
        if other.is_lost or self._has_no_server:
            self._finish()
        elif error is not None and not self.is_half_open:
            other.end("reset")
        elif not self.is_half_open:
            self._from(peer).finish()

    def held_up(self, peer: Peer, *, is_full: bool) -> None:
        """One of the two takes no more for now, or again."""
        self._to(peer).hold_up(is_full=is_full)

    # --- inside ----------------------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Take up what is to happen at the first bytes."""
        first = self._initial
        self._endings = {"to_client": (first.ending, None), "to_server": (first.ending, None)}
        for pipe, cut, garbage in (
            (self._to_client, first.cut_to_client, first.garbage_to_client),
            (self._to_server, first.cut_to_server, first.garbage_to_server),
        ):
            if garbage is not None:
                self.garbage(direction=pipe.direction, after_bytes=garbage)
            if cut is not None:
                pipe.cut_after(cut)

    def _cut_by(self, direction: Direction) -> None:
        self._end(*self._endings[direction])

    def _end(self, ending: Ending, side: Side | None) -> None:
        self._is_cut = self._is_cut or side is None
        self._lost_something = self._lost_something or side is not None
        for pipe in (self._to_client, self._to_server):
            pipe.stop()
        if side != "server":
            self.client.end(ending)
        if side != "client":
            self.server.end(ending)

    def _pipe_finished(self, pipe: Pipe) -> None:
        source, target = (self.client, self.server) if pipe is self._to_server else (self.server, self.client)
        if source.is_lost or (self._to_client.has_finished and self._to_server.has_finished):
            source.end("finish")
            target.end("finish")
        else:
            target.finish_writing()

    def _from(self, peer: Peer) -> Pipe:
        return self._to_server if peer is self.client else self._to_client

    def _to(self, peer: Peer) -> Pipe:
        return self._to_client if peer is self.client else self._to_server

    def _apply(self, name: str) -> None:
        if name.startswith("deaf"):
            self._to_client.apply()
            self._to_server.apply()

    def _finish(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._to_client.stop()
        self._to_server.stop()
        if not self.over.is_set():
            self.over.set()
            self._on_end(self)


class Peer(asyncio.Protocol):
    """One of the two sockets."""

    def __init__(self, connection: ProxiedConnection) -> None:
        self._connection = connection
        self.transport: asyncio.Transport | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)
        self._connection.connected(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._connection.received(self, data)

    def eof_received(self) -> bool:
        """See asyncio.Protocol. The other direction goes on."""
        self._connection.finished(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.is_lost = True
        self._connection.lost(self, exc)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._connection.held_up(self, is_full=True)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._connection.held_up(self, is_full=False)

    def finish_writing(self) -> None:
        """Send the end of the stream, and go on reading."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()

    def end(self, ending: Ending) -> None:
        """Close the socket."""
        if self.transport is None or self.is_lost:
            return
        if ending == "finish":
            self.transport.close()
        else:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.transport.abort()
