"""Lines: from bytes as they come to whole lines, for endless streams that end each message with a line feed.

Pure. Always holds: however the bytes are cut, the lines are the same; no line is longer than the limit, so that a peer that never ends one
cannot fill the memory. A carriage return before the line feed belongs to it; empty lines are left out.
"""

from __future__ import annotations

from tradesession.errors import ProtocolError


class LineReader:
    """Of one connection. `limit` is in bytes."""

    __slots__ = ("_limit", "_rest")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole now. Raises ProtocolError for one that is too long."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self._limit or any(len(line) > self._limit for line in lines):
            raise ProtocolError(f"a line has more than {self._limit} bytes, and is no message then")
        return [line.rstrip(b"\r") for line in lines if line.strip()]

    @property
    def pending(self) -> int:
        """Bytes of a line that has not ended."""
        return len(self._rest)
