"""What a type checker, and so an editor, knows of requests and replies. Never run: mypy reads it, and fails when it is not so."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from tradesession.ctrader.messages import (
    ProtoOACancelOrderReq,
    ProtoOAExecutionEvent,
    ProtoOAExecutionType,
    ProtoOAGetTrendbarsReq,
    ProtoOAGetTrendbarsRes,
    ProtoOANewOrderReq,
    ProtoOAOrderType,
    ProtoOATrader,
    ProtoOATraderReq,
    ProtoOATraderRes,
    ProtoOATradeSide,
    ProtoOATrendbarPeriod,
)

if TYPE_CHECKING:
    from tradesession.ctrader._requests import TypedRequests


async def a_question_has_the_reply_of_its_name(session: TypedRequests) -> None:
    """Reads a field through two levels of typed messages."""
    reply = await session.request(ProtoOATraderReq(ctidTraderAccountId=1))
    assert_type(reply, ProtoOATraderRes)
    assert_type(reply.trader, ProtoOATrader)
    assert_type(reply.trader.balance, int)
    bars = await session.request(ProtoOAGetTrendbarsReq(ctidTraderAccountId=1, symbolId=1, period=ProtoOATrendbarPeriod.M1), timeout=5)
    assert_type(bars, ProtoOAGetTrendbarsRes)


async def an_order_has_an_execution_event(session: TypedRequests) -> None:
    """Enums have types of their own, which an int does not satisfy."""
    order = ProtoOANewOrderReq(
        ctidTraderAccountId=1, symbolId=1, orderType=ProtoOAOrderType.MARKET, tradeSide=ProtoOATradeSide.BUY, volume=100
    )
    event = await session.request(order)
    assert_type(event, ProtoOAExecutionEvent)
    assert_type(event.executionType, ProtoOAExecutionType.ValueType)
    assert_type(await session.request(ProtoOACancelOrderReq(ctidTraderAccountId=1, orderId=2)), ProtoOAExecutionEvent)


async def mistakes_are_found_before_they_run(session: TypedRequests) -> None:
    """Each ignored error is one that the checker must report: mypy refuses an ignore that nothing needs."""
    await session.request(ProtoOATraderRes())  # type: ignore[call-overload]  # a reply is no request
    await session.request(ProtoOATrader())  # type: ignore[call-overload]  # a part of a message is none either
    ProtoOATraderReq(ctidTraderAccountID=1)  # type: ignore[call-arg]  # misspelled
    ProtoOATraderReq().HasField("balance")  # type: ignore[arg-type]  # no such field
