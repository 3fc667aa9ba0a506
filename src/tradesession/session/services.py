"""What a SessionManager shares among its sessions, and what a platform's configuration offers to one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tradesession.clock import Clock
from tradesession.hooks import Hooks
from tradesession.session.session import Session
from tradesession.tokens.exchange import Exchange
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.store import TokenStore
from tradesession.tokens.token import Slot, Token

S_co = TypeVar("S_co", bound=Session, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPlan:
    """Where a configuration's token lives and how it is renewed.

    `seed` is the token that the configuration itself brings. With `is_stored` the pair rotates, so it must rest in a store that lasts;
    otherwise nothing is written anywhere. `aclose` closes what the exchange uses.
    """

    slot: Slot
    exchange: Exchange
    seed: Token | None
    is_stored: bool
    aclose: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The clock, the hooks, and the source of random ids (64 bits, in hexadecimal); the keeper of the token and how it is renewed."""

    clock: Clock
    hooks: Hooks
    random_id: Callable[[], str]
    tokens: TokenKeeper
    exchange: Exchange


class PlatformConfig(Protocol[S_co]):
    """What a platform's configuration offers to a SessionManager."""

    @property
    def clock(self) -> Clock | None:
        """The clock to live by; None for the manager's."""

    @property
    def store(self) -> str | TokenStore | None:
        """The token store, or its URL; None for the manager's."""

    @property
    def slot(self) -> Slot:
        """Where the token lives. Sessions of one slot share it."""

    def token_plan(self, clock: Clock) -> TokenPlan:
        """How the token of the slot is had. Called once for each slot."""

    def create_session(self, services: Services) -> S_co:
        """The session of this configuration, not yet started."""
