"""Endpoint, nursery and store, each in a process of its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.tokens.processes import Endpoint, Nursery
from tests.stores.engines import SHARED, Engine, running

_ENGINES = [pytest.param(name, marks=[pytest.mark.services] if name != "sqlite" else []) for name in SHARED]


@pytest.fixture(params=_ENGINES)
async def engine(request: Any, tmp_path: Path) -> AsyncIterator[Engine]:
    async with running(request.param, tmp_path) as engine:
        yield engine


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with Endpoint.running() as endpoint:
        yield endpoint


@pytest.fixture
async def nursery(endpoint: Endpoint) -> AsyncIterator[Nursery]:
    async with Nursery.running(endpoint) as nursery:
        yield nursery
