"""TraderLine: the connection to B2Trader's hub, behind both levels of tokens; its steps tell how long each took.

Everything about the connection itself is the HubLine's. The address is taken anew for each connection after a loss, as B2Core may name
another of the configured ones meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tradesession.b2core.platform import PlatformBearer
from tradesession.clock import Clock
from tradesession.hooks import Hooks, StepTimed
from tradesession.signalr.config import Config as HubConfig
from tradesession.signalr.line import HubLine, Step


class TraderLine(HubLine):
    """One hub of B2Trader. `address` gives where it is now."""

    def __init__(
        self,
        config: HubConfig,
        bearer: PlatformBearer,
        address: Callable[[], str],
        *,
        clock: Clock,
        hooks: Hooks,
        chance: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    ) -> None:
        super().__init__(config, bearer, clock=clock, hooks=hooks, chance=chance, spawn=spawn)
        self._bearer = bearer
        self._address = address
        self._told = hooks

    async def connect(self) -> None:
        """See Line. The user's bearer first, then the platform's pair, then the socket."""
        steps: list[Step] = []
        began = self.clock.monotonic()
        if await self._bearer.sign_in():
            began = self._done(steps, "sign_in", began)
        await self._bearer.get()
        self._done(steps, "platform_token", began)
        self.config = self.config.replace(url=self._address())
        await super().connect()
        self.steps[:0] = steps

    def _done(self, steps: list[Step], name: str, began: float) -> float:
        now = self.clock.monotonic()
        steps.append(Step(name, now - began))
        self._told.emit(StepTimed(source=self.name, step=name, seconds=now - began))
        return now
