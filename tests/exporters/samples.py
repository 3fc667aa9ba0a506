"""One record of each class, as it may come from a session."""

from __future__ import annotations

from tradesession import hooks
from tradesession.hooks import (
    AccountChanged,
    EventsDropped,
    Heartbeat,
    LateReply,
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
from tradesession.verdict import Action, Level, Verdict

RETRY = Verdict(Action.RETRY, Level.LINK)

CLASSES = [item for item in vars(hooks).values() if isinstance(item, type) and issubclass(item, Record) and item is not Record]
"""Every class of records, in the order of the module."""

SAMPLES: list[Record] = [
    StateChanged(source="link", before="READY", after="BACKOFF", cause="the cable"),
    StepTimed(source="link", step="connect", seconds=0.25),
    LinkLost(source="link", cause="the cable", verdict=RETRY, during="ready", delay=1.5),
    RetryPlanned(source="link", seconds=1.5, failures=1),
    Recovered(source="link", seconds=75.0),
    NotRestored(source="link", what="Subscribe", cause="refused"),
    Heartbeat(source="link", silence=4.0),
    AccountChanged(source="link", account_id=5, before="AUTHORIZED", after="SUSPENDED", cause="blocked", begins_outage=True),
    RequestTimed(source="link", request="TraderReq", seconds=0.04, outcome="reply"),
    QuotaWaited(source="link", request="TraderReq", seconds=0.5),
    LateReply(source="link", kind="2122"),
    Unclassified(source="session", what="type 9999"),
    EventsDropped(source="session", stream="spots", count=3),
    TokenLoaded(source="token", generation=1, expires_at=1000.0),
    TokenRotated(source="token", generation=2, expires_at=2000.0),
    RenewalFailed(source="token", cause="the endpoint is down"),
]
