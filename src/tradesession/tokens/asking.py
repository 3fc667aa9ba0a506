"""Asking a server with a token: when it refuses the token, once more with a renewed one.

May use asyncio. Always holds: one refusal costs one renewal, shared with everybody whose request was refused with the same token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from tradesession.errors import Rejected, TokenError
from tradesession.tokens.token import Token
from tradesession.verdict import Action

T = TypeVar("T")


class Tokens(Protocol):
    """Where tokens come from: a TokenKeeper, for the purposes of whoever asks with them."""

    async def get(self, min_ttl: float | None = None) -> Token:
        """A token that is good for at least `min_ttl` seconds."""

    async def reject(self, token: Token) -> None:
        """This token was refused by the server."""

    def changes(self) -> AsyncIterator[Token]:
        """Every token that comes after now."""


async def with_token(tokens: Tokens, ask: Callable[[Token], Awaitable[T]]) -> T:
    """Ask with the current token; when the server refuses the token, once more with a renewed one."""
    token = await tokens.get()
    try:
        return await ask(token)
    except Rejected as refusal:
        if refusal.verdict.action is not Action.REFRESH:
            raise
        await tokens.reject(token)
        try:
            renewed = await tokens.get()
        except TokenError as error:
            raise error from refusal  # what the server said stands behind what the keeper says
        if renewed.access == token.access:
            raise
    return await ask(renewed)
