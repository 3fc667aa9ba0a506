from __future__ import annotations

import pytest

from tests.sandbox.raw_client import RawClient, connect
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox
from tradesession.sandbox.ctrader.limits import Limiter
from tradesession.sandbox.ctrader.refusal import Refusal
from tradesession.sandbox.ctrader.settings import Settings

ORDINARY, OTHER, HISTORICAL = 2121, 2114, 2137


def admitted(limiter: Limiter, payload_type: int, count: int, now: float) -> int:
    done = 0
    for _ in range(count):
        try:
            limiter.admit(payload_type, now)
        except Refusal:
            continue
        done += 1
    return done


def test_fifty_ordinary_and_five_historical_requests_pass_in_a_second() -> None:
    limiter = Limiter(Settings())
    assert admitted(limiter, ORDINARY, 60, now=10.0) == 50
    assert admitted(limiter, HISTORICAL, 10, now=10.0) == 5


def test_the_second_slides() -> None:
    limiter = Limiter(Settings(rate_limit_code="REQUEST_FREQUENCY_EXCEEDED"))
    assert admitted(limiter, ORDINARY, 30, now=10.0) + admitted(limiter, ORDINARY, 30, now=10.6) == 50
    assert admitted(limiter, ORDINARY, 60, now=11.0) == 30
    assert admitted(limiter, ORDINARY, 60, now=11.6) == 20


def test_too_many_requests_block_their_payload_type_for_whole_seconds_and_no_other() -> None:
    limiter = Limiter(Settings(retry_after=3))
    admitted(limiter, HISTORICAL, 5, now=10.0)
    with pytest.raises(Refusal) as first:
        limiter.admit(HISTORICAL, 10.0)
    with pytest.raises(Refusal) as later:
        limiter.admit(HISTORICAL, 12.5)
    assert [(one.value.code, one.value.retry_after) for one in (first, later)] == [("BLOCKED_PAYLOAD_TYPE", 3), ("BLOCKED_PAYLOAD_TYPE", 1)]
    assert admitted(limiter, ORDINARY, 1, now=12.5) == 1
    assert admitted(limiter, HISTORICAL, 5, now=13.0) == 5


def test_the_code_of_2022_blocks_nothing() -> None:
    limiter = Limiter(Settings(requests_per_second=1, rate_limit_code="REQUEST_FREQUENCY_EXCEEDED"))
    limiter.admit(ORDINARY, 10.0)
    with pytest.raises(Refusal) as refusal:
        limiter.admit(OTHER, 10.5)
    assert (refusal.value.code, refusal.value.retry_after, refusal.value.account_id) == ("REQUEST_FREQUENCY_EXCEEDED", None, 0)
    limiter.admit(OTHER, 11.0)


async def test_the_limit_is_enforced_on_the_wire_and_ends_with_time(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    request = pb.ProtoOATraderReq(ctidTraderAccountId=account.id)
    replies = [await client.request(request) for _ in range(60)]
    refused = [reply for reply in replies if reply.code]
    assert len(refused) == 12  # two requests of the handshake count too
    assert {(one.code, one.message.retryAfter) for one in refused} == {("BLOCKED_PAYLOAD_TYPE", 1)}
    assert (await client.request(pb.ProtoOAGetAccountListByAccessTokenReq(accessToken="x"))).code == "BLOCKED_PAYLOAD_TYPE"
    await sandbox.clock.advance(1.1)
    assert (await client.request(request)).name == "ProtoOATraderRes"


async def test_limits_are_counted_for_each_connection(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.settings.requests_per_second = 2
    assert [await client.is_alive() for _ in range(3)] == [True, True, False]
    async with await connect(sandbox, transport="websocket") as second:
        assert await second.is_alive()


async def test_heartbeats_do_not_count(sandbox: Sandbox, client: RawClient) -> None:
    for _ in range(100):
        await client.send(pb.ProtoHeartbeatEvent())
    assert await client.is_alive()
    assert sandbox.ctrader.state.requests["ProtoHeartbeatEvent"] == 100
