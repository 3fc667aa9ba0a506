"""The command line: it presents what the library does, and decides nothing itself."""

from __future__ import annotations

import os
import signal
import sys

from tradesession.errors import ConfigurationError


def main() -> int:
    """Run the command that `sys.argv` names; the exit code.

    To be told to stop (SIGTERM), or to lose the terminal (SIGHUP), is to be interrupted: in order, and saving.
    """
    # A background job of a shell without job control begins with SIGINT ignored, and then nothing would end it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, _interrupt)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere  # None where whoever started us has closed them
        try:
            return _run()
        except KeyboardInterrupt:  # while it was loading, or at its end
            sys.stderr.write("error: interrupted\n")
            return 130


def _interrupt(number: int, frame: object) -> None:
    signal.raise_signal(signal.SIGINT)


def _run() -> int:
    try:
        from tradesession.cli.app import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tradesession"):
            raise
        sys.stderr.write(f"error: {error.name} is not installed, and the command line needs it: pip install 'tradesession[cli]'\n")
        return 2
    except ConfigurationError as error:  # of another extra
        sys.stderr.write(f"error: {error}\n")
        return 2
    return run(sys.argv[1:])
