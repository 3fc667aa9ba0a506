"""The clock of a test, let go of at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.leaks import Leaks
from tradesession.timing import AdjustableClock


@pytest.fixture
async def clock(leaks: Leaks) -> AsyncIterator[AdjustableClock]:
    """Pushed by the test. Timers that were taken back hold what they would have called until their time has come."""
    clock = AdjustableClock()
    yield clock
    await clock.advance(days=2)
