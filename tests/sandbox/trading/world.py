"""One account and its book, without a server: prices are set by hand, and what follows a step is played when it is due."""

from __future__ import annotations

import heapq
import itertools
from typing import Any

from google.protobuf.message import Message

from tradesession.clock import ManualClock
from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader.market import Symbol, symbol_by_name
from tradesession.sandbox.ctrader.settings import Settings
from tradesession.sandbox.ctrader.state import ALPHA, Account, Ctid
from tradesession.sandbox.ctrader.switches import Switches
from tradesession.sandbox.ctrader.trading.book import Happening, OrderBook, Step
from tradesession.sandbox.ctrader.trading.ledger import Ids

BUY, SELL = pb.ProtoOATradeSide.BUY, pb.ProtoOATradeSide.SELL
TYPE = pb.ProtoOAOrderType
START = 1_767_600_000_000
LOT = 10_000_000


class World:
    """`told` is everything that came of what was done, the answers first."""

    def __init__(self, balance: int = 1_000_000) -> None:
        self.account = Account(11, 22, False, ALPHA, Ctid(1), balance)
        self.settings = Settings()
        self.faults = Switches(ManualClock())
        self.prices: dict[Symbol, tuple[int, int]] = {}
        self.told: list[Any] = []
        self.now = START
        self._due: list[tuple[float, int, Step]] = []
        self._order = itertools.count()
        self.book = OrderBook(self.account, self.quotes, Ids(), self.settings, self.faults)
        self.ledger = self.book.ledger

    def quotes(self, symbol: Symbol) -> tuple[int, int]:
        middle = round(symbol.instrument.price * 100_000)
        return self.prices.get(symbol, (middle, middle + 2 * symbol.tick))

    def ask(self, request: Message) -> Any:
        """Send a request; the answer."""
        return self._take(self.book.execute(request, self.now))

    def price(self, name: str, bid: float, ask: float) -> list[Any]:
        """A tick; what came of it."""
        symbol = symbol_by_name(ALPHA, name)
        self.prices[symbol] = (round(bid * 100_000), round(ask * 100_000))
        before = len(self.told)
        for happening in self.book.tick(symbol, self.now):
            self._take(happening)
        return self.told[before:]

    def wait(self, seconds: float = 1.0) -> list[Any]:
        """Let so much time pass; what came of it."""
        before, until = len(self.told), self.now + seconds * 1000
        while self._due and self._due[0][0] <= until:
            at, _, step = heapq.heappop(self._due)
            self.now = round(at)
            self._take(step(self.now))
        self.now = round(until)
        return self.told[before:]

    def _take(self, happening: Happening) -> Any:
        self.told += happening.events
        for delay, step in happening.next:
            heapq.heappush(self._due, (self.now + delay * 1000, next(self._order), step))
        return happening.events[0] if happening.events else None

    # --- requests ---

    def order(self, kind: pb.ProtoOAOrderType.ValueType = TYPE.MARKET, side: pb.ProtoOATradeSide.ValueType = BUY, volume: int = 100_000,
              symbol: str = "EURUSD", **fields: Any) -> Any:  # fmt: skip
        number = symbol_by_name(ALPHA, symbol).id
        fields = {"ctidTraderAccountId": 11, "symbolId": number, "orderType": kind, "tradeSide": side, "volume": volume} | fields
        return self.ask(pb.ProtoOANewOrderReq(**fields))

    def opened(self, side: pb.ProtoOATradeSide.ValueType = BUY, volume: int = 100_000, **fields: Any) -> pb.ProtoOAPosition:
        """A market order with all that follows; its position."""
        position_id = self.order(side=side, volume=volume, **fields).position.positionId
        self.wait()
        return self.ledger.holdings[position_id].position

    def close(self, position_id: int, volume: int) -> Any:
        return self.ask(pb.ProtoOAClosePositionReq(ctidTraderAccountId=11, positionId=position_id, volume=volume))

    def protect(self, position_id: int, **fields: Any) -> Any:
        return self.ask(pb.ProtoOAAmendPositionSLTPReq(ctidTraderAccountId=11, positionId=position_id, **fields))

    def amend(self, order_id: int, **fields: Any) -> Any:
        return self.ask(pb.ProtoOAAmendOrderReq(ctidTraderAccountId=11, orderId=order_id, **fields))

    def cancel(self, order_id: int) -> Any:
        return self.ask(pb.ProtoOACancelOrderReq(ctidTraderAccountId=11, orderId=order_id))


def kinds(events: list[Any]) -> list[str]:
    """The execution types, in short; "+" marks what the server did by itself."""
    return [
        (pb.ProtoOAExecutionType.Name(event.executionType).removeprefix("ORDER_") + ("+" if event.isServerEvent else ""))
        if isinstance(event, pb.ProtoOAExecutionEvent)
        else type(event).__name__
        for event in events
    ]
