"""A position and the deals that it is made of.

Pure. Always holds: what the position shows (volume, mean price, commission, margin) is the sum of its lots. Parts are closed first in,
first out (fact sheet, section 9.3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.market import Symbol
from tradesession.sandbox.ctrader.trading import money

_PRICE_DIGITS: Final = 8
"""Digits of a mean price: it is finer than the symbol's."""


@dataclass(frozen=True, slots=True)
class Lot:
    """What one opening deal brought, or the part of it that is left. `commission` is in cents, negative."""

    deal_id: int
    volume: int
    price: float
    commission: int
    margin_rate: float


@dataclass(slots=True, eq=False)
class Holding:
    """`position` is what the wire shows. It exists before its first deal, with the status CREATED and no volume."""

    symbol: Symbol
    position: pb.ProtoOAPosition
    lots: list[Lot] = field(default_factory=list)
    protection: pb.ProtoOAOrder | None = None
    """The order that holds stop loss and take profit."""
    trail: int | None = None
    """How far the stop stays behind the price, as it travels."""

    @property
    def id(self) -> int:
        """The position's id."""
        return self.position.positionId

    @property
    def is_open(self) -> bool:
        """Whether it has volume."""
        return self.position.positionStatus == pb.ProtoOAPositionStatus.POSITION_STATUS_OPEN

    @property
    def is_buy(self) -> bool:
        """Whether it is long."""
        return self.position.tradeData.tradeSide == pb.ProtoOATradeSide.BUY

    @property
    def volume(self) -> int:
        """What is open, in cents of a unit."""
        return self.position.tradeData.volume

    def add(self, lot: Lot, now: int) -> None:
        """An opening deal."""
        if not self.is_open:
            self.position.positionStatus = pb.ProtoOAPositionStatus.POSITION_STATUS_OPEN
            self.position.tradeData.openTimestamp = now
        self.lots.append(lot)
        self._show(now)

    def take(self, volume: int, now: int) -> list[Lot]:
        """A closing deal: the lots, or parts of them, that it was set off against."""
        taken: list[Lot] = []
        left = volume
        while left:
            lot = self.lots.pop(0)
            part = min(lot.volume, left)
            share = money.cents(lot.commission * part / lot.volume)
            taken.append(Lot(lot.deal_id, part, lot.price, share, lot.margin_rate))
            if part < lot.volume:
                self.lots.insert(0, Lot(lot.deal_id, lot.volume - part, lot.price, lot.commission - share, lot.margin_rate))
            left -= part
        self._show(now)
        if not self.lots:
            self.end(now)
        return taken

    def end(self, now: int) -> None:
        """Nothing of it is left, or nothing ever came of it."""
        self.position.positionStatus = pb.ProtoOAPositionStatus.POSITION_STATUS_CLOSED
        self.position.tradeData.closeTimestamp = now
        self.position.utcLastUpdateTimestamp = now

    def _show(self, now: int) -> None:
        volume = sum(lot.volume for lot in self.lots)
        self.position.tradeData.volume = volume
        self.position.price = mean_price(self.lots)
        self.position.commission = sum(lot.commission for lot in self.lots)
        self.position.marginRate = sum(lot.margin_rate * lot.volume for lot in self.lots) / volume if volume else 0.0
        self.position.usedMargin = money.margin(volume, self.position.marginRate)
        self.position.utcLastUpdateTimestamp = now


def mean_price(lots: list[Lot]) -> float:
    """Weighted by volume; 0 for nothing."""
    volume = sum(lot.volume for lot in lots)
    return round(sum(lot.price * lot.volume for lot in lots) / volume, _PRICE_DIGITS) if volume else 0.0
