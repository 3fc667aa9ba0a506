"""How long tokens live: every unit and shape of the family's table, and what is done where two sources differ."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.b2core.lifetimes import LONGEST, SHORTEST, claims, expiry, lifetime, moment_field, seconds_field, stated_life
from tradesession.protocol.http import HttpReply

SENT_AT = 1_800_000_000.0
REPLY = HttpReply(status=200, sent_at=SENT_AT)


def jwt(**claims: object) -> str:
    parts = ({"typ": "JWT", "alg": "RS256"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + ".signature"


def of_ttl(ttl: object, access: str = "opaque", reply: HttpReply = REPLY) -> tuple[float | None, tuple[str, ...]]:
    seconds, is_odd = seconds_field({"ttl": ttl}, "ttl")
    life = lifetime(reply, access, seconds, is_odd=is_odd)
    return life.seconds, life.notes


@pytest.mark.parametrize("ttl", ["60", 60, 60.0, " 60 ", "60.0"])
def test_a_ttl_is_seconds_as_text_or_as_a_number(ttl: object) -> None:
    assert of_ttl(ttl) == (60.0, ())


@pytest.mark.parametrize(
    ("ttl", "note"),
    [
        ("0", "lifetime-out-of-range"),
        (0, "lifetime-out-of-range"),
        (-5, "lifetime-out-of-range"),
        ("abc", "lifetime-unreadable"),
        ("", "lifetime-unreadable"),
        ([60], "lifetime-unreadable"),
        (True, "lifetime-unreadable"),
        ("nan", "lifetime-unreadable"),
        ("inf", "lifetime-unreadable"),
        ("9" * 400, "lifetime-unreadable"),
        ("36000000", "lifetime-out-of-range"),  # ten hours in milliseconds
    ],
)
def test_a_ttl_that_makes_no_sense_is_told_and_ignored(ttl: object, note: str) -> None:
    assert of_ttl(ttl) == (None, (note, "lifetime-missing"))
    assert of_ttl(ttl, jwt(exp=SENT_AT + 300)) == (300.0, (note,))


def test_the_family_names_units_that_its_figures_do_not_bear_out() -> None:
    """The IB interface documents 600 "milliseconds", which nothing lives: as seconds it makes sense. B2BINPAY writes moments in UTC."""
    assert seconds_field({"expires_in": 600}, "expires_in") == (600.0, False)
    moment, is_odd = moment_field({"access_expired_at": "2027-01-15T08:01:00.000000Z"}, "access_expired_at")
    assert (moment, is_odd) == (SENT_AT + 60, False)
    assert lifetime(REPLY, "opaque", SENT_AT + 60 - SENT_AT).seconds == 60.0


def test_a_missing_ttl_leaves_the_tokens_own_expiry() -> None:
    assert of_ttl(None, jwt(exp=SENT_AT + 300)) == (300.0, ())
    assert of_ttl(None) == (None, ("lifetime-missing",))


def test_the_vendors_own_example_disagrees_with_itself_and_the_earlier_counts() -> None:
    assert of_ttl("60", jwt(sub="1", iat=SENT_AT, exp=SENT_AT + 36_000)) == (60.0, ("lifetime-disagrees",))
    assert of_ttl("36000", jwt(exp=SENT_AT + 60)) == (60.0, ("lifetime-disagrees",))


def test_a_few_seconds_of_difference_are_no_disagreement() -> None:
    assert of_ttl("60", jwt(exp=SENT_AT + 58)) == (58.0, ())


@pytest.mark.parametrize("exp", [str(SENT_AT + 60), SENT_AT + 60.0, int(SENT_AT + 60)])
def test_the_expiry_of_a_token_may_be_a_number_or_text(exp: object) -> None:
    assert expiry(jwt(exp=exp)) == SENT_AT + 60


@pytest.mark.parametrize(
    "access", ["", "opaque", "a.b.c", "a.!!!.c", "a.bnVsbA.c", jwt(), jwt(exp=None), jwt(exp="soon"), jwt(exp=True), "."]
)
def test_what_is_no_jwt_has_no_expiry(access: str) -> None:
    assert expiry(access) is None


def test_the_servers_clock_counts_where_it_differs_from_ours() -> None:
    date = "Fri, 15 Jan 2027 07:50:00 GMT"  # ten minutes before ours
    behind = HttpReply(status=200, sent_at=SENT_AT, headers={"date": date})
    assert of_ttl("60", jwt(exp=SENT_AT - 600 + 60), behind) == (60.0, ())
    close = HttpReply(status=200, sent_at=SENT_AT, headers={"date": "Fri, 15 Jan 2027 07:59:57 GMT"})
    assert of_ttl("60", jwt(exp=SENT_AT + 60), close) == (60.0, ())


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2027-01-15T08:00:00+00:00", SENT_AT),
        ("2027-01-15T08:00:00Z", SENT_AT),
        ("2027-01-15T08:00:00.1234567Z", SENT_AT + 0.123456),
        ("2027-01-15T10:00:00+02:00", SENT_AT),
        ("2027-01-15 08:00:00", SENT_AT),
        (SENT_AT, SENT_AT),
        (str(int(SENT_AT)), SENT_AT),
        (SENT_AT * 1000, SENT_AT),
        ("1800000000000", SENT_AT),
        ("tomorrow", None),
        ([], None),
    ],
)
def test_a_moment_is_iso_text_or_a_unix_time(value: object, moment: float | None) -> None:
    found, is_odd = moment_field({"expiresAt": value}, "expiresAt")
    assert is_odd == (moment is None)
    assert found == (pytest.approx(moment, abs=0.001) if moment is not None else None)


@pytest.mark.parametrize(
    ("fields", "life", "is_odd"),
    [
        ({"createdAt": "2020-01-01 03:00:00", "expiresAt": "2020-01-01 04:00:00"}, 3600.0, False),  # any clock, any zone
        ({"expiresAt": "2027-01-15T09:00:00Z"}, 3600.0, False),
        ({"createdAt": "2027-01-15T08:00:00Z"}, None, False),
        ({"createdAt": "?", "expiresAt": "2027-01-15T09:00:00Z"}, 3600.0, True),
        ({"createdAt": "2027-01-15T08:00:00Z", "expiresAt": "later"}, None, True),
        ({}, None, False),
    ],
)
def test_a_stated_life_is_counted_by_the_servers_clock_alone(fields: dict[str, Any], life: float | None, is_odd: bool) -> None:
    assert stated_life(fields, REPLY) == (life, is_odd)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.integers())), st.text())
def test_whatever_stands_there_a_life_is_sane_or_none(ttl: object, access: str) -> None:
    seconds, _ = of_ttl(ttl, access)
    assert seconds is None or SHORTEST <= seconds <= LONGEST
    assert isinstance(claims(access), dict)
