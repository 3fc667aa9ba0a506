"""Whole CPlugin sessions on a hub server: every stream and event of the three hubs, bearers that end, sockets that break, REST."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

import tradesession
from tests.cplugin.test_hubs import tabled
from tests.interop.hubs.raw import PATIENCE
from tests.interop.hubs.servers import HubServer
from tradesession import cplugin
from tradesession.cplugin.tables import Streaming
from tradesession.errors import LinkLost
from tradesession.session.streams import EventStream, Gap
from tradesession.signalr import HubError

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("leaks")]

START = datetime(2026, 1, 1, tzinfo=UTC)
HUBS = ("mt4-v1", "mt4-v2", "mt5-v2")


def config(server: HubServer, hub: Any = "mt4-v2", **options: Any) -> cplugin.Config:
    facts = server.facts
    given = {name: facts[name] for name in ("base_url", "authority", "client_id", "client_secret")}
    platform = facts["mt5_platform" if hub == "mt5-v2" else "mt4_platform"]
    return cplugin.Config(**(given | {"trade_platform": platform, "hub": hub} | options))


async def the_next(stream: EventStream[Any]) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await anext(stream)


@pytest.mark.parametrize("skip_negotiation", [False, True])
@pytest.mark.parametrize("place", ["header", "access_token", "signalr_token"])
async def test_a_session_comes_up_in_every_way(server: HubServer, place: Any, skip_negotiation: bool) -> None:
    async with tradesession.connect(config(server, bearer_in=place, skip_negotiation=skip_negotiation)) as session:
        assert await session.hub.invoke("WhoAmI") == server.facts["client_id"]
        assert (await the_next(session.hub.on_connection_status())).connected
        assert await session.rest.ping() is True
        assert server.facts["mt5_platform"] in [platform.id for platform in await session.rest.trade_platforms()]
        assert (await session.rest.call("GET", "/api/v2/MT4/{tradePlatform}/ServerTime")).activity_id


@pytest.mark.parametrize(("hub", "name", "entry"), tabled(Streaming))
async def test_every_stream_brings_whole_records(server: HubServer, hub: str, name: str, entry: Streaming[Any]) -> None:
    async with tradesession.connect(config(server, hub)) as session, getattr(session.hub, name)() as stream:
        for _ in range(3):
            record = await the_next(stream)
            assert type(record) is entry.record
            missing = [field for field, value in vars(record).items() if value is None]
            assert not missing


async def test_every_symbol_at_once(server: HubServer) -> None:
    async with tradesession.connect(config(server)) as session, session.mt4.stream_ticks() as ticks:
        assert len({(await the_next(ticks)).symbol for _ in range(8)}) >= 4


@pytest.mark.parametrize("hub", HUBS)
async def test_subscribed_ticks_come_on_every_hub_and_come_back(server: HubServer, hub: str) -> None:
    async with tradesession.connect(config(server, hub)) as session, session.hub.ticks("EURUSD", "GBPUSD", gaps=True) as ticks:
        assert len({(await the_next(ticks)).symbol for _ in range(4)}) == 2
        await server.drop()
        while not isinstance(await the_next(ticks), Gap):
            pass
        assert (await the_next(ticks)).bid > 0


async def test_what_the_hub_refuses_is_told(server: HubServer) -> None:
    async with tradesession.connect(config(server)) as session:
        with pytest.raises(HubError, match="NOSUCH"):
            await anext(session.hub.ticks("NOSUCH"))
        with pytest.raises(HubError, match="Method does not exist"):
            await session.hub.invoke("NoSuch")


async def test_a_foreign_trade_platform_ends_it(refusing_server: HubServer) -> None:
    async def opened() -> None:
        async with tradesession.connect(config(refusing_server, trade_platform="00000000-0000-4000-8000-000000000000")) as session:
            await asyncio.wait_for(session.closed(), PATIENCE)
            await session.ready()

    with pytest.raises(LinkLost, match="unknown"):
        await opened()


async def test_revoked_bearers_are_renewed(server: HubServer) -> None:
    async with tradesession.connect(config(server)) as session:
        await server.revoke()
        assert await session.rest.ping() is True
        await session.renew()
        assert await session.hub.invoke("Echo", 1) == 1


async def test_renewals_lose_nothing_where_the_server_closes_at_the_end(ending_server: HubServer) -> None:
    async with tradesession.connect(config(ending_server)) as session:
        numbers: list[int] = []
        async with session.mt4.stream_ticks("EURUSD", gaps=True) as ticks:
            while session.renewals < 3 or len(numbers) < 500:
                tick = await the_next(ticks)
                assert isinstance(tick, cplugin.Tick), tick
                assert tick.last_time is not None
                numbers.append(round((tick.last_time - START).total_seconds() * 1000))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
