"""What a user does with a hub, beside what a real server shows: uploads, turns, early events, answers; in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from tests.signalr.fake import FakeHub, Source, connected
from tests.signalr.living import LivingHub, at
from tests.signalr.test_link import done
from tradesession import policy
from tradesession.errors import DeadlineExceeded, InvalidRequest, LinkLost, NotSent, OutcomeUnknown, SessionClosed
from tradesession.hooks import LateReply, Record
from tradesession.sandbox.simulation import World, simulated
from tradesession.session.states import SessionState
from tradesession.signalr import CallLost, HubError
from tradesession.tokens.changes import TokenChanges
from tradesession.tokens.token import Token


async def numbers(upto: int, pause: float = 0.0) -> AsyncIterator[int]:
    for number in range(upto):
        if pause:
            await asyncio.sleep(pause)
        yield number


class Endless:
    """Numbers without an end, and whether they were closed."""

    def __init__(self) -> None:
        self.is_closed = False

    async def items(self) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                await asyncio.sleep(0.1)
                yield number
                number += 1
        finally:
            self.is_closed = True


# --- uploads --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stateful", [False, True])
@simulated()
async def test_an_upload_goes_item_by_item_and_then_ends(world: World, stateful: bool) -> None:
    async with LivingHub(stateful=stateful) as server, at(server, clock=world.clock) as hub:
        assert await hub.invoke("Sum", numbers(100)) == 4950
        assert 2 in server.ever[0].kinds


@simulated()
async def test_what_an_upload_raises_reaches_the_caller_and_the_server_is_told_no_more_than_that(world: World) -> None:
    async def failing(error: Exception) -> AsyncIterator[int]:
        yield 1
        raise error

    async with FakeHub() as server, connected(server, clock=world.clock) as (hub, served):
        for error, told in ((KeyError("mine"), "an error on the client's side"), (HubError("for the server"), "for the server")):
            call = asyncio.create_task(hub.invoke("Sum", failing(error)))
            assert (await served.next(2))["item"] == 1
            assert (await served.next(3))["error"] == told
            with pytest.raises(type(error)):
                await call
            assert await served.next(5)
        call = asyncio.create_task(hub.invoke("Sum", failing(KeyError("mine")), timeout=1))
        with pytest.raises(KeyError):
            await call

        async def unfit() -> AsyncIterator[object]:
            yield object()

        with pytest.raises(InvalidRequest):
            await hub.invoke("Sum", unfit())


@simulated()
async def test_an_upload_ends_with_its_call_and_its_source_is_closed(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        answered, late, lost, streamed = Endless(), Endless(), Endless(), Endless()
        with pytest.raises(HubError, match="does not exist"):
            await hub.invoke("Nowhere", answered.items())
        with pytest.raises(OutcomeUnknown):
            await hub.invoke("Sum", late.items(), timeout=1)
        async with hub.stream("StreamTicks", "EURUSD", streamed.items()) as ticks:
            await anext(ticks)
        call = asyncio.create_task(hub.invoke("Sum", lost.items(), repeatable=True))
        await asyncio.sleep(1)
        server.cut()
        with pytest.raises(LinkLost):  # an upload cannot be repeated
            await call
        await asyncio.sleep(1)
        assert all(one.is_closed for one in (answered, late, lost, streamed))


@simulated()
async def test_what_a_source_raises_when_it_is_closed_is_nobodys_once_the_call_has_failed(world: World) -> None:
    async def failing() -> AsyncIterator[int]:
        try:
            for number in range(1000):
                yield number
        finally:
            raise KeyError("mine")

    async with LivingHub(stateful=True) as server, at(server, clock=world.clock, replay_buffer=1000) as hub:
        with pytest.raises(OutcomeUnknown):
            await hub.invoke("Sum", failing(), timeout=0.5)  # it waits for room then
        await asyncio.sleep(1)  # a task that ends with an exception that nobody looks at fails the simulation


@simulated()
async def test_an_upload_to_a_stream_fails_the_stream(world: World) -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise KeyError("mine")

    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        with pytest.raises(KeyError, match="mine"):
            async for _ in hub.stream("StreamTicks", "EURUSD", failing()):
                pass


@simulated()
async def test_an_upload_without_an_answer_runs_by_itself_and_its_failure_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> AsyncIterator[int]:
        await asyncio.sleep(1)
        yield 1
        raise KeyError("mine")

    endless = Endless()
    async with FakeHub() as server, connected(server, clock=world.clock) as (hub, served):
        await hub.send("Take", failing())
        assert "invocationId" not in await served.next(1)
        assert (await served.next(2))["item"] == 1
        assert (await served.next(3))["error"] == "an error on the client's side"
        assert "an upload to Take failed: 'mine'" in caplog.text
        await hub.send("Take", endless.items())
        await served.next(2)
    assert endless.is_closed


@simulated()
async def test_uploads_wait_for_a_server_that_does_not_read(world: World) -> None:
    async with LivingHub(stateful=True) as server, at(server, clock=world.clock, replay_buffer=1000) as hub:
        link = hub._hub_line.link
        assert link is not None
        assert link.wire.machine.replay is not None
        call = asyncio.create_task(hub.invoke("Sum", numbers(1000), timeout=3600))
        await asyncio.sleep(0.5)
        assert 1000 <= link.wire.machine.replay.buffered < 1100
        link._slots.give_back()  # as if the server ran two
        with pytest.raises(NotSent, match="the server does not read"):
            await hub.invoke("Echo", 1, timeout=0.1)
        assert await call == sum(range(1000))  # with an acknowledgement a second


@simulated()
async def test_an_upload_that_waits_for_room_ends_with_the_connection(world: World) -> None:
    async with LivingHub(stateful=True) as server, at(server, clock=world.clock, replay_buffer=1000) as hub:
        call = asyncio.create_task(hub.invoke("Sum", numbers(1000), timeout=3600))
        await asyncio.sleep(0.5)
        server.forget()
        with pytest.raises(CallLost):
            await call


# --- turns ----------------------------------------------------------------------------------------------------------------------------


@simulated()
async def test_where_the_connection_is_stateful_calls_take_turns(world: World) -> None:
    records: list[Record] = []
    async with FakeHub(stateful=True) as server, connected(server, clock=world.clock, records=records) as (hub, served):

        async def began() -> list[str]:
            await asyncio.sleep(0.01)
            return [record["target"] for record in served.received if record.get("type") in (1, 4)]

        first = asyncio.create_task(hub.invoke("First", timeout=20, repeatable=True))
        await asyncio.sleep(0)
        others = [
            asyncio.create_task(hub.invoke(name, timeout=timeout)) for name, timeout in (("Late", 1), ("Cancelled", 60), ("Second", 60))
        ]
        sending = asyncio.create_task(hub.send("Sent", timeout=60))
        await asyncio.sleep(0)
        stream, left = hub.stream("Stream"), hub.stream("Left")
        assert await began() == ["First"]
        with pytest.raises(NotSent, match=r"Late was not sent within its 1 s: it stood behind other calls"):
            await others[0]
        others[1].cancel()
        await left.aclose()
        assert await began() == ["First"]
        with pytest.raises(DeadlineExceeded):
            await first
        assert await began() == ["First"]  # the server still runs it
        await served.send(done(served.received[1], error="cancelled"))
        assert await began() == ["First", "Second"]
        await served.send(done(served.received[-1], result=2))
        assert await others[2] == 2
        assert await began() == ["First", "Second", "Sent", "Stream"]
        await sending
        await stream.aclose()
        assert [record.kind for record in records if isinstance(record, LateReply)] == ["First"]


@simulated()
async def test_whoever_waits_for_a_turn_is_let_go_by_a_loss_and_tries_again(world: World) -> None:
    async with LivingHub(stateful=True) as server, at(server, clock=world.clock) as hub:
        holding = asyncio.create_task(hub.invoke("Hold", timeout=60))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(hub.invoke("Echo", 1, timeout=60))
        stream, patient = hub.stream("StreamTicks", "EURUSD"), hub.stream("StreamTicks", "GBPUSD", restart=True)
        await asyncio.sleep(0.1)
        server.forget()
        with pytest.raises(CallLost):
            await holding
        assert await waiting == 1
        with pytest.raises(LinkLost):
            await anext(stream)
        assert (await anext(patient))["symbol"] == "GBPUSD"


@simulated()
async def test_more_turns_at_once_where_the_server_runs_more(world: World) -> None:
    async with FakeHub(stateful=True) as server, connected(server, clock=world.clock, parallel=2) as (hub, served):
        calls = [asyncio.create_task(hub.invoke("Echo")) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert len(served.received) == 1 + 2
        for _ in range(3):
            await served.send(done(await served.next(1), result=1))
        assert await asyncio.gather(*calls) == [1, 1, 1]


# --- events ---------------------------------------------------------------------------------------------------------------------------


@simulated()
async def test_what_came_before_anybody_asked_is_kept_for_a_moment_and_for_the_first_who_asks(world: World) -> None:
    async with FakeHub() as server, connected(server, clock=world.clock) as (hub, served):
        await served.send(*({"type": 1, "target": name, "arguments": [name]} for name in ("A", "B")))
        await asyncio.sleep(policy.HUB_EARLY_SECONDS - 1)
        first, second = hub.on("a"), hub.on("A")
        assert (first.statistics().queued, second.statistics().queued) == (1, 0)
        await asyncio.sleep(2)
        assert hub.on("B").statistics().queued == 0
        await first.aclose()
        await first.aclose()
        await served.send({"type": 1, "target": "A", "arguments": [1]})
        assert await anext(second) == 1


@simulated()
async def test_an_event_of_a_stream_is_read_in_the_readers_own_task(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        async with hub.stream("Count", 3, read=lambda item: 1 / (item - 1)) as items:
            assert await anext(items) == -1
            with pytest.raises(ZeroDivisionError):
                await anext(items)
            assert await anext(items) == 1
        assert await hub.invoke("Echo", 1) == 1


@simulated()
async def test_streams_of_a_session_that_has_ended_are_over_at_once(world: World) -> None:
    async with LivingHub() as server:
        async with at(server, clock=world.clock) as hub:
            pass
        for stream in (hub.stream("Count", 3), hub.on("OnTick")):
            assert [item async for item in stream] == []
        with pytest.raises(SessionClosed):
            await hub.send("Echo")
        assert hub.connection_id == ""


# --- calls ----------------------------------------------------------------------------------------------------------------------------


@simulated()
async def test_a_send_waits_for_ready_within_its_deadline(world: World) -> None:
    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        server.answers += [503] * 3
        server.cut()
        await asyncio.sleep(0.01)
        with pytest.raises(NotSent, match="the session is BACKOFF"):
            await hub.send("Echo", 1, timeout=0.1)
        await hub.send("Echo", 2, timeout=600)
        await asyncio.sleep(0.1)
        assert server.ever[-1].calls == ["Echo"]


# --- the server's calls ---------------------------------------------------------------------------------------------------------------


@simulated()
async def test_a_handler_outlives_its_connection_and_its_answer_goes_nowhere_then(world: World, caplog: pytest.LogCaptureFixture) -> None:
    answered: list[int] = []

    async def slow(value: int) -> int:
        await asyncio.sleep(20)
        answered.append(value)
        return value

    async def broken() -> None:
        raise ValueError("mine")

    async with LivingHub() as server, at(server, clock=world.clock) as hub:
        take_off = hub.answer("Ask", slow)
        hub.answer("Broken", broken)
        server.connections[0].put({"type": 1, "target": "ask", "invocationId": "s1", "arguments": [7]})
        await asyncio.sleep(1)
        server.cut()
        await asyncio.sleep(30)
        assert (answered, server.answered) == ([7], [])
        connection = server.connections[0]
        connection.put({"type": 1, "target": "Ask", "invocationId": "s1", "arguments": [8]})
        connection.put({"type": 1, "target": "Broken", "invocationId": "s2", "arguments": []})
        connection.put({"type": 1, "target": "Ask", "invocationId": "s3", "arguments": []})  # too few
        await asyncio.sleep(30)
        errors = {record["invocationId"]: record.get("error") for record in server.answered}
        assert errors == {"s1": None, "s2": "an error on the client's side", "s3": "an error on the client's side"}
        assert "the handler of Broken failed" in caplog.text
        take_off()
        take_off()
        connection.put({"type": 1, "target": "Ask", "invocationId": "s4", "arguments": [8]})
        await asyncio.sleep(1)
        assert server.answered[-1]["error"] == "this client does not answer 'Ask'"


# --- the token source -----------------------------------------------------------------------------------------------------------------


@simulated()
async def test_a_loss_of_the_last_token_parks_the_session_until_another_one_comes(world: World) -> None:
    class Watched(Source):
        def __init__(self) -> None:
            super().__init__()
            self.news: asyncio.Queue[Token] = asyncio.Queue()

        def changes(self) -> AsyncIterator[Token]:
            async def tokens() -> AsyncIterator[Token]:
                while True:
                    yield await self.news.get()

            return tokens()

    source = Watched()
    async with LivingHub() as server, at(server, token=source, clock=world.clock) as hub:
        server.answers += [401, 401]
        server.cut()
        states = []
        for seconds in (10, 3600):
            await asyncio.sleep(seconds)
            states.append(hub.state)
        requests = len(server.requests)
        await source.reject(await source.get())  # as a renewal in time would replace it
        source.news.put_nowait(await source.get())
        await asyncio.sleep(1)
        assert [*states, hub.state] == [SessionState.PARKED, SessionState.PARKED, SessionState.READY]
        assert len(server.requests) == requests + 2


@simulated()
async def test_where_every_token_is_refused_one_is_renewed_and_the_session_stays_parked(world: World) -> None:
    class Telling(Source):
        """Tells of each token that it has had, as a TokenKeeper does."""

        def __init__(self) -> None:
            super().__init__()
            self.listeners: list[TokenChanges] = []

        async def get(self, min_ttl: float | None = None) -> Token:
            before, token = self._token, await super().get(min_ttl)
            if token is not before:
                for listener in self.listeners:
                    listener.tell(token)
            return token

        def changes(self) -> AsyncIterator[Token]:
            self.listeners.append(TokenChanges())
            return self.listeners[-1]

    source = Telling()
    async with LivingHub() as server, at(server, token=source, clock=world.clock) as hub:
        before, server.answers[:] = len(server.requests), [401] * 1000
        server.cut()
        await asyncio.sleep(3600)
        assert (hub.state, len(server.requests) - before) == (SessionState.PARKED, 2)
        assert source.rejected == ["bearer-number-1"]
        server.answers.clear()
        await source.reject(await source.get())  # as a renewal in time would replace it
        await source.get()
        await asyncio.sleep(1)
        assert hub.state is SessionState.READY


# --- secrets --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["header", "access_token", "signalr_token"])
@simulated()
async def test_through_losses_renewals_and_resumptions_nothing_secret_is_told(
    world: World, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    records: list[Record] = []
    source = Source(world.clock, life=60)
    texts: list[str] = []
    async with LivingHub(stateful=True) as server, at(server, token=source, clock=world.clock, bearer_in=place, records=records) as hub:
        for step in range(30):
            await asyncio.sleep(10)
            if step % 3 == 0:
                server.answers += [[401], [503], [404]][step // 3 % 3]
                server.cut()
            try:
                await hub.invoke(["Echo", "Nowhere"][step % 2], "value-of-an-argument", timeout=1)
            except Exception as error:
                texts += [str(error), repr(error)]
        texts += [repr(hub), repr(hub.config), str(hub.config)]
    texts += [caplog.text, *map(repr, records)]
    for text in texts:
        assert "bearer-number" not in text
        assert "token-of-connection" not in text
        assert "value-of-an-argument" not in text
    assert len(server.ever) > 3
