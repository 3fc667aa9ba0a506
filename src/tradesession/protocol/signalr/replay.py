"""Replay: what both sides of a stateful reconnect count, keep and repeat, so that a socket that breaks costs nothing.

Pure. Records of types 1 to 5 are counted from 1, on each side for itself, and kept until the other side acknowledges them. On another
socket each side first says the number of the first record that it is going to send (Sequence), then sends everything unacknowledged
again, and drops what it already had. Always holds: every counted record is accepted once, in order. As seen on a real server, the number
in Sequence is that of the first record kept, or the next one when none is.
"""

from __future__ import annotations

from collections import deque

from tradesession import policy
from tradesession.errors import ProtocolError


class Replay:
    """The counting of one hub connection. `limit` is how many bytes wait for acknowledgement before senders should (`is_full`).

    An acknowledgement is urgent (`is_ack_urgent`) every `ack_bytes` received: the server waits as well when its own buffer is full.
    """

    __slots__ = ("_ack_bytes", "_buffer", "_buffered", "_expected", "_heard", "_limit", "_received", "_sent", "_unacked", "awaits_sequence")

    def __init__(self, *, limit: int = policy.HUB_REPLAY_BUFFER, ack_bytes: int = policy.HUB_ACK_BYTES) -> None:
        self.awaits_sequence = False
        """Whether the other side has not yet said where it is, on a socket that just came: what comes before is not looked at."""
        self._limit = limit
        self._ack_bytes = ack_bytes
        self._sent = 0  # counted records that were sent, ever
        self._buffer: deque[bytes] = deque()  # those that were not acknowledged: the last ones of them
        self._buffered = 0
        self._expected = 1  # the number of the counted record that comes next
        self._received = 0  # the highest number that was accepted
        self._unacked = False
        self._heard = 0  # bytes since the last acknowledgement of ours

    # --- out --------------------------------------------------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Bytes that were sent and not acknowledged."""
        return self._buffered

    @property
    def oldest(self) -> int:
        """The number of the first record that was not acknowledged; 0 when all were."""
        return self._sent - len(self._buffer) + 1 if self._buffer else 0

    @property
    def is_full(self) -> bool:
        """Whether senders should wait for an acknowledgement."""
        return self._buffered >= self._limit

    def sent(self, data: bytes) -> None:
        """A counted record leaves, or would if there were a socket."""
        self._sent += 1
        self._buffer.append(data)
        self._buffered += len(data)

    def acknowledged(self, number: int) -> None:
        """The other side has everything up to this number. Raises ProtocolError for what was never sent."""
        if number > self._sent:
            raise ProtocolError(f"the server acknowledged record {number}, and only {self._sent} were sent")
        while self._buffer and self._sent - len(self._buffer) < number:
            self._buffered -= len(self._buffer.popleft())

    # --- in ---------------------------------------------------------------------------------------------------------------------

    @property
    def wants_ack(self) -> bool:
        """Whether something came that was not acknowledged."""
        return self._unacked

    @property
    def is_ack_urgent(self) -> bool:
        """Whether so much came that the acknowledgement should not wait."""
        return self._heard >= self._ack_bytes

    def accept(self) -> bool:
        """A counted record came; False for one that was accepted before."""
        number = self._expected
        self._expected += 1
        self._unacked = True  # also for a repeated one: the other side has not seen our acknowledgement
        if number <= self._received:
            return False
        self._received = number
        return True

    def heard(self, count: int) -> None:
        """So many bytes came."""
        self._heard += count

    def ack(self) -> int:
        """The number to acknowledge now."""
        self._unacked = False
        self._heard = 0
        return self._received

    # --- another socket -----------------------------------------------------------------------------------------------------------

    def suspend(self) -> None:
        """The socket broke. Until the other side has said on another one where it is, nothing that comes counts."""
        self.awaits_sequence = True
        self._heard = 0

    def resume(self) -> tuple[int, list[bytes]]:
        """The number to announce in Sequence on the new socket, and the records to send behind it."""
        return self._sent - len(self._buffer) + 1, list(self._buffer)

    def resynchronise(self, number: int) -> None:
        """The other side's Sequence: the number of the record that it sends next. Raises ProtocolError when that would leave a hole."""
        if not 1 <= number <= self._expected:
            raise ProtocolError(f"the server goes on with record {number}, and {self._expected} was to come next: something is missing")
        self._expected = number
        self.awaits_sequence = False
