"""OpenTelemetryExporter: the metrics of `tradesession.exporters.metrics`, and a span for each opening of a connection with its steps.

Needs the extra `opentelemetry`, which is the API alone: which SDK takes the measurements is the bot's choice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from importlib.metadata import version

from tradesession.exporters.metrics import METRICS, Metric, MetricsExporter
from tradesession.extras import missing
from tradesession.hooks import Record, StateChanged, StepTimed

try:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider, get_meter
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, get_tracer, set_span_in_context
except ModuleNotFoundError as error:
    raise missing("this exporter", "opentelemetry", "opentelemetry", error) from error

_NAME = "tradesession"
_UNDER_WAY = ("HANDSHAKING", "RESTORING")


class _Opening:
    """The way of one connection to READY, as a span; shared by the tasks that take part in it, which may outlive it."""

    __slots__ = ("is_over", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.is_over = False


class OpenTelemetryExporter(MetricsExporter):
    """A hook that measures with `meter_provider` and traces with `tracer_provider`, the global ones by default. It may be shared.

    The first opening of a session is a span within the one in which the session is opened; each later one is a trace of its own. With
    `account_ids` the metrics of accounts have an attribute `account`. `wall_ns` is the wall clock in nanoseconds.
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        *,
        account_ids: bool = False,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(account_ids=account_ids)
        meter = get_meter(_NAME, version(_NAME), meter_provider)
        self._tracer = get_tracer(_NAME, version(_NAME), tracer_provider)
        self._wall_ns = wall_ns
        # A link's records come from its supervisor's task and from tasks that this one has started, so each finds its own opening here.
        self._opening: ContextVar[_Opening | None] = ContextVar("opening", default=None)
        self._recorders: dict[Metric, Callable[[float, dict[str, str]], None]] = {}
        for metric in METRICS:
            options = {"unit": metric.unit, "description": metric.description}
            if metric.kind == "counter":
                self._recorders[metric] = meter.create_counter(metric.name, **options).add
            elif metric.kind == "up_down_counter":
                self._recorders[metric] = meter.create_up_down_counter(metric.name, **options).add
            elif metric.kind == "gauge":
                self._recorders[metric] = meter.create_gauge(metric.name, **options).set
            else:
                histogram = meter.create_histogram(metric.name, **options, explicit_bucket_boundaries_advisory=metric.bounds)
                self._recorders[metric] = histogram.record

    def __call__(self, record: Record) -> None:
        """Measure and trace what the record tells."""
        super().__call__(record)
        if isinstance(record, StateChanged):
            self._trace_state(record)
        elif isinstance(record, StepTimed):
            self._trace_step(record)

    def _measure(self, metric: Metric, value: float, labels: dict[str, str]) -> None:
        self._recorders[metric](value, labels)

    def _trace_state(self, record: StateChanged) -> None:
        if record.after == "CONNECTING":
            within = None if record.before == "IDLE" else Context()
            attributes = {"tradesession.source": record.source}
            span = self._tracer.start_span("tradesession.open", within, SpanKind.CLIENT, attributes, start_time=self._wall_ns())
            self._opening.set(_Opening(span))
            return
        opening = self._opening.get()
        if opening is None or opening.is_over or record.after in _UNDER_WAY:
            return
        if record.after != "READY":
            opening.span.set_status(Status(StatusCode.ERROR, record.cause or "closed on the way"))
        opening.span.end(self._wall_ns())
        opening.is_over = True

    def _trace_step(self, record: StepTimed) -> None:
        opening = self._opening.get()
        within = Context() if opening is None or opening.is_over else set_span_in_context(opening.span, Context())
        now = self._wall_ns()
        attributes = {"tradesession.source": record.source}
        started = now - round(record.seconds * 1e9)
        self._tracer.start_span(f"tradesession.step.{record.step}", within, attributes=attributes, start_time=started).end(now)
