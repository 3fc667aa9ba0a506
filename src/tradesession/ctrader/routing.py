"""The Open API's envelope, and which message goes where: the Dialect of a cTrader Link.

Pure. The envelope's payloadType is the truth about what is inside (servers leave the inner one out); an answer is what carries an id
that is waited for; an execution that answers an order request is an event as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError, EncodeError, Message

from tradesession.ctrader import registry
from tradesession.ctrader.judge import ERROR_MESSAGES, ErrorMessage, judge, text
from tradesession.ctrader.messages import (
    ProtoErrorRes,
    ProtoHeartbeatEvent,
    ProtoMessage,
    ProtoOAAccountAuthRes,
    ProtoOAErrorRes,
    ProtoOAExecutionEvent,
    ProtoOAExecutionType,
    ProtoOAOrderErrorEvent,
    ProtoOARefreshTokenReq,
)
from tradesession.errors import InvalidRequest, ProtocolError
from tradesession.protocol.turns import Lane
from tradesession.secrets import Secret, redact_text
from tradesession.session.link import Envelope, Incoming

HEARTBEAT: Final = registry.payload_type_of(ProtoHeartbeatEvent)
_parse: Final = ProtoMessage.FromString
_SHORT_BODY: Final = 1 << 7
"""Bodies of fewer bytes have a length of one byte in the envelope."""
_HEARTBEAT_FRAME: Final = ProtoMessage(payloadType=HEARTBEAT).SerializeToString()
_ERROR_TYPES: Final = frozenset(map(registry.payload_type_of, ERROR_MESSAGES))
_EVENT_TYPES: Final = frozenset(map(registry.payload_type_of, (*registry.EVENTS, ProtoOAAccountAuthRes)))
"""What is handed on in wire order, answer or not. An account's authorisation is among it: what comes about the account next is newer."""
_REFUSED_EXECUTIONS: Final = frozenset({ProtoOAExecutionType.ORDER_REJECTED, ProtoOAExecutionType.ORDER_CANCEL_REJECTED})


def _heads() -> dict[bytes, int]:
    """How the envelopes of each payload type begin, up to the length of what is inside."""
    bare = ((kind, ProtoMessage(payloadType=kind, payload=b"").SerializeToString()[:-1]) for kind in registry.CLASSES)
    return {head: kind for kind, head in bare if len(head) == _HEAD}


_HEAD: Final = 4
"""Bytes of almost every head: the tags of payloadType and payload, and two bytes of a payload type above 127."""
_HEADS: Final = _heads()

WITH_EFFECTS: Final = registry.ORDER_REQUESTS | {ProtoOARefreshTokenReq}
"""Requests that must not be executed twice: orders cost money, and a refresh token works once."""


def encode_envelope(message: Message, correlation_id: str = "") -> bytes:
    """A message inside its ProtoMessage. Raises InvalidRequest when a required field is missing or the message travels not by itself."""
    try:
        payload = message.SerializeToString()
        envelope = ProtoMessage(payloadType=registry.payload_type_of(message), payload=payload)
    except EncodeError as error:
        missing = str(error).rpartition(":")[2].strip()  # names of fields, never values
        raise InvalidRequest(f"{type(message).__name__} cannot be sent without {missing}") from None
    except TypeError as error:
        raise InvalidRequest(str(error)) from None
    if correlation_id:
        envelope.clientMsgId = correlation_id
    return envelope.SerializeToString()


def _secrets_of(request: Message) -> list[Secret]:
    return [Secret(getattr(request, name)) for name in registry.SECRET_FIELDS.get(type(request), ())]


class OpenApiDialect:
    """See `session.link.Dialect`. `wall` is the wall clock in seconds."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall

    def encode(self, message: Message, correlation_id: str) -> bytes:
        """See Dialect."""
        if type(message) not in registry.REPLIES:
            raise InvalidRequest(f"{type(message).__name__} is no request: send one of the messages whose names end in Req")
        return encode_envelope(message, correlation_id)

    def heartbeat(self) -> bytes:
        """See Dialect."""
        return _HEARTBEAT_FRAME

    def decode(self, frame: bytes) -> Envelope:
        """See Dialect. An envelope of a short body and nothing else, as quotes have it, is read by hand, at half the cost."""
        size = len(frame) - _HEAD - 1
        if 0 <= size < _SHORT_BODY and frame[_HEAD] == size and (known := _HEADS.get(frame[:_HEAD])):
            return known, "", frame[_HEAD + 1 :]
        try:
            envelope = _parse(frame)
        except DecodeError:
            raise ProtocolError(f"a frame of {len(frame)} bytes holds no ProtoMessage: is this the protobuf port?") from None
        kind, correlation_id = envelope.payloadType, envelope.clientMsgId
        if not kind and not envelope.HasField("payloadType"):  # required, but the runtime does not insist on it
            raise ProtocolError(f"a frame of {len(frame)} bytes holds no payloadType: is this the protobuf port?")
        return kind, text(correlation_id) if correlation_id else "", envelope.payload

    def read_reply(self, request: Message, incoming: Incoming) -> Message:
        """See Dialect."""
        name = type(request).__name__
        expected = registry.REPLIES[type(request)]
        answer = registry.CLASSES.get(incoming.kind)
        if answer is None or (answer is not expected and incoming.kind not in _ERROR_TYPES):
            raise ProtocolError(f"{name} was answered with {registry.name_of(incoming.kind)} in place of {expected.__name__}")
        try:
            reply = answer.FromString(incoming.body)
        except DecodeError:
            raise ProtocolError(
                f"{name} was answered with {answer.__name__}, which cannot be decoded ({len(incoming.body)} bytes)"
            ) from None
        refusal = self._refusal(reply)
        if refusal is not None:
            if not isinstance(refusal, ProtoOAExecutionEvent):
                refusal.description = redact_text(text(refusal.description), _secrets_of(request))  # it may quote the request
            raise judge(refusal, wall=self._wall(), request=name)
        return reply

    def is_event(self, incoming: Incoming) -> bool:
        """See Dialect."""
        return incoming.kind in _EVENT_TYPES

    def lane(self, message: Message) -> Lane:
        """See Dialect."""
        if type(message) in registry.ORDER_REQUESTS:
            return Lane.ORDER
        return Lane.HISTORY if self.kind(message) in registry.HISTORICAL else Lane.READ

    def kind(self, message: Message) -> int:
        """See Dialect."""
        return registry.PAYLOAD_TYPES.get(type(message), 0)

    def has_effects(self, message: Message) -> bool:
        """See Dialect."""
        return type(message) in WITH_EFFECTS

    def name(self, message: Message) -> str:
        """See Dialect."""
        return type(message).__name__

    @staticmethod
    def _refusal(reply: Message) -> ErrorMessage | None:
        if isinstance(reply, (ProtoErrorRes, ProtoOAErrorRes, ProtoOAOrderErrorEvent)):
            return reply
        if isinstance(reply, ProtoOAExecutionEvent) and (reply.errorCode or reply.executionType in _REFUSED_EXECUTIONS):
            return reply
        return None
