"""Sessions in quiet virtual days: heartbeats, rotations, accounts that drop; every number is known beforehand."""

from __future__ import annotations

from typing import Any

import pytest

import tradesession
from tradesession import SessionManager, ctrader
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.hooks import LinkLost, Record, TokenRotated
from tradesession.sandbox import Sandbox
from tradesession.sandbox.simulation import World, simulated


def are_well(*sessions: ctrader.Session) -> bool:
    return all(
        session.state is tradesession.SessionState.READY and all(account.state is AccountState.AUTHORIZED for account in session.accounts)
        for session in sessions
    )


@pytest.mark.parametrize("plaintext", [True, False])
@pytest.mark.parametrize("transport", ["tcp", "websocket"])
@simulated()
async def test_a_quiet_day_is_nothing_but_heartbeats(world: World, transport: str, plaintext: bool) -> None:
    async with Sandbox(clock=world.clock, plain=True) as sandbox:
        config = sandbox.ctrader.config(transport=transport, plaintext=plaintext)  # type: ignore[arg-type]  # parametrized
        async with tradesession.connect(config) as session:
            await world.clock.advance(days=1)
            assert are_well(session)
        counted = sandbox.ctrader.state.requests
        assert 8639 <= counted.pop("ProtoHeartbeatEvent") <= 8641
        assert counted == {"ProtoOAApplicationAuthReq": 1, "ProtoOAGetAccountListByAccessTokenReq": 1, "ProtoOAAccountAuthReq": 3}


@simulated()
async def test_a_month_of_short_tokens_shows_each_refresh_token_once(world: World) -> None:
    rotations: list[int] = []

    def note(record: Record) -> None:
        assert not isinstance(record, LinkLost)
        if isinstance(record, TokenRotated):
            rotations.append(record.generation)

    async with Sandbox(clock=world.clock, plain=True) as sandbox:
        ct = sandbox.ctrader
        ct.settings.heartbeat_after, ct.settings.idle_timeout = 500, 600
        grant = ct.grant(expires_in=7200)
        tokens: dict[str, Any] = {"access_token": grant.access_token, "refresh_token": grant.refresh_token}
        quiet: dict[str, Any] = {"heartbeat_interval": 200, "liveness_timeout": 900}
        async with SessionManager(hooks=[note], clock=world.clock) as manager:
            sessions = [await manager.open(ct.config(environment, plaintext=True, **tokens, **quiet)) for environment in ("demo", "live")]
            await world.clock.advance(days=30)
            assert are_well(*sessions)
        assert 30 * 12 <= len(rotations) <= 1.4 * 30 * 12  # each lives two hours, and is renewed at about four fifths of that
        assert rotations == list(range(rotations[0], rotations[0] + len(rotations)))
        assert ct.state.rotations == len(rotations)
        assert set(ct.state.exchanges.values()) == {1}
        assert ct.state.opened == 2


@pytest.mark.usefixtures("quiet_log")
@simulated()
async def test_accounts_that_drop_every_hour_come_back_on_the_same_connection(world: World) -> None:
    async with Sandbox(clock=world.clock, plain=True) as sandbox:
        ct = sandbox.ctrader
        async with tradesession.connect(ct.config(plaintext=True)) as session:
            for hour in range(24 * 7):
                account = ct.accounts[hour % 3]
                assert ct.faults.account_disconnect(account) == 1
                await world.clock.advance(minutes=2)
                assert are_well(session)
                reply = await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))
                assert reply.trader.traderLogin == account.login
                await world.clock.advance(minutes=58)
        assert ct.state.opened == 1
        assert ct.state.requests["ProtoOAAccountAuthReq"] == 3 + 24 * 7


@pytest.mark.usefixtures("quiet_log")
@simulated()
async def test_hundreds_of_clients_do_not_come_back_together(world: World) -> None:
    """After an outage of ten minutes no second sees more than a twentieth of them."""
    count, arrivals = 500, list[int]()
    async with Sandbox(clock=world.clock, plain=True) as sandbox:
        ct = sandbox.ctrader
        async with SessionManager(clock=world.clock) as manager:
            own: dict[str, Any] = {"accounts": [ct.accounts[0].id], "plaintext": True}
            sessions = [await manager.open(ct.config(subject=f"person {number}", **own)) for number in range(count)]
            ct.faults.refuse_connections = True
            await ct.faults.cut()
            await world.clock.advance(minutes=10)
            ct.faults.refuse_connections = False
            opened = ct.state.opened
            for _ in range(90):
                await world.clock.advance(1)
                arrivals.append(ct.state.opened - opened)
                opened = ct.state.opened
            assert are_well(*sessions)
    assert sum(arrivals) == count
    assert max(arrivals) <= count / 20
