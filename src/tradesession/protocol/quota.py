"""How many requests may leave in a second.

Pure. A token bucket that hands out departure times: `reserve` says how long to wait, first come first served. Whether the server
counts in fixed or sliding windows is unknown, so the bucket is shaped to keep every sliding second below rate + burst.
"""

from __future__ import annotations

from tradesession.errors import ConfigurationError

_ROUNDING = 1e-6  # seconds that the arithmetic may be wrong by; whoever may leave now shall not need a timer for it


class TokenBucket:
    """`rate` requests a second, of which `burst` may leave at once after a pause. Times are monotonic seconds."""

    __slots__ = ("_burst", "_full_at", "_interval")

    def __init__(self, rate: float, burst: int) -> None:
        if rate <= 0 or burst < 1:
            raise ConfigurationError(f"a quota of rate={rate:g} a second and burst={burst} lets nothing pass; both must be positive")
        self._interval = 1.0 / rate
        self._burst = burst
        self._full_at = float("-inf")  # when every permit will be back

    def reserve(self, now: float, at_most: float = float("inf")) -> float:
        """Take the next permit; seconds to wait before using it, 0 for at once.

        A wait of more than `at_most` seconds is told and not taken. A permit that is not used in the end is not given back: those
        behind it have their times already.
        """
        full_at = max(self._full_at, now) + self._interval
        wait = full_at - self._burst * self._interval - now
        if wait < _ROUNDING:
            wait = 0.0
        if wait <= at_most:
            self._full_at = full_at
        return wait
