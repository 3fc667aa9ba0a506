"""Authlib's asynchronous client with a token that is good for an hour."""

import time

from authlib.integrations.httpx_client import AsyncOAuth2Client

from bench.loops import run_program, serve, timed


async def run(facts):
    """Be ready, and do as told."""
    token = {"access_token": "bench", "refresh_token": "bench", "token_type": "bearer", "expires_at": int(time.time()) + 3600}
    async with AsyncOAuth2Client(token_endpoint="http://127.0.0.1:1/token", token=token, trust_env=False) as client:

        async def calls(count):
            for _ in range(count):
                await client.ensure_active_token(client.token)
            return count

        await serve({"calls": timed(calls)})


run_program(run)
