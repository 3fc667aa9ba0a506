"""How long to wait before the next attempt.

Pure: time and chance are parameters. The bound is tenacity's exponential one: it doubles from attempt to attempt up to a cap. The wait
is random below it, also at the cap, so that clients that were lost together do not come back together. Success counts only after a
while of it: a server that accepts and closes at once is met with the patience that it deserves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tenacity import RetryCallState, Retrying, wait_exponential

from tradesession import policy
from tradesession.errors import ConfigurationError

_NOBODY: Final = Retrying()
"""A strategy wants to know whose attempts it is asked about, and looks at their number only."""


class Backoff:
    """The waits of one link or one account, in seconds. `chance` gives a number in [0, 1)."""

    __slots__ = ("_attempts", "_bound", "_chance", "_ready_since", "_steady_after")

    def __init__(
        self,
        chance: Callable[[], float],
        *,
        base: float = policy.BACKOFF_BASE,
        cap: float = policy.BACKOFF_CAP,
        steady_after: float = policy.STEADY_AFTER,
    ) -> None:
        if not 0 < base <= cap:
            raise ConfigurationError(f"a backoff from {base:g} s up to {cap:g} s is none: the base must be above 0 and not above the cap")
        self._chance = chance
        self._bound = wait_exponential(multiplier=base, max=cap)
        self._attempts = RetryCallState(_NOBODY, None, (), {})
        self._attempts.attempt_number = 0
        self._steady_after = steady_after
        self._ready_since: float | None = None

    @property
    def failures(self) -> int:
        """Failed attempts and short-lived successes in a row."""
        return self._attempts.attempt_number

    def ready(self, now: float) -> None:
        """It works."""
        self._ready_since = now

    def failed(self, now: float) -> float:
        """It does not work (any more): the seconds to wait before the next attempt.

        Random between a quarter of the bound and the bound: the lower edge keeps an unlucky draw from hammering the server.
        """
        if self._ready_since is not None and now - self._ready_since >= self._steady_after:
            self._attempts.attempt_number = 0
        self._ready_since = None
        self._attempts.attempt_number += 1
        return self._bound(self._attempts) * (0.25 + 0.75 * self._chance())
