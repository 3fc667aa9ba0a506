"""The payloads of the hubs, as they travel. Facts: section 3.5.

Pure. People in them are made up, and look it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from tradesession.sandbox.cplugin.feed import INSTRUMENTS, Tick
from tradesession.sandbox.cplugin.settings import Settings

_KINDS: Final = ("Added", "Updated", "Deleted")

Payload = dict[str, Any]


class Payloads:
    """Makes payloads as the settings have it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def time(self, seconds: float) -> str:
        """A moment, in seconds since 1970."""
        moment = dt.datetime.fromtimestamp(round(seconds, 6), dt.UTC)
        text = moment.strftime("%Y-%m-%dT%H:%M:%S")
        fraction = f"{moment.microsecond:06d}"
        if self._settings.times == "seven digits":
            return f"{text}.{fraction}0Z"
        digits = fraction.rstrip("0")
        return text + (f".{digits}" if digits else "") + ("Z" if self._settings.times == "zone" else "")

    def tick(self, tick: Tick) -> Payload:
        """MT4 v2."""
        return {"symbol": tick.symbol, "bid": tick.bid, "ask": tick.ask, "lastTime": self.time(tick.time)}

    def mt5_tick(self, tick: Tick) -> Payload:
        """MT5 v2."""
        return {**self.tick(tick), "last": tick.bid, "volumeExt": 1.0, "flags": 6}

    def v1_tick(self, tick: Tick) -> Payload:
        """MT4 v1 begins its names with capitals."""
        return {"Symbol": tick.symbol, "Bid": tick.bid, "Ask": tick.ask}

    def margin_call(self, n: int) -> Payload:
        """MT4."""
        return {
            "login": 1, "group": "demo", "leverage": 100, "updated": n, "balance": 1000.0, "equity": 500.0 - n % 100, "volumeLots": 0.1,
            "margin": 490.0, "free": 10.0, "level": 102.04, "controllingType": 1, "levelType": n % 2,
        }  # fmt: skip

    def mt5_margin_call(self, n: int) -> Payload:
        """MT5."""
        return {"login": n, "type": "MarginCall" if n % 2 == 0 else "StopOut", "direction": "Enter"}

    def trade(self, n: int, now: float) -> Payload:
        """A trade that was added, updated or deleted."""
        return {
            "kind": self._kind(n), "order": 1000 + n, "login": 1, "symbol": "EURUSD", "cmd": n % 2, "volumeLots": 0.01 * (n % 100 + 1),
            "openPrice": 1.1, "openTime": self.time(now - 60), "sl": 0.0, "tp": 0.0, "closePrice": 1.1001, "closeTime": self.time(now),
            "commission": -0.1, "storage": 0.0, "profit": 0.5, "taxes": 0.0, "comment": f"trade {n}",
        }  # fmt: skip

    def user(self, n: int, now: float) -> Payload:
        """A user that was added, updated or deleted."""
        return {
            "kind": self._kind(n), "login": 1 + n % 7, "group": "demo", "name": "Test User", "country": "CY", "leverage": 100,
            "balance": 1000.0 + n, "credit": 0.0, "enabled": True, "readOnly": False, "regDate": self.time(now - 86400),
            "lastDate": self.time(now), "email": "user@example.com", "phone": "+0", "comment": f"user {n}",
        }  # fmt: skip

    def symbol(self, n: int) -> Payload:
        """A symbol that was added, updated or deleted."""
        instrument = list(INSTRUMENTS.values())[n % len(INSTRUMENTS)]
        return {
            "kind": self._kind(n), "symbol": instrument.name, "description": instrument.description, "currency": instrument.currency,
            "digits": instrument.digits, "tradeMode": 2, "spread": n % 30, "stopsLevel": 0, "freezeLevel": 0, "contractSize": 100_000.0,
            "tickValue": 1.0, "tickSize": 10.0**-instrument.digits, "marginInitial": 0.0, "marginMaintenance": 0.0,
        }  # fmt: skip

    def _kind(self, n: int) -> int | str:
        return n % 3 if self._settings.kind == "number" else _KINDS[n % 3]
