"""Authlib's AsyncOAuth2Client on httpx, whose `update_token` is where an application saves what it got."""

import asyncio
import warnings

from renewing import Client, play
from steps import report_installed

warnings.simplefilter("ignore")  # newer ones ask for another HTTP client

from authlib.integrations.httpx_client import AsyncOAuth2Client  # noqa: E402


class Authlib(Client):
    def __init__(self, given):
        super().__init__(given)
        self._client = AsyncOAuth2Client(
            token_endpoint=given["token_url"],
            token={
                "access_token": given["access_token"],
                "refresh_token": given["refresh_token"],
                "token_type": "bearer",
                "expires_at": 1,
            },
            update_token=self._update_token,
            trust_env=False,
        )

    async def _update_token(self, token, refresh_token=None, access_token=None):
        await self.save()
        self.saved = token["refresh_token"]

    async def ask(self):
        return (await self._client.get(self.given["resource_url"])).status_code

    def held(self):
        return self._client.token["refresh_token"]

    async def aclose(self):
        await self._client.aclose()


report_installed("authlib")
asyncio.run(play(Authlib))
