"""Endpoint, nursery and store, each in a process of its own, shared by the tests of a module; each test has a slot of its own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.tokens.processes import Endpoint, Nursery
from tests.stores.engines import SHARED, Engine, running
from tradesession.tokens.token import Slot

_ENGINES = [pytest.param(name, marks=[pytest.mark.services] if name != "sqlite" else []) for name in SHARED]


@pytest_asyncio.fixture(params=_ENGINES, scope="module", loop_scope="module")
async def engine(request: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with running(request.param, tmp_path_factory.mktemp("store")) as engine:
        yield engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoint() -> AsyncIterator[Endpoint]:
    async with Endpoint.running() as endpoint:
        yield endpoint


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery(endpoint: Endpoint) -> AsyncIterator[Nursery]:
    async with Nursery.running(endpoint) as nursery:
        yield nursery


@pytest.fixture
def slot(request: pytest.FixtureRequest) -> Slot:
    return Slot("ctrader", "demo", "client", request.node.name)
