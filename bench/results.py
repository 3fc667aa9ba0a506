"""What was measured, and how it is shown: one Result for each subject, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from math import isnan, nan
from statistics import median
from typing import TypeVar

UVLOOP = " (uvloop)"
"""What the name of a subject ends in that ran on uvloop; the table shows it in a column of its own."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A figure. `ratio` is to the bench's floor, or to its best rival where nothing can be called a floor; 1.0 for that one itself."""

    bench: str
    subject: str
    value: float
    unit: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Options:
    """`quick` is for seeing that everything works: few and short rounds, whose figures mean little."""

    quick: bool = False

    def pick(self, quick: T, full: T) -> T:
        """One of the two."""
        return quick if self.quick else full


def results(
    bench: str, unit: str, rounds: Mapping[str, Sequence[float]], *, base: str = "", best_of: Iterable[str] = (), most: bool = False
) -> list[Result]:
    """The medians of each subject's rounds, compared with the median of `base`, or with the best one of `best_of`.

    The best is the least one, or with `most` the greatest. Without any of them the ratios are not a number.
    """
    medians = {subject: median(values) for subject, values in rounds.items() if values}
    compared = [medians[name] for name in ([base] if base else best_of) if name in medians]
    floor = (max(compared) if most else min(compared)) if compared else nan
    return [
        Result(bench=bench, subject=subject, value=value, unit=unit, ratio=value / floor if floor else nan)
        for subject, value in medians.items()
    ]


def as_json(found: Iterable[Result]) -> str:
    """A list of objects. A ratio that means nothing is null, as JSON knows no other word."""
    rows = [asdict(one) | {"value": _digits(one.value), "ratio": None if isnan(one.ratio) else _digits(one.ratio)} for one in found]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def as_table(found: Iterable[Result]) -> str:
    """For people: a block for each bench and unit, with uvloop's figures beside asyncio's where there are any."""
    found = list(found)
    width = max((len(one.subject.removesuffix(UVLOOP)) for one in found), default=0)
    lines: list[str] = []
    for (bench, unit), group in groupby(found, key=lambda one: (one.bench, one.unit)):
        rows = list(group)
        fast = {one.subject.removesuffix(UVLOOP): one for one in rows if one.subject.endswith(UVLOOP)}
        lines += ["", f"{bench}: {unit}", f"  {'':<{width}}{'value':>10}{'ratio':>8}" + (f"{'uvloop':>12}{'ratio':>8}" if fast else "")]
        for one in rows:
            if one.subject.endswith(UVLOOP):
                continue
            line = f"  {one.subject:<{width}}{_short(one.value):>10}{_ratio(one):>8}"
            other = fast.get(one.subject)
            lines.append(line + (f"{_short(other.value):>12}{_ratio(other):>8}" if other else ""))
    return "\n".join(lines)


def _digits(value: float) -> float:
    return float(f"{value:.5g}")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _ratio(one: Result) -> str:
    return "" if isnan(one.ratio) else f"{one.ratio:.2f}"
