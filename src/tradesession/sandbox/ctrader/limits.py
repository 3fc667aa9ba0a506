"""Rate limits of one connection: how many requests a second, and which payload types are blocked until when.

Pure. Counts every request in a sliding second, also the refused ones' payload type block; heartbeats are not requests.
Facts: section 4.
"""

from __future__ import annotations

import math
from collections import deque

from tradesession.sandbox.ctrader.refusal import Refusal
from tradesession.sandbox.ctrader.settings import Settings


class Limiter:
    """Asked once for each request of its connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ordinary: deque[float] = deque()
        self._historical: deque[float] = deque()
        self._blocked: dict[int, float] = {}

    def block(self, payload_type: int, until: float) -> None:
        """Refuse that payload type until the given time."""
        self._blocked[payload_type] = until

    def admit(self, payload_type: int, now: float) -> None:
        """Count the request, or raise the Refusal that answers it; a refused request is not counted."""
        until = self._blocked.get(payload_type, now)
        if until > now:
            raise self._blocked_refusal(until - now)
        historical = payload_type in self._settings.historical
        times = self._historical if historical else self._ordinary
        limit = self._settings.historical_per_second if historical else self._settings.requests_per_second
        while times and times[0] <= now - 1.0:
            times.popleft()
        if len(times) >= limit:
            raise self._exceeded(payload_type, now)
        times.append(now)

    def _exceeded(self, payload_type: int, now: float) -> Refusal:
        if self._settings.rate_limit_code == "REQUEST_FREQUENCY_EXCEEDED":
            return Refusal("REQUEST_FREQUENCY_EXCEEDED", "You have reached the request rate limit", account_id=0)
        self.block(payload_type, now + self._settings.retry_after)
        return self._blocked_refusal(self._settings.retry_after)

    @staticmethod
    def _blocked_refusal(seconds: float) -> Refusal:
        return Refusal("BLOCKED_PAYLOAD_TYPE", "The payload type is rate limited", retry_after=max(1, math.ceil(seconds)))
