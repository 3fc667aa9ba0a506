"""The Python of the platforms' pages and sections: every block passes mypy strict as it stands, and runs against the sandbox."""

import ast
import asyncio
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tradesession.cli.sandbox import variables
from tradesession.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHER = re.compile(r"^from tradesession import (?:\w+, )*(?:cplugin|tradingview|b2core)$", re.MULTILINE)
"""What only the blocks of other platforms than cTrader begin with."""
OWN = ("ctrader.md", "tokens.md")
"""The pages all of whose blocks are looked after here."""
ELSEWHERE = ("README.md", "observability.md", "sandbox-", "sessions.md", "signalr.md", "tradingview.md")
"""The pages whose other blocks are looked after by tests of their own."""


def blocks_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


BLOCKS = [block for page in PAGES for block in blocks_of(page) if page.name in OWN or OTHER.search(block)]
MODULES = {
    page.stem.replace("-", "_"): block for page in PAGES if page.name.startswith(("sandbox-", "sessions.md")) for block in blocks_of(page)
}


def as_function(block: str, name: str) -> str:
    return f"async def {name}() -> None:\n" + textwrap.indent(block, "    ")


def test_no_block_is_left_out() -> None:
    assert [block for page in PAGES if not page.name.startswith(ELSEWHERE) for block in blocks_of(page) if block not in BLOCKS] == []


def test_every_block_passes_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    blocks = tmp_path / "blocks.py"
    blocks.write_text("\n\n".join(as_function(block, f"block_{number}") for number, block in enumerate(BLOCKS)))
    for name, module in MODULES.items():
        (tmp_path / f"{name}.py").write_text(module)
    # In a process of its own: its millions of objects would slow down every garbage collection of the tests behind it.
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", *map(str, sorted(tmp_path.glob("*.py")))]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{(OTHER.findall(block) or ['ctrader'])[0].split()[-1]}-{len(block)}")
async def test_the_block_runs(block: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One that reads a stream is ended once it has printed something, unless it ends by itself."""
    is_reading = any(isinstance(node, ast.AsyncFor) for node in ast.walk(ast.parse(as_function(block, "example"))))
    async with Sandbox(seed=1) as sandbox:
        for name, value in variables(sandbox.describe()).items():
            monkeypatch.setenv(name, value)
        names: dict[str, Any] = {}
        exec(as_function(block, "example"), names)
        running = asyncio.ensure_future(names["example"]())
        async with asyncio.timeout(60):
            if is_reading:
                printed = 0
                while not running.done() and printed < 3:
                    await asyncio.wait([running], timeout=0.05)
                    printed += capsys.readouterr().out.count("\n")
            else:
                await asyncio.wait([running])
        assert running.done() or is_reading, running
        running.cancel()
        outcome = (await asyncio.gather(running, return_exceptions=True))[0]
        assert outcome is None or (is_reading and isinstance(outcome, asyncio.CancelledError)), outcome
