"""What an editor knows of a B2Core session; mypy checks it, nothing runs it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, assert_type

import tradesession
from tradesession import b2core
from tradesession.session.streams import EventStream, Gap


async def opened(config: b2core.Config) -> None:
    """The session of the configuration, without another word."""
    async with tradesession.connect(config) as session:
        assert_type(session, b2core.Session)
        assert_type(session.steps, list[b2core.Step])


async def streams(session: b2core.Session) -> None:
    """The kind of item of each stream, with and without gaps."""
    (account, *_) = await session.accounts()
    assert_type(account, b2core.Account)
    assert_type(account.balance, Decimal | None)
    assert_type(session.open_orders(account), EventStream[list[b2core.Row]])
    assert_type(session.open_positions(account.id, gaps=True), EventStream[list[b2core.Row] | Gap])
    async for orders in session.open_orders(account):
        for order in orders:
            assert_type(order["side"], Any)


async def calls(session: b2core.Session) -> None:
    """What REST gives back."""
    assert_type(await session.platforms(), list[b2core.Row])
    assert_type(session.trader, b2core.Rest)
    assert_type(session.core, b2core.Rest)
