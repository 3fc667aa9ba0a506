"""aiohttp-oauth2-client, a middleware of aiohttp. It has no hook for saving: what it got is in memory alone."""

import asyncio

import aiohttp
from aiohttp_oauth2_client.grant.authorization_code import AuthorizationCodeGrant
from aiohttp_oauth2_client.middleware import OAuth2Middleware
from renewing import Client, play
from steps import report_installed


class Middleware(Client):
    def __init__(self, given):
        super().__init__(given)
        self._grant = AuthorizationCodeGrant(
            token_url=given["token_url"],
            authorization_url=given["token_url"],
            client_id="client",
            token={
                "access_token": given["access_token"],
                "refresh_token": given["refresh_token"],
                "token_type": "bearer",
                "expires_at": 1,
            },
        )
        self._session = aiohttp.ClientSession(middlewares=[OAuth2Middleware(self._grant)])

    async def ask(self):
        async with self._session.get(self.given["resource_url"]) as response:
            return response.status

    async def at_rest(self):
        return None

    def held(self):
        return self._grant.token.refresh_token

    async def aclose(self):
        await self._session.close()
        await self._grant.close()


report_installed("aiohttp-oauth2-client")
asyncio.run(play(Middleware))
