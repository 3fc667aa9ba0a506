"""Our client against a hub server: everything that the server offers, and everything that it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from tests.interop.hubs.clients import Recorded, hub_of, keeper_of, read_into
from tests.interop.hubs.raw import FAILED, PATIENCE, UNEXPECTED
from tests.interop.hubs.servers import HubServer
from tradesession import signalr
from tradesession.errors import InvalidRequest, OutcomeUnknown, ReauthorizationRequired, Rejected, StreamOverflow
from tradesession.secrets import Secret
from tradesession.session.states import SessionState
from tradesession.session.streams import Gap
from tradesession.signalr import CallLost, HubClosed, HubError
from tradesession.verdict import Action

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("leaks")]


async def counts(server: HubServer, *names: str) -> list[int]:
    stats = await server.stats()
    return [stats.get(name, 0) for name in names]


# --- the way in -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("negotiate", [True, False])
@pytest.mark.parametrize("place", ["header", "access_token", "signalr_token"])
async def test_the_bearer_is_where_it_was_asked_to_be(server: HubServer, negotiate: bool, place: str) -> None:
    names = ("bearer.header", "bearer.access_token", "bearer.signalr_token")
    before = await counts(server, *names)
    async with hub_of(server, negotiate=negotiate, bearer_in=place) as hub:
        assert await hub.invoke("WhoAmI") == server.facts["client_id"]
        assert [step.name for step in hub.steps] == (["negotiate"] if negotiate else []) + ["connect", "handshake", "restore"]
        assert (await hub.invoke("ConnectionId") == hub.connection_id) == negotiate
    after = await counts(server, *names)
    used = {name.partition(".")[2]: now - then for name, now, then in zip(names, after, before, strict=True) if now > then}
    expected = {place: 1}
    if negotiate:
        expected["header"] = expected.get("header", 0) + 1
    assert used == expected


async def test_a_redirect_is_followed_with_its_token(server: HubServer) -> None:
    config = signalr.Config(server.hub(prefix="/redirect"))
    async with signalr.connect(config, token=Secret("of no use at the other address")) as hub:
        assert await hub.invoke("WhoAmI") == "redirected"


async def test_a_redirect_may_be_too_much(server: HubServer) -> None:
    config = signalr.Config(server.hub(prefix="/redirect"), max_redirects=0)
    with pytest.raises(Rejected, match="redirected over 0 times"):
        async with signalr.connect(config, token=await server.token()):
            pass


async def test_a_refused_token_is_reported_and_another_one_tried_once(server: HubServer) -> None:
    source = Recorded(server)
    first = await source.get()
    await server.revoke()
    async with signalr.connect(server.hub(), token=source) as hub:
        assert await hub.invoke("Echo", 1) == 1
    assert source.rejected == [first]
    assert source.gets == 1 + 1 + 2  # ours, the refused one, and one each for the negotiation and the socket


@pytest.mark.parametrize("negotiate", [True, False])
async def test_a_token_that_is_always_refused_is_tried_twice_and_no_more(server: HubServer, negotiate: bool) -> None:
    (before,) = await counts(server, "refused.forced")
    await server.refuse(10)
    source = Recorded(server)
    try:
        with pytest.raises(Rejected, match="HTTP 401") as caught:
            async with signalr.connect(signalr.Config(server.hub(), negotiate=negotiate), token=source):
                pass
    finally:
        await server.refuse(0)
    assert caught.value.verdict.action is Action.REAUTHORIZE
    assert len(source.rejected) == 1
    assert await counts(server, "refused.forced") == [before + 2]


async def test_a_given_token_that_is_refused_is_not_tried_again(server: HubServer) -> None:
    (before,) = await counts(server, "refused.not a JWT")
    with pytest.raises(ReauthorizationRequired, match="give a new one"):
        async with signalr.connect(server.hub(), token=Secret("no token at all")):
            pass
    assert await counts(server, "refused.not a JWT") == [before + 1]


async def test_a_hub_that_wants_a_bearer_says_so(server: HubServer) -> None:
    with pytest.raises(Rejected, match=r"HTTP 401 .*wants a bearer"):
        async with signalr.connect(server.hub()):
            pass


@pytest.mark.parametrize("negotiate", [True, False])
async def test_a_hub_that_is_not_there(server: HubServer, negotiate: bool) -> None:
    config = signalr.Config(server.base_url + "/hubs/none", negotiate=negotiate)
    with pytest.raises(Rejected, match="HTTP 404: check the path of the hub"):
        async with signalr.connect(config, token=await server.token()):
            pass


async def test_a_hub_that_refuses_the_client_ends_the_session_for_good(refusing_server: HubServer) -> None:
    facts = refusing_server.facts
    config = signalr.Config(refusing_server.hub().replace(facts["mt4_platform"], facts["mt5_platform"]))
    async with keeper_of(refusing_server) as keeper:
        try:
            async with signalr.connect(config, token=keeper) as hub:  # READY comes before the refusal, or not
                await asyncio.wait_for(hub.closed(), PATIENCE)
                assert hub.cause is not None
                raise hub.cause
        except HubClosed as error:
            closed = error
    assert "unknown trade platform" in closed.error
    assert closed.verdict.action is Action.FATAL


async def test_the_greeting_is_there_for_whoever_asks_right_after(server: HubServer) -> None:
    async with hub_of(server) as hub, hub.on("onconnectionSTATUS") as statuses:
        assert await anext(statuses) == {"connected": True}
        for connected in (False, True):
            await server.status(connected=connected)
            assert await anext(statuses) == {"connected": connected}


# --- calls ----------------------------------------------------------------------------------------------------------------------------


async def test_results(server: HubServer) -> None:
    async with hub_of(server) as hub:
        value = {"a": [1, 2.5, None, True], "text": "é<>& \u2028 \U0001f600 \x01\x1e"}
        assert await hub.invoke("Echo", value) == value
        assert await hub.invoke("echo", None) is None
        assert await hub.invoke("Slow", 0) is None
        assert await hub.invoke("Optional", None, 3) == "/3"
        assert len(await hub.invoke("Big", 300_000)) == 300_000


async def test_numbers_may_keep_their_digits(server: HubServer) -> None:
    async with hub_of(server, parse_float=Decimal) as hub, hub.stream("StreamTicks", "EURUSD") as ticks:
        assert isinstance((await anext(ticks))["bid"], Decimal)


@pytest.mark.parametrize(
    ("method", "arguments", "error", "detail"),
    [
        ("Nowhere", (), FAILED.format("Nowhere") + " HubException: Method does not exist.", "Method does not exist."),
        ("Echo", (), FAILED.format("Echo"), ""),
        ("Slow", ("soon",), FAILED.format("Slow"), ""),
        ("Fail", (), UNEXPECTED.format("Fail"), ""),
        ("FailOpenly", (), UNEXPECTED.format("FailOpenly") + " HubException: a hub exception", "a hub exception"),
        ("Count", (1, 0, -1), "The client attempted to invoke the streaming 'Count' method with a non-streaming invocation.", ""),
    ],
)
async def test_errors(server: HubServer, method: str, arguments: tuple[Any, ...], error: str, detail: str) -> None:
    async with hub_of(server) as hub:
        with pytest.raises(HubError) as caught:
            await hub.invoke(method, *arguments)
        assert (caught.value.description, caught.value.detail) == (error, detail)
        assert await hub.invoke("Echo", 1) == 1


async def test_calls_wait_for_each_other_on_the_server_and_find_their_callers(server: HubServer) -> None:
    async with hub_of(server) as hub:
        assert await asyncio.gather(hub.invoke("Slow", 50), *(hub.invoke("Echo", number) for number in range(50))) == [None, *range(50)]


async def test_a_call_without_answer_is_sent(server: HubServer) -> None:
    async with hub_of(server) as hub, hub.on("OnTick") as ticks:
        await hub.send("Nowhere")
        await hub.send("SubscribeToTicks", "EURUSD")
        assert (await anext(ticks))["symbol"] == "EURUSD"


async def test_a_call_that_takes_too_long_is_given_up_and_its_late_answer_dropped(server: HubServer) -> None:
    async with hub_of(server) as hub:
        with pytest.raises(OutcomeUnknown, match=r"no answer came within 0.05 s"):
            await hub.invoke("Slow", 200, timeout=0.05)
        assert await hub.invoke("Echo", 1) == 1


@pytest.mark.parametrize(
    "argument", ["x" * 32_768, eval("[" * 63 + "]" * 63), "\ud800", float("nan")], ids=["long", "deep", "no Unicode", "no number"]
)
async def test_what_would_end_the_connection_does_not_leave(server: HubServer, argument: Any) -> None:
    async with hub_of(server) as hub:
        with pytest.raises(InvalidRequest):
            await hub.invoke("Echo", argument)
        stream = hub.stream("StreamTicks", argument)
        with pytest.raises(InvalidRequest):
            await anext(stream)
        assert await hub.invoke("Echo", 1) == 1


async def test_the_deepest_argument_that_a_server_reads_may_leave(server: HubServer) -> None:
    argument = eval("[" * 62 + "]" * 62)
    async with hub_of(server) as hub:
        assert await hub.invoke("Echo", argument) == argument


# --- streams --------------------------------------------------------------------------------------------------------------------------


async def test_streams_end_fail_and_run_beside_calls(server: HubServer) -> None:
    async with hub_of(server) as hub:
        assert [item async for item in hub.stream("Count", 5, 0, -1)] == list(range(5))
        seen: list[int] = []
        with pytest.raises(HubError) as caught:
            await read_into(seen, hub.stream("Count", 5, 0, 2))
        assert (seen, caught.value.detail) == ([0, 1], "failed at 2")
        with pytest.raises(HubError, match="non-streaming"):
            await anext(hub.stream("Echo", 1))
        async with hub.stream("Count", 1000, 20, -1) as slow:
            assert await anext(slow) == 0
            assert await hub.invoke("Echo", 1) == 1


async def test_a_stream_that_is_left_is_cancelled_on_the_server(server: HubServer) -> None:
    async with hub_of(server) as hub:
        before = await counts(server, "count.opened", "count.closed")
        async with hub.stream("Count", 100_000, 1, -1) as numbers:
            assert [await anext(numbers) for _ in range(3)] == [0, 1, 2]
        async with asyncio.timeout(PATIENCE):
            while await counts(server, "count.opened", "count.closed") != [before[0] + 1, before[1] + 1]:
                await asyncio.sleep(0)
        assert await hub.invoke("Echo", 1) == 1


async def test_a_burst_arrives_whole_and_in_order(server: HubServer) -> None:
    async with hub_of(server) as hub:
        burst = hub.stream("Burst", 30_000, read=lambda tick: tick["lastTime"], limit=40_000, overflow="must_deliver")
        times = [time async for time in burst]
        assert len(times) == 30_000
        assert times == sorted(times, key=lambda time: time.rstrip("Z").ljust(23, "0") if "." in time else time.replace("Z", ".000"))


async def test_a_slow_reader_loses_the_oldest_and_is_told(server: HubServer) -> None:
    async with hub_of(server) as hub:
        stream = hub.stream("Count", 1000, 0, -1, limit=10, gaps=True)
        assert await hub.invoke("Echo", 1) == 1
        while not stream.has_ended:
            await asyncio.sleep(0)
        gap, *numbers = [event async for event in stream]
        assert isinstance(gap, Gap)
        assert (gap.dropped, numbers) == (990, list(range(990, 1000)))
        strict = hub.stream("Count", 1000, 0, -1, limit=10, overflow="must_deliver")
        while not strict.has_ended:
            await asyncio.sleep(0)
        with pytest.raises(StreamOverflow):
            await read_into([], strict)


# --- uploads --------------------------------------------------------------------------------------------------------------------------


async def numbers(upto: int) -> AsyncIterator[int]:
    for number in range(upto):
        yield number


async def test_uploads_reach_the_method(server: HubServer) -> None:
    async def texts() -> AsyncIterator[str]:
        for letter in "abc":
            yield letter

    async with hub_of(server) as hub:
        assert await hub.invoke("Sum", numbers(1000)) == sum(range(1000))
        assert [text async for text in hub.stream("Mirror", texts())] == ["a", "b", "c"]


async def test_an_upload_that_fails_here_fails_here(server: HubServer) -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise KeyError("mine")

    async with hub_of(server) as hub:
        with pytest.raises(KeyError, match="mine"):
            await hub.invoke("Sum", failing())
        with pytest.raises(KeyError, match="mine"):
            await read_into([], hub.stream("Mirror", failing()))
        assert await hub.invoke("Echo", 1) == 1


async def test_an_upload_that_the_server_does_not_want_is_ended(server: HubServer) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            for number in count():
                yield str(number)
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with hub_of(server) as hub:
        with pytest.raises(HubError, match="Failed to bind Stream message"):
            await hub.invoke("Sum", endless())
        async with asyncio.timeout(PATIENCE):
            await closed.wait()
        with pytest.raises(HubError, match=r"Client sent 0 stream\(s\), Hub method expects 1"):
            await hub.invoke("Sum")


# --- the server's own calls -----------------------------------------------------------------------------------------------------------


async def test_questions_are_answered_refused_or_fail(server: HubServer, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(question: str) -> str:
        if question == "expected":
            raise HubError("I will not tell")
        if question == "bug":
            raise KeyError("internal")
        return f"{question}!"

    async with hub_of(server) as hub:
        assert await server.ask("Ask", "why") == [{"error": "this client does not answer 'Ask'"}]
        take_off = hub.answer("ASK", answer)
        assert await server.ask("Ask", "why") == [{"result": "why!"}]
        assert await server.ask("Ask", "expected") == [{"error": "I will not tell"}]
        assert await server.ask("Ask", "bug") == [{"error": "an error on the client's side"}]
        take_off()
        assert await server.ask("Ask", "why") == [{"error": "this client does not answer 'Ask'"}]
    assert "the handler of Ask failed" in caplog.text
    caplog.clear()  # the traceback in it holds the hub


async def test_a_slow_answer_holds_up_nothing(server: HubServer) -> None:
    may_go = asyncio.Event()

    async def slow(question: str) -> str:
        await may_go.wait()
        return question

    async with hub_of(server) as hub:
        hub.answer("Ask", slow)
        asked = asyncio.create_task(server.ask("Ask", "why"))
        assert [await hub.invoke("Echo", number) for number in range(3)] == [0, 1, 2]
        may_go.set()
        assert await asked == [{"result": "why"}]


async def test_pushes_bring_their_one_argument_or_all(server: HubServer) -> None:
    async with hub_of(server) as hub, hub.on("News") as news, hub.on("news", read=str) as texts:
        await server.push("News", {"a": 1})
        await server.push("News", 1, "two")
        await server.push("News")
        assert [await anext(news) for _ in range(3)] == [{"a": 1}, (1, "two"), ()]
        assert await anext(texts) == "{'a': 1}"


# --- the way out ----------------------------------------------------------------------------------------------------------------------


async def test_a_goodbye_leaves_nothing_on_either_side(server: HubServer) -> None:
    before = await counts(server, "open")
    async with hub_of(server) as hub:
        ticks = hub.stream("StreamTicks", None)
        await anext(ticks)
        hub.on("OnTick")
    assert hub.state is SessionState.CLOSED
    await read_into([], ticks)  # which ends without an error
    async with asyncio.timeout(PATIENCE):
        while await counts(server, "open") != before:
            await asyncio.sleep(0)


async def test_an_abort_by_the_hub_is_for_good(server: HubServer) -> None:
    async with hub_of(server) as hub:
        ticks = hub.stream("StreamTicks", "EURUSD", restart=True)
        with pytest.raises(CallLost):
            await hub.invoke("Abort")
        await hub.closed()
        assert isinstance(hub.cause, HubClosed)
        assert not hub.cause.allow_reconnect
        with pytest.raises(HubClosed):
            await read_into([], ticks)
