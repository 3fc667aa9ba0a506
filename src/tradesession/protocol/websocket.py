"""The messages of a WebSocket server that need no more than cutting: whole, of one frame, and not long. They are almost all that ever come.

Pure. Everything else (control frames, fragments, long messages, what breaks the protocol) is passed on as it came, frame by frame, for a
full implementation of RFC 6455. Always holds: any chunking of the input gives the same; each byte goes exactly one of the two ways, in
order; less than one message of `longest` bytes is kept back.
"""

from __future__ import annotations

from typing import Final

_FIN: Final = 0x80
_LENGTH_OF_2: Final = 126
_LENGTH_OF_8: Final = 127


class MessageCutter:
    """Cuts the messages of one opcode, of up to `longest` bytes each, out of what a server sends behind the opening handshake."""

    __slots__ = ("_data", "_first", "_longest", "_owed")

    def __init__(self, opcode: int, longest: int) -> None:
        self._first = _FIN | opcode
        self._longest = longest
        self._data = b""
        self._owed = 0  # bytes of a frame that is being passed on

    def feed(self, data: bytes) -> None:
        """Bytes came; they are had by `take`."""
        self._data = self._data + data if self._data else data

    def take(self, *, is_whole: bool) -> tuple[list[bytes], bytes]:
        """The next messages, and what is to be passed on behind them. Again and again, until nothing is to be passed on.

        `is_whole` tells that no fragments of a message have come whose end has not: a message between them breaks the protocol.
        """
        data, position, end = self._data, 0, len(self._data)
        messages: list[bytes] = []
        while not self._owed and end - position >= 2:
            length, start = data[position + 1], position + 2
            if length >= _LENGTH_OF_2:
                start += {_LENGTH_OF_2: 2, _LENGTH_OF_8: 8}.get(length, 0)
                if start > end:
                    break
                # More than 127 says that the frame is masked, which a server's never is: all that follows is passed on.
                length = int.from_bytes(data[position + 2 : start]) if length <= _LENGTH_OF_8 else 1 << 63
            stop = start + length
            if not is_whole or data[position] != self._first or length > self._longest:
                self._owed = stop - position
            elif stop > end:
                break
            else:
                messages.append(data[start:stop])
                position = stop
        other = data[position : position + self._owed] if self._owed else b""
        self._owed -= len(other)
        self._data = data[position + len(other) :]
        return messages, other

    def rest(self) -> bytes:
        """What was kept back; it is not kept any more."""
        rest, self._data = self._data, b""
        return rest
