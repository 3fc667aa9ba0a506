"""What a broker's server is asked for, and what its answers become."""

from __future__ import annotations

import asyncio
import datetime as dt
from decimal import Decimal

import pytest
from aiohttp import web

from tests.tradingview.certificates import KeyFiles
from tests.tradingview.scripted import GROUPS, broker, opened, until
from tests.tradingview.test_grants import certified
from tradesession import InvalidRequest
from tradesession.timing import AdjustableClock
from tradesession.tradingview import Bar, Group

D = Decimal


async def test_symbols_groups_and_permissions_are_typed() -> None:
    groups = {"s": "ok", "d": {"groups": [{"id": "broker_forex"}]}}
    permissions = {"s": "ok", "d": {"groups": ["broker_forex"]}}
    async with broker({"GET /groups": groups, "GET /permissions": permissions}) as server, opened(server) as session:
        assert [row.ticker for row in await session.symbol_info()] == ["fx:1", "AAPL"]
        await session.symbol_info("broker_forex")
        assert server.asked[-1].query == {"group": "broker_forex"}
        assert await session.groups() == [Group("broker_forex")]
        assert await session.permissions() == [Group("broker_forex")]
        assert await session.permissions(bearer="users-own") == [Group("broker_forex")]
        assert server.asked[-1].authorization == "Bearer users-own"


def bars_of(request: web.Request, every: int = 60) -> web.Response:
    """A bar at each full minute of what was asked for, both ends included."""
    first, last = int(request.query["from"]), int(request.query["to"])
    times = list(range(-(-first // every) * every, last + 1, every))
    ones = [1.5] * len(times)
    return web.json_response({"s": "ok", "t": times, "o": ones, "h": ones, "l": ones, "c": ones, "v": ones})


async def minute_bars(request: web.Request) -> web.Response:
    return bars_of(request, 3600)


DAY = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)


async def test_history_is_asked_for_by_the_day_the_latest_first_and_comes_in_order() -> None:
    async with broker({"GET /history": minute_bars}) as server, opened(server) as session:
        bars = await session.history("EURUSD", since=DAY + dt.timedelta(hours=12), until=DAY + dt.timedelta(days=2, hours=6))
    assert [bar.time for bar in bars] == [DAY + dt.timedelta(hours=hour) for hour in range(12, 55)]
    assert bars[0] == Bar(DAY + dt.timedelta(hours=12), D("1.5"), D("1.5"), D("1.5"), D("1.5"), D("1.5"))
    asked = [one.query for one in server.asked if one.path == "/history"]
    assert {(query["symbol"], query["resolution"]) for query in asked} == {("fx:1", "1")}
    assert [(int(query["from"]), int(query["to"])) for query in asked] == [
        (int((DAY + dt.timedelta(days=2)).timestamp()), int((DAY + dt.timedelta(days=2, hours=6)).timestamp())),
        (int((DAY + dt.timedelta(days=1)).timestamp()), int((DAY + dt.timedelta(days=2)).timestamp()) - 1),
        (int((DAY + dt.timedelta(hours=12)).timestamp()), int((DAY + dt.timedelta(days=1)).timestamp()) - 1),
    ]


async def test_daily_bars_are_one_request_and_a_moment_is_one_bar() -> None:
    async with broker({"GET /history": minute_bars}) as server, opened(server) as session:
        await session.history("AAPL", resolution="1D", since=DAY, until=DAY + dt.timedelta(days=300))
        assert server.count("GET /history") == 1
        bars = await session.history("AAPL", since=DAY.timestamp(), until=DAY.timestamp())
        assert [bar.time for bar in bars] == [DAY]


async def test_history_ends_where_there_is_nothing_earlier() -> None:
    async with broker({"GET /history": [minute_bars, {"s": "no_data"}]}) as server, opened(server) as session:
        bars = await session.history("EURUSD", since=0, until=DAY + dt.timedelta(days=1, hours=2))
        assert [bar.time for bar in bars] == [DAY + dt.timedelta(days=1, hours=hour) for hour in range(3)]
        assert server.count("GET /history") == 2


async def test_history_jumps_over_a_hole_that_an_old_server_names() -> None:
    hole = {"s": "no_data", "nb": int((DAY - dt.timedelta(days=50)).timestamp())}
    answers = [hole, minute_bars, {"s": "no_data"}]
    async with broker({"GET /history": answers}) as server, opened(server) as session:
        bars = await session.history("EURUSD", since=0, until=DAY)
        assert bars[-1].time == DAY - dt.timedelta(days=50)
        assert server.count("GET /history") == 3


async def test_history_without_bars_goes_on_to_earlier_days() -> None:
    empty = {"s": "ok", "t": [], "o": [], "h": [], "l": [], "c": [], "v": []}
    async with broker({"GET /history": [empty, empty, minute_bars]}) as server, opened(server) as session:
        assert len(await session.history("EURUSD", since=DAY, until=DAY + dt.timedelta(days=2, hours=1))) == 24


async def test_a_span_that_cannot_be_meant_is_refused() -> None:
    async with broker() as server, opened(server) as session:
        with pytest.raises(InvalidRequest, match="since lies behind until"):
            await session.history("EURUSD", since=10, until=5)
        with pytest.raises(InvalidRequest, match="a datetime without a zone"):
            await session.history("EURUSD", since=dt.datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


async def test_quotes_keep_their_quota() -> None:
    answer = {"s": "ok", "d": [{"s": "ok", "n": "EURUSD", "v": {"ask": 1.2, "bid": 1.1}}]}
    clock = AdjustableClock()
    async with broker({"GET /quotes": answer}) as server, opened(server, clock=clock) as session:
        asking = [asyncio.ensure_future(session.quotes("account-1", "EURUSD", "AAPL")) for _ in range(4)]
        await until(lambda: server.count("GET /quotes") == 1)
        for expected in (2, 3, 4):
            await clock.advance(seconds=0.5)
            await until(lambda expected=expected: server.count("GET /quotes") == expected)  # type: ignore[misc]  # a default of a lambda
        quotes = (await asyncio.gather(*asking))[0]
        assert [(quote.symbol, quote.bid, quote.ask) for quote in quotes] == [("EURUSD", D("1.1"), D("1.2"))]
        assert server.asked[-1].query == {"locale": "en", "accountId": "account-1", "symbols": "fx:1,AAPL"}
        with pytest.raises(InvalidRequest, match="name at least one symbol"):
            await session.quotes("account-1")


async def test_a_read_without_a_method_of_its_own() -> None:
    async with broker({"GET /config": {"s": "ok", "d": {"x": 1.5}}}) as server, opened(server) as session:
        assert (await session.get("/config", {"locale": "en"}))["d"] == {"x": D("1.5")}
        assert server.asked[-1].query == {"locale": "en"}
        for path in ("config", "/config?a=b", "//evil.example/x#y"):
            with pytest.raises(InvalidRequest, match="must begin with a slash"):
                await session.get(path)


async def test_a_certificates_token_is_no_users(files: KeyFiles) -> None:
    async with broker({"POST /token": {"access_token": "servers", "expires_in": 60}, "GET /permissions": GROUPS}) as server:
        auth = certified(files, token_url=f"{server.base_url}/token", audience="", client_id="client-1")
        async with opened(server, auth=auth) as session:
            for call in (session.permissions(), session.quotes("account-1", "EURUSD")):
                with pytest.raises(InvalidRequest, match="give the user's as bearer="):
                    await call
            assert await session.permissions(bearer="users") == []
            assert server.asked[-1].authorization == "Bearer users"
