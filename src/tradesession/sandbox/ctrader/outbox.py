"""What leaves a connection: replies, errors and events, in order, with the delay that is set and the faults of messages.

No sockets, no tasks. Always holds: a reply carries the id of its request, an event carries none (unless it goes on answering a request, or
a fault says so), and what was handed in first leaves first (unless a fault says so).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from google.protobuf.message import Message

from tradesession.ctrader import messages as pb
from tradesession.ctrader import registry
from tradesession.sandbox.ctrader.agenda import Agenda
from tradesession.sandbox.ctrader.channel import Channel
from tradesession.sandbox.ctrader.core import Core
from tradesession.sandbox.ctrader.encoding import encode_message
from tradesession.sandbox.ctrader.refusal import Refusal
from tradesession.sandbox.ctrader.switches import selects
from tradesession.sandbox.ctrader.wire import Envelope, encode_envelope

FOREIGN_ID: Final = "another-client-1"
UNKNOWN_PAYLOAD_TYPE: Final = 2999
_GARBAGE_SIZE: Final = 64
_REORDER_WINDOW: Final = 0.02
"""Seconds in which replies count as falling together."""


class Outbox:
    """The sending half of one connection."""

    def __init__(self, core: Core, channel: Channel) -> None:
        self._core = core
        self._channel = channel
        self._random = random.Random("garbage")
        self._held: list[Envelope] = []
        self._agenda = Agenda(core.clock)
        self._last_due = float("-inf")
        self.before_reply: Callable[[], None] = lambda: None
        """What the fault `events_before_reply` does."""

    def reply(self, request: Envelope, message: Message) -> None:
        """Answer a request."""
        faults = self._core.faults
        if faults.events_before_reply:
            self.before_reply()
        if faults.unknown_payload_types:
            self._post(Envelope(UNKNOWN_PAYLOAD_TYPE, b"\x08\x01"))
        if faults.garbage_output:
            garbage = self._random.randbytes(_GARBAGE_SIZE)
            self._later(lambda: self._channel.send_raw(garbage))
            return
        if faults.oversized_frame:
            self._later(self._channel.announce_huge)
            return
        if selects(faults.wrong_reply_type, request.payload_type):
            message = pb.ProtoOAAccountLogoutRes(ctidTraderAccountId=1)
        envelope = self._envelope(message, request.message_id)
        if selects(faults.undecodable_replies, request.payload_type):
            envelope = Envelope(envelope.payload_type, b"\xff\xff\xff\xff", request.message_id)
        if faults.reorder_replies:
            self._hold(envelope)
        else:
            self._post(envelope)

    def refuse(self, request: Envelope | None, refusal: Refusal) -> None:
        """Answer a request, or bytes that were none, with an error."""
        self.reply(request or Envelope(0), self._error(refusal))

    def event(self, message: Message, message_id: str | None = None) -> None:
        """Send what nobody asked for, or what goes on answering a request, which gives its id."""
        foreign = FOREIGN_ID if self._core.faults.foreign_message_ids else None
        self._post(self._envelope(message, message_id or foreign))

    def then(self, action: Callable[[], None]) -> None:
        """Do something when everything handed in so far has left."""
        self._release()
        self._later(action)

    def close(self) -> None:
        """Nothing more leaves."""
        self._agenda.close()

    def _error(self, refusal: Refusal) -> Message:
        if refusal.is_of_order:
            route = self._core.settings.order_refusals
            if route == "as seen":
                route = "error" if refusal.code == "INVALID_REQUEST" else "order error"
            if route == "order error":
                return _order_error(refusal)
            if route == "execution":
                return _rejection(refusal)
        if self._core.settings.common_errors:
            common = pb.ProtoErrorRes(errorCode=refusal.code, description=refusal.description)
            if refusal.maintenance_end is not None:
                common.maintenanceEndTimestamp = refusal.maintenance_end * 1000
            return common
        error = pb.ProtoOAErrorRes(errorCode=refusal.code, description=refusal.description)
        if refusal.account_id is not None:
            error.ctidTraderAccountId = refusal.account_id
        if refusal.retry_after is not None:
            error.retryAfter = refusal.retry_after
        if refusal.maintenance_end is not None:
            error.maintenanceEndTimestamp = refusal.maintenance_end
        return error

    def _envelope(self, message: Message, message_id: str | None) -> Envelope:
        faults = self._core.faults
        payload = encode_message(message, unknown_fields=faults.unknown_fields, unknown_enum_values=faults.unknown_enum_values)
        absent = not payload and self._core.settings.empty_payload == "absent"
        return Envelope(registry.payload_type_of(message), None if absent else payload, message_id)

    def _hold(self, envelope: Envelope) -> None:
        self._held.append(envelope)
        if len(self._held) == 1:
            self._agenda.enter(self._core.clock.monotonic() + _REORDER_WINDOW, self._release)

    def _release(self) -> None:
        held, self._held = self._held, []
        for envelope in reversed(held):
            self._post(envelope)

    def _post(self, envelope: Envelope) -> None:
        frame = encode_envelope(envelope)
        self._later(lambda: self._channel.send(frame))

    def _later(self, action: Callable[[], None]) -> None:
        latency, now = self._core.settings.latency, self._core.clock.monotonic()
        if latency or self._last_due > now:
            self._last_due = max(self._last_due, now + latency)  # nothing overtakes what went before it, also when the delay shrinks
            self._agenda.enter(self._last_due, action)
        else:
            action()


def _order_error(refusal: Refusal) -> pb.ProtoOAOrderErrorEvent:
    event = pb.ProtoOAOrderErrorEvent(ctidTraderAccountId=refusal.account_id, errorCode=refusal.code, description=refusal.description)
    if refusal.order_id is not None:
        event.orderId = refusal.order_id
    if refusal.position_id is not None:
        event.positionId = refusal.position_id
    return event


def _rejection(refusal: Refusal) -> pb.ProtoOAExecutionEvent:
    kind = pb.ProtoOAExecutionType.ORDER_REJECTED
    return pb.ProtoOAExecutionEvent(ctidTraderAccountId=refusal.account_id, executionType=kind, errorCode=refusal.code, isServerEvent=False)
