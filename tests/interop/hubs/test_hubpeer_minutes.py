"""A quiet connection in real time. Apart from the other tests of the hub server, so that they need not wait for it."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.interop.hubs.clients import hub_of
from tests.interop.hubs.servers import HubServer
from tradesession.session.states import SessionState


@pytest.mark.interop
@pytest.mark.timeout(300)
@pytest.mark.skipif("CI" not in os.environ, reason="takes two real minutes, which continuous integration has: set CI")
async def test_a_quiet_connection_stays_for_two_minutes(server: HubServer) -> None:
    async with hub_of(server) as hub:
        connection = hub.connection_id
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hub.closed(), 120)
        assert (hub.state, hub.connection_id) == (SessionState.READY, connection)
        assert await hub.invoke("Echo", 1) == 1
