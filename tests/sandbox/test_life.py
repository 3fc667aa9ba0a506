from __future__ import annotations

import asyncio
import json
import socket
import ssl
import stat
from pathlib import Path

import pytest

from tests.sandbox.raw_client import RawClient, TcpClient, connect, connect_tcp
from tradesession.ctrader import messages as pb
from tradesession.errors import ConfigurationError
from tradesession.sandbox import Sandbox
from tradesession.timing import AdjustableClock


async def test_nothing_is_left_when_the_block_is_left() -> None:
    before = asyncio.all_tasks()
    async with Sandbox(plain=True) as sandbox:
        ct = sandbox.ctrader
        directory = ct.ca_file.parent
        clients = [await connect(sandbox, "demo" if kind == "tcp" else "live", kind) for kind in ("tcp", "websocket")]
        await clients[0].authenticate(sandbox, ct.accounts[0])
        await clients[0].request(pb.ProtoOASubscribeSpotsReq(ctidTraderAccountId=ct.accounts[0].id, symbolId=[1]))
        half_way = socket.create_connection((ct.demo.host, ct.demo.port))
        sandbox.ctrader.faults.tls_hang = True
        hanging = socket.create_connection((ct.demo.host, ct.demo.port))
        ports = [ct.demo.port, ct.live.port, ct.demo.plain_port, ct.live.plain_port]
        await asyncio.sleep(0.01)
    assert ct.connections == []
    assert not directory.exists()
    for client in clients:
        client.events.clear()
        await client.wait_lost()
        await client.aclose()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port or 0))
    for left in (half_way, hanging):
        left.close()
    assert asyncio.all_tasks() == before


async def test_a_sandbox_that_cannot_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    async def fail(self: object) -> None:
        seen.append(sandbox.ctrader.ca_file.parent)
        raise OSError("no more ports")

    monkeypatch.setattr("tradesession.sandbox.ctrader.oauth.OAuthServer.start", fail)
    sandbox = Sandbox()
    with pytest.raises(OSError, match="no more ports"):
        await sandbox.__aenter__()
    assert [path.exists() for path in seen] == [False]


async def test_an_address_that_cannot_be_listened_on_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket.socket, "listen", refuse)
    with pytest.raises(ConfigurationError, match=r"127.9.9.9.*Cannot assign"):
        await Sandbox(host="127.9.9.9").__aenter__()


async def test_the_authority_is_the_only_file_and_its_key_is_in_none(sandbox: Sandbox) -> None:
    directory = sandbox.ctrader.ca_file.parent
    assert [path.name for path in directory.iterdir()] == ["ca.pem"]
    assert "PRIVATE" not in sandbox.ctrader.ca_file.read_text()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


async def test_a_certificate_is_trusted_through_the_authority_for_every_name_of_loopback(sandbox: Sandbox) -> None:
    context = ssl.create_default_context(cafile=str(sandbox.ctrader.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("127.0.0.1", "localhost", "::1"):
        client = TcpClient(*await asyncio.open_connection("127.0.0.1", sandbox.ctrader.demo.port, ssl=context, server_hostname=name))
        async with client:
            assert await client.is_alive()


async def test_a_certificate_is_not_trusted_without_the_authority(sandbox: Sandbox) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", sandbox.ctrader.demo.port, ssl=ssl.create_default_context())


async def test_the_description_has_everything_that_another_program_needs() -> None:
    async with Sandbox(plain=True) as sandbox:
        described = json.loads(json.dumps(sandbox.describe()))["ctrader"]
        ct = sandbox.ctrader
        assert set(described) == {
            *("demo", "live", "auth_url", "token_url", "client_id", "client_secret", "redirect_uri"),
            *("access_token", "refresh_token", "ca_file", "accounts"),
        }
        assert set(described["demo"]) == {"host", "port", "websocket_url", "plain_port"}
        assert described["live"]["port"] == ct.live.port
        assert [set(account) for account in described["accounts"]] == [
            {"ctidTraderAccountId", "traderLogin", "isLive", "brokerTitleShort"}
        ] * 5
        kinds = [account["isLive"] for account in described["accounts"]]
        assert (kinds.count(False), kinds.count(True)) == (3, 2)
        assert ct.state.grant_of(described["access_token"]).refresh_token == described["refresh_token"]
        assert sandbox.describe()["ctrader"] == described


async def test_without_plain_there_is_no_plain_port(sandbox: Sandbox) -> None:
    assert sandbox.ctrader.demo.plain_port is None
    assert "plain_port" not in sandbox.ctrader.describe()["demo"]


async def test_the_same_seed_describes_the_same_world_but_for_ports_and_files() -> None:
    async def world(seed: int) -> dict[str, object]:
        async with Sandbox(seed) as sandbox:
            described = sandbox.describe()["ctrader"]
            return {key: described[key] for key in ("client_id", "client_secret", "access_token", "refresh_token", "accounts")}

    assert await world(7) == await world(7)
    assert await world(7) != await world(8)


async def test_grants_are_independent_of_each_other(sandbox: Sandbox, client: RawClient) -> None:
    first, second = sandbox.ctrader.grant(), sandbox.ctrader.grant(scope="accounts", expires_in=60)
    assert {first.access_token, first.refresh_token}.isdisjoint({second.access_token, second.refresh_token})
    await client.authenticate(sandbox, sandbox.ctrader.accounts[0], grant=first)
    await client.request(pb.ProtoOARefreshTokenReq(refreshToken=first.refresh_token))
    assert sandbox.ctrader.state.grant_of(second.access_token) is second


async def test_a_hundred_accounts_can_be_added_and_used(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.settings.requests_per_second = 1000
    added = sandbox.ctrader.add_accounts(100)
    await client.authenticate(sandbox, *added)
    assert len(sandbox.ctrader.connections[0].authorized) == 100
    assert len({account.broker.title for account in added}) == 2


async def test_two_sandboxes_live_side_by_side() -> None:
    async with Sandbox() as one, Sandbox() as two:
        assert one.ctrader.demo.port != two.ctrader.demo.port
        async with await connect(one) as client:
            assert await client.is_alive()
        assert (one.ctrader.state.opened, two.ctrader.state.opened) == (1, 0)


async def test_a_clock_can_be_brought_along() -> None:
    clock = AdjustableClock()
    async with Sandbox(clock=clock) as sandbox:
        assert sandbox.clock is clock


async def test_other_addresses_of_loopback_will_do() -> None:
    async with Sandbox(host="::1") as sandbox:
        ct = sandbox.ctrader
        assert ct.demo.websocket_url == f"wss://[::1]:{ct.demo.port}"
        assert ct.token_url.startswith("http://[::1]:")
        async with await connect_tcp(sandbox, "::1", ct.demo.port) as client:
            assert await client.is_alive()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", ""])
def test_only_loopback_is_served(host: str) -> None:
    with pytest.raises(ConfigurationError, match="loopback"):
        Sandbox(host=host)


def test_a_sandbox_that_does_not_run_says_how_to_run_it() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        _ = Sandbox().ctrader


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_a_client_configuration_leads_here(sandbox: Sandbox, transport: str) -> None:
    ct = sandbox.ctrader
    config = ct.config("live", "websocket" if transport == "websocket" else "tcp", request_timeout=3.0)
    assert (config.environment, config.host, config.port, config.transport) == ("live", ct.live.host, ct.live.port, transport)
    assert (config.websocket_url, config.token_url, config.request_timeout) == (ct.live.websocket_url, ct.token_url, 3.0)
    assert config.clock is sandbox.clock


async def test_a_plain_client_configuration_needs_a_plain_port(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigurationError, match="plain=True"):
        sandbox.ctrader.config(plaintext=True)
    async with Sandbox(plain=True) as plain:
        config = plain.ctrader.config(plaintext=True)
        assert (config.port, config.ca_file) == (plain.ctrader.demo.plain_port, None)
