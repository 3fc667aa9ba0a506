"""The shape of an answer, and the table of functions that give one.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from tradesession.sandbox.ctrader.connection import Connection

R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply, the events that go out before and after it, and what is done when all of them have left."""

    reply: Message
    before: Sequence[Message] = ()
    after: Sequence[Message] = ()
    then: Callable[[], None] | None = None


HANDLERS: dict[type[Message], Callable[[Connection, Any], Answer]] = {}


def answers(cls: type[R]) -> Callable[[Callable[[Connection, R], Answer]], Callable[[Connection, R], Answer]]:
    """Enter a function into the table, for requests of this class."""

    def enter(function: Callable[[Connection, R], Answer]) -> Callable[[Connection, R], Answer]:
        HANDLERS[cls] = function
        return function

    return enter


def page_size(connection: Connection, usual: int) -> tuple[int, bool]:
    """How many rows an answer about the past holds at most, and whether it keeps still about the rest (a fault)."""
    cut = connection.core.faults.truncate_history
    return (min(cut, usual), True) if cut else (usual, False)
