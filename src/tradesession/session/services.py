"""What a SessionManager shares among its sessions, and what a platform's configuration must offer to be opened by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tradesession.clock import Clock
from tradesession.hooks import Hooks
from tradesession.session.session import Session

S_co = TypeVar("S_co", bound=Session, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The shared things: the clock, the hooks, and the source of random ids (64 bits, in hexadecimal)."""

    clock: Clock
    hooks: Hooks
    random_id: Callable[[], str]
