"""The handshake over a wire that is cut at every byte, stalls at any byte, comes byte by byte, or all in one piece.

Whatever happens, the opening ends with a typed error within its time limit, or READY, and nothing stays behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

import pytest

from tests.faults.cutter import Cutter, Direction, How, Shape
from tests.leaks import Leaks
from tradesession import ctrader
from tradesession.errors import DeadlineExceeded, LinkLost, NotSent, ProtocolError
from tradesession.sandbox import Sandbox
from tradesession.session.manager import SessionManager
from tradesession.timing import AdjustableClock

Wire = Literal["plain", "tls", "websocket"]
WIRES: tuple[Wire, ...] = ("plain", "tls", "websocket")
SHAPES: tuple[Shape, ...] = ("as it comes", "pieces", "glued")
EVERY: dict[Wire, int] = {"plain": 1, "tls": 29, "websocket": 5}
"""Of the bytes of a handshake, each so-manyth is a place to cut at: all of them where it is cheap."""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1, plain=True) as sandbox:
        yield sandbox


@pytest.fixture
async def token(sandbox: Sandbox) -> str:
    return sandbox.ctrader.grant().access_token


def upstream(sandbox: Sandbox, wire: Wire) -> int:
    demo = sandbox.ctrader.demo
    port = {"plain": demo.plain_port, "tls": demo.port, "websocket": int(demo.websocket_url.rpartition(":")[2].rstrip("/"))}[wire]
    assert port is not None
    return port


def config(sandbox: Sandbox, token: str, wire: Wire, port: int, clock: AdjustableClock | None = None) -> ctrader.Config:
    return ctrader.Config(
        client_id=sandbox.ctrader.client_id,
        client_secret=sandbox.ctrader.client_secret,
        access_token=token,
        host="127.0.0.1",
        port=port,
        transport="websocket" if wire == "websocket" else "tcp",
        plaintext=wire == "plain",
        ca_file=None if wire == "plain" else sandbox.ctrader.ca_file,
        clock=clock,
    )


async def opened(config: ctrader.Config) -> list[str]:
    """Open a session and close it; how its accounts stood."""
    async with SessionManager() as manager:
        session = await manager.open(config)
        return [f"{account.id} {account.state.value}" for account in session.accounts]


async def lengths(sandbox: Sandbox, token: str, wire: Wire) -> dict[Direction, int]:
    """The bytes of a whole handshake in each direction, up to READY."""
    async with Cutter(upstream(sandbox, wire)) as cutter, SessionManager() as manager:
        await manager.open(config(sandbox, token, wire, cutter.port))
        return dict(cutter.passed)


# --- shapes -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", WIRES)
async def test_byte_by_byte_and_all_in_one_piece_give_the_same_result(sandbox: Sandbox, token: str, wire: Wire, leaks: Leaks) -> None:
    results = []
    for shape in SHAPES:
        async with Cutter(upstream(sandbox, wire), shape=shape) as cutter:
            results.append(await opened(config(sandbox, token, wire, cutter.port)))
    assert len(results[0]) == 3
    assert all(account.endswith(" AUTHORIZED") for account in results[0])
    assert results[0] == results[1] == results[2]


# --- cuts ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["to_client", "to_server"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_cut_at_any_byte_is_a_typed_error_and_leaves_nothing(
    sandbox: Sandbox, token: str, wire: Wire, direction: Direction, how: How
) -> None:
    total = (await lengths(sandbox, token, wire))[direction]
    assert total > 100
    leaks = Leaks()
    step = EVERY[wire] * (7 if how == "reset" else 1)
    last = total - (0 if wire == "plain" else 8)  # signatures differ in length by a few bytes
    for limit in range(0, last, step):
        async with Cutter(upstream(sandbox, wire), direction=direction, limit=limit, how=how) as cutter:
            with pytest.raises((NotSent, LinkLost)) as caught:
                await opened(config(sandbox, token, wire, cutter.port))
            assert len(str(caught.value).splitlines()) == 1
            assert cutter.cut.is_set(), f"not cut at byte {limit}"
        await leaks.check()
    await leaks.check(thorough=True)


@pytest.mark.parametrize("direction", ["to_client", "to_server"])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_stall_at_any_byte_ends_at_the_deadline_and_leaves_nothing(
    sandbox: Sandbox, token: str, wire: Wire, direction: Direction
) -> None:
    total = (await lengths(sandbox, token, wire))[direction]
    leaks = Leaks()
    ready = 0
    for limit in range(0, total - 8, max(1, total // 40)):
        clock = AdjustableClock()
        async with Cutter(upstream(sandbox, wire), direction=direction, limit=limit, how="stall") as cutter:
            opening = asyncio.ensure_future(opened(config(sandbox, token, wire, cutter.port, clock)))
            await cutter.cut.wait()
            for _ in range(4):  # connecting and three steps, each of 10 s; the goodbye, of 2 s
                await clock.advance(10.5)
            await clock.advance(2.5)
            (outcome,) = await asyncio.wait_for(asyncio.gather(opening, return_exceptions=True), 5)
        if isinstance(outcome, list):
            # the wire held out until the first account was authorised: READY, and the others follow when they can
            assert 0 < sum(account.endswith(" AUTHORIZED") for account in outcome) < 3
            ready += 1
        else:
            assert isinstance(outcome, NotSent | LinkLost | DeadlineExceeded)
        await leaks.check()
    assert ready < 20
    await leaks.check(thorough=True)


# --- garbage ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\x00\x00\x05hello",
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        bytes(64),
        b"\x00\x00\x00\x02\x08\x33" * 3 + b"\x00\x00\x00\x04\xff\xff\xff\xff",
    ],
    ids=repr,
)
async def test_a_server_that_speaks_something_else_is_told_so(sandbox: Sandbox, token: str, garbage: bytes, leaks: Leaks) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        with pytest.raises((ProtocolError, LinkLost, NotSent)):
            await opened(config(sandbox, token, "plain", server.sockets[0].getsockname()[1]))
