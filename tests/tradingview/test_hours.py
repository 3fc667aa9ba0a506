"""Trading hours: sessions, days, nights and zones, as brokers spell them."""

from __future__ import annotations

import datetime as dt

import pytest

from tradesession.tradingview.hours import Hours


def open_at(text: str, moment: str, zone: str = "Etc/UTC") -> bool:
    hours = Hours.parse(text, zone)
    assert hours is not None
    return hours.is_open(dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC).timestamp())


FRIDAY, SATURDAY, SUNDAY, MONDAY = "2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23"


@pytest.mark.parametrize(
    ("text", "moment", "expected"),
    [
        ("24x7", f"{SATURDAY}T03:00", True),
        ("0930-1600", f"{FRIDAY}T09:29", False),
        ("0930-1600", f"{FRIDAY}T09:30", True),
        ("0930-1600", f"{FRIDAY}T15:59", True),
        ("0930-1600", f"{FRIDAY}T16:00", False),
        ("0930-1600", f"{SATURDAY}T12:00", False),
        ("0930-1600:7", f"{SATURDAY}T12:00", True),
        ("0900-1200,1300-1700:6", f"{FRIDAY}T12:30", False),
        ("0900-1200,1300-1700:6", f"{FRIDAY}T13:30", True),
        ("0930-1600:23456|1000-1400:7", f"{SATURDAY}T13:00", True),
        ("1700-1700:23456", f"{SUNDAY}T16:59", False),
        ("1700-1700:23456", f"{SUNDAY}T17:00", True),
        ("1700-1700:23456", f"{MONDAY}T03:00", True),
        ("1700-1700:23456", f"{FRIDAY}T16:59", True),
        ("1700-1700:23456", f"{FRIDAY}T17:01", False),
        ("2200-0600:1", f"{SATURDAY}T23:00", True),
        ("0000-2400:6", f"{FRIDAY}T23:59", True),
        ("0000-0000:23456", f"{FRIDAY}T23:59", True),
        ("0000-0000:23456", f"{SUNDAY}T12:00", False),
        ("0000-0000:23456", f"{MONDAY}T00:00", True),
        ("0930-1600;1", f"{FRIDAY}T12:00", True),
        ("1;0930-1600", f"{FRIDAY}T12:00", True),
    ],
)
def test_a_session_is_on_from_its_beginning_to_its_end(text: str, moment: str, expected: bool) -> None:
    assert open_at(text, moment) is expected


def test_hours_are_those_of_the_exchanges_zone() -> None:
    assert open_at("0930-1600", f"{FRIDAY}T14:30", "America/New_York")
    assert not open_at("0930-1600", f"{FRIDAY}T14:29", "America/New_York")


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("", "Etc/UTC"),
        ("whenever", "Etc/UTC"),
        ("0930-1600:89", "Etc/UTC"),
        ("0930-2560", "Etc/UTC"),
        ("0930-1660", "Etc/UTC"),
        ("0930-1600", "Mars/Olympus"),
        ("0930-1600", ""),
        ("24x7", "../x"),
    ],
)
def test_what_cannot_be_read_is_no_hours(text: str, zone: str) -> None:
    assert Hours.parse(text, zone) is None
