"""CPlugin's three hubs: MT4 v1, MT4 v2, MT5 v2. Facts: section 3.

Runs in tasks of the connection. What is not known of production is a setting.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from tradesession.sandbox.cplugin.feed import INSTRUMENTS, Tick
from tradesession.sandbox.cplugin.platform_hub import PlatformHub
from tradesession.sandbox.signalr.hub import Hub
from tradesession.sandbox.signalr.methods import HubException, guid, method, text


class _V2Hub(PlatformHub):
    """What the two newer ones have in common."""

    def connected(self) -> None:
        """Tell whether the platform is linked."""
        self.refuse_foreign_platform()
        self.tell_status()

    def tell_status(self) -> None:
        """Whether the server has a link to the trade platform."""
        self.caller.push("OnConnectionStatus", {"connected": self.core.platform_connected})

    def show(self, tick: Tick) -> dict[str, Any]:
        """A tick as this hub writes it."""
        return self.core.payloads.tick(tick)

    @method("SubscribeToTicks", text)
    async def subscribe(self, symbol: str | None) -> None:
        """Push OnTick for the symbol from now on."""
        self.core.feed.listen(self, _known(symbol), self._push)

    @method("UnsubscribeFromTicks", text)
    async def unsubscribe(self, symbol: str | None) -> None:
        """No more OnTick for it."""
        self.core.feed.leave(self, symbol)

    def _push(self, tick: Tick) -> None:
        if self.core.settings.ticks_in_batches:
            self.caller.push("OnTicksBatch", {"symbol": tick.symbol, "ticks": [self.show(tick)]})
        else:
            self.caller.push("OnTick", self.show(tick))


class Mt4V2Hub(_V2Hub):
    """`/hubs/mt4/v2`."""

    kind = "MT4"

    @method("StreamTicks", text, is_stream=True, may_be_short=True)
    async def stream_ticks(self, symbol: str | None) -> AsyncIterator[dict[str, Any]]:
        """The ticks of a symbol; null is every symbol."""
        if symbol is not None:
            _known(symbol)
        queue: asyncio.Queue[Tick] = asyncio.Queue()
        key = object()
        self.core.feed.listen(key, symbol, queue.put_nowait)
        try:
            while True:
                yield self.show(await queue.get())
        finally:
            self.core.feed.leave(key, symbol)

    @method("StreamTrades", is_stream=True)
    def stream_trades(self) -> AsyncIterator[Any]:
        """Trades that come and go."""
        return self.every(self._now(self.core.payloads.trade))

    @method("StreamUserUpdates", is_stream=True)
    def stream_users(self) -> AsyncIterator[Any]:
        """Users that come and go."""
        return self.every(self._now(self.core.payloads.user))

    @method("StreamSymbolUpdates", is_stream=True)
    def stream_symbols(self) -> AsyncIterator[Any]:
        """Symbols that come and go."""
        return self.every(self.core.payloads.symbol)

    @method("StreamMarginCallUpdates", is_stream=True)
    def stream_margin_calls(self) -> AsyncIterator[Any]:
        """Margin calls."""
        return self.every(self.core.payloads.margin_call)

    def _now(self, make: Callable[[int, float], Any]) -> Callable[[int], Any]:
        return lambda number: make(number, self.core.clock.wall())


class Mt5V2Hub(_V2Hub):
    """`/hubs/mt5/v2`."""

    kind = "MT5"

    def connected(self) -> None:
        """Tell the status, and a margin call, which wrappers of the vendor forget to expose."""
        super().connected()
        self.caller.push("OnMarginCall", self.core.payloads.mt5_margin_call(0))

    def show(self, tick: Tick) -> dict[str, Any]:
        """A tick as this hub writes it."""
        return self.core.payloads.mt5_tick(tick)

    @method("StreamMarginCallUpdates", is_stream=True)
    def stream_margin_calls(self) -> AsyncIterator[Any]:
        """Margin calls."""
        return self.every(self.core.payloads.mt5_margin_call)


class Mt4V1Hub(PlatformHub):
    """`/hubs/mt4/v1`: the platform is the first argument of each method."""

    kind = "MT4"

    def __init__(self, caller: Any) -> None:
        super().__init__(caller)
        self._platforms: dict[str, uuid.UUID] = {}

    @method("Connect", guid)
    async def connect(self, platform: uuid.UUID) -> bool:
        """Whether pumping is up."""
        return self.core.serves(str(platform), self.kind) and self.core.platform_connected

    @method("Ping", guid)
    async def ping(self, platform: uuid.UUID) -> bool:
        """The same."""
        return await self.connect(platform)

    @method("SubscribeToTicks", guid, text)
    async def subscribe(self, platform: uuid.UUID, symbol: str | None) -> None:
        """Push onTick for the symbol from now on."""
        if not self.core.serves(str(platform), self.kind):
            raise HubException("unknown trade platform")
        known = _known(symbol)
        self._platforms[known] = platform
        self.core.feed.listen(self, known, self._push)

    @method("UnsubscribeFromTicks", guid, text)
    async def unsubscribe(self, platform: uuid.UUID, symbol: str | None) -> None:
        """No more onTick for it."""
        self.core.feed.leave(self, symbol)

    def _push(self, tick: Tick) -> None:
        self.caller.push("onTick", str(self._platforms[tick.symbol]), self.core.payloads.v1_tick(tick))


HUBS: Final[Mapping[str, type[Hub]]] = {"mt4_v1": Mt4V1Hub, "mt4_v2": Mt4V2Hub, "mt5_v2": Mt5V2Hub}
PATHS: Final[Mapping[str, str]] = {"mt4_v1": "/hubs/mt4/v1", "mt4_v2": "/hubs/mt4/v2", "mt5_v2": "/hubs/mt5/v2"}


def _known(symbol: str | None) -> str:
    if symbol not in INSTRUMENTS:
        raise HubException(f"unknown symbol {symbol}")
    return symbol
