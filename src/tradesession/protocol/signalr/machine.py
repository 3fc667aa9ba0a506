"""HubMachine: the client's side of one hub connection, from the handshake to the Close record.

Pure: bytes in, events and bytes out. It knows which ids are live, so what it hands out always belongs to something: a call's completion
comes once, a stream's items come before its completion, nothing comes of what was abandoned. A record of a type that a server may not
know is never written, as a server that meets one hears nothing of what follows it (seen); 8 and 9 are written only where they were agreed.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from tradesession import policy
from tradesession.errors import InvalidRequest, ProtocolError
from tradesession.protocol.signalr.codec import JsonCodec
from tradesession.protocol.signalr.framing import SEPARATOR, RecordDecoder
from tradesession.protocol.signalr.records import (
    COUNTED,
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
from tradesession.protocol.signalr.replay import Replay

REMEMBERED: Final = 1024
"""Abandoned calls and streams that are remembered, so that what still comes of them is told from what nobody knows."""


class Phase(enum.Enum):
    """How far a hub connection is."""

    HANDSHAKE = "handshake"
    """The server's answer to the handshake is awaited; nothing else may come."""
    OPEN = "open"
    CLOSED = "closed"
    """The handshake was refused, or a Close record came: whatever follows is not looked at."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server accepted the handshake."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server refused the handshake, in its own words."""

    error: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Late:
    """A call or stream that was abandoned has ended on the server too; `name` is what whoever abandoned it gave."""

    invocation_id: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Stray:
    """Something came that belongs to nothing we know; it was passed by. `what` names it, never its content."""

    what: str


HubEvent: TypeAlias = Accepted | Refused | Invocation | StreamItem | Completion | CancelInvocation | Close | Late | Stray
"""What `HubMachine.receive` tells. Invocation: the server calls, and with an id wants an answer. CancelInvocation: it does not any more."""


class Outgoing(NamedTuple):
    """A call to send: its id (empty when no answer is wanted), the ids of its uploads, and the bytes."""

    invocation_id: str
    stream_ids: tuple[str, ...]
    data: bytes


class HubMachine:
    """One hub connection. With a `replay` both sides count and repeat records (stateful reconnect, handshake version 2).

    Records longer than `send_limit` bytes are refused here, since the server would close the connection; None for no limit.
    """

    def __init__(
        self,
        codec: JsonCodec | None = None,
        *,
        replay: Replay | None = None,
        send_limit: int | None = policy.HUB_SEND_LIMIT,
        max_record: int = policy.MAX_FRAME,
    ) -> None:
        self.phase = Phase.HANDSHAKE
        self.replay = replay
        self.spoken = 0
        """How many records came, apart from those of stateful reconnect: a server that sends nothing else has fallen dumb (seen)."""
        self._codec = codec or JsonCodec()
        self._send_limit = send_limit
        self._decoder = RecordDecoder(max_record)
        self._last_id = 0
        self._calls: dict[str, tuple[str, ...]] = {}  # live calls, each with its uploads
        self._streams: dict[str, tuple[str, ...]] = {}
        self._abandoned: OrderedDict[str, str | None] = OrderedDict()
        self._uploads: set[str] = set()
        self._asked: set[str] = set()  # calls of the server that want an answer

    @property
    def live(self) -> int:
        """Calls and streams whose completion has not come, and that were not abandoned."""
        return len(self._calls) + len(self._streams)

    # --- out --------------------------------------------------------------------------------------------------------------------

    def handshake(self) -> bytes:
        """The first record. Version 2 belongs to stateful reconnect; servers up to .NET 7 take 1 alone."""
        return b'{"protocol":"%b","version":%d}' % (self._codec.name.encode(), 2 if self.replay else 1) + SEPARATOR

    def invoke(self, target: str, arguments: list[Any], uploads: int = 0) -> Outgoing:
        """Call a method and want its answer; `uploads` streams of items follow. Raises InvalidRequest, and nothing is registered then."""
        invocation_id, stream_ids = self._ids(uploads)
        data = self._write(Invocation(target, arguments, invocation_id, stream_ids))
        self._calls[invocation_id] = stream_ids
        self._uploads.update(stream_ids)
        return Outgoing(invocation_id, stream_ids, data)

    def send(self, target: str, arguments: list[Any], uploads: int = 0) -> Outgoing:
        """Call a method and want no answer, not even that it failed. Raises InvalidRequest."""
        _, stream_ids = self._ids(uploads)
        data = self._write(Invocation(target, arguments, None, stream_ids))
        self._uploads.update(stream_ids)
        return Outgoing("", stream_ids, data)

    def stream(self, target: str, arguments: list[Any], uploads: int = 0) -> Outgoing:
        """Call a method that answers with items. Raises InvalidRequest."""
        invocation_id, stream_ids = self._ids(uploads)
        data = self._write(StreamInvocation(target, arguments, invocation_id, stream_ids))
        self._streams[invocation_id] = stream_ids
        self._uploads.update(stream_ids)
        return Outgoing(invocation_id, stream_ids, data)

    def abandon(self, invocation_id: str, name: str | None = None) -> bytes | None:
        """Nobody waits for this call or stream any more: what still comes of it is dropped, its end told as Late with this name.

        None when it has ended already.
        """
        stream_ids = self._calls.pop(invocation_id, None)
        if stream_ids is None:
            stream_ids = self._streams.pop(invocation_id, None)
        if stream_ids is None:
            return None
        self._uploads.difference_update(stream_ids)
        self._abandoned[invocation_id] = name
        if len(self._abandoned) > REMEMBERED:
            self._abandoned.popitem(last=False)
        return self._write(CancelInvocation(invocation_id))

    def upload(self, stream_id: str, item: Any) -> bytes | None:
        """One item of an upload. None when its call has ended: no more is wanted. Raises InvalidRequest."""
        return self._write(StreamItem(stream_id, item)) if stream_id in self._uploads else None

    def end_upload(self, stream_id: str, error: str | None = None) -> bytes | None:
        """The end of an upload; the server's iterator ends, or throws the error. None when it has ended already."""
        if stream_id not in self._uploads:
            return None
        self._uploads.discard(stream_id)
        return self._write(Completion(stream_id, error=error, has_result=False))

    def answer(self, invocation_id: str, result: Any) -> bytes | None:
        """The result that the server asked for; None when it does not want it any more. Raises InvalidRequest: the answer is still owed."""
        return self._reply(Completion(invocation_id, result))

    def refuse(self, invocation_id: str, error: str) -> bytes | None:
        """No result, but an error, so that the server does not wait. None when it does not want it any more."""
        return self._reply(Completion(invocation_id, error=error))

    def ping(self) -> bytes:
        """A sign of life."""
        return self._write(Ping())

    def goodbye(self) -> bytes:
        """The last record of an orderly end."""
        return self._write(Close())

    # --- in ---------------------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> Iterator[HubEvent]:
        """What these bytes say, in order; records that came glued to the handshake's answer among it. Raises ProtocolError.

        To be consumed to its end.
        """
        if self.phase is Phase.CLOSED:
            return
        for record in self._decoder.feed(data):
            self.spoken += 1
            if self.phase is Phase.OPEN:
                event = self._take(self._codec.decode(record))
                if event is not None:
                    yield event
            elif self.phase is Phase.HANDSHAKE:
                yield self._take_handshake(record)

    # --- stateful reconnect -----------------------------------------------------------------------------------------------------

    def suspend(self) -> None:
        """The socket broke, and another one may follow."""
        self._decoder.clear()
        if self.replay is not None:
            self.replay.suspend()

    def resume(self) -> bytes:
        """What another socket begins with: where we are, and all that the server has not acknowledged."""
        assert self.replay is not None, "only a machine with a replay is resumed"
        number, records = self.replay.resume()
        return self._write(Sequence(number)) + b"".join(records)

    def ack(self) -> bytes:
        """An acknowledgement of everything so far."""
        assert self.replay is not None, "only a machine with a replay acknowledges"
        return self._write(Ack(self.replay.ack()))

    # --- inside -----------------------------------------------------------------------------------------------------------------

    def _ids(self, uploads: int) -> tuple[str, tuple[str, ...]]:
        first = self._last_id + 1
        self._last_id = first + uploads
        return str(first), tuple(str(number) for number in range(first + 1, first + 1 + uploads))

    def _write(self, record: Record) -> bytes:
        data = self._codec.encode(record)
        if self._send_limit is not None and len(data) > self._send_limit:
            raise InvalidRequest(
                f"a {type(record).__name__} of {len(data)} bytes is over the {self._send_limit} that the server takes, and it would close "
                "the connection: send less at once, or raise send_limit if this server takes more"
            )
        if self.replay is not None and isinstance(record, COUNTED):
            self.replay.sent(data)
        return data

    def _reply(self, completion: Completion) -> bytes | None:
        if completion.invocation_id not in self._asked:
            return None
        data = self._write(completion)
        self._asked.discard(completion.invocation_id)
        return data

    def _take_handshake(self, record: bytes) -> Accepted | Refused:
        members = self._codec.decode_object(record)
        error = members.get("error")
        if error is not None:
            self.phase = Phase.CLOSED
            return Refused(error if isinstance(error, str) else "it gives no readable reason")
        if "type" in members:
            raise ProtocolError("the server sent a record before it answered the handshake")
        self.phase = Phase.OPEN
        return Accepted()

    def _take(self, record: Record) -> HubEvent | None:
        if self.replay is not None and not self._is_due(self.replay, record):
            return None
        if isinstance(record, StreamItem):
            if record.invocation_id in self._streams:
                return record
            return None if record.invocation_id in self._abandoned else Stray("item of a call or stream that is not open")
        if isinstance(record, Completion):
            return self._take_completion(record)
        if isinstance(record, Invocation):
            if record.invocation_id is not None:
                self._asked.add(record.invocation_id)
            return record
        if isinstance(record, CancelInvocation):
            if record.invocation_id not in self._asked:
                return None  # answered meanwhile
            self._asked.discard(record.invocation_id)
            return record
        if isinstance(record, Close):
            self.phase = Phase.CLOSED
            return record
        if isinstance(record, Unknown):
            return Stray(f"record of type {record.type}")
        return Stray("stream invocation, which clients do not serve") if isinstance(record, StreamInvocation) else None

    def _take_completion(self, record: Completion) -> Completion | Late | Stray:
        stream_ids = self._calls.pop(record.invocation_id, None)
        if stream_ids is None:
            stream_ids = self._streams.pop(record.invocation_id, None)
        if stream_ids is None:
            if record.invocation_id in self._abandoned:
                return Late(record.invocation_id, self._abandoned.pop(record.invocation_id))
            return Stray("completion of a call or stream that is not open")
        self._uploads.difference_update(stream_ids)
        return record

    def _is_due(self, replay: Replay, record: Record) -> bool:
        """Whether the record is to be looked at, once its part in stateful reconnect is done."""
        if isinstance(record, (Sequence, Ack)):
            self.spoken -= 1
        if isinstance(record, Sequence):
            replay.resynchronise(record.sequence_id)
            return False
        if replay.awaits_sequence:
            return False
        if isinstance(record, Ack):
            replay.acknowledged(record.sequence_id)
            return False
        return not isinstance(record, COUNTED) or replay.accept()
