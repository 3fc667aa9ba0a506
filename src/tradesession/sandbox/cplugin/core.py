"""What all parts of one sandboxed CPlugin share: its hubs' connections, its clients, its prices, its trade platforms.

No sockets, no tasks.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass

from tradesession.clock import Clock
from tradesession.sandbox.cplugin.feed import Feed
from tradesession.sandbox.cplugin.identity import Identity
from tradesession.sandbox.cplugin.payloads import Payloads
from tradesession.sandbox.cplugin.settings import Settings
from tradesession.sandbox.cplugin.switches import Switches
from tradesession.sandbox.signalr.core import HubCore

_GUID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Platform:
    """A trade platform of the organization."""

    id: str
    name: str
    kind: str
    """MT4 or MT5."""


class Core(HubCore):
    """The shared part."""

    settings: Settings
    faults: Switches

    def __init__(self, seed: int, clock: Clock, settings: Settings, faults: Switches) -> None:
        super().__init__(seed, clock, settings, faults)
        self.identity = Identity(seed, clock)
        self.feed = Feed(seed, clock)
        self.payloads = Payloads(settings)
        self.platform_connected = True
        self._random = random.Random(f"{seed}:cplugin")
        self.organization = self._guid()
        self.platforms = [Platform(self._guid(), "MT4 demo", "MT4"), Platform(self._guid(), "MT5 demo", "MT5")]

    def platform(self, platform_id: str) -> Platform | None:
        """The trade platform of that id."""
        return next((one for one in self.platforms if one.id == platform_id.lower()), None)

    def serves(self, platform_id: str, kind: str) -> bool:
        """Whether a hub of that kind takes the trade platform."""
        found = self.platform(platform_id)
        return not self.faults.refuse_platform and found is not None and (self.settings.any_platform or found.kind == kind)

    def _guid(self) -> str:
        return str(uuid.UUID(bytes=self._random.randbytes(_GUID_BYTES), version=4))
