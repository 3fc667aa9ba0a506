"""Pushes: what the server calls of its own accord, handed to the streams that want it.

May not wait, and knows no sockets. Targets are compared without regard to case, as .NET does. What nobody has asked for yet is kept for
a moment, as a server greets right behind the handshake, before anybody can have asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from tradesession import policy
from tradesession.clock import Clock
from tradesession.protocol.signalr.records import Invocation
from tradesession.signalr.feeds import PushFeed


class Pushes:
    """The streams of one hub's events, by target."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._feeds: dict[str, list[PushFeed]] = {}
        self._early: deque[tuple[float, str, Any]] = deque(maxlen=policy.HUB_EARLY_EVENTS)

    def feeds(self) -> Iterator[PushFeed]:
        """All of them."""
        return (feed for feeds in tuple(self._feeds.values()) for feed in tuple(feeds))

    def add(self, feed: PushFeed) -> None:
        """From now on, and from the moments before that nobody has claimed."""
        target = feed.target.lower()
        oldest = self._clock.monotonic() - policy.HUB_EARLY_SECONDS
        early, self._early = self._early, deque(maxlen=policy.HUB_EARLY_EVENTS)
        for moment, other, event in early:
            if other != target:
                self._early.append((moment, other, event))
            elif moment >= oldest:
                feed.take(event, is_old=False)
        self._feeds.setdefault(target, []).append(feed)

    def remove(self, feed: PushFeed) -> None:
        """Nobody reads it any more."""
        feeds = self._feeds.get(feed.target.lower(), [])
        if feed in feeds:
            feeds.remove(feed)
        if not feeds:
            self._feeds.pop(feed.target.lower(), None)

    def take(self, call: Invocation, *, is_old: bool) -> None:
        """The server has called."""
        target = call.target.lower()
        event = event_of(call)
        feeds = self._feeds.get(target)
        if feeds is None:
            if not is_old:
                self._early.append((self._clock.monotonic(), target, event))
            return
        for feed in tuple(feeds):
            feed.take(event, is_old=is_old)


def event_of(call: Invocation) -> Any:
    """What a push brings: its one argument, or all of them as a tuple."""
    return call.arguments[0] if len(call.arguments) == 1 else tuple(call.arguments)
