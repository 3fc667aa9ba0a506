"""Items of a SignalR stream from the socket to the user's `async for`, or to the callback of those who have none.

Measured are the client's CPU time for each, and how many it takes in a second. All clients are on the same small server; JSON, each item in
a WebSocket message of its own.
"""

from __future__ import annotations

from typing import Final

from bench.results import Options, Result, results
from bench.subjects import Running, Subject, alternate, at_work, on_uvloop, python_program
from tests.interop.environments import AIOSIGNALR, PYSIGNALR, SIGNALR_JS, SIGNALRCORE

OURS: Final = Subject("tradesession.signalr", "programs.hub")
RIVALS: Final = (
    Subject("aiosignalr", "foreign.aiosignalr", 1, AIOSIGNALR),
    Subject("pysignalr", "foreign.pysignalr", 2, PYSIGNALR),
    Subject("signalrcore", "foreign.signalrcore", 4, SIGNALRCORE),
    Subject("@microsoft/signalr in node", "foreign/signalr.cjs", 1, SIGNALR_JS),
)


def hub(options: Options) -> list[Result]:
    """Each client in turn, round after round; the ratio is to the best of the other Python ones."""
    rounds, count = options.pick((3, 5_000), (9, 40_000))
    rates: dict[str, list[float]] = {}

    def measure(one: Running) -> float:
        items = one.share(count)
        answer = one.ask(do="items", count=items)
        if answer["seen"] != items:
            raise RuntimeError(f"{one.subject.name} saw {answer['seen']} of {items} items")
        rates.setdefault(one.subject.name, []).append(items / answer["seconds"])
        cpu: float = answer["cpu"]
        return cpu / items * 1e6

    with (
        python_program("programs.hub_server") as server,
        at_work([OURS, *on_uvloop([OURS]), *RIVALS], port=server.answer()["port"]) as running,
    ):
        found = alternate(running, rounds, measure)
    python_rivals = [one.name for one in RIVALS if one.environment is not SIGNALR_JS]
    return [
        *results("hub", "µs CPU per item", found, best_of=python_rivals),
        *results("hub", "items per second", {name: figures[1:] for name, figures in rates.items()}, best_of=python_rivals, most=True),
    ]
