"""Our client, as the tests of a hub server need it: with a real keeper of its token, and a record of what happened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.interop.hubs.servers import HubServer
from tradesession import signalr
from tradesession.hooks import Record
from tradesession.secrets import Secret
from tradesession.session.streams import EventStream
from tradesession.tokens.changes import TokenChanges
from tradesession.tokens.exchange import HttpExchange
from tradesession.tokens.grants import ClientCredentials, TokenEndpoint
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.stores.memory import MemoryStore
from tradesession.tokens.token import Slot, Token
from tradesession.transports.http import HttpDriver


@asynccontextmanager
async def keeper_of(server: HubServer) -> AsyncIterator[TokenKeeper]:
    """Obtains and renews the server's tokens by client credentials."""
    facts = server.facts
    endpoint = TokenEndpoint(url=facts["token_url"], client_id=facts["client_id"], client_secret=Secret(facts["client_secret"]))
    async with HttpDriver([facts["token_url"]]) as driver:
        exchange = HttpExchange(lambda token: ClientCredentials(endpoint), driver)
        async with TokenKeeper(Slot("test", "peer", facts["client_id"]), MemoryStore(), exchange) as keeper:
            yield keeper


@asynccontextmanager
async def hub_of(
    server: HubServer, name: str = "mt4_v2", *, records: list[Record] | None = None, **options: Any
) -> AsyncIterator[signalr.Hub]:
    """A hub of the server, READY; `options` are those of the configuration."""
    config = signalr.Config(server.hub(name), **options)
    async with (
        keeper_of(server) as keeper,
        signalr.connect(config, token=keeper, hooks=[(records if records is not None else []).append]) as hub,
    ):
        yield hub


class Recorded:
    """A token source that remembers what it was asked, and whose tokens the test makes."""

    def __init__(self, server: HubServer) -> None:
        self._server = server
        self._token: Token | None = None
        self.gets = 0
        self.rejected: list[Token] = []

    async def get(self, min_ttl: float | None = None) -> Token:
        """The same token until it was rejected."""
        self.gets += 1
        if self._token is None:
            self._token = Token(access=await self._server.token())
        return self._token

    async def reject(self, token: Token) -> None:
        """The next one is another."""
        self.rejected.append(token)
        self._token = None

    def changes(self) -> AsyncIterator[Token]:
        """None ever."""
        return TokenChanges()


async def read_into(seen: list[Any], stream: EventStream[Any]) -> None:
    """Everything that the stream brings, until it ends."""
    async for event in stream:
        seen.append(event)
