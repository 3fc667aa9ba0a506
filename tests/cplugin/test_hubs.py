"""The typed hubs against a hub that does as the test says: names, arguments, payloads, intents."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

import tradesession
from tests.cplugin.scripted import PLATFORM, Api
from tests.cplugin.test_records import WIRES
from tests.leaks import Leaks
from tests.signalr.fake import Record, Served
from tradesession import cplugin
from tradesession.cplugin.hubs import HUB_CLASSES, TypedHub
from tradesession.cplugin.tables import Pushed, Streaming, SymbolStreaming
from tradesession.errors import ConfigurationError, InvalidRequest, ProtocolError
from tradesession.session.states import SessionState
from tradesession.session.streams import EventStream, Gap
from tradesession.signalr import HubError

TICK = WIRES[cplugin.Tick]
CALL, ITEM, DONE, STREAM, CANCEL = 1, 2, 3, 4, 5


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with Api() as api:
        yield api


def push(target: str, *arguments: Any) -> Record:
    return {"type": CALL, "target": target, "arguments": list(arguments)}


async def answer(served: Served, method: str, *arguments: Any, error: str | None = None, result: Any = None) -> None:
    """The next call is this one; answer it."""
    call = await served.next(CALL)
    assert (call["target"], call["arguments"]) == (method, list(arguments))
    outcome = {"error": error} if error is not None else {"result": result}
    await served.send({"type": DONE, "invocationId": call["invocationId"], **outcome})


def tabled(kind: type) -> list[tuple[str, str, Any]]:
    """(hub, attribute, entry) of every entry of this kind in the tables."""
    return [
        (hub, name, entry)
        for hub, cls in HUB_CLASSES.items()
        for base in (cls, TypedHub)
        for name, entry in vars(base).items()
        if type(entry) is kind
    ]


# --- the tables --------------------------------------------------------------------------------------------------------------------------

METHODS = {
    "mt4-v1": set(),
    "mt4-v2": {"StreamTicks", "StreamTrades", "StreamUserUpdates", "StreamSymbolUpdates", "StreamMarginCallUpdates"},
    "mt5-v2": {"StreamMarginCallUpdates"},
}
EVENTS = {
    "mt4-v1": {"OnConnectionStatus", "onTick"},
    "mt4-v2": {"OnConnectionStatus", "OnTick", "OnTicksBatch"},
    "mt5-v2": {"OnConnectionStatus", "OnTick", "OnTicksBatch", "OnMarginCall"},
}


@pytest.mark.parametrize("hub", HUB_CLASSES)
def test_the_tables_hold_what_the_fact_sheet_has(hub: str) -> None:
    streams = tabled(Streaming) + tabled(SymbolStreaming)
    assert {entry.method for of, _, entry in streams if of == hub} == METHODS[hub]
    assert {entry.target for of, _, entry in tabled(Pushed) if of == hub} == EVENTS[hub]


@pytest.mark.parametrize(("hub", "name", "entry"), tabled(Streaming))
async def test_a_stream_brings_its_records(api: Api, hub: Any, name: str, entry: Streaming[Any]) -> None:
    wire = WIRES[entry.record]
    async with api.session(hub=hub) as (session, served):
        stream: EventStream[Any] = getattr(session.hub, name)(gaps=True)
        call = await served.next(STREAM)
        assert (call["target"], call["arguments"]) == (entry.method, [])
        await served.send({"type": ITEM, "invocationId": call["invocationId"], "item": wire})
        assert await anext(stream) == entry.record.of(wire)
        await stream.aclose()
        assert (await served.next(CANCEL))["invocationId"] == call["invocationId"]


@pytest.mark.parametrize(("hub", "name", "entry"), [one for one in tabled(Pushed) if not one[2].field and one[0] != "mt4-v1"])
async def test_an_event_brings_its_records(api: Api, hub: Any, name: str, entry: Pushed[Any]) -> None:
    wire = WIRES[entry.record]
    async with api.session(hub=hub) as (session, served):
        stream: EventStream[Any] = getattr(session.hub, name)()
        await served.send(push(entry.target, wire))
        assert await anext(stream) == entry.record.of(wire)
        await stream.aclose()


@pytest.mark.parametrize(("hub", "name", "entry"), [one for one in tabled(Pushed) if one[2].field])
async def test_a_batch_brings_its_ticks_one_by_one(api: Api, hub: Any, name: str, entry: Pushed[Any]) -> None:
    wire = WIRES[entry.record]
    without = {name: value for name, value in wire.items() if name != "symbol"}
    async with api.session(hub=hub) as (session, served):
        stream: EventStream[Any] = getattr(session.hub, name)()
        await served.send(push(entry.target, {"symbol": "EURUSD", "ticks": [wire, without | {"bid": 2.0}]}))
        await served.send(push(entry.target, {"symbol": "EURUSD", "ticks": None}), push(entry.target, 5), push(entry.target))
        await served.send(push(entry.target, {"symbol": "GBPUSD", "ticks": [without]}))
        ticks = [await anext(stream) for _ in range(3)]
    assert ticks[0] == entry.record.of(wire)
    assert [(tick.symbol, tick.bid) for tick in ticks] == [("EURUSD", 1.1), ("EURUSD", 2.0), ("GBPUSD", 1.1)]


@pytest.mark.parametrize(
    ("symbol", "stream_all", "arguments"),
    [("EURUSD", "null", ["EURUSD"]), (None, "null", [None]), (None, "omit", []), ("EURUSD", "omit", ["EURUSD"])],
)
async def test_ticks_are_streamed_of_one_symbol_or_of_all(api: Api, symbol: str | None, stream_all: Any, arguments: list[Any]) -> None:
    async with api.session(stream_all=stream_all) as (session, served):
        session.mt4.stream_ticks(symbol)
        call = await served.next(STREAM)
        assert (call["target"], call["arguments"]) == ("StreamTicks", arguments)


async def test_the_latest_of_each_symbol_is_kept_on_request(api: Api) -> None:
    async with api.session() as (session, served):
        stream = session.mt4.on_tick(overflow="latest", key=lambda tick: tick.symbol)
        for bid in (1.0, 2.0, 3.0):
            await served.send(push("OnTick", TICK | {"bid": bid}), push("OnTick", TICK | {"symbol": "GBPUSD"}))
        await answered(session, served)
        assert (await anext(stream)).bid == 3.0
        assert (await anext(stream)).symbol == "GBPUSD"


async def test_what_is_no_record_is_told_to_the_reader_and_costs_no_connection(api: Api) -> None:
    async with api.session() as (session, served):
        stream = session.mt4.on_tick(overflow="latest", key=lambda tick: tick.symbol)
        await served.send(push("OnTick", {"bid": 1.0}), push("OnTick", TICK))
        await answered(session, served)
        with pytest.raises(ProtocolError, match="without a readable symbol"):
            await anext(stream)
        assert await anext(stream) == cplugin.Tick.of(TICK)


async def answered(session: cplugin.Session, served: Served) -> None:
    """Everything that was sent before has arrived."""
    asking = asyncio.create_task(session.hub.invoke("Echo", 1))
    await answer(served, "Echo", 1, result=1)
    assert await asking == 1


# --- the way to READY --------------------------------------------------------------------------------------------------------------------


async def test_the_greeting_that_is_glued_to_the_handshake_is_not_lost(api: Api) -> None:
    async with api.session(push("OnConnectionStatus", {"connected": True})) as (session, served):
        status = await anext(session.mt4.on_connection_status())
        assert status.connected
        assert served.query == {"tradePlatform": PLATFORM}
        assert served.headers["Authorization"] == "Bearer planted-token-1"


async def test_the_steps_begin_with_the_token(api: Api) -> None:
    async with api.session() as (session, _):
        assert [step.name for step in session.steps] == ["token", "connect", "handshake", "restore"]
        assert session.connection_id == ""
        assert session.renewals == 0


async def test_a_hub_is_asked_for_by_its_name(api: Api) -> None:
    async with api.session() as (session, _):
        assert session.mt4 is session.hub
        with pytest.raises(ConfigurationError, match="hub='mt5-v2'"):
            session.mt5  # noqa: B018
        with pytest.raises(ConfigurationError, match="hub='mt4-v1'"):
            session.mt4_v1  # noqa: B018


async def test_a_token_that_the_hub_refuses_is_renewed_once(api: Api) -> None:
    async with tradesession.SessionManager() as manager:
        await manager.tokens(api.config()).get()
        api.good.clear()
        opening = asyncio.create_task(api.shaken())
        session = await manager.open(api.config())
        await opening
        assert session.state is SessionState.READY
    assert [seen.bearer for seen in api.seen] == ["planted-token-1", "planted-token-2"]


async def test_rest_works_while_the_hub_is_away(api: Api) -> None:
    api.answers = [web.json_response([])]
    async with api.session() as (session, served):
        changes = session.changes()
        served.cut()
        assert (await anext(changes)).after is SessionState.BACKOFF
        assert await session.rest.trade_platforms() == []
    assert session.state is SessionState.CLOSED


# --- ticks by subscription -------------------------------------------------------------------------------------------------------------


async def test_a_subscription_is_made_and_undone(api: Api) -> None:
    async with api.session() as (session, served):
        asking = asyncio.create_task(session.mt4.subscribe_to_ticks("EURUSD"))
        await answer(served, "SubscribeToTicks", "EURUSD")
        subscription = await asking
        leaving = asyncio.create_task(subscription.aclose())
        await answer(served, "UnsubscribeFromTicks", "EURUSD")
        await leaving
        await session.mt4.unsubscribe_from_ticks("EURUSD")  # there is none any more: nothing is sent
        await answered(session, served)


async def test_unsubscribing_closes_all_of_the_symbol(api: Api) -> None:
    async with api.session() as (session, served):
        for _ in range(2):
            asking = asyncio.create_task(session.mt4.subscribe_to_ticks("EURUSD"))
            await answer(served, "SubscribeToTicks", "EURUSD")
            await asking
        leaving = asyncio.create_task(session.mt4.unsubscribe_from_ticks("EURUSD"))
        await answer(served, "UnsubscribeFromTicks", "EURUSD")
        await leaving


async def test_unsubscribing_leaves_streams_of_ticks_alone(api: Api) -> None:
    async with api.session() as (session, served):
        ticks = await ticking(session, served, "EURUSD")
        await session.hub.unsubscribe_from_ticks("EURUSD")
        await answered(session, served)  # nothing was sent before
        await served.send(push("OnTick", TICK))
        assert await anext(ticks) == cplugin.Tick.of(TICK)


async def test_a_subscription_that_was_closed_is_not_kept(api: Api) -> None:
    async with api.session() as (session, served):

        async def come_and_gone() -> weakref.ref[object]:
            asking = asyncio.create_task(session.hub.subscribe_to_ticks("EURUSD"))
            await answer(served, "SubscribeToTicks", "EURUSD")
            subscription = await asking
            leaving = asyncio.create_task(subscription.aclose())
            await answer(served, "UnsubscribeFromTicks", "EURUSD")
            await leaving
            assert not subscription.is_wanted
            return weakref.ref(subscription)

        first, _ = [await come_and_gone() for _ in range(2)]
        gc.collect()
        assert first() is None


@pytest.mark.parametrize(("method", "undo"), [("SubscribeToSymbolTicks", "UnsubscribeFromSymbolTicks"), ("Ticks", None)])
async def test_another_word_for_it_can_be_named(api: Api, method: str, undo: str | None) -> None:
    async with api.session(hub="mt5-v2") as (session, served):
        asking = asyncio.create_task(session.mt5.subscribe_to_ticks("EURUSD", method=method))
        await answer(served, method, "EURUSD")
        leaving = asyncio.create_task((await asking).aclose())
        if undo is not None:
            await answer(served, undo, "EURUSD")
        await leaving
        await answered(session, served)


async def test_another_word_does_for_a_stream_of_ticks_as_well(api: Api) -> None:
    async with api.session(hub="mt5-v2") as (session, served):
        reading = asyncio.ensure_future(anext(session.mt5.ticks("EURUSD", method="SubscribeToSymbolTicks")))
        await answer(served, "SubscribeToSymbolTicks", "EURUSD")
        await served.send(push("OnTick", TICK))
        assert (await reading).symbol == "EURUSD"


async def ticking(session: cplugin.Session, served: Served, *symbols: str, leading: tuple[str, ...] = ()) -> EventStream[Any]:
    ticks = session.hub.ticks(*symbols, gaps=True)
    entering = asyncio.create_task(ticks.__aenter__())
    for symbol in symbols:
        await answer(served, "SubscribeToTicks", *leading, symbol)
    assert await entering is ticks
    return ticks


async def test_ticks_of_some_symbols_are_one_stream_however_they_come(api: Api) -> None:
    async with api.session() as (session, served):
        ticks = await ticking(session, served, "EURUSD", "GBPUSD")
        await served.send(
            push("OnTick", TICK),
            push("OnTick", TICK | {"symbol": "USDJPY"}),
            push("OnTick", TICK | {"symbol": ["EURUSD"]}),
            push("OnTicksBatch", {"symbol": "GBPUSD", "ticks": [{"bid": 1.0, "ask": 2.0}]}),
            push("ontick", TICK | {"bid": 7.0}),
        )
        seen = [await anext(ticks) for _ in range(3)]
        assert [(tick.symbol, tick.bid) for tick in seen] == [("EURUSD", 1.1), ("GBPUSD", 1.0), ("EURUSD", 7.0)]
        leaving = asyncio.create_task(ticks.aclose())
        for symbol in ("GBPUSD", "EURUSD"):
            await answer(served, "UnsubscribeFromTicks", symbol)
        await leaving


@pytest.mark.parametrize("begin", [anext, lambda ticks: ticks.__aenter__()], ids=["read", "entered"])
async def test_a_symbol_that_the_hub_refuses_leaves_nothing_behind(api: Api, begin: Any) -> None:
    async with api.session() as (session, served):
        reading = asyncio.ensure_future(begin(session.hub.ticks("EURUSD", "NOSUCH")))
        await answer(served, "SubscribeToTicks", "EURUSD")
        await answer(served, "SubscribeToTicks", "NOSUCH", error="HubException: unknown symbol NOSUCH")
        await answer(served, "UnsubscribeFromTicks", "EURUSD")
        with pytest.raises(HubError, match="NOSUCH"):
            await reading
        with pytest.raises(InvalidRequest):
            session.hub.ticks()


async def test_a_first_read_that_is_given_up_costs_nothing(api: Api) -> None:
    async with api.session() as (session, served):
        ticks = session.hub.ticks("EURUSD")
        reading = asyncio.ensure_future(anext(ticks))
        await served.next(CALL)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        reading = asyncio.ensure_future(anext(ticks))
        await answer(served, "SubscribeToTicks", "EURUSD")
        await served.send(push("OnTick", TICK))
        assert await reading == cplugin.Tick.of(TICK)


async def test_a_symbol_that_cannot_be_unsubscribed_holds_back_no_other(api: Api) -> None:
    async with api.session() as (session, served):
        ticks = await ticking(session, served, "EURUSD", "GBPUSD")
        leaving = asyncio.create_task(ticks.aclose())
        await answer(served, "UnsubscribeFromTicks", "GBPUSD", error="HubException: not now")
        await answer(served, "UnsubscribeFromTicks", "EURUSD")
        with pytest.raises(HubError, match="not now"):
            await leaving
        assert ticks.has_ended


# --- what outlives a connection ----------------------------------------------------------------------------------------------------------


async def test_subscriptions_and_streams_come_back_behind_a_gap(api: Api) -> None:
    async with api.session() as (session, served):
        ticks = await ticking(session, served, "EURUSD")
        trades = session.mt4.stream_trades(gaps=True)
        await served.next(STREAM)
        served.cut()
        again = await api.shaken()
        await answer(again, "SubscribeToTicks", "EURUSD")
        call = await again.next(STREAM)
        assert call["target"] == "StreamTrades"
        await again.send(push("OnTick", TICK), {"type": ITEM, "invocationId": call["invocationId"], "item": WIRES[cplugin.TradeUpdate]})
        gap, tick = await anext(ticks), await anext(ticks)
        assert isinstance(gap, Gap)
        assert gap.since is not None
        assert tick == cplugin.Tick.of(TICK)
        assert isinstance(await anext(trades), Gap)
        assert await anext(trades) == cplugin.TradeUpdate.of(WIRES[cplugin.TradeUpdate])


# --- v1 ----------------------------------------------------------------------------------------------------------------------------------


async def shaken_v1(api: Api) -> Served:
    served = await api.shaken()
    await answer(served, "Connect", PLATFORM, result=True)
    return served


async def test_v1_connects_its_platform_on_every_connection_and_names_it_in_every_call(api: Api) -> None:
    opening = asyncio.create_task(shaken_v1(api))
    async with tradesession.connect(api.config(hub="mt4-v1")) as session:
        served = await opening
        assert served.query == {}
        ticks = await ticking(session, served, "EURUSD", leading=(PLATFORM,))
        await served.send(push("onTick", PLATFORM, {"Symbol": "EURUSD", "Bid": 1.1, "Ask": 1.2}))
        await served.send(push("onTick", PLATFORM, {"Symbol": "USDJPY", "Bid": 1.1, "Ask": 1.2}))
        assert await anext(ticks) == cplugin.Tick(symbol="EURUSD", bid=1.1, ask=1.2)
        for call in (session.mt4_v1.ping, session.mt4_v1.connect):
            asking = asyncio.create_task(call())
            await answer(served, call.__name__.capitalize(), PLATFORM, result=True)
            assert await asking is True
        served.cut()
        again = await shaken_v1(api)
        await answer(again, "SubscribeToTicks", PLATFORM, "EURUSD")
        assert isinstance(await anext(ticks), Gap)


async def test_v1_without_a_platform_wants_one_in_each_call(api: Api) -> None:
    async with api.session(hub="mt4-v1", trade_platform="") as (session, served):
        asking = asyncio.create_task(session.mt4_v1.connect("another"))
        await answer(served, "Connect", "another", result=False)
        assert await asking is False
        with pytest.raises(ConfigurationError, match="trade_platform"):
            await session.mt4_v1.ping()


async def test_a_hub_that_has_no_connect_is_ready_all_the_same(api: Api) -> None:
    async def shaken() -> None:
        await answer(await api.shaken(), "Connect", PLATFORM, error="Method does not exist.")

    opening = asyncio.create_task(shaken())
    async with tradesession.connect(api.config(hub="mt4-v1")) as session:
        await opening
        assert session.state is SessionState.READY


# --- nothing stays behind --------------------------------------------------------------------------------------------------------------


async def test_a_session_leaves_nothing_behind(api: Api, leaks: Leaks) -> None:
    api.answers = [web.json_response([])]
    async with api.session() as (session, served):
        ticks = await ticking(session, served, "EURUSD")
        session.mt4.stream_ticks()
        await session.rest.trade_platforms()
    with pytest.raises(StopAsyncIteration):
        await anext(ticks)


async def test_neither_does_one_that_never_was_ready(api: Api, leaks: Leaks) -> None:
    api.token_answers = [web.json_response({"error": "invalid_client"}, status=400)]
    with contextlib.suppress(tradesession.TokenRefused):
        async with tradesession.connect(api.config()):
            raise AssertionError("it is READY")
    assert api.seen == []
