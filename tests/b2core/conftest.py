"""A sandboxed B2Core on a clock that is pushed by hand, and a manager that lives by it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tradesession.sandbox import Sandbox
from tradesession.sandbox.b2core import B2CoreSandbox
from tradesession.session.manager import SessionManager


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
def server(sandbox: Sandbox) -> B2CoreSandbox:
    return sandbox.b2core


@pytest.fixture
async def manager(sandbox: Sandbox) -> AsyncIterator[SessionManager]:
    async with SessionManager(clock=sandbox.clock) as manager:
        yield manager
