"""Peers that stop reading, or fall silent, while a send is blocked by them: noticed within the liveness deadline, and nobody hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import pytest

import tradesession
from tests.ctrader.trading import until
from tradesession import ctrader, policy
from tradesession.ctrader import messages as pb
from tradesession.hooks import LinkLost, Record
from tradesession.sandbox import FaultProxy, Sandbox
from tradesession.sandbox.ctrader import CTraderSandbox
from tradesession.sandbox.simulation import World, simulated

LARGE = 500_000  # bytes of an order: a few of them fill every buffer on the way


def falls_silent(server: CTraderSandbox, proxy: FaultProxy) -> None:
    """Neither side hears the other any more, and nothing is closed."""
    proxy.faults.update(deaf_to_client=True, deaf_to_server=True)


def reads_nothing(server: CTraderSandbox, proxy: FaultProxy) -> None:
    """The server speaks on, heartbeats included, and would never close by itself."""
    server.settings.idle_timeout = 1e9
    server.faults.stop_reading = True


def is_not_heard(server: CTraderSandbox, proxy: FaultProxy) -> None:
    """The way to the server is clogged, and the way from it is free."""
    server.settings.idle_timeout = 1e9
    proxy.faults.deaf_to_client = True


def is_blocked(session: ctrader.Session) -> bool:
    link = session._open_api_lines[0].link
    return link is not None and link._transport is not None and not link._transport.is_writable


async def outcome(session: ctrader.Session, order: Any) -> object:
    try:
        return await session.request(order, timeout=60)
    except tradesession.Error as error:
        return type(error)


@pytest.mark.parametrize("plaintext", [True, False], ids=["plain", "tls"])
@pytest.mark.parametrize("transport", ["tcp", "websocket"])
@pytest.mark.parametrize("fault", [falls_silent, reads_nothing, is_not_heard])
@simulated()
async def test_it_is_noticed_within_the_liveness_deadline_while_a_send_is_blocked(
    world: World, fault: Callable[[CTraderSandbox, FaultProxy], None], transport: Literal["tcp", "websocket"], plaintext: bool
) -> None:
    records: list[Record] = []
    async with Sandbox(world.seed, world.clock, plain=True) as sandbox:
        server = sandbox.ctrader
        server.feed.pause()
        port = server.demo.plain_port if plaintext else server.demo.port
        assert port is not None
        async with FaultProxy(server.demo.host, port, clock=world.clock) as proxy:
            config = server.config(transport=transport, plaintext=plaintext, **proxy.endpoint())
            async with tradesession.connect(config, hooks=[records.append]) as session:
                await world.clock.advance(95)
                fault(server, proxy)
                began = world.clock.monotonic()
                orders = [
                    pb.ProtoOANewOrderReq(
                        ctidTraderAccountId=session.accounts[0].id,
                        symbolId=1,
                        orderType=pb.ProtoOAOrderType.MARKET,
                        tradeSide=pb.ProtoOATradeSide.BUY,
                        volume=100_000,
                        comment="x" * LARGE,
                    )
                    for _ in range(10)
                ]
                asking = [asyncio.ensure_future(outcome(session, order)) for order in orders]
                await until(lambda: is_blocked(session))
                await until(lambda: any(isinstance(record, LinkLost) for record in records))
                assert world.clock.monotonic() - began <= policy.LIVENESS_TIMEOUT + 0.2
                (lost,) = [record for record in records if isinstance(record, LinkLost)]
                assert ("no sign of life" if fault is falls_silent else "the server reads nothing") in lost.cause
                server.faults.clear()
                proxy.faults.clear()
                ended = await asyncio.gather(*asking)
                assert tradesession.OutcomeUnknown in ended, "what was written may have arrived"
                assert not any(one in (tradesession.DeadlineExceeded, tradesession.LinkLost) for one in ended)
                await session.ready(timeout=120)
                assert sum(server.state.requests[name] for name in ("ProtoOANewOrderReq",)) <= len(orders), "none was sent twice"
