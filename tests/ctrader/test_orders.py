"""Orders through a session: the reply is the first execution, the stream has them all, and every order ends in exactly one way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import tradesession
from tests.ctrader.trading import KIND, SELL, TYPE, Trading, trading, until
from tradesession.ctrader import messages as pb
from tradesession.hooks import LateReply
from tradesession.sandbox.simulation import World, simulated


def told(trader: Trading) -> tradesession.EventStream[pb.ProtoOAExecutionEvent]:
    return trader.session.events(pb.ProtoOAExecutionEvent, account=trader.account, overflow="must_deliver")


async def next_events(stream: tradesession.EventStream[pb.ProtoOAExecutionEvent], count: int) -> list[pb.ProtoOAExecutionEvent]:
    return [await anext(stream) for _ in range(count)]


def kinds(events: list[pb.ProtoOAExecutionEvent]) -> list[tuple[int, bool]]:
    return [(event.executionType, event.isServerEvent) for event in events]


# --- replies and events -------------------------------------------------------------------------------------------------------------


@simulated()
async def test_the_reply_is_the_first_execution_and_the_stream_has_it_too(world: World) -> None:
    async with trading(world) as trader, told(trader) as executions:
        reply = await trader.session.request(trader.order(relativeStopLoss=500, clientOrderId="one"))
        assert (reply.executionType, reply.order.clientOrderId) == (KIND.ORDER_ACCEPTED, "one")
        events = await next_events(executions, 3)
        assert kinds(events) == [(KIND.ORDER_ACCEPTED, False), (KIND.ORDER_FILLED, False), (KIND.ORDER_ACCEPTED, True)]
        assert events[0] == reply
        assert events[2].position.HasField("stopLoss")
        assert executions.statistics().received == 3


@simulated()
async def test_a_fill_that_comes_with_the_acceptance_changes_nothing(world: World) -> None:
    async with trading(world) as trader, told(trader) as executions:
        trader.server.settings.fill_latency = trader.server.settings.protection_latency = 0.0
        reply = await trader.session.request(trader.order(relativeStopLoss=500))
        assert reply.executionType == KIND.ORDER_ACCEPTED
        assert [event.executionType for event in await next_events(executions, 3)] == [2, 3, 2]


@simulated()
async def test_each_of_the_five_requests_is_answered_by_what_it_did(world: World) -> None:
    async with trading(world) as trader, told(trader) as executions:
        session = trader.session
        waiting = (await session.request(trader.limit())).order
        amended = await session.request(trader.about(pb.ProtoOAAmendOrderReq, orderId=waiting.orderId, limitPrice=0.6))
        cancelled = await session.request(trader.about(pb.ProtoOACancelOrderReq, orderId=waiting.orderId))
        assert (amended.executionType, amended.order.limitPrice) == (KIND.ORDER_REPLACED, 0.6)
        assert cancelled.executionType == KIND.ORDER_CANCELLED
        position = await trader.opened()
        protected = await session.request(
            trader.about(pb.ProtoOAAmendPositionSLTPReq, positionId=position.positionId, stopLoss=0.9, takeProfit=1.9)
        )
        assert (protected.executionType, protected.position.stopLoss) == (KIND.ORDER_ACCEPTED, 0.9)
        close = trader.about(pb.ProtoOAClosePositionReq, positionId=position.positionId, volume=100_000)
        assert (await session.request(close)).order.closingOrder
        events = await next_events(executions, 8)
        assert [event.executionType for event in events] == [2, 4, 5, 2, 3, 2, 2, 3]
        assert events[-1].deal.closePositionDetail.closedVolume == 100_000
        assert trader.book.positions == []


@simulated()
async def test_orders_under_way_together_each_get_their_own_reply(world: World) -> None:
    async with trading(world) as trader, told(trader) as executions:
        trader.server.settings.latency = 0.05
        orders = [trader.limit(clientOrderId=f"order {number}") for number in range(20)]
        replies = await asyncio.gather(*(trader.session.request(order) for order in orders))
        assert [reply.order.clientOrderId for reply in replies] == [order.clientOrderId for order in orders]
        assert await next_events(executions, 20) == replies


@simulated()
async def test_what_others_do_on_the_account_is_told_whatever_ids_they_use(world: World) -> None:
    async with trading(world) as trader, told(trader) as executions:
        config = trader.server.config(plaintext=True, accounts=[trader.account.id])
        async with tradesession.connect(config) as terminal:
            reply = await terminal.request(trader.order())
        events = await next_events(executions, 1)
        assert (events[0], events[0].order.orderId) == (reply, reply.order.orderId)


@simulated()
async def test_a_stop_that_is_hit_is_told_as_the_servers_doing(world: World) -> None:
    async with trading(world) as trader, told(trader) as executions:
        await trader.opened(relativeStopLoss=500)
        await next_events(executions, 3)
        trader.server.feed.tick("EURUSD", bid=0.9, ask=0.9001)
        (hit,) = await next_events(executions, 1)
        assert (kinds([hit]), hit.order.orderType) == ([(KIND.ORDER_FILLED, True)], TYPE.STOP_LOSS_TAKE_PROFIT)


@simulated()
async def test_executions_that_come_twice_resolve_the_order_once(world: World) -> None:
    async with trading(world) as trader, told(trader) as executions:
        trader.server.faults.duplicate_executions = True
        reply = await trader.session.request(trader.limit())
        assert await next_events(executions, 2) == [reply, reply]
        assert not [record for record in trader.records if isinstance(record, LateReply)]


@simulated()
async def test_a_fill_that_overtakes_the_acceptance_is_the_reply(world: World) -> None:
    async with trading(world) as trader, told(trader) as executions:
        trader.server.faults.reorder_replies = True
        reply = await trader.session.request(trader.order())
        assert reply.executionType == KIND.ORDER_FILLED
        assert [event.executionType for event in await next_events(executions, 2)] == [3, 2], "the stream keeps the order of the wire"


@simulated()
async def test_an_order_is_named_so_that_it_can_be_found_again(world: World) -> None:
    async with trading(world) as trader:
        mine = trader.limit()
        replies = [await trader.session.request(one) for one in (mine, mine, trader.limit(clientOrderId="own name"))]
        names = [reply.order.clientOrderId for reply in replies]
        assert (names[2], len(set(names))) == ("own name", 3)
        assert all(0 < len(name) <= 50 for name in names)
        assert not mine.HasField("clientOrderId"), "the caller's message is left as it is"


# --- every ending ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["as seen", "order error", "error", "execution"])
@simulated()
async def test_a_refusal_is_typed_whichever_message_it_comes_in(world: World, route: Any) -> None:
    async with trading(world) as trader:
        trader.server.settings.order_refusals = route
        refused = {
            "TRADING_BAD_VOLUME": trader.order(volume=1),
            "INVALID_REQUEST": trader.order(stopLoss=1.0),
            "NOT_ENOUGH_MONEY": trader.order(volume=5_000_000_000),
            "ORDER_NOT_FOUND": trader.about(pb.ProtoOACancelOrderReq, orderId=1),
            "POSITION_NOT_FOUND": trader.about(pb.ProtoOAClosePositionReq, positionId=1, volume=100_000),
            "SYMBOL_NOT_FOUND": trader.order(symbolId=4711),
        }
        for code, request in refused.items():
            with pytest.raises(tradesession.Rejected) as caught:
                await trader.session.request(request)
            assert (caught.value.code, caught.value.request, caught.value.account_id) == (code, type(request).__name__, trader.account.id)
            assert caught.value.remedy
        amend = trader.about(pb.ProtoOAAmendOrderReq, orderId=1, limitPrice=1.0)
        with pytest.raises(tradesession.Rejected, match="ORDER_NOT_FOUND"):
            await trader.session.request(amend)
        assert trader.book.orders == {}


@simulated()
async def test_an_order_that_is_rejected_after_its_acceptance_is_told_by_an_event(world: World) -> None:
    async with trading(world) as trader, told(trader) as executions:
        trader.server.faults.reject_accepted_orders = "NO_QUOTES"
        reply = await trader.session.request(trader.order())
        assert reply.executionType == KIND.ORDER_ACCEPTED
        rejected = (await next_events(executions, 2))[1]
        assert (rejected.executionType, rejected.errorCode, rejected.order.orderId) == (
            KIND.ORDER_REJECTED,
            "NO_QUOTES",
            reply.order.orderId,
        )


@pytest.mark.parametrize("how", ["executed", "dropped"])
@simulated()
async def test_without_an_answer_the_outcome_is_unknown_and_nothing_is_sent_again(world: World, how: Any) -> None:
    async with trading(world) as trader:
        unknown = await trader.without_answer(trader.limit(clientOrderId="lost"), how)
        assert "it may have been executed" in str(unknown)
        await asyncio.sleep(600)
        assert trader.server.state.requests["ProtoOANewOrderReq"] == 1
        assert len(trader.named("lost")) == (how == "executed")


@simulated()
async def test_an_answer_after_the_deadline_still_reaches_the_stream(world: World) -> None:
    async with trading(world) as trader, told(trader) as executions:
        trader.server.settings.latency = 2.0
        with pytest.raises(tradesession.OutcomeUnknown):
            await trader.session.request(trader.limit(clientOrderId="slow"), timeout=1)
        assert (await anext(executions)).order.clientOrderId == "slow"
        assert [record for record in trader.records if isinstance(record, LateReply)]


@simulated()
async def test_an_order_whose_caller_gives_up_is_executed_once_and_told(world: World) -> None:
    async with trading(world) as trader, told(trader) as executions:
        ordering = asyncio.ensure_future(trader.session.request(trader.limit(clientOrderId="given up")))
        await until(lambda: trader.server.state.requests["ProtoOANewOrderReq"])
        ordering.cancel()
        await asyncio.wait([ordering])
        assert (await anext(executions)).order.clientOrderId == "given up"
        assert len(trader.named("given up")) == 1


@simulated()
async def test_during_an_outage_an_order_waits_and_is_sent_once(world: World) -> None:
    async with trading(world) as trader:
        await trader.server.faults.cut()
        await until(lambda: trader.session.state is not tradesession.SessionState.READY)
        reply = await trader.session.request(trader.limit(clientOrderId="patient"), timeout=120)
        assert reply.order.clientOrderId == "patient"
        assert (len(trader.named("patient")), trader.server.state.requests["ProtoOANewOrderReq"]) == (1, 1)


@simulated()
async def test_an_order_that_the_outage_outlasts_was_not_sent(world: World) -> None:
    async with trading(world) as trader:
        trader.server.faults.refuse_connections = True
        await trader.server.faults.cut()
        await until(lambda: trader.session.state is not tradesession.SessionState.READY)
        with pytest.raises(tradesession.NotSent):
            await trader.session.request(trader.order(), timeout=5)
        trader.server.faults.clear()
        await trader.session.ready(timeout=300)
        assert trader.book.orders == {}


@simulated()
async def test_an_incomplete_order_is_refused_before_it_leaves(world: World) -> None:
    async with trading(world) as trader:
        with pytest.raises(tradesession.InvalidRequest, match="volume"):
            await trader.session.request(
                pb.ProtoOANewOrderReq(ctidTraderAccountId=trader.account.id, symbolId=1, orderType=TYPE.MARKET, tradeSide=SELL)
            )
        assert trader.server.state.requests["ProtoOANewOrderReq"] == 0


@simulated()
async def test_a_closed_session_sends_nothing(world: World) -> None:
    async with trading(world) as trader:
        await trader.session.aclose()
        with pytest.raises(tradesession.SessionClosed):
            await trader.session.request(trader.order())
        assert trader.book.orders == {}


@simulated()
async def test_an_answer_that_cannot_be_read_leaves_the_outcome_unknown(world: World) -> None:
    async with trading(world) as trader:
        for fault in ("undecodable_replies", "wrong_reply_type"):
            setattr(trader.server.faults, fault, {pb.ProtoOANewOrderReq})
            with pytest.raises(tradesession.OutcomeUnknown, match="but not so that it can be read"):
                await trader.session.request(trader.limit(clientOrderId=fault))
            trader.server.faults.clear()
            assert len(trader.named(fault)) == 1


@simulated()
async def test_orders_under_a_grant_to_look_are_refused(world: World) -> None:
    async with trading(world) as trader:
        grant = trader.server.grant(scope="accounts")
        config = trader.server.config(plaintext=True, access_token=grant.access_token, refresh_token=grant.refresh_token)
        async with tradesession.connect(config) as onlooker:
            with pytest.raises(tradesession.Rejected, match="TRADING_NOT_ALLOWED") as refused:
                await onlooker.request(trader.order(tradeSide=SELL))
        assert "scope 'trading'" in refused.value.remedy
