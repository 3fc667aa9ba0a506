"""Exchange: the one operation that turns a Token (or none) into the next one, and how it is done over HTTP.

An exchange is one attempt. It never retries, never stores and never decides who may exchange: the TokenKeeper does. What always
holds: it ends with a Token or with one of four errors, each of which says whether the old refresh secret can still be good.
"""

from __future__ import annotations

from typing import Protocol

from tradesession.tokens.token import Token


class Exchange(Protocol):
    """How the current Token (None: there is none) becomes the next one; what a TokenKeeper is given.

    The Token that comes back has generation 0; its keeper numbers it with `old.successor(new)`. Raises exactly these, besides
    CancelledError:

    TokenEndpointUnreachable: nothing was spent. The request never left, or the endpoint said that it is not at work (429, 503).
        `retry_after` is the wait it asked for, in seconds, if it did.
    UncertainExchange: the request left and no usable answer came; the refresh secret may be spent.
    ReauthorizationRequired: the grant is dead, or there is none to exchange; a person must give consent.
    TokenRefused: no for another reason (client, scope, request); neither repeating nor another consent helps.
    """

    async def __call__(self, token: Token | None) -> Token:
        """Exchange once."""
