"""The network of a simulation: which addresses are taken, who listens, and whose readiness changed.

Pure bookkeeping: no clock, no asyncio, no kernel. Always holds: the same calls give the same ports and the same numbers.
"""

from __future__ import annotations

import errno
import itertools
import os
from typing import Final

from tradesession.sandbox.simulation.sockets import Address, MemorySocket

FIRST_DESCRIPTOR: Final = 1 << 24
"""Numbers from here on stand for sockets of a network: no process has that many descriptors."""

_FIRST_PORT: Final = 49152
"""Where free ports begin, as IANA has it."""

_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - addresses of a network that nobody else is in


class Network:
    """All sockets of one simulation."""

    def __init__(self) -> None:
        self._descriptors = itertools.count(FIRST_DESCRIPTOR)
        self._ports = itertools.count(_FIRST_PORT)
        self._bound: dict[MemorySocket, Address] = {}
        self._listeners: dict[Address, MemorySocket] = {}
        self._open: dict[int, MemorySocket] = {}
        self.active: dict[int, MemorySocket] = {}
        """Sockets whose readiness may have changed, in order; whoever selects takes them out."""

    @property
    def sockets(self) -> list[MemorySocket]:
        """What is open now, oldest first."""
        return list(self._open.values())

    # --- for sockets -----------------------------------------------------------------------------------------------------------

    def enter(self, sock: MemorySocket) -> int:
        """A socket is made; its number."""
        number = next(self._descriptors)
        self._open[number] = sock
        return number

    def leave(self, sock: MemorySocket) -> None:
        """A socket is closed: its number and its address are free."""
        self.active.pop(sock.fileno(), None)
        self._open.pop(sock.fileno(), None)
        address = self._bound.pop(sock, None)
        if address is not None and self._listeners.get(address) is sock:
            del self._listeners[address]

    def bind(self, sock: MemorySocket, address: Address, family: int) -> Address:
        """Take an address; the port that port 0 became. OSError when somebody listens there."""
        host, port = address
        if port == 0:
            port = next(self._ports)
        elif (host, port) in self._listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._bound[sock] = host, port
        return host, port

    def listen(self, sock: MemorySocket, address: Address) -> None:
        """The socket wants connections."""
        self._listeners[address] = sock

    def listener(self, address: Address) -> MemorySocket | None:
        """Who listens there."""
        host, port = address
        return self._listeners.get((host, port)) or next(
            (self._listeners[any_, port] for any_ in _EVERYWHERE if (any_, port) in self._listeners), None
        )

    def changed(self, sock: MemorySocket) -> None:
        """Something happened to a socket."""
        if sock.fileno() >= 0:
            self.active[sock.fileno()] = sock

    # --- for the selector ------------------------------------------------------------------------------------------------------

    def find(self, number: int) -> MemorySocket | None:
        """The open socket of that number; None for one of the kernel's."""
        return self._open.get(number)
