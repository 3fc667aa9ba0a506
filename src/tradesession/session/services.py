"""What a SessionManager shares among its sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tradesession.clock import Clock
from tradesession.hooks import Hooks


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The clock, the hooks, and the source of random ids (64 bits, in hexadecimal)."""

    clock: Clock
    hooks: Hooks
    random_id: Callable[[], str]
