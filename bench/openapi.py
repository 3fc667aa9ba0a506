"""The benches of the Open API's wire, all on the same tiny server: events, round trips, and how their cost grows.

The server runs in a process of its own and pushes spot events over plaintext loopback as fast as they are taken. The user of our session
has them from an `async for`, typed; `spots` also makes them quotes in decimals. The SDK's user has them in a callback and decodes them with
the SDK's helper, that of ctrader-api-client in an async handler.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from bench.driver import Program
from bench.results import Options, Result, results
from bench.subjects import Running, Subject, alternate, at_work, on_uvloop, python_program
from tests.interop.environments import API_CLIENT, OFFICIAL_SDK, OFFICIAL_SDK_CPP

FLOOR: Final = Subject("floor: bare asyncio.Protocol", "programs.floor")
EVENTS: Final = Subject("session.events()", "programs.ours")
SPOTS: Final = Subject("session.spots()", "programs.ours", 2, facts={"kind": "spots"})
REQUESTS: Final = Subject("session.request()", "programs.ours", 3)
RIVALS: Final = (
    Subject("official SDK, protobuf in C++", "foreign.official_sdk", 3, OFFICIAL_SDK_CPP),
    Subject("official SDK, protobuf in Python", "foreign.official_sdk", 20, OFFICIAL_SDK),
    Subject("ctrader-api-client", "foreign.api_client", 80, API_CLIENT),
)


def events(options: Options) -> list[Result]:
    """Events from the socket to the user: CPU time for each, of the client alone."""
    rounds, count = options.pick((5, 30_000), (15, 200_000))
    ours = [FLOOR, EVENTS, SPOTS]
    with _on_the_server([*ours, *on_uvloop(ours), *RIVALS]) as (server, running):
        found = alternate(running, rounds, lambda one: _cost_of_events(server, one, one.share(count)))
    return results("events", "µs CPU per event", found, base=FLOOR.name)


def requests(options: Options) -> list[Result]:
    """Round trips, one after the other and 50 in flight. The SDK looks into its queue once a second; measured is its way past the queue."""
    rounds, count = options.pick((3, 1_500), (9, 10_000))
    ours = [FLOOR, REQUESTS]
    told: list[Result] = []
    with _on_the_server([*ours, *on_uvloop(ours), *RIVALS]) as (_, running):
        for in_flight in (1, 50):
            cpu: dict[str, list[float]] = {}

            def measure(one: Running, in_flight: int = in_flight, cpu: dict[str, list[float]] = cpu) -> float:
                trips = max(one.share(count), 2 * in_flight)
                answer = one.ask(do="requests", count=trips, in_flight=in_flight)
                cpu.setdefault(one.subject.name, []).append(answer["cpu"] / trips * 1e6)
                return float(answer["seconds"]) / trips * 1e6

            found = alternate(running, rounds, measure)
            told += results("requests", f"µs per round trip, {in_flight} in flight", found, base=FLOOR.name)
            warm = {name: cpu[name][1:] for name in found}
            told += results("requests", f"µs CPU per round trip, {in_flight} in flight", warm, base=FLOOR.name)
    return told


def growth(options: Options) -> list[Result]:
    """How the cost of an event grows with subscriptions and with streams."""
    rounds, count = options.pick((3, 20_000), (9, 100_000))
    told: list[Result] = []
    for what, unit, sizes in (
        ("one stream, symbols: {}", "µs CPU per event", (1, 10, 100)),
        ("a symbol each, streams: {}", "µs CPU per event", (1, 10, 100)),
        ("the same events, streams: {}", "µs CPU per delivery", (1, 10, 100)),
    ):
        kind = "events" if "same" in what else "spots"
        subjects = [
            Subject(
                what.format(size),
                "programs.ours",
                size if kind == "events" else 1,
                facts={"kind": kind, "symbols": size if kind == "spots" else 1, "streams": 1 if what.startswith("one") else size},
            )
            for size in sizes
        ]
        with _on_the_server(subjects) as (server, running):
            found = alternate(running, rounds, lambda one: _cost_of_events(server, one, one.share(count)))
        told += results("growth", unit, found, base=subjects[0].name)
    return told


@contextmanager
def _on_the_server(subjects: Sequence[Subject]) -> Iterator[tuple[Program, list[Running]]]:
    with python_program("programs.server") as server, at_work(subjects, port=server.answer()["port"]) as running:
        yield server, running


def _cost_of_events(server: Program, one: Running, count: int) -> float:
    """Have that many events pushed; the CPU microseconds that the subject spent on each delivery of one."""
    symbols, deliveries = one.subject.facts.get("symbols", 1), count
    if one.subject.facts.get("kind") == "events":
        deliveries *= one.subject.facts.get("streams", 1)
    one.ask(do="events", count=deliveries)
    server.ask(do="push", connection=one.number, count=count, symbols=symbols)
    cpu: float = one.program.answer()["cpu"]
    return cpu / deliveries * 1e6
