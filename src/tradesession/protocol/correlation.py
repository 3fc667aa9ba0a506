"""Matches answers with the requests that wait for them.

Pure. An answer is only what carries an id that is waited for: ids are unique across processes (a random prefix and a counter), as
servers also deliver events that carry the ids of other clients. What waits is any object: a future, or a list in a test.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

W = TypeVar("W")

REMEMBERED = 1024
"""Ids of given-up requests that are remembered, so that a late answer is told from a foreign one."""


class Correlator(Generic[W]):
    """The requests under way on one connection. `prefix` must be random and new for each connection (64 bits are plenty)."""

    __slots__ = ("_counter", "_given_up", "_prefix", "_waiting")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._counter = 0
        self._waiting: dict[str, W] = {}
        self._given_up: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def register(self, waiting: W) -> str:
        """A new id, under which `waiting` is found again."""
        self._counter += 1
        correlation_id = f"{self._prefix}{self._counter:x}"
        self._waiting[correlation_id] = waiting
        return correlation_id

    def resolve(self, correlation_id: str) -> W | None:
        """Who waits for this id, once; None for an id that nobody waits for (an event, a foreign id, a late answer)."""
        return self._waiting.pop(correlation_id, None)

    def give_up(self, correlation_id: str) -> None:
        """The request waits no longer; harmless when it was answered."""
        if self._waiting.pop(correlation_id, None) is not None:
            self._given_up[correlation_id] = None
            if len(self._given_up) > REMEMBERED:
                self._given_up.popitem(last=False)

    def is_late(self, correlation_id: str) -> bool:
        """Whether this id belongs to a request that has given up; true once."""
        if correlation_id in self._given_up:
            del self._given_up[correlation_id]
            return True
        return False

    def drain(self) -> list[W]:
        """Everything that still waits, in the order of sending; afterwards nothing does."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        return waiting
