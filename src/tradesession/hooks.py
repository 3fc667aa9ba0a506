"""What happened, as small frozen records, and the way they reach whoever wants to know.

Pure. A hook is a plain callable that takes a record; it is called where the thing happens, so it must be quick and must not wait.
A hook that raises is reported once on the logger `tradesession.hooks` and can never break a session. No record holds a secret.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from tradesession.errors import ConfigurationError, Error
from tradesession.verdict import Verdict

_log = logging.getLogger("tradesession.hooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Root of all records. `source` names the link, session or token keeper it is about, as in logs."""

    source: str


# --- connections --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Record):
    """A link went from one state to the next."""

    before: str
    after: str
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimed(Record):
    """One step of a handshake is done; `seconds` is its duration."""

    step: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLost(Record):
    """A connection ended, or did not come about, by no wish of its owner. `cause` is one line.

    `during` tells where it stood: `ready` begins an outage, `outage` is an attempt to come back that failed, `opening` is before the first
    READY, where the cause is raised to whoever opens the session. `delay` is the seconds until the next attempt; None when there is none
    by itself (the verdict says why).
    """

    cause: str
    verdict: Verdict
    during: Literal["opening", "ready", "outage"] = "ready"
    delay: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPlanned(Record):
    """The next attempt to connect comes in `seconds`, after `failures` in a row."""

    seconds: float
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered(Record):
    """An outage is over after `seconds`: of the whole link, or, with an `account_id`, of that account alone."""

    seconds: float
    account_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRestored(Record):
    """Something that was asked for did not come back on a new connection, or only in part. `failures` counts the attempts in a row."""

    what: str
    cause: str
    failures: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(Record):
    """A heartbeat was sent; the server was last heard `silence` seconds before."""

    silence: float


# --- accounts -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChanged(Record):
    """An account went from one state to the next. `begins_outage` is True when it was not suspended since it was last authorised."""

    account_id: int
    before: str
    after: str
    cause: str = ""
    begins_outage: bool = False


# --- requests and events ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimed(Record):
    """A request that was sent has ended; `seconds` from write to reply. `outcome` is `reply` or the name of the exception."""

    request: str
    seconds: float
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaWaited(Record):
    """A request waited so many seconds for the quota, or for a server that was slow to read, before it was written."""

    request: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LateReply(Record):
    """An answer came after its request had given up. `kind` is the number of its type, or the method that was called."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclassified(Record):
    """The peer sent something that we do not know; it was passed by. `what` names it (a type number, a code), never its content.

    Each kind is told once in the life of a session.
    """

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsDropped(Record):
    """A stream's queue was full, and by its overflow rule `count` events were dropped since the last such record of this stream.

    Told when a full queue begins to drop and when the stream ends, so that the counts add up to all that was dropped.
    """

    stream: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolSilent(Record):
    """A symbol that was heard before has been silent for `seconds`, in its trading hours; told once in each silence."""

    symbol: str
    seconds: float


# --- tokens -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLoaded(Record):
    """The token that was there already, in the store or in the configuration, is in use. Times are wall-clock seconds since 1970."""

    generation: int
    expires_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRotated(Record):
    """A token was renewed, here or in another process that shares the store, and is in use.

    `saved` is False while its save is still being retried, and `cause` says why; a second record with True follows when it is saved.
    """

    generation: int
    expires_at: float | None
    saved: bool = True
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalFailed(Record):
    """A token could not be renewed; it is tried again by itself unless `needs_person` says that only a new consent helps."""

    cause: str
    needs_person: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReplaced(Record):
    """A token could not be refreshed, and one of a new grant took its place: for the server a new session, with nothing of the old one.

    What the server bound to the old session (streams, subscriptions) may have to be made anew.
    """

    cause: str


# --- handing them out -----------------------------------------------------------------------------------------------------------------


def one_line(error: BaseException | None) -> str:
    """An exception as the `cause` of a record; empty for None. What is no Error of ours may hold anything, so only its type is told."""
    if error is None:
        return ""
    text = " ".join(str(error).split()) if isinstance(error, Error) else ""
    return text or type(error).__name__


Hook = Callable[[Record], object]


@dataclass(slots=True)
class Hooks:
    """The hooks of one session or manager, called in order. Add with `add`, which gives back the way to take it off.

    Raises ConfigurationError for a coroutine function: nobody would await it.
    """

    _hooks: list[Hook] = field(default_factory=list)
    _reported: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for hook in self._hooks:
            _refuse_coroutines(hook)

    @classmethod
    def of(cls, hooks: Iterable[Hook] | Hooks | None) -> Hooks:
        """Hooks from whatever a caller has: nothing, a list of callables, or hooks to share."""
        return hooks if isinstance(hooks, Hooks) else cls(list(hooks or ()))

    def add(self, hook: Hook) -> Callable[[], None]:
        """Call `hook` for every record from now on."""
        _refuse_coroutines(hook)
        self._hooks.append(hook)

        def remove() -> None:
            if hook in self._hooks:
                self._hooks.remove(hook)
                self._reported.discard(id(hook))  # the next one at this address has not failed yet

        return remove

    def emit(self, record: Record) -> None:
        """Hand the record to every hook."""
        for hook in tuple(self._hooks):
            try:
                hook(record)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                # CancelledError too: no task is cancelled inside a plain call, so it is the hook's own (the result of a cancelled future),
                # and the session must not take it for its owner's wish.
                self._report(hook, record, error)

    def _report(self, hook: Hook, record: Record, error: BaseException) -> None:
        if id(hook) not in self._reported:
            self._reported.add(id(hook))
            _log.error(
                "hook %s failed on %s with %s; its further failures are not reported",
                _name(hook),
                type(record).__name__,
                type(error).__name__,
            )


def _name(hook: Hook) -> str:
    """What the hook is called; its repr could show what a partial holds."""
    return getattr(hook, "__qualname__", type(hook).__qualname__)


def _refuse_coroutines(hook: Hook) -> None:
    if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__):
        raise ConfigurationError(f"hook {_name(hook)} is a coroutine function, and hooks are not awaited: give a plain callable")
