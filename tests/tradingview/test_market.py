"""The lines of a stream as updates: ids of both kinds, quotes with both sides, and what is passed by."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from tradesession import Rejected
from tradesession.tradingview import DailyBar, Quote, SymbolInfo, Trade
from tradesession.tradingview.market import Directory, Feed

D = Decimal
ROWS = [
    SymbolInfo(symbol="EURUSD", ticker="fx:1"),
    SymbolInfo(symbol="AAPL", ticker="AAPL", session_regular="0930-1600", timezone="America/New_York"),
]


class Bench:
    def __init__(self) -> None:
        self.directory = Directory()
        self.directory.replace(ROWS)
        self.unknown: list[str] = []
        self.reconnect()

    def reconnect(self) -> None:
        self.feed = Feed(self.directory, self.unknown.append, lambda fields: Rejected("error", str(fields.get("errmsg"))))

    def read(self, *messages: Any) -> list[Any]:
        return [update for message in messages for update in self.feed.read(json.dumps(message).encode())]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_quote_is_known_by_symbol_and_by_ticker(bench: Bench) -> None:
    message = {"f": "q", "t": 1_700_000_000, "ap": 1.2, "as": 5, "bp": 1.1, "bs": 7}
    by_symbol, by_ticker = bench.read(message | {"id": "EURUSD"}, message | {"id": "fx:1"})
    when = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
    assert by_symbol == Quote("EURUSD", D("1.1"), D("1.2"), D(7), D(5), when, "EURUSD")
    assert by_ticker == Quote("EURUSD", D("1.1"), D("1.2"), D(7), D(5), when, "fx:1")


def test_an_id_that_nobody_knows_is_its_own_symbol(bench: Bench) -> None:
    assert bench.read({"f": "t", "id": "NEW", "p": 5}) == [Trade("NEW", D(5), None, None, "NEW")]


def test_a_message_without_f_is_a_trade_and_its_size_may_be_nought(bench: Bench) -> None:
    assert bench.read({"id": "EURUSD", "p": "1.15", "s": 0}) == [Trade("EURUSD", D("1.15"), D(0), None, "EURUSD")]


def test_a_daily_bar(bench: Bench) -> None:
    assert bench.read({"f": "d", "id": "AAPL", "o": 1, "h": 3, "l": 0.5, "c": 2, "v": 100, "t": 0}) == [
        DailyBar("AAPL", D(1), D(3), D("0.5"), D(2), D(100), dt.datetime.fromtimestamp(0, dt.UTC), "AAPL")
    ]


@pytest.mark.parametrize(("bid", "ask"), [({"bp": 1.1, "bs": 2}, {"ap": 1.2, "as": 3}), ({"p": 1.1, "s": 2}, {"p": 1.2, "s": 3})])
def test_single_sided_quotes_are_told_once_both_sides_are_known(bench: Bench, bid: dict[str, Any], ask: dict[str, Any]) -> None:
    assert bench.read({"f": "a", "id": "EURUSD", **ask}) == []
    assert bench.read({"f": "b", "id": "fx:1", **bid}) == [Quote("EURUSD", D("1.1"), D("1.2"), D(2), D(3), None, "fx:1")]


def test_a_side_that_a_quote_leaves_out_is_as_it_was_and_never_nought(bench: Bench) -> None:
    bench.read({"f": "q", "id": "EURUSD", "bp": 1.1, "ap": 1.2})
    assert bench.read({"f": "q", "id": "EURUSD", "ap": 1.3})[0] == Quote("EURUSD", D("1.1"), D("1.3"), None, None, None, "EURUSD")
    assert bench.read({"f": "q", "id": "EURUSD", "ap": None, "bp": 1.25})[0].bid == D("1.25")


def test_sides_of_two_connections_are_never_mixed(bench: Bench) -> None:
    bench.read({"f": "a", "id": "EURUSD", "ap": 1.2})
    bench.reconnect()
    assert bench.read({"f": "b", "id": "EURUSD", "bp": 1.1}) == []


def test_two_messages_in_a_line_are_two(bench: Bench) -> None:
    line = b'{"f":"t","id":"EURUSD","p":1}{"f":"t","id":"EURUSD","p":2}'
    assert [update.price for update in bench.feed.read(line) if isinstance(update, Trade)] == [D(1), D(2)]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"f": "x", "id": "EURUSD"}, "f='x'"),
        ({"f": None, "id": "EURUSD"}, "f=None"),
        ({"f": "t", "p": 1}, "no id"),
        ({"f": "t", "id": 7, "p": 1}, "no id"),
        ({"f": "t", "id": "EURUSD", "p": "x"}, "a price that is no number"),
        ({"f": "t", "id": "EURUSD"}, "a price that is no number"),
        ({"f": "d", "id": "EURUSD", "o": 1, "h": 1, "l": 1}, "a price that is no number"),
        ([1], "no JSON object"),
    ],
)
def test_what_nobody_knows_is_passed_by_and_told(bench: Bench, message: Any, said: str) -> None:
    assert bench.read(message) == []
    assert [said in one for one in bench.unknown] == [True]


def test_the_heartbeat_of_later_versions_is_passed_by_in_silence(bench: Bench) -> None:
    assert bench.read({"heartbeat": 1_700_000_000}) == []
    assert bench.unknown == []


def test_an_error_in_the_stream_is_an_error(bench: Bench) -> None:
    with pytest.raises(Rejected, match="too many streams"):
        bench.read({"s": "error", "errmsg": "too many streams"})


def test_a_size_of_error_is_no_error(bench: Bench) -> None:
    assert bench.read({"f": "t", "id": "EURUSD", "p": 1, "s": "error"})[0].size is None


def test_the_directory_knows_symbols_tickers_and_hours() -> None:
    directory = Directory()
    directory.replace(ROWS)
    assert len(directory) == 2
    assert (directory.symbol("fx:1"), directory.ticker("EURUSD"), directory.ticker("other")) == ("EURUSD", "fx:1", "other")
    saturday = dt.datetime(2026, 11, 21, 15, tzinfo=dt.UTC).timestamp()
    friday = saturday - 86400
    assert directory.is_open("EURUSD", saturday), "hours that nobody knows are open"
    assert directory.is_open("AAPL", friday)
    assert not directory.is_open("AAPL", saturday)
    directory.replace([])
    assert directory.is_open("AAPL", saturday)
