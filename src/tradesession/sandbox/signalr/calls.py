"""The calls, streams and uploads of one connection, and the server's own questions to the client.

Runs each in a task of the connection. Always holds: a call with an id is answered exactly once (unless a fault says so), a stream that is
open does not hold up calls, and nothing is sent for a call once the connection is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from tradesession.sandbox.signalr.core import HubCore
from tradesession.sandbox.signalr.hub import Hub
from tradesession.sandbox.signalr.methods import HubException, Method, Unbound, methods_of
from tradesession.sandbox.signalr.records import CANCEL, COMPLETION, INVOCATION, STREAM_INVOCATION, STREAM_ITEM, Record
from tradesession.sandbox.signalr.uploads import Upload
from tradesession.tasks import TaskOwner
from tradesession.timing import deadline, sleep

_UNKNOWN_TYPE: Final = 99


_FAILED: Final = "Failed to invoke '{}' due to an error on the server."
_UNEXPECTED: Final = "An unexpected error occurred invoking '{}' on the server."
_ONLY_STREAM: Final = "The client attempted to invoke the streaming '{}' method with a non-streaming invocation."
_NO_STREAM: Final = "The client attempted to invoke the non-streaming '{}' method with a streaming invocation."
_STREAMING: Final = "An error occurred on the server while streaming results."


class _Refused(Exception):
    """A call that is answered by an error before it begins."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A call or stream that is under way."""

    id: str | None
    target: str
    """The method's name as the client wrote it."""
    method: Method
    arguments: list[Any]
    uploads: list[str]


class Calls:
    """Serves the records of one connection. `send` sends a record; `room` waits until the client has read enough."""

    def __init__(self, core: HubCore, hub: Hub, send: Callable[[Record | str], None], room: Callable[[], Awaitable[None]]) -> None:
        self._core = core
        self._hub = hub
        self._methods = methods_of(type(hub))
        self._send = send
        self._room = room
        self._limit = asyncio.Semaphore(core.settings.parallel)
        self._tasks = TaskOwner()
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._uploads: dict[str, Upload] = {}
        self._questions: dict[str, asyncio.Future[Any]] = {}
        self._closed = False

    def serve(self, record: Record) -> None:
        """A record of types 1 to 5 has come."""
        match record["type"]:
            case kind if kind in (INVOCATION, STREAM_INVOCATION):
                self._begin(record)
            case kind if kind == STREAM_ITEM:
                if (upload := self._uploads.get(record["invocationId"])) is not None:
                    upload.item(record["item"])
            case kind if kind == COMPLETION:
                self._complete(record)
            case kind if kind == CANCEL:
                if (stream := self._streams.get(record["invocationId"])) is not None:
                    stream.cancel()  # a plain call goes on: it asks for no cancellation

    def ask(self, target: str, *arguments: Any) -> asyncio.Future[Any]:
        """Call the client and get its answer; HubException with its error, or when it goes away."""
        question = f"s{next(self._core.questions)}"
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._questions[question] = future
        future.add_done_callback(lambda _: self._questions.pop(question, None))
        self._send({"type": INVOCATION, "target": target, "invocationId": question, "arguments": list(arguments)})
        return future

    def close(self) -> None:
        """Answer nothing any more."""
        self._closed = True
        for question in list(self._questions.values()):
            if not question.done():
                question.set_exception(HubException("Invocation canceled by the server."))
                question.exception()  # whoever asked may have stopped waiting
        self._tasks.cancel()

    async def aclose(self) -> None:
        """Wait until what ran has ended."""
        self.close()
        await self._tasks.aclose()

    # --- the beginning ---

    def _begin(self, record: Record) -> None:
        target, call_id, is_stream = record["target"], record.get("invocationId") or None, record["type"] == STREAM_INVOCATION
        method = self._methods.get(target.lower())
        self._core.journal.count(f"{'stream' if is_stream else 'call'}.{method.name if method else target}")
        try:
            call = self._bound(method, record, call_id)
        except _Refused as refused:
            self._finish(call_id, {"error": str(refused)})
            return
        task = self._tasks.spawn(self._stream(call) if is_stream else self._call(call), f"hub {call.method.name}")
        if is_stream and call_id is not None:
            self._streams[call_id] = task
        task.add_done_callback(lambda task: self._ended(call, task, is_stream=is_stream))

    def _bound(self, method: Method | None, record: Record, call_id: str | None) -> _Call:
        """The call with its arguments, and its uploads opened. Raises _Refused."""
        target, is_stream = record["target"], record["type"] == STREAM_INVOCATION
        if method is None:
            raise _Refused(_FAILED.format(target) + " HubException: Method does not exist.")
        if is_stream and not method.is_stream:
            raise _Refused(_NO_STREAM.format(target))
        if is_stream and call_id in self._streams:
            raise _Refused(f"Invocation ID '{call_id}' is already in use.")
        ids, wanted = record.get("streamIds", []), method.uploads
        try:
            arguments = method.bind(record["arguments"], short=self._core.settings.arguments_may_be_left_out)
        except Unbound as error:
            raise _Refused(_FAILED.format(target)) from error
        if len(ids) != len(wanted):
            sent = f"Client sent {len(ids)} stream(s), Hub method expects {len(wanted)}."
            raise _Refused(f"{_UNEXPECTED.format(target)} HubException: {sent}")
        uploads = {name: Upload(parameter) for name, parameter in zip(ids, wanted, strict=True)}
        self._uploads |= uploads
        return _Call(call_id, target, method, [*arguments, *uploads.values()], ids)

    def _ended(self, call: _Call, task: asyncio.Task[None], *, is_stream: bool) -> None:
        for upload in call.uploads:
            self._uploads.pop(upload, None)
        if is_stream and call.id is not None:
            self._core.journal.count(f"ended.{call.method.name}")
            del self._streams[call.id]
            if task.cancelled() and not self._closed:
                self._finish(call.id, {})

    # --- the work ---

    async def _call(self, call: _Call) -> None:
        """Calls wait for one another, but for those with uploads."""
        async with contextlib.nullcontext() if call.uploads else self._limit:
            answer = await self._result(call)
        self._finish(call.id, answer)

    async def _result(self, call: _Call) -> Record:
        if call.method.is_stream:
            return {"error": _ONLY_STREAM.format(call.target)}
        try:
            if self._core.faults.slow_hub:
                await sleep(self._core.clock, self._core.faults.slow_hub)
            async with deadline(self._core.clock, self._core.settings.call_limit):
                return {"result": await call.method.function(self._hub, *call.arguments)}
        except HubException as error:
            return {"error": f"{_UNEXPECTED.format(call.target)} HubException: {error}"}
        except Exception as error:
            return {"error": _UNEXPECTED.format(call.target) + self._detail(error)}

    async def _stream(self, call: _Call) -> None:
        answer: Record = {}
        try:
            async with contextlib.aclosing(call.method.function(self._hub, *call.arguments)) as items:
                async for item in items:
                    await self._room()
                    self._send({"type": STREAM_ITEM, "invocationId": call.id, "item": item})
        except asyncio.CancelledError:
            for _ in range(0 if self._closed else self._core.faults.late_items):
                self._send({"type": STREAM_ITEM, "invocationId": call.id, "item": None})
            raise
        except HubException as error:
            answer = {"error": f"{_STREAMING} HubException: {error}"}
        except Exception as error:
            answer = {"error": _STREAMING + self._detail(error)}
        self._finish(call.id, answer)

    def _detail(self, error: Exception) -> str:
        return f" {type(error).__name__}: {error}" if self._core.settings.detailed_errors else ""

    # --- the end ---

    def _finish(self, call_id: str | None, answer: Record) -> None:
        """Answer a call, with the faults of answers; one without an id wants none."""
        if call_id is None or self._closed:
            return
        faults = self._core.faults
        if faults.unanswered_calls:
            return
        if faults.unknown_types:
            self._send({"type": _UNKNOWN_TYPE, "novelty": True})
        if faults.stray_completions:
            self._send({"type": COMPLETION, "invocationId": "nobody's", "result": None})
        if faults.garbage_records:
            self._send("no JSON")
            return
        if faults.void_without_result and answer.get("result", answer) is None:
            answer = {}
        for _ in range(2 if faults.duplicate_completions else 1):
            self._send({"type": COMPLETION, "invocationId": call_id, **answer})

    def _complete(self, record: Record) -> None:
        """The end of an upload, or the answer to a question."""
        upload = self._uploads.pop(record["invocationId"], None)
        if upload is not None:
            upload.end(record.get("error"))
        question = self._questions.get(record["invocationId"])
        if question is not None and not question.done():
            if record.get("error") is not None:
                question.set_exception(HubException(record["error"]))
            else:
                question.set_result(record.get("result"))
