"""Length-prefixed frames over TLS TCP."""

from __future__ import annotations

import ssl

from tradesession import policy
from tradesession.clock import Clock
from tradesession.protocol.framing import FrameDecoder, encode_frame
from tradesession.timing import SYSTEM_CLOCK
from tradesession.transports.stream import Receiver, StreamTransport, open_stream


class TcpTransport(StreamTransport):
    """Frames behind a four-byte length. Make one with `open_tcp`."""

    def __init__(self, receiver: Receiver, clock: Clock, max_frame: int) -> None:
        super().__init__(receiver, clock)
        self._decoder = FrameDecoder(max_frame)

    def bytes_received(self, data: bytes) -> None:
        """See StreamTransport."""
        self._receiver.received(self._decoder.feed(data))

    def send(self, frame: bytes) -> None:
        """See Transport."""
        self.write(encode_frame(frame))


async def open_tcp(
    host: str,
    port: int,
    receiver: Receiver,
    *,
    tls: ssl.SSLContext | None,
    max_frame: int = policy.MAX_FRAME,
    clock: Clock = SYSTEM_CLOCK,
    timeout: float = policy.CONNECT_TIMEOUT,
) -> TcpTransport:
    """Connect to a server of length-prefixed frames. Raises CertificateRefused or another Unreachable."""
    return await open_stream(lambda: TcpTransport(receiver, clock, max_frame), host, port, tls=tls, clock=clock, timeout=timeout)
