"""CPlugin on the command line."""

from __future__ import annotations

from typing import Final

from tradesession.cli.cplugin import handshake, introduction, watch
from tradesession.cli.platform import Platform, Sandboxed

PLATFORM: Final = Platform(
    name="cplugin",
    handshake=handshake.handshake,
    watch={"ticks": watch.ticks},
    sandboxed=Sandboxed(rows=introduction.rows, variables=introduction.variables, demo=introduction.demo),
)
