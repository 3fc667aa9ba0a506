"""A million quotes through a session whose bot is slow: memory has a bound, and nobody else pays for it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

import tradesession
from tests.ctrader.trading import trading
from tradesession.ctrader import messages as pb
from tradesession.ctrader.registry import payload_type_of
from tradesession.hooks import Heartbeat, LinkLost
from tradesession.sandbox.ctrader import ALPHA
from tradesession.sandbox.ctrader.market import symbol_by_name
from tradesession.sandbox.simulation import World, simulated

QUOTES, BURST, LIMIT = 1_000_000, 1000, 500
FIRST = 1 << 21
"""From here to 2 ** 28 every number takes four bytes on the wire, so that a frame is made by changing those."""


def frame(message: pb.ProtoOASpotEvent | pb.ProtoOAExecutionEvent) -> bytes:
    """A message as it travels over TCP."""
    envelope = pb.ProtoMessage(payloadType=payload_type_of(message), payload=message.SerializeToString()).SerializeToString()
    return len(envelope).to_bytes(4, "big") + envelope


def varint(number: int) -> bytes:
    return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14 & 127 | 128, number >> 21))


def memory() -> int:
    """Bytes that the process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is told by /proc")
@simulated()
async def test_a_slow_reader_through_a_million_quotes_costs_nobody_anything(world: World) -> None:
    async with trading(world) as trader:
        session, account = trader.session, trader.account
        channel = trader.server.connections[0].channel
        eurusd, gbpusd = symbol_by_name(ALPHA, "EURUSD").id, symbol_by_name(ALPHA, "GBPUSD").id
        head, tail = frame(pb.ProtoOASpotEvent(ctidTraderAccountId=account.id, symbolId=eurusd, bid=FIRST)).split(varint(FIRST))
        prices: list[Decimal] = []
        dropped = 0

        async def read_slowly() -> None:
            nonlocal dropped
            async for quote in slow:
                if isinstance(quote, tradesession.Gap):
                    dropped += quote.dropped
                else:
                    prices.append(quote.bid)
                await asyncio.sleep(0.05)

        async with (
            session.spots(account, "EURUSD", gaps=True, limit=LIMIT) as slow,
            session.spots(account, "GBPUSD") as other,
            session.events(pb.ProtoOAExecutionEvent, overflow="must_deliver") as executions,
        ):
            await anext(slow)
            await anext(other)
            reading = asyncio.ensure_future(read_slowly())
            began, beats, sizes = world.clock.monotonic(), len(trader.records), []
            for number in range(QUOTES // BURST):
                first = FIRST + number * BURST
                kind = pb.ProtoOAExecutionType.ORDER_FILLED
                channel.send_raw(b"".join([head + varint(bid) + tail for bid in range(first, first + BURST)]))
                channel.send_raw(frame(pb.ProtoOASpotEvent(ctidTraderAccountId=account.id, symbolId=gbpusd, bid=first)))
                deal = pb.ProtoOADeal(
                    dealId=number,
                    orderId=1,
                    positionId=1,
                    volume=1,
                    filledVolume=1,
                    symbolId=1,
                    createTimestamp=1,
                    executionTimestamp=1,
                    tradeSide=pb.ProtoOATradeSide.BUY,
                    dealStatus=pb.ProtoOADealStatus.FILLED,
                )
                channel.send_raw(frame(pb.ProtoOAExecutionEvent(ctidTraderAccountId=account.id, executionType=kind, deal=deal)))
                assert (await anext(other)).bid == Decimal(first) / 100_000, "who keeps up is told at once"
                assert (await anext(executions)).deal.dealId == number
                assert slow.statistics().queued <= LIMIT + 1
                assert channel._transport is not None
                assert channel._transport.get_write_buffer_size() == 0, "the session never stops reading"
                await asyncio.sleep(0.1)
                if number % 200 == 100:
                    sizes.append(memory())
            passed = world.clock.monotonic() - began
            await asyncio.sleep(0.05 * 2 * LIMIT)
            reading.cancel()
            await asyncio.wait([reading])
            assert slow.statistics().received == QUOTES + 1
            assert len(prices) + dropped == QUOTES
            assert prices == sorted(prices)
            assert prices[-1] == Decimal(FIRST + QUOTES - 1) / 100_000
            assert len(prices) >= passed / 0.05 / 2, "every other time it was told of a gap"
            assert sum(isinstance(record, Heartbeat) for record in trader.records[beats:]) >= int(passed / 10)
            assert not any(isinstance(record, LinkLost) for record in trader.records)
            assert max(sizes) - sizes[0] < 10_000_000, sizes
