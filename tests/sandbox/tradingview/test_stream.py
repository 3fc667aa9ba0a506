"""The stream: what it says is what history says, to everybody the same, and what may go wrong with it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import aiohttp
import pytest

from tests.sandbox.tradingview.broker import PATIENCE, Broker, heard
from tradesession.sandbox.tradingview.market import BY_NAME, INSTRUMENTS

Message = dict[str, Any]


async def messages(broker: Broker, count: int = 60) -> list[Message]:
    async with broker.stream() as response:
        return [json.loads(line) for line in await heard(broker.sandbox, response, count)]


async def test_the_stream_is_chunked_and_every_line_is_one_compact_message(known: Broker) -> None:
    async with known.stream() as response:
        assert (response.status, response.headers["Transfer-Encoding"]) == (200, "chunked")
        for line in await heard(known.sandbox, response, 30):
            assert line.endswith(b"}\n")
            assert b", " not in line


async def test_every_symbol_has_quotes_and_trades_and_the_prices_are_those_of_history(known: Broker) -> None:
    heard_of: Counter[str] = Counter()
    for message in await messages(known, 200):
        instrument = BY_NAME[message["id"]]
        heard_of[instrument.symbol + message["f"]] += 1
        if message["f"] == "q":
            quote = known.server.market.quote(instrument, message["t"])
            assert (message["bp"], message["ap"]) == (quote.bid, quote.ask)
            assert message["bp"] < message["ap"]
        elif message["f"] == "t":
            bar = known.server.market.minute(instrument, message["t"] // 60 * 60, message["t"])
            assert (bar.close, bar.low <= message["p"] <= bar.high) == (message["p"], True)
            assert (message["s"] > 0) is not instrument.has_no_volume
    assert {one.symbol + kind for one in INSTRUMENTS for kind in "qt"} <= set(heard_of)


async def test_a_days_bar_comes_now_and_then(known: Broker) -> None:
    daily = [message for message in await messages(known, 400) if message["f"] == "d"]
    assert {message["t"] % 86_400 for message in daily} == {0}
    known.server.settings.daily = False
    assert not [message for message in await messages(known, 400) if message["f"] == "d"]


async def test_four_streams_hear_the_same(known: Broker) -> None:
    async with known.stream() as one, known.stream() as two, known.stream() as three, known.stream() as four:
        assert len(known.server.streams.open) == 4
        said = [set(await heard(known.sandbox, response, 50)) for response in (one, two, three, four)]
    assert set.intersection(*said)
    assert len(set.intersection(*said)) > 20


async def test_instruments_may_be_called_by_their_tickers(known: Broker) -> None:
    known.sandbox.set_fault("tradingview.stream-id", "ticker")
    assert {message["id"] for message in await messages(known)} == {instrument.ticker for instrument in INSTRUMENTS}


@pytest.mark.parametrize(("kind", "line"), [("blank", b"\n"), ("heartbeat", b'{"heartbeat":')])
async def test_there_may_be_a_keepalive(known: Broker, kind: str, line: bytes) -> None:
    known.sandbox.set_fault("tradingview.stream-keepalive", kind)
    async with known.stream() as response:
        assert any(one.startswith(line) for one in await heard(known.sandbox, response, 100))


async def test_the_stream_may_be_compressed_and_keeps_nothing_back(known: Broker) -> None:
    known.server.settings.gzip = True
    async with known.stream() as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert json.loads((await heard(known.sandbox, response, 1))[0])["f"] == "q"


async def test_the_stream_outlives_its_token_unless_the_broker_says_otherwise(known: Broker) -> None:
    known.server.settings.access_lifetime = 30
    await known.log_in()
    async with known.stream() as response:
        lines = await heard(known.sandbox, response, 7 * 60)
        assert len(lines) == 7 * 60
    known.server.settings.stream_ends_with_token = True
    await known.log_in()
    async with known.stream() as response:
        lines = await heard(known.sandbox, response, 10_000)
    assert 7 * 25 < len(lines) < 7 * 60
    assert known.server.streams.endings == ["its token has expired"]


async def test_a_session_that_ends_takes_its_stream_along(known: Broker) -> None:
    known.server.faults.single_session = True
    async with known.stream() as response:
        await heard(known.sandbox, response, 1)
        await known.log_in()
        async with asyncio.timeout(PATIENCE):
            await response.read()
    assert known.server.streams.endings == ["its session has ended"]


async def test_nobody_is_told_anything_when_nobody_listens(known: Broker) -> None:
    await messages(known)
    async with asyncio.timeout(PATIENCE):
        while known.server.streams.open:
            await asyncio.sleep(0.001)
    told = known.server.streams.told
    await known.sandbox.clock.advance(minutes=10)
    assert known.server.streams.told == told


# --- faults ---


async def test_lines_may_end_or_begin_in_the_wrong_way(known: Broker) -> None:
    faults = known.server.faults
    async with known.stream() as response:
        faults.stream_crlf = True
        assert (await heard(known.sandbox, response, 200))[-1].endswith(b"}\r\n")
        faults.clear()
        faults.stream_glued = True
        assert any(b"}{" in line for line in (await heard(known.sandbox, response, 200))[-20:])
        faults.clear()
        faults.stream_garbage = True
        assert any(line.startswith(b"{not") for line in await heard(known.sandbox, response, 50))


async def test_the_stream_may_be_late_or_go_back_in_time(known: Broker) -> None:
    known.server.faults.stream_late = 30
    late = (await messages(known, 5))[0]
    assert known.sandbox.clock.wall() - late["t"] >= 29
    known.server.faults.clear()
    known.server.faults.stream_back_in_time = True
    times = [message["t"] for message in await messages(known, 100) if message["f"] == "q" and message["id"] == "EURUSD"]
    assert times != sorted(times)


async def test_messages_may_be_split_among_streams_or_repeated(known: Broker) -> None:
    known.server.faults.stream_split = True
    async with known.stream() as one, known.stream() as two:
        said = [await heard(known.sandbox, response, 20) for response in (one, two)]
    assert not set(said[0]) & set(said[1])
    known.server.faults.clear()
    known.server.faults.stream_repeats = True
    twice = await messages(known, 20)
    assert twice[::2] == twice[1::2]


async def test_symbols_may_be_unknown_or_missing(known: Broker) -> None:
    known.server.faults.stream_unknown_symbol = known.server.faults.stream_missing_symbol = True
    ids = {message["id"] for message in await messages(known)}
    assert "NOSUCH" in ids
    assert INSTRUMENTS[-1].symbol not in ids


@pytest.mark.parametrize(
    ("fault", "kinds"), [("quotes=one-sided", {"a", "t", "d"}), ("quotes=none", {"t", "d"}), ("trades=none", {"q", "d"})]
)
async def test_kinds_of_messages_may_be_missing(known: Broker, fault: str, kinds: set[str]) -> None:
    name, _, value = fault.partition("=")
    known.sandbox.set_fault(f"tradingview.stream-{name}", value)
    assert {message["f"] for message in await messages(known, 300)} == kinds


async def test_prices_may_be_wrong(known: Broker) -> None:
    known.server.faults.stream_quotes = "crossed"
    assert all(message["bp"] > message["ap"] for message in await messages(known, 60) if message["f"] == "q")
    known.server.faults.stream_trades = "size-zero"
    assert {message["s"] for message in await messages(known, 100) if message["f"] == "t"} == {0}
    known.server.faults.stream_numbers_as_text = True
    assert isinstance((await messages(known, 1))[0]["bp"], str)


async def test_the_stream_may_be_silent_and_comes_back(known: Broker) -> None:
    known.server.faults.stream_silent = True
    began = known.sandbox.clock.wall()
    async with known.stream() as response:
        await known.sandbox.clock.advance(seconds=60)
        known.server.faults.clear()
        first = json.loads((await heard(known.sandbox, response, 1))[0])
    assert first["t"] > began + 59


async def test_the_stream_may_end_after_a_while_or_be_cut_in_a_line(known: Broker) -> None:
    known.server.faults.stream_closes_after = 10
    async with known.stream() as response:
        assert len(await heard(known.sandbox, response, 10_000)) < 300
    known.server.faults.clear()
    known.server.faults.stream_cut = True
    async with known.stream() as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await heard(known.sandbox, response, 10_000)


async def test_the_stream_may_come_without_chunks_or_be_refused(known: Broker) -> None:
    known.server.faults.stream_not_chunked = True
    async with known.stream() as response:
        assert "Transfer-Encoding" not in response.headers
        await heard(known.sandbox, response, 5)
    known.server.faults.clear()
    known.server.faults.stream_refused = 1
    async with asyncio.timeout(PATIENCE):
        while known.server.streams.open:
            await asyncio.sleep(0.001)
    async with known.stream() as one, known.stream() as two:
        assert (one.status, two.status) == (200, 429)
