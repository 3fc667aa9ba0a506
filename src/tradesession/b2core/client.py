"""Session: one B2Trader platform of one B2Core user, through every loss and every rotation of both tokens.

May use asyncio. REST calls need no connection, only a token; streams belong to the hub.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias, cast, overload

from tradesession.b2core.config import Config
from tradesession.b2core.line import TraderLine
from tradesession.b2core.platform import PlatformBearer, PlatformExchange
from tradesession.b2core.rest import Rest
from tradesession.errors import ConfigurationError, ProtocolError
from tradesession.session.bearer import BearerHttp
from tradesession.session.services import Services
from tradesession.session.session import Session as BaseSession
from tradesession.session.streams import EventStream, Gap
from tradesession.signalr.client import HubClient
from tradesession.signalr.config import Config as HubConfig
from tradesession.signalr.line import Step

Row: TypeAlias = Mapping[str, Any]
"""An order, a position, a platform: with the fields and the spelling of the documents. Amounts and prices are texts there."""


@dataclass(frozen=True, slots=True)
class Account:
    """A trading account of B2Trader. `balance` is in the platform's root asset; `fields` is everything that the server said."""

    id: str
    public_id: int | None
    name: str
    type: str
    balance: Decimal | None
    fields: Row


class Session(BaseSession):
    """A B2Trader platform. Open it with `tradesession.connect` or a SessionManager: it is READY then, with both tokens and the hub.

    `hub` calls and streams as every hub does, `trader` is B2Trader's REST interface, `core` that of B2Core.
    """

    def __init__(self, config: Config, services: Services) -> None:
        if services.parent is None or not isinstance(services.exchange, PlatformExchange):
            raise ConfigurationError("a B2Core session is opened by a SessionManager or by tradesession.connect, with its own token plan")
        bearer = PlatformBearer(services.tokens, services.parent)
        exchange = services.exchange
        name = f"b2core platform {config.platform_id}"
        super().__init__(name, clock=services.clock, hooks=services.hooks, tokens=bearer, close_timeout=config.close_timeout)
        self.config = config
        self._line = TraderLine(
            _hub_config(config, name),
            bearer,
            lambda: exchange.trader_url + config.hub_path,
            clock=services.clock,
            hooks=services.hooks,
            chance=self._chance,
            spawn=self._tasks.spawn,
        )
        self._drivers = [config.driver(config.trader_urls, services.clock), config.driver([config.base_url], services.clock)]
        self.hub = HubClient(self, self._line)
        """B2Trader's hub: `invoke`, `stream`, `on`."""
        self.trader = Rest(BearerHttp(self._drivers[0], bearer), lambda: exchange.trader_url)
        """B2Trader's REST interface, such as `await session.trader.get("/frontoffice/api/v3/accounts")`."""
        self.core = Rest(BearerHttp(self._drivers[1], services.parent), lambda: config.base_url)
        """B2Core's REST interface, with the user's bearer."""

    @property
    def steps(self) -> list[Step]:
        """The steps on the way to the present connection, in the order in which they ended."""
        return self._line.steps

    # --- reading ------------------------------------------------------------------------------------------------------------------------

    async def platforms(self) -> list[Row]:
        """The platforms of the user, as B2Core lists them. Raises as `Rest.request` does."""
        return _rows(await self.core.get("/api/v2/my/platforms"), "the platforms")

    async def accounts(self) -> list[Account]:
        """The trading accounts on the platform. Raises as `Rest.request` does."""
        return [_account(row) for row in _rows(await self.trader.get("/frontoffice/api/v3/accounts"), "the accounts")]

    @overload
    def open_orders(self, account: Account | str, *, gaps: Literal[False] = False) -> EventStream[list[Row]]: ...
    @overload
    def open_orders(self, account: Account | str, *, gaps: bool) -> EventStream[list[Row] | Gap]: ...
    def open_orders(self, account: Account | str, *, gaps: bool = False) -> EventStream[Any]:
        """The open orders of an account whenever they change, as the server sends them. Goes on after a loss, behind a Gap if asked for."""
        return self._rows_of("OpenOrders", account, gaps)

    @overload
    def open_positions(self, account: Account | str, *, gaps: Literal[False] = False) -> EventStream[list[Row]]: ...
    @overload
    def open_positions(self, account: Account | str, *, gaps: bool) -> EventStream[list[Row] | Gap]: ...
    def open_positions(self, account: Account | str, *, gaps: bool = False) -> EventStream[Any]:
        """The open positions of an account whenever they change; as `open_orders`."""
        return self._rows_of("OpenPositions", account, gaps)

    def _rows_of(self, target: str, account: Account | str, gaps: bool) -> EventStream[Any]:
        ident = account.id if isinstance(account, Account) else account
        return self.hub.stream(target, ident, restart=True, read=lambda item: _rows(item, target), gaps=gaps)

    # --- inside -------------------------------------------------------------------------------------------------------------------------

    async def renew(self) -> None:
        """Replace the hub's connection now, without a loss; it happens by itself before the bearer ends. Raises what prevented it."""
        await self._line.renew()

    def _lines(self) -> Sequence[TraderLine]:
        return [self._line]

    def _finished(self) -> None:
        self._line.open.set()  # whoever waits for it gets to see that the session is closed
        for driver in self._drivers:
            self._callbacks.spawn(driver.aclose(), name=f"{self.name} closes its connections")


def _hub_config(config: Config, name: str) -> HubConfig:
    return HubConfig(
        config.trader_urls[0] + config.hub_path,
        bearer_in="access_token",  # the documents know no other place; it is redacted wherever an address shows
        negotiate=config.negotiate,
        name=f"{name} hub",
        ca_file=config.ca_file,
        ssl_context=config.ssl_context,
        parse_float=Decimal,
        connect_timeout=config.connect_timeout,
        call_timeout=config.request_timeout,
        close_timeout=config.close_timeout,
        clock=config.clock,
    )


def _rows(value: object, what: str) -> list[Row]:
    """The rows of a list, which stands alone, or in `data`, or (as with positions) in `item`."""
    if isinstance(value, dict):
        value = next((value[name] for name in ("data", "item", "items") if isinstance(value.get(name), list)), None)
    if not isinstance(value, list):
        raise ProtocolError(f"{what} came in a shape that is not known: a {type(value).__name__} instead of a list")
    return [cast("Row", row) for row in value if isinstance(row, dict)]


def _account(row: Row) -> Account:
    public = row.get("publicAccountId")
    return Account(
        id=str(row.get("accountId", "")),
        public_id=public if isinstance(public, int) else None,
        name=str(row.get("accountName", "")),
        type=str(row.get("accountType", "")),
        balance=_decimal(row.get("totalBalanceInRAT")),
        fields=row,
    )


def _decimal(value: object) -> Decimal | None:
    try:
        return Decimal(str(value)) if value is not None else None
    except InvalidOperation:
        return None
