"""Faults: what goes wrong on purpose, as switches that hold until they are taken back. Every name also works on the command line.

Pure. A switch acts on every connection, also on those that are open when it is set. Most were seen in the wild (fact sheet, section
9.7); the others are ways in which bytes and connections fail.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, get_args

from google.protobuf.message import Message

from tradesession.ctrader import registry
from tradesession.sandbox.authority import Flaw
from tradesession.sandbox.switchboard import FLAG, NUMBER, SECONDS, Kind, Switchboard, as_flag, choice, switch, text

Selection = bool | Collection[int | type[Message]]
"""Which requests a fault hits: all of them, none, or those of the given payload types or classes."""

Unanswered = Literal["", "executed", "dropped"]

FirstSpot = Literal["", "duplicate", "before-reply", "after-tick", "missing"]


def selects(selection: Selection, payload_type: int) -> bool:
    """Whether the selection hits that payload type."""
    if isinstance(selection, bool):
        return selection
    return payload_type in selection or registry.class_for(payload_type) in selection


def _read_selection(value: str) -> Selection:
    try:
        return as_flag(value)
    except KeyError:
        names = {cls.__name__: number for number, cls in registry.CLASSES.items()}
        return frozenset(names[part] if part in names else int(part) for part in value.split(","))


_SELECTION: Final[Kind] = (_read_selection, "numbers or message names with commas between, or without a value for all of them")
_FLAW: Final = choice(*get_args(Flaw))
_FIRST_SPOT: Final = choice(*filter(None, get_args(FirstSpot)))
_UNANSWERED: Final = choice(*filter(None, get_args(Unanswered)))
_CODE: Final = text("the name of an error code, such as NO_QUOTES")


@dataclass(slots=True)
class Switches(Switchboard):
    """The switches. Set one, take it back by its default, or `clear()` all."""

    # --- connecting ---
    refuse_connections: bool = switch(False, "nobody listens: connections are refused", FLAG)
    tls_hang: bool = switch(False, "connections are accepted and TLS never answers", FLAG)
    accept_and_close: bool = switch(False, "connections are accepted, TLS included, and closed at once", FLAG)
    wrong_certificate: Flaw | Literal[""] = switch("", "a certificate to refuse: of another host or authority, or expired", _FLAW)

    # --- bytes ---
    slice_output: int = switch(0, "output leaves in pieces of that many bytes", NUMBER)
    glue_output: float = switch(0.0, "output is held for that many seconds and leaves in one piece", SECONDS)
    cut_output_after: int | None = switch(None, "the connection is cut after the server has sent that many bytes", NUMBER)
    cut_input_after: int | None = switch(None, "the connection is cut after the client has sent that many bytes", NUMBER)
    half_open: bool = switch(False, "the server hears nothing, says nothing and closes nothing", FLAG)
    stop_reading: bool = switch(False, "the server reads no more: the client's send buffer fills", FLAG)

    # --- frames ---
    garbage_output: bool = switch(False, "random bytes go out in place of each reply", FLAG)
    oversized_frame: bool = switch(False, "in place of each reply, a frame is announced that is over every cap", FLAG)

    # --- messages ---
    unanswered_requests: Selection = switch(False, "these requests get no answer, e.g. 2106", _SELECTION)
    unsupported_requests: Selection = switch(False, "these requests are refused with UNSUPPORTED_MESSAGE", _SELECTION)
    undecodable_replies: Selection = switch(False, "the replies to these requests do not parse", _SELECTION)
    wrong_reply_type: Selection = switch(False, "these requests are answered with a message of another type", _SELECTION)
    blocked_payload_types: Selection = switch(False, "these requests are refused with BLOCKED_PAYLOAD_TYPE and retryAfter", _SELECTION)
    cant_route: bool = switch(False, "everything about an account is refused with CANT_ROUTE_REQUEST", FLAG)
    maintenance_until: float | None = switch(
        None, "maintenance, for that many seconds from now", SECONDS, name="maintenance", from_now=True
    )
    unknown_fields: bool = switch(False, "every message has fields that nobody knows", FLAG)
    unknown_enum_values: bool = switch(False, "optional enum fields have values that nobody knows", FLAG)
    unknown_payload_types: bool = switch(False, "before each reply comes a message of a type that nobody knows", FLAG)
    foreign_message_ids: bool = switch(False, "events carry a clientMsgId of somebody else", FLAG)
    events_before_reply: bool = switch(False, "events come between each request and its reply", FLAG)
    reorder_replies: bool = switch(False, "replies that fall together leave in the opposite order", FLAG)
    first_spot: FirstSpot = switch("", "the first price after a subscription: duplicate, before-reply, after-tick, missing", _FIRST_SPOT)
    no_heartbeats: bool = switch(False, "the server sends no heartbeats of its own", FLAG)

    # --- trading and history ---
    orders_unanswered: Unanswered = switch("", "order requests get no answer: executed all the same, or dropped", _UNANSWERED)
    reject_accepted_orders: str = switch("", "accepted orders are rejected after all, with that error code", _CODE)
    duplicate_executions: bool = switch(False, "execution events come twice, answers to orders too", FLAG)
    truncate_history: int = switch(0, "answers about the past are cut to that many rows, and hasMore says nothing of it", NUMBER)
    zero_delta_high: bool = switch(False, "past bars without deltaClose have no deltaHigh either, whatever their high", FLAG)

    # --- sessions ---
    disconnect_after: float | None = switch(None, "2148, then close, that many seconds after a connection opened", SECONDS)
    account_disconnect_after: float | None = switch(None, "2164 that many seconds after an account was authorised", SECONDS)

    # --- the token endpoint ---
    token_reply_lost: bool = switch(False, "the token endpoint does its work and hangs up without an answer", FLAG)
    token_status: int = switch(0, "the token endpoint answers with that HTTP status and does nothing", NUMBER)
    token_delay: float = switch(0.0, "the token endpoint does its work and answers that many seconds later", SECONDS)

    def under_maintenance(self) -> bool:
        """Whether requests are refused for maintenance now."""
        return self.maintenance_until is not None and self._clock.monotonic() < self.maintenance_until


def known_faults() -> dict[str, str]:
    """Every name of a fault with a line on what it does."""
    return Switches.known()
