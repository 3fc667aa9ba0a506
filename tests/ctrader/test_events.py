"""The cTrader session as a bot sees it, against the sandbox: what it hears of, as streams and by callbacks."""

import asyncio
from decimal import Decimal

import pytest

import tradesession
from tests.ctrader.conftest import ready_again, until
from tradesession import ctrader
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox

# --- events and quotes ------------------------------------------------------------------------------------------------------------------


async def test_events_are_those_of_the_account_that_was_asked_for(sandbox: Sandbox, session: ctrader.Session) -> None:
    first, second = session.accounts[:2]
    mine = session.events(pb.ProtoOAMarginChangedEvent, account=first)
    all_of_them = session.events(pb.ProtoOAMarginChangedEvent)
    for account in (second, first):
        event = pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=account.id, positionId=1, usedMargin=2)
        assert await sandbox.ctrader.push(event, account.id) == 1
    assert (await anext(mine)).ctidTraderAccountId == first.id
    assert [(await anext(all_of_them)).ctidTraderAccountId for _ in range(2)] == [second.id, first.id]
    await mine.aclose()
    await all_of_them.aclose()


async def test_a_class_that_is_no_event_is_refused(session: ctrader.Session) -> None:
    with pytest.raises(tradesession.InvalidRequest, match="ProtoOATraderRes is no event"):
        session.events(pb.ProtoOATraderRes)


async def test_a_quote_has_both_sides_with_the_digits_of_the_symbol(session: ctrader.Session) -> None:
    async with session.spots(session.accounts[0], "EURUSD", "XAUUSD", timestamps=True) as quotes:
        seen: dict[str, ctrader.Quote] = {}
        while len(seen) < 2:
            quote = await anext(quotes)
            seen[quote.symbol] = quote
    assert seen["EURUSD"].bid.as_tuple().exponent == -5
    assert seen["XAUUSD"].ask.as_tuple().exponent == -2
    assert all(Decimal(0) < quote.bid <= quote.ask for quote in seen.values())
    assert all(quote.timestamp is not None for quote in seen.values())


async def test_a_symbol_is_subscribed_once_for_two_streams_and_unsubscribed_with_the_last(
    sandbox: Sandbox, session: ctrader.Session
) -> None:
    account = session.accounts[0]
    requests = sandbox.ctrader.state.requests
    first, second = session.spots(account, "EURUSD"), session.spots(account, "EURUSD")
    quote = await anext(first)
    assert await anext(second) == quote, "the second stream starts with the last known quote"
    assert requests["ProtoOASubscribeSpotsReq"] == 1
    await first.aclose()
    assert requests["ProtoOAUnsubscribeSpotsReq"] == 0
    await second.aclose()
    assert requests["ProtoOAUnsubscribeSpotsReq"] == 1


async def test_symbols_are_asked_for_again_when_the_server_says_that_one_has_changed(sandbox: Sandbox, session: ctrader.Session) -> None:
    account, requests = session.accounts[0], sandbox.ctrader.state.requests
    (symbol,) = await session.symbols(account, "EURUSD")
    assert await session.symbols(account, "EURUSD") == [symbol]
    assert (requests["ProtoOASymbolsListReq"], requests["ProtoOASymbolByIdReq"]) == (1, 1)
    async with session.events(pb.ProtoOASymbolChangedEvent) as changes:
        await sandbox.ctrader.push(pb.ProtoOASymbolChangedEvent(ctidTraderAccountId=account.id, symbolId=[symbol.id]), account.id)
        await anext(changes)
    await session.symbols(account, "EURUSD")
    assert (requests["ProtoOASymbolsListReq"], requests["ProtoOASymbolByIdReq"]) == (2, 2)


async def test_an_unknown_symbol_is_named_with_what_was_meant(session: ctrader.Session) -> None:
    with pytest.raises(tradesession.ConfigurationError, match="no symbol 'EURUSB'; did you mean EURUSD"):
        await anext(session.spots(session.accounts[0], "EURUSB"))


async def test_quotes_without_a_symbol_are_refused(session: ctrader.Session) -> None:
    with pytest.raises(tradesession.InvalidRequest, match="at least one symbol"):
        session.spots(session.accounts[0])


@pytest.mark.parametrize("first_spot", ["duplicate", "before-reply", "after-tick", "missing"])
async def test_quotes_come_whatever_the_first_spot_is_like(sandbox: Sandbox, session: ctrader.Session, first_spot: str) -> None:
    sandbox.ctrader.faults.set("first-spot", first_spot)
    async with session.spots(session.accounts[0], "EURUSD") as quotes:
        await sandbox.clock.advance(10)
        quote = await anext(quotes)
    assert quote.bid <= quote.ask


# --- callbacks ---------------------------------------------------------------------------------------------------------------------------


async def test_a_handler_gets_the_events_in_order_and_outlives_losses_and_its_own_mistakes(
    sandbox: Sandbox, session: ctrader.Session, caplog: pytest.LogCaptureFixture
) -> None:
    account = session.accounts[0]
    seen: list[int] = []

    async def handle(event: pb.ProtoOAMarginChangedEvent) -> None:
        seen.append(event.positionId)
        await asyncio.sleep(0)
        if event.positionId == 2:
            raise ValueError("the bot's own mistake")

    async def push(position_id: int) -> None:
        event = pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=account.id, positionId=position_id, usedMargin=1)
        assert await sandbox.ctrader.push(event, account.id) == 1

    session.on(pb.ProtoOAMarginChangedEvent, handle, account=account)
    for position_id in (1, 2, 3):
        await push(position_id)
    await until(lambda: len(seen) == 3)
    assert "the next event comes all the same" in caplog.text
    await sandbox.ctrader.faults.cut()
    await until(lambda: session.state is not tradesession.SessionState.READY)
    await ready_again(sandbox, session)
    await push(4)
    await until(lambda: seen == [1, 2, 3, 4])


async def test_a_plain_function_may_be_a_handler_and_closing_the_stream_stops_it(sandbox: Sandbox, session: ctrader.Session) -> None:
    account = session.accounts[0]
    seen: list[int] = []
    stream = session.on(pb.ProtoOAMarginChangedEvent, lambda event: seen.append(event.positionId))
    event = pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=account.id, positionId=1, usedMargin=1)
    await sandbox.ctrader.push(event, account.id)
    await until(lambda: seen)
    await stream.aclose()
    await sandbox.ctrader.push(event, account.id)
    await session.request(pb.ProtoOAVersionReq())
    assert seen == [1]


async def test_a_handler_may_close_the_session(sandbox: Sandbox) -> None:
    async with tradesession.connect(sandbox.ctrader.config(plaintext=True)) as session:
        account = session.accounts[0]

        async def stop(event: pb.ProtoOAMarginChangedEvent) -> None:
            await session.aclose()

        session.on(pb.ProtoOAMarginChangedEvent, stop)
        await sandbox.ctrader.push(pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=account.id, positionId=1, usedMargin=1), account.id)
        async with asyncio.timeout(60):
            await session.closed()
