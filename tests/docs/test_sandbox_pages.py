"""The pages about the sandbox: their tests pass, and their tables of faults are those that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tradesession.sandbox import known_faults

DOCS = Path(__file__).parents[2] / "docs"
PLATFORMS = sorted(page.stem.removeprefix("sandbox-") for page in DOCS.glob("sandbox-*.md"))


def page_of(platform: str) -> Path:
    return DOCS / f"sandbox-{platform}.md"


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_the_test_on_the_page_passes(platform: str) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", page_of(platform).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(block, names)
    await next(value for name, value in names.items() if name.startswith("test_"))()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_page_lists_every_fault(platform: str) -> None:
    table = re.findall(
        r"^\| `([a-z0-9-]+)` \| (.+) \|$", page_of(platform).read_text(encoding="utf-8").partition("| fault |")[2], re.MULTILINE
    )
    assert dict(table) == known_faults()[platform]
