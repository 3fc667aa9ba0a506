"""From bodies and lines to records: columns, bars, quotes, and what servers spell otherwise."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession import ProtocolError
from tradesession.tradingview import Bar, Group, routing
from tradesession.tradingview.records import History

D = Decimal


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


# --- symbols ------------------------------------------------------------------------------------------------------------------------


def test_columns_become_rows() -> None:
    rows = routing.symbols(
        {
            "s": "ok",
            "symbol": ["EURUSD", "AAPL"],
            "ticker": ["eur/usd", None],
            "description": ["Euro", "Apple"],
            "pricescale": [100000, 100],
            "minmov2": [1, 0],
            "pointvalue": [D("0.5"), 1],
            "has-intraday": [True, False],
            "has-daily": "true",
            "is-cfd": [False, True],
            "supported-resolutions": [["1", "5"], ["D"]],
            "intraday-multipliers": ["1", "5"],
            "session-regular": "24x7",
            "timezone": "Etc/UTC",
            "expiration": [None, 20301231],
            "base-currency": ["EUR", None],
            "their-own": [1, 2],
        }
    )
    eurusd, apple = rows
    assert (eurusd.symbol, eurusd.ticker, eurusd.description) == ("EURUSD", "eur/usd", "Euro")
    assert (apple.symbol, apple.ticker) == ("AAPL", "AAPL")
    assert (eurusd.pricescale, apple.pricescale, eurusd.pointvalue) == (D(100000), D(100), D("0.5"))
    assert (eurusd.minmovement2, eurusd.minmovement) == (D(1), None)
    assert (eurusd.has_intraday, apple.has_intraday, eurusd.has_daily, apple.is_cfd) == (True, False, True, True)
    assert (eurusd.supported_resolutions, apple.supported_resolutions) == (("1", "5"), ("D",))
    assert apple.intraday_multipliers == ("1", "5")
    assert (apple.session_regular, apple.timezone) == ("24x7", "Etc/UTC")
    assert (eurusd.expiration, apple.expiration) == (None, 20301231)
    assert (eurusd.base_currency, apple.base_currency) == ("EUR", "")
    assert dict(apple.others) == {"their-own": 2}


def test_a_scalar_holds_for_all_and_may_be_the_only_symbol() -> None:
    assert [row.symbol for row in routing.symbols({"symbol": "ONE", "type": "forex"})] == ["ONE"]
    assert [row.type for row in routing.symbols({"symbol": ["A", "B"], "type": "forex"})] == ["forex", "forex"]


def test_no_symbols_are_none() -> None:
    assert routing.symbols({"s": "ok", "symbol": []}) == []


def test_columns_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ProtocolError, match="the column 'description' of /symbol_info has 1 values for 2 symbols"):
        routing.symbols({"symbol": ["A", "B"], "description": ["only one"]})
    with pytest.raises(ProtocolError, match="no column 'symbol'"):
        routing.symbols({"s": "ok"})


def test_values_of_another_type_count_as_not_there() -> None:
    row = routing.symbols(
        {"symbol": ["A"], "ticker": [7], "description": [5], "pricescale": ["x"], "has-daily": ["maybe"], "expiration": ["x"]}
    )[0]
    assert (row.ticker, row.description, row.pricescale, row.has_daily, row.expiration) == ("A", "", None, False, None)


# --- groups -------------------------------------------------------------------------------------------------------------------------


def test_groups_and_permissions_both_name_groups() -> None:
    assert routing.groups({"d": {"groups": [{"id": "broker_forex"}, {"id": "broker_stocks"}, {}, 7]}}) == [
        Group("broker_forex"),
        Group("broker_stocks"),
    ]
    assert routing.groups({"d": {"groups": ["broker_forex"]}}) == [Group("broker_forex")]


@pytest.mark.parametrize("reply", [{}, {"d": []}, {"d": {}}, {"d": {"groups": "x"}}])
def test_a_reply_without_groups_is_refused(reply: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="no list of groups"):
        routing.groups(reply)


# --- history ------------------------------------------------------------------------------------------------------------------------


def bars(**columns: Any) -> dict[str, Any]:
    return {"s": "ok", "t": [60, 120], "o": [1, 2], "h": [3, 4], "l": [0, 1], "c": [2, 3], "v": [10, 20]} | columns


def test_parallel_arrays_become_bars_in_the_order_of_time() -> None:
    answer = routing.history(bars(t=[120, 60]))
    assert answer.bars == (Bar(at(60), D(2), D(4), D(1), D(3), D(20)), Bar(at(120), D(1), D(3), D(0), D(2), D(10)))
    assert not answer.is_end


def test_volumes_may_be_missing_and_times_in_milliseconds() -> None:
    assert [bar.volume for bar in routing.history(bars(v=None)).bars] == [None, None]
    assert routing.history(bars(t=[1_700_000_000_000, 1_700_000_060_000])).bars[0].time == at(1_700_000_000)


def test_the_two_kinds_of_nothing_are_told_apart() -> None:
    assert routing.history(bars(t=[], o=[], h=[], l=[], c=[], v=[])) == History(())
    assert routing.history({"s": "no_data"}) == History((), is_end=True)
    assert routing.history({"s": "no_data", "nb": 1_700_000_000}) == History((), next_time=1_700_000_000.0)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"t": None}, "no array 't'"),
        ({"c": "x"}, "no array 'c'"),
        ({"c": [1]}, "2 times and 1 values of 'c'"),
        ({"v": [1]}, "2 times and 1 values of 'v'"),
        ({"o": [None, 1]}, "a price that is no number"),
        ({"t": ["x", 1]}, "a time or a price that is no number"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        routing.history(bars(**columns))


# --- quotes -------------------------------------------------------------------------------------------------------------------------


def test_quotes_of_a_user() -> None:
    found = routing.quotes(
        {
            "s": "ok",
            "d": [
                {"s": "ok", "n": "EURUSD", "v": {"bid": D("1.1"), "ask": "1.2", "buyPipValue": 10, "halted": True, "new": 1}},
                {"s": "error", "n": "GBPUSD", "errmsg": "unknown"},
                {"n": "USDJPY", "v": {"ask": 150}},
                "nonsense",
            ],
        }
    )
    assert [(quote.symbol, quote.bid, quote.ask) for quote in found] == [("EURUSD", D("1.1"), D("1.2")), ("USDJPY", None, D(150))]
    assert (found[0].buy_pip_value, found[0].halted, dict(found[0].others)) == (D(10), D(1), {"new": 1})
    with pytest.raises(ProtocolError, match="no list d"):
        routing.quotes({"d": {}})


# --- values -------------------------------------------------------------------------------------------------------------------------


def test_numbers_keep_their_digits() -> None:
    fields = routing.decode(b'{"p": 1.10010, "n": 7}')
    assert fields == {"p": D("1.10010"), "n": 7}
    assert str(routing.number(fields["p"])) == "1.10010"


@pytest.mark.parametrize("value", [None, "x", [], {}, D("NaN"), D("Infinity"), "Infinity", 1.5])
def test_what_is_no_number_is_none(value: Any) -> None:
    assert routing.number(value) is None


@pytest.mark.parametrize("value", [10**30, "x", None, -(10**30)])
def test_what_is_no_time_is_none(value: Any) -> None:
    assert routing.moment(value) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_none(body: bytes) -> None:
    assert routing.decode(body) is None


OBJECTS = st.lists(st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=5), max_size=3), min_size=1, max_size=4)


@given(OBJECTS, st.sampled_from(["", " ", "  \t"]))
def test_all_objects_of_a_line_are_found(objects: list[dict[str, Any]], between: str) -> None:
    line = between.join(json.dumps(one) for one in objects).encode()
    assert list(routing.objects_of(line)) == objects


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"a":1}{', [{"a": 1}, None]),
        (b"nonsense", [None]),
        (b"7", [None]),
        (b"\xff", [None]),
        (b"   ", []),
        (b'[1] {"a":1}', [None, {"a": 1}]),
    ],
)
def test_what_is_no_object_in_a_line_is_told_to_its_end(line: bytes, expected: list[Any]) -> None:
    assert list(routing.objects_of(line)) == expected


@given(st.binary(max_size=60))
def test_no_line_breaks_the_reader(line: bytes) -> None:
    assert all(one is None or isinstance(one, dict) for one in routing.objects_of(line))
