"""A hub behind a bad network: every fault in every phase, and cuts at every byte. READY again each time, or an error of ours."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.signalr.fake import Source
from tests.signalr.living import LivingHub, at
from tests.signalr.test_staying import feed, pushes, queued
from tradesession import signalr
from tradesession.errors import Error
from tradesession.sandbox import FaultProxy
from tradesession.sandbox.authority import Authority
from tradesession.sandbox.simulation import World, simulated
from tradesession.session.states import SessionState
from tradesession.session.streams import EventStream, Gap
from tradesession.signalr import Hub

BOUND = 150.0
"""Seconds within which a session is well after a fault: the longest wait between two attempts, twice, and the way in."""

SHORT: dict[str, Any] = {"connect_timeout": 5.0, "handshake_timeout": 5.0, "close_timeout": 2.0}

Fault = Callable[[FaultProxy], object]


def switched(**switches: Any) -> Fault:
    return lambda proxy: proxy.faults.update(**switches)


FAULTS: dict[str, Fault] = {
    "reset": lambda proxy: proxy.cut(),
    "end of stream": lambda proxy: proxy.cut(ending="finish"),
    "only the client hears of the end": lambda proxy: proxy.cut(side="client"),
    "only the server hears of the end": lambda proxy: proxy.cut(side="server"),
    "garbage from the server": lambda proxy: proxy.garbage(),
    "garbage to the server": lambda proxy: proxy.garbage(direction="to_server"),
    "half-open": switched(half_open=True),
    "the server reads nothing": switched(deaf_to_client=True),
    "the client gets nothing": switched(deaf_to_server=True),
    "refused": switched(refuse=True),
    "not accepted": switched(unaccepted=True),
    "blackhole": switched(blackhole=True),
    "slow": switched(latency=3.0, jitter=1.0),
    "byte by byte": switched(slice=1),
    "thin": switched(bandwidth=200.0),
    "cut at the first byte": switched(cut_to_client=0),
    "cut in the middle of the way in": switched(cut_to_client=150),
    "cut in the middle of the way out": switched(cut_to_server=150, ending="finish"),
    "garbage in the middle of the way in": switched(garbage_to_client=100),
}


@asynccontextmanager
async def behind_a_proxy(
    world: World, *, tls: Authority | None = None, token: Any = None, **options: Any
) -> AsyncIterator[tuple[LivingHub, FaultProxy, signalr.Config]]:
    """A living hub, the proxy before it, and how to reach it through that."""
    context: ssl.SSLContext | None = tls.server_context() if tls is not None else None
    stateful = options.pop("stateful", True)
    async with (
        LivingHub(stateful=stateful, interval=1.0, tls=context) as server,
        FaultProxy("127.0.0.1", server.port, clock=world.clock) as proxy,
    ):
        yield (
            server,
            proxy,
            signalr.Config(server.url_at(proxy.port), clock=world.clock, ca_file=tls.ca_file if tls else None, **SHORT, **options),
        )


async def well_again(world: World, hub: Hub, stream: EventStream[Any], server: LivingHub) -> None:
    """READY, and the feed comes."""
    until = world.clock.monotonic() + BOUND
    while hub.state is not SessionState.READY or not ends_with(stream, server.number):
        assert world.clock.monotonic() < until, f"{hub.state}: {hub.cause}"
        await asyncio.sleep(0.5)


def ends_with(stream: EventStream[Any], number: int) -> bool:
    newest = stream._queue[-1] if stream._queue else None
    return isinstance(newest, dict) and newest["number"] >= number - 1


def check(items: list[Any]) -> None:
    """In order, each once, and nothing missing but behind a Gap."""
    before: Any = None
    for item in items:
        if isinstance(item, int) and isinstance(before, int):
            assert item == before + 1, items
        before = item
    kept = [item for item in items if not isinstance(item, Gap)]
    assert kept == sorted(set(kept))


def tasks_of_the_client() -> list[str]:
    """What runs in the library now, the sandbox apart."""
    files = ((task.get_name(), str(getattr(task.get_coro(), "cr_code", None))) for task in asyncio.all_tasks())
    return sorted(name for name, file in files if "tradesession" in file and "/tests/" not in file and "sandbox" not in file)


async def enter(phase: str, proxy: FaultProxy, server: LivingHub, hub: Hub, owner: set[asyncio.Task[Any]]) -> None:
    """Bring the session into this phase."""
    if phase == "connecting":
        proxy.faults.blackhole = True
        proxy.cut()
    elif phase in ("negotiation", "opening", "handshake"):
        server.held = {phase}
        server.forget()
    elif phase == "resuming":
        server.held = {"opening"}
        server.cut()
    elif phase == "renewing":
        server.held = {"handshake"}
        owner.add(asyncio.create_task(renewed(hub)))
    elif phase == "taking over":
        owner.add(asyncio.create_task(renewed(hub)))
    await asyncio.sleep(2)


async def renewed(hub: Hub) -> None:
    with contextlib.suppress(Error):
        await hub.renew()


@pytest.mark.parametrize(("stateful", "tls"), [(True, False), (False, True)], ids=["stateful", "tls"])
@pytest.mark.parametrize("phase", ["connecting", "negotiation", "opening", "handshake", "ready", "resuming", "renewing", "taking over"])
@simulated()
async def test_every_fault_in_every_phase_ends_ready_again(
    world: World, authority: Authority, phase: str, stateful: bool, tls: bool
) -> None:
    owner: set[asyncio.Task[Any]] = set()
    async with (
        behind_a_proxy(world, stateful=stateful, tls=authority if tls else None) as (server, proxy, config),
        signalr.connect(config, token=Source(), log=False) as hub,
    ):
        await hub.subscribe("SubscribeToTicks", "GBPUSD")
        streams = feed(hub, gaps=True, limit=100_000), pushes(hub, gaps=True, limit=100_000)
        tasks: list[str] = []
        for name, fault in FAULTS.items():
            await enter(phase, proxy, server, hub, owner)
            fault(proxy)
            await asyncio.sleep(20)
            proxy.faults.clear()
            server.held = set()
            try:
                for stream in streams:
                    await well_again(world, hub, stream, server)
                await asyncio.sleep(70)  # whatever still ends has ended: both sides have noticed their silence, twice
                for stream in streams:
                    await well_again(world, hub, stream, server)
                    check(queued(stream))
            except AssertionError as error:
                raise AssertionError(f"{name} while {phase}: {error}") from error
            assert all(task.done() for task in owner), name
            tasks = tasks or tasks_of_the_client()
            assert tasks_of_the_client() == tasks != [], name
            assert len(server.connections) == 1, name


@simulated()
async def test_the_gap_of_a_connection_that_died_in_silence_begins_where_it_was_last_heard(world: World) -> None:
    async with behind_a_proxy(world) as (_, proxy, config), signalr.connect(config, token=Source(), log=False) as hub:
        ticks = feed(hub, gaps=True)
        await asyncio.sleep(5)
        queued(ticks)
        quiet_from = world.clock.wall()
        proxy.faults.update(half_open=True)
        while hub.state is SessionState.READY:
            await asyncio.sleep(0.5)
        assert world.clock.wall() - quiet_from > 25, "noticed late"
        proxy.faults.clear()
        gap = await anext(ticks)
        assert isinstance(gap, Gap)
        assert gap.since is not None
        assert quiet_from - 1.1 <= gap.since <= quiet_from + 0.1  # a tick a second


@pytest.mark.parametrize("stateful", [True, False], ids=["stateful", "plain"])
@pytest.mark.parametrize("fault", FAULTS)
@simulated()
async def test_under_every_fault_closing_ends_in_time_and_leaves_nothing(world: World, fault: str, stateful: bool) -> None:
    for pause in (0.0, 2.0):  # closing meets the fault, or its consequences
        async with behind_a_proxy(world, stateful=stateful) as (_, proxy, config):
            async with signalr.connect(config, token=Source(), log=False) as hub:
                stream, call = feed(hub), asyncio.create_task(hub.invoke("Hold", timeout=600))
                await asyncio.sleep(3)
                FAULTS[fault](proxy)
                await asyncio.sleep(pause)
                began = world.clock.monotonic()
            assert world.clock.monotonic() - began <= SHORT["close_timeout"] + 0.1
            with pytest.raises(Error):
                await call
            assert stream.has_ended


@pytest.mark.parametrize("fault", FAULTS)
@simulated()
async def test_under_every_fault_the_first_opening_ends_ready_or_with_an_error_of_ours(world: World, fault: str) -> None:
    async with behind_a_proxy(world) as (_, proxy, config):
        FAULTS[fault](proxy)
        began, said = world.clock.monotonic(), "nothing"
        try:
            async with signalr.connect(config, token=Source(), log=False) as hub:
                assert hub.state is SessionState.READY
        except Error as error:
            said = str(error)
        assert world.clock.monotonic() - began < 30
        assert "bearer-number" not in said
        assert len(said.splitlines()) == 1


# --- every byte -----------------------------------------------------------------------------------------------------------------------


async def way_in(world: World, direction: str, *, stateful: bool) -> int:
    """How many bytes the longer of the two connections of a way in passes."""
    async with behind_a_proxy(world, stateful=stateful) as (_, proxy, config), signalr.connect(config, token=Source()) as hub:
        await hub.subscribe("SubscribeToTicks", "GBPUSD")
        (socket,) = proxy.connections
        passed = proxy.statistics
        if direction == "cut_to_client":
            return max(socket.bytes_to_client, passed.bytes_to_client - socket.bytes_to_client)
        return max(socket.bytes_to_server, passed.bytes_to_server - socket.bytes_to_server)


@pytest.mark.parametrize("ending", ["reset", "finish"])
@pytest.mark.parametrize("direction", ["cut_to_client", "cut_to_server"])
@pytest.mark.parametrize("stateful", [True, False], ids=["stateful", "plain"])
@pytest.mark.parametrize("half", [0, 1], ids=["even", "odd"])
@simulated()
async def test_cut_at_every_byte_of_the_way_back_it_is_ready_again(
    world: World, half: int, stateful: bool, direction: str, ending: str
) -> None:
    whole = await way_in(world, direction, stateful=stateful)
    assert whole > 300
    step = 2 if ending == "reset" else 14
    async with (
        behind_a_proxy(world, stateful=stateful) as (server, proxy, config),
        signalr.connect(config, token=Source(), log=False) as hub,
    ):
        await hub.subscribe("SubscribeToTicks", "GBPUSD")
        streams = feed(hub, gaps=True, limit=100_000), pushes(hub, gaps=True, limit=100_000)
        await asyncio.sleep(2)
        for place in range(half, whole, step):
            proxy.faults.update(ending=ending, **{direction: place})
            proxy.cut()
            await asyncio.sleep(1)
            proxy.faults.clear()
            for stream in streams:
                await well_again(world, hub, stream, server)
                check(queued(stream))
        await asyncio.sleep(BOUND)
        assert len(server.connections) == 1
        assert (len(server.ever) == 1) == stateful


@simulated()
async def test_a_renewal_that_is_cut_at_every_byte_costs_nothing(world: World) -> None:
    whole = await way_in(world, "cut_to_client", stateful=False)
    async with (
        behind_a_proxy(world, stateful=False) as (server, proxy, config),
        at(server, clock=world.clock) as unused,
        signalr.connect(config, token=Source(), log=False) as hub,
    ):
        await unused.aclose()
        ticks = feed(hub, gaps=True, limit=100_000)
        for place in range(0, whole - 50, 3):
            proxy.faults.cut_to_client = place
            await renewed(hub)
            proxy.faults.clear()
            await asyncio.sleep(1)
        check(items := queued(ticks))
        assert not any(isinstance(item, Gap) for item in items)
        assert hub.state is SessionState.READY
