"""The records of the hubs and of REST: what must be there, what may be absent, and what nobody is sure of."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession import cplugin
from tradesession.cplugin.records import Kind, Record, read_kind, read_time
from tradesession.errors import ProtocolError

TIME = "2026-01-02T03:04:05.1234567Z"
READ_TIME = datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)

WIRES: dict[type[Record], dict[str, Any]] = {
    cplugin.Tick: {"symbol": "EURUSD", "bid": 1.1, "ask": 1.2, "lastTime": TIME},
    cplugin.Mt5Tick: {
        "symbol": "EURUSD", "bid": 1.1, "ask": 1.2, "last": 1.15, "lastTime": TIME, "volumeExt": 3.0, "flags": 6,
    },
    cplugin.MarginCall: {
        "login": 7, "group": "demo", "leverage": 100, "updated": 5, "balance": 10.5, "equity": 9.5, "volumeLots": 0.01, "margin": 1.0,
        "free": 2.0, "level": 95.5, "controllingType": 1, "levelType": 2,
    },
    cplugin.Mt5MarginCall: {"login": 2**60, "type": "MarginCall", "direction": "Enter"},
    cplugin.TradeUpdate: {
        "kind": "Updated", "order": 9, "login": 7, "symbol": "EURUSD", "cmd": 1, "volumeLots": 0.07, "openPrice": 1.1, "openTime": TIME,
        "sl": 1.0, "tp": 1.3, "closePrice": 1.2, "closeTime": TIME, "commission": -0.1, "storage": 0.0, "profit": 5.0, "taxes": 0.0,
        "comment": "by hand",
    },
    cplugin.UserUpdate: {
        "kind": 0, "login": 7, "group": "demo", "name": "A Person", "country": "CY", "leverage": 100, "balance": 1.0, "credit": 2.0,
        "enabled": True, "readOnly": False, "regDate": TIME, "lastDate": TIME, "email": "person@example.test", "phone": "+357",
        "comment": "of the person",
    },
    cplugin.SymbolUpdate: {
        "kind": 2, "symbol": "EURUSD", "description": "Euro", "currency": "EUR", "digits": 5, "tradeMode": 2, "spread": 10, "stopsLevel": 1,
        "freezeLevel": 0, "contractSize": 100000.0, "tickValue": 1.0, "tickSize": 0.00001, "marginInitial": 0.0, "marginMaintenance": 0.0,
    },
    cplugin.ConnectionStatus: {"connected": True},
    cplugin.Organization: {"id": "an-id", "name": "Ours", "created": TIME},
    cplugin.TradePlatform: {
        "id": "an-id", "name": "Demo", "type": "MT4", "login": 1, "organizationId": "another", "created": TIME,
        "organization": {"id": "another", "name": "Ours", "created": TIME},
    },
}  # fmt: skip
"""Every field of the fact sheet, as the wire has it."""

REQUIRED: dict[type[Record], set[str]] = {
    cplugin.Tick: {"symbol", "bid", "ask"},
    cplugin.Mt5Tick: {"symbol", "bid", "ask"},
    cplugin.MarginCall: {"login"},
    cplugin.Mt5MarginCall: {"login"},
    cplugin.TradeUpdate: {"order"},
    cplugin.UserUpdate: {"login"},
    cplugin.SymbolUpdate: {"symbol"},
    cplugin.ConnectionStatus: {"connected"},
    cplugin.Organization: {"id"},
    cplugin.TradePlatform: {"id"},
}

EXPECTED: dict[Any, Any] = {TIME: READ_TIME, 0.01: Decimal("0.01"), 0.07: Decimal("0.07")}

records = pytest.mark.parametrize("record", WIRES, ids=lambda record: record.__name__)
each_field = pytest.mark.parametrize(("record", "name"), [(record, name) for record, wire in WIRES.items() for name in wire])


def snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


@records
def test_every_field_of_the_fact_sheet_is_read(record: type[Record]) -> None:
    wire = WIRES[record]
    read = record.of(wire)
    assert {one.name for one in fields(record)} == {snake(name) for name in wire} | {"wire"}
    for name, value in wire.items():
        found = getattr(read, snake(name))
        if name == "kind":
            assert isinstance(found, Kind)
        elif name == "organization":
            assert found == cplugin.Organization.of(value)
        else:
            assert found == EXPECTED.get(value, value)
            assert type(found) is type(EXPECTED.get(value, value))


@records
def test_capitalised_names_say_the_same(record: type[Record]) -> None:
    wire = WIRES[record]
    assert record.of({name[0].upper() + name[1:]: value for name, value in wire.items()}) == record.of(wire)


@each_field
@pytest.mark.parametrize("value", [None, "absent", {"odd": []}, [1]])
def test_what_is_not_needed_may_be_absent_null_or_odd(record: type[Record], name: str, value: Any) -> None:
    wire = WIRES[record] | {name: value}
    if value == "absent":
        del wire[name]
    if name in REQUIRED[record]:
        with pytest.raises(ProtocolError, match=rf"a {record.__name__} came without a readable {name}"):
            record.of(wire)
    else:
        assert getattr(record.of(wire), snake(name)) is None


@records
def test_what_nobody_knows_passes_by_and_is_kept(record: type[Record]) -> None:
    wire = WIRES[record] | {"brandNew": {"deep": 1}}
    read = record.of(wire)
    assert read == record.of(WIRES[record])
    assert read.wire["brandNew"] == {"deep": 1}


@pytest.mark.parametrize("value", [None, 5, "text", [], True])
@records
def test_what_is_no_object_is_refused(record: type[Record], value: Any) -> None:
    with pytest.raises(ProtocolError, match="an object"):
        record.of(value)


def test_what_names_a_person_shows_in_no_repr() -> None:
    wire = WIRES[cplugin.UserUpdate]
    shown = repr(cplugin.UserUpdate.of(wire)) + str(cplugin.TradeUpdate.of(WIRES[cplugin.TradeUpdate]))
    for private in ("A Person", "person@example.test", "+357", "of the person", "by hand"):
        assert private not in shown


@pytest.mark.parametrize(("value", "read"), [("1.25", 1.25), (2, 2.0), ("NaN", None), (float("inf"), None), (10**400, None), (True, None)])
def test_numbers_come_as_numbers_or_texts_and_are_finite(value: object, read: float | None) -> None:
    update = cplugin.TradeUpdate.of({"order": "9", "profit": value, "volumeLots": value, "login": "x"})
    assert (update.order, update.login, update.profit) == (9, None, read)
    if read is None and value != 10**400:
        assert update.volume_lots is None
    elif read is not None:
        assert update.volume_lots == Decimal(str(value))


def test_no_price_is_made_up() -> None:
    with pytest.raises(ProtocolError):
        cplugin.Tick.of({"symbol": "EURUSD", "ask": 1.2})


@pytest.mark.parametrize("value", ["Added", "ADDED", " added ", 0, "0"])
def test_kinds_are_texts_or_numbers(value: object) -> None:
    assert read_kind(value) is Kind.ADDED


@pytest.mark.parametrize("value", ["Renamed", 3, -1, True, 1.5, None, [], "1.0"])
def test_a_kind_that_is_not_known_is_none(value: object) -> None:
    assert read_kind(value) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5)),  # noqa: DTZ001 - the server did not say whose time it is
        ("2026-01-02 03:04", datetime(2026, 1, 2, 3, 4)),  # noqa: DTZ001
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.1z", datetime(2026, 1, 2, 3, 4, 5, 100_000, UTC)),
        ("2026-01-02T03:04:05.1234567+02:00", datetime(2026, 1, 2, 3, 4, 5, 123_456, timezone(timedelta(hours=2)))),
        ("2026-01-02T03:04:05-0330", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(-timedelta(hours=3, minutes=30)))),
    ],
)
def test_times_in_every_spelling(text: str, moment: datetime) -> None:
    read = read_time(text)
    assert read == moment
    assert read is not None
    assert (read.tzinfo is None) == (moment.tzinfo is None)


@pytest.mark.parametrize("value", ["", "now", "2026-13-01T00:00:00", "2026-01-01", "2026-01-01T00:00:00+99:00", 5, None])
def test_what_is_no_time_is_none(value: object) -> None:
    assert read_time(value) is None


@given(st.datetimes(), st.integers(0, 7))
def test_a_time_of_dotnet_comes_back(moment: datetime, digits: int) -> None:
    fraction = f".{moment.microsecond:06}0"[: digits + 1] if digits else ""
    kept = int(fraction[1:].ljust(6, "0")[:6]) if fraction else 0
    text = f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}{fraction}Z"
    assert read_time(text) == moment.replace(microsecond=kept, tzinfo=UTC)


@given(st.dictionaries(st.sampled_from([*WIRES[cplugin.TradeUpdate], "other"]), st.from_type(object) | st.text() | st.floats()))
def test_whatever_comes_is_a_record_or_a_protocol_error(wire: dict[str, Any]) -> None:
    for record in WIRES:
        try:
            read = record.of(wire)
        except ProtocolError:
            continue
        assert read.wire is wire
