"""What an answer of a REST interface of B2Core or B2Trader means: a value, or a refusal with the verdict on it.

Pure. The one place where a status becomes a verdict. No text of the server reaches an exception before every secret of the request has been
masked in it.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from tradesession.b2core.grants import error_text
from tradesession.errors import ProtocolError, Rejected
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.secrets import redact_text
from tradesession.verdict import Action, Level, Verdict

RETRY_AFTER_LIMIT: Final = 300.0
"""Longest wait that a REST answer's Retry-After is granted, in seconds."""

_REMEDIES: Final = {
    400: "check what was sent",
    401: "the bearer was refused and is renewed by now: what only reads was repeated by itself, anything else is for the caller to repeat",
    403: "the user lacks the right to this: have it granted",
    404: "check the path, and the ids in it",
    422: "check what was sent",
    429: "too many requests: wait",
}


def read(reply: HttpReply, request: HttpRequest) -> Any:
    """The value of an answer, as JSON with exact decimals; None for an answer without a body. Raises Rejected or ProtocolError."""
    if not reply.is_success:
        raise rejected(reply, request)
    if reply.damage:
        raise ProtocolError(f"the answer to {request} is not whole: {reply.damage}")
    if not reply.body.strip():
        return None
    try:
        return json.loads(reply.body, parse_float=Decimal)
    except (ValueError, RecursionError):
        wrong = ProtocolError(f"the answer to {request} is no JSON: HTTP {reply.status}, {len(reply.body)} bytes")
    raise wrong


def rejected(reply: HttpReply, request: HttpRequest) -> Rejected:
    """The refusal that this status is, with the server's text where it has one."""
    redirect = " to another address, which is not followed" if 300 <= reply.status < 400 else ""
    after = reply.retry_after(RETRY_AFTER_LIMIT)
    return Rejected(
        f"HTTP {reply.status}",
        redact_text(error_text(reply.json_object() or {}), (*request.secrets, *reply.secrets)) + redirect,
        request=str(request),
        remedy=_REMEDIES.get(reply.status, "it may pass: try again" if reply.status >= 500 else ""),
        verdict=_verdict(reply.status, after),
        retry_after=after,
    )


def _verdict(status: int, after: float | None) -> Verdict:
    if status in (408, 425, 429, 502, 503, 504):
        return Verdict(Action.RETRY, Level.REQUEST) if after is None else Verdict(Action.RETRY_AFTER, Level.REQUEST, after)
    if status == 401:
        return Verdict(Action.REFRESH, Level.TOKEN)
    return Verdict(Action.RETRY if status >= 500 else Action.FATAL, Level.REQUEST)
