"""Every fault of connecting and of bytes, over TLS and without."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.interop.hubs.raw import HANDSHAKE, PATIENCE, RawHub, text_of
from tradesession.sandbox.authority import Flaw
from tradesession.sandbox.cplugin import PATHS, CPluginSandbox


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as running:
        yield running


def trusting(server: CPluginSandbox) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.ca_file)


async def discover(server: CPluginSandbox, session: aiohttp.ClientSession) -> int:
    async with session.get(f"{server.base_url}/.well-known/openid-configuration", ssl=trusting(server)) as reply:
        await reply.read()
        return reply.status


async def test_everything_is_there_over_tls(server: CPluginSandbox, session: aiohttp.ClientSession) -> None:
    assert await discover(server, session) == 200
    url = f"{server.base_url}{PATHS['mt4_v2']}?tradePlatform={server.trade_platform}"
    async with session.ws_connect(url, ssl=trusting(server), headers={"Authorization": f"Bearer {server.issue()}"}) as socket:
        await socket.send_str(text_of(HANDSHAKE))
        assert (await socket.receive_str()).startswith("{}\x1e")


@pytest.mark.parametrize("flaw", ["host", "authority", "expired"])
async def test_a_certificate_is_flawed(server: CPluginSandbox, session: aiohttp.ClientSession, flaw: Flaw) -> None:
    server.faults.wrong_certificate = flaw
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await discover(server, session)
    server.faults.clear()
    assert await discover(server, session) == 200


async def test_connections_are_refused_and_then_not(server: CPluginSandbox, session: aiohttp.ClientSession) -> None:
    server.faults.refuse_connections = True
    with pytest.raises(aiohttp.ClientConnectorError):
        await discover(server, session)
    server.faults.clear()
    assert await discover(server, session) == 200


async def test_tls_hangs_until_the_fault_is_taken_back(server: CPluginSandbox, session: aiohttp.ClientSession) -> None:
    server.faults.tls_hang = True
    hanging = asyncio.create_task(discover(server, session))
    while not any(listener._hanging for listener in server._listeners.values()):
        await asyncio.sleep(0)
    assert not hanging.done()
    server.faults.clear()
    with pytest.raises(aiohttp.ClientError):
        await hanging


async def test_connections_are_accepted_and_closed(server: CPluginSandbox, session: aiohttp.ClientSession) -> None:
    server.faults.accept_and_close = True
    with pytest.raises(aiohttp.ClientError):
        await discover(server, session)


@pytest.mark.parametrize("after", [0, 1, 50, 150])
async def test_output_is_cut(server: CPluginSandbox, session: aiohttp.ClientSession, after: int) -> None:
    server.faults.cut_output_after = after
    with pytest.raises(aiohttp.ClientError):
        await discover(server, session)


@pytest.mark.parametrize("after", [0, 1, 50])
async def test_input_is_cut(server: CPluginSandbox, session: aiohttp.ClientSession, after: int) -> None:
    server.faults.cut_input_after = after
    with pytest.raises(aiohttp.ClientError):
        await discover(server, session)
    assert server.journal.counts["token.requests"] == 0


async def test_a_socket_is_cut_after_so_many_more_bytes(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    await server.faults.cut(after_bytes=20)
    await socket.send({"type": 1, "invocationId": "1", "target": "Echo", "arguments": ["x" * 100]})
    assert await socket.next() is None
    other = await raw.shaken()
    await server.faults.cut(after_input_bytes=10)
    await other.send({"type": 6})
    assert await other.next() is None
    third = await raw.shaken()
    await server.faults.cut()
    assert await third.next() is None


async def test_output_leaves_byte_by_byte(server: CPluginSandbox, raw: RawHub) -> None:
    server.faults.slice_output = 1
    socket = await raw.shaken()
    assert (await socket.answer({"type": 1, "invocationId": "1", "target": "Echo", "arguments": ["whole"]}))["result"] == "whole"


async def test_a_half_open_connection_says_nothing_hears_nothing_and_closes_nothing(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.faults.half_open = True
    await socket.send({"type": 1, "invocationId": "lost", "target": "Echo", "arguments": [1]})
    server.faults.close()
    waiting = asyncio.create_task(socket.next())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not waiting.done()
    assert server.journal.counts["call.Echo"] == 0
    server.faults.clear()
    server.faults.drop()
    await server.faults.cut()
    assert await waiting is None


async def test_the_server_stops_reading(server: CPluginSandbox, raw: RawHub) -> None:
    socket = await raw.shaken()
    server.faults.stop_reading = True
    await socket.send({"type": 1, "invocationId": "1", "target": "Echo", "arguments": [1]})
    for _ in range(50):
        await asyncio.sleep(0)
    assert server.journal.counts["call.Echo"] == 0
    server.faults.stop_reading = False
    assert (await socket.next_of(3))["result"] == 1
