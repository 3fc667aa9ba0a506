"""Executions: which orders a session has seen, and which of them are known to be whose.

Pure. It tells the effect of one order request from that of one like it: of two equal parts of a position that are closed, nothing on the
wire says which request closed which, except that an order which was there before is nobody's effect, and one that answered a request is
that request's.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final, NamedTuple

from google.protobuf.message import Message

from tradesession.ctrader.messages import ProtoOAClosePositionReq, ProtoOAExecutionEvent, ProtoOANewOrderReq

REMEMBERED: Final = 10_000
"""Orders of which it is remembered when they were first seen."""

_MAKES_AN_ORDER: Final = (ProtoOANewOrderReq, ProtoOAClosePositionReq)
_ANSWERED: Final = 0
_Order = tuple[int, int]


class Sent(NamedTuple):
    """When a request was sent: by the wall clock, in seconds since 1970, and by how many orders had been seen before."""

    at: float
    orders_seen: int = 0


class Executions:
    """The orders of one session, by account: demo and live, and two brokers, number theirs each for itself."""

    def __init__(self) -> None:
        self._seen: OrderedDict[_Order, int] = OrderedDict()  # as the how-manyth the order was seen first, or as _ANSWERED
        self._count = 0

    def saw(self, event: ProtoOAExecutionEvent) -> None:
        """An execution event has arrived."""
        order = event.ctidTraderAccountId, event.order.orderId
        if event.order.orderId and order not in self._seen:
            self._count += 1
            self._remember(order, self._count)

    def answered(self, request: Message, reply: Message) -> None:
        """This reply has reached the one who asked."""
        if isinstance(request, _MAKES_AN_ORDER) and isinstance(reply, ProtoOAExecutionEvent) and reply.order.orderId:
            self._remember((reply.ctidTraderAccountId, reply.order.orderId), _ANSWERED)

    def sent(self, at: float) -> Sent:
        """A request is about to be sent."""
        return Sent(at, self._count)

    def is_anothers(self, account_id: int, order_id: int, sent: Sent) -> bool:
        """Whether the account's order cannot come of a request that was sent then and got no answer."""
        return self._seen.get((account_id, order_id), math.inf) <= sent.orders_seen

    def _remember(self, order: _Order, number: int) -> None:
        self._seen[order] = number
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
