"""Resumption: the tries to replace a broken socket, with their pauses and their end (stateful reconnect).

May use asyncio; opens nothing itself. Always holds: one try at a time, no try without a pause before it, and an end: sockets that break
again before anything came over them count to the same outage.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import Error, LinkLost, Rejected
from tradesession.protocol.backoff import Backoff
from tradesession.tasks import TaskOwner
from tradesession.timing import deadline, sleep

_log = logging.getLogger("tradesession.signalr")

_GONE = "HTTP 404"  # what a server says of a connection that it does not keep (seen)


class Resumption:
    """For one hub connection. `reopen` replaces the socket, or raises; `give_up` is told the cause of a loss that was not made good."""

    def __init__(
        self,
        name: str,
        *,
        timeout: float,
        clock: Clock,
        chance: Callable[[], float],
        reopen: Callable[[], Awaitable[None]],
        give_up: Callable[[Error], None],
    ) -> None:
        self._name = name
        self._timeout = timeout
        self._clock = clock
        self._reopen = reopen
        self._give_up = give_up
        self._backoff = Backoff(
            chance, base=policy.HUB_RESUME_PAUSE, cap=policy.HUB_RESUME_PAUSE_LIMIT, steady_after=policy.HUB_STEADY_AFTER
        )
        self._outage_since: float | None = None
        self._tasks = TaskOwner()

    def begin(self, cause: LinkLost) -> None:
        """The socket broke."""
        if self._outage_since is None:
            self._outage_since = self._clock.monotonic()
        left = self._outage_since + self._timeout - self._clock.monotonic()
        _log.debug("%s: the socket is gone (%s); trying to resume", self._name, cause)
        self._tasks.spawn(self._try(cause, left), name=f"{self._name} resumes")

    def steady(self) -> None:
        """Something came over the new socket: the outage is over."""
        if self._outage_since is not None:
            self._outage_since = None
            self._backoff.ready(self._clock.monotonic())

    async def aclose(self) -> None:
        """Try no more."""
        await self._tasks.aclose()

    async def _try(self, cause: LinkLost, left: float) -> None:
        try:
            async with deadline(self._clock, left):
                while not await self._is_settled(cause):
                    pass
        except TimeoutError:
            self._give_up(cause)  # the server does not keep the connection for longer
        except Exception as error:  # a mistake, here or in the user's source of tokens: whoever connects anew meets it too, and tells it
            _log.debug("%s: not resumed: %s", self._name, type(error).__name__)
            self._give_up(cause)

    async def _is_settled(self, cause: LinkLost) -> bool:
        """One try; whether no other one is needed, or would help."""
        await sleep(self._clock, self._backoff.failed(self._clock.monotonic()))
        try:
            await self._reopen()
        except Error as error:
            _log.debug("%s: not resumed: %s", self._name, error)
            if error.verdict.is_retryable and not (isinstance(error, Rejected) and error.code == _GONE):
                return False
            self._give_up(cause)
        return True
