"""Groups, symbols, history and quotes: right by default, and wrong in just the way that a fault says."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.tradingview.broker import Broker
from tradesession.sandbox.tradingview.market import HISTORY_START, INSTRUMENTS, TRADE_EVERY, Market

SYMBOLS = [instrument.symbol for instrument in INSTRUMENTS]
NOON = 1_767_268_800
"""2026-01-01T12:00:00Z."""


async def test_every_symbol_is_in_exactly_one_group(known: Broker) -> None:
    ids = [group["id"] for group in (await known.ok("/groups"))["d"]["groups"]]
    assert ids
    assert all(one.startswith("sandbox_") for one in ids)
    found = [symbol for one in ids for symbol in (await known.ok("/symbol_info", group=one))["symbol"]]
    assert sorted(found) == sorted(SYMBOLS)
    assert (await known.get("/symbol_info", group="sandbox_nothing"))[1]["s"] == "error"
    assert (await known.ok("/permissions"))["d"]["groups"] == ids


async def test_without_groups_the_parameter_is_ignored(known: Broker) -> None:
    known.server.settings.groups = False
    assert (await known.get("/groups"))[1]["s"] == "error"
    assert (await known.ok("/symbol_info", group="whatever"))["symbol"] == SYMBOLS


async def test_symbols_come_as_columns_of_one_length(known: Broker) -> None:
    reply = await known.ok("/symbol_info")
    del reply["s"]
    assert reply["symbol"] == SYMBOLS
    assert {len(column) for column in reply.values()} == {len(SYMBOLS)}
    known.server.settings.scalars = True
    reply = await known.ok("/symbol_info")
    assert (reply["timezone"], reply["symbol"]) == ("Etc/UTC", SYMBOLS)


async def test_a_column_may_be_other_or_missing(known: Broker) -> None:
    known.sandbox.set_fault("tradingview.symbol-fields", '{"pricescale": 3, "type": null}')
    reply = await known.ok("/symbol_info")
    assert reply["pricescale"] == 3
    assert "type" not in reply


async def test_quotes_by_symbol_or_ticker(known: Broker) -> None:
    reply = await known.ok("/quotes", symbols="EURUSD,COIN.BTCUSD,NOSUCH", locale="en", accountId="1")
    first, second, third = reply["d"]
    assert (first["n"], second["n"], third["s"]) == ("EURUSD", "COIN.BTCUSD", "error")
    assert first["v"]["bid"] < first["v"]["ask"]


# --- history ---


def history(known: Broker, first: int, last: int, symbol: str = "EURUSD", **query: Any) -> Any:
    return known.ok("/history", **{"symbol": symbol, "resolution": "1", "from": first, "to": last} | query)


async def test_both_ends_of_the_time_are_included_and_bars_are_a_minute_apart(known: Broker) -> None:
    reply = await history(known, NOON, NOON + 600)
    assert reply["t"] == list(range(NOON, NOON + 601, 60))
    assert {len(reply[name]) for name in "tohlcv"} == {11}
    assert (await history(known, NOON + 60, NOON + 60))["t"] == [NOON + 60]


async def test_the_same_question_has_the_same_answer_by_symbol_and_by_ticker(known: Broker) -> None:
    assert await history(known, NOON, NOON + 600) == await history(known, NOON, NOON + 600, "FX.EURUSD")


async def test_before_the_start_there_is_no_data_and_in_the_future_there_are_no_bars(known: Broker) -> None:
    query: dict[str, Any] = {"symbol": "EURUSD", "resolution": "1", "from": 0, "to": HISTORY_START - 1}
    assert await known.get("/history", **query) == (200, {"s": "no_data"})
    now = int(known.sandbox.clock.wall())
    assert (await history(known, now + 3600, now + 7200))["t"] == []
    assert max((await history(known, now - 600, now + 7200))["t"]) <= known.sandbox.clock.wall()


async def test_countback_counts_from_the_end_whatever_from_says(known: Broker) -> None:
    reply = await history(known, NOON - 60, NOON, countback=10)
    assert (len(reply["t"]), reply["t"][-1]) == (10, NOON)


async def test_a_days_bar_has_the_open_the_close_and_the_extremes_of_its_minutes(known: Broker) -> None:
    day = NOON // 86_400 * 86_400
    reply = await history(known, day, day, resolution="1D")
    minutes = await history(known, day, day + 86_399)
    assert reply["t"] == [day]
    assert (reply["o"], reply["c"]) == ([minutes["o"][0]], [minutes["c"][-1]])
    assert (reply["h"], reply["l"]) == ([max(minutes["h"])], [min(minutes["l"])])
    assert reply["v"][0] > 0


@pytest.mark.parametrize(
    "changed", [{"symbol": "NOSUCH"}, {"resolution": "7"}, {"from": "x"}, {"to": ""}, {"to": str(NOON + 86_400 * 100), "from": "0"}]
)
async def test_what_cannot_be_answered_is_an_envelope(known: Broker, changed: dict[str, str]) -> None:
    query: dict[str, Any] = {"symbol": "EURUSD", "resolution": "1", "from": str(NOON), "to": str(NOON + 60)} | changed
    status, reply = await known.get("/history", **query)
    assert (status, reply["s"]) == (200, "error")


WRONG: dict[str, Callable[[dict[str, list[Any]]], bool]] = {
    "unsorted": lambda bars: bars["t"][0] > bars["t"][-1],
    "ragged": lambda bars: len(bars["c"]) == len(bars["t"]) - 1,
    "exclusive": lambda bars: NOON not in bars["t"],
    "truncated": lambda bars: len(bars["t"]) == 100,
    "high": lambda bars: bars["h"][0] < bars["l"][0],
    "strings": lambda bars: isinstance(bars["o"][0], str),
    "misaligned": lambda bars: bars["t"][0] % 60 == 7,
    "outside": lambda bars: bars["t"][0] == NOON - 60,
    "from-ignored": lambda bars: bars["t"][0] < NOON - 60,
}


@pytest.mark.parametrize("fault", WRONG)
async def test_history_is_wrong_as_the_fault_says(known: Broker, fault: str) -> None:
    assert not WRONG[fault](await history(known, NOON, NOON + 7200))
    known.sandbox.set_fault("tradingview.history", fault)
    assert WRONG[fault](await history(known, NOON, NOON + 7200))


async def test_history_may_change_with_every_question_or_have_bars_of_the_future(known: Broker) -> None:
    known.server.faults.history = "unstable"
    assert await history(known, NOON, NOON) != await history(known, NOON, NOON)
    known.server.faults.history = "future"
    now = int(known.sandbox.clock.wall())
    assert (await history(known, now - 600, now + 7200))["t"][-1] > now
    known.server.faults.history = "daily-open"
    bar = await history(known, NOON - 43_200, NOON - 43_200, resolution="D")
    assert bar["o"][0] == (bar["h"][0] + bar["l"][0]) / 2


async def test_nothing_may_be_said_in_the_wrong_way(known: Broker) -> None:
    now = int(known.sandbox.clock.wall())
    known.server.faults.history = "gap-no-data"
    future: dict[str, Any] = {"symbol": "EURUSD", "resolution": "1", "from": now + 3600, "to": now + 7200}
    assert (await known.get("/history", **future))[1] == {"s": "no_data"}
    known.server.faults.history = "left-ok"
    assert (await history(known, 0, 86_400))["t"] == []


# --- faults of every data endpoint ---


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [("status=502", 502, "text/html"), ("html", 200, "text/html"), ("text-type", 200, "text/plain"), ("garbage", 200, "application/json")],
)
async def test_an_answer_may_be_none(known: Broker, fault: str, status: int, kind: str) -> None:
    name, _, value = fault.partition("=")
    known.sandbox.set_fault(f"tradingview.{name}", value)
    got, content_type, body = await known.raw("/groups")
    assert (got, content_type) == (status, kind)
    assert (b'"s": "ok"' in body) is (name in ("text-type", "garbage"))


async def test_an_answer_may_be_huge_or_lead_elsewhere(known: Broker) -> None:
    known.server.faults.huge = True
    assert len((await known.raw("/groups"))[2]) > 1 << 20
    known.server.faults.redirect = "https://elsewhere.example"
    status, location, _ = await known.raw("/groups?a=1")
    assert (status, location) == (307, "https://elsewhere.example/api/groups?a=1")


async def test_groups_may_be_wrong(known: Broker) -> None:
    known.sandbox.set_fault("tradingview.group-ids", '["Upper", 5]')
    known.sandbox.set_fault("tradingview.symbol-in-two-groups")
    assert [group["id"] for group in (await known.ok("/groups"))["d"]["groups"]] == ["Upper", 5]
    assert "EURUSD" in (await known.ok("/symbol_info", group="Upper"))["symbol"]


# --- the market itself ---


@given(second=st.integers(HISTORY_START, 2_000_000_000), place=st.integers(0, len(INSTRUMENTS) - 1))
def test_a_minutes_bar_is_made_of_its_trades(second: int, place: int) -> None:
    market, instrument = Market(3), INSTRUMENTS[place]
    start = second // 60 * 60
    trades = [trade for at in range(start, start + 60) if (trade := market.trade(instrument, at))]
    bar = market.minute(instrument, start, start + 10_000)
    assert [bar.open, bar.close] == [trades[0].price, trades[-1].price]
    assert [bar.low, bar.high] == [min(trade.price for trade in trades), max(trade.price for trade in trades)]
    assert bar.volume > 0


def test_prices_depend_on_the_seed_and_move() -> None:
    one, other = ([Market(seed).quote(INSTRUMENTS[0], second).bid for second in range(NOON, NOON + 100)] for seed in (1, 2))
    assert one != other
    assert len(set(one)) > 5
    assert max(abs(after - before) for before, after in pairwise(one)) < 0.001
    assert TRADE_EVERY == 5
