"""Medians, ratios, and how they are shown."""

from __future__ import annotations

import json
from math import isnan

import pytest

from bench.results import UVLOOP, Options, Result, as_json, as_table, results

ROUNDS = {"floor": [3.0, 1.0, 2.0], "ours": [30.0, 3.0, 2.5], "other": [4.0, 4.0]}


def ratios(found: list[Result]) -> dict[str, float]:
    return {one.subject: one.ratio for one in found}


def test_values_are_medians_and_ratios_are_to_the_base() -> None:
    found = results("b", "µs", ROUNDS, base="floor")
    assert [(one.bench, one.subject, one.value, one.unit) for one in found] == [
        ("b", "floor", 2.0, "µs"),
        ("b", "ours", 3.0, "µs"),
        ("b", "other", 4.0, "µs"),
    ]
    assert ratios(found) == {"floor": 1.0, "ours": 1.5, "other": 2.0}


def test_without_a_floor_ratios_are_to_the_best_of_the_rivals_that_ran() -> None:
    assert ratios(results("b", "µs", ROUNDS, best_of=["floor", "other", "absent"])) == {"floor": 1.0, "ours": 1.5, "other": 2.0}
    assert ratios(results("b", "a second", ROUNDS, best_of=["floor", "other"], most=True)) == {"floor": 0.5, "ours": 0.75, "other": 1.0}


def test_where_the_base_did_not_run_or_is_nothing_a_ratio_means_nothing() -> None:
    for found in (results("b", "µs", {"ours": [1.0], "none": []}, base="absent"), results("b", "µs", {"ours": [0.0]}, base="ours")):
        assert [isnan(one.ratio) for one in found] == [True]
        assert json.loads(as_json(found))[0]["ratio"] is None
        assert "nan" not in as_table(found)


def test_json_is_a_list_of_objects_of_five_members() -> None:
    found = results("b", "µs", {"ours": [1 / 3], "floor": [1.0]}, base="floor")
    assert json.loads(as_json(found)) == [
        {"bench": "b", "subject": "ours", "value": 0.33333, "unit": "µs", "ratio": 0.33333},
        {"bench": "b", "subject": "floor", "value": 1.0, "unit": "µs", "ratio": 1.0},
    ]
    assert json.loads(as_json([])) == []


def test_the_table_has_a_block_for_each_unit_and_a_column_for_uvloop_where_it_ran() -> None:
    first = results("b", "µs", {"floor": [2.0], "floor" + UVLOOP: [1.0], "ours": [4000.0]}, base="floor")
    second = results("b", "a second", {"ours": [0.01]}, base="ours")
    assert [line.split() for line in as_table([*first, *second]).splitlines()] == [
        [],
        ["b:", "µs"],
        ["value", "ratio", "uvloop", "ratio"],
        ["floor", "2", "1.00", "1", "0.50"],
        ["ours", "4,000", "2000.00"],
        [],
        ["b:", "a", "second"],
        ["value", "ratio"],
        ["ours", "0.01", "1.00"],
    ]
    assert as_table([]) == ""


@pytest.mark.parametrize(("quick", "picked"), [(True, "few"), (False, "many")])
def test_quick_picks_the_first(quick: bool, picked: str) -> None:
    assert Options(quick=quick).pick("few", "many") == picked
