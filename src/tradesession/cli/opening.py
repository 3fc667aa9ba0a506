"""A session for one command: opened with each step shown as it is done, closed in order behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tradesession.cli.manager import managed
from tradesession.cli.output import Screen
from tradesession.hooks import Record, StepTimed
from tradesession.session.services import PlatformConfig
from tradesession.session.session import Session

S = TypeVar("S", bound=Session)


@asynccontextmanager
async def opened(
    config: PlatformConfig[S], screen: Screen, told: Callable[[StepTimed], str | None], *, kept: PlatformConfig[Any] | None = None
) -> AsyncIterator[S]:
    """The session, READY. `told` is what to tell a person of a step that is done; None for nothing.

    `kept` has the token that must not be lost, where that is not the session's own.
    """

    def show(record: Record) -> None:
        if isinstance(record, StepTimed) and (text := told(record)) is not None:
            screen.done(text, record.seconds)

    async with managed(kept or config, [show]) as manager:
        with screen.waiting("shaking hands"):
            session = await manager.open(config)
        yield session


def step_facts(name: str, seconds: float | None, **more: Any) -> dict[str, Any]:
    """A step of the handshake, as `--json` prints it."""
    return {"name": name, "milliseconds": None if seconds is None else round(seconds * 1000, 3), **more}
