"""The steps of the handshake against a scripted server: bare replies, events between, answers out of order, refusals of every kind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from tests.ctrader.scripted import Reply, Server, Tokens, accounts, plainly, refused
from tests.session.lines import turns
from tradesession.ctrader import messages as pb
from tradesession.ctrader.accounts import Account
from tradesession.ctrader.config import Config
from tradesession.ctrader.handshake import authenticate_application, authorise, list_accounts
from tradesession.ctrader.registry import payload_type_of
from tradesession.errors import DeadlineExceeded, LinkLost, ProtocolError, ReauthorizationRequired, Rejected, TokenEndpointUnreachable
from tradesession.verdict import Action

pytestmark = pytest.mark.usefixtures("leaks")

CONFIG = Config(client_id="app", client_secret="planted-1", step_timeout=10)
AUTHORISED = payload_type_of(pb.ProtoOAAccountAuthRes)


async def shake(server: Server, tokens: Tokens | None = None) -> list[Account]:
    """All three steps; the accounts that were authorised, in the order of their answers."""
    tokens = tokens or Tokens("planted-2")
    await authenticate_application(server.link, CONFIG)
    granted = await list_accounts(server.link, tokens, CONFIG)
    done: list[Account] = []

    async def one(account: Account) -> None:
        account.token = await authorise(server.link, account, tokens, CONFIG)
        done.append(account)

    async with asyncio.TaskGroup() as group:
        for account in granted:
            group.create_task(one(account))
    return done


def with_events(request: Message) -> Sequence[Reply]:
    noise: list[Reply] = [
        (pb.ProtoHeartbeatEvent(), False),
        (pb.ProtoOASpotEvent(ctidTraderAccountId=1, symbolId=1, bid=1), False),
        (pb.ProtoOAExecutionEvent(ctidTraderAccountId=1, executionType=pb.ProtoOAExecutionType.ORDER_FILLED), False),
    ]
    return [*noise, *plainly(request), *noise]


# --- the way through ----------------------------------------------------------------------------------------------------------------


async def test_the_steps_ask_for_what_the_open_api_wants_and_nothing_more() -> None:
    server = Server()
    assert [account.id for account in await shake(server)] == [1, 2, 3]
    application, listing, *authorisations = server.requests
    assert application == pb.ProtoOAApplicationAuthReq(clientId="app", clientSecret="planted-1")
    assert listing == pb.ProtoOAGetAccountListByAccessTokenReq(accessToken="planted-2")
    assert authorisations == [pb.ProtoOAAccountAuthReq(ctidTraderAccountId=number, accessToken="planted-2") for number in (1, 2, 3)]
    assert [kind for kind, *_ in server.events] == [AUTHORISED] * 3, "in wire order with what comes about the accounts"


@pytest.mark.parametrize(
    ("field", "value", "attribute"),
    [("isLive", True, "is_live"), ("isLive", False, "is_live"), ("traderLogin", 55, "login"), ("brokerTitleShort", "B", "broker")],
)
async def test_each_optional_field_may_be_the_only_one(field: str, value: Any, attribute: str) -> None:
    listed = accounts(1)
    setattr(listed.ctidTraderAccount[0], field, value)
    server = Server(lambda request: [(listed, True)] if isinstance(request, pb.ProtoOAGetAccountListByAccessTokenReq) else plainly(request))
    (account,) = await shake(server)
    assert getattr(account, attribute) == value


async def test_even_required_fields_that_nobody_needs_may_be_missing() -> None:
    bare = pb.ProtoOAGetAccountListByAccessTokenRes(ctidTraderAccount=[pb.ProtoOACtidTraderAccount(ctidTraderAccountId=4)])

    def answer(request: Message) -> Sequence[Reply]:
        match request:
            case pb.ProtoOAGetAccountListByAccessTokenReq():
                return [(bare, True)]
            case pb.ProtoOAAccountAuthReq():
                return [(pb.ProtoOAAccountAuthRes(), True)]
        return plainly(request)

    assert [account.id for account in await shake(Server(answer))] == [4]


async def test_events_between_request_and_reply_are_handed_on_and_disturb_nothing() -> None:
    server = Server(with_events)
    assert len(await shake(server)) == 3
    assert len([kind for kind, *_ in server.events if kind != AUTHORISED]) == 6 * 5


@given(st.permutations(range(3)))
def test_pipelined_authorisations_may_be_answered_in_any_order(order: list[int]) -> None:
    async def play() -> None:
        server = Server()
        tokens = Tokens("planted-2")
        granted = await list_accounts(server.link, tokens, CONFIG)
        server.hold = True
        done: list[int] = []

        async def one(account: Account) -> None:
            await authorise(server.link, account, tokens, CONFIG)
            done.append(account.id)

        async with asyncio.TaskGroup() as group:
            for account in granted:
                group.create_task(one(account))
            await turns(20)
            assert len(server.of(pb.ProtoOAAccountAuthReq)) == 3, "none waits for the other's answer"
            server.release(lambda held: [held[place] for place in order])
        assert done == [order[place] + 1 for place in range(3)]

    asyncio.run(play())


@pytest.mark.parametrize("code", ["ALREADY_LOGGED_IN", "CH_CLIENT_ALREADY_AUTHENTICATED"])
async def test_what_is_so_already_is_as_good_as_done(code: str) -> None:
    def answer(request: Message) -> Sequence[Reply]:
        is_list = isinstance(request, pb.ProtoOAGetAccountListByAccessTokenReq)
        return plainly(request) if is_list else [(refused(code), True)]

    assert len(await shake(Server(answer))) == 3


# --- refusals -----------------------------------------------------------------------------------------------------------------------


async def test_one_bad_account_does_not_hold_back_the_others() -> None:
    def answer(request: Message) -> Sequence[Reply]:
        if isinstance(request, pb.ProtoOAAccountAuthReq) and request.ctidTraderAccountId == 2:
            return [(refused("RET_ACCOUNT_DISABLED", 2), True)]
        return plainly(request)

    server, tokens = Server(answer), Tokens("planted-2")
    granted = await list_accounts(server.link, tokens, CONFIG)
    outcomes = await asyncio.gather(*(authorise(server.link, one, tokens, CONFIG) for one in granted), return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Token", "Rejected", "Token"]
    assert isinstance(outcomes[1], Rejected)
    assert outcomes[1].account_id == 2
    assert tokens.rejected == []


async def test_a_refused_secret_is_told_with_its_remedy_and_without_itself() -> None:
    server = Server(lambda request: [(refused("CH_CLIENT_AUTH_FAILURE", description="clientSecret planted-1 is incorrect"), True)])
    with pytest.raises(Rejected, match=r"ProtoOAApplicationAuthReq was refused with CH_CLIENT_AUTH_FAILURE .*check client id") as caught:
        await authenticate_application(server.link, CONFIG)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("code", ["CH_ACCESS_TOKEN_INVALID", "OA_AUTH_TOKEN_EXPIRED"])
async def test_a_refused_token_is_renewed_once(code: str) -> None:
    def answer(request: Message) -> Sequence[Reply]:
        if getattr(request, "accessToken", "") == "old":
            return [(refused(code), True)]
        return plainly(request)

    tokens = Tokens("old", "new")
    done = await shake(Server(answer), tokens)
    assert [account.token.generation for account in done if account.token is not None] == [1, 1, 1]
    assert tokens.rejected == [0]


async def test_a_renewed_token_that_is_refused_too_is_the_end() -> None:
    server = Server(lambda request: [(refused("CH_ACCESS_TOKEN_INVALID"), True)])
    tokens = Tokens("first", "second", "third")
    with pytest.raises(Rejected) as caught:
        await list_accounts(server.link, tokens, CONFIG)
    assert caught.value.verdict.action is Action.REFRESH
    assert (tokens.rejected, len(server.requests)) == ([0], 2)


async def test_a_token_that_cannot_be_renewed_is_not_asked_with_again() -> None:
    server = Server(lambda request: [(refused("CH_ACCESS_TOKEN_INVALID"), True)])
    with pytest.raises(Rejected, match="CH_ACCESS_TOKEN_INVALID"):
        await list_accounts(server.link, Tokens("only"), CONFIG)
    assert len(server.requests) == 1


@pytest.mark.parametrize("error", [ReauthorizationRequired("consent again"), TokenEndpointUnreachable("down")])
async def test_what_the_keeper_says_comes_with_what_the_server_said(error: Any) -> None:
    server = Server(lambda request: [(refused("CH_ACCESS_TOKEN_INVALID"), True)])
    with pytest.raises(type(error)) as caught:
        await list_accounts(server.link, Tokens("old", refuses=error), CONFIG)
    assert caught.value is error
    assert isinstance(error.__cause__, Rejected)


async def test_another_refusal_costs_no_token() -> None:
    server = Server(lambda request: [(refused("CANT_ROUTE_REQUEST", 1), True)])
    tokens = Tokens("one", "two")
    with pytest.raises(Rejected, match="CANT_ROUTE_REQUEST"):
        await authorise(server.link, Account(1), tokens, CONFIG)
    assert (tokens.rejected, tokens.asked) == ([], 1)


@pytest.mark.parametrize(
    "reply",
    [
        pb.ProtoErrorRes(errorCode="UNKNOWN_ERROR"),
        pb.ProtoOAErrorRes(errorCode="UNKNOWN_ERROR"),
        pb.ProtoOAErrorRes(),
    ],
)
async def test_every_kind_of_error_reply_refuses_every_step(reply: Message) -> None:
    server = Server(lambda request: [(reply, True)])
    tokens = Tokens("planted-2")
    steps = (
        authenticate_application(server.link, CONFIG),
        list_accounts(server.link, tokens, CONFIG),
        authorise(server.link, Account(1), tokens, CONFIG),
    )
    for step in steps:
        with pytest.raises(Rejected, match="UNKNOWN_ERROR"):
            await step
    assert server.link.cause is None


@pytest.mark.parametrize("code", ["BLOCKED_PAYLOAD_TYPE", "REQUEST_FREQUENCY_EXCEEDED"])
async def test_a_quota_that_is_used_up_is_waited_for_once(code: str) -> None:
    refusals: list[Message] = []

    def answer(request: Message) -> list[tuple[Message, bool]]:
        if type(request) in {type(refusal) for refusal in refusals}:
            return plainly(request)
        refusals.append(request)
        return [(pb.ProtoOAErrorRes(errorCode=code, retryAfter=3), True)]

    server, tokens = Server(answer), Tokens("planted-2")
    for step in (
        lambda: authenticate_application(server.link, CONFIG),
        lambda: list_accounts(server.link, tokens, CONFIG),
        lambda: authorise(server.link, Account(1), tokens, CONFIG),
    ):
        running = asyncio.ensure_future(step())
        await turns()
        server.clock.advance(2.9)
        await turns()
        assert not running.done()
        server.clock.advance(0.1)
        await running
    assert len(refusals) == 3
    assert len(server.requests) == 6


@pytest.mark.parametrize(("after", "requests"), [(3, 2), (11, 1)])
async def test_a_quota_that_stays_used_up_or_is_far_away_ends_the_step(after: int, requests: int) -> None:
    server = Server(lambda request: [(pb.ProtoOAErrorRes(errorCode="BLOCKED_PAYLOAD_TYPE", retryAfter=after), True)])
    step = asyncio.ensure_future(authenticate_application(server.link, CONFIG))
    await turns()
    server.clock.advance(3)
    with pytest.raises(Rejected, match="BLOCKED_PAYLOAD_TYPE"):
        await step
    assert len(server.requests) == requests


# --- no answer ----------------------------------------------------------------------------------------------------------------------


async def test_a_wrong_answer_ends_the_step_and_not_the_link() -> None:
    server = Server(lambda request: [(pb.ProtoOAVersionRes(version="1"), True)])
    with pytest.raises(ProtocolError, match="ProtoOAApplicationAuthReq was answered with ProtoOAVersionRes"):
        await authenticate_application(server.link, CONFIG)
    assert server.link.cause is None


async def test_an_answer_without_the_id_is_no_answer_and_the_step_ends_at_its_deadline() -> None:
    server = Server(lambda request: [(message, False) for message, _ in plainly(request)])
    step = asyncio.ensure_future(authenticate_application(server.link, CONFIG))
    await turns()
    server.clock.advance(9.9)
    await turns()
    assert not step.done()
    server.clock.advance(0.1)
    with pytest.raises(DeadlineExceeded, match="ProtoOAApplicationAuthReq was not answered within 10 s"):
        await step
    assert len(server.events) == 1


async def test_a_loss_ends_every_step_under_way() -> None:
    server, tokens = Server(lambda request: []), Tokens("planted-2")
    steps = [asyncio.ensure_future(authorise(server.link, Account(number), tokens, CONFIG)) for number in (1, 2, 3)]
    await turns()
    server.abort()
    await asyncio.wait(steps)
    assert [type(step.exception()) for step in steps] == [LinkLost] * 3
    assert server.link.in_flight == 0
