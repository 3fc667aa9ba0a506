"""The exchange: refresh while that goes, else the credential itself; a refresh token is shown once, and so is a wrong password."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.tradingview.certificates import KeyFiles
from tests.tradingview.test_grants import certified, sent
from tradesession import NotSent, OutcomeUnknown, ReauthorizationRequired, Secret, TokenEndpointUnreachable, TokenRefused
from tradesession.clock import ManualClock
from tradesession.errors import Unreachable
from tradesession.hooks import Record, SessionReplaced
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.tokens.token import Token
from tradesession.tradingview import PasswordBearer, ServerOAuth2Bearer, Variant, grants
from tradesession.tradingview.keys import read_key_files
from tradesession.tradingview.refresh import BearerExchange

Answer = dict[str, Any] | int | BaseException


class Endpoint:
    """Answers in turn with fields, statuses or failures, and remembers what was asked."""

    def __init__(self, clock: ManualClock, *answers: Answer) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []

    async def send(self, request: HttpRequest) -> HttpReply:
        self.asked.append(sent(request))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, int):
            return HttpReply(status=answer, sent_at=self.clock.wall())
        status = 400 if "error" in answer else 200
        return HttpReply(status=status, body=json.dumps(answer).encode(), sent_at=self.clock.wall())

    @property
    def ways(self) -> list[str]:
        return [
            "refresh" if form.get("grant_type") == "refresh_token" else "assertion" if "assertion" in form else "login"
            for form in self.asked
        ]


def pair(name: str, **more: Any) -> dict[str, Any]:
    return {"access_token": name, "expires_in": 1200, "refresh_token": f"{name}-r", "refresh_token_expires_in": 2400} | more


class Bench:
    def __init__(self, credential: ServerOAuth2Bearer | PasswordBearer, *answers: Answer) -> None:
        self.clock = ManualClock()
        self.endpoint = Endpoint(self.clock, *answers)
        slot = grants.slot(credential, "broker.example:443")
        self.exchange = BearerExchange(credential, "https://broker.example", slot, self.endpoint, self.clock)
        self.records: list[Record] = []
        self.exchange.hooks.add(self.records.append)
        self.token: Token | None = None

    async def go(self) -> Token:
        """One exchange, as a keeper makes it."""
        new = await self.exchange(self.token)
        self.token = new if self.token is None else self.token.successor(new)
        return self.token

    @property
    def replacements(self) -> list[str]:
        return [record.cause for record in self.records if isinstance(record, SessionReplaced)]


@pytest.fixture
def bench(files: KeyFiles) -> Callable[..., Bench]:
    return lambda *answers: Bench(certified(files), *answers)


async def test_the_first_token_is_had_by_an_assertion_and_the_next_by_its_refresh_token(bench: Callable[..., Bench]) -> None:
    one = bench(pair("a"), pair("b"), pair("c"))
    for _ in range(3):
        await one.go()
        one.clock.advance(960)
    assert one.endpoint.ways == ["assertion", "refresh", "refresh"]
    assert [form.get("refresh_token") for form in one.endpoint.asked] == [None, "a-r", "b-r"]
    assert one.replacements == []


async def test_behind_its_deadline_a_refresh_token_is_not_shown_and_the_session_is_replaced(bench: Callable[..., Bench]) -> None:
    one = bench(pair("a"), pair("b"))
    await one.go()
    one.clock.advance(2400)
    assert (await one.go()).access == Secret("b")
    assert one.endpoint.ways == ["assertion", "assertion"]
    assert one.replacements == ["its refresh token has ended"]


async def test_without_a_deadline_a_refresh_token_is_tried(bench: Callable[..., Bench]) -> None:
    one = bench(pair("a", refresh_token_expires_in=None), pair("b"))
    await one.go()
    one.clock.advance(1_000_000)
    await one.go()
    assert one.endpoint.ways == ["assertion", "refresh"]


async def test_without_a_refresh_token_each_token_is_had_by_an_assertion(bench: Callable[..., Bench]) -> None:
    one = bench({"access_token": "a", "expires_in": 1200}, {"access_token": "b", "expires_in": 1200})
    await one.go()
    await one.go()
    assert one.endpoint.ways == ["assertion", "assertion"]
    assert one.replacements == ["it has no refresh token"]
    first, second = (form["assertion"] for form in one.endpoint.asked)
    assert first != second, "a new one for each call, also in the same second"


@pytest.mark.parametrize(
    "failure",
    [{"error": "invalid_grant"}, {"s": "error", "errmsg": "unknown"}, {"error": "unsupported_grant_type"}, 500, OutcomeUnknown("lost")],
    ids=["invalid_grant", "envelope", "unsupported", "HTTP 500", "no answer"],
)
async def test_a_refresh_that_fails_is_followed_by_an_assertion_at_once_and_never_repeated(
    bench: Callable[..., Bench], failure: Answer
) -> None:
    one = bench(pair("a"), failure, NotSent("down"), pair("b"), pair("c"))
    await one.go()
    with pytest.raises(TokenEndpointUnreachable):  # the assertion did not get through either: the keeper comes again
        await one.go()
    assert (await one.go()).access == Secret("b")
    assert one.endpoint.ways == ["assertion", "refresh", "assertion", "assertion"]
    await one.go()
    assert one.endpoint.ways[-1] == "refresh", "the new pair's refresh token is another one"
    assert one.replacements == ["its refresh token may be spent"]


@pytest.mark.parametrize("failure", [Unreachable("refused"), 503, 429])
async def test_a_refresh_that_surely_did_nothing_may_be_tried_again(bench: Callable[..., Bench], failure: Answer) -> None:
    one = bench(pair("a"), failure, pair("b"))
    await one.go()
    with pytest.raises(TokenEndpointUnreachable):
        await one.go()
    await one.go()
    assert one.endpoint.ways == ["assertion", "refresh", "refresh"]
    assert one.replacements == []


@pytest.mark.parametrize("said", [{}, {"refresh_token": "a-r"}], ids=["not said", "said"])
async def test_a_refresh_token_that_stays_the_same_is_used_again(bench: Callable[..., Bench], said: dict[str, str]) -> None:
    one = bench(pair("a"), {"access_token": "b", "expires_in": 1200, **said}, {"access_token": "c", "expires_in": 1200, **said})
    await one.go()
    await one.go()
    await one.go()
    assert [form.get("refresh_token") for form in one.endpoint.asked] == [None, "a-r", "a-r"]


async def test_a_cancelled_refresh_is_not_shown_again(bench: Callable[..., Bench]) -> None:
    one = bench(pair("a"), asyncio.CancelledError(), pair("b"))
    await one.go()
    with pytest.raises(asyncio.CancelledError):
        await one.go()
    await one.go()
    assert one.endpoint.ways == ["assertion", "refresh", "assertion"]


async def test_by_choice_an_assertion_has_no_jti(files: KeyFiles) -> None:
    for jti in (True, False):
        one = Bench(certified(files, variant=Variant(jti=jti)), pair("a"))
        await one.go()
        payload = one.endpoint.asked[0]["assertion"].split(".")[1]
        assert ("jti" in json.loads(base64.urlsafe_b64decode(payload + "=="))) is jti


async def test_a_refused_assertion_is_told_as_what_it_is(bench: Callable[..., Bench]) -> None:
    one = bench({"error": "invalid_grant", "error_description": "assertion_expired"})
    with pytest.raises(TokenRefused, match=r"assertion_expired.*this machine's clock"):
        await one.go()


async def test_a_signer_of_ones_own_may_wait_in_a_thread_and_its_failure_sends_nothing(files: KeyFiles) -> None:
    threads: list[int] = []
    signer, certificate = read_key_files(files.both)

    class Device:
        fails = True

        def sign(self, message: bytes) -> bytes:
            threads.append(threading.get_ident())
            if self.fails:
                raise OSError("s3cret pin refused")
            return signer.sign(message)

    device = Device()
    credential = ServerOAuth2Bearer(
        token_url="https://broker.example/token",
        client_id="client-1",
        client_secret="s",
        user_id="u",
        app_url="https://app.example",
        signer=device,
        certificate=certificate,
    )
    one = Bench(credential, pair("a"))
    with pytest.raises(TokenEndpointUnreachable, match=r"could not be signed \(OSError\); nothing was sent") as caught:
        await one.go()
    assert "pin" not in str(caught.value)
    assert one.endpoint.asked == []
    device.fails = False
    await one.go()
    assert threads
    assert threading.get_ident() not in threads


# --- passwords ----------------------------------------------------------------------------------------------------------------------


def by_password(*answers: Answer, **options: Any) -> Bench:
    return Bench(PasswordBearer(login="me", password="secret", **options), *answers)


async def test_a_login_is_followed_by_another_login() -> None:
    one = by_password(pair("a"), pair("b"))
    assert (await one.go()).refresh is None, "nobody spends it"
    await one.go()
    assert one.endpoint.ways == ["login", "login"]
    assert one.replacements == [], "that is how it always goes"


async def test_by_choice_a_login_is_refreshed_and_after_that_repeated() -> None:
    one = by_password(
        pair("a"), pair("b"), {"error": "invalid_grant"}, pair("c"), refresh="oauth", token_url="https://broker.example/token"
    )
    await one.go()
    await one.go()
    await one.go()
    assert one.endpoint.ways == ["login", "refresh", "refresh", "login"]
    assert len(one.replacements) == 1


@pytest.mark.parametrize("refusal", [{"s": "error", "errmsg": "Wrong password"}, 401, 403, 404])
async def test_a_refused_password_is_sent_once(refusal: Answer) -> None:
    one = by_password(refusal)
    raised = []
    for _ in range(5):
        with pytest.raises((ReauthorizationRequired, TokenRefused)) as caught:
            await one.go()
        raised.append(str(caught.value))
    assert len(one.endpoint.asked) == 1
    assert len(set(raised)) == 1


@pytest.mark.parametrize("failure", [Unreachable("refused"), OutcomeUnknown("lost"), 503, 500])
async def test_a_password_that_nobody_refused_may_be_sent_again(failure: Answer) -> None:
    one = by_password(failure, pair("a"))
    with pytest.raises(TokenEndpointUnreachable):
        await one.go()
    assert (await one.go()).access == Secret("a")
