"""Where one direction of a connection is cut: after so many bytes.

Pure. Always holds: the bytes before the cut pass unchanged, and none behind it.
"""

from __future__ import annotations

from collections.abc import Callable


class Cut:
    """Counts the bytes of one direction. `switch` says where every connection is cut, unless `after` says it for this one."""

    def __init__(self, switch: Callable[[], int | None]) -> None:
        self._switch = switch
        self.passed = 0
        """Bytes so far."""
        self._at: int | None = None

    def after(self, count: int) -> None:
        """Cut when that many more bytes have passed."""
        self._at = self.passed + count

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """What still passes of these bytes, and whether the connection is to be cut behind it."""
        limit = self._at if self._at is not None else self._switch()
        is_reached = limit is not None and self.passed + len(data) >= limit
        if limit is not None:
            data = data[: max(0, limit - self.passed)]
        self.passed += len(data)
        return data, is_reached
