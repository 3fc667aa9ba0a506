"""What an answer means, in one function: the fields of a success, or the one error for everything else.

Pure. TradingView's errors are HTTP 200 with an envelope; a token that is refused is HTTP 401, and that alone; whoever looks at only one of
the two is wrong. Other statuses stand in no document, and mean what RFC 9110 says. No text of a server is shown before every secret of
the request has been masked in it.
"""

from __future__ import annotations

from typing import Any

from tradesession import policy
from tradesession.errors import Error, LinkLost, ProtocolError, Rejected
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.secrets import redact_text, redact_url
from tradesession.tradingview.routing import decode
from tradesession.verdict import Action, Level, Verdict

_GOOD = ("ok", "no_data")


def judged(reply: HttpReply, request: HttpRequest, name: str) -> dict[str, Any] | Error:
    """The fields of the answer; or the error: given back, so that no traceback holds what was sent."""
    refused = refusal_by_status(reply, request, name)
    if refused is not None:
        return refused
    if reply.damage:
        return LinkLost(f"the answer to {name} is not whole ({reply.damage})")
    fields = decode(reply.body)
    if fields is None:
        kind = redact_text(reply.content_type, request.secrets) or "no content type"
        return ProtocolError(f"{name} was answered with no JSON object ({kind[:60]}, {len(reply.body)} bytes): is the base URL right?")
    status = fields.get("s")
    if status in _GOOD:
        return fields
    return envelope_error(fields, request, name)


def envelope_error(fields: dict[str, Any], request: HttpRequest, name: str) -> Error:
    """The error of an envelope that is no success."""
    if fields.get("s") != "error":
        return ProtocolError(f"{name} was answered with an object without s: 'ok' or 'error'")
    message = fields.get("errmsg")
    said = redact_text(message, request.secrets) if isinstance(message, str) else ""
    return Rejected("error", said, request=name, remedy="the server's text says why; the documents give it no codes")


def refusal_by_status(reply: HttpReply, request: HttpRequest, name: str) -> Rejected | None:
    """The refusal that the HTTP status alone is; None where the body decides."""
    status = reply.status
    if reply.is_success:
        return None
    code = f"HTTP {status}"
    if status == 401:
        verdict = Verdict(Action.REFRESH, Level.TOKEN)
        return Rejected(code, "", request=name, verdict=verdict, remedy="the server does not take the token, or wants one")
    if 300 <= status < 400:
        place = redact_text(redact_url(reply.headers.get("location", "")), request.secrets)[:100] or "nowhere"
        verdict = Verdict(Action.FATAL if status in (301, 308) else Action.RETRY, Level.LINK)  # others may be a page of maintenance
        return Rejected(
            code,
            f"a redirect to {place}",
            request=name,
            verdict=verdict,
            remedy="redirects are not followed: set base_url to where it is now",
        )
    if status in (408, 425, 429, 503):
        after = reply.retry_after(policy.RETRY_AFTER_LIMIT)
        verdict = Verdict(Action.RETRY, Level.REQUEST) if after is None else Verdict(Action.RETRY_AFTER, Level.REQUEST, after=after)
        return Rejected(code, "", request=name, verdict=verdict, retry_after=after, remedy="the server has no time for it now")
    if status >= 500:
        return Rejected(code, "", request=name, verdict=Verdict(Action.RETRY, Level.REQUEST), remedy="the server failed")
    remedy = "the token does not allow it: renewing it changes nothing" if status == 403 else "check the base URL and the request"
    fields = decode(reply.body) or {}
    said = fields.get("errmsg") or fields.get("error") or ""
    return Rejected(code, redact_text(said, request.secrets) if isinstance(said, str) else "", request=name, remedy=remedy)
