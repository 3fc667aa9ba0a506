"""Settlement: what became of an order request whose answer never came.

The server is asked, never told: only reads are sent. A new order is found by its clientOrderId (the session gives one to orders that have
none), the other requests by the order or position that they are about. A request that the server does not know yet may still be on its
way, so "not executed" is said only after a while of asking.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from tradesession.clock import Clock
from tradesession.ctrader.messages import (
    ProtoOAAmendOrderReq,
    ProtoOAAmendPositionSLTPReq,
    ProtoOACancelOrderReq,
    ProtoOAClosePositionReq,
    ProtoOADeal,
    ProtoOADealListByPositionIdReq,
    ProtoOANewOrderReq,
    ProtoOAOrder,
    ProtoOAOrderDetailsReq,
    ProtoOAOrderListReq,
    ProtoOAOrderStatus,
    ProtoOAPosition,
    ProtoOAReconcileReq,
)
from tradesession.errors import Rejected
from tradesession.timing import sleep

Requester = Callable[[Message], Awaitable[Any]]

GRACE: Final = 5.0
"""Seconds for which a request that cannot be found may still be on its way: a fill was seen 0.2 s after its order."""

PAUSE: Final = 0.5
"""Seconds between two looks."""

MARGIN: Final = 60.0
"""Seconds by which the clocks of this machine and the server may differ."""


class Outcome(enum.Enum):
    """What became of the request."""

    EXECUTED = "executed"
    """It was done: filled (at least in part), cancelled, changed, closed."""
    PENDING = "pending"
    """The order was taken and waits in the book."""
    REFUSED = "refused"
    """The server took it and refused it, or it ended without a fill."""
    NOT_EXECUTED = "not executed"
    """The server knows nothing of it: it never arrived. Sending it again is safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The outcome, and what the server shows for it."""

    outcome: Outcome
    order: ProtoOAOrder | None = None
    position: ProtoOAPosition | None = None
    deals: tuple[ProtoOADeal, ...] = ()


_REFUSED: Final = frozenset(
    {ProtoOAOrderStatus.ORDER_STATUS_REJECTED, ProtoOAOrderStatus.ORDER_STATUS_EXPIRED, ProtoOAOrderStatus.ORDER_STATUS_CANCELLED}
)


class Settler:
    """Finds out about one request that left at `sent_at` (wall clock, seconds since 1970)."""

    def __init__(self, request: Requester, message: Any, sent_at: float, clock: Clock) -> None:
        self._request = request
        self._message = message
        self._account_id: int = message.ctidTraderAccountId
        self._sent_at = sent_at
        self._clock = clock

    async def __call__(self) -> Settlement:
        """Ask until it is known. Raises what a read raises: Rejected, DeadlineExceeded, NotSent …"""
        look = self._look()
        give_up_at = self._clock.monotonic() + GRACE
        while True:
            settlement = await look()
            if settlement.outcome is not Outcome.NOT_EXECUTED or self._clock.monotonic() >= give_up_at:
                return settlement
            await sleep(self._clock, PAUSE)

    def _look(self) -> Callable[[], Awaitable[Settlement]]:
        looks: dict[type[Message], Callable[[], Awaitable[Settlement]]] = {
            ProtoOANewOrderReq: self._new_order,
            ProtoOACancelOrderReq: self._cancel,
            ProtoOAAmendOrderReq: self._amend_order,
            ProtoOAAmendPositionSLTPReq: self._amend_position,
            ProtoOAClosePositionReq: self._close,
        }
        return looks[type(self._message)]

    async def _new_order(self) -> Settlement:
        wanted = self._message.clientOrderId
        book = await self._reconcile()
        for order in book.order:
            if order.clientOrderId == wanted:
                return await self._of_order(order)
        window = (round((self._sent_at - MARGIN) * 1000), round((self._clock.wall() + MARGIN) * 1000))
        listed = await self._request(
            ProtoOAOrderListReq(ctidTraderAccountId=self._account_id, fromTimestamp=window[0], toTimestamp=window[1])
        )
        for order in listed.order:
            if order.clientOrderId == wanted:
                return await self._of_order(order)
        return Settlement(outcome=Outcome.NOT_EXECUTED)

    async def _cancel(self) -> Settlement:
        order, deals = await self._details(self._message.orderId)
        if order is None or order.orderStatus == ProtoOAOrderStatus.ORDER_STATUS_CANCELLED:
            return Settlement(outcome=Outcome.EXECUTED, order=order, deals=deals)
        gone = order.orderStatus != ProtoOAOrderStatus.ORDER_STATUS_ACCEPTED
        return Settlement(outcome=Outcome.REFUSED if gone else Outcome.NOT_EXECUTED, order=order, deals=deals)

    async def _amend_order(self) -> Settlement:
        order, deals = await self._details(self._message.orderId)
        if order is None:
            return Settlement(outcome=Outcome.REFUSED)
        wanted = ("limitPrice", "stopPrice", "stopLoss", "takeProfit", "relativeStopLoss", "relativeTakeProfit", "expirationTimestamp")
        changed = all(getattr(order, name) == getattr(self._message, name) for name in wanted if self._message.HasField(name))
        changed = changed and (not self._message.HasField("volume") or order.tradeData.volume == self._message.volume)
        return Settlement(outcome=Outcome.EXECUTED if changed else Outcome.NOT_EXECUTED, order=order, deals=deals)

    async def _amend_position(self) -> Settlement:
        position = await self._position()
        if position is None:
            return Settlement(outcome=Outcome.REFUSED)
        changed = all(getattr(position, name) == getattr(self._message, name) for name in ("stopLoss", "takeProfit"))
        return Settlement(outcome=Outcome.EXECUTED if changed else Outcome.NOT_EXECUTED, position=position)

    async def _close(self) -> Settlement:
        since = round((self._sent_at - MARGIN) * 1000)
        until = round((self._clock.wall() + MARGIN) * 1000)
        listed = await self._request(
            ProtoOADealListByPositionIdReq(
                ctidTraderAccountId=self._account_id, positionId=self._message.positionId, fromTimestamp=since, toTimestamp=until
            )
        )
        # The deal's own time is the server's, and a close of before may lie within the margin: only one from after the sending counts,
        # unless the position is gone altogether.
        closing = [deal for deal in listed.deal if deal.HasField("closePositionDetail")]
        position = await self._position()
        if position is None:
            return Settlement(outcome=Outcome.EXECUTED, deals=tuple(closing))
        matching = [deal for deal in closing if deal.volume == self._message.volume and deal.executionTimestamp >= self._sent_at * 1000]
        outcome = Outcome.EXECUTED if matching else Outcome.NOT_EXECUTED
        return Settlement(outcome=outcome, position=position, deals=tuple(matching))

    # --- asking -------------------------------------------------------------------------------------------------------------------

    async def _of_order(self, order: ProtoOAOrder) -> Settlement:
        deals: tuple[ProtoOADeal, ...] = ()
        if order.executedVolume or order.orderStatus == ProtoOAOrderStatus.ORDER_STATUS_FILLED:
            deals = (await self._details(order.orderId))[1]
            outcome = Outcome.EXECUTED
        elif order.orderStatus in _REFUSED:
            outcome = Outcome.REFUSED
        else:
            outcome = Outcome.PENDING
        return Settlement(outcome=outcome, order=order, deals=deals)

    async def _details(self, order_id: int) -> tuple[ProtoOAOrder | None, tuple[ProtoOADeal, ...]]:
        try:
            reply = await self._request(ProtoOAOrderDetailsReq(ctidTraderAccountId=self._account_id, orderId=order_id))
        except Rejected as refusal:
            if refusal.code not in ("ORDER_NOT_FOUND", "ENTITY_NOT_FOUND"):
                raise
            return None, ()
        return reply.order, tuple(reply.deal)

    async def _position(self) -> ProtoOAPosition | None:
        book = await self._reconcile()
        return next((position for position in book.position if position.positionId == self._message.positionId), None)

    async def _reconcile(self) -> Any:
        return await self._request(ProtoOAReconcileReq(ctidTraderAccountId=self._account_id, returnProtectionOrders=True))
