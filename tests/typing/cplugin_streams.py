"""What an editor knows of CPlugin's hubs and REST; mypy checks it, nothing runs it."""

from __future__ import annotations

from typing import assert_type

from tradesession import cplugin
from tradesession.session.streams import EventStream, Gap


async def streams(session: cplugin.Session) -> None:
    """The kind of record of each stream and event, with and without gaps."""
    assert_type(session.mt4.stream_ticks("EURUSD"), EventStream[cplugin.Tick])
    assert_type(session.mt4.stream_ticks(gaps=True), EventStream[cplugin.Tick | Gap])
    assert_type(session.mt4.stream_trades(), EventStream[cplugin.TradeUpdate])
    assert_type(session.mt4.stream_user_updates(gaps=True), EventStream[cplugin.UserUpdate | Gap])
    assert_type(session.mt4.stream_symbol_updates(), EventStream[cplugin.SymbolUpdate])
    assert_type(session.mt4.stream_margin_call_updates(), EventStream[cplugin.MarginCall])
    assert_type(session.mt4.on_tick(), EventStream[cplugin.Tick])
    assert_type(session.mt4.ticks("EURUSD"), EventStream[cplugin.Tick])
    assert_type(session.mt5.ticks("EURUSD", gaps=True), EventStream[cplugin.Mt5Tick | Gap])
    assert_type(session.mt5.on_margin_call(), EventStream[cplugin.Mt5MarginCall])
    assert_type(session.mt5.stream_margin_call_updates(), EventStream[cplugin.Mt5MarginCall])
    assert_type(session.mt4_v1.on_tick(), EventStream[cplugin.Tick])
    assert_type(session.hub.on_connection_status(), EventStream[cplugin.ConnectionStatus])
    async for tick in session.mt4.stream_ticks("EURUSD"):
        assert_type(tick.bid, float)


async def calls(session: cplugin.Session) -> None:
    """What REST gives back."""
    assert_type(await session.rest.organizations(), list[cplugin.Organization])
    assert_type(await session.rest.trade_platforms(), list[cplugin.TradePlatform])
    assert_type(await session.rest.call("GET", "/api/v2/MT4/{tradePlatform}/ServerTime"), cplugin.Reply)
    assert_type(await session.mt4_v1.connect(), bool)
    async for page in session.rest.pages("/api/v2/MT4/{tradePlatform}/UsersRequest"):
        assert_type(page, cplugin.Reply)
