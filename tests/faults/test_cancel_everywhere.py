"""A scenario cancelled after each of its steps leaves nothing behind: no task, no socket, no connection, no lease."""

import asyncio
import gc
import os
from pathlib import Path

import pytest

import tradesession
from tradesession import ctrader
from tradesession.ctrader import messages as pb
from tradesession.sandbox import Sandbox
from tradesession.tokens.stores.memory import MemoryStore

STEPS_AT_MOST = 400


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def scenario(config: ctrader.Config, reached: list[str]) -> None:
    """A bot's short life: token, connection, a request, quotes, an event stream, a callback, a rotation, a goodbye."""
    async with tradesession.SessionManager() as manager:
        keeper = manager.tokens(config)
        await keeper.get()
        reached.append("token")
        session = await manager.open(config)
        reached.append("ready")
        account = session.accounts[0]
        session.on(pb.ProtoOASpotEvent, lambda event: None)
        await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id))
        reached.append("request")
        async with session.events(pb.ProtoOASpotEvent), session.spots(account, "EURUSD") as quotes:
            await anext(quotes)
            reached.append("quote")
            await keeper.renew()
            reached.append("rotation")
    reached.append("goodbye")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted by /proc")
async def test_cancelled_after_any_step_everything_is_released() -> None:
    reached: list[str] = []
    async with Sandbox(seed=1, plain=True) as sandbox:
        sandbox.ctrader.feed.interval = 0.01
        tasks, files = len(asyncio.all_tasks()), descriptors()
        for steps in range(STEPS_AT_MOST):
            store = MemoryStore()
            grant = sandbox.ctrader.grant()
            config = sandbox.ctrader.config(
                plaintext=True, access_token=grant.access_token, refresh_token=grant.refresh_token, store=store, requests_per_second=1000.0
            )
            bot = asyncio.create_task(scenario(config, reached))
            for _ in range(steps):
                await asyncio.sleep(0)
                if bot.done():
                    break
            bot.cancel()
            await asyncio.wait([bot])
            if not bot.cancelled() and bot.exception() is not None:
                raise AssertionError(f"cancelled after {steps} steps it ended with {bot.exception()!r}") from bot.exception()
            async with asyncio.timeout(60):
                while sandbox.ctrader.connections or len(asyncio.all_tasks()) > tasks:
                    await asyncio.sleep(0)
            if steps % 20 == 19:
                gc.collect()
                assert descriptors() <= files
            assert await store.lease(config.slot) is not None, "the lease is free again"
            stored = await store.load(config.slot)
            if stored is not None:
                assert stored.token.refresh is not None
                holder = next(one for one in sandbox.ctrader.state.grants if one.refresh_token == stored.token.refresh.reveal())
                assert not holder.revoked, f"after {steps} steps the stored pair is the living one"
            if reached and reached[-1] == "goodbye":
                break
    assert list(dict.fromkeys(reached)) == ["token", "ready", "request", "quote", "rotation", "goodbye"]
    assert all(count == 1 for count in sandbox.ctrader.state.exchanges.values())
