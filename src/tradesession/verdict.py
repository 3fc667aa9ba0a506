"""What is to be done about a failure, and on which level.

Pure. Every exception, error reply and close becomes exactly one Verdict, made in one place for each platform (its `judge` module).
A Verdict acts on its own level only: a refused request never costs the account, a lost account never costs the link.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Action(enum.Enum):
    """The five things that can be done about a failure."""

    RETRY = "retry"
    RETRY_AFTER = "retry_after"
    REFRESH = "refresh"
    REAUTHORIZE = "reauthorize"
    FATAL = "fatal"


class Level(enum.Enum):
    """What a Verdict is about; nothing above it is touched."""

    REQUEST = "request"
    ACCOUNT = "account"
    TOKEN = "token"  # noqa: S105 - the name of a level, not a password
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One Action on one Level; `after` is in seconds and only set for `Action.RETRY_AFTER`."""

    action: Action
    level: Level
    after: float | None = None

    def __post_init__(self) -> None:
        if (self.after is not None) != (self.action is Action.RETRY_AFTER):
            raise ValueError(f"after={self.after!r} does not go with {self.action}: it belongs to RETRY_AFTER and to nothing else")

    @property
    def is_retryable(self) -> bool:
        """Whether doing the same thing again, now or later, can succeed without anybody changing anything."""
        return self.action in (Action.RETRY, Action.RETRY_AFTER)

    @property
    def needs_human(self) -> bool:
        """Whether only a person can help: a new consent, or another configuration."""
        return self.action is Action.REAUTHORIZE

    def __str__(self) -> str:
        when = f" after {self.after:g} s" if self.after is not None else ""
        return f"{self.action.value}{when} ({self.level.value})"
