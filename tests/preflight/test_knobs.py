"""The table of docs/preflight.md: each mistake that the sandbox makes on purpose has exactly the findings that stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.preflight.examination import NOON, broken, doubtful, examine
from tradesession.preflight import RULES
from tradesession.sandbox.simulation import World, simulated
from tradesession.sandbox.tradingview import known_faults

PAGE = Path(__file__).parents[2] / "docs" / "preflight.md"
ROW = re.compile(r"^\| (?:`(?P<knobs>[^`]+)`|\(nothing\)) \| (?P<findings>[^|]*) \| (?P<warnings>[^|]*) \|$", re.MULTILINE)
ROWS = [
    (match["knobs"] or "", frozenset(re.findall(r"`([^`]+)`", match["findings"])), frozenset(re.findall(r"`([^`]+)`", match["warnings"])))
    for match in ROW.finditer(PAGE.read_text(encoding="utf-8").partition("## What each mistake looks like")[2].partition("## The rules")[0])
]


@pytest.mark.parametrize(("knobs", "findings", "warnings"), ROWS, ids=[row[0] or "nothing" for row in ROWS])
@simulated(start=NOON)
async def test_a_mistake_has_the_findings_that_the_page_promises(
    world: World, knobs: str, findings: frozenset[str], warnings: frozenset[str]
) -> None:
    report = await examine(world, *knobs.split())
    assert broken(report) == set(findings)
    assert doubtful(report) == set(warnings)


def test_the_page_has_every_knob_and_only_rules_that_there_are() -> None:
    named = {knob.partition("=")[0] for knobs, _, _ in ROWS for knob in knobs.split()}
    assert named == set(known_faults())
    assert {rule for _, findings, warnings in ROWS for rule in findings | warnings} <= {rule.id for rule in RULES}
    assert len({rule.id for rule in RULES}) == len(RULES) > 40


def test_the_page_has_every_rule_as_it_stands_in_the_code() -> None:
    listed = re.findall(r"^\| `([^`]+)` \| (.*) \| (.*) \|$", PAGE.read_text(encoding="utf-8").partition("## The rules")[2], re.MULTILINE)
    assert listed == [(rule.id, rule.text, rule.source) for rule in RULES]
