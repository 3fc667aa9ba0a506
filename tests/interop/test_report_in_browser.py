"""The HTML report of a preflight, opened in Chromium: what a person sees, on a wide screen and on a narrow one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.interop.environments import CHROMIUM
from tests.interop.programs import running
from tests.preflight.examination import NOON, examine
from tradesession.preflight import RULES, Report
from tradesession.preflight.html import render
from tradesession.sandbox.simulation import World, simulated

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180, func_only=True)]

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def chromium() -> Path:
    return CHROMIUM.ensure()


@simulated(start=NOON)
async def hostile_report(world: World) -> Report:
    """Of a broker whose symbols hold markup, and a word that fits no line."""
    fields = json.dumps({"type": HOSTILE, "timezone": "x" * 500}, separators=(",", ":"))
    return await examine(world, f"symbol-fields={fields}", "history=unsorted")


@pytest.fixture
def report() -> Report:
    """Out here, since a simulation has a loop of its own."""
    return hostile_report()


async def test_a_report_is_readable_loads_nothing_and_runs_nothing(chromium: Path, report: Report, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(report), encoding="utf-8")
    unpacked = chromium / "unpacked"  # the browser comes compressed, and this takes a while
    unpacked.mkdir(exist_ok=True)
    variables = {"TMPDIR": str(unpacked), "HOME": str(tmp_path)}
    async with running(chromium, "read_report.mjs", tmp_path, variables) as program:
        await program.tell(modules=str(chromium), url=page.as_uri())
        started = await program.step("started")
        if "problem" in started:
            pytest.skip(f"this machine cannot run Chromium: {started['problem']}")
        steps = {step["step"]: step for step in await program.rest()}
    for screen in ("desktop", "phone"):
        seen = steps[screen]
        assert seen["title"] == f"Preflight of {report.target}: 4 findings"
        assert seen["rows"] == len(RULES)
        assert seen["headings"][:2] == ["Preflight: 4 findings", "Findings"]
        assert "history.time-increasing" in seen["text"]
        assert HOSTILE[:40] in seen["text"]  # as a text
        assert seen["scripts"] == 0
        assert not seen["overflows"]
        assert seen["color"] == "rgb(179, 38, 30)"
    assert set(steps["loaded"]["requests"]) == {page.as_uri()}
    assert steps["loaded"]["complaints"] == []
