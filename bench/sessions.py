"""What whole sessions cost: from nothing to READY, from a loss to READY again, and while nothing happens.

The floor is a bare asyncio.Protocol that sends the same messages of the handshake, all accounts at once. Neither side keeps to the quotas
of real servers here, which let 50 requests a second pass: there, a hundred accounts take two seconds, whoever asks.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from bench.results import Options, Result, results
from bench.subjects import Running, Subject, alternate, at_work, on_uvloop, python_program

SIZES: Final = (1, 10, 100)
FLOOR: Final = Subject("floor: bare asyncio.Protocol", "programs.floor")
SESSION: Final = Subject("tradesession.connect()", "programs.sessions")


def connect(options: Options) -> list[Result]:
    """From nothing to READY, with 1, 10 and 100 accounts."""
    rounds = options.pick(3, 15)
    told: list[Result] = []
    subjects = [FLOOR, SESSION]
    with (
        python_program("programs.server") as server,
        at_work([*subjects, *on_uvloop(subjects)], port=server.answer()["port"]) as running,
    ):
        for accounts in SIZES:

            def measure(one: Running, accounts: int = accounts) -> float:
                return 1e3 * float(one.ask(do="connect", accounts=accounts)["seconds"])

            found = alternate(running, rounds, measure)
            told += results("connect", f"ms to READY, {_accounts(accounts)}", found, base=FLOOR.name)
    return told


def recovery(options: Options) -> list[Result]:
    """From the loss of the connection to READY again. The wait before the attempt, random below a second, is most of it, and is meant."""
    rounds = options.pick(2, 9)
    told: list[Result] = []
    with python_program("programs.server") as server, at_work([FLOOR, SESSION], port=server.answer()["port"]) as (floor, session):
        for accounts in SIZES:
            waits: list[float] = []

            def measure(one: Running, accounts: int = accounts, waits: list[float] = waits) -> float:
                if one is floor:
                    return 1e3 * float(one.ask(do="connect", accounts=accounts)["seconds"])
                session.ask(do="lose", accounts=accounts)
                server.ask(do="cut")
                answer = session.program.answer()
                waits.append(1e3 * answer["waited"])
                return 1e3 * float(answer["seconds"]) - waits[-1]

            found = alternate([floor, session], rounds, measure)
            own = found[SESSION.name]
            rows = {
                FLOOR.name + ", connecting": found[FLOOR.name],
                "session, without its wait": own,
                "session": [mine + waited for mine, waited in zip(own, waits[1:], strict=True)],
            }
            told += results("recovery", f"ms from loss to READY, {_accounts(accounts)}", rows, base=FLOOR.name + ", connecting")
    return told


def idle(options: Options) -> list[Result]:
    """Memory and CPU time of sessions on which nothing happens but a heartbeat a second each way, ten times as many as by default."""
    rounds, seconds = options.pick((1, 3.0), (3, 10.0))
    memory: dict[int, dict[str, list[float]]] = {size: {} for size in SIZES}
    cpu: dict[int, dict[str, list[float]]] = {size: {} for size in SIZES}
    with ExitStack() as stack:
        for _ in range(rounds):
            server = stack.enter_context(python_program("programs.server"))
            port = server.answer()["port"]
            server.ask(do="answer heartbeats")
            for size in SIZES:
                with at_work([FLOOR, SESSION], port=port) as running:
                    for one in running:
                        one.program.tell(do="idle", sessions=size, seconds=seconds)
                    for one in running:
                        answer = one.program.answer()
                        name = one.subject.name
                        memory[size].setdefault(name, []).append(answer["bytes"] / size / 1024)
                        cpu[size].setdefault(name, []).append(answer["cpu"] / size / seconds * 60 * 1e3)
    return [
        one
        for unit, figures in (("KiB of Python's memory per session", memory), ("ms CPU per session and minute", cpu))
        for size in SIZES
        for one in results("idle", f"{unit}, {size} idle", figures[size], base=FLOOR.name)
    ]


def _accounts(count: int) -> str:
    return f"{count} account{'s' if count > 1 else ''}"
