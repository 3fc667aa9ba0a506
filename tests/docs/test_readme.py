"""The README's Python about cTrader: every block passes mypy strict as it stands and runs against the sandbox."""

import ast
import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest

import tradesession
from tests.docs.test_platform_pages import OTHER, blocks_of
from tradesession import ctrader
from tradesession.ctrader.messages import ProtoOAClosePositionReq
from tradesession.sandbox import Sandbox

README = Path(__file__).parents[2] / "README.md"
HUB = "async with signalr.connect("
"""What the block about any hub has; test_signalr has that one."""
BLOCKS = [block for block in blocks_of(README) if not OTHER.search(block) and HUB not in block]
PROGRAMS = [block for block in BLOCKS if "asyncio.run" in block]
TESTS = [block for block in BLOCKS if "async def test_" in block]
SNIPPETS = [block for block in BLOCKS if block not in PROGRAMS + TESTS]

PREAMBLE = """
import tradesession
from tradesession import ctrader
from tradesession.ctrader.messages import ProtoOAClosePositionReq
"""
CONTEXT = "session: ctrader.Session, account: ctrader.Account, order: ProtoOAClosePositionReq"


def as_function(snippet: str, name: str) -> str:
    return f"async def {name}({CONTEXT}) -> None:\n" + textwrap.indent(snippet, "    ")


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert len(PROGRAMS) == 1
    assert len(TESTS) == 1
    assert len(SNIPPETS) == len(BLOCKS) - 2 >= 4


def test_every_block_passes_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    snippets = tmp_path / "snippets.py"
    snippets.write_text(PREAMBLE + "\n\n".join(as_function(snippet, f"snippet_{n}") for n, snippet in enumerate(SNIPPETS)))
    whole = [snippets]
    for number, block in enumerate(PROGRAMS + TESTS):
        whole.append(tmp_path / f"block_{number}.py")
        whole[-1].write_text(block)
    # In a process of its own: its millions of objects would slow down every garbage collection of the tests behind it.
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", *map(str, whole)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


async def test_the_ten_line_bot_prints_quotes(tmp_path: Path) -> None:
    async with Sandbox(seed=1) as sandbox:
        program = tmp_path / "bot.py"
        program.write_text(PROGRAMS[0])
        bot = await asyncio.create_subprocess_exec(
            sys.executable, "-u", str(program), env=os.environ | environment(sandbox), stdout=asyncio.subprocess.PIPE
        )
        assert bot.stdout is not None
        try:
            async with asyncio.timeout(60):
                lines = [(await bot.stdout.readline()).decode() for _ in range(4)]
        finally:
            bot.send_signal(signal.SIGKILL)
            await bot.communicate()
    for line in lines:
        assert re.fullmatch(r"(EURUSD|GBPUSD) \d\.\d{5} \d\.\d{5}\n", line)


async def test_the_test_of_a_bot_passes() -> None:
    names: dict[str, object] = {}
    exec(TESTS[0], names)
    test: Any = next(value for name, value in names.items() if name.startswith("test_"))
    await test()


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.splitlines()[0][:40])
async def test_the_snippet_runs(snippet: str) -> None:
    endless = any(isinstance(node, ast.AsyncFor) for node in ast.walk(ast.parse(textwrap.dedent(as_function(snippet, "f")))))
    async with Sandbox(seed=1) as sandbox, tradesession.connect(sandbox.ctrader.config()) as session:
        account = session.accounts[0]
        names = {"tradesession": tradesession, "ctrader": in_the_sandbox(sandbox), "ProtoOAClosePositionReq": ProtoOAClosePositionReq}
        exec(as_function(snippet, "example"), names)
        example: Any = names["example"]
        running = asyncio.ensure_future(
            example(session, account, ProtoOAClosePositionReq(ctidTraderAccountId=account.id, positionId=1, volume=1))
        )
        done, _ = await asyncio.wait([running], timeout=0.3 if endless else 60)
        assert bool(done) is not endless
        running.cancel()
        outcome = (await asyncio.gather(running, return_exceptions=True))[0]
        assert outcome is None or (endless and isinstance(outcome, asyncio.CancelledError))


def in_the_sandbox(sandbox: Sandbox) -> types.SimpleNamespace:
    """The package `ctrader`, whose configurations lead to the sandbox: one address for each environment has no variable."""
    return types.SimpleNamespace(**vars(ctrader) | {"Config": types.SimpleNamespace(from_env=sandbox.ctrader.config)})


def environment(sandbox: Sandbox) -> dict[str, str]:
    """What a bot of this machine would have set, to be let in by the sandbox."""
    config = sandbox.ctrader.config()
    host, port = config.endpoint
    facts = {
        "CLIENT_ID": config.client_id,
        "CLIENT_SECRET": tradesession.Secret(config.client_secret).reveal(),
        "ACCESS_TOKEN": tradesession.Secret(config.access_token or "").reveal(),
        "HOST": host,
        "PORT": str(port),
        "CA_FILE": str(config.ca_file),
        "ACCOUNTS": str(next(account.id for account in sandbox.ctrader.accounts if not account.is_live)),
    }
    return {f"TRADESESSION_CTRADER_{name}": value for name, value in facts.items()}
