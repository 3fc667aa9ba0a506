from __future__ import annotations

import pytest

from tests.sandbox.raw_client import RawClient, account_auth, connect
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox


async def test_a_refresh_over_the_socket_gives_a_new_pair_and_spends_the_old_one(sandbox: Sandbox, either: RawClient) -> None:
    grant = await either.authenticate(sandbox)
    request = pb.ProtoOARefreshTokenReq(refreshToken=grant.refresh_token)
    old_access = grant.access_token
    reply = await either.request(request)
    assert (reply.message.tokenType, reply.message.expiresIn) == ("bearer", 2_628_000)
    assert (reply.message.accessToken, reply.message.refreshToken) == (grant.access_token, grant.refresh_token)
    assert (await either.request(request)).code == "CH_ACCESS_TOKEN_INVALID"
    account = sandbox.ctrader.accounts[0]
    assert (await either.request(account_auth(account, old_access))).code == "CH_ACCESS_TOKEN_INVALID"
    assert (await either.request(account_auth(account, grant))).name == "ProtoOAAccountAuthRes"


@pytest.mark.parametrize("first", [False, True])
async def test_a_refresh_ends_every_account_session_of_the_old_token_by_2147_and_2164(
    sandbox: Sandbox, client: RawClient, first: bool
) -> None:
    sandbox.ctrader.settings.refresh_events_first = first
    accounts = sandbox.ctrader.accounts[:2]
    grant = await client.authenticate(sandbox, *accounts)
    await client.send(pb.ProtoOARefreshTokenReq(refreshToken=grant.refresh_token), "refresh")
    received = [await client.receive() for _ in range(4)]
    names = ["ProtoOARefreshTokenRes", "ProtoOAAccountsTokenInvalidatedEvent", *["ProtoOAAccountDisconnectEvent"] * 2]
    assert [one.name for one in received] == ([*names[1:], names[0]] if first else names)
    invalidated = next(one for one in received if one.payload_type == 2147)
    assert list(invalidated.message.ctidTraderAccountIds) == [one.id for one in accounts]
    assert (invalidated.message.reason, invalidated.message_id) == ("Access token was refreshed", "")
    assert [one.message.ctidTraderAccountId for one in received if one.payload_type == 2164] == [one.id for one in accounts]
    assert (await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=accounts[0].id))).code == "INVALID_REQUEST"
    await client.authenticate_again(accounts[0], grant)
    assert (await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=accounts[0].id))).name == "ProtoOATraderRes"


async def test_every_connection_that_used_the_old_token_is_told_and_no_other(sandbox: Sandbox, client: RawClient) -> None:
    demo, live = sandbox.ctrader.accounts[0], sandbox.ctrader.accounts[3]
    grant = await client.authenticate(sandbox, demo)
    async with (
        await connect(sandbox, "live", "websocket") as elsewhere,
        await connect(sandbox) as stranger,
    ):
        await elsewhere.authenticate(sandbox, live, grant=grant)
        await stranger.authenticate(sandbox, demo)
        await stranger.request(pb.ProtoOARefreshTokenReq(refreshToken=grant.refresh_token))
        for connection, account in ((client, demo), (elsewhere, live)):
            event = await connection.event(pb.ProtoOAAccountsTokenInvalidatedEvent)
            assert list(event.ctidTraderAccountIds) == [account.id]
            assert (await connection.event(pb.ProtoOAAccountDisconnectEvent)).ctidTraderAccountId == account.id
        assert (await stranger.request(pb.ProtoOATraderReq(ctidTraderAccountId=demo.id))).name == "ProtoOATraderRes"
        assert stranger.events == []


async def test_a_revoked_grant_ends_its_sessions(sandbox: Sandbox, client: RawClient) -> None:
    grant = await client.authenticate(sandbox, sandbox.ctrader.accounts[0])
    sandbox.ctrader.revoke(grant)
    assert (await client.event(pb.ProtoOAAccountsTokenInvalidatedEvent)).reason == "Access token was revoked"
    assert (await client.request(pb.ProtoOARefreshTokenReq(refreshToken=grant.refresh_token))).code == "CH_ACCESS_TOKEN_INVALID"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_token_that_runs_out_is_announced_or_not(sandbox: Sandbox, client: RawClient, announced: bool) -> None:
    sandbox.ctrader.settings.announce_expiry = announced
    account = sandbox.ctrader.accounts[0]
    grant = await client.authenticate(sandbox, account, grant=sandbox.ctrader.grant(expires_in=20))
    await sandbox.clock.advance(20)
    reply = await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))
    assert reply.code == ("INVALID_REQUEST" if announced else "")
    assert [event.payload_type for event in client.events] == ([2147, 2164] if announced else [])
    second = sandbox.ctrader.accounts[1]
    assert (await client.request(account_auth(second, grant))).code == "OA_AUTH_TOKEN_EXPIRED"


async def test_a_token_that_was_refreshed_in_time_is_not_announced_as_expired(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    grant = await client.authenticate(sandbox, account, grant=sandbox.ctrader.grant(expires_in=20))
    await sandbox.clock.advance(15)
    await client.request(pb.ProtoOARefreshTokenReq(refreshToken=grant.refresh_token))
    await client.authenticate_again(account, grant)
    client.events.clear()
    await sandbox.clock.advance(15)
    assert (await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))).name == "ProtoOATraderRes"
    assert not [event for event in client.events if event.payload_type == 2147]


@pytest.mark.parametrize("kept", [False, True])
async def test_whether_subscriptions_outlive_a_refresh_is_a_setting(sandbox: Sandbox, client: RawClient, kept: bool) -> None:
    sandbox.ctrader.settings.keep_subscriptions_on_refresh = kept
    account = sandbox.ctrader.accounts[0]
    grant = await client.authenticate(sandbox, account)
    subscribe = pb.ProtoOASubscribeSpotsReq(ctidTraderAccountId=account.id, symbolId=[1])
    await client.request(subscribe)
    await client.request(pb.ProtoOARefreshTokenReq(refreshToken=grant.refresh_token))
    sandbox.ctrader.feed.tick("EURUSD")
    await client.authenticate_again(account, grant)
    assert (await client.request(subscribe)).code == ("ALREADY_SUBSCRIBED" if kept else "")
