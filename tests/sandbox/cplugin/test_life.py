"""The server as a whole: nothing stays behind, and in a simulation it costs no time."""

from __future__ import annotations

import aiohttp
import pytest

from tests.interop.hubs.raw import HANDSHAKE, RawHub, text_of
from tradesession.errors import ConfigurationError
from tradesession.sandbox import Sandbox
from tradesession.sandbox.cplugin import PATHS, CPluginSandbox
from tradesession.sandbox.simulation import World, simulated


@pytest.mark.usefixtures("leaks")
async def test_nothing_stays_behind_whatever_was_open() -> None:
    async with aiohttp.ClientSession() as session, Sandbox(seed=1, plain=True) as sandbox:
        server = sandbox.cplugin
        headers = {"Authorization": f"Bearer {server.issue()}"}
        url = f"{server.plain_url}{PATHS['mt4_v2']}?tradePlatform={server.trade_platform}"
        sockets = [await session.ws_connect(url, headers=headers) for _ in range(3)]
        for number, socket in enumerate(sockets):
            if number:
                await socket.send_str(text_of(HANDSHAKE))
                await socket.receive()
                stream = {"type": 4, "invocationId": "1", "target": "StreamTicks", "arguments": [None]}
                slow = {"type": 1, "invocationId": "2", "target": "Slow", "arguments": [600_000]}
                await socket.send_str(text_of(stream, slow))
        async with session.post(url.replace("?", "/negotiate?negotiateVersion=1&"), headers=headers) as reply:
            assert reply.status == 200
        assert len(server.connections) == 2


async def test_the_same_seed_gives_the_same_client_and_platforms() -> None:
    facts = []
    for _ in range(2):
        async with Sandbox(seed=7) as sandbox:
            server = sandbox.cplugin
            facts.append((server.client_id, server.client_secret, server.platforms))
    assert facts[0] == facts[1]


def test_it_is_not_there_before_it_is_started() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        _ = Sandbox().cplugin


async def test_without_a_plain_port_there_is_no_configuration_for_one() -> None:
    async with Sandbox() as sandbox:
        assert sandbox.cplugin.plain_url is None
        with pytest.raises(ConfigurationError, match="plain=True"):
            sandbox.cplugin.config(plaintext=True)


async def test_it_tells_another_process_everything(server: CPluginSandbox) -> None:
    described = server.describe()
    for name in ("base_url", "authority", "client_id", "client_secret", "trade_platform", "ca_file", "hubs"):
        assert described[name]
    assert described["hubs"] == {"mt4_v1": "/hubs/mt4/v1", "mt4_v2": "/hubs/mt4/v2", "mt5_v2": "/hubs/mt5/v2"}


async def test_a_stateful_connection_waits_so_long_for_another_socket(sandbox: Sandbox, server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.stateful_reconnect = True
    query = f"id={(await raw.negotiate('negotiateVersion=1&useStatefulReconnect=true'))['connectionToken']}"
    socket = await raw.shaken(query, version=2)
    server.faults.drop()
    await socket.rest()
    again = await raw.open(query)
    assert await again.next() == {"type": 9, "sequenceId": 1}
    server.faults.drop()
    await again.rest()
    await sandbox.clock.advance(16)
    assert (await raw.refusal(query))[0] == 404
    assert [ending.cause for ending in server.journal.endings] == ["no socket came"]


@simulated()
async def test_a_quiet_connection_stays_up_for_a_virtual_day(world: World) -> None:
    async with Sandbox(seed=world.seed, clock=world.clock) as sandbox, aiohttp.ClientSession() as session:
        server = sandbox.cplugin
        assert server.ca_file is not None
        url = f"{server.base_url}{PATHS['mt4_v2']}?tradePlatform={server.trade_platform}"
        server.faults.token_life = 172_800.0
        socket = await session.ws_connect(url, headers={"Authorization": f"Bearer {server.issue()}"}, ssl=False)
        await socket.send_str(text_of(HANDSHAKE))
        await socket.receive()
        pings = 0
        end = world.clock.monotonic() + 86_400
        while world.clock.monotonic() < end:
            assert await socket.receive_str() == text_of({"type": 6}).replace(" ", "")
            await socket.send_str(text_of({"type": 6}))
            pings += 1
        assert pings == 86_400 // 15
        await socket.close()
