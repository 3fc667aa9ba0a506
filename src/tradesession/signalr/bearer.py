"""Where a hub's bearer comes from.

May use asyncio. A TokenKeeper is a source as it stands; a token that the user has is wrapped here. What always holds: whoever asks after
a refusal gets another token than the refused one, or an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, TypeAlias

from tradesession.errors import ConfigurationError, ReauthorizationRequired
from tradesession.secrets import Secret
from tradesession.tokens.changes import TokenChanges
from tradesession.tokens.token import Token


class TokenSource(Protocol):
    """What a hub asks for its bearer, before each negotiation and each opening of a socket. A TokenKeeper is one."""

    async def get(self, min_ttl: float | None = None) -> Token | None:
        """A token that is good now, and for `min_ttl` seconds if its kind lives that long; None where the hub wants none."""

    async def reject(self, token: Token) -> None:
        """A server refused this token: the next `get` gives another one, or raises."""

    def changes(self) -> AsyncIterator[Token]:
        """Every token that comes after now."""


Bearer: TypeAlias = TokenSource | Token | Secret | None
"""What a caller may give: a source, or a token that is never renewed; None for a hub that wants no bearer."""


def source_of(bearer: Bearer) -> TokenSource:
    """The source for whatever a caller gave. Raises ConfigurationError for what can be none."""
    if bearer is None or isinstance(bearer, Token):
        return StaticSource(bearer)
    if isinstance(bearer, Secret):
        return StaticSource(Token(access=bearer))
    if not hasattr(bearer, "get"):
        raise ConfigurationError(f"token= takes a token keeper, a Token or a Secret, not {type(bearer).__name__}: wrap a string in Secret")
    return bearer


class StaticSource:
    """One token, until a server refuses it; or none at all."""

    def __init__(self, token: Token | None) -> None:
        self._token = token
        self._is_refused = False

    async def get(self, min_ttl: float | None = None) -> Token | None:
        """The token. Raises ReauthorizationRequired once it was refused."""
        if self._is_refused:
            raise ReauthorizationRequired("the server refused the token that was given, and there is no way to another one: give a new one")
        return self._token

    async def reject(self, token: Token) -> None:
        """It does not work any more."""
        self._is_refused = True

    def changes(self) -> AsyncIterator[Token]:
        """Never brings any."""
        return TokenChanges()
