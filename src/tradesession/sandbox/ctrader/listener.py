"""A listening socket and what comes in through it: TLS or plain, TCP or WebSocket on the same port, as at the real service.

Owns its socket, its TLS handshakes under way and its channels; `aclose` ends all of them. Always holds: the port stays the same for
the sandbox's life, also over a time of refused connections.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

from tradesession.errors import ConfigurationError
from tradesession.sandbox.authority import Authority, Flaw
from tradesession.sandbox.ctrader.channel import Channel
from tradesession.sandbox.ctrader.connection import Connection
from tradesession.sandbox.ctrader.core import Core, Environment

_BACKLOG = 1024
_SHUTDOWN_TIMEOUT = 1.0
"""Seconds of real time for a client to answer the end of TLS."""


class Listener:
    """One port of one environment. `authority` None means plain."""

    def __init__(self, core: Core, environment: Environment, host: str, authority: Authority | None) -> None:
        self._core = core
        self._environment: Environment = environment
        self._host = host
        self._authority = authority
        self._contexts: dict[Flaw | None, ssl.SSLContext] = {}
        self._socket: socket.socket | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._hanging: list[socket.socket] = []
        self._channels: set[Channel] = set()
        self.port = 0

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
        if self._core.faults.refuse_connections:
            self.shut()
        else:
            self.open()
        if not self._core.faults.tls_hang:
            self._let_go()
        for channel in self._channels:
            channel.apply_faults()

    async def aclose(self) -> None:
        """Close everything, and wait until it is closed."""
        self.shut()
        self._let_go()
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)
        for channel in list(self._channels):
            channel.abort("the sandbox closed")
        for channel in list(self._channels):
            await channel.gone.wait()

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
            if self._core.faults.tls_hang:
                self._hanging.append(accepted)
                continue
            task = asyncio.get_running_loop().create_task(self._shake_hands(accepted))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket) -> None:
        channel = Channel(self._core.settings, self._core.faults, self._core.clock, self._opened, self._channels.discard)
        context = self._context()
        try:
            if context is None:
                await asyncio.get_running_loop().connect_accepted_socket(lambda: channel, accepted)
            else:
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: channel, accepted, ssl=context, ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT
                )
        except OSError:  # no TLS, or the client does not trust the certificate: its own affair
            self._core.state.failed_handshakes += 1

    def _opened(self, channel: Channel) -> Connection:
        self._channels.add(channel)
        return Connection(self._core, self._environment, channel)

    def _context(self) -> ssl.SSLContext | None:
        if self._authority is None:
            return None
        flaw = self._core.faults.wrong_certificate or None
        if flaw not in self._contexts:
            self._contexts[flaw] = self._authority.server_context(flaw)
        return self._contexts[flaw]
