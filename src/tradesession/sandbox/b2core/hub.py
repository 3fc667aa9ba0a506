"""B2Trader's hub: SignalR as the sandbox serves it, with the streams of an account. Facts: B3.

Owns its connections; `aclose` ends them. Always holds: a socket is opened with a good token only, which stands in the query, as documents
have it, or in the header.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, cast

from aiohttp import web

from tradesession.clock import Clock
from tradesession.sandbox.b2core.settings import Faults, Settings
from tradesession.sandbox.b2core.state import State
from tradesession.sandbox.signalr.connection import HubConnection
from tradesession.sandbox.signalr.core import Bearer, HubCore
from tradesession.sandbox.signalr.journal import Journal
from tradesession.sandbox.signalr.methods import HubException, method, text
from tradesession.sandbox.signalr.registry import Registry
from tradesession.sandbox.signalr.settings import HubSettings
from tradesession.sandbox.signalr.socket import HubSocket
from tradesession.sandbox.signalr.switches import HubSwitches
from tradesession.sandbox.signalr.trials import TrialHub

_NAME: Final = "b2trader"


class TraderCore(HubCore):
    """What the connections share, with the accounts behind it."""

    def __init__(self, seed: int, clock: Clock, state: State) -> None:
        super().__init__(seed, clock, HubSettings(), HubSwitches(clock))
        self.state = state


class AccountHub(TrialHub):
    """The streams of an account; each brings everything at once, and again with every change."""

    @method("OpenOrders", text, is_stream=True)
    async def open_orders(self, account: str | None) -> AsyncIterator[list[dict[str, Any]]]:
        """An array of orders."""
        async for _ in self._changes(account):
            yield list(self._state.orders[account or ""])

    @method("OpenPositions", text, is_stream=True)
    async def open_positions(self, account: str | None) -> AsyncIterator[dict[str, Any]]:
        """An object with an array of positions: the documents' example of this one is shaped otherwise than that of orders."""
        async for _ in self._changes(account):
            yield {"item": list(self._state.positions[account or ""])}

    @property
    def _state(self) -> State:
        return cast("TraderCore", self.core).state

    async def _changes(self, account: str | None) -> AsyncIterator[None]:
        if account not in self._state.orders:
            raise HubException("the account is not known")
        changed = asyncio.Event()
        stop = self._state.on_change(lambda which: changed.set() if which == account else None)
        try:
            while True:
                changed.clear()
                yield
                await changed.wait()
        finally:
            stop()


class TraderHub:
    """The hub of one sandbox."""

    def __init__(self, seed: int, clock: Clock, state: State, settings: Settings, faults: Faults) -> None:
        self._state = state
        self._settings = settings
        self._faults = faults
        self._core = TraderCore(seed, clock, state)
        self._registry = Registry(self._core, {_NAME: AccountHub})

    @property
    def journal(self) -> Journal:
        """What happened, for assertions."""
        return self._core.journal

    @property
    def connections(self) -> list[HubConnection]:
        """Those whose handshake is done, oldest first."""
        return list(self._core.connections)

    def apply_faults(self) -> None:
        """Take notice of switches that were turned."""
        own = self._core.faults
        own.no_pings, own.silent_hub, own.late_items = self._faults.no_pings, self._faults.silent_hub, self._faults.late_items
        own.close_at_expiry = self._settings.hub_follows_token
        self._registry.apply_faults()

    async def negotiate(self, request: web.Request) -> web.StreamResponse:
        """POST to the hub's negotiate."""
        bearer = self._bearer(request)
        if bearer is None:
            return web.Response(status=401)
        given = self._registry.negotiate(_NAME, bearer, version=1, stateful=False)
        transports = [{"transport": "WebSockets", "transferFormats": ["Text"]}]
        ids = {"connectionId": given.connection_id, "connectionToken": given.token}
        return web.json_response({"negotiateVersion": 1, **ids, "availableTransports": transports})

    async def open(self, request: web.Request) -> web.StreamResponse:
        """GET to the hub: a socket."""
        bearer = self._bearer(request)
        if bearer is None:
            return web.Response(status=401)
        connection = self._registry.open(_NAME, bearer, request.query)
        if isinstance(connection, int):
            return web.Response(status=connection)
        return await HubSocket(self._core, request).run(connection)

    async def aclose(self) -> None:
        """End every connection."""
        await self._registry.aclose()

    def _bearer(self, request: web.Request) -> Bearer | None:
        in_query = request.query.get("access_token", "")
        token = in_query or request.headers.get("Authorization", "").partition(" ")[2]
        self.journal.count(f"bearer.{'access_token' if in_query else 'header'}")
        if not self._state.is_good(token):
            return None
        return Bearer("trader", self._state.expires_at(token))
