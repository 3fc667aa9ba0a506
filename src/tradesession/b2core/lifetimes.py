"""How long a token of the B2Broker family lives: text or number, seconds or a moment, beside an expiry in the token itself.

Pure. No source of an expiry is trusted alone: of those that make sense the earliest counts, and what does not make sense is told by a
stable code and otherwise ignored. Units and shapes are those of the fact sheet's table B4.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tradesession.protocol.http import HttpReply
from tradesession.protocol.values import finite

SHORTEST: Final = 1.0
"""Seconds. A life of less is no life: some servers mean "no limit" by zero."""

LONGEST: Final = 25 * 86400.0
"""Seconds, of an access token: more is a unit misunderstood (milliseconds), or a promise that nobody keeps."""

AGREEMENT: Final = 5.0
"""Seconds by which two sources may differ without a word: rounding, and the time that the token took to get here."""

CLOCK_TRUST: Final = 5.0
"""Seconds by which the server's Date may differ from our clock before it is taken for the server's time instead of it."""

MILLISECONDS: Final = 1e11
"""Moments above this are in milliseconds since 1970; as seconds they would lie beyond the year 5000."""


ODDITIES: Final[Mapping[str, str]] = {
    "lifetime-disagrees": "the reply and the token differ about its life, and the earlier end counts",
    "lifetime-unreadable": "a life that is no number and no time is ignored",
    "lifetime-out-of-range": "a life of less than a second or more than 25 days is ignored",
    "lifetime-missing": "nothing says how long the token lives; it is used until it is refused",
    "header-unexpected": "the reply wants the token in another header than Authorization, which is not done",
    "host-not-listed": "the reply's host is not among trader_urls, and is left alone",
}
"""What can be odd about a token, by a stable code, and what is done about it."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds from the sending of the request, None when no source promises anything; `notes` are codes of `ODDITIES`."""

    seconds: float | None
    notes: tuple[str, ...] = ()


def lifetime(reply: HttpReply, access: str, *sources: float | None, is_odd: bool = False) -> Lifetime:
    """The life of a token that came with this reply: the earliest of the sources (seconds) and the token's own `exp`.

    A source is None when the reply does not have it; `is_odd` says that it has one that cannot be read.
    """
    notes = ["lifetime-unreadable"] if is_odd else []
    candidates = [source for source in (*sources, _expiry(reply, access)) if source is not None]
    sane = [seconds for seconds in candidates if SHORTEST <= seconds <= LONGEST]
    if len(sane) < len(candidates):
        notes.append("lifetime-out-of-range")
    if not sane:
        return Lifetime(None, (*notes, "lifetime-missing"))
    if max(sane) - min(sane) > AGREEMENT:
        notes.append("lifetime-disagrees")
    return Lifetime(min(sane), tuple(notes))


def seconds_field(fields: Mapping[str, object], name: str) -> tuple[float | None, bool]:
    """A number of seconds, as text or as a number; None without one. The flag says that there is something else instead."""
    value = fields.get(name)
    if value is None:
        return None, False
    seconds = finite(value)
    return seconds, seconds is None


def moment_field(fields: Mapping[str, object], name: str) -> tuple[float | None, bool]:
    """A moment in seconds since 1970, of ISO 8601 text with or without zone (then UTC) or a Unix time; None without one. Flag as above."""
    value = fields.get(name)
    if value is None:
        return None, False
    moment = _moment(value)
    return moment, moment is None


def stated_life(fields: Mapping[str, object], reply: HttpReply) -> tuple[float | None, bool]:
    """The life that a B2Core token object states: `expiresAt` counted from its `createdAt`, else from the server's time of the reply.

    Both are of the server, so that neither its clock nor its time zone matters where it states both.
    """
    end, is_end_odd = moment_field(fields, "expiresAt")
    begin, is_begin_odd = moment_field(fields, "createdAt")
    if end is None:
        return None, is_end_odd or is_begin_odd
    return end - (server_time(reply) if begin is None else begin), is_begin_odd


def server_time(reply: HttpReply) -> float:
    """The server's time when it answered: ours, unless its Date header says that the clocks differ."""
    theirs = reply.date
    return reply.sent_at if theirs is None or abs(theirs - reply.sent_at) <= CLOCK_TRUST else theirs


def claims(access: str) -> Mapping[str, object]:
    """The claims of a JWT, unverified (the server that it is for verifies it); empty for what is none."""
    parts = access.split(".")
    if len(parts) != 3:
        return {}
    try:
        decoded = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def expiry(access: str) -> float | None:
    """The `exp` of a JWT, in seconds since 1970; None for what has none."""
    return finite(claims(access).get("exp"))


def _expiry(reply: HttpReply, access: str) -> float | None:
    moment = expiry(access)
    return None if moment is None else moment - server_time(reply)


def _moment(value: object) -> float | None:
    number = finite(value)
    if number is not None:
        return number / 1000 if number > MILLISECONDS else number
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
