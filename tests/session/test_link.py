"""Link: who gets which answer, and how everything ends."""

from __future__ import annotations

import asyncio
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.session.lines import EVENT, HEARTBEAT, OTHER, REPLY, Rig, turns
from tradesession.errors import DeadlineExceeded, Error, InvalidRequest, LinkLost, NotSent, OutcomeUnknown, ProtocolError, Rejected
from tradesession.hooks import LateReply, QuotaWaited, RequestTimed
from tradesession.session.link import Incoming

pytestmark = pytest.mark.usefixtures("leaks")


# --- replies ------------------------------------------------------------------------------------------------------------------------


async def test_a_request_gets_its_reply_and_is_timed() -> None:
    rig = Rig()
    task = await rig.ask("x")
    assert rig.transport.sent == ["1|p-1|x"]
    assert rig.link.in_flight == 1
    rig.clock.advance(0.25)
    rig.transport.answer("p-1")
    assert await task == "x?"
    assert rig.link.in_flight == 0
    assert rig.records == [RequestTimed(source="test", request="x", seconds=0.25, outcome="reply")]
    assert rig.events == []


@given(order=st.permutations(range(8)))
def test_replies_in_any_order_reach_whoever_asked(order: list[int]) -> None:
    async def play() -> None:
        rig = Rig()
        tasks = [await rig.ask(f"x{number}") for number in range(8)]
        ids = list(rig.transport.requests)
        for number in order:
            rig.transport.answer(ids[number])
        assert [await task for task in tasks] == [f"x{number}?" for number in range(8)]
        assert rig.link.in_flight == 0
        rig.link.fail(LinkLost("over"))

    asyncio.run(play())


async def test_what_answers_nobody_is_handed_on_in_wire_order() -> None:
    rig = Rig()
    task = await rig.ask("x")
    rig.transport.deliver(EVENT, body="first")
    rig.transport.deliver(EVENT, "somebody-elses", "second")
    rig.transport.answer("p-1")
    rig.transport.deliver(OTHER, "p-99", "third")
    assert await task == "x?"
    assert [body for _, _, body in rig.events] == [b"first", b"second", b"third"]


async def test_an_event_that_answers_a_request_is_both() -> None:
    rig = Rig()
    task = await rig.ask("x")
    rig.transport.deliver(EVENT, "p-1", "accepted")
    rig.transport.deliver(EVENT, "p-1", "filled")
    assert await task == "accepted"
    assert rig.events == [Incoming(EVENT, "p-1", b"accepted"), Incoming(EVENT, "p-1", b"filled")]


async def test_a_refusal_ends_its_request_alone() -> None:
    rig = Rig()
    refused, other = await rig.ask("x"), await rig.ask("y")
    rig.transport.deliver(REPLY, "p-1", "no")
    with pytest.raises(Rejected, match="x was refused with NO"):
        await refused
    rig.transport.answer("p-2")
    assert await other == "y?"
    assert [record.outcome for record in rig.records if isinstance(record, RequestTimed)] == ["Rejected", "reply"]


@pytest.mark.parametrize(("kind", "body"), [(REPLY, "\0"), (OTHER, "x")])
async def test_an_answer_that_is_none_ends_its_request_and_the_link_lives(kind: int, body: str) -> None:
    rig = Rig()
    task, other = await rig.ask("x"), await rig.ask("y")
    rig.transport.deliver(kind, "p-1", body)
    with pytest.raises(ProtocolError):
        await task
    assert rig.link.cause is None
    rig.transport.answer("p-2")
    assert await other == "y?"


async def test_an_answer_that_is_none_to_a_request_with_effects_leaves_its_outcome_unknown() -> None:
    rig = Rig()
    task = await rig.ask("!buy")
    rig.transport.deliver(REPLY, "p-1", "\0")
    with pytest.raises(OutcomeUnknown, match="it may have been executed") as caught:
        await task
    assert isinstance(caught.value.__cause__, ProtocolError)
    assert rig.link.cause is None


async def test_a_frame_that_is_no_envelope_ends_the_link() -> None:
    rig = Rig()
    task = await rig.ask("x")
    with pytest.raises(ProtocolError):
        rig.link.received([b"garbage"])
    rig.transport.abort()
    with pytest.raises(LinkLost):
        await task


async def test_a_second_answer_is_handed_on_as_what_it_is() -> None:
    rig = Rig()
    task = await rig.ask("x")
    rig.transport.answer("p-1")
    rig.transport.answer("p-1")
    assert await task == "x?"
    assert rig.events == [Incoming(REPLY, "p-1", b"x?")]


async def test_an_answer_to_a_caller_who_was_cancelled_at_the_same_moment_goes_nowhere() -> None:
    rig = Rig()
    task = await rig.ask("x")
    task.cancel()
    rig.transport.answer("p-1")
    await asyncio.wait([task])
    assert task.cancelled()
    assert rig.link.in_flight == 0


# --- deadlines ----------------------------------------------------------------------------------------------------------------------


async def test_a_read_that_is_not_answered_in_time_may_be_repeated() -> None:
    rig = Rig()
    task = await rig.ask("x", timeout=3)
    rig.clock.advance(2.9)
    await turns()
    assert not task.done()
    rig.clock.advance(0.1)
    with pytest.raises(DeadlineExceeded, match="x was not answered within 3 s; it only reads, so it may be repeated"):
        await task
    assert rig.link.cause is None


async def test_a_request_with_effects_that_is_not_answered_in_time_has_an_unknown_outcome() -> None:
    rig = Rig(request_timeout=7)
    task = await rig.ask("!buy")
    rig.clock.advance(7)
    with pytest.raises(OutcomeUnknown, match="!buy was sent, and no answer came within 7 s"):
        await task


async def test_a_late_reply_is_recorded_and_reaches_nobody_but_a_late_event_is_an_event() -> None:
    rig = Rig()
    for message in ("x", "!buy"):
        task = await rig.ask(message, timeout=1)
        rig.clock.advance(1)
        await asyncio.wait([task])
        assert isinstance(task.exception(), DeadlineExceeded | OutcomeUnknown)
    rig.transport.answer("p-1")
    assert rig.events == []
    rig.transport.deliver(EVENT, "p-2", "filled")
    assert rig.events == [Incoming(EVENT, "p-2", b"filled")]
    assert [type(record) for record in rig.records if isinstance(record, LateReply)] == [LateReply, LateReply]
    rig.transport.answer("p-1")  # a second time it is as foreign as any other
    assert len(rig.events) == 2


async def test_a_caller_who_gives_up_leaves_nothing_and_a_late_answer_does_no_harm() -> None:
    rig = Rig()
    task = await rig.ask("x")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert rig.link.in_flight == 0
    rig.transport.answer("p-1")
    assert (rig.events, rig.link.cause) == ([], None)
    assert rig.records[0] == RequestTimed(source="test", request="x", seconds=0.0, outcome="CancelledError")
    rig.link.fail(LinkLost("over"))
    assert rig.clock.next_timer() is None


async def test_no_time_at_all_is_a_deadline_too() -> None:
    rig = Rig()
    task = await rig.ask("x", timeout=0)
    rig.clock.advance(0)
    with pytest.raises(DeadlineExceeded):
        await task


@pytest.mark.parametrize("timeout", [0, -1])
async def test_what_has_effects_and_no_time_left_is_not_sent(timeout: float) -> None:
    rig = Rig()
    with pytest.raises(NotSent, match="!buy was not sent: its time was over before its turn came"):
        await rig.link.request("!buy", timeout=timeout)
    assert (rig.transport.sent, rig.link.in_flight) == ([], 0)


# --- the end ------------------------------------------------------------------------------------------------------------------------


async def test_a_loss_ends_every_waiting_request_at_once_and_says_which_may_have_been_executed() -> None:
    rig = Rig()
    tasks = [await rig.ask(message) for message in ("x", "!buy", "y", "!sell")]
    cause = LinkLost("the cable")
    rig.link.fail(cause)
    await turns()
    errors = [task.exception() for task in tasks]
    assert [type(error) for error in errors] == [LinkLost, OutcomeUnknown, LinkLost, OutcomeUnknown]
    assert all(error is not None and error.__cause__ is cause and "the cable" in str(error) for error in errors)
    assert len({id(error) for error in errors}) == 4
    assert (rig.causes, rig.link.cause, rig.transport.aborted, rig.link.in_flight) == ([cause], cause, True, 0)


async def test_a_caller_who_is_cancelled_at_the_moment_of_a_loss_is_cancelled() -> None:
    rig = Rig()
    task = await rig.ask("x")
    task.cancel()
    rig.link.fail(LinkLost("the cable"))
    await asyncio.wait([task])
    assert task.cancelled()


async def test_only_the_first_reason_counts_and_it_is_told_once() -> None:
    rig = Rig()
    first = LinkLost("first")
    rig.link.fail(first)
    rig.link.fail(LinkLost("second"))
    rig.link.lost(LinkLost("third"))
    assert (rig.causes, rig.link.cause) == ([first], first)


async def test_after_the_end_nothing_is_sent_nothing_received_and_no_timer_runs() -> None:
    rig = Rig()
    rig.link.fail(LinkLost("the cable"))
    with pytest.raises(NotSent, match="x was not sent: the cable") as caught:
        await rig.link.request("x")
    assert caught.value.__cause__ is rig.link.cause
    rig.transport.deliver(EVENT, body="late")
    assert (rig.events, rig.transport.sent, rig.clock.next_timer()) == ([], [], None)


async def test_before_a_transport_is_attached_nothing_is_sent() -> None:
    rig = Rig(attach=False)
    with pytest.raises(NotSent, match="x was not sent: the link is not connected yet"):
        await rig.link.request("x")
    assert rig.clock.next_timer() is None


async def test_what_arrives_before_the_transport_is_attached_is_handed_on() -> None:
    rig = Rig(attach=False)
    rig.transport.deliver(EVENT, body="early")
    rig.link.attach(rig.transport)
    assert [body for _, _, body in rig.events] == [b"early"]


@pytest.mark.parametrize("how", ["lost", "closed"])
async def test_a_transport_that_comes_after_the_end_is_cut(how: str) -> None:
    rig = Rig(attach=False)
    if how == "lost":
        rig.link.fail(LinkLost("too early"))
    else:
        await rig.link.aclose()
        assert str(rig.link.cause) == "closed by this side"
    rig.link.attach(rig.transport)
    assert rig.transport.aborted
    assert len(rig.causes) == 1
    assert rig.clock.next_timer() is None


async def test_an_orderly_close_ends_what_waits() -> None:
    rig = Rig()
    task = await rig.ask("x")
    await rig.link.aclose()
    with pytest.raises(LinkLost, match="the link ended before x was answered: closed by this side"):
        await task
    await rig.link.aclose()
    assert len(rig.causes) == 1


async def test_a_message_that_cannot_travel_is_refused_and_nothing_waits_for_it() -> None:
    rig = Rig()
    with pytest.raises(InvalidRequest):
        await rig.link.request("unspeakable")
    assert (rig.link.in_flight, rig.transport.sent) == (0, [])
    task = await rig.ask("x")
    rig.transport.answer(next(iter(rig.transport.requests)))
    assert await task == "x?"


async def test_no_failure_shows_the_message_to_a_tool_that_prints_the_variables_of_a_traceback() -> None:
    async def fail(rig: Rig, how: str) -> Error:
        secret = asyncio.ensure_future(rig.link.request("login planted", timeout=1))
        await turns()
        match how:
            case "refusal":
                rig.transport.deliver(REPLY, "p-1", "no")
            case "rubbish":
                rig.transport.deliver(REPLY, "p-1", "\0")
            case "loss":
                rig.link.fail(LinkLost("the cable"))
            case "deadline":
                rig.clock.advance(1)
        await asyncio.wait([secret])
        error = secret.exception()
        assert isinstance(error, Error)
        return error

    for how in ("refusal", "rubbish", "loss", "deadline"):
        rig = Rig()
        error = await fail(rig, how)
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        assert "login" in shown
        assert "planted" not in shown


# --- quotas and a peer that does not read -------------------------------------------------------------------------------------------


async def test_requests_wait_for_the_quota_in_their_order() -> None:
    rig = Rig(rate=10, burst=2)
    tasks = [await rig.ask(f"x{number}") for number in range(5)]
    sent = [len(rig.transport.sent)]
    for _ in range(3):
        rig.clock.advance(0.1)
        await turns()
        sent.append(len(rig.transport.sent))
    assert sent == [2, 3, 4, 5]
    assert list(rig.transport.requests.values()) == ["x0", "x1", "x2", "x3", "x4"]
    for correlation_id in rig.transport.requests:
        rig.transport.answer(correlation_id)
    assert [await task for task in tasks] == ["x0?", "x1?", "x2?", "x3?", "x4?"]


async def test_a_request_that_could_not_leave_in_its_time_is_told_so_at_once() -> None:
    rig = Rig(rate=0.1, burst=1)
    await rig.ask("x")
    with pytest.raises(NotSent, match="y was not sent: the quota has room in 10 s, and it may wait 5 s"):
        await rig.link.request("y", timeout=5)
    rig.link.fail(LinkLost("over"))
    await turns()


async def test_requests_with_effects_go_before_those_that_only_read() -> None:
    rig = Rig(rate=10, burst=1)
    tasks = [await rig.ask(message) for message in ("a", "b", "c", "!buy")]
    for _ in range(3):
        rig.clock.advance(0.1)
        await turns()
    assert list(rig.transport.requests.values()) == ["a", "!buy", "b", "c"]
    waited = [record for record in rig.records if isinstance(record, QuotaWaited)]
    assert [(record.request, round(record.seconds, 6)) for record in waited] == [("!buy", 0.1), ("b", 0.2), ("c", 0.3)]
    rig.link.fail(LinkLost("over"))
    await asyncio.wait(tasks)
    assert [type(task.exception()) for task in tasks] == [LinkLost, LinkLost, LinkLost, OutcomeUnknown]


async def test_a_type_that_the_server_has_blocked_stands_aside_alone() -> None:
    rig = Rig()
    rig.link.block(len("xx"), 3)
    blocked, other = await rig.ask("xx"), await rig.ask("y")
    assert list(rig.transport.requests.values()) == ["y"]
    with pytest.raises(NotSent, match="zz was not sent: the quota has room in 3 s, and it may wait 2 s"):
        await rig.link.request("zz", timeout=2)
    rig.clock.advance(3)
    await turns()
    assert list(rig.transport.requests.values()) == ["y", "xx"]
    for correlation_id in rig.transport.requests:
        rig.transport.answer(correlation_id)
    assert [await blocked, await other] == ["xx?", "y?"]


async def test_a_pause_that_the_server_wants_holds_back_everything_but_heartbeats() -> None:
    rig = Rig()
    rig.link.pause(25)
    task = await rig.ask("!buy", timeout=60)
    rig.clock.advance(24)
    await turns()
    assert (rig.transport.requests, rig.transport.beats) == ({}, 2)
    rig.clock.advance(1)
    await turns()
    rig.transport.answer("p-1")
    assert await task == "!buy?"


async def test_a_deadline_in_the_line_says_that_it_was_the_quota() -> None:
    rig = Rig(rate=1, burst=1)
    first = await rig.ask("a", timeout=60)
    tasks = [await rig.ask(message, timeout=1.5) for message in ("b", "c")]
    for _ in range(2):
        rig.clock.advance(1)
        await turns()
    await asyncio.wait(tasks)
    assert "b was not answered within 1.5 s" in str(tasks[0].exception())
    assert str(tasks[1].exception()) == "c was not sent within its 1.5 s: the quota is used up"
    rig.transport.answer("p-1")
    assert await first == "a?"
    rig.clock.advance(10)
    assert len(rig.transport.requests) == 2


async def test_the_deadline_counts_from_the_call_not_from_the_sending() -> None:
    rig = Rig(rate=1, burst=1)
    first = await rig.ask("x")
    second = await rig.ask("y", timeout=2)
    rig.clock.advance(1.5)
    await turns()
    assert len(rig.transport.sent) == 2
    rig.clock.advance(0.5)
    with pytest.raises(DeadlineExceeded, match="y was not answered within 2 s"):
        await second
    rig.transport.answer("p-1")
    assert await first == "x?"


async def test_a_loss_ends_those_who_wait_for_the_quota_at_once_and_they_were_not_sent() -> None:
    rig = Rig(rate=0.5, burst=1)
    sent = await rig.ask("x")
    waiting = [await rig.ask("!buy", timeout=60) for _ in range(3)]
    cancelled = await rig.ask("z", timeout=60)
    cancelled.cancel()
    rig.link.fail(LinkLost("the cable"))
    await turns()
    assert isinstance(sent.exception(), LinkLost)
    assert [type(task.exception()) for task in waiting] == [NotSent] * 3
    assert cancelled.cancelled()
    assert rig.clock.next_timer() is None
    assert len(rig.transport.sent) == 1


async def test_requests_wait_while_the_peer_does_not_read_and_go_on_when_it_does() -> None:
    rig = Rig()
    rig.transport.block()
    task = await rig.ask("x")
    assert rig.transport.sent == []
    rig.transport.drain()
    await turns()
    rig.transport.answer("p-1")
    assert await task == "x?"


async def test_a_peer_that_never_reads_costs_the_request_and_it_was_not_sent() -> None:
    rig = Rig()
    rig.transport.block()
    task = await rig.ask("!buy", timeout=4)
    rig.clock.advance(4)
    with pytest.raises(NotSent, match="!buy was not sent within its 4 s: the server does not read"):
        await task
    assert rig.transport.sent == []


async def test_the_way_to_the_wire_may_have_a_limit_of_its_own() -> None:
    rig = Rig()
    rig.transport.block()
    task = asyncio.ensure_future(rig.link.request("!buy", timeout=40, send_within=4))
    await turns()
    rig.clock.advance(4)
    with pytest.raises(NotSent, match="!buy was not sent within its 4 s: the server does not read"):
        await task
    rig.transport.drain()
    sent = asyncio.ensure_future(rig.link.request("!buy", timeout=40, send_within=4))
    await turns()
    rig.clock.advance(39)
    assert not sent.done(), "the answer has more time"
    rig.transport.answer("p-1")
    await sent


async def test_a_loss_ends_those_who_wait_to_write() -> None:
    rig = Rig()
    rig.transport.block()
    task = await rig.ask("x")
    rig.transport.abort()
    with pytest.raises(NotSent, match="cut"):
        await task


# --- heartbeats and liveness --------------------------------------------------------------------------------------------------------


async def test_heartbeats_go_out_on_pace_whatever_else_is_sent_and_also_while_a_request_is_blocked() -> None:
    rig = Rig(rate=0.001, burst=1)
    rig.transport.block()
    task = await rig.ask("x", timeout=1000)
    for count in range(1, 8):
        rig.clock.advance(9.9)
        assert rig.transport.beats == count - 1
        rig.clock.advance(0.1)
        assert rig.transport.beats == count
        rig.transport.deliver(HEARTBEAT)
        rig.transport.unsent -= 1  # the peer reads, however slowly
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_a_server_that_speaks_and_reads_nothing_is_dead_at_the_deadline() -> None:
    rig = Rig()
    rig.clock.advance(5)
    rig.transport.block()
    task = await rig.ask("x", timeout=1000)
    for _ in range(9):
        rig.clock.advance(4.4)
        rig.transport.deliver(HEARTBEAT)
    assert rig.link.cause is None
    rig.clock.advance(5.4)
    with pytest.raises(NotSent, match="the server reads nothing: 100000 bytes have waited for 45 s"):
        await task
    assert rig.clock.next_timer() is None


async def test_a_server_that_reads_again_in_time_is_alive() -> None:
    rig = Rig()
    for _ in range(10):
        rig.transport.block()
        rig.clock.advance(40)
        rig.transport.deliver(HEARTBEAT)
        rig.transport.drain()
        rig.clock.advance(10)
        rig.transport.deliver(HEARTBEAT)
    assert rig.link.cause is None


async def test_a_silent_server_is_dead_at_the_deadline_and_every_request_knows_at_once() -> None:
    rig = Rig()
    task = await rig.ask("x", timeout=1000)
    rig.clock.advance(44.9)
    assert rig.link.cause is None
    rig.clock.advance(0.1)
    with pytest.raises(LinkLost, match="no sign of life from the server for 45 s"):
        await task
    assert rig.transport.aborted
    assert rig.transport.beats == 4
    assert rig.clock.next_timer() is None


async def test_any_frame_is_a_sign_of_life() -> None:
    rig = Rig(heartbeat_interval=10, liveness_timeout=15)
    for kind in (HEARTBEAT, EVENT, REPLY, OTHER) * 3:
        rig.clock.advance(14)
        rig.transport.deliver(kind, "foreign")
    assert rig.link.cause is None
    rig.clock.advance(15)
    assert isinstance(rig.link.cause, LinkLost)


async def test_the_pace_counts_from_the_connection_not_from_the_making_of_the_link() -> None:
    rig = Rig(attach=False)
    rig.clock.advance(100)
    rig.link.attach(rig.transport)
    rig.clock.advance(9.9)
    assert rig.transport.beats == 0
    rig.clock.advance(0.1)
    assert rig.transport.beats == 1


async def test_a_beat_that_is_due_at_the_moment_of_the_end_is_not_sent() -> None:
    rig = Rig()
    timer = rig.clock.next_timer()
    assert timer is not None
    rig.clock.call_at(timer - 1, lambda: rig.link.fail(LinkLost("over")))
    rig.clock.advance(20)
    assert rig.transport.beats == 0
