"""Slots: how many calls may be under way at once on a connection that a server buffers (stateful reconnect).

Pure. ASP.NET Core reads nothing while a call waits for a slot on its side, and a call keeps its slot until its reply fits into the buffer,
which only an acknowledgement that it would have to read makes room in: two calls at the wrong moment, and it is deaf for ever (seen). So no
more calls leave than it runs at once, first come first served. What has no answer (a send, the opening of a stream) waits for a slot too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

Go: TypeAlias = Callable[[], object]
"""What is done when its turn has come. It must not raise."""


class Slots:
    """The slots of one connection; without a limit everybody goes at once."""

    __slots__ = ("_limit", "_line", "_taken")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._taken = 0
        self._line: deque[tuple[Go, bool]] = deque()

    def enter(self, go: Go, *, takes: bool) -> None:
        """Stand in line. Whoever takes a slot gives it back."""
        self._line.append((go, takes))
        self._move()

    def leave(self, go: Go) -> None:
        """Give up waiting; harmless when the turn has come."""
        for entry in self._line:
            if entry[0] == go:
                self._line.remove(entry)
                self._move()
                return

    def give_back(self) -> None:
        """A call is over."""
        self._taken -= 1
        self._move()

    def _move(self) -> None:
        while self._line and (self._limit is None or self._taken < self._limit):
            go, takes = self._line.popleft()
            self._taken += takes
            go()
