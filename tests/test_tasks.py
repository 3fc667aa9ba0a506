"""TaskOwner: tasks end with their owner. And work that is finished whoever is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from tradesession.tasks import TaskOwner, completed


async def test_a_task_is_owned_until_it_is_done() -> None:
    owner = TaskOwner()
    task = owner.spawn(asyncio.sleep(0, "result"), "named")
    assert (len(owner), task.get_name()) == (1, "named")
    assert await task == "result"
    assert len(owner) == 0


async def test_closing_cancels_what_runs_and_waits_for_its_end() -> None:
    owner = TaskOwner()
    ended: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("stubborn")

    tasks = [owner.spawn(stubborn(), "a"), owner.spawn(stubborn(), "b")]
    await asyncio.sleep(0)
    await owner.aclose()
    assert ended == ["stubborn", "stubborn"]
    assert all(task.cancelled() for task in tasks)
    assert len(owner) == 0


async def test_a_task_that_is_spawned_while_closing_is_ended_too() -> None:
    owner = TaskOwner()
    late: list[asyncio.Task[bool]] = []

    async def spawns_another() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            late.append(owner.spawn(asyncio.Event().wait(), "late"))

    owner.spawn(spawns_another(), "first")
    await asyncio.sleep(0)
    await owner.aclose()
    assert [task.cancelled() for task in late] == [True]


async def test_closing_twice_or_with_nothing_running_is_harmless() -> None:
    owner = TaskOwner()
    await owner.aclose()
    await owner.aclose()
    assert len(owner) == 0


async def test_the_exception_of_a_task_is_for_whoever_spawned_it() -> None:
    async def fails() -> None:
        raise KeyError

    owner = TaskOwner()
    task = owner.spawn(fails(), "fails")
    await asyncio.wait([task])
    await owner.aclose()
    with pytest.raises(KeyError):
        task.result()


async def test_joining_waits_for_those_that_end_by_themselves_and_cancels_the_late_ones() -> None:
    owner = TaskOwner()
    quick = owner.spawn(asyncio.sleep(0, "done"), "quick")
    late = owner.spawn(asyncio.Event().wait(), "late")
    await owner.join(0.01)
    assert quick.result() == "done"
    assert late.cancelled()
    await owner.join(0.01)
    assert len(owner) == 0


async def test_a_task_that_joins_its_own_owner_does_not_wait_for_itself() -> None:
    owner = TaskOwner()
    other = owner.spawn(asyncio.sleep(0, "done"), "other")

    async def joins() -> str:
        await owner.join(5)
        return other.result()

    assert await owner.spawn(joins(), "joins") == "done"


async def test_work_that_is_to_be_completed_outlasts_every_cancellation_and_then_its_caller_is_cancelled() -> None:
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        ended.set()

    caller = asyncio.create_task(completed(work(), name="work"))
    for _ in range(2):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    may_end.set()
    await asyncio.wait([caller])
    assert ended.is_set()
    assert caller.cancelled()


async def test_what_completed_work_gives_or_raises_is_its_callers() -> None:
    assert await completed(asyncio.sleep(0, "result"), name="work") == "result"

    async def fails() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await completed(fails(), name="work")
