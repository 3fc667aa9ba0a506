"""Symbols by name: their ids and digits, asked for once, and wire prices as decimals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from tradesession.ctrader.accounts import Account
from tradesession.ctrader.messages import ProtoOASymbolByIdReq, ProtoOASymbolChangedEvent, ProtoOASymbolsListReq
from tradesession.ctrader.subscriptions import Requester
from tradesession.errors import ConfigurationError
from tradesession.options import suggestion

WIRE_DIGITS = 5
"""Wire prices are integers of 10^-5 for every symbol, whatever its digits."""

SYMBOLS_PER_REQUEST = 100
"""Ids in one ProtoOASymbolByIdReq: as many were seen to work."""

MAX_DIGITS = 10
"""Digits of a price that are believed: real symbols have at most 6, and a nonsensical number must not cost memory."""

PRICES_REMEMBERED = 512
"""Decimals of one symbol that are kept for the next time, some 100 kB: a price comes back many times before it has moved so far."""

_EXACT = Context(prec=40, traps=[])  # 20 digits of a uint64 and MAX_DIGITS fit; the caller's own context has no say here
_POINT = Decimal((0, (1,), -WIRE_DIGITS))
_UNITS = tuple(Decimal((0, (1,), -digits)) for digits in range(MAX_DIGITS + 1))


@dataclass(frozen=True, slots=True)
class Symbol:
    """What a price needs to know of its symbol."""

    id: int
    name: str
    digits: int

    def price(self, wire: int) -> Decimal:
        """The price of a wire integer, with the symbol's digits."""
        return _EXACT.quantize(_EXACT.multiply(Decimal(wire), _POINT), _UNITS[min(max(self.digits, 0), MAX_DIGITS)])


class Prices(dict[int, Decimal]):
    """The prices of one symbol by wire integer: `prices[112345]`. Those that were asked for lately are remembered, which costs a tenth."""

    def __init__(self, symbol: Symbol) -> None:
        super().__init__()
        self._price = symbol.price

    def __missing__(self, wire: int) -> Decimal:
        if len(self) >= PRICES_REMEMBERED:
            self.clear()
        price = self[wire] = self._price(wire)
        return price


class Symbols:
    """The symbols of a session's accounts. Ids differ between accounts of different brokers.

    What is known is asked for again when the server says that it has changed, and for a name that was not among it.
    """

    def __init__(self, request: Requester) -> None:
        self._request = request
        self._ids: dict[int, dict[str, int]] = {}
        self._known: dict[tuple[int, int], Symbol] = {}

    def changed(self, event: ProtoOASymbolChangedEvent) -> None:
        """These symbols are not what they were. Streams that are open go on with what they have."""
        self._ids.pop(event.ctidTraderAccountId, None)
        for symbol_id in event.symbolId:
            self._known.pop((event.ctidTraderAccountId, symbol_id), None)

    async def named(self, account: Account, names: Sequence[str]) -> list[Symbol]:
        """The symbols of these names. Raises ConfigurationError for a name that the account does not have."""
        ids = self._ids.get(account.id)
        if ids is None or not ids.keys() >= set(names):
            listed = await self._request(ProtoOASymbolsListReq(ctidTraderAccountId=account.id))
            ids = self._ids[account.id] = {symbol.symbolName: symbol.symbolId for symbol in listed.symbol}
        wanted: dict[int, str] = {}
        for name in names:
            if name not in ids:
                raise ConfigurationError(f"account {account.id} has no symbol {name!r}; {suggestion(name, list(ids))}")
            wanted[ids[name]] = name
        new = {symbol_id: name for symbol_id, name in wanted.items() if (account.id, symbol_id) not in self._known}
        await self._ask_for_digits(account, new)
        return [self._known[account.id, symbol_id] for symbol_id in wanted]

    async def _ask_for_digits(self, account: Account, names: dict[int, str]) -> None:
        ids = list(names)
        for start in range(0, len(ids), SYMBOLS_PER_REQUEST):
            chunk = ids[start : start + SYMBOLS_PER_REQUEST]
            reply = await self._request(ProtoOASymbolByIdReq(ctidTraderAccountId=account.id, symbolId=chunk))
            for symbol in reply.symbol:
                if symbol.symbolId in names:
                    self._known[account.id, symbol.symbolId] = Symbol(symbol.symbolId, names[symbol.symbolId], symbol.digits)
        for symbol_id, name in names.items():
            if (account.id, symbol_id) not in self._known:
                raise ConfigurationError(f"the server lists symbol {name!r} of account {account.id} and gives no details of it")
