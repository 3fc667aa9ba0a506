"""How an account is kept authorised on a connection that stands, and what its streams are told of the times when it is not."""

from __future__ import annotations

import asyncio

import pytest

import tradesession
from tests.ctrader.trading import Trading, trading, until
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.sandbox.simulation import World, simulated

AUTH, SPOTS = "ProtoOAAccountAuthReq", "ProtoOASubscribeSpotsReq"


def is_authorised(trader: Trading) -> bool:
    """Whether both sides think so."""
    return trader.account.state is AccountState.AUTHORIZED and trader.server.connections[0].hears(trader.account.id)


# --- dropped again and again --------------------------------------------------------------------------------------------------------


@simulated()
async def test_a_server_that_authorises_and_drops_at_once_is_not_hammered(world: World) -> None:
    async with trading(world) as trader:
        trader.server.faults.account_disconnect_after = 0.01
        trader.server.faults.account_disconnect(trader.account.id)
        await asyncio.sleep(60)
        assert 3 <= trader.server.state.requests[AUTH] <= 12
        trader.server.faults.account_disconnect_after = None
        await asyncio.sleep(60)
        assert is_authorised(trader)


@simulated()
async def test_a_server_that_drops_an_account_that_it_refuses_is_not_hammered(world: World) -> None:
    async with trading(world) as trader:
        trader.server.accounts[0].refusal = "CANT_ROUTE_REQUEST"
        trader.server.faults.account_disconnect(trader.account.id)
        for _ in range(600):
            await asyncio.sleep(0.1)
            await trader.server.push(pb.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=trader.account.id))
        assert 3 <= trader.server.state.requests[AUTH] <= 12


# --- dropped in the middle ----------------------------------------------------------------------------------------------------------


@simulated()
async def test_a_drop_that_arrives_together_with_the_authorisation_is_not_overheard(world: World) -> None:
    async with trading(world) as trader:
        trader.server.faults.account_disconnect_after = 0.0
        trader.server.faults.glue_output = 0.05
        trader.server.faults.account_disconnect(trader.account.id)
        await until(lambda: trader.server.state.requests[AUTH] == 2)
        trader.server.faults.account_disconnect_after = None
        await asyncio.sleep(10)
        assert is_authorised(trader)
        assert trader.server.state.requests[AUTH] == 3


@simulated()
async def test_an_account_that_drops_while_its_subscriptions_are_brought_back_does_not_wait_for_itself(world: World) -> None:
    async with trading(world) as trader, trader.session.bars(trader.account, "EURUSD", period="M1"):
        trader.server.settings.latency = 0.1
        trader.server.faults.account_disconnect(trader.account.id)
        await until(lambda: trader.server.state.requests[SPOTS] == 2)
        trader.server.faults.account_disconnect(trader.account.id)  # behind the answer about the spots, which the bars wait for
        await asyncio.sleep(5)
        assert is_authorised(trader)
        assert trader.server.state.requests[SPOTS] == 3


# --- dropped in silence -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["INVALID_REQUEST", "ACCOUNT_NOT_AUTHORIZED"])
@simulated()
async def test_an_order_that_is_refused_as_the_account_was_dropped_has_it_authorised_again(world: World, code: str) -> None:
    async with trading(world) as trader:
        trader.server.settings.unauthorized_account_code = code  # type: ignore[assignment]  # one of the two
        trader.server.connections[0].forget_account(trader.account.id)
        with pytest.raises(tradesession.Rejected, match=code):
            await trader.session.request(trader.order())
        await trader.session.request(trader.order())
        assert is_authorised(trader)
        assert len(trader.book.orders) == 1


@pytest.mark.parametrize("code", ["OA_AUTH_TOKEN_EXPIRED", "CH_ACCESS_TOKEN_INVALID"])
@simulated()
async def test_a_read_that_is_refused_for_the_token_is_repeated_with_another_one(world: World, code: str) -> None:
    async with trading(world) as trader:
        trader.server.settings.unauthorized_account_code = code  # type: ignore[assignment]  # any code will do
        trader.server.connections[0].forget_account(trader.account.id)
        await trader.session.request(trader.about(pb.ProtoOATraderReq))
        assert is_authorised(trader)
        assert trader.server.state.rotations == 1


@simulated()
async def test_an_account_that_is_refused_with_a_code_that_nobody_knows_is_tried_again(world: World) -> None:
    async with trading(world) as trader:
        trader.server.accounts[0].refusal = "SOMETHING_NEW"
        trader.server.faults.account_disconnect(trader.account.id)
        await asyncio.sleep(600)
        assert trader.account.state is AccountState.SUSPENDED
        assert 3 <= trader.server.state.requests[AUTH] <= 40
        trader.server.accounts[0].refusal = ""
        await until(lambda: is_authorised(trader))
        assert trader.server.state.opened == 1


@simulated()
async def test_an_account_that_is_disabled_is_left_alone_until_there_is_a_new_connection(world: World) -> None:
    async with trading(world) as trader:
        trader.server.accounts[0].refusal = "RET_ACCOUNT_DISABLED"
        trader.server.faults.account_disconnect(trader.account.id)
        await asyncio.sleep(600)
        assert trader.server.state.requests[AUTH] == 2
        trader.server.accounts[0].refusal = ""
        await trader.server.faults.cut()
        await until(lambda: is_authorised(trader))


@simulated()
async def test_a_request_that_waits_in_vain_for_its_account_is_told_why_the_account_does_not_stand(world: World) -> None:
    async with trading(world) as trader:
        trader.server.accounts[0].refusal = "CANT_ROUTE_REQUEST"
        trader.server.faults.account_disconnect(trader.account.id)
        await until(lambda: trader.account.cause is not None and "CANT_ROUTE" in str(trader.account.cause))
        assert trader.session.state is tradesession.SessionState.READY
        told = f"was not sent{{}}: account {trader.account.id} is .*CANT_ROUTE_REQUEST"
        with pytest.raises(tradesession.NotSent, match=told.format("")) as at_once:
            await trader.session.request(trader.about(pb.ProtoOATraderReq), wait=False)
        assert at_once.value.__cause__ is trader.account.cause
        with pytest.raises(tradesession.NotSent, match=told.format(" within 3 s")):
            await trader.session.request(trader.about(pb.ProtoOATraderReq), timeout=3)
        await trader.session.request(pb.ProtoOAVersionReq(), wait=False)


# --- gaps ---------------------------------------------------------------------------------------------------------------------------


@simulated()
async def test_an_account_that_comes_back_long_after_its_connection_tells_until_when_its_events_were_missed(world: World) -> None:
    async with trading(world) as trader, trader.session.events(pb.ProtoOAExecutionEvent, gaps=True) as executions:
        trader.server.accounts[0].refusal = "CANT_ROUTE_REQUEST"
        await trader.server.faults.cut()
        await until(lambda: trader.account.cause is not None and "CANT_ROUTE" in str(trader.account.cause))
        assert trader.session.state is tradesession.SessionState.READY
        of_connection = await anext(executions)
        await world.clock.advance(hours=2)
        trader.server.accounts[0].refusal = ""
        await until(lambda: is_authorised(trader))
        of_account = await anext(executions)
        assert isinstance(of_connection, tradesession.Gap)
        assert isinstance(of_account, tradesession.Gap)
        assert of_account.since == of_connection.until, "no moment lies between the two"
        assert of_account.until == pytest.approx(world.clock.wall(), abs=1)
        assert executions.statistics().queued == 0


@simulated()
async def test_the_gap_of_a_connection_that_died_in_silence_begins_where_it_was_last_heard(world: World) -> None:
    async with trading(world) as trader, trader.session.events(pb.ProtoOAExecutionEvent, gaps=True) as executions:
        await trader.session.request(trader.about(pb.ProtoOATraderReq))
        heard = world.clock.wall()
        trader.server.faults.half_open = True
        await until(lambda: trader.session.state is not tradesession.SessionState.READY)
        assert world.clock.wall() - heard > 40
        trader.server.faults.half_open = False
        await until(lambda: is_authorised(trader))
        gap = await anext(executions)
        assert isinstance(gap, tradesession.Gap)
        assert gap.since == pytest.approx(heard, abs=0.001)
        assert gap.until is not None
        assert gap.until - heard > 40
