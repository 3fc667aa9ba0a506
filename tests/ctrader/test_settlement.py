"""Settling an unknown outcome: what it says is what stands in the server's book, for each kind of request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.message import Message

import tradesession
from tests.ctrader.trading import BUY, SELL, TYPE, Trading, settle, trading, until
from tradesession.clock import ManualClock
from tradesession.ctrader import messages as pb
from tradesession.ctrader import settlement as settling_module
from tradesession.ctrader.executions import REMEMBERED, Executions
from tradesession.ctrader.settlement import GRACE, Outcome, Settlement, Settler
from tradesession.sandbox.simulation import World, simulated

HOW = ["executed", "dropped"]


def expected(how: str, executed: Outcome = Outcome.EXECUTED) -> Outcome:
    return executed if how == "executed" else Outcome.NOT_EXECUTED


# --- new orders -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
@simulated()
async def test_a_market_order(world: World, how: Any) -> None:
    async with trading(world) as trader:
        settlement = await trader.settled(trader.order(clientOrderId="lost"), how)
        assert settlement.outcome is expected(how)
        assert len(trader.named("lost")) == (how == "executed")
        if how == "executed":
            assert settlement.order is not None
            assert settlement.position is not None
            assert [deal.orderId for deal in settlement.deals] == [settlement.order.orderId]
            assert settlement.position.positionId == settlement.order.positionId
        else:
            assert settlement == Settlement(outcome=Outcome.NOT_EXECUTED)


@pytest.mark.parametrize("how", HOW)
@simulated()
async def test_a_pending_order(world: World, how: Any) -> None:
    async with trading(world) as trader:
        settlement = await trader.settled(trader.limit(clientOrderId="lost"), how)
        assert settlement.outcome is expected(how, Outcome.PENDING)
        assert (settlement.order is not None) == (how == "executed")


@simulated()
async def test_a_pending_order_that_was_filled_or_cancelled_meanwhile(world: World) -> None:
    async with trading(world) as trader:
        filled = await trader.without_answer(trader.limit(clientOrderId="filled", limitPrice=1.0), "executed")
        trader.server.feed.tick("EURUSD", bid=0.99, ask=0.9901)
        assert (await settle(filled)).outcome is Outcome.EXECUTED
        cancelled = await trader.without_answer(trader.limit(clientOrderId="cancelled", limitPrice=0.5), "executed")
        await trader.session.request(trader.about(pb.ProtoOACancelOrderReq, orderId=trader.named("cancelled")[0].orderId))
        assert (await settle(cancelled)).outcome is Outcome.REFUSED


@simulated()
async def test_an_order_that_was_accepted_and_then_rejected(world: World) -> None:
    async with trading(world) as trader:
        trader.server.faults.reject_accepted_orders = "NO_QUOTES"
        settlement = await trader.settled(trader.order(), "executed")
        assert settlement.outcome is Outcome.REFUSED
        assert settlement.order is not None


@simulated()
async def test_an_order_that_was_refused_at_once_is_not_in_any_book(world: World) -> None:
    async with trading(world) as trader:
        assert (await trader.settled(trader.order(volume=1), "executed")).outcome is Outcome.NOT_EXECUTED


@simulated()
async def test_a_market_order_between_acceptance_and_fill_is_waited_for(world: World) -> None:
    async with trading(world) as trader:
        trader.server.settings.fill_latency = 3.0
        settlement = await trader.settled(trader.order(), "executed")
        assert settlement.outcome is Outcome.EXECUTED
        trader.server.settings.fill_latency = 60.0
        assert (await trader.settled(trader.order(), "executed")).outcome is Outcome.PENDING, "not for ever"


@simulated()
async def test_an_order_that_arrives_while_it_is_asked_for_is_found(world: World) -> None:
    """It was on its way all the time, by a connection that this side had given up."""
    async with trading(world) as trader:
        order = trader.limit(clientOrderId="slow")
        unknown = await trader.without_answer(order, "dropped")
        settling = asyncio.ensure_future(settle(unknown))
        await asyncio.sleep(GRACE / 2)
        assert not settling.done()
        config = trader.server.config(plaintext=True, accounts=[trader.account.id])
        async with tradesession.connect(config) as other:
            await other.request(order)
        assert (await settling).outcome is Outcome.PENDING


@simulated()
async def test_an_order_is_not_mistaken_for_an_earlier_one_of_the_same_name(world: World) -> None:
    async with trading(world) as trader:
        await trader.session.request(trader.limit(clientOrderId="again"))
        assert (await trader.settled(trader.limit(clientOrderId="again"), "dropped")).outcome is Outcome.NOT_EXECUTED
        assert (await trader.settled(trader.limit(clientOrderId="again"), "executed")).outcome is Outcome.PENDING


@simulated()
async def test_an_order_is_found_by_what_it_was_when_it_was_sent(world: World) -> None:
    async with trading(world) as trader:
        order = trader.limit(clientOrderId="first")
        unknown = await trader.without_answer(order, "executed")
        order.clientOrderId = "second"  # a bot that fills in the same message again
        assert (await settle(unknown)).outcome is Outcome.PENDING


@simulated()
async def test_an_order_is_found_on_a_later_page(world: World) -> None:
    async with trading(world) as trader:
        trader.server.settings.rows_per_page = 3
        unknown = await trader.without_answer(trader.order(clientOrderId="needle"), "executed")
        for _ in range(10):
            await trader.session.request(trader.order())
            await asyncio.sleep(1)
        assert (await settle(unknown)).outcome is Outcome.EXECUTED
        assert trader.asked().count("ProtoOAOrderListReq") >= 4


@pytest.mark.parametrize("place", [0, 5, 11])
@pytest.mark.parametrize("order_of_rows", ["newest first", "oldest first", "without a time"])
async def test_an_order_is_found_in_whichever_order_the_pages_come(order_of_rows: str, place: int) -> None:
    now = 1_800_000_000
    listed = [_listed(number, time=1000 * (now + number)) for number in range(1, 13)]
    listed[place].clientOrderId = "needle"
    rows = listed[::-1] if order_of_rows == "newest first" else listed
    pages_asked = 0

    async def answer(asked: Message) -> Message:
        nonlocal pages_asked
        if isinstance(asked, pb.ProtoOAReconcileReq):
            return pb.ProtoOAReconcileRes(ctidTraderAccountId=1)
        assert isinstance(asked, pb.ProtoOAOrderListReq)
        inside = [row for row in rows if asked.fromTimestamp <= row.utcLastUpdateTimestamp <= asked.toTimestamp]
        if order_of_rows == "without a time":  # such a server can only count
            inside = [_listed(row.orderId, name=row.clientOrderId) for row in rows[3 * pages_asked :]]
        pages_asked += 1
        return pb.ProtoOAOrderListRes(ctidTraderAccountId=1, order=inside[:3], hasMore=len(inside) > 3)

    order = pb.ProtoOANewOrderReq(ctidTraderAccountId=1, symbolId=1, orderType=TYPE.LIMIT, tradeSide=BUY, volume=1, clientOrderId="needle")
    settlement = (await Settler(answer, order, now, ManualClock(wall=now + 20))._look()()).settlement
    assert settlement.outcome is Outcome.PENDING
    assert settlement.order is not None
    assert settlement.order.orderId == listed[place].orderId


async def test_a_list_that_never_ends_and_brings_nothing_new_is_read_once() -> None:
    lists_asked = 0

    async def answer(asked: Message) -> Message:
        nonlocal lists_asked
        if isinstance(asked, pb.ProtoOAReconcileReq):
            return pb.ProtoOAReconcileRes(ctidTraderAccountId=1)
        lists_asked += 1
        return pb.ProtoOAOrderListRes(ctidTraderAccountId=1, order=[_listed(1), _listed(2)], hasMore=True)

    order = pb.ProtoOANewOrderReq(ctidTraderAccountId=1, symbolId=1, orderType=TYPE.LIMIT, tradeSide=BUY, volume=1, clientOrderId="needle")
    found = await Settler(answer, order, 6.0, ManualClock(wall=20.0))._look()()
    assert found.settlement.outcome is Outcome.NOT_EXECUTED
    assert lists_asked == 2


def test_an_order_that_changed_long_after_is_found_in_a_later_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list may be asked for a week at a time; here the week has fifty seconds."""
    monkeypatch.setattr(settling_module, "WINDOW", 50.0)
    monkeypatch.setattr(settling_module, "MARGIN_OF_NAMED", 60.0)

    @simulated()
    async def late(world: World) -> None:
        async with trading(world) as trader:
            trader.server.settings.list_window = 50.0
            unknown = await trader.without_answer(trader.limit(limitPrice=1.0), "executed")
            await asyncio.sleep(200)
            trader.server.feed.tick("EURUSD", bid=0.99, ask=0.9901)
            assert (await settle(unknown)).outcome is Outcome.EXECUTED
            windows = [one.message for one in trader.server.state.log if isinstance(one.message, pb.ProtoOAOrderListReq)]
            assert len(windows) > 3
            assert all(window.toTimestamp - window.fromTimestamp <= 50_000 for window in windows)

    late()


@simulated()
async def test_clocks_that_differ_do_not_hide_an_order(world: World) -> None:
    for minutes in (-0.9, 0.9):
        async with trading(world) as trader:
            wall = trader.server._clock.wall
            trader.server._core.clock = _Shifted(trader.server._core.clock, 60 * minutes)
            trader.server._core.desk._clock = trader.server._core.clock
            assert abs(trader.server._core.clock.wall() - wall()) > 50
            assert (await trader.settled(trader.order(), "executed")).outcome is Outcome.EXECUTED
            position = (await settle(await trader.without_answer(trader.order(), "executed"))).position
            assert position is not None
            close = trader.about(pb.ProtoOAClosePositionReq, positionId=position.positionId, volume=100_000)
            assert (await trader.settled(close, "executed")).outcome is Outcome.EXECUTED


@pytest.mark.parametrize("hours", [-5, 5])
@simulated()
async def test_a_clock_that_is_set_before_the_settling_does_not_hide_an_order(world: World, hours: int) -> None:
    async with trading(world) as trader:
        unknown = await trader.without_answer(trader.order(volume=200_000), "executed")
        world.clock.shift_wall(3600 * hours)
        settlement = await settle(unknown)
        assert settlement.outcome is Outcome.EXECUTED
        assert settlement.position is not None
        close = trader.about(pb.ProtoOAClosePositionReq, positionId=settlement.position.positionId, volume=100_000)
        unknown = await trader.without_answer(close, "executed")
        world.clock.shift_wall(-3600 * hours)
        assert (await settle(unknown)).outcome is Outcome.EXECUTED


@pytest.mark.parametrize("hours", [-5, 5])
@simulated()
async def test_a_clock_that_is_hours_wrong_does_not_hide_a_new_order(world: World, hours: int) -> None:
    async with trading(world) as trader:
        trader.server._core.desk._clock = _Shifted(trader.server._core.clock, 3600 * hours)
        assert (await trader.settled(trader.order(), "executed")).outcome is Outcome.EXECUTED


class _Shifted:
    """A clock with another wall."""

    def __init__(self, clock: Any, offset: float) -> None:
        self._clock = clock
        self._offset = offset
        self.monotonic = clock.monotonic
        self.call_at = clock.call_at

    def wall(self) -> float:
        return float(self._clock.wall() + self._offset)


# --- cancelling and amending -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
@simulated()
async def test_a_cancellation(world: World, how: Any) -> None:
    async with trading(world) as trader:
        order = await trader.waiting()
        settlement = await trader.settled(trader.about(pb.ProtoOACancelOrderReq, orderId=order.orderId), how)
        assert settlement.outcome is expected(how)
        assert (order.orderId in [one.orderId for one in trader.book.pending()]) == (how == "dropped")
        assert settlement.order is not None


@simulated()
async def test_a_cancellation_that_came_too_late_or_of_nothing(world: World) -> None:
    async with trading(world) as trader:
        order = await trader.waiting(limitPrice=1.0)
        cancel = trader.about(pb.ProtoOACancelOrderReq, orderId=order.orderId)
        unknown = await trader.without_answer(cancel, "dropped")
        trader.server.feed.tick("EURUSD", bid=0.99, ask=0.9901)
        settlement = await settle(unknown)
        assert settlement.outcome is Outcome.REFUSED
        assert len(settlement.deals) == 1
        assert (await trader.settled(trader.about(pb.ProtoOACancelOrderReq, orderId=1), "executed")).outcome is Outcome.REFUSED


AMENDMENTS: list[dict[str, Any]] = [
    {"limitPrice": 0.6},
    {"volume": 200_000},
    {"stopLoss": 0.45, "takeProfit": 0.7},
    {"limitPrice": 0.6, "stopLoss": 0.55, "relativeTakeProfit": 700},
    {"trailingStopLoss": True},
    {"expirationTimestamp": 1_800_000_000_000},
    {"stopTriggerMethod": pb.ProtoOAOrderTriggerMethod.OPPOSITE},
]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("fields", AMENDMENTS, ids=lambda fields: "+".join(fields))
@simulated()
async def test_an_amendment_of_an_order(world: World, how: Any, fields: dict[str, Any]) -> None:
    async with trading(world) as trader:
        order = await trader.waiting(relativeStopLoss=300)
        before = trader.book.orders[order.orderId].SerializeToString()
        settlement = await trader.settled(trader.about(pb.ProtoOAAmendOrderReq, orderId=order.orderId, **fields), how)
        assert settlement.outcome is expected(how)
        assert (trader.book.orders[order.orderId].SerializeToString() == before) == (how == "dropped")


@simulated()
async def test_an_amendment_of_an_order_that_is_gone(world: World) -> None:
    async with trading(world) as trader:
        order = await trader.waiting(limitPrice=1.0)
        amend = trader.about(pb.ProtoOAAmendOrderReq, orderId=order.orderId, limitPrice=0.9)
        unknown = await trader.without_answer(amend, "dropped")
        trader.server.feed.tick("EURUSD", bid=0.99, ask=0.9901)
        assert (await settle(unknown)).outcome is Outcome.REFUSED
        assert (
            await trader.settled(trader.about(pb.ProtoOAAmendOrderReq, orderId=1, limitPrice=0.9), "executed")
        ).outcome is Outcome.REFUSED


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "fields", [{"stopLoss": 0.9, "takeProfit": 1.9}, {"takeProfit": 1.9}, {}, {"stopLoss": 0.9, "trailingStopLoss": True}]
)
@simulated()
async def test_an_amendment_of_a_position(world: World, how: Any, fields: dict[str, Any]) -> None:
    async with trading(world) as trader:
        position = await trader.opened(relativeStopLoss=500)
        amend = trader.about(pb.ProtoOAAmendPositionSLTPReq, positionId=position.positionId, **fields)
        settlement = await trader.settled(amend, how)
        assert settlement.outcome is expected(how)
        assert settlement.position is not None
        assert (settlement.position == position) == (how == "dropped")


@pytest.mark.parametrize("side", [1, 2])
@simulated()
async def test_a_trailing_stop_that_has_moved_since_was_set(world: World, side: Any) -> None:
    async with trading(world) as trader:
        position = await trader.opened(tradeSide=side)
        stop, up = (0.9, 1) if side == 1 else (1.3, -1)
        amend = trader.about(pb.ProtoOAAmendPositionSLTPReq, positionId=position.positionId, stopLoss=stop, trailingStopLoss=True)
        unknown = await trader.without_answer(amend, "executed")
        trader.server.feed.tick("EURUSD", bid=1.0851 + 0.02 * up, ask=1.0852 + 0.02 * up)
        settlement = await settle(unknown)
        assert settlement.outcome is Outcome.EXECUTED
        assert settlement.position is not None
        assert (settlement.position.stopLoss - stop) * up > 0


@simulated()
async def test_protection_that_was_hit_before_it_was_asked_about(world: World) -> None:
    async with trading(world) as trader:
        for how, outcome in (("executed", Outcome.EXECUTED), ("dropped", Outcome.REFUSED)):
            position = await trader.opened(relativeStopLoss=500)
            amend = trader.about(pb.ProtoOAAmendPositionSLTPReq, positionId=position.positionId, stopLoss=1.0)
            unknown = await trader.without_answer(amend, how)
            trader.server.feed.tick("EURUSD", bid=0.9, ask=0.9001)
            assert trader.book.positions == []
            assert (await settle(unknown)).outcome is outcome
            trader.server.feed.tick("EURUSD", bid=1.0851, ask=1.0852)


# --- closing -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("volume", [300_000, 100_000])
@simulated()
async def test_a_closing(world: World, how: Any, volume: int) -> None:
    async with trading(world) as trader:
        position = await trader.opened(volume=300_000, relativeStopLoss=500)
        close = trader.about(pb.ProtoOAClosePositionReq, positionId=position.positionId, volume=volume)
        settlement = await trader.settled(close, how)
        assert settlement.outcome is expected(how)
        if how == "executed":
            assert settlement.order is not None
            assert [deal.closePositionDetail.closedVolume for deal in settlement.deals] == [volume]
            assert (settlement.position is None) == (volume == 300_000)
        else:
            assert settlement.position == position


@simulated()
async def test_a_closing_is_not_mistaken_for_an_equal_one_before_it(world: World) -> None:
    async with trading(world) as trader:
        position = await trader.opened(volume=500_000)
        close = trader.about(pb.ProtoOAClosePositionReq, positionId=position.positionId, volume=100_000)
        await trader.session.request(close)
        await asyncio.sleep(0.1)
        assert (await trader.settled(close, "dropped")).outcome is Outcome.NOT_EXECUTED
        assert (await trader.settled(close, "executed")).outcome is Outcome.EXECUTED
        assert trader.book.holdings[position.positionId].volume == 300_000


@simulated()
async def test_of_two_equal_closings_at_the_same_time_the_lost_one_is_told_from_the_other(world: World) -> None:
    async with trading(world) as trader:
        position = await trader.opened(volume=500_000)
        close = trader.about(pb.ProtoOAClosePositionReq, positionId=position.positionId, volume=100_000)
        trader.server.settings.latency = 0.2
        first = asyncio.ensure_future(trader.session.request(close))
        await until(lambda: trader.server.state.requests["ProtoOAClosePositionReq"])
        unknown = await trader.without_answer(close, "dropped")
        assert (await first).order.closingOrder
        assert (await settle(unknown)).outcome is Outcome.NOT_EXECUTED


@simulated()
async def test_a_closing_of_what_its_stop_has_closed_or_was_never_there(world: World) -> None:
    async with trading(world) as trader:
        position = await trader.opened(relativeStopLoss=500)
        close = trader.about(pb.ProtoOAClosePositionReq, positionId=position.positionId, volume=100_000)
        unknown = await trader.without_answer(close, "dropped")
        trader.server.feed.tick("EURUSD", bid=0.9, ask=0.9001)
        assert (await settle(unknown)).outcome is Outcome.REFUSED
        never = trader.about(pb.ProtoOAClosePositionReq, positionId=1, volume=100_000)
        assert (await trader.settled(never, "executed")).outcome is Outcome.REFUSED


@simulated()
async def test_a_closing_that_is_rejected_after_its_acceptance(world: World) -> None:
    async with trading(world) as trader:
        position = await trader.opened()
        trader.server.faults.reject_accepted_orders = "NO_QUOTES"
        close = trader.about(pb.ProtoOAClosePositionReq, positionId=position.positionId, volume=100_000)
        settlement = await trader.settled(close, "executed")
        assert settlement.outcome is Outcome.REFUSED
        assert settlement.position == position


@simulated()
async def test_a_closing_that_is_still_being_executed_is_waited_for(world: World) -> None:
    async with trading(world) as trader:
        position = await trader.opened()
        trader.server.settings.fill_latency = 4.0
        close = trader.about(pb.ProtoOAClosePositionReq, positionId=position.positionId, volume=100_000)
        assert (await trader.settled(close, "executed")).outcome is Outcome.EXECUTED


# --- asking ------------------------------------------------------------------------------------------------------------------------------


@simulated()
async def test_only_reads_are_sent_and_few_of_them(world: World) -> None:
    async with trading(world) as trader:
        unknown = await trader.without_answer(trader.order(), "dropped")
        before = len(trader.asked())
        started = world.clock.monotonic()
        await settle(unknown)
        assert GRACE <= world.clock.monotonic() - started <= 2 * GRACE
        asked = trader.asked()[before:]
        assert set(asked) == {"ProtoOAReconcileReq", "ProtoOAOrderListReq"}
        assert len(asked) <= 12


@simulated()
async def test_an_outage_is_waited_out(world: World) -> None:
    async with trading(world) as trader:
        unknown = await trader.without_answer(trader.order(), "executed")
        trader.server.faults.refuse_connections = True
        await trader.server.faults.cut()
        settling = asyncio.ensure_future(settle(unknown))
        await asyncio.sleep(300)
        assert not settling.done()
        trader.server.faults.clear()
        assert (await settling).outcome is Outcome.EXECUTED


@pytest.mark.parametrize("fault", ["maintenance", "no answers", "blocked"])
@simulated()
async def test_a_server_that_does_not_want_to_be_asked_now_is_asked_later(world: World, fault: str) -> None:
    async with trading(world) as trader:
        unknown = await trader.without_answer(trader.order(), "executed")
        if fault == "maintenance":
            trader.server.faults.maintenance(60)
        elif fault == "blocked":
            trader.server.faults.blocked_payload_types = {pb.ProtoOAOrderListReq}
        else:
            trader.server.faults.unanswered_requests = {pb.ProtoOAReconcileReq}
        settling = asyncio.ensure_future(settle(unknown))
        await asyncio.sleep(45)
        assert not settling.done()
        trader.server.faults.clear()
        assert (await settling).outcome is Outcome.EXECUTED


@simulated()
async def test_what_never_gets_an_answer_ends_after_ten_minutes_and_may_be_asked_again(world: World) -> None:
    async with trading(world) as trader:
        unknown = await trader.without_answer(trader.order(), "executed")
        trader.server.faults.unanswered_requests = {pb.ProtoOAReconcileReq}
        with pytest.raises(tradesession.DeadlineExceeded):
            await unknown.settle()
        trader.server.faults.clear()
        assert (await settle(unknown)).outcome is Outcome.EXECUTED


@simulated()
async def test_a_question_that_is_refused_for_good_is_told(world: World) -> None:
    async with trading(world) as trader:
        unknown = await trader.without_answer(trader.order(), "executed")
        trader.server.faults.unsupported_requests = {pb.ProtoOAReconcileReq}
        with pytest.raises(tradesession.Rejected, match="UNSUPPORTED_MESSAGE"):
            await unknown.settle()
        trader.server.faults.unsupported_requests = {pb.ProtoOAOrderDetailsReq}
        cancel = await trader.without_answer(trader.about(pb.ProtoOACancelOrderReq, orderId=1), "executed")
        with pytest.raises(tradesession.Rejected, match="UNSUPPORTED_MESSAGE"):
            await cancel.settle()


@simulated()
async def test_a_closed_session_cannot_settle(world: World) -> None:
    async with trading(world) as trader:
        unknown = await trader.without_answer(trader.order(), "executed")
        await trader.session.aclose()
        with pytest.raises(tradesession.SessionClosed):
            await unknown.settle()


@simulated()
async def test_twenty_at_once_are_settled_within_the_quota(world: World) -> None:
    async with trading(world) as trader:
        hows = [HOW[number % 2] for number in range(20)]
        unknowns = []
        for number, how in enumerate(hows):
            unknowns.append(await trader.without_answer(trader.order(clientOrderId=f"order {number}"), how))
        outcomes = [settlement.outcome for settlement in await asyncio.gather(*map(settle, unknowns))]
        assert outcomes == [expected(how) for how in hows]
        assert not trader.server.state.requests["ProtoOAErrorRes"]


# --- what was seen -----------------------------------------------------------------------------------------------------------------------


def execution(order_id: int, account_id: int = 1) -> pb.ProtoOAExecutionEvent:
    event = pb.ProtoOAExecutionEvent(ctidTraderAccountId=account_id, executionType=2)  # type: ignore[arg-type]
    event.order.orderId = order_id
    return event


def test_an_order_that_was_seen_before_is_anothers_and_one_that_came_since_may_be_mine() -> None:
    executions = Executions()
    executions.saw(execution(1))
    sent = executions.sent(100.0)
    executions.saw(execution(2))
    executions.saw(execution(1))
    executions.saw(pb.ProtoOAExecutionEvent())
    executions.answered(pb.ProtoOANewOrderReq(), execution(3))
    executions.answered(pb.ProtoOACancelOrderReq(), execution(2))
    executions.answered(pb.ProtoOATraderReq(), pb.ProtoOATraderRes())
    executions.saw(execution(3))
    assert [executions.is_anothers(1, number, sent) for number in (1, 2, 3, 4)] == [True, False, True, False]


@pytest.mark.parametrize("is_answer", [False, True])
async def test_an_order_is_not_mistaken_for_one_of_another_account_that_has_the_same_number(is_answer: bool) -> None:
    """The demo and the live server number their orders each for itself."""
    executions = Executions()
    if is_answer:
        executions.answered(pb.ProtoOANewOrderReq(), execution(7, account_id=2))
    else:
        executions.saw(execution(7, account_id=2))
    sent = executions.sent(100.0)
    executions.saw(execution(7, account_id=1))

    async def answer(asked: Message) -> Message:
        cls = pb.ProtoOAReconcileRes if isinstance(asked, pb.ProtoOAReconcileReq) else pb.ProtoOAOrderListRes
        return cls(ctidTraderAccountId=1, order=[_listed(7, time=100_000, name="mine")])

    order = pb.ProtoOANewOrderReq(ctidTraderAccountId=1, symbolId=1, orderType=TYPE.LIMIT, tradeSide=BUY, volume=1, clientOrderId="mine")
    found = await Settler(answer, order, sent, ManualClock(wall=101.0), executions)._look()()
    assert found.settlement.outcome is Outcome.PENDING


def test_the_memory_of_orders_has_an_end() -> None:
    executions = Executions()
    for number in range(1, REMEMBERED + 2):
        executions.saw(execution(number))
    sent = executions.sent(0.0)
    assert [executions.is_anothers(1, number, sent) for number in (1, 2)] == [False, True]


def kinds_of_requests(trader: Trading, order_id: int, position_id: int) -> list[Message]:
    return [
        trader.order(tradeSide=SELL),
        trader.order(TYPE.STOP, stopPrice=2.0),
        trader.about(pb.ProtoOACancelOrderReq, orderId=order_id),
        trader.about(pb.ProtoOAAmendOrderReq, orderId=order_id, limitPrice=0.6),
        trader.about(pb.ProtoOAAmendPositionSLTPReq, positionId=position_id, stopLoss=0.9),
        trader.about(pb.ProtoOAClosePositionReq, positionId=position_id, volume=100_000),
    ]


@simulated()
async def test_settling_twice_says_the_same(world: World) -> None:
    async with trading(world) as trader:
        for index in range(6):
            order, position = await trader.waiting(), await trader.opened()
            unknown = await trader.without_answer(kinds_of_requests(trader, order.orderId, position.positionId)[index], "executed")
            assert (await settle(unknown)).outcome is (await settle(unknown)).outcome is not Outcome.NOT_EXECUTED


def _listed(order_id: int, *, time: int = 0, name: str = "") -> pb.ProtoOAOrder:
    """A pending order as a list may have it: with the time of its last change and its name, or without."""
    trade = pb.ProtoOATradeData(symbolId=1, volume=1, tradeSide=BUY)
    order = pb.ProtoOAOrder(
        orderId=order_id, tradeData=trade, orderType=TYPE.LIMIT, orderStatus=pb.ProtoOAOrderStatus.ORDER_STATUS_ACCEPTED
    )
    if time:
        order.utcLastUpdateTimestamp = time
    if name:
        order.clientOrderId = name
    return order
