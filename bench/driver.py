"""Programs under measurement: started, asked, and ended by closing their stdin.

Always holds: when the block is left, every program has ended, by itself or because it was killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[1]
GOODBYE: Final = 10.0
"""Seconds that a program has to end."""
PATIENCE: Final = 300.0
"""Seconds that it has for an answer."""


class ProgramFailed(RuntimeError):
    """A program ended before it answered; what it complained of stands on stderr."""


class Program:
    """A command that runs in a process of its own, says what it is asked for on stdout, and ends with the `with` block."""

    def __init__(self, command: Sequence[str], *, patience: float = PATIENCE, goodbye: float = GOODBYE) -> None:
        self._command = command
        self._patience = patience
        self._goodbye = goodbye
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": ""}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its answer. Raises ProgramFailed."""
        self.tell(**command)
        return self.answer()

    def tell(self, **command: Any) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: whoever waits for the answer hears of it

    def answer(self) -> dict[str, Any]:
        """The next answer. Raises ProgramFailed, also when it does not come: the program is killed then."""
        assert self._process.stdout is not None
        patience = threading.Timer(self._patience, self._process.kill)
        patience.start()
        try:
            while line := self._process.stdout.readline():
                if line.startswith("{"):  # clients print things of their own
                    answered: dict[str, Any] = json.loads(line)
                    return answered
        finally:
            patience.cancel()
        raise ProgramFailed(f"{' '.join(self._command)} ended with {self._process.wait(self._goodbye)} before it answered")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(self._goodbye)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
        finally:
            self._process.wait()
            self._process.stdout.close()
