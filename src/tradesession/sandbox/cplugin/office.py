"""What the REST calls tell and do: users, groups, symbols, trades. Facts: section 2.

Pure. Operations of the vendor that are not here do not exist, as far as the sandbox knows. Always holds: a trade is executed once for each
Idempotency-Key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tradesession.sandbox.cplugin.core import Core
from tradesession.sandbox.cplugin.feed import INSTRUMENTS

USERS: Final = range(1, 26)
"""Logins."""

GROUP: Final = "demo"

TRADE_SYMBOLS: Final = tuple(INSTRUMENTS)


class Failed(Exception):
    """A call that fails inside the envelope."""

    def __init__(self, code: str, message: str, manager_code: str | int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.manager_code = manager_code


class Office:
    """The operations of one sandbox's trade platforms."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.executed: list[Mapping[str, Any]] = []
        """Trade transactions, in order."""
        both: dict[str, Callable[..., Any]] = {"ServerTime": self._server_time}
        self._reads: dict[str, dict[str, Callable[..., Any]]] = {
            "MT4": both
            | {
                "ManagerCommon": self._manager,
                "SymbolInfoGet": self._symbols,
                "TickInfoLast": self._ticks,
                "UserRecordGet": self._user,
                "UserRecordRequest": self._user,
                "UsersRequest": self._users,
                "GroupsGet": self._groups,
                "GroupRecordGet": self._group,
                "EnsureGroupNameExist": self._group_exists,
                "TradesGet": self._trades,
                "TradesRequest": self._trades,
            },
            "MT5": both
            | {
                "TimeGet": self._time,
                "ManagerCurrent": self._manager,
                "UserGet": self._user,
                "UserRecord": self._user,
                "GroupGet": self._group,
                "GroupRecord": self._group,
                "SymbolGet": self._symbol,
                "SymbolRecord": self._symbol,
                "PositionByGroup": self._rows_of("position"),
                "OrderByGroup": self._rows_of("order"),
                "DealByGroup": self._rows_of("deal"),
            },
        }
        self._changes: dict[tuple[str, str, str], Callable[..., Any]] = {
            ("MT4", "POST", "TradeTransaction"): self._trade,
            ("MT4", "PATCH", "UserRecord"): self._patch_user,
            ("MT5", "PATCH", "UserRecord"): self._patch_user,
        }
        self._patches: dict[str, dict[str, Any]] = {}

    def read(self, kind: str, action: str) -> Callable[..., Any] | None:
        """An operation that changes nothing."""
        return self._reads[kind].get(action)

    def change(self, kind: str, method: str, action: str) -> Callable[..., Any] | None:
        """An operation that changes something: its last argument is the body."""
        return self._changes.get((kind, method, action))

    # --- both ---

    def _server_time(self) -> str:
        return self._core.payloads.time(self._core.clock.wall())

    def _manager(self) -> dict[str, Any]:
        return {"login": 1000, "name": "Sandbox Manager", "groups": "*"}

    def _user(self, login: str) -> dict[str, Any]:
        if not login.isdecimal() or int(login) not in USERS:
            raise Failed("NotFound", f"User {login} does not exist", "MT_RET_ERR_NOTFOUND")
        return self._one_user(int(login))

    def _one_user(self, login: int) -> dict[str, Any]:
        user = {"login": login, "group": GROUP, "name": "Test User", "country": "CY", "leverage": 100, "balance": 1000.0, "credit": 0.0}
        return user | self._patches.get(str(login), {})

    def _patch_user(self, login: str, body: Mapping[str, Any]) -> dict[str, Any]:
        known = self._user(login)
        self._patches[login] = self._patches.get(login, {}) | {name: value for name, value in body.items() if name in known}
        return self._user(login)

    def _group_exists(self, group: str) -> bool:
        return group == GROUP

    def _group(self, group: str) -> dict[str, Any]:
        if group != GROUP:
            raise Failed("NotFound", f"Group {group} does not exist", "MT_RET_ERR_NOTFOUND")
        return {"group": GROUP, "currency": "USD"}

    # --- MT4 ---

    def _symbols(self) -> list[dict[str, Any]]:
        return [self._symbol(name) for name in INSTRUMENTS]

    def _ticks(self, symbol: str | None = None) -> Any:
        if symbol is None:
            return [self._ticks(name) for name in INSTRUMENTS]
        self._symbol(symbol)
        tick = self._core.feed.last(symbol)
        return {"symbol": symbol, "time": self._core.payloads.time(tick.time), "bid": tick.bid, "ask": tick.ask}

    def _users(self) -> list[dict[str, Any]]:
        return [self._one_user(login) for login in USERS]

    def _groups(self) -> list[dict[str, Any]]:
        return [self._group(GROUP)]

    def _trades(self) -> list[Mapping[str, Any]]:
        return list(self.executed)

    def _trade(self, body: Mapping[str, Any]) -> dict[str, Any]:
        symbol, volume = body.get("symbol"), body.get("volume")
        if symbol not in INSTRUMENTS:
            raise Failed("MT4Error", f"Symbol {symbol} does not exist", "RET_TRADE_BAD_SYMBOL")
        if not isinstance(volume, int) or volume <= 0:
            raise Failed("Validation", "volume is a positive whole number")
        done = {**body, "order": 5000 + len(self.executed), "price": self._core.feed.last(symbol).ask}
        self.executed.append(done)
        return done

    # --- MT5 ---

    def _time(self) -> dict[str, Any]:
        return {"timeZone": 0, "timeServer": "", "daylight": False, "daylightState": 0}

    def _symbol(self, symbol: str) -> dict[str, Any]:
        instrument = INSTRUMENTS.get(symbol)
        if instrument is None:
            raise Failed("NotFound", f"Symbol {symbol} does not exist", "MT_RET_ERR_NOTFOUND")
        return {"symbol": symbol, "description": instrument.description, "digits": instrument.digits, "point": 10.0**-instrument.digits}

    def _rows_of(self, what: str) -> Callable[[str], list[dict[str, Any]]]:
        def rows(mask: str) -> list[dict[str, Any]]:
            return [{what: 9000 + n, "login": login, "symbol": TRADE_SYMBOLS[n % len(TRADE_SYMBOLS)]} for n, login in enumerate(USERS)]

        return rows
