"""Clocks for drivers, sleeping and deadlines on either of them."""

from __future__ import annotations

import asyncio
import time

import pytest

from tradesession.clock import Clock, ManualClock
from tradesession.timing import SYSTEM_CLOCK, AdjustableClock, deadline, sleep


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# --- the system's clock -------------------------------------------------------------------------------------------------------------


async def test_the_system_clock_is_the_loops_and_the_machines() -> None:
    assert SYSTEM_CLOCK.monotonic() == pytest.approx(asyncio.get_running_loop().time(), abs=1)
    assert SYSTEM_CLOCK.wall() == pytest.approx(time.time(), abs=1)


async def test_a_timer_of_the_system_clock_fires_and_can_be_taken_back() -> None:
    fired: list[int] = []
    done = asyncio.Event()
    SYSTEM_CLOCK.call_at(SYSTEM_CLOCK.monotonic(), lambda: fired.append(1)).cancel()
    SYSTEM_CLOCK.call_at(SYSTEM_CLOCK.monotonic(), done.set)
    await done.wait()
    assert fired == []


# --- the adjustable one ---------------------------------------------------------------------------------------------------------------


async def test_days_pass_at_once_and_timers_fire_each_at_its_own_time() -> None:
    clock = AdjustableClock()
    fired: list[int] = []
    for hours in (30, 1, 49):
        clock.call_at(clock.monotonic() + 3600 * hours, lambda: fired.append(round(clock.monotonic() / 3600)))
    started = time.monotonic()
    await clock.advance(days=1, hours=10, minutes=30, seconds=30)
    assert fired == [1, 30]
    assert clock.monotonic() == pytest.approx(34.5 * 3600 + 30, abs=5)
    assert time.monotonic() - started < 5


async def test_both_clocks_advance_and_the_wall_clock_alone_can_be_set() -> None:
    clock = AdjustableClock()
    monotonic, wall = clock.monotonic(), clock.wall()
    assert wall == pytest.approx(time.time(), abs=5)
    clock.shift_wall(-7200)
    await clock.advance(100)
    assert clock.monotonic() - monotonic == pytest.approx(100, abs=5)
    assert clock.wall() - wall == pytest.approx(100 - 7200, abs=5)


async def test_timers_fire_in_real_time_too() -> None:
    clock = AdjustableClock()
    done = asyncio.Event()
    clock.call_at(clock.monotonic() + 3600, done.set)
    clock.call_at(clock.monotonic() + 0.001, done.set)
    await done.wait()
    assert clock.monotonic() < 60


async def test_a_timer_in_the_past_fires_soon() -> None:
    clock = AdjustableClock()
    done = asyncio.Event()
    clock.call_at(clock.monotonic() - 5, done.set)
    await done.wait()
    assert clock.monotonic() < 60


async def test_after_a_push_the_rest_of_a_timer_runs_at_the_speed_of_the_real_clock() -> None:
    clock = AdjustableClock()
    done = asyncio.Event()
    clock.call_at(clock.monotonic() + 3600, done.set)
    await clock.advance(3599.99)
    started = time.monotonic()
    await done.wait()
    assert time.monotonic() - started < 5


async def test_an_advance_that_is_cancelled_leaves_the_timers_armed() -> None:
    clock = AdjustableClock()
    first, second = asyncio.Event(), asyncio.Event()
    clock.call_at(clock.monotonic() + 3600, first.set)
    clock.call_at(clock.monotonic() + 3600.01, second.set)
    pushing = asyncio.ensure_future(clock.advance(7200))
    await first.wait()
    pushing.cancel()
    await asyncio.wait([pushing])
    await second.wait()
    assert clock.monotonic() < 3700


async def test_a_cancelled_timer_does_not_fire() -> None:
    clock = AdjustableClock()
    fired: list[int] = []
    clock.call_at(clock.monotonic() + 1, lambda: fired.append(1)).cancel()
    await clock.advance(2)
    assert fired == []


async def test_the_loop_runs_between_two_timers() -> None:
    clock = AdjustableClock()
    seen: list[str] = []

    async def follow(name: str, seconds: float) -> None:
        await sleep(clock, seconds)
        await turns(3)
        seen.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(follow("first", 10))
        group.create_task(follow("second", 10.0001))
        await turns()
        await clock.advance(20)
        assert seen == ["first", "second"]


# --- sleep and deadline -----------------------------------------------------------------------------------------------------------------


async def test_sleep_lasts_until_the_clock_says_so_and_leaves_no_timer_when_cancelled() -> None:
    clock = ManualClock()
    sleeper = asyncio.ensure_future(sleep(clock, 10))
    await turns()
    clock.advance(9)
    await turns()
    assert not sleeper.done()
    sleeper.cancel()
    await asyncio.wait([sleeper])
    assert clock.next_timer() is None


async def test_a_deadline_ends_its_block_on_its_own_clock() -> None:
    clock = ManualClock()

    async def slow() -> None:
        async with deadline(clock, 10):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(slow())
    await turns()
    clock.advance(9.9)
    await turns()
    assert not task.done()
    clock.advance(0.1)
    with pytest.raises(TimeoutError):
        await task
    assert clock.next_timer() is None


@pytest.mark.parametrize("clock", [SYSTEM_CLOCK, AdjustableClock()])
async def test_a_deadline_of_nothing_or_less_is_over_at_the_next_wait(clock: Clock) -> None:
    for seconds in (0.0, -5.0):
        with pytest.raises(TimeoutError):
            async with deadline(clock, seconds):
                await asyncio.Event().wait()


async def test_no_deadline_waits_for_ever() -> None:
    clock = ManualClock()
    async with deadline(clock, None) as scope:
        assert clock.next_timer() is None
    assert not scope.expired()


async def test_a_block_that_is_done_in_time_takes_its_timer_back() -> None:
    clock = ManualClock()
    async with deadline(clock, 5) as scope:
        assert clock.next_timer() is not None
    assert clock.next_timer() is None
    assert not scope.expired()


async def test_a_cancellation_from_outside_is_no_timeout() -> None:
    clock = ManualClock()

    async def slow() -> None:
        async with deadline(clock, 10):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(slow())
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.next_timer() is None


async def test_an_error_in_the_block_passes_through() -> None:
    with pytest.raises(KeyError):
        async with deadline(ManualClock(), 10):
            raise KeyError
