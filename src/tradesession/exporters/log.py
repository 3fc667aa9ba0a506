"""LogExporter: which record is worth which line in the log. It is the one place where that is decided.

Knows records and `logging`. What always holds: of an outage its beginning is a warning and its end a line of information, whatever happens
in between; what needs a person is an error; everything else is for debugging, and costs next to nothing while nobody debugs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from tradesession import hooks as records
from tradesession import policy
from tradesession.hooks import Hook, Hooks, Record
from tradesession.verdict import Action

SESSION: Final = logging.getLogger("tradesession.session")
"""Connections and accounts: states, steps, losses, recoveries."""
LINK: Final = logging.getLogger("tradesession.link")
"""What goes over a connection: requests, waits, late replies, heartbeats, what nobody knows. Many lines at DEBUG, none above."""
STREAMS: Final = logging.getLogger("tradesession.streams")
"""Events that were dropped."""
TOKENS: Final = logging.getLogger("tradesession.tokens")
"""Renewals, and failures of them."""

_DEBUG, _INFO, _WARNING, _ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR


class _Line(NamedTuple):
    """One line, not yet formatted; the source stands before `text`."""

    logger: logging.Logger
    level: int
    text: str
    values: tuple[object, ...] = ()


class LogExporter:
    """A hook that writes records to the loggers of this module. It may be shared by many sessions.

    Every line of the log carries its record as the attribute `tradesession`, for handlers that write structured logs. `monotonic` gives
    the seconds by which warnings of dropped events are spaced, `policy.DROP_WARNING_INTERVAL` for each stream.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._unsaved: set[str] = set()  # keepers whose token in use the store does not have
        self._failing: dict[str, int] = {}  # keepers whose renewals fail, and how loudly that was said
        self._dropped: dict[tuple[str, str], int] = {}  # by stream, since it was last said
        self._quiet_until: dict[tuple[str, str], float] = {}
        self._lines: dict[type[Record], Callable[[Any], _Line]] = _LINES | {
            records.TokenRotated: self._rotated,
            records.TokenLoaded: self._loaded,
            records.RenewalFailed: self._renewal_failed,
            records.EventsDropped: self._events_dropped,
        }

    def __call__(self, record: Record) -> None:
        """Write the record's line, if its logger wants it."""
        line = self._lines.get(type(record), _other)(record)
        if line.logger.isEnabledFor(line.level):
            text = f"%s: {line.text}"
            line.logger.log(line.level, text, record.source, *line.values, extra={"tradesession": record})

    def _rotated(self, record: records.TokenRotated) -> _Line:
        self._failing.pop(record.source, None)
        if not record.saved:
            self._unsaved.add(record.source)
            text = "generation %d is in use and NOT SAVED, saving goes on: %s"
            return _Line(TOKENS, _ERROR, text, (record.generation, record.cause))
        if record.source in self._unsaved:
            self._unsaved.remove(record.source)
            return _Line(TOKENS, _INFO, "generation %d is in use and saved now", (record.generation,))
        return _Line(TOKENS, _INFO, "generation %d is in use", (record.generation,))

    def _loaded(self, record: records.TokenLoaded) -> _Line:
        self._failing.pop(record.source, None)
        return _Line(TOKENS, _DEBUG, "generation %d, which was there already, is in use", (record.generation,))

    def _renewal_failed(self, record: records.RenewalFailed) -> _Line:
        level, text = (_ERROR, "not renewed, a person is needed: %s") if record.needs_person else (_WARNING, "not renewed: %s")
        if level <= self._failing.get(record.source, _DEBUG):
            return _Line(TOKENS, _DEBUG, text, (record.cause,))
        self._failing[record.source] = level
        return _Line(TOKENS, level, text, (record.cause,))

    def _events_dropped(self, record: records.EventsDropped) -> _Line:
        key, now = (record.source, record.stream), self._monotonic()
        dropped = self._dropped.pop(key, 0) + record.count
        if now < self._quiet_until.get(key, now):
            self._dropped[key] = dropped
            return _Line(STREAMS, _DEBUG, "the reader of %s is too slow; dropped events: %d", (record.stream, record.count))
        self._quiet_until[key] = now + policy.DROP_WARNING_INTERVAL
        return _Line(STREAMS, _WARNING, "the reader of %s is too slow; dropped events: %d", (record.stream, dropped))


def logged(hooks: Iterable[Hook] | Hooks | None, *, log: bool = True) -> Hooks:
    """Hooks from whatever a caller has, with a LogExporter among them if `log` says so. Hooks to share are taken as they are."""
    if isinstance(hooks, Hooks):
        return hooks
    given = list(hooks or ())
    if log and not any(isinstance(hook, LogExporter) for hook in given):
        given.insert(0, LogExporter())
    return Hooks(given)


# --- the lines of the records that need no memory -----------------------------------------------------------------------------------------


def _lost(record: records.LinkLost) -> _Line:
    if record.during == "opening":  # it is raised to whoever opens the session, who knows best what to say
        return _Line(SESSION, _DEBUG, "not opened: %s; verdict: %s", (record.cause, record.verdict))
    if record.verdict.action is Action.FATAL:
        return _Line(SESSION, _ERROR, "lost for good: %s", (record.cause,))
    if record.delay is None:
        return _Line(SESSION, _ERROR, "parked, a person is needed: %s", (record.cause,))
    level, what = (_WARNING, "lost") if record.during == "ready" else (_DEBUG, "still lost")
    text = "%s: %s; verdict: %s; the next attempt comes in %.1f s"
    return _Line(SESSION, level, text, (what, record.cause, record.verdict, record.delay))


def _recovered(record: records.Recovered) -> _Line:
    if record.account_id is None:
        return _Line(SESSION, _INFO, "READY again after %.1f s", (record.seconds,))
    return _Line(SESSION, _INFO, "account %d is authorised again after %.1f s", (record.account_id, record.seconds))


def _state_changed(record: records.StateChanged) -> _Line:
    return _Line(SESSION, _DEBUG, "%s → %s%s", (record.before, record.after, _because(record.cause)))


def _account_changed(record: records.AccountChanged) -> _Line:
    if record.begins_outage:
        return _Line(SESSION, _WARNING, "account %d is suspended: %s", (record.account_id, record.cause))
    values = (record.account_id, record.before, record.after, _because(record.cause))
    return _Line(SESSION, _DEBUG, "account %d: %s → %s%s", values)


def _not_restored(record: records.NotRestored) -> _Line:
    level = _WARNING if record.failures == 1 else _DEBUG
    return _Line(SESSION, level, "%s did not come back: %s", (record.what, record.cause))


def _step(record: records.StepTimed) -> _Line:
    return _Line(SESSION, _DEBUG, "%s took %.3f s", (record.step, record.seconds))


def _retry(record: records.RetryPlanned) -> _Line:
    return _Line(SESSION, _DEBUG, "attempt %d comes in %.1f s", (record.failures + 1, record.seconds))


def _request(record: records.RequestTimed) -> _Line:
    return _Line(LINK, _DEBUG, "%s: %s after %.3f s", (record.request, record.outcome, record.seconds))


def _waited(record: records.QuotaWaited) -> _Line:
    return _Line(LINK, _DEBUG, "%s waited %.3f s for its turn", (record.request, record.seconds))


def _late(record: records.LateReply) -> _Line:
    return _Line(LINK, _DEBUG, "a reply (%s) came after its request had given up", (record.kind,))


def _beat(record: records.Heartbeat) -> _Line:
    return _Line(LINK, _DEBUG, "heartbeat; the server was heard %.1f s ago", (record.silence,))


def _unclassified(record: records.Unclassified) -> _Line:
    return _Line(LINK, _DEBUG, "passed by what the server sent: %s", (record.what,))


def _other(record: Record) -> _Line:
    """A record that this version does not know: a platform's own."""
    return _Line(SESSION, _DEBUG, "%s", (record,))


def _because(cause: str) -> str:
    return f": {cause}" if cause else ""


def _session_replaced(record: records.SessionReplaced) -> _Line:
    return _Line(TOKENS, _INFO, "a new session replaces the old one: %s", (record.cause,))


def _symbol_silent(record: records.SymbolSilent) -> _Line:
    return _Line(LINK, _DEBUG, "%s is silent for %.0f s", (record.symbol, record.seconds))


_LINES: Final[dict[type[Record], Callable[[Any], _Line]]] = {
    records.LinkLost: _lost,
    records.Recovered: _recovered,
    records.StateChanged: _state_changed,
    records.AccountChanged: _account_changed,
    records.NotRestored: _not_restored,
    records.StepTimed: _step,
    records.RetryPlanned: _retry,
    records.RequestTimed: _request,
    records.QuotaWaited: _waited,
    records.LateReply: _late,
    records.Heartbeat: _beat,
    records.Unclassified: _unclassified,
    records.SessionReplaced: _session_replaced,
    records.SymbolSilent: _symbol_silent,
}
