"""The table of states: complete, printable, and the only judge."""

from __future__ import annotations

import itertools
import runpy

import pytest

from tradesession.session import states
from tradesession.session.states import TRANSITIONS, SessionState, check, diagram, furthest_from_ready


def test_every_state_is_in_the_table_and_reachable_and_leads_to_the_end() -> None:
    assert set(TRANSITIONS) == set(SessionState)
    assert set().union(*TRANSITIONS.values()) | {SessionState.IDLE} == set(SessionState)
    for state in SessionState:
        seen = {state}
        while more := set().union(*(TRANSITIONS[each] for each in seen)) - seen:
            seen |= more
        assert SessionState.CLOSED in seen


@pytest.mark.parametrize(("before", "after"), list(itertools.product(SessionState, SessionState)))
def test_only_the_ways_of_the_table_are_allowed(before: SessionState, after: SessionState) -> None:
    if after in TRANSITIONS[before]:
        check(before, after)
    else:
        with pytest.raises(AssertionError, match=f"does not go from {before.value} to {after.value}"):
            check(before, after)


def test_the_end_is_the_end_and_ready_is_reached_step_by_step() -> None:
    assert TRANSITIONS[SessionState.CLOSED] == frozenset()
    assert [state for state in SessionState if SessionState.READY in TRANSITIONS[state]] == [SessionState.RESTORING]


def test_a_session_of_several_links_stands_where_the_worst_of_them_stands() -> None:
    assert furthest_from_ready([]) is SessionState.IDLE
    assert furthest_from_ready([SessionState.READY]) is SessionState.READY
    assert furthest_from_ready([SessionState.READY, SessionState.BACKOFF, SessionState.CONNECTING]) is SessionState.BACKOFF
    assert furthest_from_ready(SessionState) is SessionState.CLOSED


def test_the_table_is_printed_as_a_diagram_when_the_module_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(states.__file__, run_name="__main__")
    assert capsys.readouterr().out.strip() == diagram()
    ways = [line.split(" --> ") for line in diagram().splitlines() if " --> " in line and "[*]" not in line]
    assert {(before.strip(), after) for before, after in ways} == {
        (before.value, after.value) for before, afters in TRANSITIONS.items() for after in afters
    }
