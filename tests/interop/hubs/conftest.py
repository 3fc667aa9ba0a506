"""Servers by make: what is expected of one is expected of all. A further make is a further entry in MAKES."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.interop.hubs.raw import RawHub
from tests.interop.hubs.servers import HUBPEER, HubServer, Servers

MAKES: Final[dict[str, Path]] = {"aspnetcore": HUBPEER}

QUICK: Final = ("--keepalive", "0.5", "--client-timeout", "1.5", "--handshake-timeout", "1")


@pytest.fixture(scope="session", params=MAKES)
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Servers of one make."""
    program = MAKES[request.param]
    if not program.exists():
        pytest.skip(f"{program.name} is not beside this checkout (../shared/peers)")
    servers = Servers(program)
    yield servers
    servers.stop()


@pytest.fixture
def server(servers: Servers) -> HubServer:
    """With its default options."""
    return servers.get()


@pytest.fixture
def quick_server(servers: Servers) -> HubServer:
    """With short timers."""
    return servers.get(*QUICK)


@pytest.fixture
def stateful_server(servers: Servers) -> HubServer:
    """Offers stateful reconnect."""
    return servers.get("--stateful", "--rate", "200")


@pytest.fixture
async def raw(server: HubServer) -> AsyncIterator[RawHub]:
    """A raw client of the default server, with a bearer."""
    async with RawHub(server, (await server.token()).reveal()) as hub:
        yield hub


@pytest.fixture
async def quick_raw(quick_server: HubServer) -> AsyncIterator[RawHub]:
    """A raw client of the one with short timers."""
    async with RawHub(quick_server, (await quick_server.token()).reveal()) as hub:
        yield hub


@pytest.fixture
async def stateful_raw(stateful_server: HubServer) -> AsyncIterator[RawHub]:
    """A raw client of the one with stateful reconnect."""
    async with RawHub(stateful_server, (await stateful_server.token()).reveal()) as hub:
        yield hub
