"""Foreign programs at work: started with facts on stdin, watched by the steps they report as JSON lines on stdout.

Always holds: when the block is left the program has ended, by itself or because it was killed; what it complained of on stderr stands in
the failure of the test.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

SCRIPTS: Final = Path(__file__).parent / "scripts"
STEP_TIMEOUT: Final = 30.0
"""Seconds for one step. The slowest foreign client needs three, on an idle machine."""

Step = dict[str, Any]


class Program:
    """A running script."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.steps: list[Step] = []
        """Everything reported so far, in order."""

    async def tell(self, **facts: Any) -> None:
        """One line of facts."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(facts).encode() + b"\n")
        await self._process.stdin.drain()

    async def step(self, name: str) -> Step:
        """The next step of this name; those before it are in `steps`."""
        while True:
            step = await self._next()
            assert step is not None, f"the program ended before step {name!r}, after {[step['step'] for step in self.steps]}"
            if step["step"] == name:
                return step

    async def rest(self) -> list[Step]:
        """Every step, once the program has ended, which it must have done well."""
        while await self._next() is not None:
            pass
        async with asyncio.timeout(STEP_TIMEOUT):
            status = await self._process.wait()
        assert status == 0, f"the program ended with status {status}, after {[step['step'] for step in self.steps]}"
        return self.steps

    async def end(self) -> list[Step]:
        """Close the program's stdin, for one that ends then; every step."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return await self.rest()

    async def _next(self) -> Step | None:
        assert self._process.stdout is not None
        async with asyncio.timeout(STEP_TIMEOUT):
            line = await self._process.stdout.readline()
        if not line:
            return None
        step: Step = json.loads(line)
        self.steps.append(step)
        return step


@asynccontextmanager
async def running(place: Path, script: str, directory: Path, variables: Mapping[str, str] | None = None) -> AsyncIterator[Program]:
    """Run a script of `scripts/` with no environment but `variables`; its stderr goes to a file in `directory`.

    `place` is the interpreter of a Python environment, or for a script of Node the directory of its modules.
    """
    command: list[str | Path] = [place, "-B"] if script.endswith(".py") else [shutil.which("node") or "node"]
    complaints = directory / f"{script}.stderr"
    with complaints.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            str(SCRIPTS / script),
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **(variables or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    try:
        yield Program(process)
    except BaseException as error:
        error.add_note(f"stderr of {script}:\n{complaints.read_text(errors='replace')[-4000:]}")
        raise
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
