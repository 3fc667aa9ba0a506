"""Records in a stream of bytes: each ends with the record separator, byte 0x1E (HubProtocol, text framing).

Pure. Any chunking of the input gives the same records. JSON escapes the separator within texts, so it stands nowhere else.
"""

from __future__ import annotations

from typing import Final

from tradesession import policy
from tradesession.errors import ConfigurationError, ProtocolError

SEPARATOR: Final = b"\x1e"


class RecordDecoder:
    """Cuts bytes into records, without their separators. `max_record` is the longest one accepted, in bytes."""

    __slots__ = ("_max_record", "_rest")

    def __init__(self, max_record: int = policy.MAX_FRAME) -> None:
        if max_record < 1:
            raise ConfigurationError(f"max_record={max_record} is no size of a record; give the cap in bytes, such as {policy.MAX_FRAME}")
        self._max_record = max_record
        self._rest = bytearray()

    @property
    def buffered(self) -> int:
        """Bytes of a record whose end has not come."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The records that these bytes complete, in order. Raises ProtocolError for one over the cap, after which the place is lost."""
        *records, rest = data.split(SEPARATOR)
        if not rest and not self._rest and len(data) <= self._max_record:
            return records  # whole records, and none can be too long: almost always
        if records and self._rest:
            records[0] = bytes(self._rest) + records[0]
            self._rest.clear()
        self._rest += rest
        longest = max((*map(len, records), len(self._rest)))
        if longest > self._max_record:
            self._rest.clear()
            raise ProtocolError(
                f"the server sent {longest} bytes without the end of a record, and the cap is {self._max_record}: "
                "either this is no SignalR hub, or max_record must be raised"
            )
        return records

    def clear(self) -> None:
        """Forget an unfinished record: its socket broke."""
        self._rest.clear()
