"""What a platform brings to the command line: its options, how they become a configuration, and its three commands of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tradesession.cli.options import Given, Options
from tradesession.session.services import PlatformConfig
from tradesession.tokens.token import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One platform on the command line.

    `slot_options` name a grant in the store and the store itself, `grant_options` suffice to renew its token.
    """

    name: str
    options: Options
    slot_options: tuple[str, ...]
    grant_options: tuple[str, ...]
    slot: Callable[[Given], Slot]
    config: Callable[[Given], PlatformConfig[Any]]
    login: Callable[..., None]
    handshake: Callable[..., None]
    watch: Callable[..., None]
