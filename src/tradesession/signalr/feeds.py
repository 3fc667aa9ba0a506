"""Feeds: what brings events into a stream, from one connection, or from two while one takes over from the other.

May not wait, and knows no sockets. Always holds: a stream hears of its connection's replacement only where something was missed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, TypeAlias

from tradesession.errors import LinkLost
from tradesession.protocol.handover import Handover
from tradesession.session.streams import EventStream, Gap
from tradesession.signalr.link import HubLink
from tradesession.signalr.underway import OpenStream

Key: TypeAlias = Callable[[Any], Hashable]
"""Tells two events apart: those with the same key are the same event, come over two connections."""


_NOTHING: Final = object()


def by_value(event: object) -> Hashable:
    """The key of events that bring none of their own: all that they hold."""
    return repr(event)


def by(key: Key) -> Key:
    """This key; by value for an event of which it makes none: it is the user's, and its mistakes are not the connection's."""

    def of(event: Any) -> Hashable:
        try:
            found = key(event)
            hash(found)
        except Exception:
            return by_value(event)
        return found

    return of


class Feed:
    """Into one stream. `key` finds, in a replacement, the events that came over both connections."""

    def __init__(self, stream: EventStream[Any], key: Key | None) -> None:
        self.stream = stream
        self._key = by_value if key is None else by(key)
        self._last: Any = _NOTHING
        self._on_aligned: Callable[[], object] = lambda: None
        self.handover: Handover[Any] | None = None
        """While events may come over two connections."""

    @property
    def is_aligned(self) -> bool:
        """Whether the old connection is not needed any more for this stream."""
        return self.handover is None or self.handover.is_aligned

    def take(self, event: Any, *, is_old: bool) -> None:
        """An event from the connection, or from the one that is being replaced."""
        between = self.handover
        if between is None:
            if not is_old:
                self._put(event)
            return
        was_aligned = between.is_aligned
        for one in between.from_old(event) if is_old else between.from_new(event):
            self._put(one)
        if between.is_full:
            self.end_old()
        elif between.is_aligned and not was_aligned:
            self._on_aligned()
        if between.is_over:
            self.handover = None

    def begin_handover(self, on_aligned: Callable[[], object]) -> None:
        """From now on another connection brings the events as well. `on_aligned` is called when the old one is not needed any more."""
        self._on_aligned = on_aligned
        self.handover = Handover(self._key, () if self._last is _NOTHING else (self._last,), self.handover)

    def end_old(self, gap: Gap | None = None) -> None:
        """The old connection brings no more. `gap` is to be told if it ended before it was clear that nothing was missed."""
        between = self.handover
        if between is None:
            return
        if gap is not None and not between.is_aligned:
            self.stream.put_gap(gap)
        for one in between.end_old():
            self._put(one)
        self._on_aligned()

    def let_go(self) -> None:
        """The old connection is not needed any more."""
        self.end_old()

    def settle(self, handover: Handover[Any] | None) -> None:
        """This one was long ago: nothing can come twice any more, and an event that equals another one is a new one."""
        if self.handover is handover:
            self.handover = None
        elif self.handover is not None:
            self.handover.settle(handover)

    def detach(self) -> None:
        """There is no connection any more."""
        self.handover = None

    def _put(self, event: Any) -> None:
        self._last = event
        self.stream.put_nowait(event)


class PushFeed(Feed):
    """The server's calls of one target, as a stream of what they bring."""

    def __init__(self, target: str, stream: EventStream[Any], key: Key | None) -> None:
        super().__init__(stream, key)
        self.target = target


class StreamFeed(Feed):
    """The items of one streaming method. With `restart` it is called again on another connection; else it ends with its own."""

    def __init__(self, target: str, arguments: tuple[Any, ...], stream: EventStream[Any], key: Key | None, *, restart: bool) -> None:
        super().__init__(stream, key)
        self.target = target
        self.arguments = arguments
        self.restart = restart
        self._source: _Source | None = None
        self._old: _Source | None = None

    def begin(self, link: HubLink) -> None:
        """Call the method on this connection. Raises NotSent when that has ended."""
        self._source = _Source(self)
        self._source.open(link)

    def hand_over(self, link: HubLink, on_aligned: Callable[[], object]) -> None:
        """Call it on another connection as well, and let that one take over. Raises NotSent when that has ended."""
        self.begin_handover(on_aligned)
        self._old, self._source = self._source, _Source(self)
        self._source.open(link)

    def let_go(self) -> None:
        """See Feed."""
        old, self._old = self._old, None
        if old is not None:
            old.cancel()
        super().let_go()

    def close(self) -> None:
        """The reader has gone: the server need not go on."""
        for source in (self._source, self._old):
            if source is not None:
                source.cancel()
        self._source = self._old = None

    def detach(self) -> None:
        """See Feed."""
        super().detach()
        self._source = self._old = None

    def taken(self, source: _Source, item: Any) -> None:
        """An item came; from a connection that was let go it is nobody's."""
        if source is self._source or source is self._old:
            self.take(item, is_old=source is self._old)

    def ended(self, source: _Source, error: Exception | None) -> None:
        """The server has ended the stream, or the connection has ended."""
        if source is self._old:
            self._old = None
            self.end_old(Gap("the connection was lost while another one took over") if isinstance(error, LinkLost) else None)
        elif source is self._source:
            self._source = None
            if not (self.restart and isinstance(error, LinkLost)):
                self.stream.end(error)


class _Source:
    """The StreamSink of one call of the method."""

    def __init__(self, feed: StreamFeed) -> None:
        self._feed = feed
        self._stream: OpenStream | None = None

    def open(self, link: HubLink) -> None:
        self._stream = link.stream(self._feed.target, self._feed.arguments, self)

    def item(self, item: Any) -> None:
        self._feed.taken(self, item)

    def ended(self, error: Exception | None) -> None:
        self._feed.ended(self, error)

    def cancel(self) -> None:
        if self._stream is not None:
            self._stream.cancel()
