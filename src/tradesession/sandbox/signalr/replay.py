"""Stateful reconnect, the server's half: what was sent and is not acknowledged, and how much has arrived.

Pure. Always holds: a counted record goes out in order and again after each reattachment until it is acknowledged; one that arrives twice is
served once.
"""

from __future__ import annotations

from collections import deque


class Replay:
    """Counts records both ways. `limit` are the bytes that may wait for an acknowledgement; what goes beyond is held back."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unacknowledged: deque[str] = deque()
        self._bytes = 0
        self._held: deque[str] = deque()
        self._sent = 0
        self._arriving = 0
        self.received = 0
        """Number of the last record that arrived."""
        self.acknowledged = 0
        """Number of the last one that the client was told of."""

    @property
    def is_full(self) -> bool:
        """Whether the next record would be held back."""
        return bool(self._held) or self._bytes >= self._limit

    @property
    def holds_back(self) -> bool:
        """Whether something could not leave yet."""
        return bool(self._held)

    def send(self, text: str) -> bool:
        """A counted record goes out; False when it is held back for now."""
        if self.is_full:
            self._held.append(text)
            return False
        self._keep(text)
        return True

    def receive_ack(self, number: int) -> list[str]:
        """Everything up to that number has arrived; what may go out now."""
        while self._unacknowledged and self._sent - len(self._unacknowledged) < number:
            self._bytes -= len(self._unacknowledged.popleft())
        released = []
        while self._held and self._bytes < self._limit:
            released.append(self._held.popleft())
            self._keep(released[-1])
        return released

    def resume(self) -> tuple[int, list[str]]:
        """On another socket: the number of the first record that is sent again, and everything to send."""
        return self._sent - len(self._unacknowledged) + 1, list(self._unacknowledged)

    def receive_sequence(self, number: int) -> bool:
        """The client begins again with that number; False when something between is missing."""
        if number > self.received + 1:
            return False
        self._arriving = number - 1
        return True

    def arrives(self) -> bool:
        """A counted record arrives; whether it is new."""
        self._arriving += 1
        if self._arriving <= self.received:
            return False
        self.received = self._arriving
        return True

    def _keep(self, text: str) -> None:
        self._sent += 1
        self._unacknowledged.append(text)
        self._bytes += len(text)
