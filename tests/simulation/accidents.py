"""What can break in a year: each accident by its name. It is over, and everything is as it was, when its function returns."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from tradesession.sandbox import FaultProxy
from tradesession.sandbox.ctrader import CTraderSandbox
from tradesession.sandbox.simulation import VirtualClock

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What an accident happens to, and its chance."""

    ct: CTraderSandbox
    proxy: FaultProxy
    clock: VirtualClock
    chance: random.Random

    async def for_a_while(self, at_most: float = 10 * MINUTE) -> None:
        """Seconds to minutes."""
        await self.clock.advance(self.chance.uniform(1, at_most))


Accident = Callable[[Scene], Awaitable[None]]


def line(*, cut: bool = False, **switches: Any) -> Accident:
    """Switches of the proxy, for a while; with a cut where they concern only those who connect."""

    async def happen(scene: Scene) -> None:
        scene.proxy.faults.update(**switches)
        if cut:
            scene.proxy.cut()
        await scene.for_a_while()
        scene.proxy.faults.clear()

    return happen


def server(*, cut: bool = False, **switches: Any) -> Accident:
    """Switches of the sandbox, for a while; with a cut where they concern only those who connect."""

    async def happen(scene: Scene) -> None:
        faults = scene.ct.faults
        before = {name: getattr(faults, name) for name in switches}
        for name, value in switches.items():
            setattr(faults, name, value)
        if cut:
            scene.proxy.cut()
        await scene.for_a_while()
        for name, value in before.items():
            setattr(faults, name, value)

    return happen


def cut(**how: Any) -> Accident:
    """The line is cut, now or soon."""

    async def happen(scene: Scene) -> None:
        scene.proxy.cut(**how)

    return happen


async def cut_at_a_byte(scene: Scene) -> None:
    """The line is cut, and again and again somewhere in the handshakes that follow."""
    for _ in range(scene.chance.randint(1, 5)):
        where, ending = scene.chance.choice(("cut_to_client", "cut_to_server")), scene.chance.choice(("reset", "finish"))
        scene.proxy.once(**{where: scene.chance.randint(0, 900)}, ending=ending)
    scene.proxy.cut()


async def garbage(scene: Scene) -> None:
    """Some random bytes, either way."""
    scene.proxy.garbage(scene.chance.randint(1, 200), direction=scene.chance.choice(("to_client", "to_server")))


async def bad_line(scene: Scene) -> None:
    """Slow, jittery and in small pieces, for up to an hour."""
    chance = scene.chance
    scene.proxy.faults.update(
        latency=chance.uniform(0, 2), jitter=chance.uniform(0, 1), slice=chance.randint(1, 50), bandwidth=chance.uniform(500, 5000)
    )
    await scene.for_a_while(60 * MINUTE)
    scene.proxy.faults.clear()


async def accounts_drop(scene: Scene) -> None:
    """The server ends the sessions of some accounts; the connection stays."""
    for account in scene.ct.accounts:
        if scene.chance.random() < 0.5:
            scene.ct.faults.account_disconnect(account)


async def restart(scene: Scene) -> None:
    """The server is gone, and back after a while."""
    scene.ct.faults.refuse_connections = True
    await scene.ct.faults.cut()
    await scene.for_a_while(10 * MINUTE)
    scene.ct.faults.refuse_connections = False


async def server_half_open(scene: Scene) -> None:
    """The server hears nothing and says nothing. What it did not say is lost, so it does not come back on the same connection."""
    await server(half_open=True)(scene)
    await scene.ct.faults.cut()


SILENT: Final = "server: executes orders without a word"
"""The one accident by which events are lost on a connection that stands: the server keeps them from whoever asked."""

ACCIDENTS: dict[str, Accident] = {
    "line: reset": cut(),
    "line: ended in order": cut(ending="finish"),
    "line: reset towards the client alone": cut(side="client"),
    "line: reset towards the server alone": cut(side="server"),
    "line: reset within the next bytes": cut(to_server=11),
    "line: cut at a byte": cut_at_a_byte,
    "line: garbage": garbage,
    "line: bad": bad_line,
    "line: half-open": line(half_open=True),
    "line: stalled": line(deaf_to_client=True, deaf_to_server=True),
    "line: deaf to the client": line(deaf_to_client=True),
    "line: refused": line(cut=True, refuse=True),
    "line: unaccepted": line(cut=True, unaccepted=True),
    "line: blackhole": line(cut=True, blackhole=True),
    "line: garbage in every connection": line(cut=True, garbage_to_client=100),
    "server: restart": restart,
    "server: accounts drop": accounts_drop,
    "server: accepts and closes": server(cut=True, accept_and_close=True),
    "server: hangs": server(cut=True, tls_hang=True),
    "server: half-open": server_half_open,
    "server: deaf": server(stop_reading=True),
    "server: no route": server(cant_route=True),
    "server: no heartbeats": server(no_heartbeats=True),
    "server: no answers": server(unanswered_requests=True),
    SILENT: server(orders_unanswered="executed"),
    "server: drops orders without a word": server(orders_unanswered="dropped"),
    "server: unreadable replies": server(undecodable_replies=True),
    "server: replies of another type": server(wrong_reply_type=True),
    "server: garbage for replies": server(garbage_output=True),
    "server: frames too long": server(oversized_frame=True),
    "server: everything blocked": server(blocked_payload_types=True),
    "server: unknown things": server(unknown_fields=True, unknown_enum_values=True, unknown_payload_types=True, foreign_message_ids=True),
    "server: disorder": server(reorder_replies=True, events_before_reply=True, slice_output=3),
    "server: executions twice": server(duplicate_executions=True),
    "tokens: endpoint down": server(token_status=503),
    "tokens: endpoint slow": server(token_delay=20.0),
}
