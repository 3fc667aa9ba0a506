"""The cTrader wire as the sandbox writes it: length-prefixed frames, and the ProtoMessage envelope encoded by hand.

Pure. Shares no code with `tradesession.protocol` and does not use the generated envelope class: a fault in one of the two
would hide if both sides of a test came from the same code.

Sources: fact sheet sections 1.3 (4-byte big-endian length, which does not count itself) and 2.1 (payloadType = 1, payload = 2,
clientMsgId = 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PREFIX_SIZE: Final = 4

VARINT: Final = 0
FIXED64: Final = 1
LENGTH_DELIMITED: Final = 2
FIXED32: Final = 5

_MAX_VARINT_BYTES: Final = 10


class WireError(Exception):
    """Bytes that are no envelope."""


class FrameTooLongError(Exception):
    """A length prefix announces more than the server takes."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One ProtoMessage. `payload` None leaves the field out, `b""` writes it with no bytes; `message_id` is `clientMsgId`."""

    payload_type: int
    payload: bytes | None = None
    message_id: str | None = None


def encode_varint(value: int) -> bytes:
    """Base 128, low bits first. A negative number is written as its 64-bit two's complement, as protobuf does."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number that starts at `position`, and the position after it."""
    value = 0
    for count in range(_MAX_VARINT_BYTES):
        if position + count >= len(data):
            raise WireError("the bytes end within a number")
        byte = data[position + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    raise WireError("a number has more than ten bytes")


def encode_field(number: int, value: int | bytes) -> bytes:
    """One field: a varint for an int, length-delimited for bytes."""
    if isinstance(value, int):
        return encode_varint(number << 3 | VARINT) + encode_varint(value)
    return encode_varint(number << 3 | LENGTH_DELIMITED) + encode_varint(len(value)) + value


def decode_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Every field as (number, value), in the order of the bytes. Fixed-size values come as their bytes."""
    position = 0
    while position < len(data):
        tag, position = decode_varint(data, position)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise WireError("field number 0 does not exist")
        if kind == VARINT:
            value, position = decode_varint(data, position)
            yield number, value
            continue
        if kind == LENGTH_DELIMITED:
            size, position = decode_varint(data, position)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"wire type {kind} is not used by proto2 messages of today")
        if position + size > len(data):
            raise WireError("the bytes end within a field")
        yield number, data[position : position + size]
        position += size


def encode_envelope(envelope: Envelope) -> bytes:
    """The bytes of a ProtoMessage."""
    out = encode_field(1, envelope.payload_type)
    if envelope.payload is not None:
        out += encode_field(2, envelope.payload)
    if envelope.message_id is not None:
        out += encode_field(3, envelope.message_id.encode())
    return out


def decode_envelope(data: bytes) -> Envelope:
    """The ProtoMessage in `data`; unknown fields pass by. WireError when it is none."""
    payload_type: int | None = None
    payload: bytes | None = None
    message_id: str | None = None
    for number, value in decode_fields(data):
        if number == 1 and isinstance(value, int):
            payload_type = value & 0xFFFFFFFF
        elif number == 2 and isinstance(value, bytes):
            payload = value
        elif number == 3 and isinstance(value, bytes):
            try:
                message_id = value.decode()
            except UnicodeDecodeError as error:
                raise WireError("clientMsgId is not UTF-8") from error
        elif number in (1, 2, 3):
            raise WireError(f"field {number} of the envelope has the wrong wire type")
    if payload_type is None:
        raise WireError("payloadType is missing")
    return Envelope(payload_type, payload, message_id)


def encode_frame(data: bytes) -> bytes:
    """`data` behind its length."""
    return len(data).to_bytes(PREFIX_SIZE, "big") + data


class FrameReader:
    """Cuts a byte stream into frames, whatever the pieces it arrives in."""

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are complete now. FrameTooLongError as soon as a length says so, before any of it is read."""
        self._buffer += data
        while len(self._buffer) >= PREFIX_SIZE:
            size = int.from_bytes(self._buffer[:PREFIX_SIZE], "big")
            if size > self._max_frame:
                raise FrameTooLongError(f"a frame of {size} bytes; the server takes {self._max_frame}")
            end = PREFIX_SIZE + size
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[PREFIX_SIZE:end])
            del self._buffer[:end]
            yield frame
