"""The hubs of CPlugin, typed: each method, stream and event of MT4 v1, MT4 v2 and MT5 v2 as one line of a table.

May use asyncio. What a table does not know is reached by its name: `invoke`, `stream`, `on` of the HubClient that each hub is. Names and
payloads are those of the vendor's SDKs. Always holds: streams and subscriptions are intents, which come back with the next connection,
behind a Gap where something may have been missed.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from contextlib import AsyncExitStack
from typing import Any, Final, Generic, Literal, Self, TypeVar, overload
from uuid import UUID

from tradesession import policy
from tradesession.cplugin.records import (
    ConnectionStatus,
    MarginCall,
    Mt5MarginCall,
    Mt5Tick,
    Record,
    SymbolUpdate,
    Tick,
    TradeUpdate,
    UserUpdate,
)
from tradesession.cplugin.tables import Items, Key, Pushed, Streaming, SymbolStreaming
from tradesession.errors import ConfigurationError, InvalidRequest, ProtocolError
from tradesession.session.session import Session
from tradesession.session.streams import EventStream, Gap, Overflow
from tradesession.signalr.client import HubClient, HubStream, Subscription
from tradesession.signalr.feeds import PushFeed
from tradesession.signalr.line import HubLine

K = TypeVar("K", bound=Tick)

SUBSCRIBE: Final = "SubscribeToTicks"
"""What the hubs call it. That MT5's does, too, is a conclusion."""


class TypedHub(HubClient, Generic[K]):
    """What the hubs have in common. `K` is the hub's kind of Tick."""

    on_connection_status = Pushed("OnConnectionStatus", ConnectionStatus)

    _tick: type[K]
    _ticks_come_by: tuple[Pushed[K], ...] = ()

    def __init__(self, session: Session, line: HubLine, *, trade_platform: str, stream_all: str) -> None:
        super().__init__(session, line)
        self.trade_platform = trade_platform
        self._stream_all = stream_all
        self._subscribed: dict[str, list[Subscription]] = {}

    async def subscribe_to_ticks(self, symbol: str, *, method: str = SUBSCRIBE, timeout: float | None = None) -> Subscription:
        """Have the hub push this symbol's ticks, on this and on every further connection, until the Subscription is closed.

        They come by `on_tick()`. `method` is the hub's word for it. Raises HubError for a symbol that it does not know.
        """
        subscription = await self._subscribe_to_ticks(symbol, method, timeout)
        wanted = [one for one in self._subscribed.get(symbol, ()) if one.is_wanted]
        self._subscribed[symbol] = [*wanted, subscription]
        return subscription

    async def unsubscribe_from_ticks(self, symbol: str) -> None:
        """Close every subscription of this symbol that `subscribe_to_ticks` has made; streams of `ticks` keep theirs."""
        for subscription in self._subscribed.pop(symbol, []):
            await subscription.aclose()

    @overload
    def ticks(
        self,
        *symbols: str,
        method: str = ...,
        limit: int = ...,
        overflow: Overflow = ...,
        key: Key | None = ...,
        gaps: Literal[False] = ...,
    ) -> EventStream[K]: ...
    @overload
    def ticks(
        self, *symbols: str, method: str = ..., limit: int = ..., overflow: Overflow = ..., key: Key | None = ..., gaps: bool
    ) -> EventStream[K | Gap]: ...
    def ticks(
        self,
        *symbols: str,
        method: str = SUBSCRIBE,
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Key | None = None,
        gaps: bool = False,
    ) -> EventStream[Any]:
        """The ticks of these symbols as one stream, whether they are pushed one by one or in batches; alike on each hub.

        They are subscribed when its block is entered, or the first one is awaited, which raises HubError for a symbol that the hub does not
        know; and unsubscribed when it is closed. `method` as for `subscribe_to_ticks`, the rest as for an EventStream.

        Raises InvalidRequest without a symbol.
        """
        if not symbols:
            raise InvalidRequest("name at least one symbol, such as 'EURUSD'")
        wanted = frozenset(symbols)
        options = {"limit": limit, "overflow": overflow, "key": key, "gaps": gaps}
        sources = [(pushed.target, _only(wanted, pushed.items)) for pushed in self._ticks_come_by]
        subscriptions = (functools.partial(self._subscribe_to_ticks, symbol, method) for symbol in dict.fromkeys(symbols))
        return self._pushed(sources, self._tick, options, subscriptions)

    # --- inside -------------------------------------------------------------------------------------------------------------------------

    async def _subscribe_to_ticks(self, symbol: str, method: str, timeout: float | None = None) -> Subscription:
        undo = method.replace("SubscribeTo", "UnsubscribeFrom", 1) if "SubscribeTo" in method else None
        return await self.subscribe(method, *self._leading(), symbol, undo=undo, timeout=timeout)

    def _leading(self) -> tuple[Any, ...]:
        """What stands before the other arguments of each method."""
        return ()

    def _of_symbol(self, symbol: str | None) -> tuple[Any, ...]:
        return () if symbol is None and self._stream_all == "omit" else (symbol,)

    def _streamed(self, method: str, arguments: tuple[Any, ...], record: type[Record], options: dict[str, Any]) -> EventStream[Any]:
        return self.stream(method, *arguments, restart=True, read=record.of, **_with_key(record, options))

    def _pushed(
        self,
        sources: list[tuple[str, Items]],
        record: type[Record],
        options: dict[str, Any],
        subscriptions: Iterable[Callable[[], Awaitable[Subscription]]] = (),
    ) -> EventStream[Any]:
        name = f"{' and '.join(target for target, _ in sources)} of {self._hub_line.name}"
        pushes = self._hub_line.pushes
        feeds: list[PushFeed] = []

        def forget() -> None:
            for feed in feeds:
                pushes.remove(feed)

        report = self._hub_session._report_drop(name)
        stream = _PushedStream(name, record.of, subscriptions, on_close=forget, on_drop=report, **_with_key(record, options))
        feeds += [_ManyFeed(target, stream, items) for target, items in sources]
        self._hub_session._join(stream, self._hub_line)
        if not stream.has_ended:
            for feed in feeds:
                pushes.add(feed)
        return stream


class _PushedStream(HubStream[Any]):
    """A stream that is subscribed when it is entered or read for the first time, and takes that back when it is closed."""

    def __init__(
        self, name: str, read: Callable[[Any], Any], subscriptions: Iterable[Callable[[], Awaitable[Subscription]]], **options: Any
    ) -> None:
        super().__init__(name, read, **options)
        self._to_do = deque(subscriptions)
        self._done = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._subscribe()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __anext__(self) -> Any:
        if self._to_do:
            try:
                await self._subscribe()
            except Exception:  # not when it is cancelled: the next one asks again
                await self.aclose()
                raise
        return await super().__anext__()

    async def aclose(self) -> None:
        """See EventStream; what was subscribed for it is undone first, so that nothing of it is left over for the next stream."""
        self._to_do.clear()
        try:
            await self._done.aclose()
        finally:
            await super().aclose()

    async def _subscribe(self) -> None:
        while self._to_do:
            await self._done.enter_async_context(await self._to_do[0]())
            self._to_do.popleft()


class _ManyFeed(PushFeed):
    """A PushFeed whose calls bring none, one or several objects."""

    def __init__(self, target: str, stream: EventStream[Any], items: Items) -> None:
        super().__init__(target, stream, None)
        self._items = items

    def _put(self, event: Any) -> None:
        self._last = event
        for item in self._items(event):
            self.stream.put_nowait(item)


def _with_key(record: type[Record], options: dict[str, Any]) -> dict[str, Any]:
    """With `latest` the key is asked about the record, while what waits in the queue is as it came; of what is no record it is None."""
    key: Key | None = options.get("key")
    if key is None:
        return options

    def of(wire: Any) -> Hashable:
        try:
            read = record.of(wire)
        except ProtocolError:
            return None  # it is raised where it is read
        return key(read)

    return options | {"key": of}


def _only(wanted: frozenset[str], items: Items) -> Items:
    def some(event: Any) -> list[Any]:
        return [item for item in items(event) if isinstance(item, dict) and str(item.get("symbol", item.get("Symbol"))) in wanted]

    return some


class Mt4Hub(TypedHub[Tick]):
    """The hub of MT4, v2."""

    stream_ticks: Final = SymbolStreaming("StreamTicks", Tick)
    stream_trades: Final = Streaming("StreamTrades", TradeUpdate)
    stream_user_updates: Final = Streaming("StreamUserUpdates", UserUpdate)
    stream_symbol_updates: Final = Streaming("StreamSymbolUpdates", SymbolUpdate)
    stream_margin_call_updates: Final = Streaming("StreamMarginCallUpdates", MarginCall)
    on_tick: Final = Pushed("OnTick", Tick)
    on_ticks_batch: Final = Pushed("OnTicksBatch", Tick, "ticks")

    _tick = Tick
    _ticks_come_by = (on_tick, on_ticks_batch)


class Mt5Hub(TypedHub[Mt5Tick]):
    """The hub of MT5, v2. That it takes SubscribeToTicks is a conclusion from MT4; another `method` can be named."""

    stream_margin_call_updates: Final = Streaming("StreamMarginCallUpdates", Mt5MarginCall)
    on_margin_call: Final = Pushed("OnMarginCall", Mt5MarginCall)
    on_tick: Final = Pushed("OnTick", Mt5Tick)
    on_ticks_batch: Final = Pushed("OnTicksBatch", Mt5Tick, "ticks")

    _tick = Mt5Tick
    _ticks_come_by = (on_tick, on_ticks_batch)


class Mt4V1Hub(TypedHub[Tick]):
    """The older hub of MT4, whose methods take the trade platform as their first argument: the configured one by default.

    With one configured, `Connect` is called on every connection before it is READY.
    """

    on_tick: Final = Pushed("onTick", Tick)

    _tick = Tick
    _ticks_come_by = (on_tick,)

    async def connect(self, trade_platform: str | UUID | None = None, *, timeout: float | None = None) -> bool:
        """Have the API pump this platform's data; whether it does."""
        return bool(await self.invoke("Connect", *self._leading(trade_platform), timeout=timeout, repeatable=True))

    async def ping(self, trade_platform: str | UUID | None = None, *, timeout: float | None = None) -> Any:
        """Ask whether the platform is there; what the hub says about it, as it comes."""
        return await self.invoke("Ping", *self._leading(trade_platform), timeout=timeout, repeatable=True)

    def _leading(self, trade_platform: str | UUID | None = None) -> tuple[Any, ...]:
        platform = str(trade_platform or self.trade_platform)
        if not platform:
            raise ConfigurationError("trade_platform is not given: each method of the hub mt4-v1 takes one")
        return (platform,)


HUB_CLASSES: Final[dict[str, type[TypedHub[Any]]]] = {"mt4-v1": Mt4V1Hub, "mt4-v2": Mt4Hub, "mt5-v2": Mt5Hub}
