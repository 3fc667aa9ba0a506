"""What happened, as small frozen records, and the way they reach whoever wants to know.

Pure. A hook is a plain callable that takes a record; it is called where the thing happens, so it must be quick and must not wait.
A hook that raises is reported once on the logger `tradesession.hooks` and can never break a session. No record holds a secret.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tradesession.verdict import Verdict

_log = logging.getLogger("tradesession.hooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Root of all records. `source` names the session or keeper it is about, as in logs."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Record):
    """A session went from one state to the next."""

    before: str
    after: str
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimed(Record):
    """One step of a handshake is done; `seconds` is its duration."""

    step: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimed(Record):
    """A request was answered; `seconds` from write to reply. `outcome` is `reply` or the name of the exception."""

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
    """An answer came after its request had given up."""

    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLost(Record):
    """A link ended by itself. `cause` is one line."""

    cause: str
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPlanned(Record):
    """The next attempt to connect comes in `seconds`, after `failures` in a row."""

    seconds: float
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChanged(Record):
    """An account went from one state to the next."""

    account_id: int
    before: str
    after: str
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclassified(Record):
    """The peer sent something that we do not know; it was passed by. `what` names it (a type number, a code), never its content."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsDropped(Record):
    """A stream's queue was full and its overflow rule dropped events."""

    stream: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRotated(Record):
    """A token was renewed and is in use. `saved` is False while its save is still being retried."""

    generation: int
    expires_at: float | None
    saved: bool = True


Hook = Callable[[Record], object]


@dataclass(slots=True)
class Hooks:
    """The hooks of one session or manager, called in order. Add with `add`, which gives back the way to take it off."""

    _hooks: list[Hook] = field(default_factory=list)
    _reported: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, hooks: Iterable[Hook] | Hooks | None) -> Hooks:
        """Hooks from whatever a caller has: nothing, a list of callables, or hooks to share."""
        return hooks if isinstance(hooks, Hooks) else cls(list(hooks or ()))

    def add(self, hook: Hook) -> Callable[[], None]:
        """Call `hook` for every record from now on."""
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
            except Exception as error:
                if id(hook) not in self._reported:
                    self._reported.add(id(hook))
                    _log.error(
                        "hook %r failed on %s with %s; its further failures are not reported",
                        hook,
                        type(record).__name__,
                        type(error).__name__,
                    )
