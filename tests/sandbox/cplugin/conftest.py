from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.interop.hubs.raw import RawHub
from tests.interop.hubs.servers import HubServer
from tradesession.sandbox import Sandbox
from tradesession.sandbox.cplugin import PATHS, CPluginSandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1, plain=True) as running:
        running.cplugin.feed.pause()  # ticks come by `tick()`
        yield running


@pytest.fixture
def server(sandbox: Sandbox) -> CPluginSandbox:
    return sandbox.cplugin


@pytest.fixture
async def raw(server: CPluginSandbox) -> AsyncIterator[RawHub]:
    """A client that does as it is told, on the port without TLS, with a good bearer."""
    platforms = {f"{platform.kind.lower()}_platform": platform.id for platform in server.platforms}
    async with RawHub(HubServer({"base_url": server.plain_url, "hubs": PATHS, **platforms}), server.issue()) as hub:
        yield hub
