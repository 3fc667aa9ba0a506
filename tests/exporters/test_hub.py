"""The records of a hub's session, played against a server that answers what it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tradesession import signalr
from tradesession.hooks import Heartbeat, LinkLost, NotRestored, Record, Recovered, RequestTimed, StateChanged, StepTimed, Unclassified
from tradesession.timing import AdjustableClock

END = "\x1e"
SOURCE = "hub /ticks"


class OneHub:
    """The least of a hub: handshake, one answer for every call, and whatever is to be said first."""

    def __init__(self) -> None:
        self.error = ""
        self.greeting: list[dict[str, Any]] = []
        self.sockets: list[ServerConnection] = []
        self.pings = 0

    async def __call__(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        try:
            async for message in socket:
                for text in str(message).split(END)[:-1]:
                    for answer in self.answers(json.loads(text)):
                        await socket.send(json.dumps(answer) + END)
        except ConnectionClosed:
            return

    def answers(self, record: dict[str, Any]) -> list[dict[str, Any]]:
        if "protocol" in record:
            return [{}, *self.greeting]
        self.pings += record["type"] == 6
        if record["type"] != 1:
            return []
        outcome = {"error": self.error} if self.error else {"result": 1}
        return [{"type": 3, "invocationId": record["invocationId"], **outcome}]


@pytest.fixture
def peer() -> OneHub:
    return OneHub()


@asynccontextmanager
async def connected(peer: OneHub, records: list[Record]) -> AsyncIterator[tuple[signalr.Hub, AdjustableClock]]:
    clock = AdjustableClock()
    async with serve(peer, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        config = signalr.Config(f"http://127.0.0.1:{port}/ticks", negotiate=False, server_timeout=60.0, clock=clock)
        async with signalr.connect(config, hooks=[records.append]) as hub:
            yield hub, clock


async def test_a_hubs_way_up_its_calls_and_its_end_are_told_under_its_name(peer: OneHub) -> None:
    records: list[Record] = []
    async with connected(peer, records) as (hub, _):
        assert await hub.invoke("Echo", 1) == 1
        peer.error = "no"
        with pytest.raises(signalr.HubError):
            await hub.invoke("Refuse")
    assert [record.step for record in records if isinstance(record, StepTimed)] == ["connect", "handshake", "restore"]
    timed = [(record.request, record.outcome) for record in records if isinstance(record, RequestTimed)]
    assert timed == [("Echo", "reply"), ("Refuse", "HubError")]
    states = [record.after for record in records if isinstance(record, StateChanged)]
    assert states == ["CONNECTING", "HANDSHAKING", "RESTORING", "READY", "CLOSING", "CLOSED"]
    assert {record.source for record in records} == {SOURCE}


async def test_pings_are_heartbeats(peer: OneHub) -> None:
    records: list[Record] = []
    async with connected(peer, records) as (_, clock):
        await clock.advance(46)
    beats = [record for record in records if isinstance(record, Heartbeat)]
    assert len(beats) == 3
    assert [round(record.silence) for record in beats] == [15, 30, 45]


async def test_a_loss_and_what_does_not_come_back_after_it_are_told(peer: OneHub) -> None:
    records: list[Record] = []
    async with connected(peer, records) as (hub, clock):
        await hub.subscribe("SubscribeToTicks", "EURUSD")
        peer.error = "no such symbol any more"
        peer.sockets[0].transport.abort()
        async with asyncio.timeout(60):
            while not any(isinstance(record, Recovered) for record in records):
                await clock.advance(1)
    (lost,) = [record for record in records if isinstance(record, LinkLost)]
    assert lost.during == "ready"
    assert len([record for record in records if isinstance(record, Recovered)]) == 1
    (missing,) = [record for record in records if isinstance(record, NotRestored)]
    assert (missing.source, missing.what, missing.failures) == (SOURCE, "SubscribeToTicks", 1)
    assert "no such symbol any more" in missing.cause


async def test_what_nobody_knows_is_told_once(peer: OneHub) -> None:
    peer.greeting = [{"type": 99}, {"type": 99}]
    records: list[Record] = []
    async with connected(peer, records) as (hub, _):
        await hub.invoke("Echo")
    assert len([record for record in records if isinstance(record, Unclassified)]) == 1
