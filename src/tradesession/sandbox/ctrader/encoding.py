"""Inner messages as bytes, plain or with things in them that no client knows.

Pure. The plain way is the generated classes' own. Fields and enum values from the future are written by hand, at every depth,
because generated classes cannot hold them.
"""

from __future__ import annotations

import functools
from typing import Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from google.protobuf.message import Message

from tradesession.sandbox.ctrader.wire import encode_field

UNKNOWN_NUMBER: Final = 3001
UNKNOWN_FIELDS: Final = encode_field(UNKNOWN_NUMBER, 42) + encode_field(UNKNOWN_NUMBER + 1, b"from a later version")
UNKNOWN_ENUM_VALUE: Final = 9999
"""No enum of the Open API has it."""


def encode_message(message: Message, *, unknown_fields: bool = False, unknown_enum_values: bool = False) -> bytes:
    """The bytes of a message. Its own payloadType is left out, as the real server does (section 2.1): nobody sets it here."""
    if not unknown_fields and not unknown_enum_values:
        return message.SerializeToString()
    return _encode(message, unknown_fields, unknown_enum_values)


def _encode(message: Message, unknown_fields: bool, unknown_enum_values: bool) -> bytes:
    flat = type(message)()
    flat.CopyFrom(message)
    parts = []
    for field, value in message.ListFields():
        if field.message_type is not None:
            flat.ClearField(field.name)
            submessages = (value,) if isinstance(value, Message) else value
            parts += [encode_field(field.number, _encode(part, unknown_fields, unknown_enum_values)) for part in submessages]
    if unknown_enum_values:
        for name, number in _optional_enums(message.DESCRIPTOR):
            flat.ClearField(name)
            parts.append(encode_field(number, UNKNOWN_ENUM_VALUE))
    return flat.SerializePartialToString() + b"".join(parts) + (UNKNOWN_FIELDS if unknown_fields else b"")


@functools.cache
def _optional_enums(descriptor: Descriptor) -> tuple[tuple[str, int], ...]:
    definition = DescriptorProto()  # as a message: the one view of a descriptor that is alike in all protobuf releases
    descriptor.CopyToProto(definition)
    return tuple(
        (field.name, field.number)
        for field in definition.field
        if field.type == FieldDescriptorProto.TYPE_ENUM
        and field.label == FieldDescriptorProto.LABEL_OPTIONAL
        and field.name != "payloadType"
    )
