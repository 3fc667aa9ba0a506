"""The way to READY: a token, then the hub, and for the hub of v1 the trade platform."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tradesession.clock import Clock
from tradesession.cplugin.config import Config
from tradesession.hooks import Hooks, StepTimed
from tradesession.signalr.bearer import TokenSource
from tradesession.signalr.line import HubLine, Intent, Step


class CPluginLine(HubLine):
    """The connection to one hub, whose first step is the token."""

    def __init__(
        self,
        config: Config,
        source: TokenSource,
        *,
        clock: Clock,
        hooks: Hooks,
        chance: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    ) -> None:
        super().__init__(config.hub_config(), source, clock=clock, hooks=hooks, chance=chance, spawn=spawn)
        self._token_step: Step | None = None
        if config.hub == "mt4-v1" and config.trade_platform:
            self.intents.append(Intent("Connect", (str(config.trade_platform),)))

    @property
    def all_steps(self) -> list[Step]:
        """Those of the present connection, the token's first."""
        return [*([self._token_step] if self._token_step is not None else []), *self.steps]

    async def connect(self) -> None:
        """See Line."""
        began = self.clock.monotonic()
        await self.source.get()
        self._token_step = Step("token", self.clock.monotonic() - began)
        self._hooks.emit(StepTimed(source=self.name, step="token", seconds=self._token_step.seconds))
        await super().connect()
