"""The fault matrix: every way in which bytes and servers fail, in every phase of a session; and cuts all along an opening."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest

import tradesession
from tests.faults.cutter import Cutter
from tests.leaks import Leaks
from tradesession import b2core
from tradesession.errors import Error
from tradesession.sandbox import FaultProxy, Sandbox
from tradesession.session.manager import SessionManager
from tradesession.session.states import SessionState

BOUND = 240.0
"""Seconds within which all must be well after a fault is over: two of the longest waits of a link, after the longest of a token."""

ORDERS = "/frontoffice/api/v3/orders"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
async def proxy(sandbox: Sandbox) -> AsyncIterator[FaultProxy]:
    async with FaultProxy("127.0.0.1", sandbox.b2core.port, clock=sandbox.clock) as proxy:
        yield proxy


def through(sandbox: Sandbox, port: int) -> b2core.Config:
    return sandbox.b2core.config(base_url=f"http://127.0.0.1:{port}")


def ours() -> set[str]:
    """The names of the client's tasks. The servers' have none, or their own: behind a half-open line they hear of nothing."""
    names = {task.get_name() for task in asyncio.all_tasks()}
    return {name for name in names if not name.startswith(("Task-", "hub ", "fault proxy"))}


async def well_again(sandbox: Sandbox, session: b2core.Session) -> None:
    waited = 0.0
    while True:
        reading = asyncio.ensure_future(session.accounts())
        while not reading.done():
            await sandbox.clock.advance(1)
            await asyncio.sleep(0.001)
            waited += 1
        if reading.exception() is None and session.state is SessionState.READY:
            return
        assert waited < BOUND, f"{session.state}: {session.cause}, {reading.exception()}"
        await sandbox.clock.advance(3)
        waited += 3


# --- opening ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["to_client", "to_server"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_opening_that_is_cut_anywhere_ends_in_one_of_our_errors_and_sends_the_password_once(
    leaks: Leaks, direction: Literal["to_client", "to_server"], how: Literal["close", "reset"]
) -> None:
    opened = refused = 0
    async with Sandbox(seed=1) as sandbox:
        for limit in range(1, 1500, 47):
            sandbox.b2core.state.passwords.clear()
            async with (
                Cutter(sandbox.b2core.port, direction=direction, limit=limit, how=how) as cutter,
                SessionManager(clock=sandbox.clock) as manager,
            ):
                try:
                    await manager.open(through(sandbox, cutter.port))
                    opened += 1
                except Error:
                    refused += 1
            assert len(sandbox.b2core.state.passwords) <= 1
    assert refused > 0


@pytest.mark.parametrize("slice_", [5, 50])
async def test_an_opening_in_small_pieces_is_an_opening(sandbox: Sandbox, proxy: FaultProxy, slice_: int) -> None:
    proxy.faults.slice = slice_
    async with tradesession.connect(through(sandbox, proxy.port)) as session:
        assert session.state is SessionState.READY


async def test_a_server_that_never_answers_is_given_up_on(sandbox: Sandbox, proxy: FaultProxy) -> None:
    proxy.faults.half_open = True
    async with SessionManager(clock=sandbox.clock) as manager:
        opening = asyncio.ensure_future(manager.open(through(sandbox, proxy.port)))
        while not opening.done():
            await sandbox.clock.advance(5)
            await asyncio.sleep(0.001)
        with pytest.raises(Error):
            await opening


# --- a life with faults -------------------------------------------------------------------------------------------------------------------

NETWORK: dict[str, dict[str, Any]] = {
    "slow": {"latency": 0.5, "jitter": 0.2},
    "in pieces": {"slice": 3},
    "narrow": {"bandwidth": 4000.0},
    "half-open": {"half_open": True},
    "deaf": {"deaf_to_client": True},
    "refused": {"refuse": True},
}
SERVER: dict[str, dict[str, Any]] = {
    "pairs unwell": {"platform_status": 503},
    "pairs broken": {"platform_status": 500},
    "pairs refused": {"platform_status": 403},
    "pairs lost": {"token_reply_lost": True},
    "pairs slow": {"token_delay": 40.0},
    "B2Trader unwell": {"trader_status": 502},
    "sign-in down": {"sign_in_status": 500},
    "hub silent": {"silent_hub": True},
}


@pytest.mark.parametrize("is_cut", [False, True], ids=["", "cut"])
@pytest.mark.parametrize("fault", [*NETWORK, *SERVER])
async def test_whatever_goes_wrong_for_two_minutes_all_is_well_again_soon_after(
    sandbox: Sandbox, proxy: FaultProxy, fault: str, is_cut: bool
) -> None:
    server = sandbox.b2core
    server.settings.pair_life = 60
    account = str(server.state.accounts[0]["accountId"])
    async with tradesession.connect(through(sandbox, proxy.port)) as session, session.open_orders(account) as orders:
        await anext(orders)
        before = ours()
        if fault in NETWORK:
            proxy.faults.update(**NETWORK[fault])
        for name, value in SERVER.get(fault, {}).items():
            setattr(server.faults, name, value)
        if is_cut:
            proxy.cut()
        for _ in range(24):
            await sandbox.clock.advance(5)
            await asyncio.sleep(0.001)
        proxy.faults.clear()
        server.faults.clear()
        await well_again(sandbox, session)
        await session.trader.post(ORDERS, {"accountId": account})
        async with asyncio.timeout(60):
            while not await anext(orders):
                pass
        assert len(server.state.orders[account]) == 1
        for _ in range(60):  # a renewal of the hub's connection has two of them for a moment
            if ours() <= before:
                break
            await sandbox.clock.advance(3)
            await asyncio.sleep(0.001)
        else:
            raise AssertionError(f"left behind: {ours() - before}")
        assert set(server.state.passwords) == {server.password}
        assert len(server.state.passwords) <= 6


async def test_an_hour_of_cuts_loses_no_order_and_doubles_none(sandbox: Sandbox, proxy: FaultProxy) -> None:
    server = sandbox.b2core
    server.settings.pair_life = 60
    account = str(server.state.accounts[0]["accountId"])
    sent = 0
    async with tradesession.connect(through(sandbox, proxy.port)) as session:
        for number in range(60):
            await sandbox.clock.advance(60)
            proxy.cut(ending="finish" if number % 2 else "reset")
            try:
                await session.trader.post(ORDERS, {"accountId": account, "requestedPrice": str(number)})
                sent += 1
            except Error:
                pass
        await well_again(sandbox, session)
    prices = [order["requestedPrice"] for order in server.state.orders[account]]
    assert len(set(prices)) == len(prices) >= sent > 30
    assert len(server.state.passwords) <= 3
