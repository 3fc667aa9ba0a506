"""One record of each class, as it may come from a session."""

from __future__ import annotations

from tradesession import hooks as records
from tradesession.hooks import Record
from tradesession.verdict import Action, Level, Verdict

RETRY = Verdict(Action.RETRY, Level.LINK)

CLASSES = [item for item in vars(records).values() if isinstance(item, type) and issubclass(item, Record) and item is not Record]
"""Every class of records, in the order of the module."""

SAMPLES: list[Record] = [
    records.StateChanged(source="link", before="READY", after="BACKOFF", cause="the cable"),
    records.StepTimed(source="link", step="connect", seconds=0.25),
    records.LinkLost(source="link", cause="the cable", verdict=RETRY, during="ready", delay=1.5),
    records.RetryPlanned(source="link", seconds=1.5, failures=1),
    records.Recovered(source="link", seconds=75.0),
    records.NotRestored(source="link", what="Subscribe", cause="refused"),
    records.Heartbeat(source="link", silence=4.0),
    records.AccountChanged(source="link", account_id=5, before="AUTHORIZED", after="SUSPENDED", cause="blocked", begins_outage=True),
    records.RequestTimed(source="link", request="TraderReq", seconds=0.04, outcome="reply"),
    records.QuotaWaited(source="link", request="TraderReq", seconds=0.5),
    records.LateReply(source="link", kind="2122"),
    records.Unclassified(source="session", what="type 9999"),
    records.EventsDropped(source="session", stream="spots", count=3),
    records.SymbolSilent(source="link", symbol="EURUSD", seconds=60.0),
    records.TokenLoaded(source="token", generation=1, expires_at=1000.0),
    records.TokenRotated(source="token", generation=2, expires_at=2000.0),
    records.RenewalFailed(source="token", cause="the endpoint is down"),
    records.SessionReplaced(source="token", cause="its refresh token has ended"),
]
