"""B2Core and B2Trader on the command line.

The `tokens` commands look after the bearer of B2Core's user: a person may bring one in from a browser. The pairs of the platforms come from
it by themselves.
"""

from __future__ import annotations

from typing import Any, Final

from tradesession import b2core
from tradesession.cli.b2core import handshake, introduction
from tradesession.cli.b2core.options import ALL, OPTIONS
from tradesession.cli.b2core.user import UserTokens
from tradesession.cli.options import Given
from tradesession.cli.output import Screen
from tradesession.cli.platform import Platform, Sandboxed, Stored
from tradesession.tokens.token import Slot


def _user(given: Given) -> UserTokens:
    """What names a user suffices to look after the bearer; the store has the secrets."""
    own: dict[str, Any] = {"platform_id": "0"} | given
    if not own.get("access_token") and not own.get("password"):
        own["access_token"] = "none"  # noqa: S105 - nothing is asked for with it: only the slot is wanted
    return UserTokens(b2core.Config.from_env(**own))


def _slot(given: Given) -> Slot:
    return _user(given).slot


def _config(given: Given) -> UserTokens:
    own: dict[str, Any] = {"platform_id": "0"} | given | handshake.asking(Screen())
    return UserTokens(b2core.Config.from_env(**own))


PLATFORM: Final = Platform(
    name="b2core",
    handshake=handshake.handshake,
    stored=Stored(
        name="b2core",
        options=OPTIONS,
        slot_options=("base_url", "email", "subject", "store"),
        grant_options=tuple(name for name in ALL if name not in ("access_token", "refresh_token")),
        slot=_slot,
        config=_config,
        named_by=("base_url", "email"),
        level="user",
    ),
    sandboxed=Sandboxed(rows=introduction.rows, variables=introduction.variables, demo=introduction.demo),
)
