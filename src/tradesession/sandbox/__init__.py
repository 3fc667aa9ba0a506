"""Local servers that speak the wire of the platforms, for tests of bots and of this library.

    async with Sandbox(seed=1) as sandbox:
        config = sandbox.ctrader.config()
        await sandbox.clock.advance(minutes=5)

Uses neither the client library's codecs nor its machines, only the generated messages. Always holds: only loopback is listened on,
and when the block is left no task, socket or file remains.
"""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tradesession.errors import ConfigurationError
from tradesession.sandbox.authority import Authority
from tradesession.sandbox.ctrader import CTraderSandbox
from tradesession.sandbox.ctrader.server import is_loopback
from tradesession.sandbox.proxy import FaultProxy
from tradesession.timing import AdjustableClock

__all__ = ["FaultProxy", "Sandbox"]


class Sandbox:
    """One server for each platform, with a clock and a certificate authority in common.

    `seed` makes ids, tokens and prices repeatable (ports and certificates are new each time). `clock` drives every timer, quota and
    expiry; by default it runs at the speed of the machine's and can be pushed forward. `plain` adds ports without TLS. `host` is a
    loopback address.
    """

    def __init__(self, seed: int = 1, clock: AdjustableClock | None = None, *, plain: bool = False, host: str = "127.0.0.1") -> None:
        if not is_loopback(host):
            raise ConfigurationError(f"host {host!r} is not a loopback address: the sandbox serves this machine only, use 127.0.0.1")
        self.clock = AdjustableClock() if clock is None else clock
        self._seed = seed
        self._plain = plain
        self._host = host
        self._stack = AsyncExitStack()
        self._ctrader: CTraderSandbox | None = None

    @property
    def ctrader(self) -> CTraderSandbox:
        """The cTrader Open API. RuntimeError before the block is entered."""
        if self._ctrader is None:
            raise RuntimeError("the sandbox is not running: use it as `async with Sandbox() as sandbox:`")
        return self._ctrader

    def describe(self) -> dict[str, Any]:
        """What a program in another process needs, by platform: the JSON line of `tradesession sandbox --json`."""
        return {"ctrader": self.ctrader.describe()}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradesession-sandbox-")))
            authority = Authority(directory)
            self._ctrader = CTraderSandbox(self._seed, self.clock, authority, self._host, plain=self._plain)
            stack.push_async_callback(self._ctrader.aclose)
            await self._ctrader.start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self._stack.aclose()
