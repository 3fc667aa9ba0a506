"""The examples of docs/tradingview.md: every block passes mypy strict and runs against the sandboxed broker."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import tradesession
from tradesession import tradingview
from tradesession.sandbox import Sandbox

PAGE = (Path(__file__).parents[2] / "docs" / "tradingview.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
NAMES = ("session", "base_url", "secret", "ca_file", "config", "credentials")
CONTEXT = (
    "session: tradingview.Session, base_url: str, secret: str, ca_file: str, config: tradingview.Config, "
    "credentials: dict[str, tradingview.ServerOAuth2Bearer]"
)


def as_function(block: str, name: str) -> str:
    return f"async def {name}({CONTEXT}) -> None:\n" + textwrap.indent(block, "    ")


def test_every_block_passes_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    assert len(BLOCKS) == 4
    file = tmp_path / "blocks.py"
    functions = "\n\n".join(as_function(block, f"block_{number}") for number, block in enumerate(BLOCKS))
    file.write_text(f"import tradesession\nfrom tradesession import tradingview\n\n{functions}")
    finished = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(file)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0][:40])
async def test_the_block_runs(block: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    endless = any(isinstance(node, ast.AsyncFor) for node in ast.walk(ast.parse(as_function(block, "f"))))
    async with Sandbox(seed=1) as sandbox:
        server = sandbox.tradingview
        key_file, certificate_file = server.key_files()
        monkeypatch.setenv("TRADESESSION_STORE", "memory:")
        monkeypatch.chdir(key_file.parent)
        Path("key.pem").symlink_to(key_file)
        Path("certificate.pem").symlink_to(certificate_file)
        credential = server.credentials[0]
        credential.client_id, credential.app_url = "client-1", "https://app.example"
        async with tradesession.connect(server.config()) as session:
            values: dict[str, Any] = {
                "session": session,
                "base_url": server.base_url,
                "secret": credential.client_secret,
                "ca_file": str(server.ca_file),
                "config": server.config(),
                "credentials": {str(slot): server.config(slot).auth for slot in range(1, 5)},
            }
            names: dict[str, Any] = {"tradesession": tradesession, "tradingview": tradingview}
            exec(as_function(block, "example"), names)
            running = asyncio.ensure_future(names["example"](**{name: values[name] for name in NAMES}))
            if endless:
                await sandbox.clock.advance(seconds=3)
            done, _ = await asyncio.wait([running], timeout=0.3 if endless else 60)
            assert bool(done) is not endless
            running.cancel()
            outcome = (await asyncio.gather(running, return_exceptions=True))[0]
            assert outcome is None or (endless and isinstance(outcome, asyncio.CancelledError)), repr(outcome)
    assert capsys.readouterr().out, "each of them prints something"
