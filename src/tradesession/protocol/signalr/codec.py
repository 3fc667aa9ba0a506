"""The JSON form of the hub protocol: records to bytes, and back.

Pure. What is unknown passes by (members, types); what is known must have the type that the protocol gives it, else it is a ProtocolError,
whose text shows nothing of the content. Nothing leaves that would make a server close the connection instead of refusing the one call.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable
from typing import Any, Final, NoReturn

from tradesession.errors import InvalidRequest, ProtocolError
from tradesession.protocol.signalr.framing import SEPARATOR
from tradesession.protocol.signalr.records import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Ping,
    Record,
    Sequence,
    StreamInvocation,
    StreamItem,
    Unknown,
)

MAX_DEPTH: Final = 64
"""Objects and lists within each other that System.Text.Json reads, the record itself counted; at one more the server was seen to close."""

_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


class JsonCodec:
    """Records as JSON texts in UTF-8. `parse_float` makes numbers with a point of what it is given, such as `decimal.Decimal`."""

    name: Final = "json"
    """What the handshake calls it."""

    def __init__(self, parse_float: Callable[[str], Any] = float) -> None:
        self._encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
        self._decoder = json.JSONDecoder(parse_float=parse_float, parse_constant=_no_number)

    # --- out --------------------------------------------------------------------------------------------------------------------

    def encode(self, record: Record) -> bytes:
        """The record with its separator. Raises InvalidRequest for content that JSON, or a server's reader of it, does not take."""
        members = _WRITERS[type(record)](record)
        try:
            data = self._encoder.encode(members).encode()
        except UnicodeEncodeError:
            raise InvalidRequest(f"{_name(record)} holds text that is not Unicode (half a surrogate pair); correct it") from None
        except TypeError as error:
            raise InvalidRequest(f"{_name(record)} cannot be written in JSON ({error}); convert it first") from None
        except (ValueError, RecursionError):  # NaN and infinities; lists that hold themselves
            raise InvalidRequest(f"{_name(record)} holds a number or a structure that JSON cannot express; correct it") from None
        if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _depth(data) > MAX_DEPTH:
            raise InvalidRequest(f"{_name(record)} is nested over {MAX_DEPTH} deep, at which a server closes the connection; flatten it")
        return data + SEPARATOR

    # --- in ---------------------------------------------------------------------------------------------------------------------

    def decode(self, data: bytes) -> Record:
        """The record of these bytes, separator excluded. Raises ProtocolError for what is none."""
        members = self.decode_object(data)
        kind = members.get("type")
        if type(kind) is not int:
            raise ProtocolError("the server sent a record without a type")
        reader = _READERS.get(kind)
        return Unknown(kind) if reader is None else reader(members)

    def decode_object(self, data: bytes) -> dict[str, Any]:
        """The JSON object of these bytes. Raises ProtocolError for anything else."""
        try:
            text = data.decode()
            value, end = self._decoder.raw_decode(text) if text.startswith("{") else (None, -1)
            if end != len(text):  # blanks around it, or nonsense: `decode` knows, at twice the cost
                value = self._decoder.decode(text)
        except (ValueError, ArithmeticError, RecursionError):  # ArithmeticError: a Decimal with an exponent beyond all bounds
            value = None  # and no exception as context: its text would show the content
        if not isinstance(value, dict):
            raise ProtocolError("the server sent a record that is no JSON object")
        return value


# --- writing ------------------------------------------------------------------------------------------------------------------------


def _call(kind: int, record: Any) -> dict[str, Any]:
    members: dict[str, Any] = {"type": kind}
    if record.invocation_id is not None:
        members["invocationId"] = record.invocation_id
    members["target"] = record.target
    members["arguments"] = record.arguments
    if record.stream_ids:
        members["streamIds"] = record.stream_ids
    return members


def _completion(record: Completion) -> dict[str, Any]:
    members: dict[str, Any] = {"type": 3, "invocationId": record.invocation_id}
    if record.error is not None:
        members["error"] = record.error
    elif record.has_result:
        members["result"] = record.result
    return members


def _close(record: Close) -> dict[str, Any]:
    members: dict[str, Any] = {"type": 7}
    if record.error is not None:
        members["error"] = record.error
    if record.allow_reconnect:
        members["allowReconnect"] = True
    return members


_WRITERS: Final[dict[type, Callable[[Any], dict[str, Any]]]] = {
    Invocation: lambda record: _call(1, record),
    StreamItem: lambda record: {"type": 2, "invocationId": record.invocation_id, "item": record.item},
    Completion: _completion,
    StreamInvocation: lambda record: _call(4, record),
    CancelInvocation: lambda record: {"type": 5, "invocationId": record.invocation_id},
    Ping: lambda record: {"type": 6},
    Close: _close,
    Ack: lambda record: {"type": 8, "sequenceId": record.sequence_id},
    Sequence: lambda record: {"type": 9, "sequenceId": record.sequence_id},
}
"""How each record is written. A record of an unknown type is not among them: a server that does not know it hears nothing after it."""


def _plain(value: object) -> str:
    """What Python has and JSON has not, as .NET writes it."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dt.date):  # datetimes are dates
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _name(record: Record) -> str:
    target = getattr(record, "target", None)
    return f"the call of {target!r}" if target is not None else f"a {type(record).__name__}"


def _depth(data: bytes) -> int:
    deepest = depth = 0
    for token in _TOKENS.finditer(data):
        opening = token[0] in (b"[", b"{")
        if opening or token[0] in (b"]", b"}"):
            depth += 1 if opening else -1
            deepest = max(deepest, depth)
    return deepest


# --- reading ------------------------------------------------------------------------------------------------------------------------


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _malformed(kind: str, member: str) -> ProtocolError:
    return ProtocolError(f"the server sent a record of type {kind} whose {member} is missing or of the wrong kind")


def _text(members: dict[str, Any], member: str, kind: str) -> str:
    value = members.get(member)
    if not isinstance(value, str):
        raise _malformed(kind, member)
    return value


def _optional_text(members: dict[str, Any], member: str, kind: str) -> str | None:
    return None if members.get(member) is None else _text(members, member, kind)


def _number(members: dict[str, Any], kind: str) -> int:
    value = members.get("sequenceId")
    if type(value) is not int or value < 0:
        raise _malformed(kind, "sequenceId")
    return value


def _arguments(members: dict[str, Any], kind: str) -> list[Any]:
    value = members.get("arguments")
    if not isinstance(value, list):
        raise _malformed(kind, "arguments")
    return value


def _stream_ids(members: dict[str, Any], kind: str) -> tuple[str, ...]:
    value = members.get("streamIds")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _malformed(kind, "streamIds")
    return tuple(value)


def _read_invocation(members: dict[str, Any]) -> Invocation:
    kind = "1 (Invocation)"
    return Invocation(
        _text(members, "target", kind),
        _arguments(members, kind),
        _optional_text(members, "invocationId", kind),
        _stream_ids(members, kind),
    )


def _read_item(members: dict[str, Any]) -> StreamItem:
    invocation_id = members.get("invocationId")
    if type(invocation_id) is not str or "item" not in members:
        raise _malformed("2 (StreamItem)", "invocationId or item")
    return StreamItem(invocation_id, members["item"])


def _read_completion(members: dict[str, Any]) -> Completion:
    kind = "3 (Completion)"
    error = _optional_text(members, "error", kind)
    result = members.get("result")
    if error is not None and result is not None:
        raise ProtocolError("the server sent a record of type 3 (Completion) that has both a result and an error")
    return Completion(_text(members, "invocationId", kind), result, error, has_result="result" in members)


def _read_stream_invocation(members: dict[str, Any]) -> StreamInvocation:
    kind = "4 (StreamInvocation)"
    return StreamInvocation(
        _text(members, "target", kind), _arguments(members, kind), _text(members, "invocationId", kind), _stream_ids(members, kind)
    )


def _read_close(members: dict[str, Any]) -> Close:
    kind = "7 (Close)"
    allow = members.get("allowReconnect")
    if allow is not None and not isinstance(allow, bool):
        raise _malformed(kind, "allowReconnect")
    return Close(_optional_text(members, "error", kind), bool(allow))


_READERS: Final[dict[int, Callable[[dict[str, Any]], Record]]] = {
    1: _read_invocation,
    2: _read_item,
    3: _read_completion,
    4: _read_stream_invocation,
    5: lambda members: CancelInvocation(_text(members, "invocationId", "5 (CancelInvocation)")),
    6: lambda members: Ping(),
    7: _read_close,
    8: lambda members: Ack(_number(members, "8 (Ack)")),
    9: lambda members: Sequence(_number(members, "9 (Sequence)")),
}
