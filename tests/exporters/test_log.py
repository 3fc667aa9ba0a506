"""Which record becomes which line of the log, and how loud it is."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.exporters.samples import CLASSES, RETRY, SAMPLES
from tradesession import policy
from tradesession.exporters import LogExporter
from tradesession.exporters.log import logged
from tradesession.hooks import (
    AccountChanged,
    EventsDropped,
    Hooks,
    LinkLost,
    NotRestored,
    Record,
    Recovered,
    RenewalFailed,
    TokenLoaded,
    TokenRotated,
)
from tradesession.verdict import Action, Level, Verdict


class Log:
    """A LogExporter with its clock, and what it has written."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.now = 1000.0
        self.exporter = LogExporter(monotonic=lambda: self.now)

    def of(self, *records: Record) -> list[tuple[str, str, str]]:
        """Logger, level and text of the lines of these records."""
        self._caplog.clear()
        for record in records:
            self.exporter(record)
        return [(line.name.removeprefix("tradesession."), line.levelname, line.getMessage()) for line in self._caplog.records]

    def levels(self, *records: Record) -> list[str]:
        return [level for _, level, _ in self.of(*records)]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.DEBUG, "tradesession")
    return Log(caplog)


def test_there_is_a_sample_of_every_class() -> None:
    assert [type(record) for record in SAMPLES] == CLASSES


@pytest.mark.parametrize("record", SAMPLES, ids=lambda record: type(record).__name__)
def test_every_record_is_one_line_that_names_its_source(log: Log, record: Record) -> None:
    ((logger, _, text),) = log.of(record)
    assert logger in ("session", "link", "streams", "tokens")
    assert text.startswith(f"{record.source}: ")
    assert "\n" not in text
    assert type(record).__name__ not in text, "it has a line of its own, in words"


def test_a_line_carries_its_record_for_structured_logs(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    log.of(SAMPLES[0])
    assert vars(caplog.records[0])["tradesession"] is SAMPLES[0]


def test_a_record_that_nobody_knows_is_a_line_for_debugging(log: Log) -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Special(Record):
        number: int

    ((logger, level, text),) = log.of(Special(source="platform", number=7))
    assert (logger, level) == ("session", "DEBUG")
    assert "number=7" in text


def test_nothing_is_written_and_nothing_formatted_when_nobody_debugs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tradesession")
    log = Log(caplog)
    assert log.of(*(record for record in SAMPLES if isinstance(record, Recovered | LinkLost))) == [
        ("session", "WARNING", "link: lost: the cable; verdict: retry (link); the next attempt comes in 1.5 s"),
        ("session", "INFO", "link: READY again after 75.0 s"),
    ]


# --- outages ------------------------------------------------------------------------------------------------------------------------


def lost(during: str, *, verdict: Verdict = RETRY, delay: float | None = 2.0) -> LinkLost:
    return LinkLost(source="demo", cause="the cable", verdict=verdict, during=during, delay=delay)  # type: ignore[arg-type]  # a literal


def test_of_an_outage_the_beginning_is_a_warning_and_the_end_tells_its_length(log: Log) -> None:
    assert log.of(lost("ready"), lost("outage"), lost("outage"), Recovered(source="demo", seconds=12.34)) == [
        ("session", "WARNING", "demo: lost: the cable; verdict: retry (link); the next attempt comes in 2.0 s"),
        ("session", "DEBUG", "demo: still lost: the cable; verdict: retry (link); the next attempt comes in 2.0 s"),
        ("session", "DEBUG", "demo: still lost: the cable; verdict: retry (link); the next attempt comes in 2.0 s"),
        ("session", "INFO", "demo: READY again after 12.3 s"),
    ]


@pytest.mark.parametrize("verdict", [RETRY, Verdict(Action.FATAL, Level.LINK), Verdict(Action.REAUTHORIZE, Level.TOKEN)])
def test_a_failure_to_open_is_for_debugging_since_it_is_raised_as_well(log: Log, verdict: Verdict) -> None:
    assert log.levels(lost("opening", verdict=verdict, delay=None)) == ["DEBUG"]


@pytest.mark.parametrize("during", ["ready", "outage"])
def test_an_end_for_good_is_an_error_whenever_it_comes(log: Log, during: str) -> None:
    fatal = lost(during, verdict=Verdict(Action.FATAL, Level.LINK), delay=None)
    assert log.of(fatal) == [("session", "ERROR", "demo: lost for good: the cable")]


@pytest.mark.parametrize("during", ["ready", "outage"])
def test_a_session_that_waits_for_a_person_is_an_error_whenever_it_comes(log: Log, during: str) -> None:
    parked = lost(during, verdict=Verdict(Action.REAUTHORIZE, Level.TOKEN), delay=None)
    assert log.of(parked) == [("session", "ERROR", "demo: parked, a person is needed: the cable")]


def suspended(*, begins_outage: bool) -> AccountChanged:
    return AccountChanged(
        source="demo", account_id=5, before="AUTHORIZING", after="SUSPENDED", cause="blocked", begins_outage=begins_outage
    )


def test_an_account_is_warned_of_once_for_each_outage(log: Log) -> None:
    assert log.of(suspended(begins_outage=True), suspended(begins_outage=False), Recovered(source="demo", seconds=60, account_id=5)) == [
        ("session", "WARNING", "demo: account 5 is suspended: blocked"),
        ("session", "DEBUG", "demo: account 5: AUTHORIZING → SUSPENDED: blocked"),
        ("session", "INFO", "demo: account 5 is authorised again after 60.0 s"),
    ]


def test_what_does_not_come_back_is_warned_of_at_the_first_attempt(log: Log) -> None:
    records = [NotRestored(source="demo", what="ticks", cause="no", failures=number) for number in (1, 2, 3)]
    assert log.levels(*records) == ["WARNING", "DEBUG", "DEBUG"]


# --- tokens -------------------------------------------------------------------------------------------------------------------------


def rotated(generation: int, *, saved: bool = True) -> TokenRotated:
    return TokenRotated(source="token", generation=generation, expires_at=None, saved=saved, cause="" if saved else "the disk is full")


def test_a_rotation_is_information_and_one_that_is_not_saved_an_error(log: Log) -> None:
    assert log.of(rotated(2), rotated(3, saved=False), rotated(3), rotated(4)) == [
        ("tokens", "INFO", "token: generation 2 is in use"),
        ("tokens", "ERROR", "token: generation 3 is in use and NOT SAVED, saving goes on: the disk is full"),
        ("tokens", "INFO", "token: generation 3 is in use and saved now"),
        ("tokens", "INFO", "token: generation 4 is in use"),
    ]


def failed(source: str = "token", *, needs_person: bool = False) -> RenewalFailed:
    return RenewalFailed(source=source, cause="no", needs_person=needs_person)


def test_failed_renewals_are_warned_of_once_and_again_when_a_person_is_needed(log: Log) -> None:
    person = failed(needs_person=True)
    assert log.levels(failed(), failed(), person, person, failed(), failed("other")) == [
        *("WARNING", "DEBUG", "ERROR", "DEBUG", "DEBUG", "WARNING"),
    ]


@pytest.mark.parametrize("cure", [rotated(2), TokenLoaded(source="token", generation=2, expires_at=None)])
def test_after_a_token_that_is_good_failures_are_news_again(log: Log, cure: Record) -> None:
    log.of(failed(), cure)
    assert log.levels(failed()) == ["WARNING"]


# --- streams ------------------------------------------------------------------------------------------------------------------------


def dropped(count: int, stream: str = "spots") -> EventsDropped:
    return EventsDropped(source="demo", stream=stream, count=count)


def test_warnings_of_dropped_events_are_spaced_and_none_goes_uncounted(log: Log) -> None:
    assert log.of(dropped(1), dropped(20), dropped(300)) == [
        ("streams", "WARNING", "demo: the reader of spots is too slow; dropped events: 1"),
        ("streams", "DEBUG", "demo: the reader of spots is too slow; dropped events: 20"),
        ("streams", "DEBUG", "demo: the reader of spots is too slow; dropped events: 300"),
    ]
    log.now += policy.DROP_WARNING_INTERVAL
    assert log.of(dropped(4000), dropped(1)) == [
        ("streams", "WARNING", "demo: the reader of spots is too slow; dropped events: 4320"),
        ("streams", "DEBUG", "demo: the reader of spots is too slow; dropped events: 1"),
    ]


def test_each_stream_has_its_own_warnings(log: Log) -> None:
    assert log.levels(dropped(1), dropped(1, "bars"), dropped(1), dropped(1, "bars")) == ["WARNING", "WARNING", "DEBUG", "DEBUG"]


# --- who gets one -------------------------------------------------------------------------------------------------------------------


def lines(hooks: Hooks, caplog: pytest.LogCaptureFixture) -> int:
    caplog.set_level(logging.DEBUG, "tradesession")
    hooks.emit(SAMPLES[0])
    return len(caplog.records)


def test_a_log_exporter_is_there_by_default_and_once(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(logged(None), caplog) == 1
    assert lines(logged([LogExporter()]), caplog) == 2


def test_there_is_none_for_whoever_wants_none_or_brings_hooks_to_share(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Record] = []
    shared = Hooks.of([seen.append])
    assert logged(shared) is shared
    assert lines(shared, caplog) == lines(logged([seen.append], log=False), caplog) == 0
    assert len(seen) == 2


def test_without_a_logging_configuration_nothing_is_printed() -> None:
    program = "import tradesession, logging; logging.getLogger('tradesession.session').error('unheard')"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (finished.stdout, finished.stderr) == ("", "")
