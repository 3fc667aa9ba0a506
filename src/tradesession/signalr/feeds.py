"""Feeds: what brings events into a stream, from one connection, or from two while one takes over from the other.

May not wait, and knows no sockets. Always holds: a stream hears of its connection's replacement only where something was missed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, TypeAlias

from tradesession.errors import InvalidRequest, LinkLost
from tradesession.protocol.signalr.handover import Handover
from tradesession.session.streams import EventStream, Gap
from tradesession.signalr.link import HubLink

Key: TypeAlias = Callable[[Any], Hashable]
"""Tells two events apart: those with the same key are the same event, come over two connections."""


_NOTHING: Final = object()


def by_value(event: object) -> Hashable:
    """The key of events that bring none of their own: all that they hold."""
    return repr(event)


class Feed:
    """Into one stream. `key` finds, in a replacement, the events that came over both connections."""

    def __init__(self, stream: EventStream[Any], key: Key | None) -> None:
        self.stream = stream
        self._key = key or by_value
        self._last: Any = _NOTHING
        self._handover: Handover[Any] | None = None

    @property
    def is_aligned(self) -> bool:
        """Whether the old connection is not needed any more for this stream."""
        return self._handover is None or self._handover.is_aligned

    def take(self, event: Any, *, is_old: bool) -> None:
        """An event from the connection, or from the one that is being replaced."""
        between = self._handover
        if between is None:
            if not is_old:
                self._put(event)
            return
        for one in between.from_old(event) if is_old else between.from_new(event):
            self._put(one)
        if between.is_full:
            self.end_old()
        if between.is_over:
            self._handover = None

    def begin_handover(self) -> None:
        """From now on another connection brings the events as well."""
        self._handover = Handover(self._key, () if self._last is _NOTHING else (self._last,))

    def end_old(self, gap: Gap | None = None) -> None:
        """The old connection brings no more. `gap` is to be told if it ended before it was clear that nothing was missed."""
        between = self._handover
        if between is None:
            return
        if gap is not None and not between.is_aligned:
            self.stream.put_gap(gap)
        for one in between.end_old():
            self._put(one)

    def detach(self) -> None:
        """There is no connection any more."""
        self._handover = None

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
        """Call the method on this connection. What cannot travel ends the stream; raises NotSent when the connection has ended."""
        try:
            self._source = _Source(self, link)
        except InvalidRequest as error:
            self.stream.end(error)

    def hand_over(self, link: HubLink) -> None:
        """Call it on another connection as well, and let that one take over. Raises NotSent, and all is as it was."""
        coming = _Source(self, link)
        self.begin_handover()
        self._old, self._source = self._source, coming

    def let_go(self) -> None:
        """The old connection's stream is not needed any more."""
        old, self._old = self._old, None
        if old is not None:
            old.cancel()
        self.end_old()

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
        """An item came."""
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

    def __init__(self, feed: StreamFeed, link: HubLink) -> None:
        self._feed = feed
        self._link = link
        self._invocation_id = link.stream(feed.target, feed.arguments, self)

    def item(self, item: Any) -> None:
        self._feed.taken(self, item)

    def ended(self, error: Exception | None) -> None:
        self._feed.ended(self, error)

    def cancel(self) -> None:
        self._link.cancel(self._invocation_id)
