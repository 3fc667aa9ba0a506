"""The command line: it presents what the library does, and decides nothing itself."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command that `sys.argv` names; the exit code."""
    try:
        from tradesession.cli.app import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tradesession"):
            raise
        sys.stderr.write(f"error: {error.name} is not installed, and the command line needs it: pip install 'tradesession[cli]'\n")
        return 2
    return run(sys.argv[1:])
