"""A year in the life of a session, with everything that a seed can think of going wrong, and what must hold all the same.

A bot reads, trades and listens through a fault proxy; the market ticks on weekdays; every Saturday the servers are maintained; and again
and again there is an accident. Whenever it has been calm for long enough all must be well: READY, every account authorised, one
connection, not a task or a socket more than at the start. At the end the bot's account of its orders is compared with the server's.

What a year leaves out, so that one takes seconds: TLS (every byte goes over plain TCP through the proxy), heartbeats every ten seconds
(one every two hours; weeks and months of their own have closer ones), a busy market (some prices a day), more than one session and one
process, and stores that fail. Tests of their own have those.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import tradesession
from tests.simulation.accidents import ACCIDENTS, MINUTE, SILENT, Scene
from tradesession import ctrader
from tradesession.ctrader import AccountState
from tradesession.ctrader import messages as pb
from tradesession.hooks import Record, RenewalFailed, TokenRotated
from tradesession.sandbox import FaultProxy, Sandbox
from tradesession.sandbox.simulation import World
from tradesession.secrets import Secret
from tradesession.tokens.stores.memory import MemoryStore
from tradesession.tokens.token import Token

HOUR, DAY = 3600.0, 86400.0
LATENCY = 0.05
"""Of the server's answers, in seconds: so long there is something under way that can be lost."""
POINT = Decimal("0.00001")
FILLED = (pb.ProtoOAExecutionType.ORDER_FILLED, pb.ProtoOAExecutionType.ORDER_PARTIAL_FILL)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen. What costs is what is sent: heartbeats are rare unless a test is about them, and so are quiet prices."""

    days: float = 365.0
    heartbeat: float = 7200.0
    accidents_a_week: float = 2.0
    orders_a_day: float = 1.0
    ticks_a_day: float = 4.0
    reads_a_day: float = 0.5
    token_life: int = 30 * 86400
    keeps_records: bool = False
    without: tuple[str, ...] = ()
    """Accidents that do not happen."""

    @property
    def liveness(self) -> float:
        """Silence after which the client gives the server up."""
        return 4.5 * self.heartbeat

    @property
    def bound(self) -> float:
        """Seconds within which all must be well after an accident: noticing it, the longest pause twice, and a handshake."""
        return self.liveness + 150.0


@dataclass(slots=True)
class Log:
    """What happened, for assertions and for comparing two runs."""

    accidents: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    orders: dict[str, str] = field(default_factory=dict)
    """How each order ended for the bot, by its clientOrderId; what was unknown at first, as it was settled."""
    rotations: int = 0
    consents: int = 0
    """How often a person had to give consent again, because an answer that held the pair was lost."""
    quotes: int = 0
    fills: int = 0
    gaps: int = 0
    reconnects: int = 0
    checks: int = 0
    grown: dict[str, int] = field(default_factory=dict)
    """Classes of which there are more objects at the end than after the first weeks, and by how many."""
    records: list[tuple[float, Record]] = field(default_factory=list)
    """Every record of the session's hooks, with its moment, when the Pace says so."""


class Year:
    """One year in a running world."""

    def __init__(
        self, world: World, sandbox: Sandbox, proxy: FaultProxy, session: ctrader.Session, store: MemoryStore, pace: Pace, log: Log
    ) -> None:
        self.world = world
        self.clock = world.clock
        self.ct = sandbox.ctrader
        self.proxy = proxy
        self.session = session
        self.store = store
        self.person_needed = asyncio.Event()
        self.pace = pace
        self.log = log
        self.end = self.clock.monotonic() + pace.days * DAY
        self._numbers = itertools.count(1)
        self._disturbed = 0
        self._calm_since = self.clock.monotonic()
        self._is_silent = self._was_silent = False
        self._price = Decimal("2.00000")  # above what any walk of the sandbox begins with
        self._at_first: tuple[int, int] = (0, 0)

    async def live(self) -> None:
        """From the first day to the last, and what must hold at the end."""
        listeners = [self._hear_quotes(), self._hear_executions(), self._hear_changes(), self._give_consent()]
        actors = [self._read(), self._order(), self._close_positions(), self._market(), self._weekends(), self._accidents(), self._watch()]
        async with asyncio.TaskGroup() as group:
            listening = [group.create_task(one) for one in listeners]
            await asyncio.sleep(0)
            self._at_first = self._size(actors=len(actors))
            acting = [group.create_task(one) for one in actors]
            await asyncio.wait(acting)
            if not any(task.cancelled() or task.exception() for task in acting):
                await self.clock.advance(self.pace.bound)
                self._check("at the end", actors=0)
                self._check_books()
            for task in listening:
                task.cancel()

    async def _pause(self, chance: random.Random, a_day: float) -> bool:
        """Wait for the next time that something happens which happens so often; False when the year is over before."""
        pause = chance.expovariate(a_day / DAY)
        left = self.end - self.clock.monotonic()
        await self.clock.advance(max(0.0, min(pause, left)))
        return pause < left

    def _chance(self, name: str) -> random.Random:
        return random.Random(f"{self.world.seed}:{name}")

    # --- the bot ---------------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        chance = self._chance("reads")
        while await self._pause(chance, self.pace.reads_a_day):
            account = chance.choice(self.session.accounts)
            await self._ask(pb.ProtoOATraderReq(ctidTraderAccountId=account.id), 60)

    async def _order(self) -> None:
        chance = self._chance("orders")
        while await self._pause(chance, self.pace.orders_a_day):
            await self._place_an_order(chance)

    async def _place_an_order(self, chance: random.Random) -> None:
        """Half of the orders are filled at once, the others by a later price, whatever has become of the session by then."""
        order = pb.ProtoOANewOrderReq(
            ctidTraderAccountId=chance.choice(self.session.accounts[:2]).id,  # of the broker whose prices tick
            symbolId=1,
            orderType=pb.ProtoOAOrderType.MARKET,
            tradeSide=pb.ProtoOATradeSide.BUY,
            volume=100_000,
            clientOrderId=f"order {next(self._numbers)}",
        )
        if chance.random() < 0.5:
            order.orderType = pb.ProtoOAOrderType.STOP
            order.stopPrice = float(self._price + 10 * POINT + POINT * chance.randint(1, 10))
        outcome, _ = await self._ask(order, chance.choice((1, 10, 300)))
        self.log.orders[order.clientOrderId] = outcome

    async def _trouble(self, chance: random.Random) -> None:
        """Whatever goes wrong, orders are on their way and prices move just then, and for some minutes after."""
        for _ in range(chance.randint(1, 4)):
            await self.clock.advance(chance.choice((0.0, chance.uniform(0, 2 * LATENCY), chance.uniform(0, 5 * MINUTE))))
            self._tick()
            await self._place_an_order(chance)

    async def _close_positions(self) -> None:
        chance = self._chance("closing")
        while await self._pause(chance, self.pace.reads_a_day):
            account = chance.choice(self.session.accounts)
            _, book = await self._ask(pb.ProtoOAReconcileReq(ctidTraderAccountId=account.id), 60)
            for position in book.position if book is not None else ():
                close = pb.ProtoOAClosePositionReq(
                    ctidTraderAccountId=account.id, positionId=position.positionId, volume=position.tradeData.volume
                )
                await self._ask(close, 10)

    async def _ask(self, request: Any, timeout: float) -> tuple[str, Any]:
        reply = None
        try:
            reply = await self.session.request(request, timeout=timeout)
            outcome = "reply"
        except tradesession.OutcomeUnknown as unknown:
            outcome = await self._settle(unknown)
        except tradesession.SessionClosed:
            raise
        except tradesession.Error as error:
            outcome = type(error).__name__
        self.log.outcomes[f"{type(request).__name__.removeprefix('ProtoOA')}: {outcome}"] += 1
        return outcome, reply

    async def _settle(self, unknown: tradesession.OutcomeUnknown) -> str:
        """Ask until there is an answer, when the session is READY, and less and less often: it may stand on a dead line for hours."""
        pause = MINUTE
        while True:
            await self.session.ready()
            try:
                settlement: ctrader.Settlement = await unknown.settle()
            except tradesession.SessionClosed:
                raise
            except tradesession.Error:
                await self.clock.advance(pause)
                pause = min(2 * pause, 60 * MINUTE)
            else:
                return settlement.outcome.value

    async def _hear_quotes(self) -> None:
        """The bid only ever rises, by one point: none may come late, and none may be missing without a Gap."""
        last, may_skip = Decimal(0), True
        async for quote in self.session.spots(self.session.accounts[0], "EURUSD", gaps=True):
            if isinstance(quote, tradesession.Gap):
                may_skip = True
                continue
            self.log.quotes += 1
            assert quote.bid >= last, f"a quote of {quote.bid} after one of {last}"
            assert may_skip or quote.bid <= last + POINT, f"nothing between quotes of {last} and {quote.bid}, and no Gap"
            may_skip = last < 2
            last = quote.bid

    async def _hear_executions(self) -> None:
        """Deals are numbered in the order in which they happen: none may come late, and none may be missing without a Gap."""
        last, may_skip = 0, True
        async with self.session.events(pb.ProtoOAExecutionEvent, gaps=True, overflow="must_deliver") as executions:
            async for event in executions:
                if isinstance(event, tradesession.Gap):
                    self.log.gaps += 1
                    may_skip = True
                elif event.executionType in FILLED:
                    self.log.fills += 1
                    deal = event.deal.dealId
                    may_skip = may_skip or self._is_silent or self._was_silent
                    self._was_silent = self._is_silent
                    assert deal >= last, f"deal {deal} after deal {last}"
                    assert may_skip or deal <= last + 1, f"nothing between deals {last} and {deal}, and no Gap"
                    last, may_skip = deal, False

    async def _hear_changes(self) -> None:
        async for change in self.session.changes():
            self.log.reconnects += change.after is tradesession.SessionState.READY

    async def _give_consent(self) -> None:
        """A person does when asked, some time later. It must not be for nothing: the pair that is stored works no more."""
        while True:
            await self.person_needed.wait()
            async with self._accident("consent", self._chance(f"consent {self.log.consents}")):
                await self.clock.advance(HOUR)
                self.person_needed.clear()
                stored = await self.store.load(self.session.config.slot)
                assert stored is not None
                good = [Secret(grant.refresh_token) for grant in self.ct.state.grants if not grant.revoked]
                assert stored.token.refresh not in good, f"a person was asked for, and the pair is good: {stored.cause}"
                self.log.consents += 1
                grant = self.ct.grant(expires_in=self.pace.token_life)
                pair = Token(access=Secret(grant.access_token), refresh=Secret(grant.refresh_token), issued_at=self.clock.wall())
                await self.store.put(self.session.config.slot, pair, force=True)

    # --- the world ---------------------------------------------------------------------------------------------------------------

    async def _market(self) -> None:
        """Ticks on weekdays."""
        chance = self._chance("market")
        while await self._pause(chance, self.pace.ticks_a_day):
            if self._weekday() < 5:
                self._tick()

    def _tick(self) -> None:
        self._price += POINT
        self.ct.feed.tick("EURUSD", bid=self._price, ask=self._price + 10 * POINT)

    def _weekday(self) -> float:
        """0 is Monday 00:00, 6.99 Sunday night; the epoch was a Thursday."""
        return (self.clock.wall() / DAY + 3) % 7

    async def _weekends(self) -> None:
        """Every Saturday the servers say goodbye, are gone for a while, and refuse everything for some hours."""
        chance, faults = self._chance("weekends"), self.ct.faults
        while (pause := ((5.25 - self._weekday()) % 7) * DAY + 1) + self.clock.monotonic() < self.end:
            await self.clock.advance(pause)
            async with self._accident("weekend", chance):
                faults.client_disconnect("maintenance")
                faults.refuse_connections = True
                await self.clock.advance(chance.uniform(0, 5 * MINUTE))
                faults.refuse_connections = False
                seconds = chance.uniform(0, 4 * 3600)
                faults.maintenance(seconds)
                await self.clock.advance(seconds)
                faults.maintenance_until = None

    async def _accidents(self) -> None:
        scene = Scene(self.ct, self.proxy, self.clock, self._chance("accidents"))
        while await self._pause(scene.chance, self.pace.accidents_a_week / 7):
            name = scene.chance.choice([name for name in ACCIDENTS if name not in self.pace.without])
            async with self._accident(name, scene.chance):
                await ACCIDENTS[name](scene)

    @asynccontextmanager
    async def _accident(self, name: str, chance: random.Random) -> AsyncIterator[None]:
        self.log.accidents[name] += 1
        self._disturbed += 1
        self._is_silent = self._is_silent or name == SILENT
        trouble = asyncio.create_task(self._trouble(random.Random(chance.random())), name="trouble")
        await self.clock.advance(chance.uniform(0, LATENCY))
        try:
            yield
            await trouble
        finally:
            trouble.cancel()
            self._disturbed -= 1
            if name == SILENT:
                self._is_silent, self._was_silent = False, True
            self._calm_since = self.clock.monotonic()

    # --- what must hold ------------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Whenever it was calm for long enough, all must be well."""
        before: Counter[str] | None = None
        while (now := self.clock.monotonic()) < self.end:
            calm = now - self._calm_since
            if self._disturbed or calm <= self.pace.bound:
                await self.clock.advance(self.pace.bound / 4)
                continue
            self._check(f"after {calm:.0f} s of calm")
            if before is None and now > min(30 * DAY, self.pace.days * DAY / 4):
                before = _population()
            await self.clock.advance(DAY)
        self.log.grown = dict(_population() - (before or Counter()))

    def _size(self, *, actors: int) -> tuple[int, int]:
        """Tasks, of the actors no more than themselves, and sockets."""
        return len(asyncio.all_tasks()) + actors, len(self.world.network.sockets)

    def _check(self, when: str, actors: int = 7) -> None:
        session = self.session
        assert session.state is tradesession.SessionState.READY, f"{when}: {session.state}, for {session.cause}"
        for account in session.accounts:
            assert account.state is AccountState.AUTHORIZED, f"{when}: {account!r}, for {account.cause}"
        assert len(self.ct.connections) == len(self.proxy.connections) == 1, f"{when}: {self.proxy.connections}"
        tasks, sockets = self._size(actors=7 - actors)
        assert tasks <= self._at_first[0], f"{when}: {tasks} tasks, {self._at_first[0]} at first"
        assert sockets <= self._at_first[1], f"{when}: {self.world.network.sockets}"
        self.log.checks += 1

    def _check_books(self) -> None:
        """Nothing was done twice, and everything ended as the bot was told."""
        state, orders = self.ct.state, self.log.orders
        again = [count for count in state.exchanges.values() if count > 1]
        assert len(again) <= self.log.consents, "a refresh token was shown again although its answer was not lost"
        assert max(again, default=0) <= 10, "a refresh token was shown again and again"  # with growing pauses, through an accident
        assert state.rotations == self.log.rotations, "each of them was told, a new consent in place of each that was lost"
        executed = Counter(order.clientOrderId for account in self.ct.accounts for order in self.ct.book(account).orders.values())
        assert state.requests["ProtoOANewOrderReq"] <= len(orders)
        for name, outcome in orders.items():
            expected = {"reply": 1, "executed": 1, "pending": 1, "NotSent": 0, "not executed": 0, "Rejected": 0}[outcome]
            assert executed[name] == expected, f"{name} ended as {outcome} and was executed {executed[name]} times"


def _population() -> Counter[str]:
    """Objects of the library and of asyncio, by their class; without messages, of which the sandbox remembers thousands."""
    gc.collect()
    kinds = (f"{type(item).__module__}.{type(item).__qualname__}" for item in gc.get_objects())
    others = (".sandbox.ctrader.", ".ctrader.wire.")
    return Counter(
        kind for kind in kinds if kind.startswith(("tradesession.", "asyncio.", "_asyncio.")) and not any(one in kind for one in others)
    )


async def live(world: World, pace: Pace) -> Log:
    """A year from nothing: sandbox, proxy, session, and everything closed at the end."""
    log = Log()

    years: list[Year] = []

    def note(record: Record) -> None:
        if isinstance(record, RenewalFailed) and record.needs_person:
            years[0].person_needed.set()
        log.rotations += isinstance(record, TokenRotated)
        if pace.keeps_records:
            log.records.append((world.clock.monotonic(), record))

    async with Sandbox(seed=world.seed, clock=world.clock, plain=True) as sandbox:
        ct = sandbox.ctrader
        ct.feed.pause()
        ct.settings.check_money = False
        ct.settings.latency = LATENCY
        ct.settings.heartbeat_after, ct.settings.idle_timeout = 2.6 * pace.heartbeat, 3.3 * pace.heartbeat
        assert ct.demo.plain_port is not None
        async with FaultProxy(ct.demo.host, ct.demo.plain_port, clock=world.clock, seed=world.seed) as proxy:
            grant, store = ct.grant(expires_in=pace.token_life), MemoryStore(clock=world.clock)
            config = ct.config(
                plaintext=True,
                heartbeat_interval=pace.heartbeat,
                liveness_timeout=pace.liveness,
                access_token=grant.access_token,
                refresh_token=grant.refresh_token,
                store=store,
                **proxy.endpoint(),
            )
            async with tradesession.connect(config, hooks=[note]) as session:
                years.append(Year(world, sandbox, proxy, session, store, pace, log))
                await years[0].live()
    return log
