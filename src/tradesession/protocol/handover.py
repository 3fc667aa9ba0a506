"""Handover: from one connection's items to another's, with nothing lost, nothing twice, and everything in order.

Pure. The old connection goes on while the new one begins, so that for a while both bring the same items. Until the two are aligned (one
of them has brought an item that the other brought too) the old one's items are delivered and the new one's are held; from then on each
item is delivered when it comes first, from whichever side. Two items are the same when their keys are; those of equal keys are counted,
so that an item of one side hides one of the other. What always holds: if both sides bring parts of one sequence in its order, the old one
from the beginning, and the new one begins no later than right behind the old one's last, the outcome is that sequence. Where keys repeat,
that is so if the new one begins where the old one does; else an item may be lost for each that the old one brought before.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

SETTLED: Final = 64
"""Items in a row that only the new side brought, once the old one has ended, after which nothing can come twice any more."""

REMEMBERED: Final = 4096
"""Keys of delivered items that are remembered, and items of the new side that are held: seconds of a busy stream."""


class Handover(Generic[T]):
    """One stream between two connections. `last` are the items that were delivered just before; one is enough.

    `before` is the one by which the old side itself took over, where that is not over yet: it may still bring what came before it.
    """

    def __init__(self, key: Callable[[T], Hashable], last: Iterable[T] = (), before: Handover[T] | None = None) -> None:
        self.is_aligned = False
        """Whether the new side surely goes on where the old one is, so that the old one may go."""
        self.is_over = False
        """Whether nothing can come twice any more: the new side's items may go straight through."""
        self._key = key
        self._old_ended = False
        self._fresh = 0
        self._last = [key(item) for item in last]
        self._by_old = _Counts()  # what the new side has still to bring
        self._by_new = _Counts()  # what the old side has still to bring
        self._held: deque[tuple[Hashable, T]] = deque()
        self._held_keys = _Counts()
        self._before = before
        if before is not None:
            before._before = None  # its own old side brings nothing any more
        for known in self._last:
            self._by_old.add(known)

    @property
    def is_full(self) -> bool:
        """Whether so much is held that it is time to do without the old side."""
        return len(self._held) >= REMEMBERED

    def settle(self, before: Handover[T] | None) -> None:
        """That one was long ago: nothing of it can come twice any more."""
        if self._before is before:
            self._before = None

    def from_old(self, item: T) -> list[T]:
        """The items to deliver now that the old side brought this one."""
        if self._before is not None and not self._before.is_over and not self._before.from_new(item):
            return []
        key = self._key(item)
        if self.is_aligned:
            return self._once(key, item, mine=self._by_old, others=self._by_new)
        if key not in self._held_keys:
            self._by_old.add(key)
            return [item]
        while self._held.popleft()[0] != key:
            pass  # what the new side brought before it the old one has brought too, or it was older still
        return [item, *self._align()]

    def from_new(self, item: T) -> list[T]:
        """The items to deliver now that the new side brought this one."""
        key = self._key(item)
        if self.is_aligned:
            fresh = self._once(key, item, mine=self._by_new, others=self._by_old)
            self._fresh = self._fresh + 1 if fresh and self._old_ended else 0
            self.is_over = self._fresh >= SETTLED
            return fresh
        if not self._by_old.take(key):
            self._held.append((key, item))
            self._held_keys.add(key)
            return []
        self._held.clear()  # older than what the old side has brought
        return self._align()

    def end_old(self) -> list[T]:
        """The items to deliver now that the old side brings no more."""
        self._old_ended = True
        return self._align()

    def _align(self) -> list[T]:
        if not self.is_aligned:
            self.is_aligned = True
            for key in self._last:
                self._by_old.take(key)  # the new side is past it
        released = [item for _, item in self._held]
        for key, _ in self._held:
            self._by_new.add(key)
        self._held.clear()
        return released

    def _once(self, key: Hashable, item: T, *, mine: _Counts, others: _Counts) -> list[T]:
        if others.take(key):
            return []
        mine.add(key)
        return [item]


class _Counts(OrderedDict[Hashable, int]):
    """How many items of each key there are, of the latest keys."""

    def add(self, key: Hashable) -> None:
        """One more."""
        self[key] = self.get(key, 0) + 1
        if len(self) > REMEMBERED:
            self.popitem(last=False)

    def take(self, key: Hashable) -> bool:
        """One less, if there is one; whether there was."""
        count = self.get(key, 0)
        if count > 1:
            self[key] = count - 1
        elif count:
            del self[key]
        return count > 0
