"""Length-prefixed frames: four bytes of length in network order, then exactly that many bytes (cTrader Open API over TCP).

Pure. Any chunking of the input gives the same frames; a frame over the cap is refused before a byte of it is stored, so a broken or
hostile peer can take no more memory than the cap. After an error the decoder is spent, as the place in the stream is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NoReturn

from tradesession import policy
from tradesession.errors import ConfigurationError, ProtocolError

_LENGTH = Struct(">I")
_PREFIX = _LENGTH.size


def encode_frame(payload: bytes) -> bytes:
    """The payload behind its length."""
    return _LENGTH.pack(len(payload)) + payload


class FrameDecoder:
    """Cuts a stream of bytes into frames. `max_frame` is the longest payload accepted, in bytes."""

    __slots__ = ("_failed", "_max_frame", "_rest")

    def __init__(self, max_frame: int = policy.MAX_FRAME) -> None:
        if max_frame < 1:
            raise ConfigurationError(f"max_frame={max_frame} is no size of a frame; give the cap in bytes, such as {policy.MAX_FRAME}")
        self._max_frame = max_frame
        self._rest = bytearray()
        self._failed = False

    @property
    def buffered(self) -> int:
        """Bytes of an unfinished frame, its prefix included."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that these bytes complete, in order. Raises ProtocolError at the first prefix over the cap.

        To be consumed to its end: the bytes behind the last complete frame are put aside only then.
        """
        if self._failed:
            raise ProtocolError("a frame over the cap came before: the place in the stream is lost, open a new connection")
        rest = self._rest
        if rest:
            # Most frames arrive whole and are cut from `data` without a detour; only the torn one passes through the buffer.
            rest += data
            if not self._is_complete(rest):
                return
            data = bytes(rest)
            rest.clear()
        position, start, end = 0, _PREFIX, len(data)
        length_at, max_frame = _LENGTH.unpack_from, self._max_frame
        while start <= end:  # one round for every quote of the day: no calls that can be spared
            (length,) = length_at(data, position)
            if length > max_frame:
                self._refuse(length)
            stop = start + length
            if stop > end:
                break
            yield data[start:stop]
            position, start = stop, stop + _PREFIX
        rest += data[position:] if position else data

    def _is_complete(self, buffer: bytearray) -> bool:
        if len(buffer) < _PREFIX:
            return False
        length: int = _LENGTH.unpack_from(buffer, 0)[0]
        if length > self._max_frame:
            self._refuse(length)
        return len(buffer) >= _PREFIX + length

    def _refuse(self, length: int) -> NoReturn:
        self._failed = True
        self._rest.clear()
        raise ProtocolError(
            f"the peer announced a frame of {length} bytes, and the cap is {self._max_frame}: "
            "either it does not speak this protocol (wrong port?), or max_frame must be raised"
        )
