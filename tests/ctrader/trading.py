"""A session that trades with the sandbox in virtual time: waiting costs nothing, and a test that leaves anything behind fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.message import Message

import tradesession
from tradesession import ctrader
from tradesession.ctrader import messages as pb
from tradesession.ctrader.settlement import Settlement
from tradesession.hooks import Record
from tradesession.sandbox import Sandbox
from tradesession.sandbox.ctrader import Account, CTraderSandbox
from tradesession.sandbox.ctrader.trading.ledger import Ledger
from tradesession.sandbox.simulation import World

BUY, SELL = pb.ProtoOATradeSide.BUY, pb.ProtoOATradeSide.SELL
TYPE = pb.ProtoOAOrderType
KIND = pb.ProtoOAExecutionType


@dataclass(frozen=True, slots=True)
class Trading:
    """The server's side and the client's, with one account between them. Prices move by hand alone."""

    world: World
    server: CTraderSandbox
    session: ctrader.Session
    account: ctrader.Account
    records: list[Record]

    @property
    def book(self) -> Ledger:
        """What the server has."""
        return self.server.book(self.account.id)

    def named(self, name: str) -> list[pb.ProtoOAOrder]:
        """The orders in the server's book with this clientOrderId."""
        return [order for order in self.book.orders.values() if order.clientOrderId == name]

    def order(self, kind: pb.ProtoOAOrderType.ValueType = TYPE.MARKET, **fields: Any) -> pb.ProtoOANewOrderReq:
        fields = {"symbolId": 1, "tradeSide": BUY, "volume": 100_000} | fields
        return pb.ProtoOANewOrderReq(ctidTraderAccountId=self.account.id, orderType=kind, **fields)

    def limit(self, **fields: Any) -> pb.ProtoOANewOrderReq:
        """An order that waits in the book."""
        return self.order(TYPE.LIMIT, **{"limitPrice": 0.5} | fields)

    def about(self, cls: Any, **fields: Any) -> Any:
        """A request about the account."""
        return cls(ctidTraderAccountId=self.account.id, **fields)

    async def opened(self, **fields: Any) -> pb.ProtoOAPosition:
        """A position, when everything about it has happened."""
        reply = await self.session.request(self.order(**fields))
        await asyncio.sleep(1)
        position = pb.ProtoOAPosition()
        position.CopyFrom(self.book.holdings[reply.position.positionId].position)
        return position

    async def waiting(self, **fields: Any) -> pb.ProtoOAOrder:
        """A pending order."""
        return (await self.session.request(self.limit(**fields))).order

    async def without_answer(self, request: Message, how: Any) -> tradesession.OutcomeUnknown:
        """Send an order request whose answer is lost; `how` says whether it is executed."""
        self.server.faults.orders_unanswered = how
        with pytest.raises(tradesession.OutcomeUnknown) as unknown:
            await self.session.request(request, timeout=1)  # type: ignore[call-overload]  # any of them
        self.server.faults.orders_unanswered = ""
        return unknown.value

    async def settled(self, request: Message, how: Any) -> Settlement:
        """What settling says of it."""
        return await settle(await self.without_answer(request, how))

    def asked(self) -> list[str]:
        """The names of the requests that have arrived, in order."""
        return [asked.name for asked in self.server.state.log]


async def settle(unknown: tradesession.OutcomeUnknown) -> Settlement:
    settlement = await unknown.settle()
    assert isinstance(settlement, Settlement)
    return settlement


async def until(condition: Callable[[], object]) -> None:
    """Let virtual time pass until it holds; fail after an hour of it."""
    for _ in range(36_000):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come about")


@asynccontextmanager
async def trading(world: World, **options: Any) -> AsyncIterator[Trading]:
    """A session of the sandbox's first account, without TLS; `options` are of the configuration."""
    async with Sandbox(world.seed, world.clock, plain=True) as sandbox:
        server = sandbox.ctrader
        server.feed.pause()
        for one in server.accounts:
            one.balance = 10_000_000
        records: list[Record] = []
        first: Account = server.accounts[0]
        config = server.config(plaintext=True, **{"accounts": [first.id], **options})
        async with tradesession.connect(config, hooks=[records.append]) as session:
            yield Trading(world, server, session, session.accounts[0], records)
