"""Prices: a seeded random walk for each symbol of each broker, told to whoever subscribed, with the bars and order books that go with it.

No sockets, no tasks: beats come from the clock, events go to the subscribers at once. Always holds: the ask is above the bid, and the
sequence of a symbol's prices depends on the seed alone. What a subscriber hears is incremental: bid, ask, or both (section 8.2). Bars
ride on what has a bid (section 8.3).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from decimal import Decimal
from typing import Final, Protocol

from tradesession.clock import Clock
from tradesession.ctrader import messages as pb
from tradesession.sandbox.beat import Beat
from tradesession.sandbox.ctrader.bars import LiveBars
from tradesession.sandbox.ctrader.depth import Depth, DepthSubscriber
from tradesession.sandbox.ctrader.market import PRICE_SCALE, Symbol, symbol_by_name
from tradesession.sandbox.ctrader.state import ALPHA, Broker

_MAX_SPREAD_TICKS: Final = 12
_BID_ONLY, _ASK_ONLY, _QUIET = 0.4, 0.7, 0.2
"""Bounds on a random number: below the first only the bid moves, below the second only the ask; a beat is quiet with the third."""


class Subscriber(Protocol):
    """A connection, as the feed sees it."""

    def hears(self, account_id: int) -> bool:
        """Whether the account is authorised there now."""

    def send_event(self, message: pb.ProtoOASpotEvent) -> None:
        """Send an event to the client."""


class Walk:
    """The price of one symbol, as integers of 1e-5."""

    def __init__(self, seed: int, symbol: Symbol) -> None:
        self._random = random.Random(f"{seed}:{symbol.broker.title}:{symbol.instrument.name}")
        self._tick = symbol.tick
        middle = round(symbol.instrument.price * PRICE_SCALE) // self._tick * self._tick
        self.bid = middle
        self.ask = middle + 2 * self._tick

    def is_quiet(self) -> bool:
        """Whether this beat passes without a tick."""
        return self._random.random() < _QUIET

    def step(self) -> tuple[int | None, int | None]:
        """Move; gives back the sides that moved."""
        kind = self._random.random()
        delta = self._random.choice((-3, -2, -1, 1, 2, 3)) * self._tick
        wide = self.ask - self.bid > _MAX_SPREAD_TICKS * self._tick
        if kind < _BID_ONLY:
            bid = self.bid + (abs(delta) if wide else delta)
            self.bid = bid if bid < self.ask else self.bid - self._tick
            return self.bid, None
        if kind < _ASK_ONLY:
            ask = self.ask - (abs(delta) if wide else -delta)
            self.ask = ask if ask > self.bid else self.ask + self._tick
            return None, self.ask
        self.bid += delta
        self.ask += delta
        return self.bid, self.ask


class Feed:
    """Who hears which symbol, and the beat at which prices move while anybody does."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self._seed = seed
        self._clock = clock
        self._walks: dict[Symbol, Walk] = {}
        self._subscribers: dict[Symbol, dict[tuple[Subscriber, int], bool]] = {}
        self._periods: dict[tuple[Subscriber, int, Symbol], list[pb.ProtoOATrendbarPeriod.ValueType]] = {}
        self._watchers: dict[Symbol, dict[Hashable, None]] = {}
        self._bars = LiveBars()
        self._depth = Depth(seed)
        self.on_tick: list[Callable[[Symbol], None]] = []
        """Called for each symbol whose price has moved, when its subscribers have been told."""
        self.bars_with_close = False
        """Whether live bars have a close of their own, which real ones were never seen to have."""
        self._beat = Beat(clock, lambda: self.interval, self._moving, self._move)
        self.interval = 0.2
        """Seconds of the sandbox's clock between two beats; at most beats each subscribed symbol ticks once. Pushing the clock far
        with a subscription open plays every beat on the way: slow it down or pause it where that is not wanted."""

    def pause(self) -> None:
        """No more ticks but those of `tick`; takes nobody's subscription."""
        self._beat.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._beat.resume()

    def close(self) -> None:
        """Forget every subscriber and stop."""
        self._subscribers.clear()
        self._periods.clear()
        self._watchers.clear()
        self._depth.close()
        self._beat.rest()

    # --- subscriptions ---

    def is_subscribed(self, subscriber: Subscriber, account_id: int, symbol: Symbol) -> bool:
        """Whether that account of that connection hears the symbol."""
        return (subscriber, account_id) in self._subscribers.get(symbol, {})

    def subscribe(self, subscriber: Subscriber, account_id: int, symbol: Symbol, *, timestamps: bool) -> None:
        """Send the symbol's ticks there from now on."""
        self._subscribers.setdefault(symbol, {})[subscriber, account_id] = timestamps
        self._beat.arm()

    def unsubscribe(self, subscriber: Subscriber, account_id: int, symbol: Symbol) -> None:
        """Send no more ticks of the symbol there."""
        listeners = self._subscribers.get(symbol, {})
        listeners.pop((subscriber, account_id), None)
        self._periods.pop((subscriber, account_id, symbol), None)
        if not listeners:
            self._subscribers.pop(symbol, None)

    def drop(self, subscriber: Subscriber, account_id: int | None = None) -> None:
        """End all subscriptions of a connection, or of one account on it."""
        for symbol, listeners in list(self._subscribers.items()):
            for who, account in list(listeners):
                if who is subscriber and account_id in (None, account):
                    self.unsubscribe(subscriber, account, symbol)
        self._depth.drop(subscriber, account_id)

    def watch(self, symbol: Symbol, watcher: Hashable) -> None:
        """Move the symbol though nobody may have subscribed to it."""
        self._watchers.setdefault(symbol, {})[watcher] = None
        self._beat.arm()

    def unwatch(self, symbol: Symbol, watcher: Hashable) -> None:
        """The watcher does not need it to move any more."""
        watchers = self._watchers.get(symbol, {})
        watchers.pop(watcher, None)
        if not watchers:
            self._watchers.pop(symbol, None)

    # --- bars and order books ---

    def has_bars(self, subscriber: Subscriber, account_id: int, symbol: Symbol, period: pb.ProtoOATrendbarPeriod.ValueType) -> bool:
        """Whether bars of that period ride on the symbol's ticks there."""
        return period in self._periods.get((subscriber, account_id, symbol), ())

    def subscribe_bars(self, subscriber: Subscriber, account_id: int, symbol: Symbol, period: pb.ProtoOATrendbarPeriod.ValueType) -> None:
        """Let bars of that period ride on the symbol's ticks there; they end with the subscription to spots."""
        self._periods.setdefault((subscriber, account_id, symbol), []).append(period)
        self._bars.follow(symbol, period, self.last(symbol)[0], self._minute())

    def unsubscribe_bars(self, subscriber: Subscriber, account_id: int, symbol: Symbol, period: pb.ProtoOATrendbarPeriod.ValueType) -> None:
        """Let them ride no more."""
        self._periods[subscriber, account_id, symbol].remove(period)

    def has_depth(self, subscriber: DepthSubscriber, account_id: int, symbol: Symbol) -> bool:
        """Whether that account of that connection hears the symbol's order book."""
        return self._depth.is_subscribed(subscriber, account_id, symbol)

    def subscribe_depth(self, subscriber: DepthSubscriber, account_id: int, symbol: Symbol) -> pb.ProtoOADepthEvent:
        """Send the order book's changes there from now on; gives back the whole book, which goes first."""
        event = self._depth.subscribe(subscriber, account_id, symbol, *self.last(symbol))
        self._beat.arm()
        return event

    def unsubscribe_depth(self, subscriber: DepthSubscriber, account_id: int, symbol: Symbol) -> None:
        """Send no more of the symbol's order book there."""
        self._depth.unsubscribe(subscriber, account_id, symbol)

    # --- prices ---

    def last(self, symbol: Symbol) -> tuple[int, int]:
        """The last known bid and ask, as integers of 1e-5."""
        walk = self._walk(symbol)
        return walk.bid, walk.ask

    def snapshot(self, account_id: int, symbol: Symbol, *, timestamps: bool) -> pb.ProtoOASpotEvent:
        """The event that repeats the last price, with both sides: the first one after a subscription."""
        return self._event(account_id, symbol, *self.last(symbol), timestamps=timestamps)

    def tick(
        self, name: str, bid: float | Decimal | None = None, ask: float | Decimal | None = None, *, broker: Broker = ALPHA
    ) -> tuple[int, int]:
        """Move a symbol now and tell its subscribers: by a step of its walk, or to the given prices. Gives back bid and ask in 1e-5."""
        symbol = symbol_by_name(broker, name)
        walk = self._walk(symbol)
        if bid is None and ask is None:
            self._tell(symbol, *walk.step())
        else:
            new_bid, new_ask = _scaled(bid), _scaled(ask)
            walk.bid = walk.bid if new_bid is None else new_bid
            walk.ask = walk.ask if new_ask is None else new_ask
            self._tell(symbol, new_bid, new_ask)
        return walk.bid, walk.ask

    def _walk(self, symbol: Symbol) -> Walk:
        if symbol not in self._walks:
            self._walks[symbol] = Walk(self._seed, symbol)
        return self._walks[symbol]

    def _minute(self) -> int:
        return int(self._clock.wall()) // 60

    def _tell(self, symbol: Symbol, bid: int | None, ask: int | None) -> None:
        if bid is not None:
            self._bars.tick(symbol, bid, self._minute())
        for (subscriber, account_id), timestamps in list(self._subscribers.get(symbol, {}).items()):
            if subscriber.hears(account_id):
                event = self._event(account_id, symbol, bid, ask, timestamps=timestamps)
                if bid is not None:
                    close = bid if self.bars_with_close else None
                    periods = self._periods.get((subscriber, account_id, symbol), ())
                    event.trendbar.extend(self._bars.message(symbol, period, close=close) for period in periods)
                subscriber.send_event(event)
        self._depth.move(symbol, *self.last(symbol))
        for listener in self.on_tick:
            listener(symbol)

    def _event(self, account_id: int, symbol: Symbol, bid: int | None, ask: int | None, *, timestamps: bool) -> pb.ProtoOASpotEvent:
        event = pb.ProtoOASpotEvent(ctidTraderAccountId=account_id, symbolId=symbol.id)
        if bid is not None:
            event.bid = bid
        if ask is not None:
            event.ask = ask
        if timestamps:
            event.timestamp = int(self._clock.wall() * 1000)
        return event

    # --- the beat ---

    def _moving(self) -> list[Symbol]:
        """The symbols whose price matters to anybody."""
        return list(dict.fromkeys([*self._subscribers, *self._depth.heard_symbols(), *self._watchers]))

    def _move(self) -> None:
        for symbol in self._moving():
            walk = self._walk(symbol)
            if not walk.is_quiet():
                self._tell(symbol, *walk.step())


def _scaled(price: float | Decimal | None) -> int | None:
    return None if price is None else round(price * PRICE_SCALE)
