"""The way in: what is asked of whom with which bearer, and what every kind of refusal means."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from aiohttp import web

from tests.signalr.fake import FakeHub, Source, connected
from tradesession import signalr
from tradesession.errors import ConfigurationError, ProtocolError, ReauthorizationRequired, Rejected, TokenEndpointUnreachable, Unreachable
from tradesession.secrets import Secret
from tradesession.timing import AdjustableClock
from tradesession.tokens.token import Token
from tradesession.verdict import Action

pytestmark = pytest.mark.usefixtures("leaks")


async def refused(hub: FakeHub, token: Any = None, **options: Any) -> Exception:
    """What the opening of a hub raises."""
    with pytest.raises(Exception) as caught:
        async with signalr.connect(signalr.Config(hub.url, **options), token=token if token is not None else Source()):
            pass
    return caught.value


# --- the bearer -----------------------------------------------------------------------------------------------------------------------


async def test_the_bearer_is_asked_for_before_each_request_and_stands_in_the_header() -> None:
    source = Source()
    async with FakeHub() as hub, connected(hub, token=source) as (session, served):
        assert hub.bearers() == ["Bearer bearer-number-1"] * 2
        assert source.gets == 2
        assert served.query == {"id": "token-of-connection-1"}
        assert session.connection_id == "public-1"


@pytest.mark.parametrize("place", ["access_token", "signalr_token"])
async def test_the_bearer_stands_in_the_sockets_query_where_that_is_wanted(place: str) -> None:
    async with FakeHub() as hub, connected(hub, bearer_in=place) as (_, served):
        assert hub.bearers() == ["Bearer bearer-number-1", None]
        assert served.query == {"id": "token-of-connection-1", place: "bearer-number-1"}


async def test_without_negotiation_there_is_one_request() -> None:
    async with FakeHub() as hub, connected(hub, negotiate=False) as (session, served):
        assert [path for path, _, _ in hub.requests] == ["/hub"]
        assert (served.query, session.connection_id) == ({}, "")


@pytest.mark.parametrize("token", [Secret("given"), Token(access=Secret("given"))])
async def test_a_given_token_is_used_as_it_is(token: Secret | Token) -> None:
    async with FakeHub() as hub, connected(hub, token=token):
        assert hub.bearers() == ["Bearer given"] * 2


async def test_a_hub_may_want_no_bearer() -> None:
    async with FakeHub() as hub:
        opening = asyncio.create_task(hub.shaken())
        async with signalr.connect(hub.url):
            await opening
            assert hub.bearers() == [None, None]


async def test_a_string_is_no_secret() -> None:
    with pytest.raises(ConfigurationError, match="wrap a string in Secret"):
        signalr.connect("https://example.com/hub", token="text")  # type: ignore[arg-type]  # the mistake that is told of


async def test_headers_go_along_everywhere() -> None:
    async with FakeHub() as hub, connected(hub, headers={"X-Key": Secret("k"), "X-Name": "n"}):
        for _, _, headers in hub.requests:
            assert (headers["X-Key"], headers["X-Name"]) == ("k", "n")


# --- 401, 403 and the rest ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answers", "gets"), [([401], 1 + 2), ([0, 401], 2 + 2)])
async def test_a_401_is_reported_and_tried_once_with_another_token(answers: list[int], gets: int) -> None:
    source = Source()
    async with FakeHub() as hub:
        hub.answers += answers
        async with connected(hub, token=source):
            assert source.rejected == ["bearer-number-1"]
            assert source.gets == gets
            assert hub.bearers()[-2:] == ["Bearer bearer-number-2"] * 2


@pytest.mark.parametrize(("answers", "requests"), [([401, 401], 2), ([0, 401, 0, 401], 4), ([401, 0, 401], 3)])
async def test_a_second_401_is_the_last(answers: list[int], requests: int) -> None:
    source = Source()
    async with FakeHub() as hub:
        hub.answers += answers
        error = await refused(hub, source)
    assert isinstance(error, Rejected)
    assert (error.code, error.verdict.action) == ("HTTP 401", Action.REAUTHORIZE)
    assert source.rejected == ["bearer-number-1"]
    assert len(hub.requests) == requests


async def test_a_source_without_another_token_is_not_asked_to_show_the_same_one_twice() -> None:
    class Stubborn(Source):
        async def reject(self, token: Token) -> None:
            self.rejected.append(token.access.reveal())

    source = Stubborn()
    async with FakeHub() as hub:
        hub.answers += [web.Response(status=401, headers={"WWW-Authenticate": 'Bearer error="x", hint="bearer-number-1"'}), 401]
        error = await refused(hub, source)
    assert isinstance(error, Rejected)
    assert len(hub.requests) == 1
    assert 'error="x"' in error.description
    assert "bearer-number-1" not in str(error)


async def test_a_given_token_that_is_refused_is_the_end() -> None:
    async with FakeHub() as hub:
        hub.answers += [401]
        assert isinstance(await refused(hub, Secret("given")), ReauthorizationRequired)
        assert len(hub.requests) == 1


@pytest.mark.parametrize("answers", [[403], [0, 403]])
async def test_a_403_is_never_tried_again(answers: list[int]) -> None:
    source = Source()
    async with FakeHub() as hub:
        hub.answers += answers
        error = await refused(hub, source)
    assert isinstance(error, Rejected)
    assert (error.verdict.action, source.rejected, len(hub.requests)) == (Action.FATAL, [], len(answers))


@pytest.mark.parametrize("before", [[], [0]])
async def test_a_busy_server_says_when_to_come_back(before: list[int | web.Response]) -> None:
    async with FakeHub() as hub:
        hub.answers += [*before, web.Response(status=503, headers={"Retry-After": "7"})]
        error = await refused(hub)
    assert isinstance(error, Rejected)
    assert (error.verdict.action, error.verdict.after) == (Action.RETRY_AFTER, 7)


@pytest.mark.parametrize("before", [[], [0]])
async def test_redirects_of_http_are_refused(before: list[int | web.Response]) -> None:
    async with FakeHub() as hub, FakeHub() as other:
        hub.answers += [*before, web.Response(status=307, headers={"Location": other.url})]
        error = await refused(hub)
    assert isinstance(error, Rejected)
    assert "redirects are not followed" in str(error)
    assert other.requests == []


async def test_an_answer_that_is_none_is_an_error() -> None:
    async with FakeHub() as hub:
        hub.answers += [web.Response(text="<html>")]
        assert isinstance(await refused(hub), ProtocolError)


async def test_a_refusal_in_words_has_the_secrets_masked() -> None:
    async with FakeHub() as hub:
        hub.answers += [web.json_response({"error": "no room for bearer-number-1"})]
        error = await refused(hub)
    assert isinstance(error, Rejected)
    assert "no room for ***" in str(error)


async def test_no_token_is_no_request() -> None:
    source = Source()
    source.fail = TokenEndpointUnreachable("down")
    async with FakeHub() as hub:
        assert await refused(hub, source) is source.fail
        assert hub.requests == []


async def test_a_server_that_is_not_there() -> None:
    async with FakeHub() as hub:
        url = hub.url
    with pytest.raises(Unreachable):
        async with signalr.connect(url, token=Source()):
            pass


async def test_plaintext_is_for_loopback() -> None:
    with pytest.raises(ConfigurationError, match="in the clear"):
        async with signalr.connect("http://example.com/hub", token=Source()):
            pass


async def test_a_negotiation_without_an_answer_is_given_up(clock: AdjustableClock) -> None:
    async with asyncio.TaskGroup() as group:
        reached = asyncio.Event()

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reached.set()
            await reader.read(-1)
            writer.close()

        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hub"

            async def push() -> None:
                await reached.wait()
                await clock.advance(11)

            group.create_task(push())
            with pytest.raises(Unreachable, match="no answer within 10 s"):
                async with signalr.connect(signalr.Config(url, clock=clock), token=Source()):
                    pass


# --- redirects of the negotiation -----------------------------------------------------------------------------------------------------


async def test_a_redirect_has_its_own_token_and_the_own_bearer_stays_at_home() -> None:
    async with FakeHub() as hub, FakeHub() as other:
        hub.redirect = {"url": other.url, "accessToken": "of the other"}
        opening = asyncio.create_task(other.shaken())
        async with signalr.connect(signalr.Config(hub.url, headers={"X-Key": Secret("k"), "X-Name": "n"}), token=Source()):
            await opening
        assert hub.bearers() == ["Bearer bearer-number-1"]
        assert other.bearers() == ["Bearer of the other"] * 2
        assert all("X-Key" not in headers and headers["X-Name"] == "n" for _, _, headers in other.requests)


async def test_a_redirect_to_another_origin_without_a_token_gets_none() -> None:
    async with FakeHub() as hub, FakeHub() as other:
        hub.redirect = {"url": other.url}
        opening = asyncio.create_task(other.shaken())
        async with signalr.connect(hub.url, token=Source()):
            await opening
        assert other.bearers() == [None, None]


async def test_a_redirects_token_that_is_refused_is_negotiated_for_anew_and_the_own_one_is_not_blamed() -> None:
    source = Source()
    async with FakeHub() as hub, FakeHub() as other:
        hub.redirect = {"url": other.url, "accessToken": "of the other"}
        other.answers += [0, 401]
        opening = asyncio.create_task(other.shaken())
        async with signalr.connect(hub.url, token=source):
            await opening
        assert (len(hub.requests), source.rejected) == (2, [])


async def test_redirects_end() -> None:
    async with FakeHub() as hub:
        hub.redirect = {"url": hub.url + "?access_token=shown"}
        error = await refused(hub, max_redirects=3)
    assert isinstance(error, Rejected)
    assert (len(hub.requests), "over 3 times" in str(error), "shown" in str(error)) == (4, True, False)


# --- secrets --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["header", "access_token"])
async def test_nothing_secret_is_logged_whatever_happens(place: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    texts = []
    async with FakeHub() as hub:
        async with connected(hub, bearer_in=place, headers={"X-Key": Secret("secret-key")}) as (session, served):
            await served.send({"type": 7, "error": "I know bearer-number-1 and token-of-connection-1"})
            await session.closed()
            texts.append(str(session.cause))
        hub.answers += [401, 401]
        texts.append(str(await refused(hub, bearer_in=place)))
    texts.append(caplog.text)
    for text in texts:
        assert "bearer-number" not in text
        assert "token-of-connection" not in text
        assert "secret-key" not in text
    assert "I know *** and ***" in texts[0]
