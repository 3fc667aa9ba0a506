"""Our own client, as a bot uses it: a session, and one task for each stream."""

from __future__ import annotations

import asyncio
from typing import Any

import tradesession
from bench.loops import Countdown, round_trips, run_program, serve
from tradesession import ctrader
from tradesession.ctrader.messages import ProtoOASpotEvent, ProtoOAVersionReq

NO_QUOTA = 1e9
"""Requests a second, where the client's own pace is not what is measured."""
FOR_EVER = 1e6
"""Seconds. The server never speaks unasked, and that is no reason to leave it."""


def config(port: int, accounts: int = 1) -> ctrader.Config:
    """Leads to the server of `bench.programs.server`, with a token that is good for so many accounts."""
    return ctrader.Config(
        client_id="bench",
        client_secret="bench",
        access_token=f"bench-{accounts}",
        host="127.0.0.1",
        port=port,
        plaintext=True,
        requests_per_second=NO_QUOTA,
        historical_requests_per_second=NO_QUOTA,
        liveness_timeout=FOR_EVER,
        store="memory:",
    )


def streams(session: ctrader.Session, kind: str, count: int, symbols: int) -> list[tradesession.EventStream[Any]]:
    """So many streams: of all spot events, of the quotes of so many symbols, or of the quotes of one symbol each."""
    account = session.accounts.only()
    if kind == "events":
        return [session.events(ProtoOASpotEvent) for _ in range(count)]
    names = [f"S{number}" for number in range(1, symbols + 1)]
    if count == 1:
        return [session.spots(account, *names)]
    return [session.spots(account, name) for name in names]


async def run(facts: dict[str, Any]) -> None:
    """Connect, subscribe, and do as told."""
    countdown = Countdown()

    async def consume(stream: tradesession.EventStream[Any]) -> None:
        async for _ in stream:
            countdown.one()

    async with tradesession.connect(config(facts["port"])) as session, asyncio.TaskGroup() as group:
        opened = streams(session, facts.get("kind", "events"), facts.get("streams", 1), facts.get("symbols", 1))
        async with asyncio.TaskGroup() as subscribing:
            for stream in opened:
                subscribing.create_task(stream.__aenter__())
        consuming = [group.create_task(consume(stream)) for stream in opened]
        await serve({"events": countdown.measure, "requests": round_trips(lambda: session.request(ProtoOAVersionReq()))})
        for task in consuming:
            task.cancel()


if __name__ == "__main__":
    run_program(run)
