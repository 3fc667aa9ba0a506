"""The first level against the sandbox: wizard, second factors, refreshes; and what is never sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tradesession import b2core
from tradesession.b2core.grants import LOCKED_OUT
from tradesession.errors import (
    ReauthorizationRequired,
    SessionClosed,
    TokenEndpointUnreachable,
    TokenError,
    TokenRefused,
    UncertainExchange,
)
from tradesession.sandbox import Sandbox
from tradesession.sandbox.b2core import B2CoreSandbox
from tradesession.secrets import Secret
from tradesession.session.manager import SessionManager
from tradesession.session.services import TokenPlan
from tradesession.tokens.exchange import Exchange
from tradesession.tokens.token import Token

SignIns = Callable[..., Exchange]


@pytest.fixture
async def sign_in(sandbox: Sandbox) -> AsyncIterator[SignIns]:
    """The exchange of the first level, by the options of a configuration."""
    plans: list[TokenPlan] = []

    def make(**options: Any) -> Exchange:
        plan = sandbox.b2core.config(**options).token_plan(sandbox.clock).parent
        plans.append(plan)
        return plan.exchange

    yield make
    for plan in plans:
        await plan.aclose()


async def after(sandbox: Sandbox, seconds: float, work: Awaitable[Token]) -> Token:
    """What the work comes to while that much time passes."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0.01)
    await sandbox.clock.advance(seconds)
    return await task


def code_of(server: B2CoreSandbox, asked: list[b2core.CodeRequest] | None = None) -> b2core.AskCode:
    async def ask(request: b2core.CodeRequest) -> str:
        if asked is not None:
            asked.append(request)
        return server.state.codes[-1]

    return ask


# --- the way through ------------------------------------------------------------------------------------------------------------------


async def test_email_and_password_lead_to_a_bearer_in_two_requests(sign_in: SignIns, server: B2CoreSandbox) -> None:
    token = await sign_in()(None)
    assert server.state.is_good_bearer(token.access.reveal())
    assert token.lifetime == pytest.approx(3600, abs=2)
    assert dict(server.state.requests) == {"GET /api/v2/my/signin/wizard": 1, "POST /api/v2/my/signin": 1}


@pytest.mark.parametrize("moments", ["iso", "naive", "unix", "milliseconds"])
async def test_every_way_to_write_a_moment_is_understood(sign_in: SignIns, server: B2CoreSandbox, moments: Any) -> None:
    server.settings.moments = moments
    server.settings.opaque_bearer = True
    token = await sign_in()(None)
    assert token.lifetime == pytest.approx(3600, abs=2)


async def test_the_older_wizard_that_says_done_at_once_is_none_the_wiser(sign_in: SignIns, server: B2CoreSandbox) -> None:
    server.settings.wizard_done = True
    assert (await sign_in()(None)).refresh


@pytest.mark.parametrize("method", ["google", "sms", "email"])
async def test_a_second_factor_is_asked_of_a_person(sign_in: SignIns, server: B2CoreSandbox, method: Any) -> None:
    server.settings.two_factor = method
    asked: list[b2core.CodeRequest] = []
    await sign_in(ask_code=code_of(server, asked))(None)
    assert asked == [b2core.CodeRequest(method, server.email)]
    assert server.state.requests[f"POST /api/v2/my/2fa/{method}"] == 1


@pytest.mark.parametrize("preferred", ["google", "sms"])
async def test_of_two_second_factors_the_preferred_one_is_chosen(sign_in: SignIns, server: B2CoreSandbox, preferred: Any) -> None:
    server.settings.two_factor = "both"
    asked: list[b2core.CodeRequest] = []
    await sign_in(ask_code=code_of(server, asked), code_method=preferred)(None)
    assert [request.method for request in asked] == [preferred]
    assert server.state.requests["POST /api/v2/my/signin/2fa"] == 1


async def test_a_factor_that_is_not_offered_is_not_insisted_on(sign_in: SignIns, server: B2CoreSandbox) -> None:
    server.settings.two_factor = "both"
    asked: list[b2core.CodeRequest] = []
    await sign_in(ask_code=code_of(server, asked), code_method="email")(None)
    assert [request.method for request in asked] == ["google"]


async def test_a_code_may_be_given_as_a_secret(sign_in: SignIns, server: B2CoreSandbox) -> None:
    server.settings.two_factor = "sms"

    async def ask(request: b2core.CodeRequest) -> Secret:
        return Secret(server.state.codes[-1])

    assert (await sign_in(ask_code=ask)(None)).access


# --- what is never sent twice ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["envelope", "laravel"])
async def test_a_wrong_password_is_sent_once_however_often_it_is_asked(
    sandbox: Sandbox, sign_in: SignIns, server: B2CoreSandbox, shape: Any
) -> None:
    server.settings.errors = shape
    exchange = sign_in(password="planted-wrong")
    for _ in range(20):
        with pytest.raises(b2core.SignInRefused, match="do not match our records") as caught:
            await exchange(None)
        await sandbox.clock.advance(hours=1)
        assert "planted-wrong" not in str(caught.value)
        assert not caught.value.verdict.is_retryable
    assert server.state.passwords == ["planted-wrong"]


async def test_with_recaptcha_on_nothing_is_sent_and_nothing_asked_for_ten_minutes(
    sandbox: Sandbox, sign_in: SignIns, server: B2CoreSandbox
) -> None:
    server.faults.recaptcha = True
    exchange = sign_in()
    for _ in range(20):
        with pytest.raises(b2core.CaptchaRequired, match="access_token"):
            await exchange(None)
    assert dict(server.state.requests) == {"GET /api/v2/my/signin/wizard": 1}
    server.faults.recaptcha = False  # the broker turned it off: nothing stands in the way any more
    await sandbox.clock.advance(LOCKED_OUT)
    assert (await exchange(None)).access


async def test_with_a_recaptcha_that_is_wanted_behind_the_password_it_is_sent_once(
    sign_in: SignIns, server: B2CoreSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = server._core.sign_in
    monkeypatch.setattr(
        server._core, "sign_in", lambda body: told(body) | {"data": {}, "workflow": "recaptcha", "code": 200, "done": False}
    )
    exchange = sign_in()
    for _ in range(20):
        with pytest.raises(b2core.CaptchaRequired, match="browser"):
            await exchange(None)
    assert len(server.state.passwords) == 1


async def test_a_forced_reset_is_for_a_person_and_not_tried_again(sign_in: SignIns, server: B2CoreSandbox) -> None:
    server.faults.forced_reset = True
    exchange = sign_in()
    for _ in range(3):
        with pytest.raises(b2core.PasswordResetRequired):
            await exchange(None)
    assert len(server.state.passwords) == 1


@pytest.mark.parametrize("answer", ["nobody to ask", "nothing", "a failure", "no answer"])
async def test_a_code_that_does_not_come_is_not_asked_for_again_at_once(
    sandbox: Sandbox, sign_in: SignIns, server: B2CoreSandbox, answer: str
) -> None:
    server.settings.two_factor = "sms"
    calls = 0

    async def ask(request: b2core.CodeRequest) -> str:
        nonlocal calls
        calls += 1
        if answer == "a failure":
            raise RuntimeError("planted-secret in the text of an exception")
        if answer == "no answer":
            await asyncio.Event().wait()
        return ""

    exchange = sign_in(ask_code=None if answer == "nobody to ask" else ask)
    for _ in range(3):
        with pytest.raises(b2core.CodeRequired) as caught:
            await after(sandbox, 121, exchange(None))
        assert caught.value.verdict.needs_human
        assert "planted-secret" not in str(caught.value)
    assert len(server.state.passwords) == 1
    assert calls <= 1
    await sandbox.clock.advance(LOCKED_OUT)
    with pytest.raises(b2core.CodeRequired):  # a person may be back: another sign-in, another message
        await after(sandbox, 121, exchange(None))
    assert len(server.state.passwords) == 2


async def test_where_nobody_can_be_asked_no_message_is_sent_either(sign_in: SignIns, server: B2CoreSandbox) -> None:
    server.settings.two_factor = "both"
    with pytest.raises(b2core.CodeRequired, match=r"two-factor code \(sms\), and nobody can be asked"):
        await sign_in(code_method="sms")(None)
    assert server.state.codes == []


async def test_a_wrong_code_is_an_error_of_its_own(sign_in: SignIns, server: B2CoreSandbox) -> None:
    server.settings.two_factor = "google"

    async def ask(request: b2core.CodeRequest) -> str:
        return "planted-wrong-code"

    exchange = sign_in(ask_code=ask)
    for _ in range(2):
        with pytest.raises(b2core.CodeRefused) as caught:
            await exchange(None)
        assert "planted-wrong-code" not in str(caught.value)
    assert server.state.requests["POST /api/v2/my/2fa/google"] == 1


async def test_a_cancelled_question_is_no_failure(sign_in: SignIns, server: B2CoreSandbox) -> None:
    server.settings.two_factor = "google"
    is_asked = asyncio.Event()

    async def ask(request: b2core.CodeRequest) -> str:
        is_asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.ensure_future(sign_in(ask_code=ask)(None))
    await is_asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_somebody_elses_lockout_is_waited_for(sandbox: Sandbox, sign_in: SignIns, server: B2CoreSandbox) -> None:
    for _ in range(5):
        with pytest.raises(b2core.SignInRefused):
            await sign_in(password="guessed by somebody")(None)
    exchange = sign_in()
    with pytest.raises(TokenEndpointUnreachable) as caught:
        await exchange(None)
    assert caught.value.retry_after == pytest.approx(600, abs=5)
    await sandbox.clock.advance(600)
    assert (await exchange(None)).access


@pytest.mark.parametrize("fault", ["wrong_uuid", "same_uuid"])
async def test_a_uuid_that_goes_wrong_ends_in_an_answer(sign_in: SignIns, server: B2CoreSandbox, fault: str) -> None:
    setattr(server.faults, fault, True)
    exchange = sign_in()
    if fault == "wrong_uuid":
        with pytest.raises(b2core.SignInRefused, match="wizard is not known"):
            await exchange(None)
        assert server.state.passwords == []
    else:
        assert [await exchange(None) for _ in range(3)]


# --- refresh ------------------------------------------------------------------------------------------------------------------------------


async def test_a_bearer_is_refreshed_without_the_password(sign_in: SignIns, server: B2CoreSandbox) -> None:
    exchange = sign_in()
    first = await exchange(None)
    second = await exchange(first)
    assert second.access != first.access
    assert len(server.state.passwords) == 1
    assert server.state.requests["POST /api/v2/my/refresh"] == 1


async def test_a_refused_refresh_falls_back_on_the_credentials(sign_in: SignIns, server: B2CoreSandbox) -> None:
    exchange = sign_in()
    first = await exchange(None)
    server.state.end_bearers(refresh_too=True)
    assert server.state.is_good_bearer((await exchange(first)).access.reveal())
    assert len(server.state.passwords) == 2


async def test_a_refresh_token_past_its_time_is_not_even_shown(sandbox: Sandbox, sign_in: SignIns, server: B2CoreSandbox) -> None:
    exchange = sign_in()
    first = await exchange(None)
    await sandbox.clock.advance(days=2)
    assert (await exchange(first)).access
    assert server.state.requests["POST /api/v2/my/refresh"] == 0


async def test_a_lost_answer_is_uncertain_once_and_then_the_credentials_lead_on(sign_in: SignIns, server: B2CoreSandbox) -> None:
    exchange = sign_in()
    first = await exchange(None)
    server.faults.token_reply_lost = True
    with pytest.raises(UncertainExchange):
        await exchange(first)
    with pytest.raises(TokenEndpointUnreachable):  # refused now, as it is spent: so the password, whose answer is lost as well
        await exchange(first)
    server.faults.token_reply_lost = False
    assert (await exchange(first)).access


async def test_without_credentials_a_dead_bearer_needs_a_person(sign_in: SignIns, server: B2CoreSandbox) -> None:
    bearer = server.state.bearer()
    exchange = sign_in(email="", password=None, access_token=bearer.access)
    with pytest.raises(ReauthorizationRequired, match="access_token"):
        await exchange(Token(access=Secret(bearer.access)))
    assert server.state.requests.total() == 0


async def test_a_given_bearer_is_refreshed_by_its_refresh_token(sign_in: SignIns, server: B2CoreSandbox) -> None:
    bearer = server.state.bearer()
    exchange = sign_in(email="", password=None, access_token=bearer.access, refresh_token=bearer.refresh)
    given = Token(access=Secret(bearer.access), refresh=Secret(bearer.refresh))
    assert server.state.is_good_bearer((await exchange(given)).access.reveal())
    with pytest.raises(ReauthorizationRequired):
        await exchange(given)


# --- when the server is unwell -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_server_that_is_unwell_is_left_alone_for_a_while(sign_in: SignIns, server: B2CoreSandbox, status: int) -> None:
    server.faults.sign_in_status = status
    with pytest.raises(TokenEndpointUnreachable):
        await sign_in()(None)


async def test_a_sign_in_without_an_answer_is_not_repeated_soon(sign_in: SignIns, server: B2CoreSandbox) -> None:
    server.faults.token_reply_lost = True
    with pytest.raises(TokenEndpointUnreachable) as caught:
        await sign_in()(None)
    assert len(server.state.passwords) == 1
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 12  # five a minute lock the user out


async def test_an_endpoint_that_swallows_sign_ins_gets_them_ever_more_seldom(
    sandbox: Sandbox, manager: SessionManager, server: B2CoreSandbox
) -> None:
    server.faults.token_reply_lost = True
    keeper = manager.tokens(server.config())
    asking = asyncio.ensure_future(keeper.get())
    for _ in range(24 * 12):
        if asking.done():
            assert isinstance(asking.exception(), TokenEndpointUnreachable)
            asking = asyncio.ensure_future(keeper.get())
        await sandbox.clock.advance(300)
        await asyncio.sleep(0.001)
    asking.cancel()
    await asyncio.wait([asking])
    assert 3 <= len(server.state.passwords) <= 160  # six an hour at most, once it is clear that nobody answers


async def test_a_redirect_is_not_followed(sign_in: SignIns, server: B2CoreSandbox) -> None:
    server.faults.redirect = "https://elsewhere.example"
    with pytest.raises(TokenError, match="not followed"):
        await sign_in()(None)
    assert server.state.passwords == []


async def test_nobody_who_listens_is_no_refusal(sandbox: Sandbox) -> None:
    config = sandbox.b2core.config()
    plan = config.token_plan(sandbox.clock).parent
    await sandbox.b2core.aclose()
    with pytest.raises(TokenEndpointUnreachable):
        await plan.exchange(None)
    await plan.aclose()


async def test_a_sign_in_whose_every_step_is_slow_sends_the_password_once(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    server.faults.token_delay = 25.0
    server.settings.two_factor = "both"
    async with SessionManager(clock=sandbox.clock) as manager:
        opening = asyncio.ensure_future(manager.tokens(server.config(ask_code=code_of(server), request_timeout=60)).get())
        while not opening.done():
            await sandbox.clock.advance(1)
            await asyncio.sleep(0.001)
        assert server.state.is_good((await opening).access.reveal())
    assert len(server.state.passwords) == 1


async def test_through_a_keeper_a_wrong_password_is_sent_once_too(sandbox: Sandbox, server: B2CoreSandbox) -> None:
    async with SessionManager(clock=sandbox.clock) as manager:
        keeper = manager.tokens(server.config(password="wrong"))
        for _ in range(10):
            with pytest.raises((TokenRefused, TokenEndpointUnreachable)):
                await keeper.get()
            await sandbox.clock.advance(hours=1)
    assert server.state.passwords == ["wrong"]
    with pytest.raises(SessionClosed):
        await keeper.get()
