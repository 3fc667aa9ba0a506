"""Hooks are called in order, and none of them can break anything."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import pytest

from tradesession.errors import ConfigurationError, LinkLost
from tradesession.hooks import Hook, Hooks, LateReply, Record, StateChanged, one_line

RECORD = LateReply(source="here", kind="X")


def test_hooks_are_called_in_order_with_every_record() -> None:
    seen: list[tuple[str, Record]] = []
    hooks = Hooks.of([lambda record: seen.append(("first", record)), lambda record: seen.append(("second", record))])
    hooks.emit(RECORD)
    assert seen == [("first", RECORD), ("second", RECORD)]


def test_hooks_are_made_of_nothing_of_callables_and_of_hooks_to_share() -> None:
    Hooks.of(None).emit(RECORD)
    shared = Hooks()
    assert Hooks.of(shared) is shared
    assert Hooks.of(()) is not Hooks.of(())


def test_a_hook_can_be_taken_off_and_taking_it_off_twice_is_harmless() -> None:
    seen: list[Record] = []
    hooks = Hooks()
    remove = hooks.add(seen.append)
    hooks.emit(RECORD)
    remove()
    remove()
    hooks.emit(RECORD)
    assert seen == [RECORD]


def test_a_hook_may_take_itself_off_while_it_is_called() -> None:
    seen: list[int] = []
    hooks = Hooks()

    def once(record: Record) -> None:
        seen.append(1)
        remove()

    remove = hooks.add(once)
    hooks.add(lambda record: seen.append(2))
    hooks.emit(RECORD)
    hooks.emit(RECORD)
    assert seen == [1, 2, 2]


def test_a_hook_that_raises_is_reported_once_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Record] = []

    def broken(record: Record) -> None:
        raise ValueError("secret detail")

    hooks = Hooks.of([broken, seen.append])
    with caplog.at_level(logging.DEBUG):
        hooks.emit(RECORD)
        hooks.emit(RECORD)
    assert len(seen) == 2
    (record,) = caplog.records
    assert record.name == "tradesession.hooks"
    assert "LateReply with ValueError" in record.getMessage()
    assert "secret detail" not in caplog.text


def test_a_hook_that_was_taken_off_and_comes_back_is_reported_again(caplog: pytest.LogCaptureFixture) -> None:
    def broken(record: Record) -> None:
        raise ValueError

    hooks = Hooks()
    for _ in range(2):
        remove = hooks.add(broken)
        hooks.emit(RECORD)
        remove()
    assert len(caplog.records) == 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_whoever_ends_the_program_from_a_hook_is_obeyed(kind: type[BaseException]) -> None:
    def leave(record: Record) -> None:
        raise kind

    with pytest.raises(kind):
        Hooks.of([leave]).emit(RECORD)


def test_a_cancellation_that_comes_out_of_a_hook_is_the_hooks_own(caplog: pytest.LogCaptureFixture) -> None:
    def broken(record: Record) -> None:
        raise asyncio.CancelledError

    Hooks.of([broken]).emit(RECORD)
    assert "LateReply with CancelledError" in caplog.text


class Waits:
    async def __call__(self, record: Record) -> None: ...


async def waits(record: Record) -> None: ...


@pytest.mark.parametrize("hook", [waits, Waits()])
def test_a_hook_that_would_have_to_be_awaited_is_refused(hook: Hook) -> None:
    for make in (lambda: Hooks.of([hook]), lambda: Hooks().add(hook)):
        with pytest.raises(ConfigurationError, match=r"hook \w+ is a coroutine function, and hooks are not awaited"):
            make()


def test_the_report_of_a_hook_shows_nothing_of_what_a_partial_holds(caplog: pytest.LogCaptureFixture) -> None:
    def broken(secret: str, record: Record) -> None:
        raise ValueError

    Hooks.of([partial(broken, "planted")]).emit(RECORD)
    assert "hook partial failed" in caplog.text
    assert "planted" not in caplog.text


def test_a_cause_is_one_line_and_of_a_foreign_exception_only_the_type() -> None:
    assert one_line(None) == ""
    assert one_line(LinkLost("two\nlines")) == "two lines"
    assert one_line(LinkLost()) == "LinkLost"
    assert one_line(ValueError("who knows what it quotes")) == "ValueError"


def test_records_are_frozen_and_made_by_name() -> None:
    record = StateChanged(source="s", before="A", after="B")
    with pytest.raises(AttributeError):
        record.after = "C"  # type: ignore[misc]
    with pytest.raises(TypeError):
        StateChanged("s", "A", "B")  # type: ignore[call-arg]
    assert record.cause == ""
