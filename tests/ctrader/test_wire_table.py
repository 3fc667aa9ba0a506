"""The generated classes against the table of the wire: nothing missing, nothing extra, nothing different.

The table stands in tests/data, written down apart from the .proto files. Where the fact sheets lie beside the checkout, their table is
held against the classes as well.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from tradesession.ctrader import messages, registry
from tradesession.ctrader.wire import (
    account_pb2,
    envelope_pb2,
    errors_pb2,
    history_pb2,
    market_pb2,
    payload_types_pb2,
    session_pb2,
    symbols_pb2,
    trading_pb2,
)

ROOT = Path(__file__).parents[2]
TABLES = [path for path in (ROOT / "tests/data/ctrader-wire.json", ROOT.parent / "shared/facts/ctrader-wire.json") if path.exists()]
WITHDRAWN = {
    "ProtoOAv1PnLChangeEvent",
    "ProtoOAv1PnLChangeSubscribeReq",
    "ProtoOAv1PnLChangeSubscribeRes",
    "ProtoOAv1PnLChangeUnSubscribeReq",
    "ProtoOAv1PnLChangeUnSubscribeRes",
}
MODULES = (
    account_pb2,
    envelope_pb2,
    errors_pb2,
    history_pb2,
    market_pb2,
    payload_types_pb2,
    session_pb2,
    symbols_pb2,
    trading_pb2,
)

type_names = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}
label_names = {number: name.removeprefix("LABEL_").lower() for name, number in FieldDescriptorProto.Label.items()}


def generated_files() -> list[FileDescriptorProto]:
    files = []
    for module in MODULES:
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file)
    return files


def generated_field(field: FieldDescriptorProto) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": field.name,
        "number": field.number,
        "label": label_names[field.label],
        "type": field.type_name.rpartition(".")[2] or type_names[field.type],
    }
    if field.HasField("default_value"):
        row["default"] = {"true": True, "false": False}.get(field.default_value, field.default_value)
    if field.options.packed:
        row["packed"] = True
    if field.options.deprecated:
        row["deprecated"] = True
    return row


GENERATED_ENUMS = {enum.name: {value.name: value.number for value in enum.value} for file in generated_files() for enum in file.enum_type}
GENERATED_MESSAGES: dict[str, DescriptorProto] = {message.name: message for file in generated_files() for message in file.message_type}


@pytest.fixture(params=TABLES, ids=lambda path: path.parent.name)
def table(request: pytest.FixtureRequest) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(request.param.read_text())
    gone = read.get("withdrawnUpstream", {"messages": [], "enumValues": {}})
    assert set(gone["messages"]) <= WITHDRAWN
    return {
        "enums": {
            name: {value: number for value, number in values.items() if value not in gone["enumValues"].get(name, {})}
            for name, values in read["enums"].items()
        },
        "messages": {name: message for name, message in read["messages"].items() if name not in gone["messages"]},
    }


def test_the_table_is_the_whole_wire(table: dict[str, Any]) -> None:
    assert len(table["enums"]) == 29
    assert sum(len(values) for values in table["enums"].values()) == 284
    assert len(table["messages"]) == 119
    assert sum(len(message["fields"]) for message in table["messages"].values()) == 574


def test_enums_and_their_values_are_those_of_the_table(table: dict[str, Any]) -> None:
    assert table["enums"] == GENERATED_ENUMS


def test_messages_are_those_of_the_table(table: dict[str, Any]) -> None:
    assert set(GENERATED_MESSAGES) == set(table["messages"])


@pytest.mark.parametrize("name", sorted(GENERATED_MESSAGES))
def test_fields_are_those_of_the_table(table: dict[str, Any], name: str) -> None:
    def by_number(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: int(row["number"]))

    generated = [generated_field(field) for field in GENERATED_MESSAGES[name].field]
    assert by_number(generated) == by_number(table["messages"][name]["fields"])


def test_payload_types_are_those_of_the_table(table: dict[str, Any]) -> None:
    expected = {message["payloadType"]: name for name, message in table["messages"].items() if message["payloadType"] is not None}
    assert {number: cls.__name__ for number, cls in registry.CLASSES.items()} == expected


def test_what_was_withdrawn_upstream_is_absent() -> None:
    assert not WITHDRAWN & set(messages.__all__)
    assert not set(range(2189, 2194)) & set(messages.ProtoOAPayloadType.values())
    assert "NOT_SUBSCRIBED_TO_PNL" not in messages.ProtoOAErrorCode.keys()  # noqa: SIM118 - an enum wrapper, not a mapping


def test_every_message_and_enum_is_exported_under_its_documented_name() -> None:
    assert set(messages.__all__) == set(GENERATED_MESSAGES) | set(GENERATED_ENUMS)
    for name in messages.__all__:
        assert getattr(messages, name).DESCRIPTOR.name == name


def test_classes_cannot_collide_with_those_of_another_library_in_the_same_process() -> None:
    for file in generated_files():
        assert file.package == "tradesession.ctrader"
        assert file.name.startswith("tradesession/ctrader/wire/")


def proto_sources() -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / "proto/ctrader").glob("*.proto")))


def test_every_message_and_enum_says_what_it_is_for() -> None:
    explained = set(re.findall(r"^// .+\n(?:message|enum) (\w+) \{", proto_sources(), re.MULTILINE))
    assert set(GENERATED_MESSAGES) | set(GENERATED_ENUMS) <= explained


def test_every_request_names_its_answer_in_the_comment_and_every_reply_its_request() -> None:
    comments = {
        name: " ".join(comment.replace("//", "").split())
        for comment, name in re.findall(r"((?:^// .+\n)+)message (\w+) \{", proto_sources(), re.MULTILINE)
    }
    for request, reply in registry.REPLIES.items():
        assert comments[request.__name__].endswith(f"Answered by {reply.__name__}.")
        if reply not in registry.EVENTS:
            assert comments[reply.__name__].endswith(f"Answers {request.__name__}.")
