"""A listening socket of any platform and what comes in through it, by TLS or plain, with the faults of connecting.

Owns its socket, its TLS handshakes under way and the connections; `aclose` ends all of them. Always holds: the port stays the same for
the sandbox's life, also over a time of refused connections.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

from tradesession.errors import ConfigurationError
from tradesession.sandbox.authority import Authority, Flaw
from tradesession.sandbox.cuts import Cut

_BACKLOG = 1024
_SHUTDOWN_TIMEOUT = 1.0
"""Seconds of real time for a client to answer the end of TLS."""


class ConnectingFaults(Protocol):
    """The switches that a listener looks at."""

    @property
    def refuse_connections(self) -> bool:
        """Nobody listens."""

    @property
    def tls_hang(self) -> bool:
        """Accepted, and TLS never answers."""

    @property
    def wrong_certificate(self) -> Flaw | Literal[""]:
        """What is wrong with the certificate."""


class CuttingFaults(Protocol):
    """The switches that say where every connection is cut."""

    @property
    def cut_output_after(self) -> int | None:
        """After so many bytes to the client."""

    @property
    def cut_input_after(self) -> int | None:
        """After so many bytes from the client."""


class Accepted(asyncio.Protocol, ABC):
    """What a platform makes of a connection. `lost` of its listener is to be called when it is gone."""

    def __init__(self, faults: CuttingFaults) -> None:
        self.output = Cut(lambda: faults.cut_output_after)
        self.input = Cut(lambda: faults.cut_input_after)
        self.gone = asyncio.Event()
        """Set when the connection is closed."""

    def cut_after(self, *, output: int | None = None, input: int | None = None) -> None:  # noqa: A002 - the opposite of output
        """Cut the connection when that many more bytes have gone that way."""
        if 0 in (output, input):
            self.abort("fault: cut")
        if output is not None:
            self.output.after(output)
        if input is not None:
            self.input.after(input)

    @abstractmethod
    def apply_faults(self) -> None:
        """Take notice of switches that were turned."""

    @abstractmethod
    def abort(self, cause: str) -> None:
        """End the connection at once."""


P = TypeVar("P", bound=Accepted)


class Listener(Generic[P]):
    """One port. `authority` None means plain; `make` makes the protocol of a connection, which is not open yet."""

    def __init__(
        self,
        host: str,
        authority: Authority | None,
        faults: ConnectingFaults,
        make: Callable[[Listener[P]], P],
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        self._host = host
        self._authority = authority
        self._faults = faults
        self._make = make
        self._failed = failed
        self._contexts: dict[Flaw | None, ssl.SSLContext] = {}
        self._socket: socket.socket | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._hanging: list[socket.socket] = []
        self._connections: set[P] = set()
        self.port = 0

    def opened(self, connection: P) -> None:
        """The connection stands, TLS included."""
        self._connections.add(connection)

    def lost(self, connection: P) -> None:
        """The connection is gone."""
        self._connections.discard(connection)

    def open(self) -> None:
        """Listen: on a free port the first time, on the same one afterwards."""
        if self._socket is not None:
            return
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # With the protocol named, asyncio turns Nagle's algorithm off on what is accepted; else replies come 40 ms late.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self._host, self.port))
            listening.listen(_BACKLOG)
            listening.setblocking(False)
        except OSError as error:
            listening.close()
            where = f"{self._host}:{self.port}" if self.port else self._host
            raise ConfigurationError(f"the sandbox cannot listen on {where} ({error.strerror}): choose another loopback address") from error
        self.port = listening.getsockname()[1]
        self._socket = listening
        asyncio.get_running_loop().add_reader(listening, self._accept)

    def shut(self) -> None:
        """Stop listening; connections that stand are not touched."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def apply_faults(self) -> None:
        """Take notice of switches that were turned."""
        if self._faults.refuse_connections:
            self.shut()
        else:
            self.open()
        if not self._faults.tls_hang:
            self._let_go()
        for connection in self._connections:
            connection.apply_faults()

    async def aclose(self) -> None:
        """Close everything, and wait until it is closed."""
        self.shut()
        self._let_go()
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)
        for connection in list(self._connections):
            connection.abort("the sandbox closed")
        for connection in list(self._connections):
            await connection.gone.wait()

    def _let_go(self) -> None:
        """Close the connections whose TLS never answered."""
        for hanging in self._hanging:
            hanging.close()
        self._hanging.clear()

    def _accept(self) -> None:
        assert self._socket is not None
        while self._socket is not None:
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            accepted.setblocking(False)
            if self._faults.tls_hang:
                self._hanging.append(accepted)
                continue
            task = asyncio.get_running_loop().create_task(self._shake_hands(accepted))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket) -> None:
        connection = self._make(self)
        context = self._context()
        try:
            if context is None:
                await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)
            else:
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: connection, accepted, ssl=context, ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT
                )
        except OSError:  # no TLS, or the client does not trust the certificate: its own affair
            self._failed()

    def _context(self) -> ssl.SSLContext | None:
        if self._authority is None:
            return None
        flaw = self._faults.wrong_certificate or None
        if flaw not in self._contexts:
            self._contexts[flaw] = self._authority.server_context(flaw)
        return self._contexts[flaw]
