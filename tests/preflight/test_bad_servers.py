"""Servers that answer with nonsense, too much or not at all: always findings, never an exception, and never for long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.preflight.examination import NOON, broken, examine, plan
from tradesession import preflight
from tradesession.errors import CertificateRefused, Unreachable
from tradesession.preflight import Plan, Report, Status
from tradesession.preflight.client import Client
from tradesession.preflight.html import render
from tradesession.sandbox import Sandbox
from tradesession.sandbox.simulation import World, simulated
from tradesession.tradingview import FixedToken, PasswordBearer

LOGIN = PasswordBearer(login="somebody", password="a-password-nobody-may-see")


async def examined(world: World, url: str) -> Report:
    """By login and password."""
    return await preflight.run(Plan(base_url=url, login=LOGIN, tokens=2, sampled_symbols=1), world.clock)


@asynccontextmanager
async def saying(data: bytes | None) -> AsyncIterator[str]:
    """A server that reads what comes, says this and closes, or with None says nothing and stays; its URL."""
    open_for_ever = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        if data is None:
            await open_for_ever.wait()
        writer.write(data or b"")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
    finally:
        open_for_ever.set()
        server.close()
        await server.wait_closed()


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
NONSENSE = {
    "nothing": b"",
    "no HTTP": b"\x00\xff\x16\x03garbage" * 20,
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    "a wrong length": OK + b"Content-Length: 100\r\n\r\n{}",
    "a length that is none": OK + b"Content-Length: many\r\n\r\n{}",
    "a broken chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "too much": OK + b"\r\n" + b" " * 200_000,
    "no text": OK + b"Content-Length: 4\r\n\r\n\xff\xfe\x00\x01",
    "brackets without end": OK + b"Content-Length: 60000\r\n\r\n" + b"[" * 60_000,
    "a wrong encoding": OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    "a wrong status": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("data", NONSENSE.values(), ids=NONSENSE.keys())
@simulated()
async def test_nonsense_is_a_finding(world: World, data: bytes) -> None:
    async with saying(data) as url:
        report = await examined(world, url)
    assert {"password.answer", "password.token"} & broken(report)
    assert "token.obtained" in broken(report)


@simulated()
async def test_silence_is_a_finding_and_does_not_take_for_ever(world: World) -> None:
    async with saying(None) as url:
        report = await examined(world, url)
    assert {"password.answer", "token.obtained"} <= broken(report)
    assert report.seconds < 60


REPLIES: list[object] = [
    None, [], "text", 5, {}, {"s": 5}, {"s": "ok"}, {"s": "ok", "d": None}, {"s": "ok", "d": {"groups": {}}},
    {"s": "ok", "d": {"groups": [None, 5]}},
    {"s": "ok", "symbol": None}, {"s": "ok", "symbol": [None, 5, {}, ""]},
    {"s": "ok", "symbol": ["A"], "ticker": [[]], "type": [{}], "timezone": 5},
    {"s": "ok", "symbol": ["A"], "d": {"groups": [{"id": ""}]}, "t": None, "o": [], "h": [{}], "l": "x", "c": [[]]},
    {"s": "ok", "symbol": ["A"], "t": [1e308, -5], "o": [1, 2], "h": [1, 2], "l": [1, 2], "c": [1, 2]},
    {"s": "ok", "symbol": ["A"], "t": [60, 120], "o": [2**70, 2], "h": [1, 2], "l": [1, 2], "c": [1, -(2**70)], "f": "q", "id": "A"},
]  # fmt: skip


@asynccontextmanager
async def broker(reply: object) -> AsyncIterator[str]:
    """One that gives tokens, and answers everything else with this; its URL."""

    async def authorize(request: web.Request) -> web.Response:
        return web.json_response({"s": "ok", "d": {"access_token": "t", "expiration": 2_000_000_000}})

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=json.dumps(reply) + "\n", content_type="application/json")

    app = web.Application()
    app.router.add_post("/api/authorize", authorize)
    app.router.add_get("/api/{path}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: json.dumps(reply)[:40])
@simulated()
async def test_wrong_types_are_findings(world: World, reply: object) -> None:
    async with broker(reply) as url:
        report = await examined(world, url)
    assert not report.is_clean
    assert "symbol_info.unauthorized" in broken(report)


@simulated()
async def test_a_server_that_cannot_be_reached_is_not_examined(world: World) -> None:
    with pytest.raises(Unreachable):
        await examined(world, "http://127.0.0.1:9/api")


@simulated()
async def test_a_server_with_which_no_connection_comes_about_is_not_examined(world: World) -> None:
    async with saying(None) as url:  # nothing to a TLS handshake, as behind a firewall that drops what comes
        with pytest.raises(Unreachable):
            await examined(world, url.replace("http://", "https://"))


@simulated()
async def test_a_stream_may_begin_with_its_first_message(world: World) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        await asyncio.sleep(15)
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
        async with Client(Plan(base_url=url), world.clock) as client:
            stream = await client.stream(None, 1, 5.0)
    assert (stream.opening.status, stream.ending, len(stream.lines)) == (200, "", 1)


@simulated()
async def test_a_server_that_is_not_trusted_is_not_examined(world: World) -> None:
    async with Sandbox(seed=1, clock=world.clock) as sandbox:
        with pytest.raises(CertificateRefused):
            await examined(world, sandbox.tradingview.base_url)
        assert not sandbox.tradingview.state.requests


@simulated()
async def test_a_refused_password_is_sent_once_and_shuts_the_run_out(world: World) -> None:
    async with Sandbox(seed=1, clock=world.clock) as sandbox:
        login = PasswordBearer(login=sandbox.tradingview.credentials[0].login, password="not-the-one")
        report = await preflight.run(plan(sandbox, login=login, key=None), world.clock)
        asked = dict(sandbox.tradingview.state.requests)
    assert asked == {"POST /authorize": 1}
    assert broken(report) == {"password.token", "token.obtained"}
    assert report.is_shut_out


@simulated()
async def test_one_refused_credential_beside_a_good_one_is_a_finding(world: World) -> None:
    async with Sandbox(seed=1, clock=world.clock) as sandbox:
        login = PasswordBearer(login=sandbox.tradingview.credentials[0].login, password="not-the-one")
        report = await preflight.run(plan(sandbox, login=login), world.clock)
    assert broken(report) == {"password.token"}
    assert not report.is_shut_out


@simulated()
async def test_a_token_that_is_not_taken_and_none_where_one_is_wanted_shut_the_run_out(world: World) -> None:
    for token in (FixedToken(token="given-by-hand"), None):
        async with Sandbox(seed=1, clock=world.clock) as sandbox:
            report = await preflight.run(plan(sandbox, login=None, key=None, token=token), world.clock)
        assert report.is_shut_out
        assert not report.is_clean
        assert report.requests < 5


@simulated(start=NOON)
async def test_a_token_by_hand_reads_everything(world: World) -> None:
    async with Sandbox(seed=1, clock=world.clock) as sandbox:
        token = sandbox.tradingview.state.open(sandbox.tradingview.credentials[0], by_assertion=False).access_token
        report = await preflight.run(plan(sandbox, login=None, key=None, token=FixedToken(token=token)), world.clock)
    assert (report.is_clean, report.is_shut_out) == (True, False)
    assert {result.rule.area for result in report.with_status(Status.SKIPPED)} == {"password", "assertion", "refresh", "token"} | {
        "symbol_info"
    }


@simulated(start=NOON)
async def test_public_data_want_no_token(world: World) -> None:
    async with Sandbox(seed=1, clock=world.clock) as sandbox:
        sandbox.set_fault("tradingview.bad-token", "accepted")
        report = await preflight.run(plan(sandbox, login=None, key=None), world.clock)
    assert (report.is_clean, report.is_shut_out) == (True, False)
    skipped = {result.rule.id for result in report.with_status(Status.SKIPPED)}
    assert {"token.obtained", "groups.unauthorized", "streaming.unauthorized"} <= skipped


@simulated()
async def test_no_secret_is_in_a_report_whatever_the_server_says(world: World) -> None:
    async with Sandbox(seed=1, clock=world.clock) as sandbox:
        server = sandbox.tradingview
        credential = server.credentials[0]
        server.faults.symbol_fields = {"type": credential.password, "currency": f" {credential.client_secret} ", "description": None}
        server.faults.wrong_password_status = 418
        report = await preflight.run(plan(sandbox), world.clock)
        page = render(report)
        texts = json.dumps(report.to_json()) + page + repr(report)
        given = [token for session in server.state.sessions for token in (*session.access_tokens, session.refresh_token)]
    assert {"symbol_info.type", "symbol_info.description"} <= broken(report)
    assert len(given) > 5
    for secret in (credential.password, credential.client_secret, *given):
        assert secret not in texts


@simulated()
async def test_a_run_whose_time_is_over_says_so_and_reports_what_it_has(world: World) -> None:
    report = await examine(world, "token-delay=9", budget=60.0)
    assert "server.speed" in broken(report)
    assert report.with_status(Status.PASSED)
    assert 59 < report.seconds < 61
