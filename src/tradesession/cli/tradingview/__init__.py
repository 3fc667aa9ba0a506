"""TradingView's data integration on the command line."""

from __future__ import annotations

from typing import Final

from tradesession import tradingview
from tradesession.cli.options import Given
from tradesession.cli.platform import Platform, Sandboxed, Stored
from tradesession.cli.tradingview import handshake, introduction, preflight, watch
from tradesession.cli.tradingview.options import ALL, OPTIONS
from tradesession.tokens.token import Slot


def _config(given: Given) -> tradingview.Config:
    return tradingview.Config.from_env(**given)


def _slot(given: Given) -> Slot:
    return _config(given).slot


PLATFORM: Final = Platform(
    name="tradingview",
    handshake=handshake.handshake,
    watch=watch.watch,
    stored=Stored(name="tradingview", options=OPTIONS, slot_options=ALL, grant_options=ALL, slot=_slot, config=_config),
    more={"preflight": preflight.preflight},
    sandboxed=Sandboxed(rows=introduction.rows, variables=introduction.variables, demo=introduction.demo),
)
