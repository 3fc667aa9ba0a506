from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.interop.certificates import Files, make_certificate
from tests.interop.environments import Environment
from tradesession.sandbox import Sandbox

OFFICIAL_SDK = Environment(
    "official-sdk",
    # service-identity is what Twisted verifies host names with; the SDK, which verifies none, does not ask for it.
    ("ctrader-open-api==0.9.2", "service-identity"),
    ("3.11", "3.12", "3.13", "3.10"),
)
API_CLIENT = Environment("api-client", ("ctrader-api-client==0.12.0",), ("3.12", "3.13"))


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
