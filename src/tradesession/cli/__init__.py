"""The command line: it presents what the library does, and decides nothing itself."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command that `sys.argv` names; the exit code. To be told to stop (SIGTERM) is to be interrupted: in order, and saving."""
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        try:
            from tradesession.cli.app import run
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("tradesession"):
                raise
            sys.stderr.write(f"error: {error.name} is not installed, and the command line needs it: pip install 'tradesession[cli]'\n")
            return 2
        return run(sys.argv[1:])
    except KeyboardInterrupt:  # while it was loading, or at its end
        sys.stderr.write("error: interrupted\n")
        return 130
