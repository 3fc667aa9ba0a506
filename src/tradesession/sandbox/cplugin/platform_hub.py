"""What CPlugin's hubs have in common: a trade platform, and prices.

Runs in tasks of the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from tradesession.sandbox.cplugin.core import Core
from tradesession.sandbox.cplugin.feed import START, Tick
from tradesession.sandbox.signalr.methods import HubException, method, whole
from tradesession.sandbox.signalr.trials import TrialHub

_BREATH: Final = 256
"""Items of a burst between two turns of the event loop."""


class PlatformHub(TrialHub):
    """A hub of CPlugin, so far without its own methods."""

    core: Core
    kind = ""
    """The kind of trade platform that it serves."""

    def disconnected(self) -> None:
        """Hear no prices any more."""
        self.core.feed.leave_all(self)

    @method("Burst", whole, is_stream=True)
    async def burst(self, count: int) -> AsyncIterator[dict[str, Any]]:
        """So many ticks as fast as the connection takes them."""
        for number in range(count):
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            yield self.core.payloads.tick(Tick("EURUSD", number, 1.10001, 1.10006, START + number / 1000))

    async def every(self, make: Callable[[int], Any]) -> AsyncIterator[Any]:
        """A payload now and then."""
        number = 0
        while True:
            await self.pause(self.core.settings.update_interval)
            yield make(number)
            number += 1

    def refuse_foreign_platform(self) -> None:
        """HubException unless the query names a trade platform of this hub."""
        if not self.core.serves(self.caller.query.get("tradePlatform", ""), self.kind):
            raise HubException("unknown trade platform")
