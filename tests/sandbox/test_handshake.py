from __future__ import annotations

import pytest

from tests.sandbox.raw_client import RawClient, account_auth, connect, filled
from tradesession.ctrader import messages as pb
from tradesession.ctrader import registry
from tradesession.sandbox import Sandbox


def application_auth(sandbox: Sandbox, **changes: str) -> pb.ProtoOAApplicationAuthReq:
    pair = {"clientId": sandbox.ctrader.client_id, "clientSecret": sandbox.ctrader.client_secret} | changes
    return pb.ProtoOAApplicationAuthReq(clientId=pair["clientId"], clientSecret=pair["clientSecret"])


async def test_application_authentication_is_answered_with_no_bytes_of_payload(sandbox: Sandbox, either: RawClient) -> None:
    reply = await either.request(application_auth(sandbox))
    assert (reply.payload_type, reply.payload, reply.envelope.HasField("payload")) == (2101, b"", True)


async def test_an_empty_payload_can_be_absent(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.settings.empty_payload = "absent"
    reply = await client.request(application_auth(sandbox))
    assert (reply.payload_type, reply.envelope.HasField("payload")) == (2101, False)


async def test_the_id_of_a_request_comes_back_and_a_request_without_one_is_answered_without(sandbox: Sandbox, client: RawClient) -> None:
    await client.send(application_auth(sandbox))
    reply = await client.receive()
    assert (reply.payload_type, reply.envelope.HasField("clientMsgId")) == (2101, False)
    await client.send(application_auth(sandbox), "mine")
    assert (await client.receive()).message_id == "mine"


async def test_inner_messages_leave_their_payload_type_out(sandbox: Sandbox, client: RawClient) -> None:
    await client.authenticate(sandbox)
    reply = await client.request(pb.ProtoOAVersionReq())
    assert not reply.message.HasField("payloadType")


async def test_a_wrong_secret_is_refused_and_the_connection_closed(sandbox: Sandbox, either: RawClient) -> None:
    reply = await either.request(application_auth(sandbox, clientSecret="wrong"))
    assert (reply.name, reply.code) == ("ProtoOAErrorRes", "CH_CLIENT_AUTH_FAILURE")
    assert reply.message.description == "clientId or clientSecret is incorrect"
    assert await either.wait_closed() in ("", "1000 Bye")


async def test_an_unknown_client_is_refused_with_the_code_that_is_set(sandbox: Sandbox) -> None:
    for code in ("CH_CLIENT_AUTH_FAILURE", "CH_OA_CLIENT_NOT_FOUND"):
        sandbox.ctrader.settings.unknown_client_code = code
        async with await connect(sandbox) as client:
            assert (await client.request(application_auth(sandbox, clientId="nobody"))).code == code
            await client.wait_closed()


async def test_an_application_that_is_not_active_is_refused(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.application.active = False
    reply = await client.request(application_auth(sandbox))
    assert (reply.code, reply.message.description) == ("CH_CLIENT_AUTH_FAILURE", "OA client is not in active state")


async def test_the_second_application_authentication_is_refused_and_harmless(sandbox: Sandbox, client: RawClient) -> None:
    await client.authenticate(sandbox)
    assert (await client.request(application_auth(sandbox))).code == "CH_CLIENT_ALREADY_AUTHENTICATED"
    assert await client.is_alive()


async def test_one_connection_too_many_is_refused(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.settings.max_connections = 1
    await client.authenticate(sandbox)
    async with await connect(sandbox) as second:
        assert (await second.request(application_auth(sandbox))).code == "CONNECTIONS_LIMIT_EXCEEDED"


async def test_nothing_but_version_is_answered_before_the_application_is_known(client: RawClient) -> None:
    others = [cls for cls in registry.REPLIES if cls not in (pb.ProtoOAApplicationAuthReq, pb.ProtoOAVersionReq)]
    answers = {cls.__name__: (await client.request(filled(cls))).code for cls in others}
    assert answers == dict.fromkeys(answers, "CH_CLIENT_NOT_AUTHENTICATED")
    assert len(answers) > 35


async def test_version_is_answered_to_everybody(either: RawClient) -> None:
    assert (await either.request(pb.ProtoOAVersionReq())).message.version == "sandbox-1"


async def test_a_refresh_before_the_application_is_known_is_a_setting(sandbox: Sandbox, client: RawClient) -> None:
    sandbox.ctrader.settings.refresh_before_authentication = True
    reply = await client.request(pb.ProtoOARefreshTokenReq(refreshToken=sandbox.ctrader.grant().refresh_token))
    assert reply.name == "ProtoOARefreshTokenRes"


@pytest.mark.parametrize("environment", ["demo", "live"])
async def test_the_account_list_is_whole_on_either_host(sandbox: Sandbox, environment: str) -> None:
    async with await connect(sandbox, "live" if environment == "live" else "demo") as client:
        grant = await client.authenticate(sandbox)
        reply = await client.request(pb.ProtoOAGetAccountListByAccessTokenReq(accessToken=grant.access_token))
    listed = [(one.ctidTraderAccountId, one.isLive, one.traderLogin, one.brokerTitleShort) for one in reply.message.ctidTraderAccount]
    assert listed == [(one.id, one.is_live, one.login, one.broker.title) for one in sandbox.ctrader.accounts]
    assert {one[1] for one in listed} == {True, False}
    assert len({one[3] for one in listed}) == 2
    assert (reply.message.accessToken, reply.message.permissionScope) == (grant.access_token, pb.ProtoOAClientPermissionScope.SCOPE_TRADE)


async def test_a_grant_to_look_says_so_in_the_account_list(sandbox: Sandbox, client: RawClient) -> None:
    grant = await client.authenticate(sandbox, grant=sandbox.ctrader.grant(scope="accounts"))
    reply = await client.request(pb.ProtoOAGetAccountListByAccessTokenReq(accessToken=grant.access_token))
    assert reply.message.permissionScope == pb.ProtoOAClientPermissionScope.SCOPE_VIEW


@pytest.mark.parametrize("fields", [frozenset(), frozenset({"isLive"}), frozenset({"traderLogin", "brokerTitleShort"})])
async def test_the_account_list_can_leave_out_what_is_optional(sandbox: Sandbox, client: RawClient, fields: frozenset[str]) -> None:
    sandbox.ctrader.settings.account_fields = fields
    grant = await client.authenticate(sandbox)
    reply = await client.request(pb.ProtoOAGetAccountListByAccessTokenReq(accessToken=grant.access_token))
    listed = [{field.name for field, _ in one.ListFields()} for one in reply.message.ctidTraderAccount]
    assert listed == [{"ctidTraderAccountId", *fields}] * 5


async def test_a_token_nobody_issued_is_refused_everywhere(sandbox: Sandbox, client: RawClient) -> None:
    await client.authenticate(sandbox)
    for request in (
        pb.ProtoOAGetAccountListByAccessTokenReq(accessToken="forged"),
        pb.ProtoOAGetCtidProfileByTokenReq(accessToken="forged"),
        pb.ProtoOARefreshTokenReq(refreshToken="forged"),
        account_auth(sandbox.ctrader.accounts[0], "forged"),
    ):
        assert (await client.request(request)).code == "CH_ACCESS_TOKEN_INVALID"


async def test_a_token_of_another_application_is_refused(sandbox: Sandbox, client: RawClient) -> None:
    await client.authenticate(sandbox)
    state = sandbox.ctrader.state
    foreign = state.add_grant(state.add_application(), sandbox.ctrader.person)
    assert (await client.request(account_auth(sandbox.ctrader.accounts[0], foreign))).code == "CH_ACCESS_TOKEN_INVALID"
    assert (await client.request(pb.ProtoOARefreshTokenReq(refreshToken=foreign.refresh_token))).code == "CH_ACCESS_TOKEN_INVALID"


async def test_account_authentication_carries_the_account_and_nothing_else(sandbox: Sandbox, either: RawClient) -> None:
    grant = await either.authenticate(sandbox)
    account = sandbox.ctrader.accounts[0]
    reply = await either.request(account_auth(account, grant))
    assert (reply.name, [(field.name, value) for field, value in reply.message.ListFields()]) == (
        "ProtoOAAccountAuthRes",
        [("ctidTraderAccountId", account.id)],
    )


@pytest.mark.parametrize(("environment", "foreign"), [("demo", True), ("live", False)])
async def test_an_account_on_the_wrong_host_cannot_be_routed(sandbox: Sandbox, environment: str, foreign: bool) -> None:
    account = next(one for one in sandbox.ctrader.accounts if one.is_live == foreign)
    async with await connect(sandbox, "live" if environment == "live" else "demo") as client:
        grant = await client.authenticate(sandbox)
        reply = await client.request(account_auth(account, grant))
    assert (reply.code, reply.message.ctidTraderAccountId) == ("CANT_ROUTE_REQUEST", account.id)


async def test_an_account_authenticated_twice_is_told_so_and_stays(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    grant = await client.authenticate(sandbox, account)
    reply = await client.request(account_auth(account, grant))
    assert (reply.code, reply.message.description) == ("ALREADY_LOGGED_IN", "Trading account is already authorized in this channel")
    assert (await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))).name == "ProtoOATraderRes"


async def test_the_same_account_may_be_authorised_on_two_connections(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    grant = await client.authenticate(sandbox, account)
    async with await connect(sandbox, transport="websocket") as second:
        assert await second.authenticate(sandbox, account, grant=grant) is grant


@pytest.mark.parametrize("kind", ["unknown", "login", "not granted"])
async def test_an_account_that_the_token_does_not_open_is_not_found(sandbox: Sandbox, client: RawClient, kind: str) -> None:
    ct = sandbox.ctrader
    first, second = ct.accounts[:2]
    grant = ct.state.add_grant(ct.application, ct.person, account_ids=[first.id])
    await client.authenticate(sandbox)
    account_id = {"unknown": 1, "login": first.login, "not granted": second.id}[kind]
    reply = await client.request(account_auth(account_id, grant))
    assert (reply.code, reply.message.ctidTraderAccountId) == ("CH_CTID_TRADER_ACCOUNT_NOT_FOUND", account_id)


async def test_a_disabled_account_is_refused_and_the_others_are_not(sandbox: Sandbox, client: RawClient) -> None:
    bad, good = sandbox.ctrader.accounts[:2]
    bad.refusal = "RET_ACCOUNT_DISABLED"
    grant = await client.authenticate(sandbox, good)
    assert (await client.request(account_auth(bad, grant))).code == "RET_ACCOUNT_DISABLED"


@pytest.mark.parametrize("code", ["INVALID_REQUEST", "ACCOUNT_NOT_AUTHORIZED"])
async def test_a_request_about_an_account_that_is_not_authorised_is_refused(sandbox: Sandbox, client: RawClient, code: str) -> None:
    sandbox.ctrader.settings.unauthorized_account_code = "INVALID_REQUEST" if code == "INVALID_REQUEST" else "ACCOUNT_NOT_AUTHORIZED"
    sandbox.ctrader.settings.historical = frozenset()
    await client.authenticate(sandbox)
    bound = [cls for cls in registry.REPLIES if registry.is_account_bound(cls) and cls is not pb.ProtoOAAccountAuthReq]
    for cls in bound:
        reply = await client.request(filled(cls, ctidTraderAccountId=7))
        said = (reply.code, reply.message.description, reply.message.ctidTraderAccountId)
        assert said == (code, "Trading account is not authorized", 7), cls
    assert len(bound) > 30


async def test_log_out_ends_the_account_by_an_event_after_the_reply(sandbox: Sandbox, client: RawClient) -> None:
    account = sandbox.ctrader.accounts[0]
    await client.authenticate(sandbox, account)
    assert (await client.request(pb.ProtoOAAccountLogoutReq(ctidTraderAccountId=account.id))).name == "ProtoOAAccountLogoutRes"
    event = await client.receive()
    assert (event.name, event.message.ctidTraderAccountId, event.message_id) == ("ProtoOAAccountDisconnectEvent", account.id, "")
    assert (await client.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))).code == "INVALID_REQUEST"


async def test_the_profile_behind_a_token_is_a_user_id(sandbox: Sandbox, client: RawClient) -> None:
    grant = await client.authenticate(sandbox)
    reply = await client.request(pb.ProtoOAGetCtidProfileByTokenReq(accessToken=grant.access_token))
    assert reply.message.profile.userId == sandbox.ctrader.person.user_id
