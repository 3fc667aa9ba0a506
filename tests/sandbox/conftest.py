from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.raw_client import RawClient, Transport, connect
from tradesession.sandbox import Sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as running:
        yield running


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[RawClient]:
    """Connected to demo by TCP, and nothing more."""
    async with await connect(sandbox) as raw:
        yield raw


@pytest.fixture(params=["tcp", "websocket"])
async def either(sandbox: Sandbox, request: pytest.FixtureRequest) -> AsyncIterator[RawClient]:
    """Connected to demo, once by each transport."""
    transport: Transport = request.param
    async with await connect(sandbox, transport=transport) as raw:
        yield raw
