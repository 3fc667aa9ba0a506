"""A sandbox with a session in it, in real time, and the way to wait in it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

import tradesession
from tradesession import ctrader
from tradesession.sandbox import Sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1, plain=True) as sandbox:
        yield sandbox


@pytest.fixture
async def session(sandbox: Sandbox) -> AsyncIterator[ctrader.Session]:
    async with tradesession.connect(sandbox.ctrader.config(plaintext=True)) as session:
        yield session


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition holds; fail when it does not come about."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def ready_again(sandbox: Sandbox, session: ctrader.Session) -> None:
    """Push the clock until the session is READY, as far as the longest wait between two attempts may be."""
    for _ in range(200):
        if session.state is tradesession.SessionState.READY:
            return
        await sandbox.clock.advance(1)
    raise AssertionError(f"not READY again: {session.state} {session.cause}")
