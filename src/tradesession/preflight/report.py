"""What a preflight finds: rules, what became of each, and the report as a whole.

Pure. Always holds: a report has each rule once, and no secret: every text goes through `redact` on its way in.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tradesession.preflight.evidence import Evidence

SHOWN: Final = 5
"""Problems of one rule that are shown; of the others there is a count."""


class Status(enum.Enum):
    """What became of a rule."""

    PASSED = "passed"
    FAILED = "failed"
    WARNING = "warning"
    """Nothing that the rule forbids, but worth a look."""
    SKIPPED = "skipped"
    """It could not be looked at, or does not apply."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which a rule is not kept. `where` names the request, the symbol or the message."""

    expected: str
    found: str
    where: str = ""
    is_warning: bool = False


class Skipped(Exception):
    """Raised by a check that cannot look; its text is the reason."""


Check = Callable[["Evidence"], Iterable[Problem]]


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that a broker's server has to keep. `source` names the document that says so."""

    id: str
    text: str
    source: str
    check: Check = field(repr=False, compare=False)

    @property
    def area(self) -> str:
        """Which part of the server it is about."""
        return self.id.partition(".")[0]


class Rules:
    """The rules of one area, in the order in which they were written down."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def rule(self, id: str, text: str, source: str) -> Callable[[Check], Check]:  # noqa: A002 - what it is
        """Make a check a rule."""

        def add(check: Check) -> Check:
            self._rules.append(Rule(id, text, source, check))
            return check

        return add

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)


@dataclass(frozen=True, slots=True)
class Result:
    """A rule with what became of it."""

    rule: Rule
    status: Status
    problems: tuple[Problem, ...] = ()
    more: int = 0
    """Problems beyond those that are shown."""
    reason: str = ""
    """Why it was skipped."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a preflight found about one server."""

    target: str
    started_at: float
    """Wall-clock seconds."""
    seconds: float
    requests: int
    results: Sequence[Result]
    is_shut_out: bool = False
    """Whether the server refused every credential, so that hardly anything was examined."""

    @property
    def is_clean(self) -> bool:
        """Whether no rule was broken."""
        return not self.with_status(Status.FAILED)

    def with_status(self, status: Status) -> list[Result]:
        """The results of that status."""
        return [result for result in self.results if result.status is status]

    def to_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "target": self.target,
            "clean": self.is_clean,
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            **{status.value: len(self.with_status(status)) for status in Status},
            "findings": [_finding(result, problem) for result in self.with_status(Status.FAILED) for problem in result.problems],
            "warnings": [_finding(result, problem) for result in self.with_status(Status.WARNING) for problem in result.problems],
            "checks": [
                {"id": result.rule.id, "status": result.status.value, "rule": result.rule.text, "source": result.rule.source}
                | ({"reason": result.reason} if result.reason else {})
                | ({"problems": len(result.problems) + result.more} if result.problems else {})
                for result in self.results
            ],
        }


def judge(rule: Rule, evidence: Evidence, redact: Callable[[str], str]) -> Result:
    """Look at the evidence. Raises nothing: what a check cannot make sense of is a finding, too."""
    try:
        problems = list(rule.check(evidence))
    except Skipped as skipped:
        return Result(rule, Status.SKIPPED, reason=redact(str(skipped)))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        problems = [Problem("an answer that can be looked at", f"something that cannot ({type(error).__name__})")]
    if not problems:
        return Result(rule, Status.PASSED)
    status = Status.WARNING if all(problem.is_warning for problem in problems) else Status.FAILED
    shown = sorted(problems, key=lambda problem: problem.is_warning)[:SHOWN]
    clean = tuple(Problem(one.expected, redact(one.found), redact(one.where), one.is_warning) for one in shown)
    return Result(rule, status, clean, len(problems) - len(clean))


def _finding(result: Result, problem: Problem) -> dict[str, Any]:
    return {
        "id": result.rule.id,
        "rule": result.rule.text,
        "source": result.rule.source,
        "where": problem.where,
        "expected": problem.expected,
        "found": problem.found,
    }
