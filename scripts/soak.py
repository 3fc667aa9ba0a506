"""Soak: real sessions against the sandbox under random faults, for minutes or hours, with the clock pushed so that a minute is a day.

Ends with one object: faults by kind, reconnects, events, gaps, lost tokens, repeated orders, and memory, tasks and descriptors at the
start, the middle and the end. Exit code 1 if anything grew, was lost or was repeated, or if a session did not come back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tradesession
from tradesession import ctrader
from tradesession.ctrader import messages as pb
from tradesession.hooks import Record, Recovered, TokenRotated
from tradesession.sandbox import Sandbox
from tradesession.timing import AdjustableClock

PUSH = 20.0
"""Seconds of protocol time in one push of the clock; the loop runs freely between two pushes."""

PATIENCE = 2400.0
"""Seconds of protocol time within which a session must be well after a fault: a maintenance of half an hour, and the waits after it."""

GROWTH = 1.25
"""Memory at the end may be so many times that of the middle; allocators keep what they once had, leaks go on growing."""

TOKEN_LIFE = 4 * 3600
"""Seconds; short, so that many rotations fall into a soak."""


@dataclass
class Tally:
    """What happened."""

    faults: Counter[str] = field(default_factory=Counter)
    reconnects: int = 0
    events: int = 0
    gaps: int = 0
    rotations: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    failed_requests: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    samples: dict[str, dict[str, float]] = field(default_factory=dict)

    def record(self, record: Record) -> None:
        self.reconnects += isinstance(record, Recovered) and record.account_id is None
        self.rotations += isinstance(record, TokenRotated) and record.saved


def sample(clock: AdjustableClock, name: str, tally: Tally) -> None:
    """Memory in MB, tasks and descriptors now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    tally.samples[name] = {
        "memory_mb": round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "protocol_hours": round(clock.monotonic() / 3600, 1),
    }


class Soak:
    """One run."""

    def __init__(self, minutes: float, seed: int) -> None:
        self.random = random.Random(seed)
        self.tally = Tally()
        self.until = time.monotonic() + 60 * minutes
        self.half = time.monotonic() + 30 * minutes
        self.seed = seed
        self.orders: dict[str, str] = {}
        self.repeated = self.lost = self.lost_tokens = 0

    async def run(self) -> None:
        async with Sandbox(seed=self.seed) as sandbox:
            async with tradesession.SessionManager(store="memory:", hooks=[self.tally.record]) as manager:
                grant = sandbox.ctrader.grant(expires_in=TOKEN_LIFE)
                tokens = {"access_token": grant.access_token, "refresh_token": grant.refresh_token}
                sessions = [
                    await manager.open(sandbox.ctrader.config("demo", **tokens)),
                    await manager.open(sandbox.ctrader.config("live", "websocket", **tokens)),
                ]
                async with asyncio.TaskGroup() as readers:
                    tasks = [readers.create_task(self.read(session)) for session in sessions]
                    await self.torment(sandbox, sessions)
                    for task in tasks:
                        task.cancel()
                if not self.tally.problems:
                    await self.judge_orders(sessions)
            self.judge_tokens(sandbox)

    async def torment(self, sandbox: Sandbox, sessions: list[ctrader.Session]) -> None:
        kinds = self.faults(sandbox)
        await self.push(sandbox, 600)
        sample(sandbox.clock, "start", self.tally)
        while time.monotonic() < self.until and not self.tally.problems:
            name = self.random.choice(sorted(kinds))
            self.tally.faults[name] += 1
            ordering = [asyncio.ensure_future(self.order(session)) for session in sessions]
            await kinds[name]()
            await self.push(sandbox, self.random.uniform(1, 300))
            sandbox.ctrader.faults.clear()
            await self.recover(sandbox, sessions, name)
            await self.until_done(sandbox, ordering)
            await asyncio.gather(*(self.ask(session) for session in sessions))
            await self.push(sandbox, self.random.uniform(0, 3600))
            if "middle" not in self.tally.samples and time.monotonic() >= self.half:
                sample(sandbox.clock, "middle", self.tally)
        await self.push(sandbox, 120)
        self.tally.samples.setdefault("middle", self.tally.samples["start"])
        sample(sandbox.clock, "end", self.tally)

    def faults(self, sandbox: Sandbox) -> dict[str, Callable[[], Awaitable[Any]]]:
        ct = sandbox.ctrader

        def switch(name: str, value: object) -> Callable[[], Awaitable[None]]:
            async def turn() -> None:
                setattr(ct.faults, name, value)

            return turn

        async def account_drop() -> None:
            ct.faults.account_disconnect(self.random.choice(ct.accounts))

        async def cut_within(name: str) -> None:
            setattr(ct.faults, name, self.random.randrange(1, 2000))
            await ct.faults.cut()

        async def maintenance() -> None:
            ct.faults.maintenance(self.random.uniform(10, 1800))
            await ct.faults.cut()

        async def disconnect() -> None:
            ct.faults.client_disconnect()

        async def garbage() -> None:
            ct.faults.garbage()

        return {
            "cut": ct.faults.cut,
            "cut output": lambda: cut_within("cut_output_after"),
            "cut input": lambda: cut_within("cut_input_after"),
            "refuse connections": lambda: _both(switch("refuse_connections", True), ct.faults.cut),
            "accept and close": lambda: _both(switch("accept_and_close", True), ct.faults.cut),
            "tls hang": lambda: _both(switch("tls_hang", True), ct.faults.cut),
            "half-open": switch("half_open", True),
            "deaf": switch("stop_reading", True),
            "garbage": garbage,
            "client disconnect": disconnect,
            "account drop": account_drop,
            "maintenance": maintenance,
            "no route": switch("cant_route", True),
            "events between": switch("events_before_reply", True),
            "reordered": switch("reorder_replies", True),
            "sliced": switch("slice_output", 7),
            "token endpoint down": switch("token_status", 503),
        }

    async def recover(self, sandbox: Sandbox, sessions: list[ctrader.Session], name: str) -> None:
        waited = 0.0
        while not all(_is_well(session) for session in sessions):
            if waited > PATIENCE:
                states = [f"{session.name} {session.state.value} {session.cause}" for session in sessions]
                self.tally.problems.append(f"not well {PATIENCE:g} s after {name!r}: {states}")
                return
            await self.push(sandbox, 5)
            waited += 5

    async def push(self, sandbox: Sandbox, seconds: float) -> None:
        while seconds > 0:
            await sandbox.clock.advance(min(PUSH, seconds))
            seconds -= PUSH

    async def read(self, session: ctrader.Session) -> None:
        events = session.events(pb.ProtoOASpotEvent, gaps=True)
        async with session.spots(session.accounts[0], "EURUSD", "GBPUSD"), events:
            async for event in events:
                is_gap = isinstance(event, tradesession.Gap)
                self.tally.gaps += is_gap
                self.tally.events += not is_gap

    async def ask(self, session: ctrader.Session) -> None:
        account = session.accounts[0]
        self.tally.requests += 1
        try:
            await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=account.id), timeout=30)
        except tradesession.Error as error:
            self.tally.failed_requests[type(error).__name__] += 1

    async def order(self, session: ctrader.Session) -> None:
        """Place one order while a fault comes, and find out what became of it."""
        account = session.accounts[0]
        symbol = (await session.symbols(account, "EURUSD"))[0]
        order = pb.ProtoOANewOrderReq(
            ctidTraderAccountId=account.id,
            symbolId=symbol.id,
            orderType=pb.ProtoOAOrderType.LIMIT,
            tradeSide=pb.ProtoOATradeSide.BUY,
            volume=100_000,
            limitPrice=0.5,
            clientOrderId=f"soak-{len(self.orders)}-{session.config.environment}",
        )
        self.orders[order.clientOrderId] = "?"
        try:
            await session.request(order, timeout=30)
            outcome = "reply"
        except tradesession.OutcomeUnknown as unknown:
            outcome = await self.settled(unknown)
        except tradesession.Error as error:
            outcome = type(error).__name__
        self.orders[order.clientOrderId] = outcome
        self.tally.orders[outcome] += 1

    async def settled(self, unknown: tradesession.OutcomeUnknown) -> str:
        """What became of the order, asked until the session can tell."""
        while True:
            try:
                settlement: ctrader.Settlement = await unknown.settle()
                return f"settled: {settlement.outcome.value}"
            except tradesession.Error:
                await asyncio.sleep(0)

    async def until_done(self, sandbox: Sandbox, tasks: list[asyncio.Future[None]]) -> None:
        for _ in range(200):
            if all(task.done() for task in tasks):
                break
            await self.push(sandbox, 1)
        for task in tasks:
            if not task.done():
                self.tally.problems.append("an order was not settled within 200 s of a well session")
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def judge_orders(self, sessions: list[ctrader.Session]) -> None:
        """Each order stands in the server's books once, if its outcome says so, and never twice."""
        found: Counter[str] = Counter()
        for session in sessions:
            book = await session.request(pb.ProtoOAReconcileReq(ctidTraderAccountId=session.accounts[0].id))
            found.update(order.clientOrderId for order in book.order)
        self.repeated = sum(count > 1 for count in found.values())
        taken = {name for name, outcome in self.orders.items() if outcome in ("reply", "settled: pending", "settled: executed")}
        self.lost = len(taken - set(found))
        wrong = [name for name in found if self.orders.get(name) in ("settled: not executed", "NotSent")]
        if self.repeated or self.lost or wrong:
            self.tally.problems.append(f"orders: {self.repeated} repeated, {self.lost} lost, told wrongly: {wrong}")

    def judge_tokens(self, sandbox: Sandbox) -> None:
        repeated = {token: count for token, count in sandbox.ctrader.state.exchanges.items() if count > 1}
        self.lost_tokens = len(repeated)
        if repeated:
            self.tally.problems.append(f"{len(repeated)} refresh tokens were presented more than once")

    def report(self) -> dict[str, Any]:
        start, middle, end = (self.tally.samples.get(name, {}) for name in ("start", "middle", "end"))
        if end and end["memory_mb"] > GROWTH * max(middle["memory_mb"], start["memory_mb"]):
            self.tally.problems.append(f"memory grew from {middle['memory_mb']} to {end['memory_mb']} MB")
        for name in ("tasks", "descriptors"):
            if end and end[name] > start[name] + 2:
                self.tally.problems.append(f"{name} grew from {start[name]} to {end[name]}")
        return {
            "seed": self.seed,
            "faults": dict(sorted(self.tally.faults.items())),
            "reconnects": self.tally.reconnects,
            "events": self.tally.events,
            "gaps": self.tally.gaps,
            "rotations": self.tally.rotations,
            "lost_tokens": self.lost_tokens,
            "orders": dict(sorted(self.tally.orders.items())),
            "repeated_orders": self.repeated,
            "lost_orders": self.lost,
            "requests": self.tally.requests,
            "failed_requests": dict(self.tally.failed_requests),
            **self.tally.samples,
            "problems": self.tally.problems,
        }


def _is_well(session: ctrader.Session) -> bool:
    authorised = all(account.state is ctrader.AccountState.AUTHORIZED for account in session.accounts)
    return session.state is tradesession.SessionState.READY and authorised


async def _both(*steps: Callable[[], Awaitable[Any]]) -> None:
    for step in steps:
        await step()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long, in real time (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="which faults come when (default: 1)")
    parser.add_argument("--json", action="store_true", help="one line of JSON, for machines")
    options = parser.parse_args()
    soak = Soak(options.minutes, options.seed)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(soak.run())
    report = soak.report()
    print(json.dumps(report, indent=None if options.json else 2))
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
