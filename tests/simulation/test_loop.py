"""The event loop in virtual time, and what a scenario is given."""

from __future__ import annotations

import asyncio
import inspect
import math
import random
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
import websockets
from aiohttp import web

from tradesession.sandbox.authority import Authority
from tradesession.sandbox.simulation import LeftBehind, Stalled, World, loop, run_simulation, simulated
from tradesession.sandbox.simulation.network import FIRST_DESCRIPTOR
from tradesession.timing import SYSTEM_CLOCK, deadline, sleep

# --- time -----------------------------------------------------------------------------------------------------------------------


def test_a_year_passes_at_once() -> None:
    async def scenario(world: World) -> tuple[float, float]:
        await world.clock.advance(days=365)
        return world.clock.monotonic(), world.clock.wall()

    began = time.monotonic()
    assert run_simulation(scenario) == pytest.approx((365 * 86400, loop.START + 365 * 86400), abs=1e-6, rel=0)
    assert time.monotonic() - began < 5


def test_everything_happens_at_its_time_and_in_its_order() -> None:
    async def scenario(world: World) -> list[tuple[float, str]]:
        seen: list[tuple[float, str]] = []
        clock = world.clock

        async def at(seconds: float, name: str) -> None:
            await sleep(clock, seconds)
            seen.append((clock.monotonic(), name))

        async with asyncio.TaskGroup() as group:
            group.create_task(at(86400.25, "a day"))
            group.create_task(at(1e-7, "soon"))
            group.create_task(at(3.0, "seconds"))
            with pytest.raises(TimeoutError):
                async with deadline(clock, 2.5):
                    await asyncio.Event().wait()
            seen.append((clock.monotonic(), "deadline"))
            clock.call_at(clock.monotonic() + 1, lambda: seen.append((clock.monotonic(), "timer")))
            clock.call_at(clock.monotonic() + 1, lambda: seen.append((0, "never"))).cancel()
        return seen

    assert run_simulation(scenario) == [(1e-7, "soon"), (2.5, "deadline"), (3.0, "seconds"), (3.5, "timer"), (86400.25, "a day")]


@pytest.mark.parametrize("days", [0, 47, 49, 400, 40_000])
def test_timers_of_one_moment_and_of_almost_one_all_fire_however_late_it_is(days: int) -> None:
    async def scenario(world: World) -> int:
        await world.clock.advance(days=days)
        now, fired = world.clock.monotonic(), []
        times = [now - 1, now, now + 1e-9]
        for _ in range(20):
            times.append(math.nextafter(times[-1], math.inf))
        for when in (*times, now + 10, *(math.nextafter(now + 10, way) for way in (0, math.inf))):

            def fire(when: float = when) -> None:
                if world.clock.monotonic() < when:
                    world.clock.call_at(when, fire)  # too early, as rounding has it: again
                else:
                    fired.append(when)

            world.clock.call_at(when, fire)
        await world.clock.advance(11)
        return len(fired) - len(times)

    assert run_simulation(scenario) == 3


def test_timers_of_one_moment_fire_in_the_order_in_which_they_were_set() -> None:
    async def scenario(world: World) -> list[int]:
        fired: list[int] = []
        timers = [world.clock.call_at(5.0, lambda number=number: fired.append(number)) for number in range(100)]  # type: ignore[misc]
        timers[50].cancel()
        world.clock.call_at(4.0, timers[51].cancel)
        world.clock.call_at(5.0, timers[99].cancel)  # behind it, and so too late
        await world.clock.advance(10)
        return fired

    assert run_simulation(scenario) == [number for number in range(100) if number not in (50, 51)]


def test_a_timer_taken_back_in_its_own_moment_does_not_fire() -> None:
    async def scenario(world: World) -> list[str]:
        fired: list[str] = []
        world.clock.call_at(5.0, lambda: second.cancel())
        second = world.clock.call_at(5.0, lambda: fired.append("second"))
        world.clock.call_at(5.0, lambda: fired.append("third"))
        await world.clock.advance(10)
        return fired

    assert run_simulation(scenario) == ["third"]


def test_deadlines_that_are_taken_back_do_not_pile_up() -> None:
    async def scenario(world: World) -> int:
        for _ in range(10_000):
            async with deadline(world.clock, 1e9):
                await asyncio.sleep(0.001)
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]  # where the timers are
        return len(selector._timers)

    assert run_simulation(scenario) <= 1001


def test_a_timer_that_is_due_fires_also_while_others_never_wait() -> None:
    async def scenario(world: World) -> bool:
        fired: list[bool] = []
        asyncio.get_running_loop().call_later(0, fired.append, True)
        while not fired:
            await asyncio.sleep(0)
        return fired[0]

    assert run_simulation(scenario)


def test_a_closed_loop_takes_no_timers() -> None:
    async def scenario(world: World) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    with pytest.raises(RuntimeError, match="closed"):
        run_simulation(scenario).call_later(1, print)


def test_the_wall_clock_begins_where_it_is_told_and_can_be_set() -> None:
    async def scenario(world: World) -> list[float]:
        seen = [world.clock.wall()]
        world.clock.shift_wall(-30)
        await world.clock.advance(5, minutes=1, hours=1)
        return [*seen, world.clock.wall()]

    assert run_simulation(scenario, start=1000.0) == [1000.0, 1000.0 - 30 + 3665]


def test_the_time_module_tells_the_virtual_time_to_the_scenario_alone() -> None:
    before = time.time, time.time_ns, time.monotonic, time.monotonic_ns

    async def scenario(world: World) -> None:
        await world.clock.advance(days=100)
        assert (time.time(), time.monotonic()) == (world.clock.wall(), world.clock.monotonic())
        assert time.time_ns() == pytest.approx(world.clock.wall() * 1e9)
        assert time.monotonic_ns() == pytest.approx(world.clock.monotonic() * 1e9)
        assert SYSTEM_CLOCK.wall() == world.clock.wall()
        assert SYSTEM_CLOCK.monotonic() == world.clock.monotonic()
        assert await asyncio.to_thread(lambda: time.time()) != pytest.approx(world.clock.wall(), abs=1000)  # another thread's

    run_simulation(scenario, start=0.0)
    assert (time.time, time.time_ns, time.monotonic, time.monotonic_ns) == before


# --- the network ----------------------------------------------------------------------------------------------------------------


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def over_streams(authority: Authority) -> None:
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        data = bytes(range(256)) * 8000
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def over_tls(authority: Authority) -> None:
    trust = ssl.create_default_context(cafile=authority.ca_file)
    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=authority.server_context()) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=trust)
        writer.write(b"secret" * 50_000)
        assert await reader.readexactly(300_000) == b"secret" * 50_000
        writer.close()
        await writer.wait_closed()


async def over_websocket(authority: Authority) -> None:
    async def serve(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with websockets.connect(f"ws://{host}:{port}") as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            await asyncio.sleep(3600)  # its pings go to and fro
            await client.send("still there")
            assert await client.recv() == "still there"


async def over_http(authority: Authority) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=await request.text())

    application = web.Application()
    application.router.add_post("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession() as client, client.post(f"http://localhost:{runner.addresses[0][1]}/", data="hello") as reply:
        assert await reply.text() == "hello"
    await runner.cleanup()


@pytest.mark.parametrize("kernel_sockets", [False, True], ids=["memory", "kernel"])
@pytest.mark.parametrize("talk", [over_streams, over_tls, over_websocket, over_http])
def test_whatever_speaks_over_asyncio_speaks_here(
    talk: Callable[[Authority], Awaitable[None]], kernel_sockets: bool, authority: Authority
) -> None:
    async def scenario(world: World) -> int:
        await talk(authority)
        probe = socket.socket()
        with probe:
            return probe.fileno()

    descriptor = run_simulation(scenario, kernel_sockets=kernel_sockets)
    assert (descriptor < FIRST_DESCRIPTOR) == kernel_sockets


def test_only_addresses_and_localhost_are_known() -> None:
    async def scenario(world: World) -> list[object]:
        running = asyncio.get_running_loop()
        with pytest.raises(socket.gaierror, match="give a numeric one"):
            await running.getaddrinfo("demo.ctraderapi.com", 5035)
        return [
            *(place for *_, place in await running.getaddrinfo("localhost", 80)),
            *(place for *_, place in await running.getaddrinfo(b"localhost", None, family=socket.AF_INET6)),
            *(place for *_, place in await running.getaddrinfo(None, "443", family=socket.AF_INET)),
        ]

    assert run_simulation(scenario) == [("127.0.0.1", 80), ("::1", 80, 0, 0), ("::1", 0, 0, 0), ("0.0.0.0", 443)]


def test_descriptors_of_the_kernel_can_be_watched_too() -> None:
    async def scenario(world: World) -> bytes:
        running, (ours, theirs) = asyncio.get_running_loop(), socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.send(b"from outside")
            return await running.sock_recv(ours, 100)

    assert run_simulation(scenario) == b"from outside"


# --- threads ----------------------------------------------------------------------------------------------------------------------


def test_a_function_in_a_thread_takes_no_time_and_gets_sockets_of_the_kernel() -> None:
    def work(number: int) -> tuple[int, bool, bool]:
        with socket.socket() as made:
            return number, threading.current_thread() is threading.main_thread(), made.fileno() < FIRST_DESCRIPTOR

    def fail() -> None:
        raise LookupError("not here")

    async def scenario(world: World) -> object:
        asyncio.get_running_loop().call_later(1, lambda: pytest.fail("time has passed"))
        with pytest.raises(LookupError, match="not here"):
            await asyncio.to_thread(fail)
        return await asyncio.to_thread(work, 7)

    assert run_simulation(scenario) == (7, False, True)


def test_a_thread_can_wake_the_loop_up() -> None:
    async def scenario(world: World) -> str:
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        thread = threading.Thread(target=lambda: told.get_loop().call_soon_threadsafe(told.set_result, "news"))
        thread.start()
        thread.join()
        return await told

    assert run_simulation(scenario) == "news"


# --- what ends a run ------------------------------------------------------------------------------------------------------------------


def test_it_says_so_when_everybody_waits_for_ever() -> None:
    async def scenario(world: World) -> None:
        await asyncio.sleep(12)
        await asyncio.Event().wait()

    with pytest.raises(Stalled, match=r"at 12\.000 s everybody waits"):
        run_simulation(scenario)


def test_it_says_so_when_somebody_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "BUSY_LIMIT", 1000)

    async def scenario(world: World) -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Stalled, match="something never waits"):
        run_simulation(scenario)


def test_it_says_so_when_a_timer_is_set_in_the_past_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "BUSY_LIMIT", 1000)

    async def scenario(world: World) -> None:
        def again() -> None:
            world.clock.call_at(world.clock.monotonic() - 1, again)

        again()
        await world.clock.advance(1)

    with pytest.raises(Stalled, match="something never waits"):
        run_simulation(scenario)


def test_an_error_names_the_seed_and_the_moment() -> None:
    async def scenario(world: World) -> None:
        await asyncio.sleep(90)
        raise LookupError("lost")

    with pytest.raises(LookupError) as failure:
        run_simulation(scenario, seed=17)
    assert failure.value.__notes__ == ["in the simulation with seed=17, at 2026-01-01T00:01:30.000+00:00"]


def test_what_callbacks_and_abandoned_tasks_raise_fails_the_run() -> None:
    async def scenario(world: World) -> None:
        async def fail() -> None:
            raise LookupError("nobody looks")

        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        asyncio.get_running_loop().call_exception_handler({"message": "only words"})
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        del task

    with pytest.raises(ExceptionGroup) as failure:
        run_simulation(scenario)
    assert {str(error) for error in failure.value.exceptions} == {"division by zero", "only words", "nobody looks"}


@pytest.mark.parametrize("left", ["task", "socket"])
def test_what_is_left_behind_fails_the_run_unless_that_is_allowed(left: str) -> None:
    kept: list[object] = []

    async def scenario(world: World) -> str:
        if left == "task":
            kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten task"))
        else:
            kept.append(socket.socket())
        return "done"

    with pytest.raises(LeftBehind, match="forgotten task" if left == "task" else "MemorySocket"):
        run_simulation(scenario)
    assert run_simulation(scenario, leaks=True) == "done"


# --- the same in every run ----------------------------------------------------------------------------------------------------------


def test_the_seed_decides_all_chance_and_leaves_no_trace() -> None:
    async def scenario(world: World) -> tuple[float, float, int]:
        return world.random.random(), random.random(), world.seed

    random.seed(5)
    before, kernel = random.getstate(), socket.socket
    assert run_simulation(scenario, seed=1) == run_simulation(scenario, seed=1)
    assert run_simulation(scenario, seed=1) != run_simulation(scenario, seed=2)
    with pytest.raises(Stalled):
        run_simulation(lambda world: asyncio.Event().wait())
    assert (random.getstate(), socket.socket) == (before, kernel)


def test_sets_of_tasks_have_the_order_in_which_they_were_made() -> None:
    async def scenario(world: World) -> bool:
        tasks = [asyncio.create_task(asyncio.sleep(number), name=str(number)) for number in range(100)]
        in_order = list(set(tasks)) == tasks
        await asyncio.gather(*tasks)
        return in_order

    assert run_simulation(scenario)


# --- as a decorator ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [3, 4])
@simulated()
async def test_a_test_can_be_a_scenario(world: World, seed: int) -> None:
    await world.clock.advance(days=1)
    assert world.seed == seed
    assert world.clock.monotonic() == 86400


def test_a_decorated_function_has_its_other_parameters_and_returns_what_the_scenario_does() -> None:
    @simulated(seed=9, start=5.0)
    async def decorated(world: World, factor: int) -> float:
        """What it is for."""
        return world.seed * factor + world.clock.wall()

    assert decorated(2) == decorated(factor=2) == 23.0
    assert list(inspect.signature(decorated).parameters) == ["factor"]
    assert decorated.__doc__ == "What it is for."
    assert not inspect.iscoroutinefunction(decorated)


def test_a_seed_is_a_whole_number() -> None:
    @simulated()
    async def decorated(world: World, seed: object) -> None:
        pytest.fail("it ran")

    with pytest.raises(TypeError, match="seed='x' is no whole number"):
        decorated(seed="x")
