"""Numbers as servers write them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.protocol.values import finite


@given(st.one_of(st.integers(-(10**300), 10**300), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_is_read_as_itself_and_as_text(number: float) -> None:
    assert finite(number) == finite(str(number)) == finite(f" {number}\n") == float(number)


@pytest.mark.parametrize(
    "value", [None, True, False, "", "soon", "nan", "-inf", "1e999", float("nan"), float("inf"), 10**400, Decimal("NaN"), [], {}, b"1"]
)
def test_what_is_no_finite_number_is_none(value: object) -> None:
    assert finite(value) is None


def test_a_decimal_is_a_number() -> None:
    assert finite(Decimal("1.5")) == 1.5
