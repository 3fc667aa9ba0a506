"""What every connected transport has in common: one asyncio.Protocol that hands whole frames to a Receiver.

May know sockets and bytes, must not know what a frame means. Always holds: frames reach the Receiver in wire order, from one place;
after `lost` nothing more reaches it; `lost` is called exactly once; `send` never waits.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import ConfigurationError, Error, LinkLost, Unreachable
from tradesession.timing import SYSTEM_CLOCK, deadline
from tradesession.transports.tls import certificate_refused, is_loopback


class Receiver(Protocol):
    """Who gets what comes in. None of the methods may wait."""

    def heard(self) -> None:
        """A sign of life: bytes of frames came, be it of an unfinished one. Called before the frames in them are received."""

    def received(self, frame: bytes) -> None:
        """One whole frame. A tradesession Error raised here ends the connection with that cause."""

    def lost(self, cause: Error) -> None:
        """The connection is over, for this reason; called once, also after an orderly close of our own."""


class Transport(Protocol):
    """A connected transport, as a Link sees it."""

    def send(self, frame: bytes) -> None:
        """Hand a frame to the socket. Never waits; what a deaf peer does not take is buffered (see `writable`)."""

    @property
    def is_writable(self) -> bool:
        """Whether the send buffer is below its high-water mark."""

    async def writable(self) -> None:
        """Wait until `is_writable`, or until the connection is over."""

    async def aclose(self, timeout: float) -> None:
        """Say goodbye in order, then cut the socket when `timeout` seconds were not enough."""

    def abort(self) -> None:
        """Cut the socket now."""


class StreamTransport(asyncio.Protocol, ABC):
    """A Transport over one TCP or TLS stream; subclasses know how frames lie in it."""

    def __init__(self, receiver: Receiver, clock: Clock) -> None:
        self._receiver = receiver
        self._clock = clock
        self._transport: asyncio.Transport | None = None
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
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # other loops than asyncio's have classes of their own
        self._transport.set_write_buffer_limits(high=policy.WRITE_HIGH_WATER)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._lost:
            self.received_after_goodbye(data)
            return
        if len(data) >= policy.LARGE_READ:
            self._pause_for_a_turn()
        try:
            self.bytes_received(data)
        except Error as error:
            self.fail(error.with_traceback(None))  # its frames hold what came in, and that may hold tokens

    def eof_received(self) -> None:
        """The peer has finished; so have we: the transport closes, as this returns None."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._closed.set()
        if exc is None:
            self.fail(self.closed_by_peer())
        else:
            self.fail(LinkLost(f"the connection broke: {describe(exc)}"))

    def closed_by_peer(self) -> Error:
        """What a close without an error means here."""
        return LinkLost("the server closed the connection")

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.set()

    # --- Transport -------------------------------------------------------------------------------------------------------------

    @property
    def is_writable(self) -> bool:
        """See Transport."""
        return self._writable.is_set()

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

    def _pause_for_a_turn(self) -> None:
        """Read no more until the event loop has come round: some loops bring many large chunks in one turn, more than streams may hold."""
        assert self._transport is not None  # it has brought the chunk
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._resume_reading)

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

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
        return error.strerror or str(error) or type(error).__name__
    return type(error).__name__


def _reason(error: ssl.SSLError) -> str | None:
    return getattr(error, "reason", None)  # OpenSSL's errors have it, Python's own have not
