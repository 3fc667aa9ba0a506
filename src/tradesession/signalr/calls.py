"""Answers: the server's calls that want a result (client results), answered by the user's own functions.

May use asyncio. A function runs in a task of the hub, never in the reader, and is not ended by the loss of the connection. Always holds:
every call is answered, with an error if need be, so that a server never waits for ever; and no more than a fixed number run side by side.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from tradesession import policy
from tradesession.errors import ConfigurationError
from tradesession.protocol.signalr.records import Invocation
from tradesession.signalr.errors import HubError
from tradesession.signalr.link import HubLink
from tradesession.signalr.uploads import told

_log = logging.getLogger("tradesession.signalr")

Handler: TypeAlias = Callable[..., Awaitable[Any]]
"""Answers one kind of call: takes the call's arguments, gives the result. A HubError raised in it reaches the server with its text."""


class Answers:
    """The functions of one hub, by target."""

    def __init__(self, name: str, spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]) -> None:
        self._name = name
        self._spawn = spawn
        self._handlers: dict[str, Handler] = {}
        self._running: dict[tuple[HubLink, str], asyncio.Task[None]] = {}

    def add(self, target: str, handler: Handler) -> Callable[[], None]:
        """Answer calls of this target by this function; the way to take it back. Raises ConfigurationError where there is one already."""
        key = target.lower()
        if key in self._handlers:
            raise ConfigurationError(f"calls of {target!r} are answered already; take the other handler off first")
        self._handlers[key] = handler

        def remove() -> None:
            if self._handlers.get(key) is handler:
                del self._handlers[key]

        return remove

    def answer(self, link: HubLink, call: Invocation) -> None:
        """The server calls and waits."""
        assert call.invocation_id is not None, "only a call with an id is answered"
        handler = self._handlers.get(call.target.lower())
        if handler is None:
            link.refuse(call.invocation_id, f"this client does not answer {call.target!r}"[:200])
        elif len(self._running) >= policy.HUB_ANSWERS_AT_ONCE:
            link.refuse(call.invocation_id, "this client has too many calls to answer")
        else:
            key = (link, call.invocation_id)
            task = self._spawn(self._run(link, call.invocation_id, call, handler), f"{self._name} answers {call.target}")
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))  # a server may use an id twice

    def recall(self, link: HubLink, invocation_id: str) -> None:
        """The server does not wait any more."""
        task = self._running.get((link, invocation_id))
        if task is not None:
            task.cancel()

    async def _run(self, link: HubLink, invocation_id: str, call: Invocation, handler: Handler) -> None:
        try:
            link.answer(invocation_id, await handler(*call.arguments))
        except HubError as error:
            link.refuse(invocation_id, told(error))
        except Exception as error:  # the user's own function, or its result cannot travel: the server must not wait, and the user must know
            _log.exception("%s: the handler of %s failed", self._name, call.target)
            link.refuse(invocation_id, told(error))
