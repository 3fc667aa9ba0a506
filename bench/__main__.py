"""The command: `scripts/bench [NAME…] [--quick] [--json]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Final

from bench.hub import hub
from bench.openapi import events, growth, requests
from bench.results import Options, Result, as_json, as_table
from bench.sessions import connect, idle, recovery
from bench.subjects import say
from bench.tokens import token

BENCHES: Final[Mapping[str, Callable[[Options], list[Result]]]] = {
    "events": events,
    "requests": requests,
    "connect": connect,
    "recovery": recovery,
    "idle": idle,
    "growth": growth,
    "token": token,
    "hub": hub,
}


def main(arguments: list[str]) -> int:
    """Run the benches that are named, or all; the exit code."""
    names = ", ".join(BENCHES)
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures side by side what things cost: ours, others', the floor.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones, of {names}; all of them without a name")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: to see that it works, not for figures")
    parser.add_argument("--json", action="store_true", help="a list of objects on stdout instead of a table")
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in BENCHES:
            parser.error(f"there is no bench {name!r}; there are {names}")
    told: list[Result] = []
    for name in given.names or BENCHES:
        say(f"{name} …")
        found = BENCHES[name](Options(quick=given.quick))
        told += found
        if not given.json:
            print(as_table(found), flush=True)
    if given.json:
        print(as_json(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
