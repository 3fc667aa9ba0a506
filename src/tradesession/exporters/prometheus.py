"""PrometheusExporter: the metrics of `tradesession.exporters.metrics` in a Prometheus registry. Needs the extra `prometheus`.

Serves nothing by itself: `prometheus_client.start_http_server`, or what the bot has already, does.
"""

from __future__ import annotations

from tradesession.errors import ConfigurationError
from tradesession.exporters.metrics import METRICS, Metric, MetricsExporter
from tradesession.extras import missing

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ModuleNotFoundError as error:
    raise missing("this exporter", "prometheus", "prometheus_client", error) from error


class PrometheusExporter(MetricsExporter):
    """A hook that measures into `registry`. Make one for each registry and give it to every manager: `hooks=[exporter]`.

    With `account_ids` the metrics of accounts have a label `account`. Raises ConfigurationError when the registry has one already.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, account_ids: bool = False) -> None:
        super().__init__(account_ids=account_ids)
        self._counters: dict[Metric, Counter] = {}
        self._gauges: dict[Metric, Gauge] = {}
        self._histograms: dict[Metric, Histogram] = {}
        try:
            for metric in METRICS:
                self._register(metric, registry)
        except ValueError as error:
            raise ConfigurationError(
                f"this registry cannot take the metrics of tradesession ({error}): make one PrometheusExporter and share it"
            ) from error

    def _register(self, metric: Metric, registry: CollectorRegistry) -> None:
        name, text, labels = metric.prometheus, metric.description, self._labels_of(metric)
        if metric.kind == "counter":
            self._counters[metric] = Counter(name, text, labels, registry=registry)
        elif metric.kind == "histogram":
            self._histograms[metric] = Histogram(name, text, labels, registry=registry, buckets=metric.bounds)
        else:
            self._gauges[metric] = Gauge(name, text, labels, registry=registry)

    def _measure(self, metric: Metric, value: float, labels: dict[str, str]) -> None:
        if metric.kind == "counter":
            self._counters[metric].labels(**labels).inc(value)
        elif metric.kind == "histogram":
            self._histograms[metric].labels(**labels).observe(value)
        elif metric.kind == "gauge":
            self._gauges[metric].labels(**labels).set(value)
        else:
            self._gauges[metric].labels(**labels).inc(value)
