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
from typing import Any, Final, Self

from tradesession.errors import ConfigurationError
from tradesession.extras import missing

try:
    import cryptography  # noqa: F401 - whether it is there; most of what is imported below needs it
except ModuleNotFoundError as error:
    raise missing("the sandbox", "sandbox", "cryptography", error) from error

from tradesession.sandbox import b2core, cplugin, ctrader, tradingview
from tradesession.sandbox.authority import Authority
from tradesession.sandbox.b2core import B2CoreSandbox
from tradesession.sandbox.cplugin import CPluginSandbox
from tradesession.sandbox.ctrader import CTraderSandbox
from tradesession.sandbox.ctrader.server import is_loopback
from tradesession.sandbox.proxy import FaultProxy
from tradesession.sandbox.switchboard import Switchboard, unknown_fault
from tradesession.sandbox.tradingview import TradingViewSandbox
from tradesession.timing import AdjustableClock

__all__ = ["FaultProxy", "Sandbox", "known_faults"]


_NOT_RUNNING: Final = "the sandbox is not running: use it as `async with Sandbox() as sandbox:`"


def known_faults() -> dict[str, dict[str, str]]:
    """By platform, every name of a fault with a line on what it does."""
    return {platform.__name__.rpartition(".")[2]: platform.known_faults() for platform in (ctrader, cplugin, tradingview, b2core)}


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
        self._cplugin: CPluginSandbox | None = None
        self._tradingview: TradingViewSandbox | None = None
        self._b2core: B2CoreSandbox | None = None

    @property
    def ctrader(self) -> CTraderSandbox:
        """The cTrader Open API. RuntimeError before the block is entered."""
        if self._ctrader is None:
            raise RuntimeError(_NOT_RUNNING)
        return self._ctrader

    @property
    def cplugin(self) -> CPluginSandbox:
        """The CPlugin WebAPI. RuntimeError before the block is entered."""
        if self._cplugin is None:
            raise RuntimeError(_NOT_RUNNING)
        return self._cplugin

    @property
    def tradingview(self) -> TradingViewSandbox:
        """A broker with TradingView's data integration. RuntimeError before the block is entered."""
        if self._tradingview is None:
            raise RuntimeError(_NOT_RUNNING)
        return self._tradingview

    @property
    def b2core(self) -> B2CoreSandbox:
        """A broker's B2Core with its B2Trader. RuntimeError before the block is entered."""
        if self._b2core is None:
            raise RuntimeError(_NOT_RUNNING)
        return self._b2core

    def set_fault(self, name: str, value: str = "") -> None:
        """Set a fault by its name on the command line, at every platform that has it, or as `platform.name` at that one.

        ConfigurationError for an unknown name or a value that does not fit.
        """
        boards: dict[str, list[Switchboard]] = {
            "ctrader": [self.ctrader.faults],
            "cplugin": [self.cplugin.faults],
            "tradingview": [self.tradingview.faults, self.tradingview.settings],
            "b2core": [self.b2core.faults, self.b2core.settings],
        }
        platform, _, own = name.rpartition(".")
        if platform and platform not in boards:
            raise ConfigurationError(f"fault {name!r}: there is no platform {platform!r}, only {', '.join(boards)}")
        asked = boards[platform] if platform else [board for several in boards.values() for board in several]
        hit = [board for board in asked if own.replace("_", "-") in board.names()]
        if not hit:
            raise ConfigurationError(unknown_fault(own, {known: None for board in asked for known in board.names()}))
        for board in hit:
            board.set(own, value)

    def describe(self) -> dict[str, Any]:
        """What a program in another process needs, by platform: the JSON line of `tradesession sandbox --json`."""
        return {
            "ctrader": self.ctrader.describe(),
            "cplugin": self.cplugin.describe(),
            "tradingview": self.tradingview.describe(),
            "b2core": self.b2core.describe(),
        }

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradesession-sandbox-")))
            authority = Authority(directory)
            self._ctrader = CTraderSandbox(self._seed, self.clock, authority, self._host, plain=self._plain)
            stack.push_async_callback(self._ctrader.aclose)
            await self._ctrader.start()
            self._cplugin = CPluginSandbox(self._seed, self.clock, authority, self._host, plain=self._plain)
            stack.push_async_callback(self._cplugin.aclose)
            await self._cplugin.start()
            self._tradingview = TradingViewSandbox(self._seed, self.clock, authority, self._host, plain=self._plain)
            stack.push_async_callback(self._tradingview.aclose)
            await self._tradingview.start()
            self._b2core = B2CoreSandbox(self._seed, self.clock, self._host)
            stack.push_async_callback(self._b2core.aclose)
            await self._b2core.start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self._stack.aclose()
