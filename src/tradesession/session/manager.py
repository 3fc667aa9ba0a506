"""SessionManager: owns sessions and what they share, and closes all of it in order. `connect` is the short way to one session."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Protocol, Self, TypeVar

from tradesession.clock import Clock
from tradesession.errors import SessionClosed
from tradesession.hooks import Hook, Hooks
from tradesession.session.services import Services
from tradesession.session.session import Session
from tradesession.tasks import TaskOwner
from tradesession.timing import SYSTEM_CLOCK

S = TypeVar("S", bound=Session)
S_co = TypeVar("S_co", bound=Session, covariant=True)


class PlatformConfig(Protocol[S_co]):
    """What a platform's configuration offers to a manager."""

    @property
    def clock(self) -> Clock | None:
        """The clock to live by; None for the manager's."""

    def create_session(self, services: Services) -> S_co:
        """The session of this configuration, not yet started."""


class SessionManager:
    """Opens sessions and owns them. Use it as `async with`, or call `aclose` at the end.

    `hooks` are called for everything that happens in its sessions (see `tradesession.hooks`); `clock` is for tests.
    """

    def __init__(self, *, hooks: Iterable[Hook] = (), clock: Clock | None = None) -> None:
        self.hooks = Hooks.of(hooks)
        self._clock = clock or SYSTEM_CLOCK
        self._tasks = TaskOwner()
        self._sessions: list[Session] = []
        self._closed = False

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions that were opened and are not closed, in order."""
        return tuple(session for session in self._sessions if not session.is_closed)

    async def open(self, config: PlatformConfig[S]) -> S:
        """A session of this configuration, READY. Raises what prevented it; nothing stays behind then."""
        if self._closed:
            raise SessionClosed("the session manager is closed; make another one")
        services = Services(clock=config.clock or self._clock, hooks=self.hooks, random_id=lambda: secrets.token_hex(8))
        session = config.create_session(services)
        self._sessions = [*self.sessions, session]
        session.start(self._tasks)
        try:
            await session.ready()
        except BaseException:
            await session.aclose()
            raise
        return session

    async def aclose(self) -> None:
        """Close every session, the youngest first, then what they share. Harmless when closed already."""
        self._closed = True
        while self._sessions:
            await self._sessions.pop().aclose()
        await self._tasks.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()


def connect(config: PlatformConfig[S], *, hooks: Iterable[Hook] = ()) -> AbstractAsyncContextManager[S]:
    """One session for one `async with` block: READY inside, closed in order behind it. Raises what prevented READY."""

    @asynccontextmanager
    async def connected() -> AsyncIterator[S]:
        async with SessionManager(hooks=hooks) as manager:
            yield await manager.open(config)

    return connected()
