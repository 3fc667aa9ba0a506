"""Lives of accidents by seed: both levels of tokens, the hub and the network fail in every order, and all is well again after each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import tradesession
from tradesession import b2core
from tradesession.errors import Error
from tradesession.sandbox import FaultProxy, Sandbox
from tradesession.sandbox.b2core import B2CoreSandbox
from tradesession.session.states import SessionState

ORDERS = "/frontoffice/api/v3/orders"
ACCIDENTS = 25
BOUND = 1400.0
"""Seconds until all is well: two pauses of a sign-in that nobody answered, and then some."""


class Life:
    """A session, its server, and what can happen to both."""

    def __init__(self, seed: int, sandbox: Sandbox, proxy: FaultProxy) -> None:
        self.chance = random.Random(seed)
        self.sandbox = sandbox
        self.server: B2CoreSandbox = sandbox.b2core
        self.proxy = proxy
        settings, chance = self.server.settings, self.chance
        settings.pair_life, settings.bearer_life = chance.choice((60.0, 600.0, 3600.0)), chance.choice((300.0, 3600.0))
        settings.single_use, settings.identical_pair = chance.random() < 0.7, chance.random() < 0.3
        settings.hub_follows_token, settings.bearer_refresh_null = chance.random() < 0.5, chance.random() < 0.3

    async def until_done(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What the work comes to, with time passing meanwhile."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await self.pass_time(1)
        return await task

    async def pass_time(self, seconds: float) -> None:
        await self.sandbox.clock.advance(seconds)
        await asyncio.sleep(0.0005)

    def accident(self) -> str:
        """Something goes wrong, until `mended`."""
        server, proxy, chance = self.server, self.proxy, self.chance

        def drop() -> None:
            for connection in server.hub.connections:
                connection.drop()

        def close() -> None:
            for connection in server.hub.connections:
                connection.end("maintenance", allow_reconnect=True)

        def end_all() -> None:
            server.state.end_bearers(refresh_too=True)
            server.state.end_pairs()

        happens: dict[str, Callable[[], object]] = {
            "the hub's connection breaks": drop,
            "the hub says goodbye": close,
            "every line is cut": lambda: proxy.cut(ending=chance.choice(("reset", "finish"))),
            "the pairs end": server.state.end_pairs,
            "the bearers end": server.state.end_bearers,
            "all tokens end": end_all,
            "the platforms are unwell": lambda: setattr(server.faults, "platform_status", chance.choice((429, 500, 503))),
            "the sign-in is unwell": lambda: setattr(server.faults, "sign_in_status", chance.choice((429, 500, 503))),
            "answers with tokens are lost": lambda: setattr(server.faults, "token_reply_lost", True),
            "the hub is silent": lambda: setattr(server.faults, "silent_hub", True),
            "nothing passes": lambda: setattr(proxy.faults, "half_open", True),
            "nothing": lambda: None,
        }
        name = chance.choice(list(happens))
        happens[name]()
        return name

    def mended(self) -> None:
        self.server.faults.clear()
        self.proxy.faults.clear()

    async def well(self, session: b2core.Session, accident: str) -> None:
        waited = 0.0
        while True:
            try:
                await self.until_done(session.accounts())
            except Error as error:
                problem: object = error
            else:
                problem = None
            if problem is None and session.state is SessionState.READY:
                return
            assert waited < BOUND, f"after {accident}: {session.state}, {session.cause}, {problem}"
            await self.pass_time(5)
            waited += 5


@pytest.mark.parametrize("seed", range(1, 4))
async def test_a_life_of_accidents_loses_no_order_doubles_none_and_is_well_after_each(seed: int) -> None:
    async with Sandbox(seed=seed) as sandbox, FaultProxy("127.0.0.1", sandbox.b2core.port, clock=sandbox.clock, seed=seed) as proxy:
        life = Life(seed, sandbox, proxy)
        account = str(life.server.state.accounts[0]["accountId"])
        taken = 0
        async with tradesession.connect(life.server.config(base_url=f"http://127.0.0.1:{proxy.port}")) as session:
            for number in range(ACCIDENTS):
                accident = life.accident()
                try:
                    await life.until_done(session.trader.post(ORDERS, {"accountId": account, "requestedPrice": str(number)}))
                    taken += 1
                except Error:
                    pass
                for _ in range(life.chance.choice((1, 12, 80))):
                    await life.pass_time(5)
                life.mended()
                await life.well(session, accident)
        prices = [order["requestedPrice"] for order in life.server.state.orders[account]]
        assert len(set(prices)) == len(prices) >= taken > 0
        assert set(life.server.state.passwords) == {life.server.password}
        assert life.server.state.unauthorized <= 3 * ACCIDENTS
