"""Session and Supervisor: through every loss and back, and what the end means for everybody who waits."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.session.lines import turns
from tradesession.clock import ManualClock
from tradesession.errors import CertificateRefused, ConfigurationError, Error, LinkLost, ReauthorizationRequired, Rejected, SessionClosed
from tradesession.hooks import Hooks, Record, Recovered, RetryPlanned, StateChanged
from tradesession.hooks import LinkLost as LinkLostRecord
from tradesession.secrets import Secret
from tradesession.session.session import Session, StateChange
from tradesession.session.states import SessionState
from tradesession.session.streams import EventStream, Gap
from tradesession.session.supervisor import Line
from tradesession.tasks import TaskOwner
from tradesession.tokens.token import Token
from tradesession.verdict import Action, Level, Verdict

pytestmark = pytest.mark.usefixtures("leaks")


class Played(Line):
    """A connection whose steps the test plays: each waits until `let` lets it through or gives its failure."""

    def __init__(self, name: str = "line") -> None:
        self.name = name
        self.began: list[str] = []
        self.disconnects = 0
        self.goodbye: Exception | None = None
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.gone = 0
        self._gates: dict[str, asyncio.Queue[Exception | None]] = {}

    def let(self, *steps: str, error: Exception | None = None) -> None:
        for step in steps:
            self._gates.setdefault(step, asyncio.Queue()).put_nowait(error)

    async def _pass(self, step: str) -> None:
        self.began.append(step)
        error = await self._gates.setdefault(step, asyncio.Queue()).get()
        if error is not None:
            raise error

    async def connect(self) -> None:
        await self._pass("connect")

    async def handshake(self) -> None:
        await self._pass("handshake")

    async def restore(self) -> None:
        await self._pass("restore")

    async def lost(self) -> Exception:
        try:
            await self._pass("lost")
        except Error as error:
            return error
        raise AssertionError

    async def disconnect(self, timeout: float) -> None:
        assert timeout == 2
        self.disconnects += 1
        if self.goodbye is not None:
            raise self.goodbye
        await self.may_go.wait()
        self.gone += 1


class News:
    """Tokens that the test announces."""

    def __init__(self) -> None:
        self.announced: asyncio.Queue[Token] = asyncio.Queue()

    async def changes(self) -> AsyncIterator[Token]:
        while True:
            yield await self.announced.get()


class Platform(Session):
    """A session of played lines, in manual time, without jitter."""

    def __init__(self, *lines: Played) -> None:
        self.records: list[Record] = []
        self.manual = ManualClock(wall=1000.0)
        self.owner = TaskOwner()
        self.news = News()
        self.played = lines
        self.finished = 0
        self.refuse: ConfigurationError | None = None
        super().__init__(
            "test", clock=self.manual, hooks=Hooks.of([self.records.append]), tokens=self.news, close_timeout=2, chance=lambda: 0.0
        )

    def _lines(self) -> Sequence[Line]:
        if self.refuse is not None:
            raise self.refuse
        return self.played

    def _finished(self) -> None:
        self.finished += 1

    def join(self, line: Line | None = None, *, gaps: bool = True) -> EventStream[int | Gap]:
        stream: EventStream[int | Gap] = EventStream("numbers", gaps=gaps)
        self._join(stream, line)
        return stream

    def of(self, kind: type[Record]) -> list[Record]:
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def path(self) -> list[str]:
        return [record.after for record in self.records if isinstance(record, StateChanged)]


STEPS = ("connect", "handshake", "restore")
UP = ["CONNECTING", "HANDSHAKING", "RESTORING", "READY"]


@pytest.fixture
async def line() -> Played:
    return Played()


@pytest.fixture
async def session(line: Played) -> AsyncIterator[Platform]:
    session = Platform(line)
    session.start(session.owner)
    yield session
    await session.aclose()
    await session.owner.aclose()


@pytest.fixture
async def ready(session: Platform, line: Played) -> Platform:
    line.let(*STEPS)
    await session.ready()
    return session


# --- up and down --------------------------------------------------------------------------------------------------------------------


async def test_the_way_to_ready_and_to_an_orderly_end(line: Played) -> None:
    session = Platform(line)
    session.start(session.owner)
    assert session.state is SessionState.IDLE
    waiting = asyncio.ensure_future(session.ready())
    for step, state in zip((*STEPS, "lost"), UP, strict=True):
        await turns()
        assert session.state.value == state
        assert waiting.done() == (state == "READY")
        line.let(step) if step != "lost" else None
    await waiting
    assert session.cause is None
    await session.aclose()
    assert session.path == [*UP, "CLOSING", "CLOSED"]
    assert (session.cause, session.is_closed, session.finished, line.disconnects) == (None, True, 1, 1)
    assert session.of(LinkLostRecord) == []


async def test_closing_twice_at_once_and_again_is_harmless(ready: Platform) -> None:
    await asyncio.gather(ready.aclose(), ready.aclose())
    await ready.aclose()
    assert ready.path[-2:] == ["CLOSING", "CLOSED"]
    assert ready.finished == 1


@pytest.mark.parametrize("passed", [0, 1, 2])
async def test_a_close_on_the_way_to_ready_tells_whoever_waits(session: Platform, line: Played, passed: int) -> None:
    waiting = asyncio.ensure_future(session.ready())
    line.let(*STEPS[:passed])
    await turns(10)
    await session.aclose()
    with pytest.raises(SessionClosed, match="session test was closed; open another one"):
        await waiting
    assert (session.cause, line.disconnects) == (None, 1)


async def test_a_close_before_the_first_step_and_before_the_start(line: Played) -> None:
    started = Platform(line)
    started.start(started.owner)
    await started.aclose()
    never = Platform(line)
    await never.aclose()
    await never.aclose()
    for session in (started, never):
        with pytest.raises(SessionClosed):
            await session.ready()
        assert (session.state, session.finished) == (SessionState.CLOSED, 1)
    assert line.began == []


async def test_as_a_context_it_waits_for_ready_and_closes_behind_it(session: Platform, line: Played) -> None:
    line.let(*STEPS)
    async with session as entered:
        assert entered is session
        assert session.state is SessionState.READY
    assert session.is_closed


async def test_the_owner_of_the_task_can_end_it_too(ready: Platform) -> None:
    await ready.owner.aclose()
    assert (ready.is_closed, ready.cause) == (True, None)


async def test_waiting_for_ready_has_a_deadline(session: Platform) -> None:
    waiting = asyncio.ensure_future(session.ready(timeout=3))
    await turns()
    session.manual.advance(3)
    with pytest.raises(TimeoutError):
        await waiting
    assert session.state is SessionState.CONNECTING


async def test_a_configuration_that_makes_no_lines_is_the_cause() -> None:
    session = Platform()
    session.refuse = ConfigurationError("no such host")
    session.start(session.owner)
    with pytest.raises(ConfigurationError, match="no such host"):
        await session.ready()
    assert (session.state, session.finished) == (SessionState.CLOSED, 1)


# --- before the first READY -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", [LinkLost, CertificateRefused, KeyError])
async def test_a_failure_before_the_first_ready_ends_the_session_with_its_cause(
    session: Platform, line: Played, step: str, kind: type[Exception]
) -> None:
    cause = kind("no way")
    waiting = asyncio.ensure_future(session.ready())
    closed = asyncio.ensure_future(session.closed())
    line.let(*STEPS[: STEPS.index(step)])
    line.let(step, error=cause)
    for _ in range(3):
        with pytest.raises(kind) as caught:
            await (waiting if not waiting.done() else session.ready())
        assert caught.value is cause
        assert len(caught.traceback) < 12, "a traceback that grows with each asking keeps every frame"
    await closed
    assert session.cause is cause
    assert (line.disconnects, session.finished) == (1, 1)
    assert [type(record) for record in session.of(RetryPlanned)] == []


# --- losses -------------------------------------------------------------------------------------------------------------------------


async def test_a_loss_is_waited_out_and_the_session_comes_back(ready: Platform, line: Played) -> None:
    ready.records.clear()
    cause = LinkLost("the cable")
    line.let("lost", error=cause)
    await turns(10)
    assert ready.state is SessionState.BACKOFF
    assert (ready.cause, line.disconnects) == (cause, 1)
    waiting = asyncio.ensure_future(ready.ready())
    await turns()
    assert not waiting.done()
    (planned,) = ready.of(RetryPlanned)
    assert isinstance(planned, RetryPlanned)
    line.let(*STEPS)
    ready.manual.advance(planned.seconds)
    await waiting
    assert ready.path == ["BACKOFF", *UP]
    assert ready.cause is None
    lost = LinkLostRecord(source="line", cause="the cable", verdict=cause.verdict, during="ready", delay=planned.seconds)
    assert ready.of(LinkLostRecord) == [lost]
    assert ready.of(Recovered) == [Recovered(source="line", seconds=planned.seconds)]


async def test_attempt_after_attempt_waits_longer_and_only_the_first_begins_the_outage(ready: Platform, line: Played) -> None:
    line.let("lost", error=LinkLost("the cable"))
    for _ in range(4):
        await turns(10)
        line.let("connect", error=LinkLost("still"))
        planned = ready.of(RetryPlanned)[-1]
        assert isinstance(planned, RetryPlanned)
        ready.manual.advance(planned.seconds)
    await turns(10)
    waits = [record.seconds for record in ready.of(RetryPlanned) if isinstance(record, RetryPlanned)]
    assert waits == pytest.approx([waits[0] * 2**number for number in range(5)])
    losses = [record for record in ready.of(LinkLostRecord) if isinstance(record, LinkLostRecord)]
    assert [record.during for record in losses] == ["ready", *["outage"] * 4]
    assert [record.delay for record in losses] == waits


async def test_a_pause_that_the_server_names_is_kept(ready: Platform, line: Played) -> None:
    line.let("lost", error=Rejected("MAINTENANCE", verdict=Verdict(Action.RETRY_AFTER, Level.LINK, 3600.0)))
    await turns(10)
    (planned,) = ready.of(RetryPlanned)
    assert isinstance(planned, RetryPlanned)
    assert 3600 < planned.seconds < 3700


async def test_a_renewal_that_did_not_help_is_a_failure_like_another(ready: Platform, line: Played) -> None:
    line.let("lost", error=Rejected("TOKEN", verdict=Verdict(Action.REFRESH, Level.TOKEN)))
    await turns(10)
    assert ready.state is SessionState.BACKOFF


@pytest.mark.parametrize("kind", [CertificateRefused, KeyError])
async def test_a_cause_that_no_retry_cures_ends_the_session_and_its_streams(ready: Platform, line: Played, kind: type[Exception]) -> None:
    cause = kind("whose?")
    stream = ready.join(gaps=False)
    line.let("lost", error=LinkLost("the cable"))
    await turns(10)
    line.let("connect", error=cause)
    ready.manual.advance(60)
    await ready.closed()
    with pytest.raises(kind) as caught:
        await anext(stream)
    assert caught.value is cause
    assert ready.cause is cause


async def test_without_consent_it_parks_until_there_is_a_newer_token(ready: Platform, line: Played) -> None:
    line.let("lost", error=ReauthorizationRequired("a person must consent"))
    await turns(10)
    assert ready.state is SessionState.PARKED
    ready.manual.advance(86_400)
    await turns(10)
    assert ready.state is SessionState.PARKED
    line.let(*STEPS)
    ready.news.announced.put_nowait(Token(access=Secret("new"), generation=2))
    await ready.ready()
    assert ready.path[-5:] == ["PARKED", *UP]


async def test_a_parked_session_can_be_closed(ready: Platform, line: Played) -> None:
    line.let("lost", error=ReauthorizationRequired("a person must consent"))
    await turns(10)
    await ready.aclose()
    assert (ready.state, ready.cause) == (SessionState.CLOSED, None)


async def test_a_session_that_waits_for_its_next_attempt_can_be_closed(ready: Platform, line: Played) -> None:
    line.let("lost", error=LinkLost("the cable"))
    await turns(10)
    await ready.aclose()
    assert (ready.state, ready.cause) == (SessionState.CLOSED, None)
    assert ready.manual.next_timer() is None


async def test_a_goodbye_that_fails_is_loud_and_the_session_is_closed_all_the_same(ready: Platform, line: Played) -> None:
    line.goodbye = OSError("no goodbye")
    line.let("lost", error=LinkLost("the cable"))
    await asyncio.wait_for(ready.closed(), 5)
    assert ready.finished == 1


async def test_whatever_ends_a_session_its_handlers_end_quietly(ready: Platform, line: Played) -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    ready._call_back(ready.join(), lambda number: None)
    line.goodbye = OSError("no goodbye")
    line.let("lost", error=LinkLost("the cable"))
    await ready.closed()
    await turns(10)
    gc.collect()
    assert failures == []


@pytest.mark.parametrize("times", [1, 2])
async def test_a_close_that_comes_while_a_lost_connection_is_cleared_away_lets_that_finish(
    ready: Platform, line: Played, times: int
) -> None:
    line.may_go.clear()
    line.let("lost", error=LinkLost("the cable"))
    await turns(10)
    closing = [asyncio.ensure_future(ready.aclose()) for _ in range(times)]
    await turns(10)
    assert not any(one.done() for one in closing)
    line.may_go.set()
    await asyncio.gather(*closing)
    assert (line.disconnects, line.gone, ready.finished) == (1, 1, 1)


# --- streams ------------------------------------------------------------------------------------------------------------------------


async def test_an_orderly_close_ends_streams_quietly(ready: Platform) -> None:
    stream = ready.join()
    await ready.aclose()
    assert [event async for event in stream] == []
    late = ready.join()
    assert [event async for event in late] == []


async def test_a_stream_that_joins_a_session_that_ended_by_itself_is_told_why(session: Platform, line: Played) -> None:
    line.let("connect", error=LinkLost("no way"))
    await session.closed()
    with pytest.raises(LinkLost, match="no way"):
        await anext(session.join())


async def test_streams_are_told_of_the_outage_before_anything_that_comes_after_it(ready: Platform, line: Played) -> None:
    mine, anothers = ready.join(line), ready.join(Played())
    mine.put_nowait(1)
    ready.manual.advance(5)
    line.let("lost", error=LinkLost("the cable"))
    await turns(10)
    ready.manual.advance(60)
    line.let("connect", "handshake")
    await turns(10)
    for stream in (mine, anothers):
        stream.put_nowait(2)
    line.let("restore")
    await ready.ready()
    await ready.aclose()
    events = [event async for event in mine]
    assert [events[0], events[2]] == [1, 2]
    gap = events[1]
    assert isinstance(gap, Gap)
    assert (gap.since, gap.until) == (1005.0, 1065.0)
    assert [event async for event in anothers] == [2]


async def test_changes_of_state_come_as_a_stream_that_ends_with_the_session(line: Played) -> None:
    session = Platform(line)
    changes = session.changes()
    session.start(session.owner)
    line.let(*STEPS)
    await session.ready()
    cause = LinkLost("the cable")
    line.let("lost", error=cause)
    await turns(10)
    await session.aclose()
    seen = [change async for change in changes]
    assert [change.after.value for change in seen] == [*UP, "BACKOFF", "CLOSED"]
    assert seen[0] == StateChange(SessionState.IDLE, SessionState.CONNECTING, 1000.0)
    assert seen[4].cause is cause
    assert [change async for change in session.changes()] == []


# --- two lines ------------------------------------------------------------------------------------------------------------------------


async def test_a_session_of_two_lines_is_ready_when_both_are_and_ends_when_one_does() -> None:
    demo, live = Played("demo"), Played("live")
    session = Platform(demo, live)
    session.start(session.owner)
    demo.let(*STEPS)
    live.let("connect")
    await turns(10)
    assert session.state.value == "HANDSHAKING"
    live.let("handshake", "restore")
    await session.ready()
    live.let("lost", error=LinkLost("the cable"))
    await turns(10)
    assert session.state.value == "BACKOFF"
    assert str(session.cause) == "the cable"
    live.let(*STEPS)
    session.manual.advance(60)
    await session.ready()
    cause = CertificateRefused("whose?")
    demo.let("lost", error=cause)
    await session.closed()
    assert session.cause is cause
    assert (demo.disconnects, live.disconnects) == (1, 2)
