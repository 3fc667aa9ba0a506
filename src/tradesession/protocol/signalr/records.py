"""The records of the hub protocol, as values.

Pure. What a record looks like on the wire is the codec's, which record may come when is the HubMachine's. Payloads show in no repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Invocation:
    """Type 1: call `target`. With an `invocation_id` the caller wants an answer; `stream_ids` are the uploads that follow."""

    target: str
    arguments: list[Any] = field(repr=False)
    invocation_id: str | None = None
    stream_ids: tuple[str, ...] = ()


@dataclass(slots=True)  # not frozen: there are thousands of them a second, and it would make each three times as dear
class StreamItem:
    """Type 2: one item of a stream, or of an upload."""

    invocation_id: str
    item: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """Type 3: the end of a call, a stream or an upload. `error` says that it failed.

    Who asked for a result takes a `result` of None for it; the end of a stream or an upload has none (`has_result` is False).
    """

    invocation_id: str
    result: Any = field(default=None, repr=False)
    error: str | None = None
    has_result: bool = True


@dataclass(frozen=True, slots=True)
class StreamInvocation:
    """Type 4: call a `target` that answers with items."""

    target: str
    arguments: list[Any] = field(repr=False)
    invocation_id: str
    stream_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelInvocation:
    """Type 5: the caller does not want the rest."""

    invocation_id: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Type 6: a sign of life."""


@dataclass(frozen=True, slots=True)
class Close:
    """Type 7: the last record. Without `allow_reconnect` the sender does not want to see this client again."""

    error: str | None = None
    allow_reconnect: bool = False


@dataclass(frozen=True, slots=True)
class Ack:
    """Type 8: every counted record up to this number has come (stateful reconnect)."""

    sequence_id: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """Type 9: the number of the counted record that comes next (stateful reconnect)."""

    sequence_id: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A type that this version of the protocol does not know. It can be received, and is never sent."""

    type: int


Record: TypeAlias = Invocation | StreamItem | Completion | StreamInvocation | CancelInvocation | Ping | Close | Ack | Sequence | Unknown

COUNTED: Final = (Invocation, StreamItem, Completion, StreamInvocation, CancelInvocation)
"""The records that stateful reconnect numbers, and sends again."""
