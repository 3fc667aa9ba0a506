"""The sandboxed cTrader as a whole: listeners for demo and live, OAuth, a market, a default world, and faults.

Owns everything that runs; `aclose` ends it. Always holds: nothing of it is reachable from another machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from google.protobuf.message import Message

from tradesession.errors import ConfigurationError
from tradesession.sandbox.authority import Authority
from tradesession.sandbox.ctrader.channel import Channel
from tradesession.sandbox.ctrader.connection import Connection
from tradesession.sandbox.ctrader.core import Core, Environment
from tradesession.sandbox.ctrader.faults import Faults
from tradesession.sandbox.ctrader.feed import Feed
from tradesession.sandbox.ctrader.oauth import OAuthServer
from tradesession.sandbox.ctrader.settings import Settings
from tradesession.sandbox.ctrader.state import ACCESS_TOKEN_LIFETIME, ALPHA, BETA, Account, Grant, Scope, State
from tradesession.sandbox.ctrader.trading.ledger import Ledger
from tradesession.sandbox.listener import Listener
from tradesession.timing import AdjustableClock

if TYPE_CHECKING:
    from tradesession.ctrader import Config


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one environment listens. TCP and WebSocket share `port`, and `plain_port` where there is one, as at the real service."""

    host: str
    port: int
    websocket_url: str
    plain_port: int | None = None


class CTraderSandbox:
    """A cTrader Open API server on loopback. Made and started by `Sandbox`."""

    def __init__(self, seed: int, clock: AdjustableClock, authority: Authority, host: str, *, plain: bool) -> None:
        self._stack = AsyncExitStack()
        self._host = host
        self._clock = clock
        self._authority = authority
        self.settings = Settings()
        """What can be done in more than one way; may be changed at any time."""
        self.faults = Faults(clock, self._apply_faults, lambda: self.connections)
        """What goes wrong on purpose."""
        self.feed = Feed(seed, clock)
        """The prices."""
        self.state = State(seed, clock, self.settings)
        """Applications, people, accounts, grants, and counters for assertions."""
        self._core = Core(clock, self.settings, self.faults, self.state, self.feed, seed)
        self.ca_file = authority.ca_file
        """What a client has to trust."""
        self.redirect_uri = f"http://127.0.0.1:{_free_port()}/callback"
        """Registered for the default application; so is the same with any other port."""
        self.application = self.state.add_application([self.redirect_uri])
        """The default application."""
        self.person = self.state.add_ctid()
        """The default cTID: three demo accounts and two live ones at two brokers. Consent is given in its name."""
        for is_live, broker in ((False, ALPHA), (False, ALPHA), (False, BETA), (True, ALPHA), (True, BETA)):
            self.state.add_account(self.person, is_live=is_live, broker=broker)
        self._described: Grant | None = None
        self._listeners: dict[tuple[Environment, bool], Listener[Channel]] = {}
        for environment in _ENVIRONMENTS:
            self._listeners[environment, False] = self._listener(environment, authority)
            if plain:
                self._listeners[environment, True] = self._listener(environment, None)
        self._oauth = OAuthServer(self._core, self.person, host)

    # --- life ---

    async def start(self) -> None:
        """Listen on all ports."""
        self._stack.callback(self._core.close)
        for listener in self._listeners.values():
            self._stack.push_async_callback(listener.aclose)
            listener.open()
        self._stack.push_async_callback(self._oauth.aclose)
        await self._oauth.start()

    async def aclose(self) -> None:
        """Close every connection and port, and wait until they are closed."""
        await self._stack.aclose()

    # --- where and who ---

    @property
    def demo(self) -> Endpoint:
        """Where demo accounts live."""
        return self._endpoint("demo")

    @property
    def live(self) -> Endpoint:
        """Where live accounts live."""
        return self._endpoint("live")

    @property
    def auth_url(self) -> str:
        """The consent page."""
        return self._oauth.auth_url

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return self._oauth.token_url

    @property
    def client_id(self) -> str:
        """Of the default application."""
        return self.application.client_id

    @property
    def client_secret(self) -> str:
        """Of the default application."""
        return self.application.client_secret

    @property
    def accounts(self) -> list[Account]:
        """The accounts of the default cTID."""
        return list(self.person.accounts)

    @property
    def connections(self) -> list[Connection]:
        """What is open now, oldest first."""
        return list(self._core.connections)

    def book(self, account: Account | int) -> Ledger:
        """What an account has, by its object or its id: orders, positions, deals. To look at, not to change."""
        found = account if isinstance(account, Account) else self.state.accounts[account]
        return self._core.desk.book(found).ledger

    # --- making and ending things ---

    def grant(self, scope: Scope = "trading", expires_in: int = ACCESS_TOKEN_LIFETIME) -> Grant:
        """A grant of the default cTID to the default application, independent of every other, with a fresh pair of tokens."""
        return self.state.add_grant(self.application, self.person, scope, expires_in=expires_in)

    def revoke(self, grant: Grant) -> None:
        """End a grant: both its tokens die, and connections that use it are told."""
        self.state.revoke(grant)

    def add_accounts(self, count: int, *, is_live: bool = False) -> list[Account]:
        """More accounts for the default cTID, at the two brokers in turn."""
        return [self.state.add_account(self.person, is_live=is_live, broker=(ALPHA, BETA)[index % 2]) for index in range(count)]

    async def push(self, message: Message, account: Account | int | None = None) -> int:
        """Send an event to every connection on which the account is authorised (None: to every one); gives back to how many."""
        heard = self._core.push(message, account.id if isinstance(account, Account) else account)
        await asyncio.sleep(0)
        return heard

    # --- for others ---

    def config(self, environment: Environment = "demo", transport: Literal["tcp", "websocket"] = "tcp", **overrides: Any) -> Config:
        """A client configuration that leads here, with a fresh grant; `overrides` replace or add options of `ctrader.Config`.

        With `plaintext=True` it leads to the port without TLS, which a sandbox made with `plain=True` has.
        """
        from tradesession.ctrader import Config

        endpoint, grant = self._endpoint(environment), self.grant()
        options: dict[str, Any] = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "access_token": grant.access_token,
            "refresh_token": grant.refresh_token,
            "environment": environment,
            "host": endpoint.host,
            "port": endpoint.port,
            "ca_file": self.ca_file,
            "transport": transport,
            "websocket_url": endpoint.websocket_url,
            "token_url": self.token_url,
            "auth_url": self.auth_url,
            "redirect_uri": self.redirect_uri,
            "store": "memory:",
            "clock": self._clock,
        }
        if overrides.get("plaintext"):
            if endpoint.plain_port is None:
                raise ConfigurationError("plaintext=True: this sandbox listens with TLS only; make it with Sandbox(plain=True)")
            plain_url = f"ws://{_in_url(endpoint.host)}:{endpoint.plain_port}"
            options |= {"port": endpoint.plain_port, "ca_file": None, "websocket_url": plain_url}
        return Config(**(options | overrides))

    def describe(self) -> dict[str, Any]:
        """Everything a program in another process needs: the value of `ctrader` in what `tradesession sandbox --json` prints."""
        if self._described is None:
            self._described = self.grant()
        return {
            "demo": _describe(self.demo),
            "live": _describe(self.live),
            "auth_url": self.auth_url,
            "token_url": self.token_url,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "redirect_uri": self.redirect_uri,
            "access_token": self._described.access_token,
            "refresh_token": self._described.refresh_token,
            "ca_file": str(self.ca_file),
            "accounts": [
                {
                    "ctidTraderAccountId": account.id,
                    "traderLogin": account.login,
                    "isLive": account.is_live,
                    "brokerTitleShort": account.broker.title,
                }
                for account in self.accounts
            ],
        }

    def _endpoint(self, environment: Environment) -> Endpoint:
        port = self._listeners[environment, False].port
        plain = self._listeners.get((environment, True))
        return Endpoint(self._host, port, f"wss://{_in_url(self._host)}:{port}", None if plain is None else plain.port)

    def _listener(self, environment: Environment, authority: Authority | None) -> Listener[Channel]:
        core = self._core

        def make(listener: Listener[Channel]) -> Channel:
            def opened(channel: Channel) -> Connection:
                listener.opened(channel)
                return Connection(core, environment, channel)

            return Channel(core.settings, core.faults, core.clock, opened, listener.lost)

        def failed() -> None:
            core.state.failed_handshakes += 1

        return Listener(self._host, authority, core.faults, make, failed)

    def _apply_faults(self) -> None:
        for listener in getattr(self, "_listeners", {}).values():
            listener.apply_faults()


_ENVIRONMENTS: tuple[Environment, ...] = ("demo", "live")


def _describe(endpoint: Endpoint) -> dict[str, Any]:
    described = {"host": endpoint.host, "port": endpoint.port, "websocket_url": endpoint.websocket_url}
    return described if endpoint.plain_port is None else {**described, "plain_port": endpoint.plain_port}


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _free_port() -> int:
    """A port for somebody else to listen on soon: fixed ones would make two sandboxes collide."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
