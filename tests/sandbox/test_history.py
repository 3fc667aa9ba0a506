"""The past: the same for the same seed, whole where it is asked for, cut where a page ends; and the calendar that bars follow."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.raw_client import RawClient
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox
from tradesession.sandbox.ctrader import ALPHA, Account, history
from tradesession.sandbox.ctrader.calendar import MINUTES, bar_start, is_open, next_start
from tradesession.sandbox.ctrader.market import symbol_by_name

PERIOD = pb.ProtoOATrendbarPeriod
BID, ASK = pb.ProtoOAQuoteType.BID, pb.ProtoOAQuoteType.ASK
EURUSD = symbol_by_name(ALPHA, "EURUSD")
NAMES = list(PERIOD.items())


def minute(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) // 60


def text(minutes: int) -> str:
    return dt.datetime.fromtimestamp(minutes * 60, dt.UTC).strftime("%Y-%m-%d %H:%M")


WEDNESDAY = minute("2026-01-14 12:00")


# --- the calendar ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "at", "begins"),
    [
        ("M1", "2026-01-14 12:34", "2026-01-14 12:34"),
        ("M15", "2026-01-14 12:34", "2026-01-14 12:30"),
        ("H1", "2026-01-14 12:34", "2026-01-14 12:00"),
        ("H4", "2026-01-14 12:34", "2026-01-14 10:00"),  # 22:00, 02:00, 06:00, 10:00 in winter
        ("H4", "2026-07-15 12:34", "2026-07-15 09:00"),  # 21:00 … in summer
        ("H12", "2026-01-14 12:34", "2026-01-14 10:00"),
        ("D1", "2026-01-14 12:34", "2026-01-13 22:00"),
        ("D1", "2026-01-14 22:00", "2026-01-14 22:00"),
        ("D1", "2026-07-15 12:34", "2026-07-14 21:00"),
        ("D1", "2026-03-09 12:00", "2026-03-08 21:00"),  # the first day of summer time
        ("D1", "2026-11-02 12:00", "2026-11-01 22:00"),  # the first day without
        ("W1", "2026-01-14 12:34", "2026-01-11 22:00"),  # Sunday
        ("W1", "2026-01-11 21:59", "2026-01-04 22:00"),
        ("MN1", "2026-01-14 12:34", "2025-12-31 22:00"),
        ("MN1", "2026-01-31 22:00", "2026-01-31 22:00"),
    ],
)
def test_bars_begin_on_the_clock_of_utc_or_at_the_end_of_new_yorks_day(period: str, at: str, begins: str) -> None:
    assert text(bar_start(PERIOD.Value(period), minute(at))) == begins


@given(st.sampled_from(NAMES), st.integers(minute("2015-01-01"), minute("2040-01-01")))
def test_a_bar_holds_its_minutes_and_the_next_one_begins_where_it_ends(period: tuple[str, Any], at: int) -> None:
    start = bar_start(period[1], at)
    end = next_start(period[1], start)
    assert start <= at
    assert bar_start(period[1], start) == start
    assert bar_start(period[1], end) == end
    if is_open(at):
        assert at < end
    assert 0 < end - start <= max(MINUTES[period[1]], 31 * 1440 + 60)


@pytest.mark.parametrize(
    ("at", "opened"),
    [
        ("2026-01-16 21:59", True),
        ("2026-01-16 22:00", False),
        ("2026-01-17 12:00", False),
        ("2026-01-18 21:59", False),
        ("2026-01-18 22:00", True),
    ],
)
def test_markets_are_closed_from_fridays_end_to_sundays(at: str, opened: bool) -> None:
    assert is_open(minute(at)) is opened


# --- prices ------------------------------------------------------------------------------------------------------------------------------


def test_the_past_depends_on_the_seed_and_on_nothing_else() -> None:
    first, second, other = (history.bars(seed, EURUSD, PERIOD.M1, WEDNESDAY, WEDNESDAY + 100, 1000)[0] for seed in (1, 1, 2))
    assert len(first) == 101
    assert first == second
    assert first != other
    assert history.bars(1, EURUSD, PERIOD.M1, WEDNESDAY + 50, WEDNESDAY + 50, 10)[0] == [first[50]]


def test_a_bar_of_a_minute_is_exactly_its_ticks() -> None:
    (bar,), _ = history.bars(1, EURUSD, PERIOD.M1, WEDNESDAY, WEDNESDAY, 10)
    ticks, _ = history.ticks(1, EURUSD, BID, WEDNESDAY * 60_000, WEDNESDAY * 60_000 + 59_999, 100)
    prices = [price for _, price in ticks[::-1]]
    assert bar.volume == len(prices) == 10
    assert (bar.low, bar.low + bar.deltaHigh) == (min(prices), max(prices))
    assert (bar.low + bar.deltaOpen, bar.low + bar.deltaClose) == (prices[0], prices[-1])


@pytest.mark.parametrize("period", [name for name, _ in NAMES])
def test_bars_of_every_period_ascend_and_hang_together(period: str) -> None:
    number = PERIOD.Value(period)
    found, _ = history.bars(1, EURUSD, number, 0, WEDNESDAY, 50)
    assert len(found) == 50
    times = [bar.utcTimestampInMinutes for bar in found]
    assert times == sorted(set(times))
    assert all(bar_start(number, time) == time for time in times)
    for bar in found:
        assert 0 <= bar.deltaOpen <= bar.deltaHigh
        assert 0 <= bar.deltaClose <= bar.deltaHigh
        assert bar.HasField("deltaClose")
        assert not bar.HasField("period")
        assert 0.9 < bar.low / 100_000 / EURUSD.instrument.price < 1.1


def test_prices_keep_to_the_ticks_of_their_symbol() -> None:
    gold = symbol_by_name(ALPHA, "XAUUSD")
    found, _ = history.bars(3, gold, PERIOD.H1, 0, WEDNESDAY, 200)
    assert {value % 1000 for bar in found for value in (bar.low, bar.deltaOpen, bar.deltaHigh, bar.deltaClose)} == {0}
    assert any(bar.deltaHigh for bar in found)


def test_nothing_happens_while_the_market_is_closed() -> None:
    monday = minute("2026-01-19 12:00")
    bars, _ = history.bars(1, EURUSD, PERIOD.M30, minute("2026-01-16 20:00"), monday, 1000)
    times = [text(bar.utcTimestampInMinutes) for bar in bars]
    assert times[3:5] == ["2026-01-16 21:30", "2026-01-18 22:00"]
    ticks, _ = history.ticks(1, EURUSD, ASK, minute("2026-01-16 21:59") * 60_000, minute("2026-01-18 22:00") * 60_000, 1000)
    assert [text(time // 60_000) for time, _ in ticks] == ["2026-01-18 22:00", *["2026-01-16 21:59"] * 10]


# --- over the wire -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def account(sandbox: Sandbox) -> Account:
    return sandbox.ctrader.accounts[0]


@pytest.fixture
async def reader(sandbox: Sandbox, client: RawClient, account: Account) -> RawClient:
    sandbox.ctrader.settings.historical_per_second = 1000
    await client.authenticate(sandbox, account)
    return client


async def bars(client: RawClient, account: Account, period: int = PERIOD.M1, **fields: Any) -> Any:
    request = pb.ProtoOAGetTrendbarsReq(ctidTraderAccountId=account.id, symbolId=1, period=period, **fields)  # type: ignore[arg-type]
    return (await client.request(request)).message


async def test_bars_answer_with_the_period_beside_them(reader: RawClient, account: Account) -> None:
    since, until = WEDNESDAY * 60_000, (WEDNESDAY + 60) * 60_000
    answer = await bars(reader, account, PERIOD.M5, fromTimestamp=since, toTimestamp=until)
    assert (answer.period, answer.symbolId, answer.hasMore) == (PERIOD.M5, 1, False)
    assert [bar.utcTimestampInMinutes - WEDNESDAY for bar in answer.trendbar] == list(range(0, 61, 5)), "one that opens at the end is in"
    moved = await bars(reader, account, PERIOD.M5, fromTimestamp=since + 1, toTimestamp=until - 1)
    assert [bar.utcTimestampInMinutes - WEDNESDAY for bar in moved.trendbar] == list(range(5, 60, 5))


async def test_a_count_goes_back_from_the_end_and_minds_no_beginning(sandbox: Sandbox, reader: RawClient, account: Account) -> None:
    until = WEDNESDAY * 60_000
    answer = await bars(reader, account, count=100, fromTimestamp=until - 60_000, toTimestamp=until)
    assert (len(answer.trendbar), answer.trendbar[-1].utcTimestampInMinutes, answer.hasMore) == (100, WEDNESDAY, True)
    sandbox.ctrader.settings.bars_short_of_count = 1
    assert len((await bars(reader, account, count=100, toTimestamp=until)).trendbar) == 99


async def test_a_long_window_is_paged_from_its_end(sandbox: Sandbox, reader: RawClient, account: Account) -> None:
    sandbox.ctrader.settings.bars_per_page = 40
    since, until = (WEDNESDAY - 99) * 60_000, WEDNESDAY * 60_000
    seen: list[int] = []
    more = True
    while more:
        page = await bars(reader, account, fromTimestamp=since, toTimestamp=until)
        seen = [bar.utcTimestampInMinutes for bar in page.trendbar] + seen
        until, more = page.trendbar[0].utcTimestampInMinutes * 60_000 - 1, page.hasMore
    assert seen == list(range(WEDNESDAY - 99, WEDNESDAY + 1))
    sandbox.ctrader.faults.truncate_history = 10
    cut = await bars(reader, account, fromTimestamp=since, toTimestamp=WEDNESDAY * 60_000)
    assert (len(cut.trendbar), cut.hasMore) == (10, False)


async def test_the_bar_that_is_forming_comes_when_it_has_ended(sandbox: Sandbox, reader: RawClient, account: Account) -> None:
    def now() -> int:
        return int(sandbox.clock.wall())

    sandbox.clock.shift_wall(WEDNESDAY * 60 + 30 - sandbox.clock.wall())
    answer = await bars(reader, account, count=1)
    assert answer.trendbar[0].utcTimestampInMinutes == now() // 60 - 1
    sandbox.clock.shift_wall(30.1)
    assert (await bars(reader, account, count=1)).trendbar[0].utcTimestampInMinutes == now() // 60 - 2, "it takes a moment"
    sandbox.clock.shift_wall(0.6)
    assert (await bars(reader, account, count=1)).trendbar[0].utcTimestampInMinutes == now() // 60 - 1
    future = await bars(reader, account, fromTimestamp=(WEDNESDAY + 2) * 60_000, toTimestamp=(WEDNESDAY + 9) * 60_000)
    assert len(future.trendbar) == 0


async def test_a_known_fault_of_the_server_can_be_played(sandbox: Sandbox, reader: RawClient, account: Account) -> None:
    sandbox.ctrader.faults.zero_delta_high = True
    answer = await bars(reader, account, count=5000, toTimestamp=WEDNESDAY * 60_000)
    fallen = [bar for bar in answer.trendbar if bar.deltaClose == 0]
    assert fallen
    assert all(bar.HasField("deltaHigh") and bar.deltaHigh == 0 for bar in fallen)
    assert any(bar.deltaOpen > 0 for bar in fallen), "their high was above zero"


async def test_ticks_come_newest_first_each_as_the_difference_to_the_one_before(
    sandbox: Sandbox, reader: RawClient, account: Account
) -> None:
    sandbox.ctrader.settings.ticks_per_page = 25
    since, until = WEDNESDAY * 60_000, (WEDNESDAY + 6) * 60_000
    seen: list[tuple[int, int]] = []
    more, end = True, until
    while more:
        request = pb.ProtoOAGetTickDataReq(ctidTraderAccountId=account.id, symbolId=1, type=ASK, fromTimestamp=since, toTimestamp=end)
        page = (await reader.request(request)).message
        time = price = 0
        for tick in page.tickData:
            time, price = time + tick.timestamp, price + tick.tick
            seen.append((time, price))
        assert all(tick.timestamp <= 0 for tick in page.tickData[1:])
        end, more = time - 1, page.hasMore
    assert seen == history.ticks(1, EURUSD, ASK, since, until, 1000)[0]
    assert len(seen) == 61


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"fromTimestamp": 5, "toTimestamp": 4}, "INCORRECT_BOUNDARIES"),
        ({"fromTimestamp": 5, "toTimestamp": 2_147_483_646_001}, "INCORRECT_BOUNDARIES"),
        ({"toTimestamp": 5}, "INVALID_REQUEST"),
        ({"fromTimestamp": 5, "toTimestamp": 6, "symbolId": 999}, "SYMBOL_NOT_FOUND"),
    ],
)
async def test_a_window_that_is_none_is_refused(reader: RawClient, account: Account, fields: dict[str, int], code: str) -> None:
    for request in (
        pb.ProtoOAGetTrendbarsReq(ctidTraderAccountId=account.id, period=PERIOD.M1, **{"symbolId": 1, **fields}),  # type: ignore[arg-type]
        pb.ProtoOAGetTickDataReq(ctidTraderAccountId=account.id, type=BID, **{"symbolId": 1, **fields}),  # type: ignore[arg-type]
    ):
        refused = await reader.request(request)
        assert (refused.code, refused.message.ctidTraderAccountId) == (code, account.id)


async def test_ticks_of_more_than_a_week_are_refused(reader: RawClient, account: Account) -> None:
    until = WEDNESDAY * 60_000
    request = pb.ProtoOAGetTickDataReq(
        ctidTraderAccountId=account.id, symbolId=1, type=BID, fromTimestamp=until - 604_800_001, toTimestamp=until
    )
    assert (await reader.request(request)).code == "INCORRECT_BOUNDARIES"
