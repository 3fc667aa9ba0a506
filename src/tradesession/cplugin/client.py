"""Session: CPlugin as a bot sees it: one hub that stays, and the REST interface beside it, with one token for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from tradesession.cplugin.config import Config
from tradesession.cplugin.handshake import CPluginLine
from tradesession.cplugin.hubs import HUB_CLASSES, Mt4Hub, Mt4V1Hub, Mt5Hub, TypedHub
from tradesession.cplugin.rest import Rest
from tradesession.errors import ConfigurationError
from tradesession.session.services import Services
from tradesession.session.session import Session as BaseSession
from tradesession.signalr.line import Step

H = TypeVar("H", bound=TypedHub[Any])


class Session(BaseSession):
    """A session with CPlugin's WebAPI.

    Open it with `tradesession.connect(config)` or `SessionManager.open(config)`: it is READY then, with a token and a hub. It stays through
    losses and through the ends of its bearers: calls wait for READY within their deadlines, subscriptions and streams come back, with a
    Gap where something was missed. `rest` needs no hub and works during an outage of it.
    """

    def __init__(self, config: Config, services: Services) -> None:
        if config.hub != "mt4-v1" and not config.trade_platform:
            raise ConfigurationError(f"trade_platform is not given: the hub {config.hub} is one of a trade platform, named by its GUID")
        super().__init__(
            f"cplugin {config.hub}",
            clock=services.clock,
            hooks=services.hooks,
            tokens=services.tokens,
            close_timeout=config.close_timeout,
        )
        self.config = config
        self._hub_line = CPluginLine(
            config, services.tokens, clock=services.clock, hooks=services.hooks, chance=self._chance, spawn=self._tasks.spawn
        )
        self.hub: TypedHub[Any] = HUB_CLASSES[config.hub](
            self, self._hub_line, trade_platform=str(config.trade_platform), stream_all=config.stream_all
        )
        """The hub of this session, whichever it is."""
        self.rest = Rest(
            config, services.tokens, clock=services.clock, hooks=services.hooks, chance=self._chance, random_id=services.random_id
        )
        """The REST interface."""

    @property
    def mt4(self) -> Mt4Hub:
        """The hub of MT4, v2. Raises ConfigurationError when the session has another one."""
        return self._as(Mt4Hub, "mt4-v2")

    @property
    def mt4_v1(self) -> Mt4V1Hub:
        """The older hub of MT4. Raises ConfigurationError when the session has another one."""
        return self._as(Mt4V1Hub, "mt4-v1")

    @property
    def mt5(self) -> Mt5Hub:
        """The hub of MT5, v2. Raises ConfigurationError when the session has another one."""
        return self._as(Mt5Hub, "mt5-v2")

    @property
    def steps(self) -> list[Step]:
        """The steps on the way to the present connection, in the order in which they ended: the token, then the hub's."""
        return self._hub_line.all_steps

    @property
    def connection_id(self) -> str:
        """What the server's logs call the present connection; empty where there is none, or the negotiation was skipped."""
        link = self._hub_line.link
        return link.wire.connection_id if link is not None else ""

    @property
    def renewals(self) -> int:
        """How many connections were replaced before their bearer ended."""
        return self._hub_line.renewals

    async def renew(self) -> None:
        """Replace the hub's connection now, without a loss; it happens by itself before the bearer ends.

        Raises what prevented it; the connection goes on as it was then.
        """
        await self._hub_line.renew()

    async def aclose(self) -> None:
        """See Session; calls of `rest` that are under way end with an error."""
        try:
            await super().aclose()
        finally:
            await self.rest.aclose()

    def _as(self, kind: type[H], name: str) -> H:
        if not isinstance(self.hub, kind):
            raise ConfigurationError(f"this session has the hub {self.config.hub}; for this one open another session, with hub={name!r}")
        return self.hub

    def _lines(self) -> Sequence[CPluginLine]:
        return [self._hub_line]

    def _finished(self) -> None:
        self._hub_line.open.set()  # whoever waits for it gets to see that the session is closed
