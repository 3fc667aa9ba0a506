from __future__ import annotations

import pytest

from tests.sandbox.raw_client import RawClient, TcpClient, causes, connect
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox


async def test_an_unauthenticated_connection_is_closed_after_thirty_seconds_even_when_it_sends_heartbeats(
    sandbox: Sandbox, either: RawClient
) -> None:
    for _ in range(2):
        await either.send(pb.ProtoHeartbeatEvent())
        await sandbox.clock.advance(14)
    assert await either.is_alive()
    await sandbox.clock.advance(2)
    assert await either.wait_closed() in ("", "1000 Bye")
    assert await causes(sandbox) == ["not authenticated in time"]


async def test_a_connection_that_says_nothing_at_all_is_closed_after_thirty_seconds(sandbox: Sandbox, client: RawClient) -> None:
    await sandbox.clock.advance(30)
    await client.wait_closed()
    assert await causes(sandbox) == ["not authenticated in time"]


async def test_a_websocket_that_never_finishes_its_opening_is_closed_after_thirty_seconds(sandbox: Sandbox, client: RawClient) -> None:
    assert isinstance(client, TcpClient)
    client.writer.write(b"GET / HTTP/1.1\r\nHost")
    await sandbox.clock.advance(31)
    await client.wait_closed()
    assert await causes(sandbox) == ["not authenticated in time"]


async def test_an_idle_connection_is_closed_after_thirty_seconds(sandbox: Sandbox, either: RawClient) -> None:
    await either.authenticate(sandbox)
    await sandbox.clock.advance(29)
    assert not sandbox.ctrader.state.closings
    await sandbox.clock.advance(2)
    assert await either.wait_closed() in ("", "1000 Bye")
    assert await causes(sandbox) == ["idle"]


async def test_heartbeats_keep_an_authenticated_connection_for_hours(sandbox: Sandbox, either: RawClient) -> None:
    await either.authenticate(sandbox)
    for _ in range(3 * 60):
        await either.send(pb.ProtoHeartbeatEvent())
        await sandbox.clock.advance(20)
    assert await either.is_alive()


async def test_websocket_pings_keep_a_connection_too(sandbox: Sandbox) -> None:
    async with await connect(sandbox, transport="websocket") as client:
        await client.authenticate(sandbox)
        for _ in range(4):
            await (await client.socket.ping())  # type: ignore[attr-defined]  # it is a WebSocketClient
            await sandbox.clock.advance(20)
        assert await client.is_alive()


async def test_the_server_sends_a_heartbeat_after_twenty_five_seconds_without_output(sandbox: Sandbox, either: RawClient) -> None:
    await either.authenticate(sandbox)
    await sandbox.clock.advance(10)
    assert await either.is_alive()  # output: the twenty-five seconds begin again
    for _ in range(2):
        await either.send(pb.ProtoHeartbeatEvent())
        await sandbox.clock.advance(12.4)
    assert sandbox.ctrader.connections[0].channel.last_output < sandbox.clock.monotonic() - 24
    await sandbox.clock.advance(0.4)
    received = await either.receive()
    assert (received.name, received.message_id) == ("ProtoHeartbeatEvent", "")


@pytest.mark.parametrize("silent", [False, True])
async def test_the_servers_heartbeats_can_be_left_out(sandbox: Sandbox, client: RawClient, silent: bool) -> None:
    await client.authenticate(sandbox)
    sandbox.ctrader.faults.no_heartbeats = silent
    for _ in range(4):
        await client.send(pb.ProtoHeartbeatEvent())
        await sandbox.clock.advance(20)
    await client.is_alive()
    assert [event.name for event in client.events] == ([] if silent else ["ProtoHeartbeatEvent"] * 3)
