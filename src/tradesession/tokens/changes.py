"""TokenChanges: how whoever uses a token hears of the next one."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from typing import Self

from tradesession.tokens.token import Token


class TokenChanges(AsyncIterator[Token]):
    """The tokens that come after this was made; of several that came since the last look, the newest. Ends with the keeper."""

    def __init__(self) -> None:
        self._next: Token | None = None
        self._is_closed = False
        self._bell = asyncio.Event()

    def tell(self, token: Token) -> None:
        """There is a new one."""
        self._next = token
        self._bell.set()

    def close(self) -> None:
        """No more will come."""
        self._is_closed = True
        self._bell.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Token:
        while self._next is None:
            if self._is_closed:
                raise StopAsyncIteration
            self._bell.clear()
            await self._bell.wait()
        token, self._next = self._next, None
        return token


class Announcer:
    """Tells every TokenChanges that somebody still holds."""

    def __init__(self) -> None:
        self._listeners: weakref.WeakSet[TokenChanges] = weakref.WeakSet()
        self._is_closed = False

    def subscribe(self, changes: TokenChanges | None = None) -> TokenChanges:
        """A new listener; or this one, which hears of other tokens as well."""
        changes = changes or TokenChanges()
        if self._is_closed:
            changes.close()
        else:
            self._listeners.add(changes)
        return changes

    def tell(self, token: Token) -> None:
        """There is a new token."""
        for changes in tuple(self._listeners):
            changes.tell(token)

    def close(self) -> None:
        """The keeper is closed."""
        self._is_closed = True
        for changes in tuple(self._listeners):
            changes.close()
