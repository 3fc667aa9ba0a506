from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.interop.certificates import Files, make_certificate
from tests.interop.environments import API_CLIENT, OFFICIAL_SDK
from tradesession.sandbox import Sandbox


@pytest.fixture(scope="session")
def official_sdk() -> Path:
    """The Python of an environment with the official SDK."""
    return OFFICIAL_SDK.ensure()


@pytest.fixture(scope="session")
def api_client() -> Path:
    """The Python of an environment with ctrader-api-client."""
    return API_CLIENT.ensure()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as running:
        yield running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """For the foreign servers."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))
