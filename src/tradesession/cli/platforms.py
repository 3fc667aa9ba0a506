"""The platforms that the command line knows. Another one is another entry here, and a module that describes its options."""

from __future__ import annotations

from typing import Final

from tradesession.cli import b2core, cplugin, ctrader, tradingview
from tradesession.cli.platform import Platform

PLATFORMS: Final[tuple[Platform, ...]] = (ctrader.PLATFORM, cplugin.PLATFORM, tradingview.PLATFORM, b2core.PLATFORM)
