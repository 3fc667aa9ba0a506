"""Entries of a hub's table: one for each streaming method and each event, which know their name on the wire and their kind of record.

Pure: an entry opens nothing itself. What always holds: an editor knows what a stream brings, with gaps and without.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, Literal, Protocol, Self, TypeAlias, TypeVar, overload

from tradesession import policy
from tradesession.cplugin.records import Record
from tradesession.session.streams import EventStream, Gap, Overflow

R = TypeVar("R", bound=Record)

Key: TypeAlias = Callable[[Any], Hashable]
Items: TypeAlias = Callable[[Any], Iterable[Any]]
"""The objects in one call of the hub: none, one or several."""


class Table(Protocol):
    """A hub, as its entries see it. Options are those of an EventStream."""

    def _of_symbol(self, symbol: str | None) -> tuple[Any, ...]:
        """The arguments for one symbol, or for every one."""

    def _streamed(self, method: str, arguments: tuple[Any, ...], record: type[Record], options: dict[str, Any]) -> EventStream[Any]:
        """Open a stream of a streaming method."""

    def _pushed(self, sources: list[tuple[str, Items]], record: type[Record], options: dict[str, Any]) -> EventStream[Any]:
        """Open a stream of what the hub calls on its clients."""


def payload(event: Any) -> Any:
    """The object of an event; of v1, which has the trade platform before it, the last argument."""
    return event[-1] if isinstance(event, tuple) and event else event


class Opener(Generic[R]):
    """What opens one stream: `open(arguments, options)`."""

    def __init__(self, record: type[R], open: Callable[[tuple[Any, ...], dict[str, Any]], EventStream[Any]]) -> None:  # noqa: A002
        self._record = record
        self._open = open

    @overload
    def __call__(
        self,
        *,
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Key | None = None,
        gaps: Literal[False] = False,
    ) -> EventStream[R]: ...
    @overload
    def __call__(
        self, *, limit: int = policy.EVENT_QUEUE, overflow: Overflow = "drop_oldest", key: Key | None = None, gaps: bool
    ) -> EventStream[R | Gap]: ...
    def __call__(self, **options: Any) -> EventStream[Any]:
        """Open it. `limit`, `overflow`, `key` and `gaps` as for an EventStream."""
        return self._open((), options)


class SymbolOpener(Opener[R]):
    """What opens one stream of a symbol, or of every one."""

    @overload
    def __call__(
        self,
        symbol: str | None = None,
        *,
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Key | None = None,
        gaps: Literal[False] = False,
    ) -> EventStream[R]: ...
    @overload
    def __call__(
        self,
        symbol: str | None = None,
        *,
        limit: int = policy.EVENT_QUEUE,
        overflow: Overflow = "drop_oldest",
        key: Key | None = None,
        gaps: bool,
    ) -> EventStream[R | Gap]: ...
    def __call__(self, symbol: str | None = None, **options: Any) -> EventStream[Any]:
        """Open it for one symbol, or for every one. `limit`, `overflow`, `key` and `gaps` as for an EventStream."""
        return self._open((symbol,), options)


class Streaming(Generic[R]):
    """A streaming method of a hub without arguments, and what its items are."""

    def __init__(self, method: str, record: type[R]) -> None:
        self.method = method
        self.record = record

    @overload
    def __get__(self, hub: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, hub: Table, owner: type[Any]) -> Opener[R]: ...
    def __get__(self, hub: Table | None, owner: type[Any]) -> Self | Opener[R]:
        return self if hub is None else Opener(self.record, lambda _, options: hub._streamed(self.method, (), self.record, options))


class SymbolStreaming(Streaming[R]):
    """One that takes a symbol."""

    @overload
    def __get__(self, hub: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, hub: Table, owner: type[Any]) -> SymbolOpener[R]: ...
    def __get__(self, hub: Table | None, owner: type[Any]) -> Self | SymbolOpener[R]:
        if hub is None:
            return self
        return SymbolOpener(
            self.record, lambda symbols, options: hub._streamed(self.method, hub._of_symbol(*symbols), self.record, options)
        )


class Pushed(Generic[R]):
    """What a hub calls on its clients, and what it brings. `field` holds several of them in one call."""

    def __init__(self, target: str, record: type[R], field: str = "") -> None:
        self.target = target
        self.record = record
        self.field = field

    @overload
    def __get__(self, hub: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, hub: Table, owner: type[Any]) -> Opener[R]: ...
    def __get__(self, hub: Table | None, owner: type[Any]) -> Self | Opener[R]:
        if hub is None:
            return self
        return Opener(self.record, lambda _, options: hub._pushed([(self.target, self.items)], self.record, options))

    def items(self, event: Any) -> Iterable[Any]:
        """The objects in one call."""
        brought = payload(event)
        if not self.field:
            return (brought,)
        several = brought.get(self.field) if isinstance(brought, dict) else None
        if not isinstance(several, list):
            return ()
        common = {name: value for name, value in brought.items() if name != self.field}  # the symbol
        return [common | one for one in several if isinstance(one, dict)]
