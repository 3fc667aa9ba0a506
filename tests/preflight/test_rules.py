"""What rules say of evidence made by hand, and that no evidence, however broken, makes one raise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tradingview.certificates import make
from tradesession.preflight import RULES, Status
from tradesession.preflight.assertions import Assertions
from tradesession.preflight.evidence import Asked, Evidence, History, Line, Stream, Symbol
from tradesession.preflight.exchange import Exchange, brief, parse
from tradesession.preflight.gathering import read_symbols, sample
from tradesession.preflight.report import judge
from tradesession.tradingview import ServerOAuth2Bearer
from tradesession.tradingview.hours import Hours

NOW = 1_767_268_800.0
"""2026-01-01T12:00:00Z, a Thursday."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["s", "d", "t", "o", "h", "l", "c", "v", "id", "f", "p", "ap", "bp", "groups", "symbol", "type", "pricescale", "expires_in"]
            )
            | st.text(max_size=4),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
OUTCOME = st.builds(
    lambda value, status, error, kind: Exchange("GET /it", status, {"content-type": kind}, json.dumps(value).encode(), error, NOW, NOW),
    JSON,
    st.sampled_from([None, 200, 200, 200, 401, 404, 500]),
    st.sampled_from(["", "", "", "cut off"]),
    st.sampled_from(["application/json", "text/html", ""]),
)


def found(rule_id: str, evidence: Evidence) -> Status:
    rule = next(rule for rule in RULES if rule.id == rule_id)
    return judge(rule, evidence, str).status


def reply(value: object, status: int = 200) -> Exchange:
    return Exchange("GET /it", status, {"content-type": "application/json"}, json.dumps(value).encode(), "", NOW, NOW)


@given(outcome=OUTCOME, other=OUTCOME, message=JSON)
def test_no_answer_makes_a_rule_raise(outcome: Exchange, other: Exchange, message: Any) -> None:
    symbol = Symbol("A", "A", "forex", True, True, 1, None)
    asked = {
        name: Asked("A", "1", 0, 86_400, outcome) for name in ("day", "again", "one", "long", "fifty", "future", "ahead", "left", "recent")
    }
    asked |= {name: Asked("A", "1D", 0, 86_400, other) for name in ("daily", "later", "countback")}
    stream = Stream(reply({}), (Line(json.dumps(message).encode() + b"\n", NOW),), NOW, NOW + 30)
    evidence = Evidence(
        logins=[outcome, other],
        wrong_login=outcome,
        first_token_later=other,
        assertions=[outcome, other],
        bad_assertions={"wrong": outcome},
        replay=other,
        refreshed=outcome,
        refreshed_again=other,
        old_token_after_refresh=outcome,
        new_token_after_refresh=other,
        expired=outcome,
        unauthorized={name: {"no token": outcome} for name in ("groups", "symbol_info", "history", "streaming")},
        groups=outcome,
        symbol_infos={"": outcome, "g": other},
        symbols=[symbol, *read_symbols(outcome.reply or {})],
        histories=[History(symbol, asked, [asked["day"]])],
        unknown_symbol=outcome,
        streams=[stream, stream],
        streamed={"A": asked["day"]},
    )
    for rule in RULES:
        judge(rule, evidence, str)


def test_without_evidence_every_rule_is_skipped_but_that_there_be_a_token() -> None:
    results = [judge(rule, Evidence(), str) for rule in RULES]
    assert {result.rule.id for result in results if result.status is Status.FAILED} == {"token.obtained"}
    assert {result.status for result in results} == {Status.FAILED, Status.SKIPPED, Status.PASSED}
    assert [result.rule.id for result in results if result.status is Status.PASSED] == ["server.speed"]


def test_every_rule_says_where_it_is_from() -> None:
    assert all(rule.text and rule.source for rule in RULES)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ({"s": "ok", "d": {"access_token": "a", "expiration": NOW + 1200}}, Status.FAILED),  # a number with a fraction
        ({"s": "ok", "d": {"access_token": "a", "expiration": int(NOW) + 1200}}, Status.PASSED),
        ({"access_token": "a", "expires_in": 1200}, Status.PASSED),
        ({"access_token": "a", "expires_in": True}, Status.FAILED),
        ({"access_token": "a"}, Status.WARNING),
        ({"s": "ok", "d": {"access_token": ""}}, Status.SKIPPED),
        ({"s": "error", "errmsg": "no"}, Status.SKIPPED),
    ],
)
def test_an_expiration_is_a_whole_number(value: dict[str, Any], status: Status) -> None:
    assert found("password.expiration", Evidence(logins=[reply(value)])) is status


@pytest.mark.parametrize(
    ("life", "status"),
    [(1200, Status.PASSED), (899.5, Status.PASSED), (60, Status.WARNING), (0, Status.FAILED), (2_147_484, Status.FAILED)],
)
def test_a_token_lives_neither_too_long_nor_too_short(life: float, status: Status) -> None:
    assert found("assertion.future", Evidence(assertions=[reply({"access_token": "a", "expires_in": life})])) is status


COLUMN_VALUES = [
    ("pricescale", 100, True), ("pricescale", 64, True), ("pricescale", 3, False), ("pricescale", 100.0, False), ("pricescale", 0, False),
    ("exchange-listed", "NYSE", True), ("exchange-listed", "Nyse", False), ("exchange-listed", None, False),
    ("timezone", "America/New_York", True), ("timezone", "../etc", False), ("session-regular", "0930-1600", True),
    ("session-regular", "0900-1700:1|1000-1700:2", True), ("session-regular", "9-17", False), ("type", "crypto", True),
    ("type", "money", False), ("ticker", None, True),
    ("ticker", "A:B", True), ("ticker", "A,B", False), ("root", None, True), ("root", 5, False), ("minmovement", True, False),
    ("bar-source", "mid", True), ("bar-source", "last", False), ("bar-transform", "openprev", True), ("has-daily", 1, False),
    ("pointvalue", 1, True), ("pointvalue", "1", False), ("supported-resolutions", ["1", "1D"], True),
    ("supported-resolutions", ["1 day"], False),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "is_good"), COLUMN_VALUES)
@pytest.mark.parametrize("is_scalar", [False, True])
def test_a_column_holds_what_it_should_as_an_array_or_once_for_all(column: str, value: object, is_good: bool, is_scalar: bool) -> None:
    info = {"s": "ok", "symbol": ["A", "B"], column: value if is_scalar else [value, value]}
    evidence = Evidence(symbol_infos={"": reply(info)})
    assert found(f"symbol_info.{column}", evidence) is (Status.PASSED if is_good else Status.FAILED)


def test_older_names_of_columns_are_understood() -> None:
    evidence = Evidence(symbol_infos={"": reply({"s": "ok", "symbol": ["A"], "session": ["24x7"], "minmov2": ["x"]})})
    assert found("symbol_info.session-regular", evidence) is Status.PASSED
    assert found("symbol_info.minmovement2", evidence) is Status.FAILED


@pytest.mark.parametrize(
    ("ids", "rule", "status"),
    [
        (["a_x", "a_y"], "groups.prefix", Status.PASSED),
        (["a_x", "b_y"], "groups.prefix", Status.FAILED),
        (["ax"], "groups.prefix", Status.FAILED),
        (["a_1"], "groups.ids", Status.FAILED),
        ([5], "groups.ids", Status.FAILED),
        ([f"a_{letter}" for letter in "abcdefghijk"], "groups.count", Status.FAILED),
        ([], "groups.count", Status.WARNING),
    ],
)
def test_groups_have_ids_of_one_family(ids: list[Any], rule: str, status: Status) -> None:
    groups = reply({"s": "ok", "d": {"groups": [{"id": one} for one in ids]}})
    assert found(rule, Evidence(groups=groups)) is status


@pytest.mark.parametrize("answer", [reply({}, 404), reply({"s": "error", "errmsg": "none here"})])
def test_a_server_need_not_have_groups(answer: Exchange) -> None:
    assert found("groups.envelope", Evidence(groups=answer)) is Status.SKIPPED


def bars_of(first: int, count: int, **changed: Any) -> dict[str, Any]:
    return {"s": "ok", "t": [first + 60 * n for n in range(count)], **{name: [1.5] * count for name in "ohlc"}} | changed


def history(**asked: Asked) -> Evidence:
    symbol = Symbol("A", "A", "forex", True, False, 1, Hours.parse("24x7", "Etc/UTC"))
    return Evidence(histories=[History(symbol, asked)])


def test_a_window_with_a_gap_is_a_warning_and_one_with_too_many_bars_a_finding() -> None:
    for count, status in ((50, Status.PASSED), (49, Status.WARNING), (51, Status.FAILED)):
        assert found("history.window", history(fifty=Asked("A", "1", 6000, 8999, reply(bars_of(6000, count))))) is status
    assert found("history.window", history(fifty=Asked("A", "1", 6000, 8999, reply(bars_of(6060, 50))))) is Status.FAILED


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ({"s": "no_data"}, Status.FAILED),
        ({"s": "no_data", "nb": 5000}, Status.PASSED),
        ({"s": "no_data", "nb": 9999}, Status.FAILED),
        (bars_of(0, 0), Status.PASSED),
    ],
)
def test_no_data_is_said_only_where_nothing_is_earlier(value: dict[str, Any], status: Status) -> None:
    day = Asked("A", "1", 0, 86_399, reply(bars_of(0, 3)))
    assert found("history.no-data", history(day=day, ahead=Asked("A", "1", 9000, 9600, reply(value)))) is status


def test_a_forming_bar_may_change_and_a_closed_one_may_not() -> None:
    first = int(NOW) - 120
    before = Asked("A", "1", first, int(NOW), reply(bars_of(first, 3)))
    forming, closed = bars_of(first, 3, c=[1.5, 1.5, 1.6], h=[1.5, 1.5, 1.6]), bars_of(first, 3, c=[1.6, 1.5, 1.5], h=[1.6, 1.5, 1.5])
    for later, status in ((forming, Status.PASSED), (closed, Status.FAILED)):
        assert found("history.closed-bars-stay", history(recent=before, later=Asked("A", "1", first, int(NOW), reply(later)))) is status


def stream(*messages: dict[str, Any], after: float = 1.0) -> Evidence:
    lines = tuple(Line(json.dumps(message).encode() + b"\n", message.get("t", NOW) + after) for message in messages)
    symbols = [
        Symbol("A", "X.A", "forex", True, False, 1, Hours.parse("24x7", "Etc/UTC")),
        Symbol("N", "N", "index", True, False, 1, None),  # its hours cannot be read
        Symbol("B", "B", "index", True, False, 1, Hours.parse("0930-1600:7", "Etc/UTC")),
    ]
    return Evidence(symbols=symbols, streams=[Stream(reply({}), lines, NOW, NOW + 30)])


def test_a_symbol_may_be_silent_outside_of_its_session_and_is_known_by_both_names() -> None:
    quote = {"f": "q", "id": "A", "t": NOW, "ap": 2, "bp": 1, "as": 1, "bs": 1}
    assert found("streaming.all-symbols", stream(quote)) is Status.PASSED  # the other one trades on Saturdays
    assert found("streaming.all-symbols", stream(quote | {"id": "X.A"})) is Status.PASSED
    assert found("streaming.all-symbols", stream(quote | {"id": "B"})) is Status.FAILED
    assert found("streaming.known-symbols", stream(quote | {"id": "C"})) is Status.FAILED


@pytest.mark.parametrize(
    ("symbol", "sizes", "status"),
    [
        ("N", [1], Status.PASSED),
        ("N", [1, 0, None], Status.PASSED),  # a correction has none
        ("N", [0, 0], Status.FAILED),
        ("N", [1, -1], Status.FAILED),
        ("N", [None, None], Status.WARNING),  # it may be left out
        ("A", [0], Status.PASSED),
        ("A", [-1], Status.FAILED),
    ],
)
def test_a_trade_has_a_size_unless_it_is_artificial_or_leaves_it_out(symbol: str, sizes: list[int | None], status: Status) -> None:
    trades = [{"id": symbol, "t": NOW, "p": 1.5} | ({} if size is None else {"s": size}) for size in sizes]
    assert found("streaming.sizes", stream(*trades)) is status


@pytest.mark.parametrize("poor", [0, 1, 3])
def test_a_connection_that_gets_less_than_the_others_is_found_whichever_it_is(poor: int) -> None:
    quotes = [{"f": "q", "id": name, "t": NOW + second, "ap": 2, "bp": 1, "as": 1, "bs": 1} for second in range(20) for name in "AN"]
    streams = [stream(*(one for one in quotes if number != poor or one["id"] == "A")).streams[0] for number in range(4)]
    assert found("streaming.same", Evidence(streams=streams)) is Status.FAILED
    assert found("streaming.same", Evidence(streams=[one for place, one in enumerate(streams) if place != poor])) is Status.PASSED


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ({"s": "ok", "d": {"access_token": "a", "expiration": 5}}, Status.PASSED),  # what the published test asks for
        ({"s": "ok", "d": {"access_token": "a"}}, Status.WARNING),
        ({"s": "ok", "d": {"access_token": "a", "expiration": "5"}}, Status.FAILED),
        ({"s": "ok", "d": {"access_token": ""}}, Status.FAILED),
        ({"access_token": "a", "expires_in": 5, "token_type": "bearer"}, Status.PASSED),
        ({"s": "ok", "d": {}, "access_token": "a", "expires_in": 5}, Status.FAILED),
    ],
)
def test_a_token_by_assertion_comes_in_the_fields_of_either_generation(value: dict[str, Any], status: Status) -> None:
    assert found("assertion.fields", Evidence(assertions=[reply(value)])) is status


@pytest.mark.parametrize("line", [b"[1]\n", b"null\n", b"5\n", b'"{}"\n'])
def test_a_line_that_is_json_but_no_object_is_none(line: bytes) -> None:
    assert found("streaming.lines", Evidence(streams=[Stream(reply({}), (Line(line, NOW),), NOW, NOW + 30)])) is Status.FAILED


def test_a_refused_assertion_says_why() -> None:
    refused = [reply({"error": "invalid_client"}, 401)] * 10
    rule = next(rule for rule in RULES if rule.id == "assertion.answer")
    assert 'error="invalid_client"' in judge(rule, Evidence(assertions=refused), str).problems[0].found


@pytest.mark.parametrize(
    ("bars", "status"),
    [
        (bars_of(int(NOW), 1), Status.FAILED),
        (bars_of(int(NOW) - 600, 3), Status.WARNING),  # traded before, and not meanwhile
        ({"s": "no_data"}, Status.WARNING),
        ({"s": "error"}, Status.FAILED),
    ],
)
def test_a_silent_symbol_that_nobody_traded_is_no_mistake(bars: dict[str, Any], status: Status) -> None:
    evidence = stream({"f": "q", "id": "B", "t": NOW, "ap": 2, "bp": 1, "as": 1, "bs": 1})
    evidence.streamed = {"X.A": Asked("X.A", "1", int(NOW) - 600, int(NOW) + 40, reply(bars))}
    assert found("streaming.all-symbols", evidence) is status
    evidence.symbols.append(Symbol("Z", "Z", "stock", True, False, 1, Hours.parse("24x7", "Etc/UTC")))  # not asked about
    assert found("streaming.all-symbols", evidence) is status


def test_daily_updates_are_waited_for_in_sessions_only() -> None:
    evidence = stream({"id": "A", "t": NOW, "p": 1.5})
    asleep, awake = (Symbol("B", "B", "index", True, True, 1, Hours.parse(session, "Etc/UTC")) for session in ("0930-1600:7", "24x7"))
    for symbol, status in ((asleep, Status.SKIPPED), (awake, Status.WARNING)):
        evidence.symbols = [symbol]
        assert found("streaming.daily", evidence) is status


@pytest.mark.parametrize(
    ("bars", "asked_after", "status"),
    [
        (bars_of(int(NOW), 1), 40, Status.PASSED),
        (bars_of(int(NOW), 1), 4, Status.SKIPPED),  # so soon, the trade need not be in it
        (bars_of(int(NOW), 1, h=[1.4], o=[1.4], l=[1.4], c=[1.4]), 40, Status.FAILED),
        (bars_of(0, 0), 40, Status.SKIPPED),  # the bar is not closed
        (bars_of(0, 0), 70, Status.FAILED),
        ({"s": "error"}, 70, Status.SKIPPED),
    ],
)
def test_a_trade_lies_in_its_bar_as_soon_as_history_has_to_have_it(bars: dict[str, Any], asked_after: float, status: Status) -> None:
    evidence = stream({"id": "A", "t": NOW, "p": 1.5})
    exchange = replace(reply(bars), sent_at=NOW + asked_after)
    evidence.streamed = {"X.A": Asked("X.A", "1", 0, int(NOW), exchange)}
    assert found("streaming.history", evidence) is status


@pytest.mark.parametrize(("after", "status"), [(0.5, Status.PASSED), (5.5, Status.FAILED), (-6, Status.FAILED), (60, Status.FAILED)])
def test_a_message_is_neither_late_nor_of_the_future(after: float, status: Status) -> None:
    assert found("streaming.delay", stream({"id": "A", "t": NOW, "p": 1.5, "s": 1}, after=after)) is status


def test_a_heartbeat_is_no_mistake() -> None:
    evidence = stream({"heartbeat": 5}, {"id": "A", "t": NOW, "p": 1.5})
    for rule in ("streaming.fields", "streaming.known-symbols", "streaming.lines", "streaming.time-grows"):
        assert found(rule, evidence) is Status.PASSED


def test_sampled_symbols_are_of_different_types() -> None:
    symbols = [
        Symbol(str(n), str(n), kind, kind != "bond", False, 1, None) for n, kind in enumerate(["forex", "forex", "bond", "stock", "forex"])
    ]
    assert [symbol.name for symbol in sample(symbols, 3)] == ["0", "3", "1"]


def test_many_assertions_of_one_moment_differ_and_none_is_over_before_it_arrives(tmp_path: Path) -> None:
    files = make(tmp_path, 2048)
    names: dict[str, Any] = dict.fromkeys(("client_id", "client_secret", "user_id", "app_url"), "x")
    for lifetime in (5, 60):
        key = ServerOAuth2Bearer.from_files(token_url="https://broker.example/token", key_file=files.both, lifetime=lifetime, **names)
        assertions = Assertions(key)
        ends = [jwt.decode(assertions.good(NOW).reveal(), options={"verify_signature": False})["exp"] for _ in range(40)]
        assert len(set(ends)) == 40
        assert min(ends) > NOW + 2


@pytest.mark.parametrize("text", [b"NaN", b'{"a": Infinity}', b"[" * 100_000, b"\xff", b"", b"1" * 10_000])
def test_what_is_no_json_is_nothing(text: bytes) -> None:
    assert parse(text) is None


def test_a_long_value_is_shown_in_short() -> None:
    assert len(brief("x" * 1000)) == 80
    assert brief({1, 2}) == "set"


def test_a_server_without_groups_ignores_the_parameter() -> None:
    every, none = reply({"s": "ok", "symbol": ["A"]}), reply({"s": "error", "errmsg": "no such group"})
    for answer, status in ((every, Status.PASSED), (none, Status.FAILED), (reply({"s": "ok", "symbol": []}), Status.FAILED)):
        evidence = Evidence(groups=reply({}, 404), symbol_infos={"": every}, unknown_group=answer)
        assert found("symbol_info.no-groups", evidence) is status


@pytest.mark.parametrize(
    ("session", "zone", "ahead", "status"),
    [
        ("24x7", "Etc/UTC", 3600, Status.FAILED),
        ("1700-1700:23456", "America/New_York", 3600, Status.PASSED),  # the trading day of tomorrow has begun
        ("24x7", "Asia/Tokyo", 3600, Status.PASSED),
        ("1700-1700:23456", "America/New_York", 2 * 86_400, Status.FAILED),
        (None, "", 3600, Status.PASSED),
    ],
)
def test_a_daily_bar_of_tomorrow_may_have_begun_where_sessions_begin_in_the_evening(
    session: str | None, zone: str, ahead: int, status: Status
) -> None:
    symbol = Symbol("A", "A", "forex", True, True, 1, Hours.parse(session, zone) if session else None)
    daily = Asked("A", "1D", 0, int(NOW) + 7 * 86_400, reply(bars_of(int(NOW) + ahead, 1)))
    assert found("history.future", Evidence(histories=[History(symbol, {"daily": daily})])) is status


@pytest.mark.parametrize(("ahead", "status"), [(0, Status.PASSED), (4, Status.PASSED), (60, Status.FAILED)])
def test_the_bar_of_now_may_have_begun_where_the_clock_is_seconds_ahead(ahead: int, status: Status) -> None:
    first = int(NOW) - 60
    asked = Asked("A", "1", first, int(NOW) + 3600, replace(reply(bars_of(first, 2)), done_at=NOW - ahead))
    assert found("history.future", history(future=asked)) is status


def test_a_bar_that_has_just_ended_may_get_its_last_trade() -> None:
    first = int(NOW) - 63  # ended three seconds ago
    before = Asked("A", "1", first, int(NOW), reply(bars_of(first, 1)))
    later = Asked("A", "1", first, int(NOW), reply(bars_of(first, 1, c=[1.6], h=[1.6])))
    assert found("history.closed-bars-stay", history(recent=before, later=later)) is Status.PASSED
