"""The programs under measurement: each does what it is asked, and says what it took."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.driver import Program, ProgramFailed
from bench.hub import OURS as HUB
from bench.hub import RIVALS as HUB_RIVALS
from bench.openapi import EVENTS, FLOOR, REQUESTS, RIVALS, SPOTS
from bench.sessions import SESSION
from bench.subjects import HAS_UVLOOP, Running, Subject, alternate, at_work, on_uvloop, python_program
from bench.tokens import AUTHLIBS, KEEPER
from tests.interop.environments import Environment


@pytest.fixture
def server() -> Iterator[Program]:
    with python_program("programs.server") as server:
        yield server


def foreign(*subjects: Subject) -> list[object]:
    marks = (pytest.mark.interop, pytest.mark.timeout(300, func_only=True))
    return [pytest.param(one, marks=marks, id=one.name) for one in subjects]


def pushed(server: Program, one: Running, count: int, deliveries: int, symbols: int = 1) -> float:
    one.ask(do="events", count=deliveries)
    server.ask(do="push", connection=one.number, count=count, symbols=symbols)
    cpu: float = one.program.answer()["cpu"]
    return cpu


@pytest.mark.parametrize("subject", [FLOOR, EVENTS, SPOTS, *on_uvloop([SPOTS]), *foreign(*RIVALS)], ids=lambda one: one.name)
def test_every_event_that_is_pushed_arrives(server: Program, subject: Subject) -> None:
    made(subject)
    with at_work([subject], port=server.answer()["port"]) as (one,):
        for count in (1, 250):
            assert pushed(server, one, count, count) >= 0


@pytest.mark.parametrize("streams", [1, 5])
def test_events_of_several_symbols_reach_all_streams_of_them(server: Program, streams: int) -> None:
    quotes = Subject("quotes", "programs.ours", facts={"kind": "spots", "symbols": 5, "streams": streams})
    same = Subject("same", "programs.ours", facts={"streams": 5})
    with at_work([quotes, same], port=server.answer()["port"]) as (first, second):
        assert pushed(server, first, 50, 50, symbols=5) >= 0
        assert pushed(server, second, 50, 250) >= 0


@pytest.mark.parametrize("subject", [FLOOR, REQUESTS, *foreign(*RIVALS)], ids=lambda one: one.name)
def test_requests_are_answered_one_after_the_other_and_side_by_side(server: Program, subject: Subject) -> None:
    made(subject)
    with at_work([subject], port=server.answer()["port"]) as (one,):
        for in_flight in (1, 10):
            assert one.ask(do="requests", count=20, in_flight=in_flight)["seconds"] > 0


@pytest.mark.parametrize("accounts", [1, 10])
def test_sessions_get_to_ready_and_back_to_it(server: Program, accounts: int) -> None:
    with at_work([FLOOR, SESSION], port=server.answer()["port"]) as (floor, session):
        for one in (floor, session):
            assert one.ask(do="connect", accounts=accounts)["seconds"] > 0
        session.ask(do="lose", accounts=accounts)
        server.ask(do="cut")
        answer = session.program.answer()
        assert answer["seconds"] >= answer["waited"] > 0


def test_idle_sessions_are_weighed(server: Program) -> None:
    with at_work([FLOOR, SESSION], port=server.answer()["port"]) as running:
        server.ask(do="answer heartbeats")
        for one in running:
            answer = one.ask(do="idle", sessions=3, seconds=0.01)
            assert (answer["opened"], answer["bytes"] > 0, answer["cpu"] >= 0) == (3, True, True)


@pytest.mark.parametrize("subject", [KEEPER, *foreign(AUTHLIBS)], ids=lambda one: one.name)
def test_tokens_are_handed_out(subject: Subject) -> None:
    made(subject)
    with at_work([subject]) as (one,):
        assert one.ask(do="calls", count=10)["seen"] == 10


@pytest.mark.parametrize("subject", [HUB, *on_uvloop([HUB]), *foreign(*HUB_RIVALS)], ids=lambda one: one.name)
def test_every_item_of_a_hubs_stream_arrives(subject: Subject) -> None:
    made(subject)
    with python_program("programs.hub_server") as server, at_work([subject], port=server.answer()["port"]) as (one,):
        for count in (1, 2_500):
            answer = one.ask(do="items", count=count)
            assert (answer["seen"], answer["seconds"] > 0, answer["cpu"] >= 0) == (count, True, True)


def made(subject: Subject) -> None:
    """Make its environment, or skip."""
    if subject.environment is not None:
        subject.environment.ensure()


# --- the harness --------------------------------------------------------------------------------------------------------------------


def test_what_a_machine_lacks_is_left_out_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = Subject("nobody's", "programs.token", environment=Environment("nobody", ("a-package==1",), ("2.99",)))
    with at_work([nobody, KEEPER]) as running:
        assert [(one.subject.name, one.number) for one in running] == [(KEEPER.name, 0)]
    assert "left out: nobody's: a-package==1 want Python 2.99" in capsys.readouterr().err


class Anybody(Environment):
    """Our own Python, as if it were somebody else's."""

    def make(self) -> Path:
        return Path(sys.executable)


def test_a_foreign_program_that_breaks_is_left_out_and_one_of_ours_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = Anybody("anybody", (), ())
    broken = Subject("broken", "programs.nothing", environment=theirs)
    breaks = Subject("breaks", "programs.token", environment=theirs)
    with at_work([broken, KEEPER, breaks]) as running:
        assert [one.subject for one in running] == [KEEPER, breaks]

        def measure(one: Running) -> float:
            return float(one.ask(do="calls" if one.subject is KEEPER else "nothing it knows", count=1)["seen"])

        assert alternate(running, 2, measure) == {KEEPER.name: [1.0, 1.0]}
    told = capsys.readouterr().err
    assert "left out: broken: " in told
    assert "left out: breaks: " in told
    with pytest.raises(ProgramFailed, match=r"programs\.nothing"), at_work([Subject("ours", "programs.nothing")]):
        pass


def test_rounds_alternate_and_the_first_one_does_not_count() -> None:
    with at_work([KEEPER, Subject("heavier", "programs.token", 10)]) as running:
        order: list[str] = []

        def measure(one: Running) -> float:
            order.append(one.subject.name)
            return float(len(order))

        found = alternate(running, 2, measure)
        assert order == 3 * [KEEPER.name, "heavier"]
        assert found == {KEEPER.name: [3.0, 5.0], "heavier": [4.0, 6.0]}
        assert [one.share(5_000) for one in running] == [5_000, 500]


@pytest.mark.skipif(not HAS_UVLOOP, reason="uvloop is not installed")
def test_on_uvloop_are_the_same_programs_with_the_loop_among_their_facts() -> None:
    (fast,) = on_uvloop([SPOTS])
    assert (fast.program, dict(fast.facts)) == (SPOTS.program, {"kind": "spots", "loop": "uvloop"})


def test_a_program_that_ends_is_an_error_and_one_that_hangs_is_killed(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("print('a word'); raise SystemExit(3)")
    with Program([sys.executable, str(tmp_path / "ends.py")]) as program, pytest.raises(ProgramFailed, match="ended with 3"):
        program.ask(do="anything")
    (tmp_path / "goes_on.py").write_text("import time\nprint('{}', flush=True)\nwhile True: time.sleep(1)")
    with Program([sys.executable, str(tmp_path / "goes_on.py")], goodbye=0.1) as program:
        assert program.answer() == {}
    with Program([sys.executable, str(tmp_path / "goes_on.py")], patience=1.0) as program:
        program.ask(do="anything")
        with pytest.raises(ProgramFailed, match="ended with -9"):
            program.answer()
