"""Supervisor: keeps one connection of a session, for months.

connect → handshake → restore → READY → loss → verdict → wait → connect … One task, one place where the verdict on a loss is acted
on. A platform fills in a Line; everything that belongs to one connection is made in `connect` and gone after `disconnect`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Literal, Protocol

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import Error
from tradesession.hooks import Hooks, LinkLost, Recovered, RetryPlanned, StateChanged, one_line
from tradesession.protocol.backoff import Backoff
from tradesession.secrets import Secret
from tradesession.session.states import SessionState, check
from tradesession.tasks import completed
from tradesession.timing import sleep
from tradesession.tokens.token import Token
from tradesession.verdict import Action, Level, Verdict

FATAL = Verdict(Action.FATAL, Level.LINK)


class Line(ABC):
    """One connection at a time to one place, as a platform does it. Each method ends with its work done or raises what prevented it."""

    name: str
    last_heard: float | None = None
    """When the connection that was lost was heard last, in wall-clock seconds; None where the line does not tell."""
    refused: Secret | None = None
    """The latest bearer that was refused in place of a refused one; None where the line does not tell."""

    @abstractmethod
    async def connect(self) -> None:
        """Open the transport."""

    @abstractmethod
    async def handshake(self) -> None:
        """Authenticate."""

    @abstractmethod
    async def restore(self) -> None:
        """Bring back what was subscribed."""

    @abstractmethod
    async def lost(self) -> Exception:
        """Wait for the end of the connection; its cause."""

    @abstractmethod
    async def disconnect(self, timeout: float) -> None:
        """End everything of this connection within `timeout` seconds; in order, if it still stands. Also called when there is none.

        It is never cancelled, unless the event loop ends: what it began it finishes.
        """


class TokenNews(Protocol):
    """What a parked supervisor waits for: a TokenKeeper."""

    def changes(self) -> AsyncIterator[Token]:
        """Every token that comes after now."""


class Supervisor:
    """Runs a Line until it is closed or a cause comes that no retry cures. `on_change` is told of each state that was entered.

    A cause before the first READY ends it at once, unless `persistent`: a wrong configuration shows at the start.
    """

    def __init__(
        self,
        line: Line,
        *,
        clock: Clock,
        hooks: Hooks,
        chance: Callable[[], float],
        tokens: TokenNews,
        on_change: Callable[[Supervisor], None],
        persistent: bool = False,
        close_timeout: float = policy.CLOSE_TIMEOUT,
    ) -> None:
        self.line = line
        self.state = SessionState.IDLE
        self.cause: Exception | None = None
        """Why it is not READY; None when it is, or never was otherwise."""
        self._clock = clock
        self._hooks = hooks
        self._chance = chance
        self._tokens = tokens
        self._on_change = on_change
        self._persistent = persistent
        self._close_timeout = close_timeout
        self._backoff = Backoff(chance)
        self._lost_at: float | None = None
        self.lost_wall: float | None = None
        """Since when events may have been missed by the outage that is not over yet, in wall-clock seconds; None before the first READY and
        while READY. A dead connection is noticed late: it is when the server was last heard.
        """

    async def run(self) -> None:
        """Keep the connection. Ends CLOSED: by cancellation, or with a fatal `cause`."""
        try:
            while True:
                news = self._tokens.changes()  # from before the attempt: a token that comes while it fails must not be missed
                error = await self._one_connection()
                verdict = judge(error)
                is_over = verdict.action is Action.FATAL or not self._persistent
                pause = self._pause(verdict) if not is_over else None
                self._report_loss(error, verdict, pause)
                if is_over:
                    return
                await self._wait(pause, news)
        except asyncio.CancelledError:
            self.cause = None  # its owner's wish
            raise
        finally:
            self._enter(SessionState.CLOSED)

    async def _one_connection(self) -> Exception:
        """From CONNECTING to the loss; the cause."""
        try:
            self._enter(SessionState.CONNECTING)
            await self.line.connect()
            self._enter(SessionState.HANDSHAKING)
            await self.line.handshake()
            self._enter(SessionState.RESTORING)
            await self.line.restore()
            self._ready()
            return await self.line.lost()
        except asyncio.CancelledError:
            self._enter(SessionState.CLOSING)
            raise
        except Exception as error:  # judged by whoever called
            return error
        finally:
            await completed(self.line.disconnect(self._close_timeout), name=f"goodbye of {self.line.name}")

    def _ready(self) -> None:
        now = self._clock.monotonic()
        lost_at, self._lost_at = self._lost_at, None
        self._persistent = True
        self._backoff.ready(now)
        self.cause = None
        self._enter(SessionState.READY)
        self.lost_wall = None
        if lost_at is not None:
            self._hooks.emit(Recovered(source=self.line.name, seconds=now - lost_at))

    def _report_loss(self, error: Exception, verdict: Verdict, pause: float | None) -> None:
        self.cause = error
        during: Literal["opening", "ready", "outage"] = "outage"
        if self._lost_at is None:
            during = "ready" if self._persistent else "opening"
            self._lost_at = self._clock.monotonic()
            heard = self.line.last_heard
            self.lost_wall = (self._clock.wall() if heard is None else heard) if self._persistent else None
        self._hooks.emit(LinkLost(source=self.line.name, cause=one_line(error), verdict=verdict, during=during, delay=pause))

    def _pause(self, verdict: Verdict) -> float | None:
        """The seconds until the next attempt; None where only a newer token can help."""
        pause = self._backoff.failed(self._clock.monotonic())
        return None if verdict.action is Action.REAUTHORIZE else pause + (verdict.after or 0.0)

    async def _wait(self, pause: float | None, news: AsyncIterator[Token]) -> None:
        if pause is None:
            self._enter(SessionState.PARKED)
            async for token in news:
                if token.access != self.line.refused:  # else the attempt itself had it renewed: waiting for it would be no waiting at all
                    break
            return
        self._hooks.emit(RetryPlanned(source=self.line.name, seconds=pause, failures=self._backoff.failures))
        self._enter(SessionState.BACKOFF)
        await sleep(self._clock, pause)

    def _enter(self, state: SessionState) -> None:
        check(self.state, state)
        before, self.state = self.state, state
        self._hooks.emit(StateChanged(source=self.line.name, before=before.value, after=state.value, cause=one_line(self.cause)))
        self._on_change(self)


def judge(error: Exception) -> Verdict:
    """The verdict on what ended a connection. What is no Error of ours is a mistake in the code, which no retry cures."""
    if not isinstance(error, Error):
        return FATAL
    verdict = error.verdict
    if verdict.action is Action.REFRESH:  # the renewal was tried on the way, and the server refuses the new one too
        return Verdict(Action.RETRY, verdict.level)
    return verdict
