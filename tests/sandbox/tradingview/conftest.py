from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.tradingview.broker import Broker
from tradesession.sandbox import Sandbox


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """A client without a token."""
    async with Sandbox(seed=1) as sandbox, Broker(sandbox) as client:
        yield client


@pytest.fixture
async def known(broker: Broker) -> Broker:
    """A client that has logged in."""
    await broker.log_in()
    return broker
