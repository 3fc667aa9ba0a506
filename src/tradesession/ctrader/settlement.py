"""Settlement: what became of an order request whose answer never came.

The server is asked, never told: only reads are sent. A new order is found by its clientOrderId (the session gives one to orders that have
none), the other requests by the order or position that they are about. A request that the server does not know yet may still be on its
way, so "not executed" is said only after a while of asking. Whatever was known before the request left is never taken for its effect.
"""

from __future__ import annotations

import enum
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from tradesession.clock import Clock
from tradesession.ctrader.amendments import holds, is_amended, is_protected
from tradesession.ctrader.executions import Executions, Sent
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
    ProtoOAOrderListByPositionIdReq,
    ProtoOAOrderListReq,
    ProtoOAOrderStatus,
    ProtoOAOrderType,
    ProtoOAPosition,
    ProtoOAReconcileReq,
)
from tradesession.errors import DeadlineExceeded, Error, InvalidRequest, LinkLost, NotSent, Rejected
from tradesession.timing import sleep
from tradesession.verdict import Action

Requester = Callable[[Message], Awaitable[Any]]

GRACE: Final = 5.0
"""Seconds for which a request that cannot be found may still be on its way: a fill was seen 0.2 s after its order."""

PAUSE: Final = 0.5
"""Seconds between the first two looks; it doubles from look to look, as the lists count against the small quota …"""

PAUSE_LIMIT: Final = 2.0
"""… up to this."""

PATIENCE: Final = 600.0
"""Seconds for which questions that get no answer are repeated: outages are waited out, but not for ever."""

MARGIN: Final = 60.0
"""Seconds by which the clocks of this machine and the server may differ …"""

MARGIN_OF_NAMED: Final = 86_400.0
"""… and where a clientOrderId tells the order from every other: to overlook it for a wrong clock would be to have it sent twice."""

WINDOW: Final = 7 * 86_400.0
"""Seconds that a list may be asked for at once: servers were seen to refuse more."""


class Outcome(enum.Enum):
    """What became of the request."""

    EXECUTED = "executed"
    """It was done: filled (at least in part), cancelled, changed, closed."""
    PENDING = "pending"
    """The order was taken and waits in the book."""
    REFUSED = "refused"
    """The server took it and refused it, or it ended without a fill, or what it was about is gone: it will never be done."""
    NOT_EXECUTED = "not executed"
    """The server knows nothing of it: it never arrived. Sending it again is safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The outcome, and what the server shows for it."""

    outcome: Outcome
    order: ProtoOAOrder | None = None
    position: ProtoOAPosition | None = None
    deals: tuple[ProtoOADeal, ...] = ()


class _Found(NamedTuple):
    """What one look has shown, and whether another one could show anything else."""

    settlement: Settlement
    is_final: bool = True


_STATUS: Final = ProtoOAOrderStatus
_REFUSED: Final = frozenset({_STATUS.ORDER_STATUS_REJECTED, _STATUS.ORDER_STATUS_EXPIRED, _STATUS.ORDER_STATUS_CANCELLED})
_AT_ONCE: Final = frozenset({ProtoOAOrderType.MARKET, ProtoOAOrderType.MARKET_RANGE})
_UNKNOWN_ORDER: Final = frozenset({"ORDER_NOT_FOUND", "ENTITY_NOT_FOUND"})
_PROTECTIVE: Final = ProtoOAOrderType.STOP_LOSS_TAKE_PROFIT


_GONE: Final = _Found(Settlement(outcome=Outcome.REFUSED), is_final=False)
"""What the request was about is not there, and nothing tells of it yet; lists may lag behind the book."""


class Settler:
    """Finds out about one request. `executions` is what the session has seen; without it only times tell what was before."""

    def __init__(self, request: Requester, message: Any, sent: Sent | float, clock: Clock, executions: Executions | None = None) -> None:
        self._request = request
        self._message = message
        self._account_id: int = message.ctidTraderAccountId
        self._sent = sent if isinstance(sent, Sent) else Sent(sent)
        self._clock = clock
        self._executions = executions or Executions()

    async def __call__(self) -> Settlement:
        """Ask until it is known. Questions that an outage leaves without an answer are repeated, for ten minutes at most.

        Raises what a read raises: Rejected, SessionClosed; DeadlineExceeded or NotSent after that time. It may be called again.
        """
        look = self._look()
        give_up_at, sure_at, pause = self._clock.monotonic() + PATIENCE, math.inf, PAUSE
        while True:
            try:
                settlement, is_final = await look()
            except (Rejected, NotSent, DeadlineExceeded, LinkLost) as error:
                if self._clock.monotonic() >= give_up_at or not _may_pass(error):
                    raise
                await sleep(self._clock, max(pause, error.verdict.after or 0.0))
                continue
            now = self._clock.monotonic()
            sure_at = min(sure_at, now + GRACE)  # from the first answer on: before it, the request may have been as stuck as we
            if is_final or now >= sure_at:
                return settlement
            await sleep(self._clock, min(pause, sure_at - now))
            pause = min(2 * pause, PAUSE_LIMIT)

    def _look(self) -> Callable[[], Awaitable[_Found]]:
        looks: dict[type[Message], Callable[[], Awaitable[_Found]]] = {
            ProtoOANewOrderReq: self._new_order,
            ProtoOACancelOrderReq: self._cancel,
            ProtoOAAmendOrderReq: self._amend_order,
            ProtoOAAmendPositionSLTPReq: self._amend_position,
            ProtoOAClosePositionReq: self._close,
        }
        return looks[type(self._message)]

    # --- one look at each kind of request ---------------------------------------------------------------------------------------------

    async def _new_order(self) -> _Found:
        book = await self._reconcile()
        order = self._mine(book.order)
        if order is None:
            async for listed in self._rows(ProtoOAOrderListReq, "order", margin=MARGIN_OF_NAMED):
                order = self._mine([listed])
                if order is not None:
                    break
        if order is None:
            return _Found(Settlement(outcome=Outcome.NOT_EXECUTED), is_final=False)
        position = next((one for one in book.position if one.positionId == order.positionId), None)
        return await self._of_order(order, position)

    async def _cancel(self) -> _Found:
        order, deals = await self._details()
        if order is None:
            return _GONE
        settlement = Settlement(outcome=Outcome.REFUSED, order=order, deals=deals)
        if order.orderStatus == _STATUS.ORDER_STATUS_CANCELLED:
            settlement = Settlement(outcome=Outcome.EXECUTED, order=order, deals=deals)
        elif order.orderStatus == _STATUS.ORDER_STATUS_ACCEPTED:
            return _Found(Settlement(outcome=Outcome.NOT_EXECUTED, order=order, deals=deals), is_final=False)
        return _Found(settlement)

    async def _amend_order(self) -> _Found:
        order, deals = await self._details()
        if order is not None and is_amended(order, self._message):
            return _Found(Settlement(outcome=Outcome.EXECUTED, order=order, deals=deals))
        if order is None:
            return _GONE
        if order.orderStatus != _STATUS.ORDER_STATUS_ACCEPTED:
            return _Found(Settlement(outcome=Outcome.REFUSED, order=order, deals=deals))
        return _Found(Settlement(outcome=Outcome.NOT_EXECUTED, order=order, deals=deals), is_final=False)

    async def _amend_position(self) -> _Found:
        position = await self._position()
        if position is not None:
            if is_protected(position, self._message):
                return _Found(Settlement(outcome=Outcome.EXECUTED, position=position))
            return _Found(Settlement(outcome=Outcome.NOT_EXECUTED, position=position), is_final=False)
        async for order in self._rows(ProtoOAOrderListByPositionIdReq, "order", positionId=self._message.positionId):
            if order.orderType == _PROTECTIVE and holds(order, self._message):  # the position is closed; this is how it stood
                return _Found(Settlement(outcome=Outcome.EXECUTED, order=order))
        return _GONE

    async def _close(self) -> _Found:
        position = await self._position()
        orders = [order async for order in self._rows(ProtoOAOrderListByPositionIdReq, "order", positionId=self._message.positionId)]
        protective = {order.orderId for order in orders if order.orderType == _PROTECTIVE}
        own = [order for order in orders if order.closingOrder and self._could_be_mine(order.orderId, order.tradeData.volume, protective)]
        deals = tuple(
            [
                deal
                async for deal in self._rows(ProtoOADealListByPositionIdReq, "deal", positionId=self._message.positionId)
                if deal.HasField("closePositionDetail") and self._could_be_mine(deal.orderId, deal.volume, protective)
            ]
        )
        if deals:
            order = next((order for order in own if order.orderId == deals[0].orderId), None)
            return _Found(Settlement(outcome=Outcome.EXECUTED, order=order, position=position, deals=deals))
        if own:  # one that is still being executed says more than one that was refused
            return await self._of_order(min(own, key=lambda order: order.orderStatus != _STATUS.ORDER_STATUS_ACCEPTED), position)
        if position is None:  # it was closed before, or something else has closed it, such as its stop
            return _GONE
        return _Found(Settlement(outcome=Outcome.NOT_EXECUTED, position=position), is_final=False)

    # --- recognising ------------------------------------------------------------------------------------------------------------------

    def _mine(self, orders: Iterable[ProtoOAOrder]) -> ProtoOAOrder | None:
        wanted = self._message.clientOrderId
        return next((order for order in orders if order.clientOrderId == wanted and not self._is_anothers(order.orderId)), None)

    def _could_be_mine(self, order_id: int, volume: int, protective: Container[int]) -> bool:
        return volume == self._message.volume and order_id not in protective and not self._is_anothers(order_id)

    def _is_anothers(self, order_id: int) -> bool:
        return self._executions.is_anothers(self._account_id, order_id, self._sent)

    async def _of_order(self, order: ProtoOAOrder, position: ProtoOAPosition | None) -> _Found:
        deals: tuple[ProtoOADeal, ...] = ()
        is_final = True
        if order.executedVolume or order.orderStatus == _STATUS.ORDER_STATUS_FILLED:
            deals = (await self._details(order.orderId))[1]
            outcome = Outcome.EXECUTED
        elif order.orderStatus in _REFUSED:
            outcome = Outcome.REFUSED
        else:
            outcome = Outcome.PENDING
            is_final = order.orderType not in _AT_ONCE  # it will be filled or refused in a moment
        return _Found(Settlement(outcome=outcome, order=order, position=position, deals=deals), is_final)

    # --- asking -------------------------------------------------------------------------------------------------------------------------

    async def _details(self, order_id: int | None = None) -> tuple[ProtoOAOrder | None, tuple[ProtoOADeal, ...]]:
        order_id = self._message.orderId if order_id is None else order_id
        try:
            reply = await self._request(ProtoOAOrderDetailsReq(ctidTraderAccountId=self._account_id, orderId=order_id))
        except Rejected as refusal:
            if refusal.code not in _UNKNOWN_ORDER:
                raise
            return None, ()
        return reply.order, tuple(reply.deal)

    async def _position(self) -> ProtoOAPosition | None:
        book = await self._reconcile()
        return next((position for position in book.position if position.positionId == self._message.positionId), None)

    async def _reconcile(self) -> Any:
        return await self._request(ProtoOAReconcileReq(ctidTraderAccountId=self._account_id, returnProtectionOrders=True))

    async def _rows(self, cls: Any, field: str, *, margin: float = MARGIN, **about: int) -> AsyncIterator[Any]:
        """Everything that was changed since the request was sent: in windows that a server takes, each of them to its last page."""
        now = self._clock.wall()
        since, end = min(self._sent.at, now) - margin, max(self._sent.at, now) + margin  # our clock may have been set since
        while since < end:
            first, until = round(since * 1000), round(min(since + WINDOW, end) * 1000)
            has_more, seen = True, set[int]()
            while has_more and until >= first:
                window = {"fromTimestamp": first, "toTimestamp": until}
                reply = await self._request(cls(ctidTraderAccountId=self._account_id, **window, **about))
                rows = getattr(reply, field)
                for row in rows:
                    yield row
                before = len(seen)
                seen.update(map(_id_of, rows))
                has_more = reply.hasMore and len(seen) > before
                times = [time for time in map(_changed_at, rows) if time]  # newest first; rows of the last moment may come twice
                if times and times[0] < times[-1]:  # oldest first, whatever the documents say
                    first = max(first + 1, *times)
                else:
                    until = min([until - 1, *times])
            since += WINDOW


def _changed_at(row: ProtoOAOrder | ProtoOADeal) -> int:
    return row.executionTimestamp if isinstance(row, ProtoOADeal) else row.utcLastUpdateTimestamp


def _id_of(row: ProtoOAOrder | ProtoOADeal) -> int:
    return row.dealId if isinstance(row, ProtoOADeal) else row.orderId


def _may_pass(error: Error) -> bool:
    """Whether the same question may be answered later."""
    if isinstance(error, Rejected):
        return error.verdict.action in (Action.RETRY, Action.RETRY_AFTER, Action.REFRESH)
    return not isinstance(error, InvalidRequest)
