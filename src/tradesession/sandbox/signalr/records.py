"""The records of the SignalR hub protocol, as this server reads them.

Pure. A record is a dict as it stands in JSON. Always holds: what `read_record` gives back has a known type and the members that the type
must have, of the right kind.
"""

from __future__ import annotations

from typing import Any, Final

from tradesession.sandbox.signalr import text

END: Final = "\x1e"
END_BYTE: Final = 0x1E

INVOCATION, STREAM_ITEM, COMPLETION, STREAM_INVOCATION, CANCEL, PING, CLOSE, ACK, SEQUENCE = range(1, 10)

COUNTED: Final = frozenset({INVOCATION, STREAM_ITEM, COMPLETION, STREAM_INVOCATION, CANCEL})
"""The types that stateful reconnect counts and sends again."""

_MAX_TYPE: Final = 2**31 - 1

_CALL: Final[dict[str, tuple[type, bool]]] = {
    "target": (str, False), "arguments": (list, False), "invocationId": (str, True), "streamIds": (list, True), "headers": (dict, True),
}  # fmt: skip
_MEMBERS: Final[dict[int, dict[str, tuple[type, bool]]]] = {
    INVOCATION: _CALL,
    STREAM_ITEM: {"invocationId": (str, False)},
    COMPLETION: {"invocationId": (str, False), "error": (str, True)},
    STREAM_INVOCATION: _CALL | {"invocationId": (str, False)},
    CANCEL: {"invocationId": (str, False)},
    PING: {},
    CLOSE: {"error": (str, True)},
    ACK: {"sequenceId": (int, False)},
    SEQUENCE: {"sequenceId": (int, False)},
}
"""What the members of a type are, and whether they may be missing."""

Record = dict[str, Any]


class BadRecord(ValueError):
    """Not a record of the protocol; the server ends the connection."""


class UnknownType(ValueError):
    """A record of a type that the server does not know; it never gets past it."""


def write_record(record: Record | str) -> str:
    """As it travels; a text is taken as it is."""
    return (record if isinstance(record, str) else text.write(record)) + END


def read_record(data: bytes) -> Record:
    """The record in these bytes, without its end. BadRecord, UnknownType."""
    try:
        record = text.read(data)
    except text.BadJson as error:
        raise BadRecord(str(error)) from error
    if not isinstance(record, dict):
        raise BadRecord("a record is an object")
    kind = record.get("type")
    if not isinstance(kind, int) or isinstance(kind, bool) or abs(kind) > _MAX_TYPE:
        raise BadRecord("a record has a type")
    if kind not in _MEMBERS:
        raise UnknownType(kind)
    for name, (of_kind, may_miss) in _MEMBERS[kind].items():
        _want(record, name, of_kind, may_miss=may_miss)
    if kind == STREAM_ITEM and "item" not in record:
        raise BadRecord("a stream item has an item")
    if kind == COMPLETION and "error" in record and "result" in record:
        raise BadRecord("a completion has a result or an error")
    if not all(isinstance(one, str) for one in [*record.get("streamIds", ()), *record.get("headers", {}).values()]):
        raise BadRecord("streamIds and headers hold texts")
    return record


def _want(record: Record, name: str, kind: type, *, may_miss: bool) -> None:
    if may_miss and name not in record:
        return
    if not isinstance(record.get(name), kind):
        raise BadRecord(f"{name} is missing, or no {kind.__name__}")
