"""Which message travels under which number, what answers what, what comes unasked, what reads history.

Pure, and nothing is listed by hand: everything is read off the descriptors once, at import. The payload type of a message is the
default of its `payloadType` field (names are no guide: some are spelled differently), the rest are the options of
proto/ctrader/options.proto. Always holds: payload types and classes are one to one, and every request has exactly one reply class.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from google.protobuf.text_format import MessageToString

from tradesession.ctrader import messages
from tradesession.ctrader.wire import options_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.message import Message


def _definitions() -> Iterator[tuple[type[Message], DescriptorProto]]:
    for name in messages.__all__:
        exported = getattr(messages, name)
        if isinstance(exported, type):  # an enum is a wrapper object, not a class
            cls = cast("type[Message]", exported)
            definition = DescriptorProto()  # as a message: the one view of a descriptor that is alike in all protobuf releases
            cls.DESCRIPTOR.CopyToProto(definition)
            yield cls, definition


def _numbers(cls: type[Message]) -> Iterator[int]:
    payload_type = cls.DESCRIPTOR.fields_by_name.get("payloadType")
    if payload_type is not None and payload_type.has_default_value:  # the envelope has the field, and no number of its own
        yield payload_type.default_value


def _names_its_account(definition: DescriptorProto) -> bool:
    return any(field.name == "ctidTraderAccountId" and field.label == FieldDescriptorProto.LABEL_REQUIRED for field in definition.field)


_DEFINITIONS = dict(_definitions())
_OPTIONS = {cls: definition.options.Extensions for cls, definition in _DEFINITIONS.items()}

CLASSES: Final[Mapping[int, type[Message]]] = MappingProxyType(
    dict(sorted(((number, cls) for cls in _DEFINITIONS for number in _numbers(cls)), key=lambda pair: pair[0]))
)
"""Message class by payload type, of everything that travels inside an envelope."""

PAYLOAD_TYPES: Final[Mapping[type[Message], int]] = MappingProxyType({cls: number for number, cls in CLASSES.items()})
"""Payload type by message class."""

REPLIES: Final[Mapping[type[Message], type[Message]]] = MappingProxyType(
    {
        cls: cast("type[Message]", getattr(messages, _OPTIONS[cls][options_pb2.answered_by]))
        for cls in CLASSES.values()
        if options_pb2.answered_by in _OPTIONS[cls]
    }
)
"""Reply class by request class. The five order requests map to ProtoOAExecutionEvent; an error may answer any request instead."""

EVENTS: Final[frozenset[type[Message]]] = frozenset(cls for cls, options in _OPTIONS.items() if options[options_pb2.event])
"""Messages that come unasked. ProtoOAExecutionEvent and ProtoOAOrderErrorEvent are among them and answer order requests as well."""

ORDER_REQUESTS: Final[frozenset[type[Message]]] = frozenset(cls for cls, reply in REPLIES.items() if reply in EVENTS)
"""The requests that place, change, cancel or close: answered by an event, and never to be sent twice."""

HISTORICAL: Final[frozenset[int]] = frozenset(number for number, cls in CLASSES.items() if options_pb2.historical in _OPTIONS[cls])
"""Payload types that a careful client counts against the small quota for historical data."""

HISTORICAL_DOCUMENTED: Final[frozenset[int]] = frozenset(
    number for number in HISTORICAL if _OPTIONS[CLASSES[number]][options_pb2.historical] == options_pb2.DOCUMENTED
)
"""Those of HISTORICAL that the Open API documents name."""

ACCOUNT_BOUND: Final[frozenset[type[Message]]] = frozenset(cls for cls in CLASSES.values() if _names_its_account(_DEFINITIONS[cls]))
"""Messages that always carry the id of the one account they are about."""

SECRET_FIELDS: Final[Mapping[type[Message], tuple[str, ...]]] = MappingProxyType(
    {
        cls: names
        for cls, definition in _DEFINITIONS.items()
        if (names := tuple(field.name for field in definition.field if field.options.debug_redact))
    }
)
"""Names of the fields that hold a token, a client secret, or bytes that may hold one; classes without such a field are absent."""


def class_for(payload_type: int) -> type[Message] | None:
    """Return the class that travels under `payload_type`, or None for a number that is not known (which is no error on the wire)."""
    return CLASSES.get(payload_type)


def payload_type_of(message: Message | type[Message]) -> int:
    """Return the payload type of a message or message class.

    Raises TypeError for what does not travel by itself: parts such as ProtoOATrader, the envelope, classes of another library.
    """
    cls = message if isinstance(message, type) else type(message)
    try:
        return PAYLOAD_TYPES[cls]
    except KeyError:
        message_text = f"{cls.__name__} has no payload type: send one of the messages of tradesession.ctrader.messages that end in Req"
        raise TypeError(message_text) from None


def reply_for(request: type[Message]) -> type[Message] | None:
    """Return the class that answers the request class, or None when it is not a request."""
    return REPLIES.get(request)


def name_of(payload_type: int) -> str:
    """Return the message name for logs and metrics, or "payload type N" for a number that is not known."""
    cls = CLASSES.get(payload_type)
    return f"payload type {payload_type}" if cls is None else cls.__name__


def is_event(cls: type[Message]) -> bool:
    """Return whether messages of this class come unasked."""
    return cls in EVENTS


def is_historical(payload_type: int) -> bool:
    """Return whether a request of this payload type is to be counted against the small quota for historical data."""
    return payload_type in HISTORICAL


def is_account_bound(cls: type[Message]) -> bool:
    """Return whether messages of this class always carry `ctidTraderAccountId`.

    Among the requests that is all of them except application authorization, version, and the three that carry a token in place of
    an account. Account authorization and logout are account bound too, though they do not need an authorized account.
    """
    return cls in ACCOUNT_BOUND


def describe(message: Message) -> str:
    """Return the message in one line for logs, with tokens and client secrets hidden. `str(message)` would show them."""
    hidden = [name for name in SECRET_FIELDS.get(type(message), ()) if message.HasField(name)]
    if hidden:
        shown = type(message)()
        shown.CopyFrom(message)
        for name in hidden:
            shown.ClearField(name)
        message = shown
    fields = [MessageToString(message, as_one_line=True), *(f"{name}: (hidden)" for name in hidden)]
    return f"{type(message).__name__}({' '.join(filter(None, fields))})"
