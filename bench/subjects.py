"""Who is measured: programs of ours and of others, each in a process of its own, in rounds that alternate."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bench.driver import ROOT, Program, ProgramFailed
from bench.results import UVLOOP
from tests.interop.environments import Environment, NodeEnvironment, Unavailable

HAS_UVLOOP: Final = importlib.util.find_spec("uvloop") is not None


@dataclass(frozen=True, slots=True)
class Subject:
    """A program, by module or script below `bench`, and the facts that it begins with.

    `weight`: about how many times the effort of the lightest one it needs, so many times less work it gets in a round.
    """

    name: str
    program: str
    weight: int = 1
    environment: Environment | NodeEnvironment | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def command(self) -> list[str]:
        """What starts it; its environment is made if need be. Raises Unavailable."""
        if isinstance(self.environment, NodeEnvironment):
            return ["node", str(ROOT / "bench" / self.program), str(self.environment.make())]
        python = sys.executable if self.environment is None else str(self.environment.make())
        return [python, "-B", "-m", f"bench.{self.program}"]


@dataclass(frozen=True, slots=True)
class Running:
    """A subject at work. `number` counts those that have begun, which is the order in which their server knows them."""

    subject: Subject
    program: Program
    number: int

    def ask(self, **command: Any) -> dict[str, Any]:
        """See Program."""
        return self.program.ask(**command)

    def share(self, count: int) -> int:
        """How much of the work of a round it gets, that the lightest subject gets `count` of."""
        return max(100, count // self.subject.weight)


def on_uvloop(subjects: Sequence[Subject]) -> list[Subject]:
    """The same on uvloop; none where that is not installed."""
    if not HAS_UVLOOP:
        say("uvloop is not installed: its column is left out")
        return []
    return [replace(one, name=one.name + UVLOOP, facts={**one.facts, "loop": "uvloop"}) for one in subjects]


@contextmanager
def at_work(subjects: Sequence[Subject], **facts: Any) -> Iterator[list[Running]]:
    """All of these subjects that this machine can run, each told the facts, one begun after the other."""
    with ExitStack() as stack:
        running: list[Running] = []
        for subject in subjects:
            try:
                program = stack.enter_context(Program(subject.command()))
                program.ask(**facts, **subject.facts)
            except (Unavailable, ProgramFailed) as error:
                _leave_out(subject, error)
                continue
            running.append(Running(subject, program, len(running)))
        yield running


def alternate(running: Sequence[Running], rounds: int, measure: Callable[[Running], float]) -> dict[str, list[float]]:
    """What `measure` says of each subject, round after round, subject after subject; a first round only warms up."""
    found: dict[str, list[float]] = {one.subject.name: [] for one in running}
    for number in range(rounds + 1):
        for one in running:
            if one.subject.name not in found:
                continue
            try:
                figure = measure(one)
            except ProgramFailed as error:
                _leave_out(one.subject, error)
                del found[one.subject.name]
            else:
                found[one.subject.name] += [figure] if number else []
    return found


def _leave_out(subject: Subject, error: Exception) -> None:
    """Go on without somebody else's client that does not work here; our own have to."""
    if subject.environment is None:
        raise error
    say(f"left out: {subject.name}: {error}")


def python_program(module: str) -> Program:
    """A program on our own Python, by module below `bench`."""
    return Program([sys.executable, "-B", "-m", f"bench.{module}"])


def say(text: str) -> None:
    """Progress, for whoever watches: stdout is the result's alone."""
    print(text, file=sys.stderr, flush=True)
