"""From one connection to another: every item once, in order, however the two race."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tradesession.protocol import handover
from tradesession.protocol.handover import Handover


def plain(item: int) -> int:
    return item


@st.composite
def races(draw: st.DrawFn, *, both_from_the_beginning: bool = False) -> tuple[int, list[tuple[str, int]]]:
    """Items 0 … n-1; the old side brings a first part, the new one the rest and some of it, each in order, at any pace to each other."""
    total = draw(st.integers(0, 12))
    end = draw(st.integers(0, total))
    begin = 0 if both_from_the_beginning else draw(st.integers(0, end))
    old = [("old", item) for item in range(end)] + [("end", 0)]
    new = [("new", item) for item in range(begin, total)]
    return total, draw(interleaved(old, new))


@st.composite
def interleaved(draw: st.DrawFn, left: list[tuple[str, int]], right: list[tuple[str, int]]) -> list[tuple[str, int]]:
    sides = draw(st.permutations(["left"] * len(left) + ["right"] * len(right)))
    walks = {"left": iter(left), "right": iter(right)}
    return [next(walks[side]) for side in sides]


def play(between: Handover[int], race: list[tuple[str, int]]) -> list[int]:
    out: list[int] = []
    for what, item in race:
        if what == "old":
            out += between.from_old(item)
        elif what == "new":
            out += [item] if between.is_over else between.from_new(item)
        else:
            out += between.end_old()
    return out


@given(races())
def test_whatever_the_race_the_sequence_comes_out(race: tuple[int, list[tuple[str, int]]]) -> None:
    total, events = race
    assert play(Handover(plain), events) == list(range(total))


@given(races(), st.integers(1, 3))
def test_older_items_that_a_new_connection_begins_with_are_hidden_once_the_two_are_aligned(
    race: tuple[int, list[tuple[str, int]]], older: int
) -> None:
    total, events = race
    first = next((place for place, (what, _) in enumerate(events) if what == "new"), len(events))
    events[first:first] = [("new", item) for item in range(-older, 0)]  # a last known price or two, from long ago
    out = play(Handover(plain), events)
    assert [item for item in out if item >= 0] == list(range(total))
    before_the_end = events[: events.index(("end", 0))]
    if any(("new", item) in before_the_end for what, item in before_the_end if what == "old"):
        assert out == list(range(total))


@given(races(both_from_the_beginning=True), st.integers(1, 4))
def test_items_that_look_the_same_all_come_out(race: tuple[int, list[tuple[str, int]]], looks: int) -> None:
    total, events = race
    assert play(Handover(lambda item: item % looks), events) == list(range(total))


@given(st.data())
def test_a_connection_that_is_replaced_while_it_is_behind_the_one_before_it_doubles_nothing(data: st.DataObject) -> None:
    total = data.draw(st.integers(0, 12))
    last_of_second = data.draw(st.integers(0, total))
    last_of_first = data.draw(st.integers(0, last_of_second))
    second = iter([("new", item) for item in range(data.draw(st.integers(0, last_of_first)), last_of_second)])
    meanwhile = list(itertools.islice(second, data.draw(st.integers(0, total))))
    first = Handover(plain)
    out = play(first, [*data.draw(interleaved([("old", item) for item in range(last_of_first)], meanwhile)), ("end", 0)])
    out += play(first, list(itertools.islice(second, data.draw(st.integers(0, total)))))
    third = [("new", item) for item in range(data.draw(st.integers(len(out), max(len(out), last_of_second))), total)]
    events = data.draw(interleaved([*(("old", item) for _, item in second), ("end", 0)], third))
    assert out + play(Handover(plain, out[-1:], first), events) == list(range(total))


def test_what_a_handover_of_long_ago_still_expected_is_not_looked_for_any_more() -> None:
    first: Handover[int] = Handover(lambda item: item % 2)
    assert [first.from_old(1), first.end_old()] == [[1], []]
    second, third = (Handover(lambda item: item % 2, last=[1], before=before) for before in (first, None))
    second.settle(third)  # that is another one
    assert second.from_old(3) == []  # taken for the 1 that the first one expects
    assert first.from_old(5) == [5]
    second.settle(first)
    assert second.from_old(7) == [7]


def test_an_item_like_the_last_one_before_is_not_taken_for_it() -> None:
    between = Handover(lambda item: item % 2, last=[1])
    assert [between.from_old(2), between.from_new(2), between.from_old(3), between.end_old()] == [[2], [], [3], []]
    assert [between.from_new(3), between.from_new(5)] == [[], [5]]


def test_the_old_side_may_go_once_it_is_clear_that_the_new_one_goes_on() -> None:
    between = Handover(plain, last=[4])
    assert (between.is_aligned, between.is_over) == (False, False)
    assert between.from_new(6) == []
    assert between.from_old(5) == [5]
    aligned_before = between.is_aligned
    assert between.from_new(7) == []
    assert between.from_old(6) == [6, 7]
    assert (aligned_before, between.is_aligned) == (False, True)
    assert between.from_old(7) == []
    assert between.from_old(8) == [8]
    assert between.end_old() == []
    assert between.from_new(8) == []
    for item in range(9, 9 + handover.SETTLED):
        assert not between.is_over
        assert between.from_new(item) == [item]
    assert between.is_over


def test_a_new_side_that_is_behind_is_aligned_with_its_first_known_item() -> None:
    between = Handover(plain)
    assert [between.from_old(item) for item in (1, 2, 3)] == [[1], [2], [3]]
    assert between.from_new(2) == []
    assert between.is_aligned
    assert [between.from_new(item) for item in (3, 4)] == [[], [4]]
    assert between.from_old(4) == []


def test_items_that_the_two_sides_get_in_different_order_are_not_lost() -> None:
    between = Handover(plain)
    between.from_new(20)  # the new side has 20 before 10, the old one the other way round
    between.from_new(10)
    assert between.from_old(10) == [10]
    assert between.from_old(20) == [20]


def test_memory_has_an_end() -> None:
    between = Handover(plain)
    for item in range(handover.REMEMBERED):
        assert not between.is_full
        between.from_new(item)
    assert between.is_full
    assert between.end_old() == list(range(handover.REMEMBERED))
    assert between.from_new(handover.REMEMBERED) == [handover.REMEMBERED]
    assert between.from_new(0) == [0]  # forgotten by now
