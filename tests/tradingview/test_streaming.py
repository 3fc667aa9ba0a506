"""/streaming of a scripted broker: who gets what, and what becomes of a connection that is lost, refused or silent."""

from __future__ import annotations

import asyncio
import gc
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

import tradesession
from tests.leaks import Leaks
from tests.tradingview.scripted import PATIENCE, broker, opened, quote, take, until
from tradesession import Gap, InvalidRequest, LinkLost, ProtocolError, Rejected, SessionState
from tradesession.hooks import Record, Unclassified
from tradesession.timing import AdjustableClock
from tradesession.tradingview import Quote

D = Decimal


async def test_updates_go_to_whoever_wants_them() -> None:
    async with broker() as server, opened(server, streams=1) as session:
        everything, apples, euros = session.spots(), session.spots("AAPL"), session.spots("fx:1")
        trades, daily = session.trades("EURUSD"), session.daily()
        server.write(quote("1.1") + quote("5", "AAPL") + quote("1.2", "fx:1"))
        server.write(b'{"f":"t","id":"fx:1","p":1.3,"s":2}\n{"f":"d","id":"AAPL","o":1,"h":1,"l":1,"c":1,"t":0}\n')
        assert [(one.symbol, one.bid) for one in await take(everything, 3)] == [("EURUSD", D("1.1")), ("AAPL", D(5)), ("EURUSD", D("1.2"))]
        assert [one.bid for one in await take(apples, 1)] == [D(5)]
        assert [one.bid for one in await take(euros, 2)] == [D("1.1"), D("1.2")]
        assert [one.price for one in await take(trades, 1)] == [D("1.3")]
        assert [one.symbol for one in await take(daily, 1)] == ["AAPL"]


async def test_each_connection_has_readers_of_its_own() -> None:
    async with broker() as server, opened(server, streams=2) as session:
        streams = [session.spots(stream=number) for number in range(2)]
        server.write(quote("1.1"), 0)
        server.write(quote("1.2"), 1)
        found = [(await take(stream, 1))[0].bid for stream in streams]
        assert sorted(found) == [D("1.1"), D("1.2")]
        assert [stream.statistics().received for stream in streams] == [1, 1]


async def test_a_loss_is_told_by_a_gap_and_prices_go_on_behind_it(leaks: Leaks) -> None:
    seen: list[Record] = []
    async with broker() as server, opened(server, seen=seen, streams=1) as session:
        async with session.spots("EURUSD", gaps=True) as quotes:
            server.write(quote("1.1") + b'{"f":"q","id":"EUR')
            server.write(None)
            assert [type(one) for one in await take(quotes, 1)] == [Quote]
            await until(lambda: len(server.streams) == 2)  # the first wait is under a second
            await session.ready()
            server.write(quote("1.2"))
            gap, after = await take(quotes, 2)
            assert isinstance(gap, Gap)
            assert gap.since is not None
            assert isinstance(after, Quote)
            assert after.bid == D("1.2")
        lost = [record for record in seen if isinstance(record, tradesession.hooks.LinkLost)]
        assert [record.cause for record in lost] == ["the server ended the stream, in the middle of a line (18 bytes)"]
        assert server.count("POST /authorize") == 1


async def test_a_gap_begins_where_the_broker_was_last_heard() -> None:
    clock = AdjustableClock()
    async with broker() as server, opened(server, clock=clock, streams=1) as session, session.spots(gaps=True) as quotes:
        server.write(quote("1.1"))
        await take(quotes, 1)
        heard = clock.wall()
        await clock.advance(seconds=20)
        server.write(None)
        (gap,) = await take(quotes, 1)
        assert isinstance(gap, Gap)
        assert gap.since == pytest.approx(heard, abs=5)


async def test_odd_lines_cost_nothing() -> None:
    seen: list[Record] = []
    async with broker() as server, opened(server, seen=seen, streams=1) as session:
        quotes = session.spots()
        server.write(b"\n\r\n" + quote("1.1").replace(b"\n", b"\r\n") + b"nonsense\n" + b"nonsense\n" + quote("1.2").strip() + quote("1.3"))
        assert [one.bid for one in await take(quotes, 3)] == [D("1.1"), D("1.2"), D("1.3")]
    assert [record.what for record in seen if isinstance(record, Unclassified)] == ["a line of /streaming that is no JSON object"]


async def test_a_line_without_an_end_is_a_broken_stream() -> None:
    clock = AdjustableClock()
    async with broker() as server, opened(server, streams=1, clock=clock) as session:
        server.write(b"x" * (1 << 20) + b"xx")
        await until(lambda: session.state is SessionState.BACKOFF)
        assert isinstance(session.cause, ProtocolError)


async def test_an_error_in_the_stream_is_its_end_and_another_one_is_opened() -> None:
    clock = AdjustableClock()
    async with broker() as server, opened(server, streams=1, clock=clock) as session:
        server.write(b'{"s":"error","errmsg":"too many connections"}\n')
        await until(lambda: session.state is SessionState.BACKOFF)
        assert "too many connections" in str(session.cause)
        await clock.advance(seconds=1)
        await until(lambda: session.state is SessionState.READY)


async def test_a_stream_that_is_gone_for_a_while_comes_back() -> None:
    clock = AdjustableClock()
    async with broker() as server, opened(server, streams=1, clock=clock) as session:
        server.answers["GET /streaming"] = [404, 502, server.stream]
        server.write(None)
        await until(lambda: session.state is SessionState.BACKOFF)
        for _ in range(40):
            await clock.advance(seconds=1)
            await asyncio.sleep(0.001)
        await session.ready(PATIENCE)
        assert server.count("GET /streaming") == 4


async def test_a_stream_that_is_refused_at_the_start_is_told() -> None:
    async with broker({"GET /streaming": 404}) as server:
        with pytest.raises(Rejected, match="/streaming was refused with HTTP 404"):
            async with opened(server, streams=1):
                pass


async def test_a_401_on_a_stream_costs_one_renewal() -> None:
    async with broker() as server:
        server.answers["GET /streaming"] = [401, server.stream]
        async with opened(server, streams=1) as session:
            assert session.state is SessionState.READY
        assert (server.count("POST /authorize"), server.count("GET /streaming")) == (2, 2)


async def test_silence_of_all_that_was_heard_ends_a_stream_and_other_streams_are_none() -> None:
    seen: list[Record] = []
    clock = AdjustableClock()
    async with broker() as server, opened(server, seen=seen, streams=1, clock=clock, silence=20) as session:
        quotes = session.spots()
        server.write(quote("1.1"))
        await take(quotes, 1)
        assert session.silence("fx:1") == pytest.approx(0, abs=PATIENCE)
        assert session.silence("AAPL") is None
        await clock.advance(seconds=26)
        await until(lambda: server.count("GET /streaming") == 2 or session.state is SessionState.BACKOFF)
        assert [record.symbol for record in seen if isinstance(record, tradesession.hooks.SymbolSilent)] == ["EURUSD"]
        causes = [record.cause for record in seen if isinstance(record, tradesession.hooks.LinkLost)]
        assert causes == ["nothing of what was heard before is heard any more, in its trading hours: the stream counts as dead"]


async def test_a_stream_that_there_is_not_is_refused() -> None:
    async with broker() as server, opened(server, streams=1) as session:
        for number in (1, -1):
            with pytest.raises(InvalidRequest, match=f"stream={number} is none"):
                session.spots(stream=number)


async def test_only_the_newest_of_each_symbol_by_choice() -> None:
    async with broker() as server, opened(server, streams=1) as session:
        quotes, everything = session.spots(overflow="latest"), session.spots()
        server.write(b"".join(quote(f"1.{number}") for number in range(1, 6)) + quote("7", "AAPL"))
        await take(everything, 6)
        assert [one.bid for one in await take(quotes, 2)] == [D("1.5"), D(7)]


async def test_a_closed_stream_hears_nothing_more() -> None:
    async with broker() as server, opened(server, streams=1) as session:
        first, second = session.spots("EURUSD"), session.spots("EURUSD")
        await first.aclose()
        server.write(quote("1.1"))
        await take(second, 1)
        assert first.statistics().received == 0


async def test_a_stream_that_is_no_stream_is_told() -> None:
    async with broker({"GET /streaming": 204}) as server:
        with pytest.raises(LinkLost, match="answered with HTTP 204, and no stream"):
            async with opened(server, streams=1):
                pass


async def test_a_server_that_accepts_and_closes_at_once_is_met_with_growing_patience() -> None:
    async def at_once(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    seen: list[Record] = []
    clock = AdjustableClock()
    async with broker({"GET /streaming": at_once}) as server, opened(server, seen=seen, streams=1, clock=clock) as session:
        for _ in range(300):
            await clock.advance(seconds=2)
            await asyncio.sleep(0)
        assert server.count("GET /streaming") <= 30, "ten minutes of it"
        assert session.state is not SessionState.CLOSED
        planned = [record.failures for record in seen if isinstance(record, tradesession.hooks.RetryPlanned)]
        assert planned == list(range(1, len(planned) + 1)), "no short life counts as a success"


async def test_updates_that_repeat_are_told_again_once_another_connection_has_taken_over() -> None:
    clock = AdjustableClock()
    async with broker() as server, opened(server, streams=1, clock=clock, silence=0) as session, session.trades("EURUSD") as trades:
        trade = b'{"f":"t","id":"EURUSD","p":1.5,"s":100}\n'
        server.write(trade)
        await take(trades, 1)
        replacing = asyncio.create_task(session._streaming[0]._replaced())
        await until(lambda: len(server.streams) == 2)
        server.write(trade, 1)
        assert await replacing
        await clock.advance(seconds=10)
        for _ in range(3):
            server.write(trade)
        assert len(await take(trades, 3)) == 3


async def test_the_loss_of_a_connection_that_another_one_replaces_is_nobody_s_trouble() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    clock = AdjustableClock()
    async with broker() as server, opened(server, streams=1, clock=clock, silence=0) as session, session.trades("EURUSD") as trades:
        trade = b'{"f":"t","id":"EURUSD","p":1.5,"s":100}\n'
        server.write(trade)
        await take(trades, 1)
        replacing = asyncio.create_task(session._streaming[0]._replaced())
        await until(lambda: len(server.streams) == 2)
        server.write(None, 0)  # as a broker does that ends a stream together with its token
        assert await replacing
        server.write(trade, 1)
        await take(trades, 1)
    gc.collect()
    assert complaints == []
