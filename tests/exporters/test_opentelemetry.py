"""The metrics and spans as a real OpenTelemetry SDK gets them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from tests.exporters.samples import SAMPLES
from tradesession.exporters.metrics import METRICS
from tradesession.exporters.opentelemetry import OpenTelemetryExporter
from tradesession.hooks import AccountChanged, Recovered, StateChanged, StepTimed

SECOND = 1_000_000_000


class Telemetry:
    """A real SDK in memory, with a clock of the test's."""

    def __init__(self, **options: Any) -> None:
        self.now = 1_000 * SECOND
        self._reader = InMemoryMetricReader()
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False, **options)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.exporter = self.new_exporter()

    def new_exporter(self, **options: Any) -> OpenTelemetryExporter:
        return OpenTelemetryExporter(self._meters, self.tracers, wall_ns=lambda: self.now, **options)

    @property
    def metrics(self) -> dict[str, Any]:
        """Every metric that was measured, by its name."""
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data is not None else []
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def step(self, name: str, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        self.exporter(StepTimed(source="demo", step=name, seconds=seconds))

    def state(self, before: str, after: str, cause: str = "") -> None:
        self.exporter(StateChanged(source="demo", before=before, after=after, cause=cause))

    def opened(self, before: str = "IDLE") -> None:
        self.state(before, "CONNECTING")
        self.step("connect", 0.2)
        self.state("CONNECTING", "HANDSHAKING")
        self.step("application_auth", 0.1)
        self.state("HANDSHAKING", "RESTORING")
        self.state("RESTORING", "READY")


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


# --- metrics ------------------------------------------------------------------------------------------------------------------------


def test_every_metric_arrives_with_its_unit_and_description(telemetry: Telemetry) -> None:
    for record in (*SAMPLES, Recovered(source="link", seconds=1, account_id=5)):
        telemetry.exporter(record)
    arrived = telemetry.metrics
    assert set(arrived) == {metric.name for metric in METRICS}
    for metric in METRICS:
        assert (arrived[metric.name].unit, arrived[metric.name].description) == (metric.unit, metric.description)


def test_values_and_attributes_are_those_of_the_records(telemetry: Telemetry) -> None:
    for record in SAMPLES:
        telemetry.exporter(record)
    metrics = telemetry.metrics
    (losses,) = metrics["tradesession.link.losses"].data.data_points
    assert (losses.value, dict(losses.attributes)) == (1, {"source": "link", "during": "ready", "action": "retry"})
    (expiry,) = metrics["tradesession.token.expiry.timestamp"].data.data_points
    assert expiry.value == 2000
    (outage,) = metrics["tradesession.link.outage.duration"].data.data_points
    assert (outage.sum, outage.count) == (75, 1)


def test_a_link_that_goes_on_is_in_one_state(telemetry: Telemetry) -> None:
    telemetry.opened()
    points = telemetry.metrics["tradesession.links"].data.data_points
    assert {point.attributes["state"]: point.value for point in points} == {"CONNECTING": 0, "HANDSHAKING": 0, "RESTORING": 0, "READY": 1}


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric.bounds], ids=lambda metric: metric.name)
def test_histograms_have_bounds_that_fit_them(telemetry: Telemetry, metric: Any) -> None:
    for record in (*SAMPLES, Recovered(source="link", seconds=1, account_id=5)):
        telemetry.exporter(record)
    (point,) = telemetry.metrics[metric.name].data.data_points
    assert tuple(point.explicit_bounds) == metric.bounds


def test_accounts_have_their_ids_only_where_they_are_wanted(telemetry: Telemetry) -> None:
    change = AccountChanged(source="demo", account_id=4711, before="UNKNOWN", after="AUTHORIZED")
    telemetry.exporter(change)
    (point,) = telemetry.metrics["tradesession.accounts"].data.data_points
    assert "account" not in point.attributes
    another = Telemetry()
    another.new_exporter(account_ids=True)(change)
    (point,) = another.metrics["tradesession.accounts"].data.data_points
    assert point.attributes["account"] == "4711"


# --- spans --------------------------------------------------------------------------------------------------------------------------


def told(span: ReadableSpan) -> tuple[str, float, float]:
    """Name, start and end; in seconds since the test's beginning."""
    assert span.start_time is not None
    assert span.end_time is not None
    return span.name.removeprefix("tradesession."), round(span.start_time / SECOND - 1000, 3), round(span.end_time / SECOND - 1000, 3)


def test_an_opening_is_a_span_with_its_steps_within(telemetry: Telemetry) -> None:
    telemetry.opened()
    connect, application, opening = telemetry.spans
    assert [told(span) for span in telemetry.spans] == [
        ("step.connect", 0.0, 0.2),
        ("step.application_auth", 0.2, 0.3),
        ("open", 0.0, 0.3),
    ]
    assert connect.parent == application.parent == opening.context
    assert opening.status.status_code is StatusCode.UNSET
    assert all(dict(span.attributes or {}) == {"tradesession.source": "demo"} for span in telemetry.spans)


def test_the_first_opening_is_within_the_callers_span_and_the_next_is_a_trace_of_its_own(telemetry: Telemetry) -> None:
    with telemetry.tracers.get_tracer("bot").start_as_current_span("start of the bot") as bot:
        telemetry.opened()
        telemetry.state("READY", "BACKOFF", "the cable")
        telemetry.opened("BACKOFF")
    first, second = (span for span in telemetry.spans if span.name == "tradesession.open")
    assert first.parent == bot.get_span_context()
    assert second.parent is None
    assert first.context is not None
    assert second.context is not None
    assert first.context.trace_id == bot.get_span_context().trace_id != second.context.trace_id


@pytest.mark.parametrize("after", ["BACKOFF", "PARKED", "CLOSING", "CLOSED"])
def test_an_opening_that_fails_says_why(telemetry: Telemetry, after: str) -> None:
    telemetry.state("IDLE", "CONNECTING")
    telemetry.state("CONNECTING", after, "" if after == "CLOSING" else "refused")
    telemetry.state("CLOSING", "CLOSED")
    (opening,) = telemetry.spans
    assert opening.status.status_code is StatusCode.ERROR
    assert opening.status.description == ("closed on the way" if after == "CLOSING" else "refused")


async def test_two_links_of_one_name_have_their_steps_apart(telemetry: Telemetry) -> None:
    """Each opens in a task of its own, and some steps end in tasks that this one started."""

    async def step(name: str) -> None:
        telemetry.step(name, 0.1)

    async def link(name: str) -> None:
        telemetry.state("IDLE", "CONNECTING")
        await asyncio.sleep(0)
        await asyncio.create_task(step(name))
        telemetry.state("RESTORING", "READY")

    async with asyncio.TaskGroup() as group:
        group.create_task(link("one"))
        group.create_task(link("two"))
    steps = {span.name: span.parent for span in telemetry.spans if span.name != "tradesession.open"}
    openings = [span.context for span in telemetry.spans if span.name == "tradesession.open"]
    assert len({parent.span_id for parent in steps.values() if parent is not None}) == len(openings) == 2
    assert all(parent in openings for parent in steps.values())


async def test_a_step_after_the_opening_in_a_task_of_the_opening_is_a_trace_of_its_own(telemetry: Telemetry) -> None:
    is_ready = asyncio.Event()

    async def renewal() -> None:
        await is_ready.wait()
        telemetry.step("connect", 0.1)

    telemetry.state("IDLE", "CONNECTING")
    task = asyncio.create_task(renewal())
    telemetry.state("RESTORING", "READY")
    is_ready.set()
    await task
    assert telemetry.spans[-1].parent is None


def test_what_is_not_sampled_leaves_nothing_behind() -> None:
    telemetry = Telemetry(sampler=ALWAYS_OFF)
    telemetry.opened()
    assert telemetry.spans == []


def test_without_an_sdk_it_measures_into_nothing() -> None:
    exporter = OpenTelemetryExporter()
    for record in SAMPLES:
        exporter(record)
    assert exporter._standing
