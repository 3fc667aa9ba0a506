"""Other people's clients, as their package indexes have them, against the sandboxed CPlugin over TLS.

Microsoft's JavaScript client, CPlugin's own SDKs, and the two SignalR clients for Python.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.environments import MYWEBAPI_SDK, MYWEBAPI_SDK_JS, PYSIGNALR, SIGNALR_JS, SIGNALRCORE
from tests.interop.programs import Step, running
from tradesession.sandbox import Sandbox
from tradesession.sandbox.cplugin import PATHS, CPluginSandbox

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120, func_only=True), pytest.mark.xdist_group("cplugin-clients")]

PATIENCE = 60.0
TICK = {"symbol", "bid", "ask", "lastTime"}


@pytest.fixture
async def server() -> AsyncIterator[CPluginSandbox]:
    async with Sandbox(seed=1) as sandbox:
        sandbox.cplugin.feed.interval = 0.02
        sandbox.cplugin.settings.update_interval = 0.02
        yield sandbox.cplugin


def trusting(server: CPluginSandbox) -> dict[str, str]:
    """The environment of a program that trusts the sandbox's authority: for OpenSSL, and for Node."""
    return {"SSL_CERT_FILE": str(server.ca_file), "NODE_EXTRA_CA_CERTS": str(server.ca_file)}


def facts(server: CPluginSandbox, **more: Any) -> dict[str, Any]:
    """For a client of a hub."""
    url = f"{server.base_url}{PATHS['mt4_v2']}?tradePlatform={server.trade_platform}"
    return {"url": url, "token": server.issue(), "skip": False, **more}


def by_name(steps: list[Step]) -> dict[str, Step]:
    return {step.pop("step"): step for step in [dict(step) for step in steps]}


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


# --- Microsoft's JavaScript client ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signalr_js() -> Path:
    return SIGNALR_JS.ensure()


@pytest.mark.parametrize("skip", [False, True], ids=["negotiated", "not negotiated"])
async def test_the_javascript_client_calls_streams_and_uploads(
    server: CPluginSandbox, signalr_js: Path, tmp_path: Path, *, skip: bool
) -> None:
    async with running(signalr_js, "signalr_client.cjs", tmp_path, trusting(server)) as program:
        await program.tell(**facts(server, modules=str(signalr_js), skip=skip, calls=True))
        await program.step("uploads")
        steps = by_name(await program.end())

    assert steps["installed"] == {"version": "10.0.11"}
    assert steps["started"] == {"hasId": not skip}
    assert steps["status"] == {"connected": True}
    assert steps["calls"] == {
        "echo": {"result": {"a": [1, 2.5, "é", None]}},
        "who": {"result": server.client_id},
        "void": {"result": None},
        "openly": {"error": "An unexpected error occurred invoking 'FailOpenly' on the server. HubException: a hub exception"},
        "unknown": {"error": "Failed to invoke 'Nowhere' due to an error on the server. HubException: Method does not exist."},
        "big": 100_000,
    }
    streams = steps["streams"]
    assert streams["count"] == {"items": [0, 1, 2], "complete": True}
    assert streams["failed"]["items"] == [0]
    assert streams["failed"]["error"].endswith("HubException: failed at 1")
    assert streams["left"]["items"] == [0, 1]
    assert [tick["symbol"] for tick in streams["ticks"]["items"]] == ["EURUSD"] * 3
    assert steps["uploads"] == {"sum": {"result": 6}, "mirrored": {"items": ["a", "b"], "complete": True}}
    counts = server.journal.counts
    assert (counts["negotiated"], counts["connected"], counts["ended.Count"]) == (0 if skip else 1, 1, 3)


async def test_the_javascript_client_hears_pushes_and_answers_questions(server: CPluginSandbox, signalr_js: Path, tmp_path: Path) -> None:
    async with running(signalr_js, "signalr_client.cjs", tmp_path, trusting(server)) as program:
        await program.tell(**facts(server, modules=str(signalr_js), subscribe=True))
        ticks = (await program.step("ticks"))["ticks"]
        async with asyncio.timeout(PATIENCE):
            assert await server.connections[0].ask("Ask", "why") == "why? because"
        server.connect_platform(False)
        assert (await program.step("status"))["connected"] is False
        server.faults.close()
        assert (await program.step("closed"))["error"] is None
        await program.end()
    assert [set(tick) for tick in ticks] == [TICK] * 3


@pytest.mark.parametrize(("allow_reconnect", "then"), [(True, "reconnected"), (False, "closed")])
async def test_the_javascript_client_obeys_allow_reconnect(
    server: CPluginSandbox, signalr_js: Path, tmp_path: Path, *, allow_reconnect: bool, then: str
) -> None:
    async with running(signalr_js, "signalr_client.cjs", tmp_path, trusting(server)) as program:
        await program.tell(**facts(server, modules=str(signalr_js), reconnect=True))
        await program.step("started")
        server.faults.close("overload", allow_reconnect=allow_reconnect)
        await program.step(then)
        if allow_reconnect:
            await program.tell()
            await program.step("echoed")
        await program.end()


async def test_the_javascript_client_follows_a_redirect_with_its_token(server: CPluginSandbox, signalr_js: Path, tmp_path: Path) -> None:
    server.faults.negotiate_redirects = 3
    async with running(signalr_js, "signalr_client.cjs", tmp_path, trusting(server)) as program:
        await program.tell(**facts(server, modules=str(signalr_js), calls=True))
        steps = by_name([*program.steps, await program.step("calls")])
        await program.end()
    assert steps["calls"]["who"] == {"result": "redirected"}
    assert server.journal.counts["redirected"] == 3


async def test_the_javascript_client_loses_nothing_by_stateful_reconnect(server: CPluginSandbox, signalr_js: Path, tmp_path: Path) -> None:
    server.faults.stateful_reconnect = True
    async with running(signalr_js, "signalr_client.cjs", tmp_path, trusting(server)) as program:
        await program.tell(**facts(server, modules=str(signalr_js), stateful=True, count=300))
        await program.step("counting")
        for resumed in (1, 2, 3):
            server.faults.drop()
            await until(lambda resumed=resumed: server.journal.counts["resumed"] >= resumed)
        counted = await program.step("counted")
        await program.end()
    assert counted["items"] == list(range(300))
    assert counted["complete"] is True
    assert (server.journal.counts["negotiated"], server.journal.counts["connected"]) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "value", "said"),
    [
        ("refuse_every_bearer", True, "401"),
        ("forbid", True, "403"),
        ("negotiate_error", "not today", "not today"),
        ("handshake_error", "no such protocol", "no such protocol"),
        ("no_websockets", True, "transport"),
        ("lose_ids", True, "WebSocket"),
    ],
)
async def test_the_javascript_client_is_refused(
    server: CPluginSandbox, signalr_js: Path, tmp_path: Path, fault: str, value: object, said: str
) -> None:
    setattr(server.faults, fault, value)
    async with running(signalr_js, "signalr_client.cjs", tmp_path, trusting(server)) as program:
        await program.tell(**facts(server, modules=str(signalr_js)))
        assert said in (await program.step("refused"))["error"]
        await program.rest()


# --- CPlugin's own SDKs ---------------------------------------------------------------------------------------------------------------


def check_rest(server: CPluginSandbox, steps: dict[str, Step]) -> None:
    platforms = [{"id": one.id, "type": one.kind} for one in server.platforms]
    assert steps["platforms"] == {"platforms": platforms}
    assert set(steps["times"]) == {"mt4", "mt5"}
    assert steps["users"] == {"logins": list(range(1, 26))}
    assert steps["refused"]["code"] == "NotFound"
    assert steps["refused"]["activity"].startswith("00-")
    assert server.journal.counts["token.issued"] == 1


@pytest.fixture(scope="module")
def mywebapi_sdk_js() -> Path:
    return MYWEBAPI_SDK_JS.ensure()


async def test_cplugins_javascript_sdk_does_all_it_can(mywebapi_sdk_js: Path, server: CPluginSandbox, tmp_path: Path) -> None:
    server.settings.kind = "text"  # as its types have it
    async with running(mywebapi_sdk_js, "mywebapi_sdk.mjs", tmp_path, trusting(server)) as program:
        await program.tell(modules=str(mywebapi_sdk_js), **server.describe())
        steps = by_name(await program.rest())

    assert steps["installed"] == {"version": "0.2.1"}
    check_rest(server, steps)
    assert steps["trade"] == {"order": 5000}
    mt4 = steps["mt4"]
    assert mt4["status"] == {"connected": True}
    assert (mt4["tick"]["symbol"], [tick["symbol"] for tick in mt4["ticks"]]) == ("GBPUSD", ["EURUSD"] * 3)
    assert {tick["symbol"] for tick in mt4["all"]} == {"EURUSD", "GBPUSD", "USDJPY", "XAUUSD"}
    assert [mt4[name][0]["kind"] for name in ("trades", "users", "symbols")] == ["Added"] * 3
    assert mt4["marginCalls"][0]["login"] == 1
    assert [call["type"] for call in steps["mt5"]["marginCalls"]] == ["MarginCall", "StopOut"]


@pytest.fixture(scope="module")
def mywebapi_sdk() -> Path:
    return MYWEBAPI_SDK.ensure()


async def test_cplugins_python_sdk_does_all_it_can(mywebapi_sdk: Path, server: CPluginSandbox, tmp_path: Path) -> None:
    async with running(mywebapi_sdk, "mywebapi_sdk.py", tmp_path, trusting(server)) as program:
        await program.tell(**server.describe(), realtime=True)
        steps = by_name(await program.rest())

    assert steps["installed"] == {"version": "0.3.3", "changed": []}
    check_rest(server, steps)
    assert steps["trade"] == {"orders": [5000, 5000]}  # once, for both have one key
    assert len(server.office.executed) == 1
    assert steps["realtime"]["status"] == [{"connected": True}]
    assert steps["realtime"]["tick"][0]["symbol"] == "GBPUSD"
    assert steps["realtime"]["stream"]["symbol"] == "EURUSD"


# --- SignalR clients for Python -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pysignalr() -> Path:
    return PYSIGNALR.ensure()


async def test_pysignalr_calls_and_streams(pysignalr: Path, server: CPluginSandbox, tmp_path: Path) -> None:
    async with running(pysignalr, "pysignalr_client.py", tmp_path, trusting(server)) as program:
        await program.tell(**facts(server))
        steps = by_name(await program.rest())
    assert steps["installed"] == {"version": "1.3.3", "changed": []}
    assert steps["status"] == {"arguments": [{"connected": True}]}
    assert steps["echo"] == {"result": "hello"}
    assert steps["stream"] == {"items": [0, 1, 2]}


@pytest.fixture(scope="module")
def signalrcore() -> Path:
    return SIGNALRCORE.ensure()


@pytest.mark.parametrize("skip", [False, True], ids=["negotiated", "not negotiated"])
async def test_signalrcore_calls_and_streams(signalrcore: Path, server: CPluginSandbox, tmp_path: Path, *, skip: bool) -> None:
    async with running(signalrcore, "signalrcore_client.py", tmp_path, trusting(server)) as program:
        await program.tell(**facts(server, skip=skip))
        steps = by_name(await program.rest())
    assert steps["installed"] == {"version": "1.0.2", "changed": []}
    assert steps["status"] == {"arguments": [{"connected": True}]}
    assert steps["echo"] == {"result": "hello"}
    assert [set(tick) for tick in steps["stream"]["items"]] == [TICK] * 3
