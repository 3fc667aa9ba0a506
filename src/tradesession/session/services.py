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
from tradesession.tokens.renewal import DEFAULT_POLICY, RenewalPolicy
from tradesession.tokens.store import TokenStore
from tradesession.tokens.token import Slot, Token

S_co = TypeVar("S_co", bound=Session, covariant=True)


async def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPlan:
    """Where a configuration's token lives and how it is renewed.

    `seed` is the token that the configuration itself brings. With `is_stored` the pair rotates, so it must rest in a store that lasts;
    otherwise nothing is written anywhere. `aclose` closes what the exchange uses, where it uses anything. `numbers` are the keeper's.
    """

    slot: Slot
    exchange: Exchange
    seed: Token | None
    is_stored: bool
    aclose: Callable[[], Awaitable[None]] = _nothing
    numbers: RenewalPolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildPlan:
    """A token that is had with another one: the `parent` is kept first, and `child` gets its keeper. They close in the opposite order."""

    parent: TokenPlan
    child: Callable[[TokenKeeper], TokenPlan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The clock, the hooks, and the source of random ids (64 bits, in hexadecimal); the keeper of the token and how it is renewed.

    `parent` is the keeper of the token that this one is had with, where there is one.
    """

    clock: Clock
    hooks: Hooks
    random_id: Callable[[], str]
    tokens: TokenKeeper
    exchange: Exchange
    parent: TokenKeeper | None = None


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

    def token_plan(self, clock: Clock) -> TokenPlan | ChildPlan:
        """How the token of the slot is had. Called once for each slot."""

    def create_session(self, services: Services) -> S_co:
        """The session of this configuration, not yet started."""
