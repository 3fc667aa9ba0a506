"""Our client against a hub server, for long: sockets that break, servers that restart, bearers that end."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.interop.hubs.clients import hub_of, read_into
from tests.interop.hubs.raw import PATIENCE
from tests.interop.hubs.servers import HubServer, Servers
from tradesession import policy
from tradesession.errors import LinkLost
from tradesession.hooks import LinkLost as LinkLostRecord
from tradesession.hooks import Record, StateChanged
from tradesession.session.states import SessionState
from tradesession.session.streams import EventStream, Gap
from tradesession.signalr import CallLost, Hub

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("leaks")]

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def number(tick: dict[str, Any]) -> int:
    """Which item of the feed it is: its time is so many milliseconds after the start."""
    return round((dt.datetime.fromisoformat(tick["lastTime"]) - START) / dt.timedelta(milliseconds=1))


def time_of(tick: dict[str, Any]) -> Any:
    return tick["symbol"], tick["lastTime"]


def numbers(hub: Hub, symbol: str = "EURUSD", **options: Any) -> EventStream[Any]:
    """The live feed, as the numbers of its items."""
    return hub.stream("StreamTicks", symbol, restart=True, identity=time_of, read=number, overflow="must_deliver", **options)


async def ready_again(hub: Hub) -> None:
    """READY, once it was not any more."""
    async with asyncio.timeout(PATIENCE):
        async with hub.changes() as changes:
            async for change in changes:
                if change.after is SessionState.READY:
                    return


def lost(records: list[Record]) -> int:
    """How often a READY session lost its connection."""
    return sum(isinstance(record, LinkLostRecord) and record.during == "ready" for record in records)


# --- losses ---------------------------------------------------------------------------------------------------------------------------


async def test_a_broken_socket_fails_what_waits_and_everything_else_comes_back_behind_a_gap(server: HubServer) -> None:
    async with hub_of(server) as hub, hub.on("OnTick", gaps=True) as ticks, numbers(hub, gaps=True) as feed:
        await hub.subscribe("SubscribeToTicks", "GBPUSD")
        plain = hub.stream("StreamTicks", "USDJPY")
        first = await anext(feed)
        assert (await anext(ticks))["symbol"] == "GBPUSD"
        await anext(plain)
        call = asyncio.create_task(hub.invoke("Slow", 30_000))
        await hub.send("Echo", 1)
        before, back = hub.connection_id, asyncio.create_task(ready_again(hub))
        await asyncio.sleep(0)
        await server.drop()
        with pytest.raises(CallLost):
            await call
        with pytest.raises(LinkLost):
            await read_into([], plain)
        await back
        assert hub.connection_id != before
        while not isinstance(item := await anext(feed), Gap):
            assert item > first
        assert item.reason == "the connection was lost"
        assert await anext(feed) > first
        while not isinstance(event := await anext(ticks), Gap):
            assert event["symbol"] == "GBPUSD"
        assert (await anext(ticks))["symbol"] == "GBPUSD"


async def test_a_repeatable_call_is_sent_again_after_a_loss(server: HubServer) -> None:
    async with hub_of(server) as hub:
        call = asyncio.create_task(hub.invoke("Slow", 1500, repeatable=True))
        await hub.send("Echo", 1)
        await server.stats()  # by now the call has been read
        await server.drop()
        assert await call is None
        assert await hub.invoke("Echo", 1) == 1


async def test_a_subscription_that_was_closed_does_not_come_back(server: HubServer) -> None:
    async with hub_of(server) as hub, hub.on("OnTick") as ticks:
        async with await hub.subscribe("SubscribeToTicks", "EURUSD", undo="UnsubscribeFromTicks"):
            await hub.subscribe("SubscribeToTicks", "GBPUSD", undo="UnsubscribeFromTicks")
        back = asyncio.create_task(ready_again(hub))
        await asyncio.sleep(0)
        await server.drop()
        await back
        async with hub.on("OnTick") as fresh:
            assert {(await anext(fresh))["symbol"] for _ in range(5)} == {"GBPUSD"}
        assert ticks.statistics().received > 0


async def test_a_server_that_restarts_is_found_again(servers: Servers, server: HubServer) -> None:
    records: list[Record] = []
    async with hub_of(server, records=records) as hub, numbers(hub, gaps=True) as feed:
        await anext(feed)
        back = asyncio.create_task(ready_again(hub))
        await servers.restart(server)  # its keys are new, so the bearer is refused as well
        await back
        while not isinstance(await anext(feed), Gap):
            pass
        assert await anext(feed) < 1000
        assert await hub.invoke("Echo", 1) == 1
    assert lost(records) >= 1


# --- bearers that end -----------------------------------------------------------------------------------------------------------------


def consecutive(seen: list[int]) -> bool:
    return seen == list(range(seen[0], seen[0] + len(seen)))


async def test_twenty_renewals_under_a_steady_stream_lose_nothing_and_double_nothing(servers: Servers) -> None:
    server = await servers.get("--rate", "100")
    seen: dict[str, list[Any]] = {"streamed": [], "pushed": [], "every symbol": []}
    records: list[Record] = []
    async with hub_of(server, records=records) as hub:
        await hub.subscribe("SubscribeToTicks", "XAUUSD")
        await hub.subscribe("SubscribeToTicks", "GBPUSD")
        streams = {
            "streamed": numbers(hub),
            "pushed": hub.on("OnTick", identity=time_of, overflow="must_deliver"),
            "every symbol": hub.stream("StreamTicks", None, restart=True, identity=time_of, overflow="must_deliver"),
        }
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read_into(seen[name], stream)) for name, stream in streams.items()]
            connections = {hub.connection_id}
            for _ in range(20):
                await hub.renew()
                connections.add(hub.connection_id)
                assert await hub.invoke("Echo", 1) == 1
            await hub.renew()  # the last overlap is over when this one begins
            for stream in streams.values():
                await stream.aclose()
            await asyncio.wait(readers)
        assert len(connections) == 21
    assert len(seen["streamed"]) > 100
    assert consecutive(seen["streamed"])
    for symbol in ("XAUUSD", "GBPUSD"):
        assert consecutive([number(tick) for tick in seen["pushed"] if tick["symbol"] == symbol])
    assert consecutive([number(tick) for tick in seen["every symbol"] if tick["symbol"] == "USDJPY"])
    order = [(number(tick), tick["symbol"]) for tick in seen["every symbol"]]
    assert len(order) == len(set(order))
    assert lost(records) == 0


async def test_a_bearer_that_ends_is_replaced_in_time(ending_server: HubServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[Any] = []
    records: list[Record] = []
    async with hub_of(ending_server, records=records) as hub:
        feed = numbers(hub)
        reader = asyncio.create_task(read_into(seen, feed))
        connections: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while len(connections) < 3:
                if hub.connection_id not in connections:
                    connections.append(hub.connection_id)
                await hub.invoke("Slow", 20)
        await feed.aclose()
        await reader
    assert consecutive(seen)
    assert lost(records) == 0
    assert "Bearer " not in caplog.text
    assert "eyJ" not in caplog.text  # as every JWT begins


async def test_a_server_that_closes_at_expiry_is_connected_to_again_with_a_new_bearer(ending_server: HubServer) -> None:
    records: list[Record] = []
    async with hub_of(ending_server, records=records, renew=False) as hub, numbers(hub, gaps=True) as feed:
        await anext(feed)
        back = asyncio.create_task(ready_again(hub))
        await back
        while not isinstance(await anext(feed), Gap):
            pass
        assert isinstance(await anext(feed), int)
    (loss,) = [record for record in records if isinstance(record, LinkLostRecord)][:1]
    assert "this client may come back" in loss.cause


async def test_calls_and_streams_that_cannot_be_restarted_end_on_the_connection_on_which_they_began(server: HubServer) -> None:
    may_end = asyncio.Event()

    async def items(*values: Any) -> AsyncIterator[Any]:
        yield values[0]
        await may_end.wait()
        for value in values[1:]:
            yield value

    async with hub_of(server) as hub:
        stream = hub.stream("Mirror", items("a", "b", "c"))
        call = asyncio.create_task(hub.invoke("Sum", items(1, 2, 3)))
        assert await anext(stream) == "a"
        await hub.renew()
        assert await hub.invoke("Echo", 1) == 1
        assert not call.done()
        may_end.set()
        assert await call == 6
        assert [item async for item in stream] == ["b", "c"]


# --- stateful reconnect ---------------------------------------------------------------------------------------------------------------


async def test_twenty_cut_sockets_cost_nothing_where_the_connection_is_stateful(
    stateful_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "HUB_RESUME_PAUSE_LIMIT", 0.2)  # twenty cuts in a row are made on purpose here
    seen: dict[str, list[Any]] = {"streamed": [], "pushed": [], "counted": []}
    records: list[Record] = []
    async with hub_of(stateful_server, records=records) as hub:
        await hub.subscribe("SubscribeToTicks", "GBPUSD")
        streams = {
            "streamed": hub.stream("StreamTicks", "EURUSD", read=number, overflow="must_deliver"),
            "pushed": hub.on("OnTick", read=number, overflow="must_deliver"),
            "counted": hub.stream("Count", 1_000_000, 5, -1, overflow="must_deliver"),
        }
        connection = hub.connection_id
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read_into(seen[name], stream)) for name, stream in streams.items()]
            for cut in range(20):
                calls = [asyncio.create_task(hub.invoke("Echo", (cut, call))) for call in range(5)]
                await asyncio.sleep(0)
                await stateful_server.drop()
                assert await asyncio.gather(*calls) == [[cut, call] for call in range(5)]
            async with asyncio.timeout(PATIENCE):
                while min(map(len, seen.values())) < 50:
                    await asyncio.sleep(0.01)
            for stream in streams.values():
                await stream.aclose()
            await asyncio.wait(readers)
        assert hub.connection_id == connection
    for name, items in seen.items():
        assert consecutive(items), name
    assert seen["counted"][0] == 0
    assert lost(records) == 0
    assert [record.after for record in records if isinstance(record, StateChanged)][:4] == [
        "CONNECTING",
        "HANDSHAKING",
        "RESTORING",
        "READY",
    ]


async def test_a_stateful_burst_is_acknowledged_as_it_comes(stateful_server: HubServer) -> None:
    async with hub_of(stateful_server) as hub:
        began = asyncio.get_running_loop().time()
        burst = hub.stream("Burst", 50_000, limit=60_000, overflow="must_deliver")
        assert len([item async for item in burst]) == 50_000  # 6 MB, of which the server keeps 100 kB: a minute with one a second
        assert asyncio.get_running_loop().time() - began < 40


async def everything_read(hub: Hub) -> None:
    """The server has acknowledged all that it was sent."""
    link = hub._hub_line.link
    assert link is not None
    replay = link.wire.machine.replay
    assert replay is not None
    async with asyncio.timeout(PATIENCE):
        while replay.buffered:
            await asyncio.sleep(0.01)


async def test_a_stateful_upload_survives_cuts(stateful_server: HubServer) -> None:
    async def items() -> AsyncIterator[int]:
        for item in range(900):
            if item % 300 == 150:
                await everything_read(hub)  # a record that is cut in two ends the connection: this server joins its parts with what follows
                await stateful_server.drop()
            yield item

    async with hub_of(stateful_server) as hub:
        assert await hub.invoke("Sum", items(), timeout=60) == sum(range(900))


async def test_a_connection_that_the_server_forgot_is_made_anew(servers: Servers, stateful_server: HubServer) -> None:
    records: list[Record] = []
    async with hub_of(stateful_server, records=records) as hub:
        back = asyncio.create_task(ready_again(hub))
        await servers.restart(stateful_server)
        await back
        assert await hub.invoke("Echo", 1) == 1
    assert lost(records) == 1
