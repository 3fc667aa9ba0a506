"""The market of the sandbox: assets, classes, categories and symbols of each broker, and the messages that describe them.

Pure. The figures of EURUSD, XAUUSD, GER40 and US100 follow the recordings of the fact sheet, section 8; the rest is made alike.
Like the real server, it writes explicit zeros and falses into optional fields (section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.refusal import Refusal
from tradesession.sandbox.ctrader.state import Account, Broker

PRICE_SCALE: Final = 100_000
"""Prices travel as integers of 1e-5, whatever the digits of the symbol (section 8.1)."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """A symbol before a broker gives it an id. Volumes are in cents of a unit; `price` is where the random walk starts."""

    name: str
    base: str
    quote: str
    category: str
    digits: int
    pip_position: int
    lot_size: int
    min_volume: int
    max_volume: int
    price: float
    description: str


@dataclass(frozen=True, slots=True)
class Symbol:
    """An instrument at a broker, under the broker's id."""

    id: int
    broker: Broker
    instrument: Instrument

    @property
    def tick(self) -> int:
        """The smallest step of the price, as it travels."""
        return int(10 ** (5 - self.instrument.digits))


def _forex(name: str, digits: int, price: float, description: str) -> Instrument:
    volumes = (10_000_000, 100_000, 10_000_000_000)
    return Instrument(name, name[:3], name[3:], "Forex Majors", digits, digits - 1, *volumes, price, description)


INSTRUMENTS: Final = (
    _forex("EURUSD", 5, 1.08512, "Euro vs US Dollar"),
    _forex("GBPUSD", 5, 1.26733, "British Pound vs US Dollar"),
    _forex("USDJPY", 3, 149.872, "US Dollar vs Japanese Yen"),
    _forex("AUDUSD", 5, 0.65401, "Australian Dollar vs US Dollar"),
    _forex("USDCHF", 5, 0.88127, "US Dollar vs Swiss Franc"),
    _forex("EURGBP", 5, 0.85624, "Euro vs British Pound"),
    _forex("EURJPY", 3, 162.631, "Euro vs Japanese Yen"),
    Instrument("XAUUSD", "XAU", "USD", "Precious Metals", 2, 0, 10_000, 100, 1_000_000_000, 2034.15, "Gold vs US Dollar"),
    Instrument("GER40", "GER40", "EUR", "Cash Indices", 2, 0, 100, 1, 100_000, 17742.3, "Germany 40, cash"),
    Instrument("US100", "US100", "USD", "Cash Indices", 2, 0, 100, 1, 100_000, 17985.7, "US Tech 100, cash"),
    Instrument("BTCUSD", "BTC", "USD", "Cryptocurrencies", 2, 0, 100, 1, 10_000, 52190.0, "Bitcoin vs US Dollar"),
)

_CATEGORIES: Final = {"Forex Majors": "Forex", "Precious Metals": "Metals", "Cash Indices": "Indices", "Cryptocurrencies": "Crypto"}
_CLASSES: Final = tuple(_CATEGORIES.values())
_ASSETS: Final = tuple(dict.fromkeys(name for instrument in INSTRUMENTS for name in (instrument.base, instrument.quote)))
_ASSET_DIGITS: Final = {"JPY": 0, "BTC": 8}

DEPOSIT_ASSET: Final = "USD"

_SECONDS_PER_DAY: Final = 86_400
_OPENS, _CLOSES = 300, 23 * 3600 + 55 * 60


def symbols_of(broker: Broker) -> tuple[Symbol, ...]:
    """Everything that the broker trades."""
    return tuple(Symbol(broker.first_symbol_id + index, broker, instrument) for index, instrument in enumerate(INSTRUMENTS))


def symbol_by_id(broker: Broker, symbol_id: int) -> Symbol:
    """The broker's symbol of that id, or a Refusal."""
    index = symbol_id - broker.first_symbol_id
    if not 0 <= index < len(INSTRUMENTS):
        raise Refusal("SYMBOL_NOT_FOUND", f"Symbol not found: {symbol_id}")
    return Symbol(symbol_id, broker, INSTRUMENTS[index])


def symbol_by_name(broker: Broker, name: str) -> Symbol:
    """The broker's symbol of that name. KeyError, listing the names, when there is none."""
    for symbol in symbols_of(broker):
        if symbol.instrument.name == name:
            return symbol
    raise KeyError(f"no symbol {name!r}; there are {', '.join(instrument.name for instrument in INSTRUMENTS)}")


def _asset_id(name: str) -> int:
    return _ASSETS.index(name) + 1


def _category_id(name: str) -> int:
    return list(_CATEGORIES).index(name) + 1


def assets() -> list[pb.ProtoOAAsset]:
    """Every currency, metal and index that symbols are made of."""
    return [pb.ProtoOAAsset(assetId=_asset_id(name), name=name, displayName=name, digits=_ASSET_DIGITS.get(name, 2)) for name in _ASSETS]


def asset_classes() -> list[pb.ProtoOAAssetClass]:
    """The coarse sorts of symbols."""
    return [pb.ProtoOAAssetClass(id=index, name=name, sortingNumber=index) for index, name in enumerate(_CLASSES, 1)]


def symbol_categories() -> list[pb.ProtoOASymbolCategory]:
    """The fine sorts of symbols, each within a class."""
    return [
        pb.ProtoOASymbolCategory(id=index, assetClassId=_CLASSES.index(_CATEGORIES[name]) + 1, name=name, sortingNumber=index)
        for index, name in enumerate(_CATEGORIES, 1)
    ]


def light_symbol(symbol: Symbol) -> pb.ProtoOALightSymbol:
    """The symbol as the list shows it."""
    instrument = symbol.instrument
    return pb.ProtoOALightSymbol(
        symbolId=symbol.id,
        symbolName=instrument.name,
        enabled=True,
        baseAssetId=_asset_id(instrument.base),
        quoteAssetId=_asset_id(instrument.quote),
        symbolCategoryId=_category_id(instrument.category),
        description=instrument.description,
        sortingNumber=symbol.id,
    )


def full_symbol(symbol: Symbol) -> pb.ProtoOASymbol:
    """The symbol with everything that one needs for an order."""
    instrument = symbol.instrument
    return pb.ProtoOASymbol(
        symbolId=symbol.id,
        digits=instrument.digits,
        pipPosition=instrument.pip_position,
        enableShortSelling=True,
        guaranteedStopLoss=False,
        swapRollover3Days=pb.ProtoOADayOfWeek.WEDNESDAY,
        swapLong=-1.106,
        swapShort=0.059,
        maxVolume=instrument.max_volume,
        minVolume=instrument.min_volume,
        stepVolume=instrument.min_volume,
        schedule=[
            pb.ProtoOAInterval(startSecond=day * _SECONDS_PER_DAY + _OPENS, endSecond=day * _SECONDS_PER_DAY + _CLOSES)
            for day in range(1, 6)
        ],
        commission=250,
        commissionType=pb.ProtoOACommissionType.USD_PER_LOT,
        slDistance=0,
        tpDistance=0,
        gslDistance=0,
        gslCharge=0,
        distanceSetIn=pb.ProtoOASymbolDistanceType.SYMBOL_DISTANCE_IN_POINTS,
        minCommission=0,
        minCommissionType=pb.ProtoOAMinCommissionType.CURRENCY,
        minCommissionAsset=DEPOSIT_ASSET,
        scheduleTimeZone="Europe/Moscow",
        tradingMode=pb.ProtoOATradingMode.ENABLED,
        swapCalculationType=pb.ProtoOASwapCalculationType.PIPS,
        lotSize=instrument.lot_size,
        preciseTradingCommissionRate=250_000_000,
        preciseMinCommission=0,
        pnlConversionFeeRate=0,
        leverageId=1020,
        measurementUnits="",
    )


def trader(account: Account) -> pb.ProtoOATrader:
    """The account as its owner sees it."""
    return pb.ProtoOATrader(
        ctidTraderAccountId=account.id,
        balance=account.balance,
        balanceVersion=account.balance_version,
        managerBonus=0,
        ibBonus=0,
        nonWithdrawableBonus=0,
        accessRights=pb.ProtoOAAccessRights.FULL_ACCESS,
        depositAssetId=_asset_id(DEPOSIT_ASSET),
        swapFree=False,
        leverageInCents=10_000,
        totalMarginCalculationType=pb.ProtoOATotalMarginCalculationType.MAX,
        maxLeverage=100,
        frenchRisk=False,
        traderLogin=account.login,
        accountType=pb.ProtoOAAccountType.HEDGED,
        brokerName=account.broker.name,
        registrationTimestamp=1_700_000_000_000,
        isLimitedRisk=False,
        moneyDigits=2,
        fairStopOut=False,
        stopOutStrategy=pb.ProtoOAStopOutStrategy.MOST_MARGIN_USED_FIRST,
    )
