"""SessionManager: owns sessions and what they share (token stores, keepers, hooks), and closes all of it in order.

`connect` is the short way to one session.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from tradesession.clock import Clock
from tradesession.errors import Error, SessionClosed, StoreError
from tradesession.exporters.log import logged
from tradesession.hooks import Hook
from tradesession.session.services import ChildPlan, PlatformConfig, Services, TokenPlan
from tradesession.session.session import Session
from tradesession.tasks import TaskOwner
from tradesession.timing import SYSTEM_CLOCK
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.store import TokenStore
from tradesession.tokens.stores import default_store_url, open_store
from tradesession.tokens.token import Slot

S = TypeVar("S", bound=Session)


@dataclass(eq=False, slots=True)
class _Kept:
    """What the sessions of a slot share. `failed` is the configuration of the latest opening, if no other attempt could mend that.

    `is_lent` tells that somebody outside may hold the keeper, or one whose tokens are had with its own.
    """

    keeper: TokenKeeper
    plan: TokenPlan
    parent: _Kept | None
    sessions: list[Session] = field(default_factory=list)
    failed: PlatformConfig[Any] | None = None
    is_lent: bool = False

    def levels(self) -> list[_Kept]:
        """This one, and the one whose token its own is had with."""
        return [self] if self.parent is None else [self, self.parent]

    def is_outdated(self, config: PlatformConfig[Any]) -> bool:
        """Whether another configuration comes in place of the one that failed, and nobody needs what was made of that any more."""
        was_corrected = self.failed is not None and self.failed != config
        return was_corrected and self.keeper.is_saved and all(session.is_closed for session in self.sessions)

    async def aclose(self) -> None:
        """Close the keeper, and what its exchange uses when no exchange needs it any more."""
        async with AsyncExitStack() as stack:  # last in, first out; each step is taken whatever became of those before it
            stack.push_async_callback(self.plan.aclose)
            stack.push_async_callback(self.keeper.settled)
            stack.push_async_callback(self.keeper.aclose)


class SessionManager:
    """Opens sessions and owns them. Use it as `async with`, or call `aclose` at the end.

    `store` is the token store of configurations that name none: a URL (`sqlite:///…`, `postgresql://…`, `redis://…`, `memory:`) or an open
    TokenStore, which stays its opener's. None means TRADESESSION_STORE, or else an SQLite file in the user's state directory. Sessions
    of one slot share one keeper, so a token is renewed once for all of them. `hooks` are called for everything that happens (see
    `tradesession.hooks`); a LogExporter is among them unless `log` is False. `clock` is for tests.
    """

    def __init__(
        self, *, store: str | TokenStore | None = None, hooks: Iterable[Hook] = (), log: bool = True, clock: Clock | None = None
    ) -> None:
        self.hooks = logged(hooks, log=log)
        self._store = store
        self._clock = clock or SYSTEM_CLOCK
        self._tasks = TaskOwner()
        self._sessions: list[Session] = []
        self._stores: dict[tuple[str, Clock], TokenStore] = {}
        self._kept: dict[Slot, _Kept] = {}
        self._outdated: list[_Kept] = []  # closed as soon as nobody can hold their keepers any more
        self._closed = False

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions that were opened and are not closed, in order."""
        return tuple(session for session in self._sessions if not session.is_closed)

    def tokens(self, config: PlatformConfig[Any]) -> TokenKeeper:
        """The keeper of the configuration's token, without a session: `await keeper.get(min_ttl=60)`.

        It is the manager's to close, at its own end: it goes on as it is even if another configuration takes the place of this one.
        """
        kept = self._keep(config)
        for level in kept.levels():
            level.is_lent = True
        return kept.keeper

    async def open(self, config: PlatformConfig[S]) -> S:
        """A session of this configuration, READY. Raises what prevented it; a corrected configuration then begins anew."""
        kept = self._keep(config)
        if self._outdated:
            self._tasks.spawn(self._close_outdated(), name="end of what was corrected")
        session = config.create_session(
            Services(
                clock=config.clock or self._clock,
                hooks=self.hooks,
                random_id=lambda: secrets.token_hex(8),
                tokens=kept.keeper,
                exchange=kept.plan.exchange,
                parent=kept.parent.keeper if kept.parent is not None else None,
            )
        )
        levels = kept.levels()
        self._sessions = [*self.sessions, session]
        for level in levels:
            level.sessions = [*(one for one in level.sessions if not one.is_closed), session]
            level.failed = None
        session.start(self._tasks)
        try:
            await session.ready()
        except BaseException as error:
            if isinstance(error, Error) and not error.verdict.is_retryable:
                for level in levels:
                    level.failed = config
            await session.aclose()
            raise
        return session

    async def aclose(self) -> None:
        """Close every session, the youngest first, then keepers, exchanges and stores. Harmless when closed already.

        A token that is being exchanged at this moment is waited for and saved, also when the closing is cancelled (once). Raises
        StoreError when that could not be done.
        """
        self._closed = True
        async with AsyncExitStack() as stack:  # last in, first out; each step is taken whatever became of those before it
            for store in self._stores.values():
                stack.push_async_callback(store.aclose)
            for kept in (*reversed(self._outdated), *self._kept.values()):
                stack.push_async_callback(kept.aclose)
            stack.push_async_callback(self._tasks.aclose)
            for session in self._sessions:
                stack.push_async_callback(session.aclose)
            self._stores, self._kept, self._outdated, self._sessions = {}, {}, [], []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    def _keep(self, config: PlatformConfig[Any]) -> _Kept:
        if self._closed:
            raise SessionClosed("the session manager is closed; make another one")
        kept = self._current(config.slot, config)
        if kept is None:
            clock = config.clock or self._clock
            plan, parent = config.token_plan(clock), None
            if isinstance(plan, ChildPlan):
                parent = self._kept_by(plan.parent, config, clock)
                plan = plan.child(parent.keeper)
            kept = self._kept_by(plan, config, clock, parent)
        return kept

    def _kept_by(self, plan: TokenPlan, config: PlatformConfig[Any], clock: Clock, parent: _Kept | None = None) -> _Kept:
        kept = self._current(plan.slot, config)
        if kept is None:
            store = self._opened(self._store_of(config) if plan.is_stored else "memory:", clock)
            keeper = TokenKeeper(plan.slot, store, plan.exchange, seed=plan.seed, clock=clock, hooks=self.hooks, numbers=plan.numbers)
            kept = self._kept[plan.slot] = _Kept(keeper, plan, parent)
        return kept

    def _current(self, slot: Slot, config: PlatformConfig[Any]) -> _Kept | None:
        kept = self._kept.get(slot)
        if kept is not None and kept.is_outdated(config):
            self._outdated.append(self._kept.pop(slot))
            return None
        return kept

    async def _close_outdated(self) -> None:
        """Close what a corrected configuration has replaced, unless it was lent: its keeper would go on renewing with what was wrong."""
        for kept in tuple(self._outdated):  # a child stands before its parent
            needed = any(other.parent is kept for other in (*self._outdated, *self._kept.values()))
            if kept.is_lent or needed:
                continue
            with contextlib.suppress(StoreError):  # its pair could not be saved: it stays, and the manager's closing tells of it
                await kept.aclose()
                self._outdated = [other for other in self._outdated if other is not kept]

    def _store_of(self, config: PlatformConfig[Any]) -> str | TokenStore:
        return config.store or self._store or default_store_url()

    def _opened(self, store: str | TokenStore, clock: Clock) -> TokenStore:
        """The store, with the clock of whoever looks at its ages: by another one a new token may seem long expired."""
        if isinstance(store, TokenStore):
            return store
        if (store, clock) not in self._stores:
            self._stores[store, clock] = open_store(store, clock=clock)
        return self._stores[store, clock]


def connect(
    config: PlatformConfig[S], *, store: str | TokenStore | None = None, hooks: Iterable[Hook] = (), log: bool = True
) -> AbstractAsyncContextManager[S]:
    """One session for one `async with` block: READY inside, closed in order behind it. Raises what prevented READY.

    `store`, `hooks` and `log` as for a SessionManager.
    """

    @asynccontextmanager
    async def connected() -> AsyncIterator[S]:
        async with SessionManager(store=store, hooks=hooks, log=log) as manager:
            yield await manager.open(config)

    return connected()
