"""The faults of a hub as switches. Every name also works on the command line.

Pure. A switch acts on every connection, also on those that are open when it is set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tradesession.sandbox.switchboard import FLAG, NUMBER, SECONDS, Switchboard, switch, text

_ERROR: Final = text("a text")


@dataclass(slots=True)
class HubSwitches(Switchboard):
    """The switches. Set one, take it back by its default, or `clear()` all."""

    # --- the connection ---
    close_at_expiry: bool = switch(False, "a connection is closed when its bearer ends, with allowReconnect", FLAG)
    lose_ids: bool = switch(False, "an id from negotiation is not known at the upgrade, as behind a balancer without memory", FLAG)

    # --- the handshake ---
    no_handshake: bool = switch(False, "the handshake is never answered", FLAG)
    handshake_error: str = switch("", "the handshake is refused with that error", _ERROR)
    never_glue: bool = switch(False, "the answer to the handshake and what follows it come in messages of their own", FLAG)

    # --- messages and records ---
    glue_frames: float = switch(0.0, "records are held for that many seconds and leave in one message", SECONDS)
    split_frames: int = switch(0, "records are split into messages of so many characters", NUMBER)
    binary_frames: bool = switch(False, "text leaves in binary messages", FLAG)
    no_pings: bool = switch(False, "the server sends no pings", FLAG)
    slow_hub: float = switch(0.0, "every call takes that many seconds longer", SECONDS)
    unanswered_calls: bool = switch(False, "calls get no answer", FLAG)
    silent_hub: bool = switch(False, "the hub says nothing any more, and hears as before", FLAG)
    unknown_types: bool = switch(False, "before each answer comes a record of a type that nobody knows", FLAG)
    unknown_members: bool = switch(False, "every record has members that nobody knows", FLAG)
    void_without_result: bool = switch(False, "completions without a value have no result, as the specification allows", FLAG)
    stray_completions: bool = switch(False, "before each answer comes one to a call that nobody made", FLAG)
    duplicate_completions: bool = switch(False, "every answer comes twice", FLAG)
    garbage_records: bool = switch(False, "in place of each answer comes what is no JSON", FLAG)
    late_items: int = switch(0, "so many items still come after a stream was cancelled", NUMBER)
