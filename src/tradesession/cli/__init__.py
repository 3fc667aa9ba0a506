"""The command line: it presents what the library does, and decides nothing itself."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command that `sys.argv` names; the exit code."""
    try:
        import rich
        import typer
    except ImportError as error:
        sys.stderr.write(f"error: {error.name} is not installed: the command line needs an extra, pip install 'tradesession[cli]'\n")
        return 2
    del rich, typer
    from tradesession.cli.app import run

    return run(sys.argv[1:])
