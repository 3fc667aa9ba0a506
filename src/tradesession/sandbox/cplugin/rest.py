"""REST, versions 1 and 2: management, the platforms' operations, the envelope, deadlines and idempotency. Facts: section 2.

Runs in the web server. Always holds: nothing is done before the bearer was found good, and nothing twice for one Idempotency-Key.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from tradesession.sandbox.cplugin.core import Core, Platform
from tradesession.sandbox.cplugin.office import Failed, Office
from tradesession.sandbox.signalr import text
from tradesession.timing import sleep

_OUTCOMES: Final = {"OutcomeUnknown": "unknown", "Timeout": "timeout", "Busy": "not-started", "NoConnect": "not-started"}
"""`X-Request-Outcome` by error code."""

_KINDS: Final = {"mt4": "MT4", "mt5": "MT5"}
_DEADLINES: Final = {"GET": 10.0, "POST": 5.0, "PATCH": 15.0}
_MIN_DEADLINE, _MAX_DEADLINE = 1.0, 300.0
_MAX_KEY: Final = 255
_UNKNOWN_KEPT: Final = 3600.0
_CREATED: Final = "2024-01-01T00:00:00Z"
_GATEWAY_PAGE: Final = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"

Answer = tuple[dict[str, Any], dict[str, str]]
"""Body and headers."""


class Rest:
    """The calls of one sandbox."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.office = Office(core)
        self._random = random.Random(f"{core.seed}:cplugin rest")
        self._answers: dict[str, tuple[float, Answer]] = {}

    async def serve(self, request: web.Request) -> web.Response:
        """A call whose bearer is good."""
        faults = self._core.faults
        if faults.rest_status:
            return web.Response(status=faults.rest_status, text=_GATEWAY_PAGE.format(faults.rest_status), content_type="text/html")
        response = await self._serve(request)
        if faults.rest_delay:
            await sleep(self._core.clock, faults.rest_delay)
        return response

    async def _serve(self, request: web.Request) -> web.Response:
        match [part for part in request.match_info["tail"].split("/") if part]:
            case [word] if word.lower() == "organizations" and request.method == "GET":
                return self._plain([self._organization()])
            case [word] if word.lower() == "tradeplatforms" and request.method == "GET":
                return self._plain([self._platform(platform) for platform in self._core.platforms])
            case [word, platform_id] if word.lower() == "tradeplatforms" and request.method == "GET":
                platform = self._core.platform(platform_id)
                return web.Response(status=404) if platform is None else self._plain(self._platform(platform))
            case [word, platform_id, "Ping"] if word.lower() == "tradeplatforms" and request.method == "GET":
                known = self._core.platform(platform_id) is not None
                return self._plain(self._core.platform_connected) if known else web.Response(status=404)
            case [version, kind, platform_id, action, *arguments] if version.lower() == "v2" and kind.lower() in _KINDS:
                return await self._version_2(request, _KINDS[kind.lower()], platform_id, action, arguments)
            case [kind, platform_id, action, *arguments] if kind.lower() in _KINDS:
                return self._version_1(request, _KINDS[kind.lower()], platform_id, action, arguments)
            case _:
                return web.Response(status=404)

    def _organization(self) -> dict[str, Any]:
        return {"id": self._core.organization, "name": "Sandbox", "created": _CREATED}

    def _platform(self, platform: Platform) -> dict[str, Any]:
        return {
            "id": platform.id, "name": platform.name, "type": platform.kind, "login": 1000,
            "organizationId": self._core.organization, "organization": self._organization(), "created": _CREATED,
        }  # fmt: skip

    # --- version 1: no envelope ---

    def _version_1(self, request: web.Request, kind: str, platform_id: str, action: str, arguments: list[str]) -> web.Response:
        operation = self.office.read(kind, action)
        if operation is None or request.method != "GET":
            return web.Response(status=404)
        self._core.journal.count(f"rest.{action}")
        try:
            self._check_platform(kind, platform_id)
            return self._plain(_called(operation, arguments))
        except Failed as failed:
            body = {
                "ErrorType": "WebApi", "ErrorCode": failed.code, "ErrorDescription": failed.message, "RequestId": self._activity(),
            }  # fmt: skip
            return self._plain(body, status=400)

    # --- version 2: the envelope ---

    async def _version_2(self, request: web.Request, kind: str, platform_id: str, action: str, arguments: list[str]) -> web.Response:
        key = request.headers.get("Idempotency-Key")
        changes = self.office.change(kind, request.method, action)
        reads = self.office.read(kind, action) if request.method == "GET" else None
        if changes is None and reads is None:
            return web.Response(status=404)
        self._core.journal.count(f"rest.{action}")
        headers: dict[str, str] = {}
        try:
            headers["X-Request-Timeout-Applied"] = _deadline(request)
            self._check_platform(kind, platform_id)
            if reads is not None:
                return self._enveloped(*self._paged(request, _called(reads, arguments)), headers)
            assert changes is not None
            body = await _body(request)

            def change() -> Any:
                return self._done(_called(changes, [*arguments, body]))

            if key is None:
                return self._enveloped(change(), None, headers)
            return self._answered(self._once(key, change), headers)
        except Failed as failed:
            return self._answered(self._failure(failed), headers)

    def _once(self, key: str, change: Callable[[], Any]) -> Answer:
        """Do it, or tell again what came of it."""
        if not (0 < len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
            raise Failed("Validation", "Idempotency-Key is at most 255 printable ASCII characters")
        now = self._core.clock.monotonic()
        self._answers = {known: kept for known, kept in self._answers.items() if kept[0] > now}
        if key not in self._answers:
            try:
                answer: Answer = {"data": change(), "error": None, "meta": self._meta()}, {}
            except Failed as failed:
                answer = self._failure(failed)
            unknown = answer[1].get("X-Request-Outcome") == "unknown"
            self._answers[key] = (now + (_UNKNOWN_KEPT if unknown else self._core.settings.answer_kept), answer)
        return self._answers[key][1]

    def _done(self, data: Any) -> Any:
        """What a change gives, unless a fault hides it: with OutcomeUnknown and Timeout it is done all the same."""
        if self._core.faults.rest_error:
            raise Failed(self._core.faults.rest_error, f"fault: {self._core.faults.rest_error}")
        return data

    def _check_platform(self, kind: str, platform_id: str) -> None:
        platform = self._core.platform(platform_id)
        if platform is None or platform.kind != kind:
            raise Failed("NotFound", "The trade platform is unknown")
        if not self._core.platform_connected:
            raise Failed("NoConnect", "There is no link to the trade server")
        error = self._core.faults.rest_error
        if error and error not in ("OutcomeUnknown", "Timeout"):
            raise Failed(error, f"fault: {error}")

    def _paged(self, request: web.Request, data: Any) -> tuple[Any, dict[str, Any] | None]:
        """A part of a list, if only a part is wanted; and where it goes on."""
        if self._core.faults.rest_error:
            raise Failed(self._core.faults.rest_error, f"fault: {self._core.faults.rest_error}")
        limit, cursor = request.query.get("limit", ""), request.query.get("cursor", "0")
        if not isinstance(data, list) or not (limit or "cursor" in request.query):
            return data, None
        if not (cursor.isdecimal() and (limit or "100").isdecimal()):
            raise Failed("Validation", "limit and cursor are numbers")
        start, size = int(cursor), int(limit or "100")
        more = start + size < len(data)
        return data[start : start + size], {"nextCursor": str(start + size) if more else None, "hasMore": more}

    # --- answers ---

    def _failure(self, failed: Failed) -> Answer:
        error = {"code": failed.code, "managerCode": failed.manager_code, "message": failed.message}
        outcome = _OUTCOMES.get(failed.code, "")
        return {"data": None, "error": error, "meta": self._meta()}, {"X-Request-Outcome": outcome} if outcome else {}

    def _enveloped(self, data: Any, paging: dict[str, Any] | None, headers: dict[str, str]) -> web.Response:
        return self._answered(({"data": data, "error": None, "meta": self._meta(paging)}, {}), headers)

    def _answered(self, answer: Answer, headers: dict[str, str]) -> web.Response:
        return self._plain(answer[0], headers=headers | answer[1])

    def _meta(self, paging: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"activityId": self._activity(), "paging": paging}

    def _activity(self) -> str:
        return f"00-{self._random.randbytes(16).hex()}-{self._random.randbytes(8).hex()}-00"

    def _plain(self, body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
        return web.Response(text=text.write(body), status=status, headers=headers, content_type="application/json")


def _called(operation: Any, arguments: list[Any]) -> Any:
    try:
        return operation(*arguments)
    except TypeError as error:
        raise Failed("Validation", "Not the arguments of this operation") from error


def _deadline(request: web.Request) -> str:
    """The deadline that holds, as it is told."""
    asked = request.headers.get("X-Request-Timeout")
    try:
        seconds = _DEADLINES[request.method] if asked is None else float(asked)
    except ValueError:
        seconds = math.nan
    if not _MIN_DEADLINE <= seconds <= _MAX_DEADLINE:
        raise Failed("Validation", "X-Request-Timeout is a number of seconds from 1 to 300")
    return f"{seconds:g}"


async def _body(request: web.Request) -> Mapping[str, Any]:
    try:
        body = json.loads(await request.text() or "{}")
    except ValueError as error:
        raise Failed("Validation", "The body is no JSON") from error
    if not isinstance(body, dict):
        raise Failed("Validation", "The body is no object")
    return body
