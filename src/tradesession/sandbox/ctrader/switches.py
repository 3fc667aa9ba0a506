"""Faults: what goes wrong on purpose, as switches that hold until they are taken back. Every name also works on the command line.

Pure. A switch acts on every connection, also on those that are open when it is set. Most were seen in the wild (fact sheet, section
9.7); the others are ways in which bytes and connections fail.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from google.protobuf.message import Message

from tradesession.clock import Clock
from tradesession.ctrader import registry
from tradesession.errors import ConfigurationError
from tradesession.sandbox.authority import Flaw

Selection = bool | Collection[int | type[Message]]
"""Which requests a fault hits: all of them, none, or those of the given payload types or classes."""

Unanswered = Literal["", "executed", "dropped"]

FirstSpot = Literal["", "duplicate", "before-reply", "after-tick", "missing"]


def selects(selection: Selection, payload_type: int) -> bool:
    """Whether the selection hits that payload type."""
    if isinstance(selection, bool):
        return selection
    return payload_type in selection or registry.class_for(payload_type) in selection


def _switch(default: object, text: str, kind: str, *, name: str = "") -> Any:
    return dataclasses.field(default=default, metadata={"help": text, "kind": kind, "name": name})


def _nothing() -> None:
    """What a change does while nobody wants to know."""


@dataclass(slots=True)
class Switches:
    """The switches. Set one, take it back by its default, or `clear()` all."""

    _clock: Clock = dataclasses.field(repr=False)
    _on_change: Callable[[], None] = dataclasses.field(default=_nothing, repr=False)

    # --- connecting ---
    refuse_connections: bool = _switch(False, "nobody listens: connections are refused", "flag")
    tls_hang: bool = _switch(False, "connections are accepted and TLS never answers", "flag")
    accept_and_close: bool = _switch(False, "connections are accepted, TLS included, and closed at once", "flag")
    wrong_certificate: Flaw | Literal[""] = _switch("", "a certificate to refuse: of another host or authority, or expired", "flaw")

    # --- bytes ---
    slice_output: int = _switch(0, "output leaves in pieces of that many bytes", "number")
    glue_output: float = _switch(0.0, "output is held for that many seconds and leaves in one piece", "seconds")
    cut_output_after: int | None = _switch(None, "the connection is cut after the server has sent that many bytes", "number")
    cut_input_after: int | None = _switch(None, "the connection is cut after the client has sent that many bytes", "number")
    half_open: bool = _switch(False, "the server hears nothing, says nothing and closes nothing", "flag")
    stop_reading: bool = _switch(False, "the server reads no more: the client's send buffer fills", "flag")

    # --- frames ---
    garbage_output: bool = _switch(False, "random bytes go out in place of each reply", "flag")
    oversized_frame: bool = _switch(False, "in place of each reply, a frame is announced that is over every cap", "flag")

    # --- messages ---
    unanswered_requests: Selection = _switch(False, "these requests get no answer, e.g. 2106", "payload types")
    unsupported_requests: Selection = _switch(False, "these requests are refused with UNSUPPORTED_MESSAGE", "payload types")
    undecodable_replies: Selection = _switch(False, "the replies to these requests do not parse", "payload types")
    wrong_reply_type: Selection = _switch(False, "these requests are answered with a message of another type", "payload types")
    blocked_payload_types: Selection = _switch(
        False, "these requests are refused with BLOCKED_PAYLOAD_TYPE and retryAfter", "payload types"
    )
    cant_route: bool = _switch(False, "everything about an account is refused with CANT_ROUTE_REQUEST", "flag")
    maintenance_until: float | None = _switch(None, "maintenance, for that many seconds from now", "from now", name="maintenance")
    unknown_fields: bool = _switch(False, "every message has fields that nobody knows", "flag")
    unknown_enum_values: bool = _switch(False, "optional enum fields have values that nobody knows", "flag")
    unknown_payload_types: bool = _switch(False, "before each reply comes a message of a type that nobody knows", "flag")
    foreign_message_ids: bool = _switch(False, "events carry a clientMsgId of somebody else", "flag")
    events_before_reply: bool = _switch(False, "events come between each request and its reply", "flag")
    reorder_replies: bool = _switch(False, "replies that fall together leave in the opposite order", "flag")
    first_spot: FirstSpot = _switch("", "the first price after a subscription: duplicate, before-reply, after-tick, missing", "first spot")
    no_heartbeats: bool = _switch(False, "the server sends no heartbeats of its own", "flag")

    # --- trading and history ---
    orders_unanswered: Unanswered = _switch("", "order requests get no answer: executed all the same, or dropped", "unanswered")
    reject_accepted_orders: str = _switch("", "accepted orders are rejected after all, with that error code", "code")
    duplicate_executions: bool = _switch(False, "execution events come twice, answers to orders too", "flag")
    truncate_history: int = _switch(0, "answers about the past are cut to that many rows, and hasMore says nothing of it", "number")
    zero_delta_high: bool = _switch(False, "past bars without deltaClose have no deltaHigh either, whatever their high", "flag")

    # --- sessions ---
    disconnect_after: float | None = _switch(None, "2148, then close, that many seconds after a connection opened", "seconds")
    account_disconnect_after: float | None = _switch(None, "2164 that many seconds after an account was authorised", "seconds")

    # --- the token endpoint ---
    token_reply_lost: bool = _switch(False, "the token endpoint does its work and hangs up without an answer", "flag")
    token_status: int = _switch(0, "the token endpoint answers with that HTTP status and does nothing", "number")
    token_delay: float = _switch(0.0, "the token endpoint does its work and answers that many seconds later", "seconds")

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if not name.startswith("_"):
            self._on_change()

    def clear(self) -> None:
        """Take every switch back."""
        for switch in _SWITCHES.values():
            setattr(self, switch.name, switch.default)

    def under_maintenance(self) -> bool:
        """Whether requests are refused for maintenance now."""
        return self.maintenance_until is not None and self._clock.monotonic() < self.maintenance_until

    def set(self, name: str, value: str = "") -> None:
        """Set a switch by its name on the command line. ConfigurationError for an unknown name or a value that does not fit."""
        switch = _SWITCHES.get(name.replace("_", "-"))
        if switch is None:
            near = difflib.get_close_matches(name, _SWITCHES, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigurationError(f"unknown fault {name!r}: {hint}there are {', '.join(_SWITCHES)}")
        setattr(self, switch.name, self._parse(name, switch.metadata["kind"], value))

    def _parse(self, name: str, kind: str, value: str) -> object:
        try:
            match kind:
                case "flag":
                    return _FLAGS[value.lower()]
                case "number":
                    return int(value)
                case "seconds":
                    return float(value)
                case "from now":
                    return self._clock.monotonic() + float(value)
                case "code":
                    return _code(value)
                case "payload types":
                    return _payload_types(value)
                case _:
                    return _choice(value, _CHOICES[kind])
        except (KeyError, ValueError) as error:
            raise ConfigurationError(f"fault {name!r} cannot be {value!r}: give it as {name}={_FORMS[kind]}") from error


_SWITCHES: Final = {
    field.metadata["name"] or field.name.replace("_", "-"): field for field in dataclasses.fields(Switches) if "kind" in field.metadata
}
_FLAGS: Final = {"": True, "1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}
_CHOICES: Final = {
    "flaw": get_args(Flaw),
    "first spot": tuple(filter(None, get_args(FirstSpot))),
    "unanswered": tuple(filter(None, get_args(Unanswered))),
}
_FORMS: Final = {
    "flag": "on or =off, or without a value",
    "number": "a whole number",
    "seconds": "a number of seconds",
    "from now": "a number of seconds",
    "code": "the name of an error code, such as NO_QUOTES",
    "payload types": "numbers or message names with commas between, or without a value for all of them",
    **{kind: " or ".join(choices) for kind, choices in _CHOICES.items()},
}


def known_faults() -> dict[str, str]:
    """Every name of a fault with a line on what it does."""
    return {name: switch.metadata["help"] for name, switch in _SWITCHES.items()}


def _choice(value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(value)
    return value


def _code(value: str) -> str:
    if not value:
        raise ValueError(value)
    return value


def _payload_types(value: str) -> Selection:
    if value.lower() in _FLAGS:
        return _FLAGS[value.lower()]
    names = {cls.__name__: number for number, cls in registry.CLASSES.items()}
    return frozenset(names[part] if part in names else int(part) for part in value.split(","))
