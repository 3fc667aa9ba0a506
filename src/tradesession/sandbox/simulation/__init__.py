"""Simulations: real clients and real servers in one virtual world, in which a year takes seconds and a seed decides what happens.

    async def scenario(world: World) -> None:
        async with Sandbox(seed=world.seed, clock=world.clock, plain=True) as sandbox:
            async with tradesession.connect(sandbox.ctrader.config(plaintext=True)) as session:
                await world.clock.advance(days=7)
                ...

    run_simulation(scenario, seed=17)

Inside, time is virtual (see `loop`): that of the loop, of `world.clock` and of the module `time`, but for `perf_counter`; not that of
`datetime.now()`. The network is virtual too (see `sockets`): streams on loopback live in memory, nothing leaves the process, and TLS,
WebSocket and HTTP run over them unchanged, for they only see asyncio's own loop. The same seed gives the same run, provided that the
scenario takes its chance from `world.random` or the `random` module, and its order from no set of strings or of objects without a hash
of their own.

Why sockets in memory and a loop of our own. Of what PyPI offers, `looptime` turns its selector dozens of times before each jump and has
real sockets, `aiotools.VirtualClock` jumps before it looks whether data has arrived, `async-solipsism` has sockets in memory but neither
TLS nor plain sockets (and another licence), `simloop` needs Python 3.12 and knows no sockets that a server accepts by itself. Real loopback
sockets under a virtual clock do work on Linux (`kernel_sockets=True`), where loopback delivers within the call that sends; elsewhere
nothing promises that, ports are the machine's, and retransmission after a full buffer takes real time. In memory an idle session with
its heartbeats costs 21 µs a beat (65 s for a virtual year of one every 10 s) against 31 µs over loopback; with TLS 32 against 47.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import inspect
import random
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from tradesession.sandbox.simulation.loop import START, Stalled, VirtualClock, VirtualLoop
from tradesession.sandbox.simulation.network import Network
from tradesession.sandbox.simulation.sockets import socket_class

__all__ = ["LeftBehind", "Stalled", "VirtualClock", "World", "run_simulation", "simulated"]

T = TypeVar("T")
N = TypeVar("N", int, float)
P = ParamSpec("P")

_SETTLING_TURNS: Final = 100
"""Turns of the loop that a finished scenario has for its last sockets to close."""


class LeftBehind(RuntimeError):
    """A scenario ended and something of it still runs or is open."""


@dataclass(frozen=True, slots=True)
class World:
    """What a scenario is given."""

    seed: int
    clock: VirtualClock
    """For the Sandbox and for everything else that wants a clock."""
    random: random.Random
    """For the scenario's own choices. The `random` module is seeded too, and restored at the end."""
    network: Network
    """Who listens where, and which sockets are open."""


def run_simulation(
    scenario: Callable[[World], Coroutine[Any, Any, T]],
    seed: int = 1,
    *,
    start: float = START,
    kernel_sockets: bool = False,
    leaks: bool = False,
) -> T:
    """Run a scenario in a virtual world of its own; what it returns.

    `start` is the wall clock's first time, in seconds since 1970. With `kernel_sockets` the sockets are the machine's. Raises what the
    scenario raises, with a note that names the seed and the moment; Stalled when nothing can happen any more; an ExceptionGroup of what
    callbacks and abandoned tasks raised; LeftBehind when tasks or sockets remain, unless `leaks` allows it. Not from inside a running loop.
    """
    network = Network()
    failures: list[Exception] = []

    def collect(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        failures.append(error if isinstance(error, Exception) else RuntimeError(context.get("message", "a callback failed")))

    async def run(world: World) -> T:
        asyncio.get_running_loop().set_exception_handler(collect)
        result = await scenario(world)
        if not leaks:
            await _settle(network)
        return result

    with contextlib.ExitStack() as stack:
        stack.enter_context(_random_seeded(seed))
        if not kernel_sockets:
            stack.enter_context(_sockets_of(network))
        runner = stack.enter_context(asyncio.Runner(loop_factory=lambda: VirtualLoop(network)))
        clock = VirtualClock(runner.get_loop(), start)
        stack.enter_context(_time_of(clock))
        try:
            result = runner.run(run(World(seed, clock, random.Random(f"{seed}:world"), network)))
            if failures:
                raise ExceptionGroup("in callbacks and abandoned tasks", failures)  # noqa: TRY301 - it wants the note too
        except BaseException as error:
            error.add_note(f"in the simulation with seed={seed}, at {_shown(clock.wall())}")
            raise
    return result


def simulated(
    seed: int = 1, *, start: float = START, leaks: bool = False
) -> Callable[[Callable[Concatenate[World, P], Coroutine[Any, Any, T]]], Callable[P, T]]:
    """Make an ordinary function, such as a test, of an async one whose first parameter is a World. An argument `seed=` of the call wins.

    @pytest.mark.parametrize("seed", range(200))
    @simulated()
    async def test_the_bot_survives(world: World, seed: int) -> None: ...
    """

    def decorate(scenario: Callable[Concatenate[World, P], Coroutine[Any, Any, T]]) -> Callable[P, T]:
        @functools.wraps(scenario)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            number = kwargs.get("seed", seed)
            if not isinstance(number, int):
                raise TypeError(f"seed={number!r} is no whole number")
            return run_simulation(lambda world: scenario(world, *args, **kwargs), number, start=start, leaks=leaks)

        signature = inspect.signature(scenario)
        run.__signature__ = signature.replace(parameters=[*signature.parameters.values()][1:])  # type: ignore[attr-defined]  # for pytest
        del run.__wrapped__  # else pytest takes the test for an async one
        return run

    return decorate


@contextlib.contextmanager
def _random_seeded(seed: int) -> Iterator[None]:
    before = random.getstate()
    random.seed(f"{seed}:random")
    try:
        yield
    finally:
        random.setstate(before)


@contextlib.contextmanager
def _sockets_of(network: Network) -> Iterator[None]:
    """Inside, `socket.socket` makes sockets of the network, in this thread; the threads of others go on as they were."""
    kernel, owner = socket.socket, threading.get_ident()
    socket.socket = socket_class(network, lambda: threading.get_ident() == owner)  # type: ignore[misc]  # that is the point
    try:
        yield
    finally:
        socket.socket = kernel  # type: ignore[misc]


@contextlib.contextmanager
def _time_of(clock: VirtualClock) -> Iterator[None]:
    """Inside, the functions of `time` that tell the time tell the virtual one, in this thread."""
    owner = threading.get_ident()

    def replaced(kernel: Callable[[], N], virtual: Callable[[], N]) -> Callable[[], N]:
        return lambda: virtual() if threading.get_ident() == owner else kernel()

    with contextlib.ExitStack() as stack:
        for name, virtual in (
            ("time", clock.wall),
            ("time_ns", lambda: round(clock.wall() * 1e9)),
            ("monotonic", clock.monotonic),
            ("monotonic_ns", lambda: round(clock.monotonic() * 1e9)),
        ):
            kernel = getattr(time, name)
            setattr(time, name, replaced(kernel, virtual))
            stack.callback(setattr, time, name, kernel)
        yield


async def _settle(network: Network) -> None:
    """Wait, without time passing, until nothing is left; raise LeftBehind when something stays."""
    turns = 0
    while left := _left(network):
        turns += 1
        if turns > _SETTLING_TURNS:
            raise LeftBehind(f"the scenario ended, and these remain: {', '.join(left)}")
        await asyncio.sleep(0)


def _left(network: Network) -> list[str]:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    return [*sorted(repr(task) for task in tasks), *map(repr, network.sockets)]


def _shown(wall: float) -> str:
    return dt.datetime.fromtimestamp(wall, dt.UTC).isoformat(timespec="milliseconds")
