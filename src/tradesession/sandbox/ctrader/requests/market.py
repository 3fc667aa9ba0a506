"""What can be traded and at which price: assets, symbols, subscriptions to spots, bars and order books. Facts: sections 8.2, 8.3, 9.1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader import market
from tradesession.sandbox.ctrader.market import Symbol
from tradesession.sandbox.ctrader.refusal import Refusal
from tradesession.sandbox.ctrader.requests.answer import Answer, answers

if TYPE_CHECKING:
    from tradesession.sandbox.ctrader.connection import Connection


def _symbols(connection: Connection, account_id: int, symbol_ids: Iterable[int]) -> list[Symbol]:
    broker = connection.core.state.accounts[account_id].broker
    ids = list(dict.fromkeys(symbol_ids))
    if not ids:
        raise Refusal("INVALID_REQUEST", "The list of symbols is empty", account_id=account_id)
    try:
        return [market.symbol_by_id(broker, symbol_id) for symbol_id in ids]
    except Refusal as refusal:
        refusal.account_id = account_id
        raise


@answers(pb.ProtoOAAssetListReq)
def list_assets(connection: Connection, request: pb.ProtoOAAssetListReq) -> Answer:
    """Every asset."""
    return Answer(pb.ProtoOAAssetListRes(ctidTraderAccountId=request.ctidTraderAccountId, asset=market.assets()))


@answers(pb.ProtoOAAssetClassListReq)
def list_asset_classes(connection: Connection, request: pb.ProtoOAAssetClassListReq) -> Answer:
    """Every class of assets."""
    return Answer(pb.ProtoOAAssetClassListRes(ctidTraderAccountId=request.ctidTraderAccountId, assetClass=market.asset_classes()))


@answers(pb.ProtoOASymbolCategoryListReq)
def list_symbol_categories(connection: Connection, request: pb.ProtoOASymbolCategoryListReq) -> Answer:
    """Every category of symbols."""
    categories = market.symbol_categories()
    return Answer(pb.ProtoOASymbolCategoryListRes(ctidTraderAccountId=request.ctidTraderAccountId, symbolCategory=categories))


@answers(pb.ProtoOASymbolsListReq)
def list_symbols(connection: Connection, request: pb.ProtoOASymbolsListReq) -> Answer:
    """Every symbol of the account's broker, in few words. None is archived."""
    broker = connection.core.state.accounts[request.ctidTraderAccountId].broker
    symbols = [market.light_symbol(symbol) for symbol in market.symbols_of(broker)]
    return Answer(pb.ProtoOASymbolsListRes(ctidTraderAccountId=request.ctidTraderAccountId, symbol=symbols))


@answers(pb.ProtoOASymbolByIdReq)
def symbols_by_id(connection: Connection, request: pb.ProtoOASymbolByIdReq) -> Answer:
    """The symbols asked for, in full."""
    symbols = _symbols(connection, request.ctidTraderAccountId, request.symbolId)
    return Answer(
        pb.ProtoOASymbolByIdRes(ctidTraderAccountId=request.ctidTraderAccountId, symbol=[market.full_symbol(one) for one in symbols])
    )


@answers(pb.ProtoOASubscribeSpotsReq)
def subscribe_spots(connection: Connection, request: pb.ProtoOASubscribeSpotsReq) -> Answer:
    """Queued; then the last known price of each symbol, then every tick."""
    core, account_id = connection.core, request.ctidTraderAccountId
    symbols = _symbols(connection, account_id, request.symbolId)
    known = [symbol for symbol in symbols if core.feed.is_subscribed(connection, account_id, symbol)]
    if known and not (core.settings.partial_subscription and len(known) < len(symbols)):
        names = ", ".join(str(symbol.id) for symbol in known)
        raise Refusal("ALREADY_SUBSCRIBED", f"Already subscribed to spots of {names}", account_id=account_id)
    stamped = request.subscribeToSpotTimestamp
    fresh = [symbol for symbol in symbols if symbol not in known]
    for symbol in fresh:
        core.feed.subscribe(connection, account_id, symbol, timestamps=stamped)
    reply = pb.ProtoOASubscribeSpotsRes(ctidTraderAccountId=account_id)
    return _first_spots(connection, reply, account_id, fresh, stamped=stamped)


def _first_spots(connection: Connection, reply: Message, account_id: int, symbols: list[Symbol], *, stamped: bool) -> Answer:
    core = connection.core

    def tick_then_send_late() -> None:
        for symbol, spot in zip(symbols, spots, strict=True):
            core.feed.tick(symbol.instrument.name, broker=symbol.broker)
            connection.send_event(spot)

    spots = [core.feed.snapshot(account_id, symbol, timestamps=stamped) for symbol in symbols]
    match core.faults.first_spot:
        case "duplicate":
            return Answer(reply, after=[*spots, *spots])
        case "before-reply":
            return Answer(reply, before=spots)
        case "after-tick":
            return Answer(reply, then=tick_then_send_late)
        case "missing":
            return Answer(reply)
        case _:
            return Answer(reply, after=spots)


@answers(pb.ProtoOAUnsubscribeSpotsReq)
def unsubscribe_spots(connection: Connection, request: pb.ProtoOAUnsubscribeSpotsReq) -> Answer:
    """No more ticks of these symbols."""
    core, account_id = connection.core, request.ctidTraderAccountId
    symbols = _symbols(connection, account_id, request.symbolId)
    unknown = [str(symbol.id) for symbol in symbols if not core.feed.is_subscribed(connection, account_id, symbol)]
    if unknown:
        raise Refusal("NOT_SUBSCRIBED_TO_SPOTS", f"Not subscribed to spots of {', '.join(unknown)}", account_id=account_id)
    for symbol in symbols:
        core.feed.unsubscribe(connection, account_id, symbol)
    return Answer(pb.ProtoOAUnsubscribeSpotsRes(ctidTraderAccountId=account_id))


@answers(pb.ProtoOASubscribeLiveTrendbarReq)
def subscribe_live_trendbar(connection: Connection, request: pb.ProtoOASubscribeLiveTrendbarReq) -> Answer:
    """Bars ride on the spots from now on, so that these must be subscribed before."""
    core, account_id = connection.core, request.ctidTraderAccountId
    symbol = _symbols(connection, account_id, [request.symbolId])[0]
    if not core.feed.is_subscribed(connection, account_id, symbol):
        text = "Live trend bars need a subscription to spots first"
        raise Refusal(core.settings.bars_without_spots_code, text, account_id=account_id)
    if core.feed.has_bars(connection, account_id, symbol, request.period):
        raise Refusal("ALREADY_SUBSCRIBED", f"Already subscribed to these bars of {symbol.id}", account_id=account_id)
    core.feed.subscribe_bars(connection, account_id, symbol, request.period)
    return Answer(pb.ProtoOASubscribeLiveTrendbarRes(ctidTraderAccountId=account_id))


@answers(pb.ProtoOAUnsubscribeLiveTrendbarReq)
def unsubscribe_live_trendbar(connection: Connection, request: pb.ProtoOAUnsubscribeLiveTrendbarReq) -> Answer:
    """These bars ride no more."""
    core, account_id = connection.core, request.ctidTraderAccountId
    symbol = _symbols(connection, account_id, [request.symbolId])[0]
    if not core.feed.has_bars(connection, account_id, symbol, request.period):
        raise Refusal("INVALID_REQUEST", f"Not subscribed to these bars of {symbol.id}", account_id=account_id)
    core.feed.unsubscribe_bars(connection, account_id, symbol, request.period)
    return Answer(pb.ProtoOAUnsubscribeLiveTrendbarRes(ctidTraderAccountId=account_id))


@answers(pb.ProtoOASubscribeDepthQuotesReq)
def subscribe_depth(connection: Connection, request: pb.ProtoOASubscribeDepthQuotesReq) -> Answer:
    """The whole order book of each symbol, then what changes."""
    core, account_id = connection.core, request.ctidTraderAccountId
    symbols = _symbols(connection, account_id, request.symbolId)
    known = [str(symbol.id) for symbol in symbols if core.feed.has_depth(connection, account_id, symbol)]
    if known:
        raise Refusal("ALREADY_SUBSCRIBED", f"Already subscribed to the depth of {', '.join(known)}", account_id=account_id)
    if core.settings.depth_needs_spots and not all(core.feed.is_subscribed(connection, account_id, symbol) for symbol in symbols):
        raise Refusal("NOT_SUBSCRIBED_TO_SPOTS", "Depth needs a subscription to spots first", account_id=account_id)
    books = [core.feed.subscribe_depth(connection, account_id, symbol) for symbol in symbols]
    return Answer(pb.ProtoOASubscribeDepthQuotesRes(ctidTraderAccountId=account_id), after=books)


@answers(pb.ProtoOAUnsubscribeDepthQuotesReq)
def unsubscribe_depth(connection: Connection, request: pb.ProtoOAUnsubscribeDepthQuotesReq) -> Answer:
    """Nothing more of these order books."""
    core, account_id = connection.core, request.ctidTraderAccountId
    symbols = _symbols(connection, account_id, request.symbolId)
    unknown = [str(symbol.id) for symbol in symbols if not core.feed.has_depth(connection, account_id, symbol)]
    if unknown:
        raise Refusal("INVALID_REQUEST", f"Not subscribed to the depth of {', '.join(unknown)}", account_id=account_id)
    for symbol in symbols:
        core.feed.unsubscribe_depth(connection, account_id, symbol)
    return Answer(pb.ProtoOAUnsubscribeDepthQuotesRes(ctidTraderAccountId=account_id))
