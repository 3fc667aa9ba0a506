"""Every test with the argument `store` or `engine` runs on all four engines."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.stores.engines import NAMES, Engine, running
from tradesession.tokens.store import TokenStore

_SERVICES = [pytest.mark.services]
_ENGINES = [pytest.param(name, marks=_SERVICES if name in ("postgresql", "redis") else []) for name in NAMES]


@pytest.fixture(params=_ENGINES)
async def engine(request: Any, tmp_path: Path) -> AsyncIterator[Engine]:
    async with running(request.param, tmp_path) as engine:
        yield engine


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[TokenStore]:
    async with engine.open() as store:
        yield store
