"""What every connected transport has in common: one asyncio protocol that hands whole frames to a Receiver.

May know sockets and bytes, must not know what a frame means. Always holds: frames reach the Receiver in wire order, from one place;
after `lost` nothing more reaches it; `lost` is called exactly once; `send` never waits.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar, cast

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import ConfigurationError, Error, LinkLost, Unreachable
from tradesession.timing import SYSTEM_CLOCK, deadline
from tradesession.transports.tls import certificate_refused, is_loopback


class Receiver(Protocol):
    """Who gets what comes in. Neither method may wait."""

    def received(self, frames: Iterable[bytes]) -> None:
        """Bytes came: the whole frames that they complete, or none, which is a sign of life all the same.

        To be taken in this order up to the last, or to the end of the connection. A tradesession Error raised here, or by the frames
        themselves, ends the connection with that cause.
        """

    def lost(self, cause: Error) -> None:
        """The connection is over, for this reason; called once, also after an orderly close of our own."""


class Transport(Protocol):
    """A connected transport, as a Link sees it."""

    def send(self, frame: bytes) -> None:
        """Hand a frame to the socket. Never waits; what a deaf peer does not take is buffered (see `writable`)."""

    @property
    def is_writable(self) -> bool:
        """Whether the send buffer is below its high-water mark."""

    @property
    def unsent(self) -> int:
        """Bytes in the send buffer, which the peer's side has not taken yet."""

    async def writable(self) -> None:
        """Wait until `is_writable`, or until the connection is over."""

    async def aclose(self, timeout: float) -> None:
        """Say goodbye in order, then cut the socket when `timeout` seconds were not enough."""

    def abort(self) -> None:
        """Cut the socket now."""


class StreamTransport(asyncio.BufferedProtocol, ABC):
    """A Transport over one TCP or TLS stream; subclasses know how frames lie in it.

    It reads in small pieces, one in a turn of the event loop while there is more: what a piece brings is still in the processor's cache
    when the readers of the streams get it, and a burst cannot fill their queues before they have had a turn.
    """

    def __init__(self, receiver: Receiver, clock: Clock) -> None:
        self._receiver = receiver
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(policy.READ_SIZE))
        self._has_read = False  # a whole piece, in this turn of the event loop
        self._lost = False
        self._closed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    # --- for subclasses -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def bytes_received(self, data: bytes) -> None:
        """Bytes from the peer. May raise a tradesession Error, which ends the connection."""

    def say_goodbye(self) -> bool:
        """Send what the protocol wants to be sent before an orderly close; whether the peer's answer is to be waited for."""
        return False

    def received_after_goodbye(self, data: bytes) -> None:
        """Bytes that came after `say_goodbye`: nobody's, unless the answer to it is among them."""

    @abstractmethod
    def send(self, frame: bytes) -> None:
        """See Transport."""

    def write(self, data: bytes) -> None:
        """Bytes to the peer; dropped when the connection is over, of which the Receiver knows."""
        if self._transport is not None and not self._lost:
            self._transport.write(data)

    def fail(self, cause: Error) -> None:
        """End the connection for this reason; only the first one counts."""
        self._end(cause)
        self.abort()

    def close(self) -> None:
        """Close the socket when everything written has left."""
        if self._transport is not None:
            self._transport.close()

    @property
    def is_lost(self) -> bool:
        """Whether the Receiver has been told of the end."""
        return self._lost

    # --- asyncio's side --------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BufferedProtocol."""
        self._transport = cast("asyncio.Transport", transport)  # other loops than asyncio's have classes of their own
        self._transport.set_write_buffer_limits(high=policy.WRITE_HIGH_WATER)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio.BufferedProtocol."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        data = bytes(self._buffer[:nbytes])
        if self._lost:
            self.received_after_goodbye(data)
            return
        if nbytes == len(self._buffer):
            self._mind_the_turn()
        try:
            self.bytes_received(data)
        except Error as error:
            self.fail(error.with_traceback(None))  # its frames hold what came in, and that may hold tokens

    def eof_received(self) -> None:
        """See asyncio.BufferedProtocol. The peer has finished; so have we: the transport closes, as this returns None."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.BufferedProtocol."""
        self._closed.set()
        if exc is None:
            self.fail(self.closed_by_peer())
        else:
            self.fail(LinkLost(f"the connection broke: {describe(exc)}"))

    def closed_by_peer(self) -> Error:
        """What a close without an error means here."""
        return LinkLost("the server closed the connection")

    def pause_writing(self) -> None:
        """See asyncio.BufferedProtocol."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See asyncio.BufferedProtocol."""
        self._writable.set()

    # --- Transport -------------------------------------------------------------------------------------------------------------

    @property
    def is_writable(self) -> bool:
        """See Transport."""
        return self._writable.is_set()

    @property
    def unsent(self) -> int:
        """See Transport."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    async def writable(self) -> None:
        """See Transport."""
        await self._writable.wait()

    async def aclose(self, timeout: float = policy.CLOSE_TIMEOUT) -> None:
        """See Transport."""
        if self._transport is None:
            return
        if self._lost or not self.say_goodbye():
            self.close()
        self._end(LinkLost("closed by this side"))
        try:
            async with deadline(self._clock, timeout):
                await self._closed.wait()
        except TimeoutError:
            pass  # the peer does not answer the goodbye: cut it, below
        finally:
            self.abort()

    def abort(self) -> None:
        """See Transport."""
        if self._transport is not None:
            self._transport.abort()

    def _mind_the_turn(self) -> None:
        """There is more to read. Some loops would bring much of it in one turn: they are stopped at the second piece until the next one."""
        if not self._has_read:
            self._has_read = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        elif self._transport is not None:
            self._transport.pause_reading()

    def _next_turn(self) -> None:
        self._has_read = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()  # harmless where nothing was paused

    def _end(self, cause: Error) -> None:
        if not self._lost:
            self._lost = True
            self._writable.set()  # whoever waits to write must hear of the end
            self._receiver.lost(cause)


T = TypeVar("T", bound=StreamTransport)


async def open_stream(
    make: Callable[[], T],
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    clock: Clock = SYSTEM_CLOCK,
    timeout: float = policy.CONNECT_TIMEOUT,
) -> T:
    """Connect, with TLS unless `tls` is None; name lookup and TLS count towards `timeout` seconds.

    Raises CertificateRefused or another Unreachable, ConfigurationError for plaintext to anywhere but loopback and for what is no
    address; a socket never stays behind.
    """
    if tls is None and not is_loopback(host):
        raise ConfigurationError(f"plaintext to {host!r} is refused: tokens would travel in the clear; plaintext is for loopback only")
    loop = asyncio.get_running_loop()
    try:
        async with deadline(clock, timeout):
            _, protocol = await loop.create_connection(
                make,
                host,
                port,
                ssl=tls,
                server_hostname=host if tls is not None else None,
                ssl_shutdown_timeout=policy.CLOSE_TIMEOUT if tls is not None else None,
            )
    except TimeoutError:
        raise Unreachable(f"{host}:{port} did not complete the connection within {timeout:g} s: check host, port and firewall") from None
    except ssl.SSLCertVerificationError as error:
        raise certificate_refused(error, host, port) from None
    except ssl.SSLError as error:
        raise Unreachable(
            f"{host}:{port} does not speak TLS as expected ({_reason(error) or 'handshake failed'}): is it the TLS port?"
        ) from None
    except OSError as error:
        raise Unreachable(f"{host}:{port} cannot be reached ({describe(error)}): check host, port and network") from None
    except (ValueError, OverflowError) as error:  # the name cannot be written in the DNS, or the port is no port
        raise ConfigurationError(f"host={host!r} with port={port} is no address ({error}); correct it") from None
    return protocol


def describe(error: Exception) -> str:
    """An operating-system error in a few words."""
    if isinstance(error, socket.gaierror):
        return f"the name does not resolve: {error.strerror}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {_reason(error) or 'error'}"
    if isinstance(error, OSError):
        if error.errno is not None and error.errno in errno.errorcode:  # asyncio has a text of its own for it, with the address once more
            return os.strerror(error.errno)
        return error.strerror or str(error) or type(error).__name__
    return type(error).__name__


def _reason(error: ssl.SSLError) -> str | None:
    return getattr(error, "reason", None)  # OpenSSL's errors have it, Python's own have not
