"""cTrader on the command line."""

from __future__ import annotations

from typing import Final

from tradesession import ctrader
from tradesession.cli.ctrader import handshake, introduction, login, watch
from tradesession.cli.ctrader.options import GRANT, OPTIONS, SLOT
from tradesession.cli.options import Given
from tradesession.cli.platform import Platform, Sandboxed, Stored
from tradesession.ctrader.grants import slot
from tradesession.errors import ConfigurationError
from tradesession.tokens.token import Slot


def _slot(given: Given) -> Slot:
    client_id = given.get("client_id")
    if not client_id:
        raise ConfigurationError(f"{OPTIONS.described('client_id')} is not given; it says whose token it is")
    return slot(client_id, given.get("subject") or "default")


def _config(given: Given) -> ctrader.Config:
    """What the store has is renewed, whatever tokens the environment holds."""
    return ctrader.Config.from_env(**given | {"access_token": None, "refresh_token": None})


PLATFORM: Final = Platform(
    name="ctrader",
    handshake=handshake.handshake,
    watch=watch.watch,
    login=login.login,
    stored=Stored(name="ctrader", options=OPTIONS, slot_options=SLOT, grant_options=GRANT, slot=_slot, config=_config),
    sandboxed=Sandboxed(rows=introduction.rows, variables=introduction.variables, demo=introduction.demo),
)
