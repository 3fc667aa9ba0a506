"""Hub: a session with one SignalR hub, and the short way to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tradesession.clock import Clock
from tradesession.exporters.log import logged
from tradesession.hooks import Hook, Hooks
from tradesession.session.session import Session
from tradesession.signalr.bearer import Bearer, TokenSource, source_of
from tradesession.signalr.client import HubClient
from tradesession.signalr.config import Config
from tradesession.signalr.line import HubLine, Step
from tradesession.tasks import TaskOwner
from tradesession.timing import SYSTEM_CLOCK


class Hub(Session, HubClient):
    """A session with one hub. Open it with `tradesession.signalr.connect`: it is READY then.

    It stays through losses and through the ends of its bearers: subscriptions and restartable streams come back by themselves.
    """

    def __init__(self, config: Config, source: TokenSource, *, clock: Clock, hooks: Hooks) -> None:
        Session.__init__(self, config.name, clock=clock, hooks=hooks, tokens=source, close_timeout=config.close_timeout)
        line = HubLine(config, source, clock=clock, hooks=hooks, chance=self._chance, spawn=self._tasks.spawn)
        HubClient.__init__(self, self, line)
        self.config = config

    @property
    def steps(self) -> list[Step]:
        """The steps on the way to the present connection, in the order in which they ended."""
        return self._hub_line.steps

    @property
    def connection_id(self) -> str:
        """What the server's logs call the present connection; empty where there is none, or the negotiation was skipped."""
        link = self._hub_line.link
        return link.wire.connection_id if link is not None else ""

    async def renew(self) -> None:
        """Replace the connection now, without a loss; it happens by itself before the bearer ends.

        Raises what prevented it; the connection goes on as it was then.
        """
        await self._hub_line.renew()

    def _lines(self) -> Sequence[HubLine]:
        return [self._hub_line]

    def _finished(self) -> None:
        self._hub_line.open.set()  # whoever waits for it gets to see that the session is closed


def connect(hub: str | Config, *, token: Bearer = None, hooks: Iterable[Hook] = (), log: bool = True) -> AbstractAsyncContextManager[Hub]:
    """One hub for one `async with` block: READY inside, closed in order behind it.

    `hub` is the hub's address, or a Config where more is to be said than that. `token` is where its bearer comes from: a TokenKeeper or
    another source, which is asked before each connection, or a Token or Secret that is used as long as it lasts; None for a hub that
    wants none. `hooks` are called for everything that happens (see `tradesession.hooks`); a LogExporter is among them unless `log` is
    False. Raises what prevented READY.
    """
    config = Config(hub) if isinstance(hub, str) else hub
    source = source_of(token)

    @asynccontextmanager
    async def connected() -> AsyncIterator[Hub]:
        tasks = TaskOwner()
        session = Hub(config, source, clock=config.clock or SYSTEM_CLOCK, hooks=logged(hooks, log=log))
        session.start(tasks)
        try:
            await session.ready()
            yield session
        finally:
            await session.aclose()
            await tasks.aclose()

    return connected()
