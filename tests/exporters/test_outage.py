"""Records, lines and metrics of what really happens to a session, played against the sandbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Literal, TypeVar

import pytest
from prometheus_client import CollectorRegistry

import tradesession
from tradesession import ctrader
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.exporters.prometheus import PrometheusExporter
from tradesession.hooks import (
    AccountChanged,
    EventsDropped,
    Heartbeat,
    LinkLost,
    NotRestored,
    QuotaWaited,
    Record,
    Recovered,
    RenewalFailed,
    RequestTimed,
    RetryPlanned,
    StateChanged,
    StepTimed,
    TokenLoaded,
    TokenRotated,
    Unclassified,
)
from tradesession.sandbox import Sandbox

R = TypeVar("R", bound=Record)

SOURCE = "ctrader demo"
ENVIRONMENTS: tuple[Literal["demo", "live"], ...] = ("demo", "live")
READY = tradesession.SessionState.READY


class Seen:
    """A hook that keeps what it sees."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def __call__(self, record: Record) -> None:
        self.records.append(record)

    def of(self, kind: type[R]) -> list[R]:
        return [record for record in self.records if type(record) is kind]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1, plain=True) as sandbox:
        yield sandbox


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def session(sandbox: Sandbox, seen: Seen) -> AsyncIterator[ctrader.Session]:
    async with tradesession.connect(sandbox.ctrader.config(plaintext=True), hooks=[seen]) as session:
        yield session


@pytest.fixture
def loud(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str]]]:
    """Level and text of the lines that one sees without debugging."""
    caplog.set_level(logging.DEBUG, "tradesession")
    return lambda: [(line.levelname, line.getMessage()) for line in caplog.records if line.levelno > logging.DEBUG]


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition holds; fail when it does not come about."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def lose(sandbox: Sandbox, session: ctrader.Session) -> None:
    await sandbox.ctrader.faults.cut()
    await until(lambda: session.state is not READY)


async def ready_again(sandbox: Sandbox, session: ctrader.Session) -> None:
    for _ in range(200):
        if session.state is READY:
            return
        await sandbox.clock.advance(1)
    raise AssertionError(f"not READY again: {session.state} {session.cause}")


async def long_outage(sandbox: Sandbox, session: ctrader.Session, seen: Seen, *, attempts: int = 3) -> None:
    """Lost, so many attempts that meet nobody, and back."""
    sandbox.ctrader.faults.refuse_connections = True
    await lose(sandbox, session)
    while len(seen.of(LinkLost)) < 1 + attempts:
        await sandbox.clock.advance(1)
    sandbox.ctrader.faults.refuse_connections = False
    await ready_again(sandbox, session)


# --- an outage of the link ------------------------------------------------------------------------------------------------------------


async def test_an_outage_is_told_in_order_and_each_thing_once(sandbox: Sandbox, session: ctrader.Session, seen: Seen) -> None:
    seen.records.clear()
    began = sandbox.clock.monotonic()
    await long_outage(sandbox, session, seen)
    took = sandbox.clock.monotonic() - began
    first, *rest = seen.of(LinkLost)
    assert (first.during, [record.during for record in rest]) == ("ready", ["outage"] * 3)
    assert first.verdict == tradesession.Verdict(tradesession.Action.RETRY, tradesession.Level.LINK)
    assert "cannot be reached" in rest[-1].cause
    planned = seen.of(RetryPlanned)
    assert [record.seconds for record in planned] == [record.delay for record in seen.of(LinkLost)]
    assert [record.failures for record in planned] == [1, 2, 3, 4]
    assert [f"{record.before} {record.after}" for record in seen.of(StateChanged)] == [
        "READY BACKOFF",
        *["BACKOFF CONNECTING", "CONNECTING BACKOFF"] * 3,
        *["BACKOFF CONNECTING", "CONNECTING HANDSHAKING", "HANDSHAKING RESTORING", "RESTORING READY"],
    ]
    (recovered,) = seen.of(Recovered)
    assert 0 < recovered.seconds <= took
    assert recovered.account_id is None
    assert [record.step for record in seen.of(StepTimed)] == ["connect", "application_auth", "account_list", *["account_auth"] * 3]
    assert {record.source for record in seen.records} == {SOURCE}


async def test_whoever_does_not_debug_sees_two_lines_of_it(
    sandbox: Sandbox, session: ctrader.Session, seen: Seen, loud: Callable[[], list[tuple[str, str]]]
) -> None:
    await long_outage(sandbox, session, seen)
    (beginning, lost), (end, ready) = loud()
    assert (beginning, end) == ("WARNING", "INFO")
    assert lost.startswith(f"{SOURCE}: lost: the ")
    assert "; verdict: retry (link); the next attempt comes in " in lost
    assert ready == f"{SOURCE}: READY again after {seen.of(Recovered)[0].seconds:.1f} s"


async def test_without_a_log_exporter_there_is_no_line(
    sandbox: Sandbox, seen: Seen, loud: Callable[[], list[tuple[str, str]]], caplog: pytest.LogCaptureFixture
) -> None:
    async with tradesession.connect(sandbox.ctrader.config(plaintext=True), hooks=[seen], log=False) as session:
        await long_outage(sandbox, session, seen)
    assert loud() == []
    assert caplog.text == ""


async def test_a_session_that_cannot_be_opened_raises_and_logs_nothing(
    sandbox: Sandbox, seen: Seen, loud: Callable[[], list[tuple[str, str]]]
) -> None:
    with pytest.raises(tradesession.Rejected):
        async with tradesession.connect(sandbox.ctrader.config(plaintext=True, client_secret="not it"), hooks=[seen]):
            pytest.fail("it connected")
    (lost,) = seen.of(LinkLost)
    assert (lost.during, lost.delay, lost.verdict.action) == ("opening", None, tradesession.Action.FATAL)
    assert loud() == []


async def test_an_end_for_good_is_an_error(
    sandbox: Sandbox, session: ctrader.Session, seen: Seen, loud: Callable[[], list[tuple[str, str]]]
) -> None:
    sandbox.ctrader.application.active = False
    await lose(sandbox, session)
    while not session.is_closed:
        await sandbox.clock.advance(1)
    *_, last = seen.of(LinkLost)
    assert (last.during, last.delay, last.verdict.action) == ("outage", None, tradesession.Action.FATAL)
    (warning, _), (error, text) = loud()
    assert (warning, error) == ("WARNING", "ERROR")
    assert text.startswith(f"{SOURCE}: lost for good: ProtoOAApplicationAuthReq was refused with CH_CLIENT_AUTH_FAILURE")


async def test_metrics_follow_an_outage(sandbox: Sandbox, seen: Seen) -> None:
    registry = CollectorRegistry()

    def value(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"tradesession_{name}", {"source": SOURCE} | labels) or 0.0

    async with tradesession.connect(sandbox.ctrader.config(plaintext=True), hooks=[seen, PrometheusExporter(registry)]) as session:
        assert (value("links", state="READY"), value("accounts", state="AUTHORIZED")) == (1, 3)
        await lose(sandbox, session)
        assert (value("links", state="READY"), value("accounts", state="AUTHORIZED")) == (0, 0)
        await ready_again(sandbox, session)
        assert (value("links", state="READY"), value("accounts", state="AUTHORIZED")) == (1, 3)
        assert value("link_losses_total", during="ready", action="retry") == 1
        assert value("link_outage_duration_seconds_count") == 1
        assert value("handshake_step_duration_seconds_count", step="connect") == 2
        requested = value("request_duration_seconds_count", request="ProtoOAAccountAuthReq", outcome="reply")
        assert requested == 6
    states = [sample for metric in registry.collect() for sample in metric.samples if "state" in sample.labels]
    assert states
    assert all(sample.value == 0 for sample in states)


async def test_each_link_of_a_session_has_its_own_records(sandbox: Sandbox, seen: Seen) -> None:
    endpoints = {name: sandbox.ctrader.config(name, plaintext=True).endpoint for name in ENVIRONMENTS}
    config = sandbox.ctrader.config(plaintext=True, host="", websocket_url="").replace(environment="both", endpoints=endpoints)
    async with tradesession.connect(config, hooks=[seen]):
        pass
    assert {record.source for record in seen.of(StateChanged)} == {"ctrader demo", "ctrader live"}
    for source in ("ctrader demo", "ctrader live"):
        assert [record.after for record in seen.of(StateChanged) if record.source == source][-1] == "CLOSED"


# --- accounts -------------------------------------------------------------------------------------------------------------------------


async def test_an_account_that_drops_alone_is_warned_of_once_and_its_return_is_told(
    sandbox: Sandbox, session: ctrader.Session, seen: Seen, loud: Callable[[], list[tuple[str, str]]]
) -> None:
    account = session.accounts[0]
    seen.records.clear()
    sandbox.ctrader.faults.cant_route = True
    sandbox.ctrader.faults.account_disconnect(account.id)
    for _ in range(30):
        await sandbox.clock.advance(1)
    changes = seen.of(AccountChanged)
    assert [record.after for record in changes].count("SUSPENDED") > 2
    assert [record.begins_outage for record in changes] == [True, *[False] * (len(changes) - 1)]
    assert {(record.account_id, record.source) for record in changes} == {(account.id, SOURCE)}
    sandbox.ctrader.faults.cant_route = False
    while account.state is not AccountState.AUTHORIZED:
        await sandbox.clock.advance(1)
    (recovered,) = seen.of(Recovered)
    assert recovered.account_id == account.id
    assert recovered.seconds >= 30
    assert loud() == [
        ("WARNING", f"{SOURCE}: account {account.id} is suspended: account {account.id}: the server ended the account's session"),
        ("INFO", f"{SOURCE}: account {account.id} is authorised again after {recovered.seconds:.1f} s"),
    ]


async def test_an_account_that_a_lost_link_took_along_is_no_outage_of_its_own(
    sandbox: Sandbox, session: ctrader.Session, seen: Seen, loud: Callable[[], list[tuple[str, str]]]
) -> None:
    await lose(sandbox, session)
    await ready_again(sandbox, session)
    assert not any(record.begins_outage for record in seen.of(AccountChanged))
    assert [record.account_id for record in seen.of(Recovered)] == [None]
    assert [level for level, _ in loud()] == ["WARNING", "INFO"]


async def test_an_account_that_is_not_granted_any_more_is_told(sandbox: Sandbox, session: ctrader.Session, seen: Seen) -> None:
    account = session.accounts[0]
    seen.records.clear()
    await lose(sandbox, session)
    for grant in sandbox.ctrader.state.grants:
        grant.account_ids = frozenset(other.id for other in grant.accounts if other.id != account.id)
    await ready_again(sandbox, session)
    changes = [record for record in seen.of(AccountChanged) if record.account_id == account.id]
    assert [(record.before, record.after, record.begins_outage) for record in changes] == [
        ("AUTHORIZED", "UNKNOWN", False),
        ("UNKNOWN", "SUSPENDED", True),
    ]
    assert "no longer among those that the token grants" in changes[1].cause


async def test_subscriptions_that_do_not_come_back_are_told_with_the_number_of_the_attempt(
    sandbox: Sandbox, session: ctrader.Session, seen: Seen, loud: Callable[[], list[tuple[str, str]]]
) -> None:
    account = session.accounts[0]
    quotes = session.spots(account, "EURUSD")
    await anext(quotes)
    sandbox.ctrader.faults.unsupported_requests = {pb.ProtoOASubscribeSpotsReq}
    await lose(sandbox, session)
    while len(seen.of(NotRestored)) < 3:
        await sandbox.clock.advance(1)
    told = seen.of(NotRestored)
    assert [record.failures for record in told] == list(range(1, len(told) + 1))
    assert {record.what for record in told} == {f"the subscriptions of account {account.id}"}
    assert sum("did not come back" in text for _, text in loud()) == 1


# --- requests and events ----------------------------------------------------------------------------------------------------------------


async def test_each_heartbeat_is_told_with_the_servers_silence(sandbox: Sandbox, session: ctrader.Session, seen: Seen) -> None:
    sandbox.ctrader.faults.no_heartbeats = True
    await sandbox.clock.advance(31)
    beats = seen.of(Heartbeat)
    assert len(beats) == 3
    assert {record.source for record in beats} == {SOURCE}
    assert [round(record.silence) for record in beats] == [10, 20, 30]
    assert session.state is READY


async def test_a_request_that_waits_for_the_quota_says_so_and_each_is_timed_once(
    sandbox: Sandbox, session: ctrader.Session, seen: Seen
) -> None:
    sandbox.ctrader.settings.requests_per_second = 1000  # what left in time may arrive late, and this is about our own quota
    seen.records.clear()
    asking = [asyncio.create_task(session.request(pb.ProtoOAVersionReq(), timeout=60)) for _ in range(60)]
    while not all(task.done() for task in asking):
        await sandbox.clock.advance(0.1)
    timed = seen.of(RequestTimed)
    assert [(record.source, record.request, record.outcome) for record in timed] == [(SOURCE, "ProtoOAVersionReq", "reply")] * 60
    waited = seen.of(QuotaWaited)
    assert 0 < len(waited) < 60
    assert all((record.source, record.request) == (SOURCE, "ProtoOAVersionReq") and record.seconds > 0 for record in waited)


async def test_what_a_slow_reader_loses_adds_up(
    sandbox: Sandbox, session: ctrader.Session, seen: Seen, loud: Callable[[], list[tuple[str, str]]]
) -> None:
    account = session.accounts[0]
    stream = session.events(pb.ProtoOAMarginChangedEvent, limit=2)
    for number in range(10):
        await sandbox.ctrader.push(
            pb.ProtoOAMarginChangedEvent(ctidTraderAccountId=account.id, positionId=number, usedMargin=1), account.id
        )
        await until(lambda number=number: stream.statistics().received == number + 1)  # type: ignore[misc]  # bound now
        if number == 5:
            assert (await anext(stream)).positionId == 4
    dropped = stream.statistics().dropped
    await stream.aclose()
    told = seen.of(EventsDropped)
    assert sum(record.count for record in told) == dropped == 7
    assert {(record.source, record.stream) for record in told} == {(SOURCE, "ProtoOAMarginChangedEvent")}
    assert loud() == [("WARNING", f"{SOURCE}: the reader of ProtoOAMarginChangedEvent is too slow; dropped events: 1")]


async def test_what_nobody_knows_is_told_once_for_each_kind(
    sandbox: Sandbox, seen: Seen, loud: Callable[[], list[tuple[str, str]]]
) -> None:
    sandbox.ctrader.faults.unknown_payload_types = True
    async with tradesession.connect(sandbox.ctrader.config(plaintext=True), hooks=[seen]) as session:
        for _ in range(3):
            await session.request(pb.ProtoOAVersionReq())
    told = [record.what for record in seen.of(Unclassified)]
    assert len(told) == len(set(told)) >= 1
    assert loud() == []


# --- tokens -------------------------------------------------------------------------------------------------------------------------


async def test_a_token_is_told_when_it_is_loaded_and_when_it_rotates(
    sandbox: Sandbox, seen: Seen, loud: Callable[[], list[tuple[str, str]]]
) -> None:
    grant = sandbox.ctrader.grant(expires_in=300)
    config = sandbox.ctrader.config(plaintext=True, access_token=grant.access_token, refresh_token=grant.refresh_token)
    async with tradesession.SessionManager(hooks=[seen], store="memory:") as manager:
        await manager.open(config)
        (loaded,) = seen.of(TokenLoaded)
        keeper = manager.tokens(config)
        await keeper.reject(await keeper.get())
        await until(lambda: seen.of(TokenRotated))
    (rotated,) = seen.of(TokenRotated)
    assert loaded.source == rotated.source == f"token {config.slot}"
    assert (rotated.generation, rotated.saved) == (loaded.generation + 1, True)
    assert rotated.expires_at is not None
    assert ("INFO", f"token {config.slot}: generation {rotated.generation} is in use") in loud()


async def test_a_renewal_that_fails_is_told_each_time_and_warned_of_once(
    sandbox: Sandbox, seen: Seen, loud: Callable[[], list[tuple[str, str]]]
) -> None:
    grant = sandbox.ctrader.grant(expires_in=300)
    config = sandbox.ctrader.config(plaintext=True, access_token=grant.access_token, refresh_token=grant.refresh_token)
    sandbox.ctrader.faults.token_status = 503
    async with tradesession.SessionManager(store="memory:", hooks=[seen], clock=sandbox.clock) as manager:
        keeper = manager.tokens(config)
        await keeper.reject(await keeper.get())
        while len(seen.of(RenewalFailed)) < 3:
            await sandbox.clock.advance(1)
    assert all(record.source == f"token {config.slot}" and not record.needs_person for record in seen.of(RenewalFailed))
    assert [level for level, text in loud() if ": not renewed: " in text] == ["WARNING"]


# --- hooks that fail ------------------------------------------------------------------------------------------------------------------


class Broken:
    """A hook that fails at every record, in its own way."""

    def __init__(self, error: type[BaseException]) -> None:
        self.calls = 0
        self._error = error

    def __call__(self, record: Record) -> None:
        self.calls += 1
        raise self._error("planted")


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, GeneratorExit, RecursionError])
async def test_a_hook_that_always_fails_breaks_nothing(sandbox: Sandbox, seen: Seen, error: type[BaseException]) -> None:
    broken = Broken(error)
    async with tradesession.connect(sandbox.ctrader.config(plaintext=True), hooks=[broken, seen]) as session:
        account = session.accounts[0]
        quotes = session.spots(account, "EURUSD")
        await anext(quotes)
        await long_outage(sandbox, session, seen)
        sandbox.ctrader.faults.account_disconnect(account.id)
        await until(lambda: account.state is AccountState.AUTHORIZED)
        assert (await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))).trader.traderLogin == account.login
        await sandbox.clock.advance(20)
        assert session.state is READY
    assert session.cause is None
    assert broken.calls == len(seen.records) > 20


async def test_a_coroutine_function_is_refused_before_anything_is_contacted(sandbox: Sandbox) -> None:
    async def hook(record: Record) -> None:
        """Nobody would await it."""

    with pytest.raises(tradesession.ConfigurationError, match=r"hook .*hook is a coroutine function"):
        tradesession.SessionManager(hooks=[hook])
    assert not sandbox.ctrader.connections
