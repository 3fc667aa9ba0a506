"""The bearer of B2Core's user by itself: what the `tokens` commands look after, and what no command may lose."""

from __future__ import annotations

from dataclasses import dataclass

from tradesession import b2core
from tradesession.clock import Clock
from tradesession.errors import ConfigurationError
from tradesession.session.services import Services, TokenPlan
from tradesession.session.session import Session
from tradesession.tokens.store import TokenStore
from tradesession.tokens.token import Slot


@dataclass(frozen=True, slots=True)
class UserTokens:
    """The first level alone, for a SessionManager that opens no session."""

    config: b2core.Config

    @property
    def clock(self) -> Clock | None:
        """See PlatformConfig."""
        return self.config.clock

    @property
    def store(self) -> str | TokenStore | None:
        """See PlatformConfig."""
        return self.config.store

    @property
    def slot(self) -> Slot:
        """See PlatformConfig."""
        return self.config.parent_slot

    def token_plan(self, clock: Clock) -> TokenPlan:
        """See PlatformConfig."""
        return self.config.token_plan(clock).parent

    def create_session(self, services: Services) -> Session:
        """There is none."""
        raise ConfigurationError("the bearer of B2Core's user opens no session by itself")
