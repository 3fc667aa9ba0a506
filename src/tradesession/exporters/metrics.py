"""What is measured: the table of all metrics, and the way from a record to its measurements.

Knows records and no metrics library; `prometheus` and `opentelemetry` put these measurements into theirs. What always holds: a label has
few values, whatever a server sends (an account's id is a label only for those who ask for it); and no label holds a secret.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from tradesession import hooks as records
from tradesession.hooks import Record

_SHORT: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for requests and steps: 40 to 130 ms is usual, ten seconds is a deadline."""
_MIDDLE: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 600.0, 3600.0)
"""Bounds for waits between attempts, and for the silence between two signs of life."""
_LONG: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0, 72 * 3600.0)
"""Bounds for outages: from a cut line to a weekend."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `name` is OpenTelemetry's; `prometheus` has Prometheus' by the rules of OpenTelemetry's specification.

    `unit` is a unit of UCUM. With `is_of_account` it has the label `account` as well, where accounts' ids are wanted.
    """

    name: str
    kind: Literal["counter", "up_down_counter", "gauge", "histogram"]
    unit: str
    description: str
    labels: tuple[str, ...] = ("source",)
    bounds: tuple[float, ...] = ()
    is_of_account: bool = False

    @property
    def prometheus(self) -> str:
        """The name in Prometheus."""
        unit = {"s": "_seconds"}.get(self.unit, "")
        return self.name.replace(".", "_") + unit + ("_total" if self.kind == "counter" else "")


LINKS: Final = Metric("tradesession.links", "up_down_counter", "{link}", "Links in each state", ("source", "state"))
LOSSES: Final = Metric(
    "tradesession.link.losses",
    "counter",
    "{loss}",
    "Connections that ended, or did not come about, by no wish of their owner",
    ("source", "during", "action"),
)
OUTAGE: Final = Metric("tradesession.link.outage.duration", "histogram", "s", "From the loss of a link to READY", bounds=_LONG)
RETRY: Final = Metric("tradesession.link.retry.delay", "histogram", "s", "Waits before attempts to connect", bounds=_MIDDLE)
STEP: Final = Metric("tradesession.handshake.step.duration", "histogram", "s", "Steps of handshakes", ("source", "step"), _SHORT)
SILENCE: Final = Metric(
    "tradesession.heartbeat.silence", "histogram", "s", "Since the server was last heard, at each heartbeat that was sent", bounds=_MIDDLE
)
NOT_RESTORED: Final = Metric("tradesession.restore.failures", "counter", "{failure}", "What did not come back on a new connection")
ACCOUNTS: Final = Metric(
    "tradesession.accounts", "up_down_counter", "{account}", "Accounts in each state, on links that stand", ("source", "state"), (), True
)
SUSPENSIONS: Final = Metric(
    "tradesession.account.suspensions", "counter", "{suspension}", "Outages of single accounts that began", is_of_account=True
)
ACCOUNT_OUTAGE: Final = Metric(
    "tradesession.account.outage.duration",
    "histogram",
    "s",
    "From the suspension of an account to its next authorisation",
    bounds=_LONG,
    is_of_account=True,
)
REQUEST: Final = Metric(
    "tradesession.request.duration", "histogram", "s", "Requests from write to reply", ("source", "request", "outcome"), _SHORT
)
WAIT: Final = Metric("tradesession.quota.wait", "histogram", "s", "Waits of requests before they were written", bounds=_SHORT)
LATE: Final = Metric("tradesession.late.replies", "counter", "{reply}", "Answers to requests that had given up")
UNCLASSIFIED: Final = Metric("tradesession.unclassified", "counter", "{kind}", "Kinds of messages that nobody knows")
DROPPED: Final = Metric(
    "tradesession.events.dropped", "counter", "{event}", "Events that slow readers lost by the overflow rule", ("source", "stream")
)
SILENT_SYMBOLS: Final = Metric("tradesession.symbol.silences", "counter", "{silence}", "Symbols that fell silent in their trading hours")
ROTATIONS: Final = Metric("tradesession.token.rotations", "counter", "{rotation}", "Tokens that were renewed")
RENEWAL_FAILURES: Final = Metric(
    "tradesession.token.renewal.failures", "counter", "{failure}", "Renewals that failed", ("source", "needs_person")
)
REPLACEMENTS: Final = Metric(
    "tradesession.token.session.replacements", "counter", "{session}", "Sessions on a server that a new grant replaced"
)
UNSAVED: Final = Metric("tradesession.token.unsaved", "gauge", "{token}", "1 while the store does not have the token in use, else 0")
EXPIRY: Final = Metric(
    "tradesession.token.expiry.timestamp", "gauge", "s", "When the token in use expires, in seconds since 1970; infinite if never"
)

METRICS: Final = (
    LINKS,
    LOSSES,
    OUTAGE,
    RETRY,
    STEP,
    SILENCE,
    NOT_RESTORED,
    ACCOUNTS,
    SUSPENSIONS,
    ACCOUNT_OUTAGE,
    REQUEST,
    WAIT,
    LATE,
    UNCLASSIFIED,
    DROPPED,
    SILENT_SYMBOLS,
    ROTATIONS,
    RENEWAL_FAILURES,
    REPLACEMENTS,
    UNSAVED,
    EXPIRY,
)
"""All of them, in the order of the documentation."""


class Measurement(NamedTuple):
    """One value for one metric: added to a counter, set on a gauge, observed by a histogram."""

    metric: Metric
    value: float
    labels: dict[str, str]


class MetricsExporter(ABC):
    """A hook that measures; base of the exporters for the metrics libraries. It may be shared by many sessions.

    With `account_ids` the metrics of accounts have a label `account` with the account's id: as many time series as there are accounts.
    """

    def __init__(self, *, account_ids: bool = False) -> None:
        self._account_ids = account_ids
        self._standing: Counter[tuple[str, ...]] = Counter()  # links and accounts that were counted into a state
        self._unsaved: set[str] = set()
        self._measurers: dict[type[Record], Callable[[Any], Iterable[Measurement]]] = _MEASURERS | {
            records.StateChanged: self._state_changed,
            records.AccountChanged: self._account_changed,
            records.Recovered: self._recovered,
            records.TokenRotated: self._rotated,
        }

    def __call__(self, record: Record) -> None:
        """Measure what the record tells; one that has nothing to measure passes by."""
        measurer = self._measurers.get(type(record))
        if measurer is not None:
            for metric, value, labels in measurer(record):
                self._measure(metric, value, labels)

    @abstractmethod
    def _measure(self, metric: Metric, value: float, labels: dict[str, str]) -> None:
        """Put one measurement into the library's instrument."""

    def _labels_of(self, metric: Metric) -> tuple[str, ...]:
        """The names of the metric's labels."""
        return (*metric.labels, "account") if self._account_ids and metric.is_of_account else metric.labels

    def _account(self, source: str, account_id: int) -> dict[str, str]:
        return {"source": source, "account": str(account_id)} if self._account_ids else {"source": source}

    def _state_changed(self, record: records.StateChanged) -> Iterable[Measurement]:
        return self._moved(LINKS, {"source": record.source}, record.before, record.after, "CLOSED")

    def _account_changed(self, record: records.AccountChanged) -> Iterable[Measurement]:
        labels = self._account(record.source, record.account_id)
        yield from self._moved(ACCOUNTS, labels, record.before, record.after, "UNKNOWN")
        if record.begins_outage:
            yield Measurement(SUSPENSIONS, 1, labels)

    def _moved(self, metric: Metric, labels: dict[str, str], before: str, after: str, nowhere: str) -> Iterable[Measurement]:
        """Out of one state and into the next; `nowhere` is counted no more. What came in before anybody counted is not counted out."""
        subject = (metric.name, *labels.values())
        if self._standing[*subject, before]:
            self._standing[*subject, before] -= 1
            yield Measurement(metric, -1, labels | {"state": before})
        if after != nowhere:
            self._standing[*subject, after] += 1
            yield Measurement(metric, 1, labels | {"state": after})

    def _recovered(self, record: records.Recovered) -> Iterable[Measurement]:
        if record.account_id is None:
            return [Measurement(OUTAGE, record.seconds, {"source": record.source})]
        return [Measurement(ACCOUNT_OUTAGE, record.seconds, self._account(record.source, record.account_id))]

    def _rotated(self, record: records.TokenRotated) -> Iterable[Measurement]:
        source = {"source": record.source}
        was_unsaved = record.source in self._unsaved
        (self._unsaved.discard if record.saved else self._unsaved.add)(record.source)
        if not (was_unsaved and record.saved):  # else it is the save of one that was counted
            yield Measurement(ROTATIONS, 1, source)
        yield Measurement(UNSAVED, 0 if record.saved else 1, source)
        yield from _expiry(record)


# --- records that need no memory ----------------------------------------------------------------------------------------------------


def _lost(record: records.LinkLost) -> list[Measurement]:
    labels = {"source": record.source, "during": record.during, "action": record.verdict.action.value}
    return [Measurement(LOSSES, 1, labels)]


def _request(record: records.RequestTimed) -> list[Measurement]:
    labels = {"source": record.source, "request": record.request, "outcome": record.outcome}
    return [Measurement(REQUEST, record.seconds, labels)]


def _step(record: records.StepTimed) -> list[Measurement]:
    return [Measurement(STEP, record.seconds, {"source": record.source, "step": record.step})]


def _dropped(record: records.EventsDropped) -> list[Measurement]:
    return [Measurement(DROPPED, record.count, {"source": record.source, "stream": record.stream})]


def _renewal_failed(record: records.RenewalFailed) -> list[Measurement]:
    return [Measurement(RENEWAL_FAILURES, 1, {"source": record.source, "needs_person": str(record.needs_person).lower()})]


def _expiry(record: records.TokenLoaded | records.TokenRotated) -> list[Measurement]:
    expires_at = record.expires_at if record.expires_at is not None else float("inf")
    return [Measurement(EXPIRY, expires_at, {"source": record.source})]


_MEASURERS: Final[dict[type[Record], Callable[[Any], Iterable[Measurement]]]] = {
    records.LinkLost: _lost,
    records.RequestTimed: _request,
    records.StepTimed: _step,
    records.EventsDropped: _dropped,
    records.RenewalFailed: _renewal_failed,
    records.TokenLoaded: _expiry,
    records.RetryPlanned: lambda record: [Measurement(RETRY, record.seconds, {"source": record.source})],
    records.QuotaWaited: lambda record: [Measurement(WAIT, record.seconds, {"source": record.source})],
    records.Heartbeat: lambda record: [Measurement(SILENCE, record.silence, {"source": record.source})],
    records.LateReply: lambda record: [Measurement(LATE, 1, {"source": record.source})],
    records.Unclassified: lambda record: [Measurement(UNCLASSIFIED, 1, {"source": record.source})],
    records.SymbolSilent: lambda record: [Measurement(SILENT_SYMBOLS, 1, {"source": record.source})],
    records.SessionReplaced: lambda record: [Measurement(REPLACEMENTS, 1, {"source": record.source})],
    records.NotRestored: lambda record: [Measurement(NOT_RESTORED, 1, {"source": record.source})],
}
