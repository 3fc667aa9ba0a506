"""What an answer of CPlugin's REST interface means: a Reply, or one exception with one Verdict.

Pure. In v2 an error comes in an envelope, at HTTP status 200 as well; in v1 as an object with names of its own; and what stands before the
API answers in plain HTTP. The codes and the headers are those of the vendor's documents and SDKs, the verdicts are ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from tradesession import policy
from tradesession.cplugin.errors import ApiError, CallUnknown
from tradesession.errors import Error, ProtocolError
from tradesession.protocol.http import HttpReply
from tradesession.secrets import Secret, redact_text
from tradesession.verdict import Action, Level, Verdict

_FATAL: Final = Verdict(Action.FATAL, Level.REQUEST)
_RETRY: Final = Verdict(Action.RETRY, Level.REQUEST)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one error code means.

    `is_untouched`: nothing was, or will be, executed, so that anything may be repeated. `is_open`: something may have been.
    """

    verdict: Verdict
    remedy: str = ""
    is_untouched: bool = False
    is_open: bool = False


_FAILED: Final = Ruling(_RETRY, "the API failed: a read may be repeated, after anything else look what became of it", is_open=True)
_NO_ANSWER: Final = Ruling(_RETRY, "what stands before the API got no answer from it: a read may be repeated", is_open=True)
_TOKEN: Final = Ruling(
    Verdict(Action.REAUTHORIZE, Level.TOKEN), "the API takes none of our tokens: check the client, its scope, and this machine's clock"
)
_OTHER: Final = Ruling(_FATAL)

RULINGS: Final[Mapping[str, Ruling]] = MappingProxyType(
    {
        "Validation": Ruling(_FATAL, "correct the argument that it names"),
        "NotFound": Ruling(_FATAL, "check the id, and which trade platform it is of"),
        "Forbidden": Ruling(_FATAL, "the credentials lack the manager right for this call: have it granted"),
        "MT4Error": Ruling(_FATAL, "the trade server says no: see manager_code"),
        "MT5Error": Ruling(_FATAL, "the trade server says no: see manager_code"),
        "NoConnect": Ruling(_RETRY, "the API has no link to the trade server now: repeat it later"),
        "Timeout": Ruling(_RETRY, "it took too long: a read may be repeated, after anything else look what became of it", is_open=True),
        "Busy": Ruling(_RETRY, "it was refused before it was sent to the trade server: repeat it", is_untouched=True),
        "Internal": _FAILED,
    }
)
"""By error code; one that is not here is a refusal like any other. `OutcomeUnknown` is an exception of its own."""

_STATUSES: Final[Mapping[int, Ruling]] = {
    401: _TOKEN,
    403: Ruling(_FATAL, "the credentials are known, and lack the right to this: have it granted"),
    404: Ruling(_FATAL, "check the path, and the id in it"),
    405: Ruling(_FATAL, "check the method and the path"),
    408: Ruling(_RETRY, "repeat it later", is_open=True),
    429: Ruling(_RETRY, "too many calls: repeat it later", is_untouched=True),
    503: Ruling(_RETRY, "the API is not at work: repeat it later", is_untouched=True),
    **dict.fromkeys((502, 504), _NO_ANSWER),
    **dict.fromkeys((500, *range(505, 600)), _FAILED),
}

_OUTCOME_UNKNOWN: Final = "OutcomeUnknown"
_UNTOUCHED: Final = "not-started"  # X-Request-Outcome
_UNKNOWN: Final = frozenset({"unknown", "in-progress", "timeout"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer. `data` is the payload as JSON has it, and `next_cursor` where the next page begins, if there is one: "" if that is
    not said.
    """

    data: Any = field(repr=False)  # it may name persons
    activity_id: str = ""
    next_cursor: str | None = None
    timeout_applied: float | None = None
    """The deadline that the server worked with, in seconds, where it said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked, as far as it matters for judging the answer."""

    name: str
    is_enveloped: bool
    has_effects: bool
    idempotency_key: str = ""
    secrets: tuple[Secret, ...] = ()

    def unknown(self, why: str, activity_id: str = "") -> CallUnknown:
        """The error for a call with effects whose outcome nobody knows."""
        ask = "settle() asks the server" if self.idempotency_key else "look what became of it before repeating it"
        return CallUnknown(
            f"{self.name} may have been executed ({why}): {ask}", idempotency_key=self.idempotency_key, activity_id=activity_id
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """What an error says of itself, in whatever words it came."""

    code: str
    description: str = ""
    manager_code: str | int | None = None
    activity_id: str = ""


def judge(reply: HttpReply, asked: Asked) -> Reply | Error:
    """The answer, or the exception for it: given back, so that no traceback holds the answer's fields."""
    body = _json(reply)
    fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
    refusal = _v2_error(fields) if asked.is_enveloped else _v1_error(fields)
    if refusal is not None:
        return _refused(reply, asked, refusal)
    if not reply.is_success:
        description = _text(fields, "detail", "title", "message", "error_description")
        return _refused(reply, asked, _Refusal(code=f"HTTP {reply.status}", description=description, activity_id=_text(fields, "traceId")))
    if asked.is_enveloped and "data" in fields:
        meta = _object(fields, "meta")
        paging = _object(meta, "paging")
        cursor = paging.get("nextCursor")
        return Reply(
            data=fields["data"],
            activity_id=_text(meta, "activityId"),
            next_cursor=None if not paging.get("hasMore") else "" if cursor is None else str(cursor),
            timeout_applied=_applied(reply),
        )
    if not asked.is_enveloped and body is not _NOTHING:
        return Reply(data=body, timeout_applied=_applied(reply))
    said = reply.damage or ("something without the envelope of v2" if asked.is_enveloped else "something that is no JSON")
    if asked.has_effects:
        return asked.unknown(f"it was answered with {said}")
    return ProtocolError(f"{asked.name} was answered with {said}: is this the address of the API?")


def _refused(reply: HttpReply, asked: Asked, refusal: _Refusal) -> Error:
    """The exception for a refusal; another one where it leaves open what became of a call with effects."""
    outcome = reply.headers.get("x-request-outcome", "").strip().lower()
    ruling = RULINGS.get(refusal.code) or _STATUSES.get(reply.status) or _OTHER
    is_untouched = ruling.is_untouched or outcome == _UNTOUCHED
    is_open = refusal.code == _OUTCOME_UNKNOWN or outcome in _UNKNOWN or (ruling.is_open and not is_untouched)
    is_known = refusal.code in RULINGS or refusal.code in (_OUTCOME_UNKNOWN, f"HTTP {reply.status}")
    code = refusal.code if is_known else _quoted(refusal.code, asked)  # of a known one a body of one figure would mask a part
    if asked.has_effects and is_open:
        return asked.unknown(f"the server says {code}", _quoted(refusal.activity_id, asked))
    verdict = _RETRY if is_open or is_untouched else ruling.verdict
    after = reply.retry_after(policy.CPLUGIN_RETRY_AFTER_LIMIT)
    if after is not None and verdict.action is Action.RETRY:
        verdict = Verdict(Action.RETRY_AFTER, verdict.level, after)
    error = ApiError(
        code,
        _quoted(refusal.description, asked),
        manager_code=_quoted(refusal.manager_code, asked) if isinstance(refusal.manager_code, str) else refusal.manager_code,
        activity_id=_quoted(refusal.activity_id, asked),
        status=reply.status,
        remedy=ruling.remedy,
        verdict=verdict,
        request=asked.name,
        retry_after=after,
    )
    error.is_untouched = is_untouched
    return error


def _quoted(text: str, asked: Asked) -> str:
    """A text of the server with every secret masked that it was sent."""
    return redact_text(text, asked.secrets)


_NOTHING: Final = object()


def _json(reply: HttpReply) -> Any:
    """The body; `_NOTHING` when it is no JSON."""
    if reply.damage:
        return _NOTHING
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError):
        return _NOTHING


def _v2_error(fields: Mapping[str, Any]) -> _Refusal | None:
    """The envelope's error. One with the code Ok is none: it is the API's word for success."""
    error = fields.get("error")
    if error is None or ("data" not in fields and "meta" not in fields and not isinstance(error, dict)):
        return None
    activity_id = _text(_object(fields, "meta"), "activityId")
    if not isinstance(error, dict):
        return _Refusal(code=str(error), activity_id=activity_id)
    code, manager_code = _text(error, "code"), error.get("managerCode")
    if code.lower() == "ok":
        return None
    return _Refusal(
        code=code or "an error without a code",
        description=_text(error, "message"),
        manager_code=manager_code if isinstance(manager_code, (str, int)) else None,
        activity_id=activity_id,
    )


def _v1_error(fields: Mapping[str, Any]) -> _Refusal | None:
    """An error of v1: ErrorType, ErrorCode (a word of the API, or a number of the trade server), ErrorDescription, RequestId."""
    known = {name.lower(): value for name, value in fields.items()}
    code, kind = known.get("errorcode"), known.get("errortype")
    if not code and not kind:
        return None
    is_word = isinstance(code, str) and bool(code)
    return _Refusal(
        code=str(code if is_word or not kind else kind),
        description=str(known.get("errordescription") or ""),
        manager_code=code if isinstance(code, int) and kind else None,
        activity_id=str(known.get("requestid") or ""),
    )


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := fields.get(name), str) and value), "")


def _applied(reply: HttpReply) -> float | None:
    try:
        return float(reply.headers["x-request-timeout-applied"])
    except (KeyError, ValueError):
        return None
