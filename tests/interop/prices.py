"""What a sensible quote is, whoever reports it."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

EURUSD = (Decimal("0.9"), Decimal("1.3"))
"""Between these two the sandbox's EURUSD stays within a test."""


def check_quotes(quotes: list[dict[str, Any]], *, scale: int = 0) -> None:
    """Prices of EURUSD as integers of 10^-scale: each with a side at least, in bounds, bid below ask, told just now, and moving."""
    assert len(quotes) >= 3
    last: dict[str, Decimal] = {}
    seen = []
    for quote in quotes:
        sides: dict[str, Decimal] = {side: Decimal(quote[side]).scaleb(-scale) for side in ("bid", "ask") if side in quote}
        assert sides, f"a quote without a price: {quote}"
        last |= sides
        assert all(EURUSD[0] < price < EURUSD[1] for price in sides.values()), quote
        assert len(last) < 2 or last["bid"] < last["ask"], quote
        assert abs(quote["timestamp"] - time.time()) < 60
        seen.append(tuple(last.items()))
    assert len(set(seen)) > 1, f"the prices stand still: {seen}"
