"""Requests with a bearer: one renewal after a 401, one repeat, and never one that could do something twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.tokens.fakes import SLOT, Issuer
from tradesession.clock import ManualClock
from tradesession.errors import DeadlineExceeded, NotSent, OutcomeUnknown, ReauthorizationRequired
from tradesession.protocol.http import HttpReply, HttpRequest
from tradesession.secrets import Secret
from tradesession.session.bearer import BearerHttp
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.stores.memory import MemoryStore
from tradesession.tokens.token import Token

GET = HttpRequest(method="GET", url="https://example.test/accounts")
POST = HttpRequest(method="POST", url="https://example.test/orders", body=Secret("{}"))


class Source:
    """Gives tokens out in order; the next one after a refusal."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = [Token(access=Secret(token)) for token in tokens]
        self.rejected: list[str] = []

    async def get(self, min_ttl: float | None = None) -> Token | None:
        return self._tokens[0] if self._tokens else None

    async def reject(self, token: Token) -> None:
        self.rejected.append(token.access.reveal())
        if len(self._tokens) > 1:
            self._tokens.pop(0)


class Server:
    """Takes the good tokens and refuses others with 401; notes what it was shown."""

    def __init__(self, *good: str, fails: Exception | None = None) -> None:
        self.good = good
        self.fails = fails
        self.shown: list[str] = []

    async def send(self, request: HttpRequest) -> HttpReply:
        header = dict(request.headers).get("Authorization", "")
        assert not header or isinstance(header, Secret), "the bearer is a secret in the request"
        shown = header.reveal() if isinstance(header, Secret) else ""
        self.shown.append(shown)
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        return HttpReply(status=200 if shown.removeprefix("Bearer ") in self.good else 401)


async def test_the_answer_tells_which_secrets_no_text_of_it_may_show() -> None:
    reply = await BearerHttp(Server("a"), Source("a")).send(HttpRequest(method="POST", url=GET.url, body=Secret("b")))
    assert {secret.reveal() for secret in reply.secrets} == {"a", "Bearer a", "b"}


async def test_the_bearer_goes_along_beside_the_requests_own_headers() -> None:
    server = Server("a")
    request = HttpRequest(method="GET", url=GET.url, headers=(("Accept", "application/json"),))
    reply = await BearerHttp(server, Source("a")).send(request)
    assert (reply.status, server.shown) == (200, ["Bearer a"])


async def test_a_401_costs_one_renewal_and_one_repeat() -> None:
    server, source = Server("b"), Source("a", "b")
    assert (await BearerHttp(server, source).send(GET)).status == 200
    assert (source.rejected, server.shown) == (["a"], ["Bearer a", "Bearer b"])


async def test_a_second_401_is_the_answer() -> None:
    server, source = Server(), Source("a", "b", "c")
    assert (await BearerHttp(server, source).send(GET)).status == 401
    assert (source.rejected, server.shown) == (["a"], ["Bearer a", "Bearer b"])


async def test_a_post_is_never_repeated_by_itself_and_the_next_request_has_the_other_token() -> None:
    server, source = Server("b"), Source("a", "b")
    client = BearerHttp(server, source)
    assert (await client.send(POST)).status == 401
    assert server.shown == ["Bearer a"]
    assert (await client.send(POST)).status == 200


async def test_a_post_that_only_reads_may_be_repeated_when_the_caller_says_so() -> None:
    server, source = Server("b"), Source("a", "b")
    assert (await BearerHttp(server, source).send(POST, repeatable=True)).status == 200


async def test_a_get_that_does_something_is_not_repeated_when_the_caller_says_so() -> None:
    server, source = Server("b"), Source("a", "b")
    assert (await BearerHttp(server, source).send(GET, repeatable=False)).status == 401
    assert len(server.shown) == 1


async def test_a_source_without_another_token_is_not_asked_to_repeat_the_refused_one() -> None:
    server, source = Server(), Source("a")
    assert (await BearerHttp(server, source).send(GET)).status == 401
    assert server.shown == ["Bearer a"]


async def test_without_a_token_the_request_goes_without_one() -> None:
    server, source = Server(""), Source()
    assert (await BearerHttp(server, source).send(GET)).status == 200
    assert server.shown == [""]


@pytest.mark.parametrize(("request_", "raised"), [(GET, DeadlineExceeded), (POST, OutcomeUnknown)])
async def test_no_answer_is_harmless_for_what_only_reads(request_: HttpRequest, raised: type[Exception]) -> None:
    server = Server("a", fails=OutcomeUnknown("it left, and no answer came"))
    with pytest.raises(raised, match="it left") as caught:
        await BearerHttp(server, Source("a")).send(request_)
    assert type(caught.value) is raised


async def test_what_never_left_passes_through() -> None:
    with pytest.raises(NotSent):
        await BearerHttp(Server(fails=NotSent("nothing listens")), Source("a")).send(GET)


async def test_a_thousand_refusals_at_once_cause_one_exchange() -> None:
    clock = ManualClock()
    issuer, store = Issuer(clock), MemoryStore(clock=clock)
    await store.put(SLOT, issuer.consent())
    issuer.consent()  # the server takes a newer one only, which nobody here has
    issuer.refresh = "refresh-1"
    async with TokenKeeper(SLOT, store, issuer, clock=clock) as keeper:
        server = _Accepting(lambda token: token == issuer.access)
        replies = await asyncio.gather(*(BearerHttp(server, keeper).send(GET) for _ in range(1000)))
    assert {reply.status for reply in replies} == {200}
    assert issuer.calls == 1


async def test_a_dead_grant_is_what_the_caller_hears() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)

    async def dead(token: Token | None) -> Token:
        raise ReauthorizationRequired("give consent again")

    await store.put(SLOT, Token(access=Secret("a"), refresh=Secret("r")))
    async with TokenKeeper(SLOT, store, dead, clock=clock) as keeper:
        with pytest.raises(ReauthorizationRequired):
            await BearerHttp(Server(), keeper).send(GET)


class _Accepting:
    def __init__(self, accepts: Callable[[str], bool]) -> None:
        self._accepts = accepts

    async def send(self, request: HttpRequest) -> HttpReply:
        header = dict(request.headers)["Authorization"]
        assert isinstance(header, Secret)
        await asyncio.sleep(0)
        return HttpReply(status=200 if self._accepts(header.reveal().removeprefix("Bearer ")) else 401)
