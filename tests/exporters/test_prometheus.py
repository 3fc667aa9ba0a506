"""The metrics in a real Prometheus registry, as a scrape shows them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.exporters.samples import SAMPLES
from tradesession.errors import ConfigurationError
from tradesession.exporters.metrics import METRICS
from tradesession.exporters.prometheus import PrometheusExporter
from tradesession.hooks import AccountChanged, Hooks, Recovered, RequestTimed


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_every_metric_is_in_the_scrape_under_its_name(registry: CollectorRegistry) -> None:
    hooks = Hooks.of([PrometheusExporter(registry)])
    for record in (*SAMPLES, Recovered(source="link", seconds=1, account_id=5)):
        hooks.emit(record)
    scrape = generate_latest(registry).decode()
    for metric in METRICS:
        kind = {"up_down_counter": "gauge"}.get(metric.kind, metric.kind)
        assert f"# TYPE {metric.prometheus} {kind}\n" in scrape
        assert f"{metric.prometheus}{'_bucket' if kind == 'histogram' else ''}{{" in scrape


def test_values_are_those_of_the_records(registry: CollectorRegistry) -> None:
    exporter = PrometheusExporter(registry)
    for record in SAMPLES:
        exporter(record)
    assert registry.get_sample_value("tradesession_links", {"source": "link", "state": "BACKOFF"}) == 1
    assert registry.get_sample_value("tradesession_accounts", {"source": "link", "state": "SUSPENDED"}) == 1
    labels = {"source": "link", "during": "ready", "action": "retry"}
    assert registry.get_sample_value("tradesession_link_losses_total", labels) == 1
    assert registry.get_sample_value("tradesession_link_outage_duration_seconds_sum", {"source": "link"}) == 75
    assert registry.get_sample_value("tradesession_events_dropped_total", {"source": "session", "stream": "spots"}) == 3
    assert registry.get_sample_value("tradesession_token_expiry_timestamp_seconds", {"source": "token"}) == 2000
    assert registry.get_sample_value("tradesession_token_unsaved", {"source": "token"}) == 0


def test_requests_are_in_buckets_by_name_and_outcome(registry: CollectorRegistry) -> None:
    exporter = PrometheusExporter(registry)
    for seconds, outcome in ((0.02, "reply"), (0.03, "reply"), (10.0, "DeadlineExceeded")):
        exporter(RequestTimed(source="demo", request="TraderReq", seconds=seconds, outcome=outcome))
    labels = {"source": "demo", "request": "TraderReq", "outcome": "reply"}
    name = "tradesession_request_duration_seconds"
    assert registry.get_sample_value(f"{name}_count", labels) == 2
    assert registry.get_sample_value(f"{name}_bucket", labels | {"le": "0.025"}) == 1
    assert registry.get_sample_value(f"{name}_bucket", labels | {"le": "0.05"}) == 2
    assert registry.get_sample_value(f"{name}_count", labels | {"outcome": "DeadlineExceeded"}) == 1


def test_accounts_have_their_ids_only_where_they_are_wanted(registry: CollectorRegistry) -> None:
    with_ids = CollectorRegistry()
    hooks = Hooks.of([PrometheusExporter(registry), PrometheusExporter(with_ids, account_ids=True)])
    hooks.emit(AccountChanged(source="demo", account_id=4711, before="UNKNOWN", after="AUTHORIZED"))
    assert "4711" not in generate_latest(registry).decode()
    labels = {"source": "demo", "state": "AUTHORIZED", "account": "4711"}
    assert with_ids.get_sample_value("tradesession_accounts", labels) == 1


def test_a_second_exporter_of_one_registry_is_refused_with_the_remedy(registry: CollectorRegistry) -> None:
    PrometheusExporter(registry)
    with pytest.raises(ConfigurationError, match="make one PrometheusExporter and share it"):
        PrometheusExporter(registry)
