"""Servers by make: what is expected of one is expected of all. A further make is a further entry in MAKES."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.interop.hubs.raw import RawHub
from tests.interop.hubs.servers import HUBPEER, SANDBOX, HubServer, Servers
from tradesession import policy

MAKES: Final[dict[str, tuple[str | Path, ...]]] = {"aspnetcore": (HUBPEER,), "sandbox": (sys.executable, SANDBOX)}

HERE: Final = Path(__file__).parent

QUICK: Final = ("--keepalive", "0.5", "--client-timeout", "2")


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of one make share a worker, and thereby its servers; those that take minutes are apart."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent == HERE and item.path.name != "test_hubpeer_minutes.py":
            make = item.callspec.params.get("servers", "") if hasattr(item, "callspec") else ""
            item.add_marker(pytest.mark.xdist_group(f"hubs of {make}" if make else "hubs"))


@pytest.fixture(scope="session", params=[pytest.param(make, marks=() if make == "sandbox" else pytest.mark.interop) for make in MAKES])
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Servers of one make."""
    program = MAKES[request.param]
    if not Path(program[-1]).exists():
        pytest.skip(f"{Path(program[-1]).name} is not beside this checkout (../shared/peers)")
    servers = Servers(*program)
    yield servers
    servers.stop()


@pytest.fixture
async def server(servers: Servers) -> HubServer:
    """With its default options."""
    return await servers.get()


@pytest.fixture
async def refusing_server(servers: Servers) -> HubServer:
    """One for connections that the hub refuses: the ASP.NET Core one counts them as open for ever, and its levers fail at them."""
    return await servers.get("--seed", "2", vacant=False)


@pytest.fixture
async def quick_server(servers: Servers) -> HubServer:
    """One that pings often, and soon gives up a client that stops."""
    return await servers.get(*QUICK)


@pytest.fixture
async def stateful_server(servers: Servers) -> HubServer:
    """Offers stateful reconnect."""
    return await servers.get("--stateful", "--rate", "50")


@pytest.fixture
async def ending_server(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """Closes connections when their bearer ends, after six seconds; ours is replaced long before, as a busy machine needs time for it."""
    monkeypatch.setattr(policy, "HUB_RENEW_AHEAD_SHARE", 0.6)
    return await servers.get("--token-life", "6", "--close-at-expiry", "--rate", "100")


@pytest.fixture
async def raw(server: HubServer) -> AsyncIterator[RawHub]:
    """A raw client of the default server, with a bearer."""
    async with RawHub(server, (await server.token()).reveal()) as hub:
        yield hub


@pytest.fixture
async def quick_raw(quick_server: HubServer) -> AsyncIterator[RawHub]:
    """A raw client of the one that pings often."""
    async with RawHub(quick_server, (await quick_server.token()).reveal()) as hub:
        yield hub


@pytest.fixture
async def stateful_raw(stateful_server: HubServer) -> AsyncIterator[RawHub]:
    """A raw client of the one with stateful reconnect."""
    async with RawHub(stateful_server, (await stateful_server.token()).reveal()) as hub:
        yield hub
