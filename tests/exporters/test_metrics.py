"""What is measured of each record, whatever library it goes into."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from tests.exporters.samples import RETRY, SAMPLES
from tradesession.exporters import metrics
from tradesession.exporters.metrics import METRICS, Metric, MetricsExporter
from tradesession.hooks import (
    AccountChanged,
    LinkLost,
    Record,
    Recovered,
    RenewalFailed,
    StateChanged,
    TokenLoaded,
    TokenRotated,
)

Told = tuple[str, float, dict[str, str]]


class Measured(MetricsExporter):
    """An exporter that only writes down."""

    def __init__(self, *, account_ids: bool = False) -> None:
        super().__init__(account_ids=account_ids)
        self.told: list[Told] = []

    def of(self, *records: Record) -> list[Told]:
        """Metric without its common name, value and labels besides the source."""
        self.told.clear()
        for record in records:
            self(record)
        return self.told

    def _measure(self, metric: Metric, value: float, labels: dict[str, str]) -> None:
        assert set(labels) == set(self._labels_of(metric)), metric
        others = {name: label for name, label in labels.items() if name != "source"}
        self.told.append((metric.name.removeprefix("tradesession."), value, others))


@pytest.fixture
def measured() -> Measured:
    return Measured()


def test_the_table_has_every_metric_of_the_module_once() -> None:
    assert list(METRICS) == [item for item in vars(metrics).values() if isinstance(item, Metric)]
    assert len({metric.prometheus for metric in METRICS}) == len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_rules_of_both_worlds(metric: Metric) -> None:
    assert re.fullmatch(r"tradesession(\.[a-z]+)+", metric.name)
    assert re.fullmatch(r"tradesession(_[a-z]+)+", metric.prometheus)
    assert metric.prometheus.endswith("_total") == (metric.kind == "counter")
    assert metric.prometheus.endswith("_seconds") == (metric.unit == "s")
    assert metric.labels[0] == "source"
    assert bool(metric.bounds) == (metric.kind == "histogram")
    assert list(metric.bounds) == sorted(set(metric.bounds))
    assert "account" not in metric.labels


def test_every_metric_is_measured_by_some_record(measured: Measured) -> None:
    told = {name for name, _, _ in measured.of(*SAMPLES, Recovered(source="link", seconds=1, account_id=5))}
    assert {f"tradesession.{name}" for name in told} == {metric.name for metric in METRICS}


@pytest.mark.parametrize("record", SAMPLES, ids=lambda record: type(record).__name__)
def test_every_record_is_measured(measured: Measured, record: Record) -> None:
    assert measured.of(record)


def test_a_record_that_nobody_knows_passes_by(measured: Measured) -> None:
    class Special(Record):
        """A platform's own."""

    assert measured.of(Special(source="platform")) == []


def test_what_a_server_says_is_never_a_label(measured: Measured) -> None:
    lost = LinkLost(source="link", cause="anything", verdict=RETRY, during="outage")
    assert measured.of(lost) == [("link.losses", 1, {"during": "outage", "action": "retry"})]
    assert measured.of(RenewalFailed(source="token", cause="anything", needs_person=True)) == [
        ("token.renewal.failures", 1, {"needs_person": "true"})
    ]


# --- links and accounts in their states -----------------------------------------------------------------------------------------------


def state(before: str, after: str, source: str = "demo") -> StateChanged:
    return StateChanged(source=source, before=before, after=after)


def in_states(told: list[Told], name: str) -> dict[str, float]:
    """How many are in each state, by what was added and taken away."""
    sums: dict[str, float] = {}
    for metric, value, labels in told:
        if metric == name:
            sums[labels["state"]] = sums.get(labels["state"], 0) + value
    return {state: count for state, count in sums.items() if count}


def test_a_link_is_in_one_state_at_a_time_and_in_none_when_it_is_closed(measured: Measured) -> None:
    way = ["IDLE", "CONNECTING", "HANDSHAKING", "RESTORING", "READY", "BACKOFF", "CONNECTING", "CLOSING", "CLOSED"]
    changes = [state(before, after) for before, after in itertools.pairwise(way)]
    for count, change in enumerate(changes, 1):
        told = Measured().of(*changes[:count])
        assert in_states(told, "links") == ({change.after: 1} if change.after != "CLOSED" else {})


def test_links_of_one_name_add_up(measured: Measured) -> None:
    told = measured.of(state("IDLE", "CONNECTING"), state("IDLE", "CONNECTING"), state("CONNECTING", "HANDSHAKING"))
    assert in_states(told, "links") == {"CONNECTING": 1, "HANDSHAKING": 1}


def test_a_link_that_was_there_before_the_exporter_is_counted_from_its_next_change_on(measured: Measured) -> None:
    told = measured.of(state("READY", "BACKOFF"), state("BACKOFF", "CONNECTING"), state("READY", "CLOSING", "another"))
    assert in_states(told, "links") == {"CONNECTING": 1, "CLOSING": 1}


def account(before: str, after: str, *, number: int = 5, begins_outage: bool = False) -> AccountChanged:
    return AccountChanged(source="demo", account_id=number, before=before, after=after, begins_outage=begins_outage)


def test_an_account_is_in_one_state_while_its_link_stands_and_in_none_without_it(measured: Measured) -> None:
    up = [account("UNKNOWN", "AUTHORIZING"), account("AUTHORIZING", "AUTHORIZED")]
    other = [account("UNKNOWN", "AUTHORIZING", number=6), account("AUTHORIZING", "SUSPENDED", number=6, begins_outage=True)]
    told = list(measured.of(*up, *other))
    assert in_states(told, "accounts") == {"AUTHORIZED": 1, "SUSPENDED": 1}
    assert ("account.suspensions", 1, {}) in told
    told += measured.of(account("AUTHORIZED", "UNKNOWN"), account("SUSPENDED", "UNKNOWN", number=6))
    assert in_states(told, "accounts") == {}


def test_the_ids_of_accounts_are_labels_for_whoever_asks_for_them() -> None:
    asked = Measured(account_ids=True)
    told = asked.of(
        account("UNKNOWN", "AUTHORIZING"),
        account("UNKNOWN", "SUSPENDED", number=6, begins_outage=True),
        account("AUTHORIZING", "AUTHORIZED"),
        Recovered(source="demo", seconds=3, account_id=6),
        Recovered(source="demo", seconds=4),
    )
    assert told == [
        ("accounts", 1, {"account": "5", "state": "AUTHORIZING"}),
        ("accounts", 1, {"account": "6", "state": "SUSPENDED"}),
        ("account.suspensions", 1, {"account": "6"}),
        ("accounts", -1, {"account": "5", "state": "AUTHORIZING"}),
        ("accounts", 1, {"account": "5", "state": "AUTHORIZED"}),
        ("account.outage.duration", 3, {"account": "6"}),
        ("link.outage.duration", 4, {}),
    ]


# --- tokens -------------------------------------------------------------------------------------------------------------------------


def rotated(generation: int, *, saved: bool = True) -> TokenRotated:
    return TokenRotated(source="token", generation=generation, expires_at=1000.0 * generation, saved=saved)


def test_a_rotation_counts_once_also_when_it_is_saved_later(measured: Measured) -> None:
    told = measured.of(rotated(2), rotated(3, saved=False), rotated(3), rotated(4))
    assert [value for name, value, _ in told if name == "token.rotations"] == [1, 1, 1]
    assert [value for name, value, _ in told if name == "token.unsaved"] == [0, 1, 0, 0]
    assert [value for name, value, _ in told if name == "token.expiry.timestamp"] == [2000, 3000, 3000, 4000]


def test_the_expiry_is_known_from_the_first_token_on_and_one_without_end_never_expires(measured: Measured) -> None:
    assert measured.of(TokenLoaded(source="token", generation=1, expires_at=5.0)) == [("token.expiry.timestamp", 5.0, {})]
    assert measured.of(TokenLoaded(source="token", generation=1, expires_at=None)) == [("token.expiry.timestamp", math.inf, {})]
