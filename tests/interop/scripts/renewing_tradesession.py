"""Ours: a TokenKeeper, its store a file in SQLite."""

import asyncio

import aiohttp
from renewing import Client, play

from tradesession.secrets import Secret
from tradesession.tokens.exchange import HttpExchange
from tradesession.tokens.grants import ClientAuth, TokenEndpoint, renewal
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.stores import open_store
from tradesession.tokens.token import Slot, Token
from tradesession.transports.http import HttpDriver

SLOT = Slot("example", "live", "client")


class Keeper(Client):
    def __init__(self, given):
        super().__init__(given)
        self._url = f"sqlite://{given['file']}"
        self._store = open_store(self._url)
        self._commit, self._store.commit = self._store.commit, self._slowly
        self._driver = HttpDriver([given["token_url"]])
        endpoint = TokenEndpoint(url=given["token_url"], auth=ClientAuth.NONE)
        self._keeper = TokenKeeper(
            SLOT,
            self._store,
            HttpExchange(renewal(endpoint), self._driver),
            seed=Token(access=Secret(given["access_token"]), refresh=Secret(given["refresh_token"]), issued_at=0.0, expires_at=1.0),
        )

    async def _slowly(self, *arguments):
        await self.save()
        await self._commit(*arguments)

    async def at_rest(self):
        """Through another store, as after a restart."""
        other = open_store(self._url)
        stored = await other.load(SLOT)
        await other.aclose()
        return stored.token.refresh.reveal()

    async def ask(self):
        token = await self._keeper.get()
        headers = {"Authorization": token.authorization()}
        async with aiohttp.ClientSession() as session, session.get(self.given["resource_url"], headers=headers) as response:
            return response.status

    def held(self):
        return self._keeper.peek().refresh.reveal()

    async def aclose(self):
        await self._keeper.aclose()
        await self._driver.aclose()
        await self._store.aclose()


asyncio.run(play(Keeper))
