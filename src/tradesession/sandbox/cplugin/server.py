"""The sandboxed CPlugin as a whole: authority, REST and hubs on one port, a feed, a default world, and faults.

Owns everything that runs; `aclose` ends it. Always holds: nothing of it is reachable from another machine.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradesession.errors import ConfigurationError
from tradesession.sandbox.authority import Authority
from tradesession.sandbox.cplugin.core import Core, Platform
from tradesession.sandbox.cplugin.faults import Faults
from tradesession.sandbox.cplugin.feed import Feed
from tradesession.sandbox.cplugin.hubs import PATHS, Mt4V2Hub, Mt5V2Hub
from tradesession.sandbox.cplugin.office import Office
from tradesession.sandbox.cplugin.settings import Settings
from tradesession.sandbox.cplugin.tap import Tap
from tradesession.sandbox.cplugin.web import WebServer
from tradesession.sandbox.listener import Listener
from tradesession.sandbox.signalr.connection import HubConnection
from tradesession.sandbox.signalr.journal import Journal
from tradesession.timing import AdjustableClock

if TYPE_CHECKING:
    from tradesession.cplugin import Config


class CPluginSandbox:
    """CPlugin's authority, REST and hubs on loopback. Made and started by `Sandbox`.

    Without an `authority` for certificates it listens without TLS only. `port` 0 is any free one.
    """

    def __init__(
        self, seed: int, clock: AdjustableClock, authority: Authority | None, host: str = "127.0.0.1", *, plain: bool = False, port: int = 0
    ) -> None:
        self._stack = AsyncExitStack()
        self._clock = clock
        self._host = host
        self._listeners: dict[str, Listener[Tap]] = {}
        self._taps: dict[Tap, None] = {}
        self.settings = Settings()
        """What can be done in more than one way; may be changed at any time."""
        self.faults = Faults(clock, self._apply_faults, lambda: self.connections, lambda: list(self._taps))
        """What goes wrong on purpose."""
        self._core = Core(seed, clock, self.settings, self.faults)
        self.client = self._core.identity.add_client()
        """The default client."""
        self.ca_file: Path | None = None if authority is None else authority.ca_file
        """What a client has to trust; None without TLS."""
        self._web = WebServer(self._core)
        if authority is not None:
            self._listeners["https"] = Listener(host, authority, self.faults, self._make)
        if authority is None or plain:
            self._listeners["http"] = Listener(host, None, self.faults, self._make)
        next(iter(self._listeners.values())).port = port

    # --- life ---

    async def start(self) -> None:
        """Listen on all ports."""
        await self._web.start()
        self._stack.push_async_callback(self._web.aclose)
        self._stack.callback(self._core.feed.close)
        for scheme, listener in self._listeners.items():
            self._stack.push_async_callback(listener.aclose)
            listener.open()
            self._core.identity.issuers.append(self._origin(scheme))

    async def aclose(self) -> None:
        """Close every connection and port, and wait until they are closed."""
        await self._stack.aclose()

    # --- where and who ---

    @property
    def base_url(self) -> str:
        """Where REST and the hubs are; over TLS, unless there is none."""
        return self._core.identity.issuers[0]

    @property
    def plain_url(self) -> str | None:
        """The same without TLS, in a sandbox made with `plain=True`."""
        return self._origin("http") if "http" in self._listeners else None

    @property
    def authority(self) -> str:
        """Where the discovery document is."""
        return self.base_url

    @property
    def client_id(self) -> str:
        """Of the default client."""
        return self.client.id

    @property
    def client_secret(self) -> str:
        """Of the default client."""
        return self.client.secret

    @property
    def platforms(self) -> list[Platform]:
        """The trade platforms: an MT4 and an MT5."""
        return list(self._core.platforms)

    @property
    def trade_platform(self) -> str:
        """The GUID of the MT4 platform, which by default every hub takes."""
        return self._core.platforms[0].id

    @property
    def feed(self) -> Feed:
        """The prices."""
        return self._core.feed

    @property
    def journal(self) -> Journal:
        """What happened, for assertions."""
        return self._core.journal

    @property
    def office(self) -> Office:
        """What REST calls have done."""
        return self._web.rest.office

    @property
    def connections(self) -> list[HubConnection]:
        """The hub connections whose handshake is done, oldest first."""
        return list(self._core.connections)

    # --- making and ending things ---

    def issue(self, life: float | None = None) -> str:
        """A bearer for the default client, independent of every other; by default it lives as long as the others."""
        return self._core.identity.issue(self.client.id, self.faults.token_life if life is None else life)

    def revoke(self, token: str | None = None) -> None:
        """This bearer, or with None every one issued so far, is refused from now on; connections that stand are not touched."""
        if token is None:
            self._core.identity.revoke_all()
        else:
            self._core.identity.revoke(token)

    def connect_platform(self, connected: bool) -> None:
        """The link to the trade platform comes or goes, and the v2 hubs tell it."""
        self._core.platform_connected = connected
        for connection in self.connections:
            if isinstance(connection.hub, Mt4V2Hub | Mt5V2Hub):
                connection.hub.tell_status()

    async def push(self, target: str, *arguments: Any, hub: str | None = None) -> int:
        """Call a target on every client, or on those of one hub (`mt4_v2`, …); gives back on how many."""
        hit = [one for one in self.connections if hub in (None, one.hub_name)]
        for connection in hit:
            connection.push(target, *arguments)
        await asyncio.sleep(0)
        return len(hit)

    # --- for others ---

    def config(self, *, plaintext: bool = False, **overrides: Any) -> Config:
        """A client configuration that leads here; `overrides` replace or add options of `cplugin.Config`.

        The trade platform is the one that goes with the hub. With `plaintext` it leads to the port without TLS, which a sandbox made with
        `plain=True` has.
        """
        from tradesession.cplugin import Config

        platform = self._core.platforms[1 if overrides.get("hub") == "mt5-v2" else 0]
        return Config(**(self.facts(plaintext=plaintext) | {"trade_platform": platform.id, "clock": self._clock} | overrides))

    def facts(self, *, plaintext: bool = False) -> dict[str, Any]:
        """What a client configuration needs, by the names of its options."""
        if plaintext and self.plain_url is None:
            raise ConfigurationError("plaintext=True: this sandbox listens with TLS only; make it with Sandbox(plain=True)")
        origin = self.plain_url if plaintext and self.plain_url is not None else self.base_url
        return {
            "base_url": origin,
            "authority": origin,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "trade_platform": self.trade_platform,
            **({"ca_file": str(self.ca_file)} if origin.startswith("https") else {}),
        }

    def describe(self) -> dict[str, Any]:
        """Everything a program in another process needs: the value of `cplugin` in what `tradesession sandbox --json` prints.

        What is a text is an option of the client, and may be given to it as an environment variable; what is none is nested.
        """
        described = self.facts() | {
            "token_url": f"{self.authority}/connect/token",
            "platforms": {"mt4": self._core.platforms[0].id, "mt5": self._core.platforms[1].id},
            "hubs": dict(PATHS),
        }
        return described if self.plain_url is None else described | {"plain": {"base_url": self.plain_url}}

    def _make(self, listener: Listener[Tap]) -> Tap:
        def opened(tap: Tap) -> None:
            listener.opened(tap)
            self._taps[tap] = None

        def lost(tap: Tap) -> None:
            listener.lost(tap)
            self._taps.pop(tap, None)

        return Tap(self.faults, self._web.protocol(), opened, lost)

    def _origin(self, scheme: str) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self._listeners[scheme].port}"

    def _apply_faults(self) -> None:
        for listener in self._listeners.values():
            listener.apply_faults()
        if hasattr(self, "_web"):
            self._web.registry.apply_faults()
