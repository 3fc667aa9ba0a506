"""One connection in use: handshake, pings, silence, losses, stray records, slow servers; in virtual time where time matters."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.leaks import Leaks
from tests.signalr.fake import FakeHub, Source, connected
from tradesession import signalr
from tradesession.errors import (
    ConfigurationError,
    DeadlineExceeded,
    LinkLost,
    NotSent,
    OutcomeUnknown,
    ProtocolError,
    Rejected,
    SessionClosed,
    Unreachable,
)
from tradesession.hooks import LateReply, Unclassified
from tradesession.hooks import Record as HookRecord
from tradesession.sandbox.simulation import World, simulated
from tradesession.session.states import SessionState
from tradesession.signalr import CallLost, HubClosed, HubError
from tradesession.timing import AdjustableClock

pytestmark = pytest.mark.usefixtures("leaks")


def done(record: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": 3, "invocationId": record["invocationId"], **more}


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# --- the handshake --------------------------------------------------------------------------------------------------------------------


async def test_a_refused_handshake_is_told_in_the_servers_words_without_secrets() -> None:
    async with FakeHub() as hub:

        async def refuse() -> None:
            served = await hub.accept()
            await served.send({"error": "no version 1, bearer-number-1"})

        refusing = asyncio.create_task(refuse())
        with pytest.raises(Rejected, match=r"no version 1, \*\*\*"):
            async with signalr.connect(hub.url, token=Source()):
                pass
        await refusing


async def test_a_handshake_that_is_not_answered_is_given_up_in_time(clock: AdjustableClock) -> None:
    async with FakeHub() as hub:

        async def wait() -> None:
            served = await hub.accept()
            await served.next()
            await clock.advance(15.1)

        waiting = asyncio.create_task(wait())
        with pytest.raises(Unreachable, match="did not answer the handshake within 15 s"):
            async with signalr.connect(signalr.Config(hub.url, clock=clock), token=Source()):
                pass
        await waiting


async def test_a_server_that_is_no_hub() -> None:
    async with FakeHub() as hub:

        async def babble() -> None:
            await (await hub.accept()).send("hello")

        babbling = asyncio.create_task(babble())
        with pytest.raises(ProtocolError):
            async with signalr.connect(hub.url, token=Source()):
                pass
        await babbling


# --- pings and silence ----------------------------------------------------------------------------------------------------------------


@simulated()
async def test_a_quiet_connection_stays_for_ten_minutes_with_pings_both_ways(world: World) -> None:
    async with FakeHub() as hub, connected(hub, clock=world.clock) as (session, served):

        async def ping() -> None:
            while True:
                await asyncio.sleep(15)
                await served.send({"type": 6})

        pinging = asyncio.create_task(ping())
        began = world.clock.monotonic()
        for number in range(1, 41):
            assert await served.next(6) == {"type": 6}
            assert world.clock.monotonic() == pytest.approx(began + 15 * number)
        assert session.state is SessionState.READY
        assert len(served.received) == 1 + 40
        pinging.cancel()


@simulated()
async def test_a_silent_server_is_noticed_at_thirty_seconds_however_many_websocket_pings_it_sends(world: World) -> None:
    async with FakeHub() as hub, connected(hub, clock=world.clock) as (session, served), session.changes() as changes:
        began = world.clock.monotonic()
        for _ in range(29):
            await asyncio.sleep(1)
            await served.socket.ping()
        assert session.state is SessionState.READY
        assert (await anext(changes)).after is SessionState.BACKOFF
        assert world.clock.monotonic() == pytest.approx(began + 30)
        assert "has sent nothing for 30 s" in str(session.cause)


async def test_a_ping_of_the_hub_is_a_sign_of_life(clock: AdjustableClock) -> None:
    async with FakeHub() as hub, connected(hub, clock=clock) as (session, served):
        for _ in range(3):
            await clock.advance(20)
            call = asyncio.create_task(session.invoke("Echo", repeatable=True))
            record = await served.next(1)
            await served.send({"type": 6}, done(record, result=1))
            assert await call == 1
        assert session.state is SessionState.READY


async def test_no_record_leaves_that_a_server_may_not_know() -> None:
    async with FakeHub() as hub:
        async with connected(hub) as (session, served):
            async with session.stream("S"):
                record = await served.next(4)
            await served.send(done(record))
            await session.send("N")
            await served.send({"type": 1, "target": "Ask", "arguments": [], "invocationId": "s1"}, {"type": 8, "sequenceId": 1})
            await served.next(3)
        await served.gone()
        assert {record["type"] for record in served.received[1:]} <= {1, 2, 3, 4, 5, 6, 7}
        assert served.received[-1] == {"type": 7}


# --- losses ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "closed", "nonsense"])
async def test_whatever_ends_the_connection_fails_everything_at_once(how: str) -> None:
    async with FakeHub() as hub, connected(hub) as (session, served):
        call = asyncio.create_task(session.invoke("A"))
        read = asyncio.create_task(session.invoke("B", repeatable=True))
        stream = session.stream("C")
        for _ in range(3):
            await served.next()
        if how == "reset":
            served.cut()
        elif how == "closed":
            await served.close()
        else:
            await served.send("nonsense")
        with pytest.raises(CallLost) as lost:
            await call
        assert isinstance(lost.value, LinkLost)
        assert isinstance(lost.value, OutcomeUnknown)
        assert not lost.value.verdict.is_retryable
        with pytest.raises(LinkLost) as ended:
            await anext(stream)
        assert not isinstance(ended.value, OutcomeUnknown)
        read.cancel()
        await asyncio.wait([read])


async def test_the_reason_of_a_websocket_close_is_told_without_secrets() -> None:
    async with FakeHub() as hub, connected(hub) as (session, served):
        call = asyncio.create_task(session.invoke("A"))
        await served.next(1)
        await served.socket.close(code=1008, message=b"bearer-number-1 is too old")
        with pytest.raises(CallLost, match=r"code 1008 '\*\*\* is too old'"):
            await call
        assert "bearer-number-1" not in str(session.cause)


async def test_a_closed_session_that_is_kept_has_nothing_in_it_that_waits(leaks: Leaks) -> None:
    async with FakeHub() as hub, connected(hub) as (session, served):
        pass
    assert session.is_closed
    del served  # the server's side may wait
    await leaks.check(thorough=True)


async def test_a_close_record_says_whether_to_come_back() -> None:
    async with FakeHub() as hub, connected(hub) as (session, served):
        await served.send({"type": 7, "error": "enough"})
        await session.closed()
        assert isinstance(session.cause, HubClosed)
        assert (session.cause.error, session.cause.allow_reconnect) == ("enough", False)
        with pytest.raises(SessionClosed):
            await session.invoke("A")


async def test_a_close_record_with_leave_to_come_back_is_followed_by_coming_back(clock: AdjustableClock) -> None:
    async with FakeHub() as hub, connected(hub, clock=clock) as (session, served):
        await served.send({"type": 7, "allowReconnect": True})
        again = asyncio.create_task(hub.shaken())
        while session.state is SessionState.READY:
            await asyncio.sleep(0)
        await clock.advance(1)
        await again
        await session.ready(5)
        assert session.connection_id == "public-2"


async def test_a_call_in_an_outage_waits_for_ready_within_its_deadline(clock: AdjustableClock) -> None:
    async with FakeHub() as hub, connected(hub, clock=clock) as (session, served):
        hub.answers += [503] * 3
        served.cut()
        while session.state is SessionState.READY:
            await asyncio.sleep(0)
        waiting = asyncio.create_task(session.invoke("A", timeout=600))
        hopeless = asyncio.create_task(session.invoke("B", timeout=0.01))
        with pytest.raises(NotSent, match=r"B was not sent within 0\.01 s"):
            await hopeless
        again = asyncio.create_task(hub.shaken())
        for _ in range(20):
            await clock.advance(10)
            if again.done():
                break
        served = await again
        record = await served.next(1)
        await served.send(done(record, result="late, but once"))
        assert await waiting == "late, but once"


# --- calls ----------------------------------------------------------------------------------------------------------------------------


async def test_deadlines_say_whether_the_call_may_be_repeated_and_late_answers_are_dropped(clock: AdjustableClock) -> None:
    records: list[HookRecord] = []
    async with FakeHub() as hub, connected(hub, clock=clock, records=records) as (session, served):
        order = asyncio.create_task(session.invoke("Order", timeout=5))
        read = asyncio.create_task(session.invoke("Read", timeout=5, repeatable=True))
        first, second = await served.next(1), await served.next(1)
        await clock.advance(5.1)
        with pytest.raises(OutcomeUnknown, match="Order was sent, and no answer came within 5 s"):
            await order
        with pytest.raises(DeadlineExceeded, match="Read was not answered within 5 s"):
            await read
        assert {(await served.next(5))["invocationId"] for _ in range(2)} == {first["invocationId"], second["invocationId"]}
        await served.send(done(first, result=1), done(second, error="late"))
        echo = asyncio.create_task(session.invoke("Echo"))
        await served.send(done(await served.next(1), result=2))
        assert await echo == 2
        assert [record.kind for record in records if isinstance(record, LateReply)] == ["Order", "Read"]


async def test_a_caller_that_is_cancelled_cancels_the_call() -> None:
    async with FakeHub() as hub, connected(hub) as (session, served):
        call = asyncio.create_task(session.invoke("Slow"))
        record = await served.next(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await served.next(5) == {"type": 5, "invocationId": record["invocationId"]}


async def test_errors_of_the_hub_have_their_secrets_masked() -> None:
    async with FakeHub() as hub, connected(hub) as (session, served):
        call = asyncio.create_task(session.invoke("Tell"))
        await served.send(done(await served.next(1), error="HubException: you are bearer-number-1"))
        with pytest.raises(HubError, match="Tell was refused") as caught:
            await call
        assert caught.value.detail == "you are ***"


async def test_a_server_that_does_not_read_is_waited_for_within_the_deadline(clock: AdjustableClock) -> None:
    async with FakeHub() as hub, connected(hub, clock=clock, send_limit=None) as (session, _):
        link = session._hub_line.link
        assert link is not None
        opened = link.wire._opened
        assert opened is not None
        opened.transport.pause_writing()
        call = asyncio.create_task(session.invoke("A", timeout=5))
        await turns()
        await clock.advance(5.1)
        with pytest.raises(NotSent, match="within its 5 s: the server does not read"):
            await call
        through = asyncio.create_task(session.send("B"))
        await turns()
        opened.transport.resume_writing()
        await through


async def test_stray_records_are_reported_once_and_passed_by() -> None:
    records: list[HookRecord] = []
    async with FakeHub() as hub, connected(hub, records=records) as (session, served):
        await served.send({"type": 99}, {"type": 99}, {"type": 3, "invocationId": "77"})
        call = asyncio.create_task(session.invoke("Echo"))
        await served.send(done(await served.next(1), result=1))
        assert await call == 1
        what = [record.what for record in records if isinstance(record, Unclassified)]
        assert what == ["record of type 99", "completion of a call or stream that is not open"]


# --- the server's calls ---------------------------------------------------------------------------------------------------------------


async def test_a_flood_of_questions_is_answered_to_a_limit_and_refused_beyond() -> None:
    async with FakeHub() as hub, connected(hub) as (session, served):
        may_go = asyncio.Event()

        async def slow() -> None:
            await may_go.wait()

        session.answer("Ask", slow)
        with pytest.raises(ConfigurationError, match="answered already"):
            session.answer("ask", slow)
        await served.send(*({"type": 1, "target": "Ask", "arguments": [], "invocationId": f"s{number}"} for number in range(70)))
        refused = [await served.next(3) for _ in range(6)]
        assert {record["error"] for record in refused} == {"this client has too many calls to answer"}
        may_go.set()
        answered = [await served.next(3) for _ in range(64)]
        assert all(record["result"] is None for record in answered)


async def test_an_answer_that_the_server_takes_back_is_not_finished() -> None:
    async with FakeHub() as hub, connected(hub) as (session, served):
        began, ended = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        session.answer("Ask", slow)
        await served.send({"type": 1, "target": "Ask", "arguments": [], "invocationId": "s1"})
        await began.wait()
        await served.send({"type": 5, "invocationId": "s1"}, {"type": 5, "invocationId": "s2"})
        await ended.wait()


@simulated()
async def test_a_question_that_is_asked_twice_under_one_id_is_answered_once(world: World) -> None:
    async with FakeHub() as hub, connected(hub, clock=world.clock) as (session, served):
        session.answer("Ask", lambda: asyncio.sleep(1, "why not"))
        question = {"type": 1, "target": "Ask", "arguments": [], "invocationId": "s1"}
        await served.send(question, question)
        await asyncio.sleep(5)
        assert [record for record in served.received if record.get("type") == 3] == [done(question, result="why not")]


async def test_what_goes_wrong_with_an_answer_reaches_the_server_and_its_author(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse() -> None:
        raise HubError("no \ud800 thank you")

    async with FakeHub() as hub, connected(hub) as (session, served):
        session.answer("Odd", lambda: asyncio.sleep(0, object()))
        session.answer("Refused", refuse)
        await served.send({"type": 1, "target": "Odd", "arguments": [], "invocationId": "s1"})
        assert (await served.next(3))["error"] == "an error on the client's side"
        await served.send({"type": 1, "target": "Refused", "arguments": [], "invocationId": "s2"})
        assert (await served.next(3))["error"] == "no ? thank you"
    assert "the handler of Odd failed" in caplog.text
    assert "the handler of Refused failed" not in caplog.text
    caplog.clear()  # the traceback in it holds the hub
