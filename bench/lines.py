"""How the driver and its programs talk: one JSON object a line, a command on stdin and its answer on stdout.

Runs in the environments of the foreign clients too, on Pythons from 3.10 on; may import nothing but the standard library.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def read_command() -> dict[str, Any] | None:
    """The next command; None when there are no more."""
    line = sys.stdin.readline()
    command: dict[str, Any] | None = json.loads(line) if line.strip() else None
    return command


def answer(**values: Any) -> None:
    """Answer the command."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
