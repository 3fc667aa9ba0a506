"""Which seeds the simulations play: TRADESESSION_SEEDS is a number of them (`200`), or says which (`17-17`, `101-200`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

DEFAULT = "4"


def chosen(text: str) -> range:
    """The seeds that are meant."""
    first, _, last = text.partition("-")
    return range(int(first), int(last) + 1) if last else range(1, int(first) + 1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "any_seed" in metafunc.fixturenames:
        seeds = chosen(os.environ.get("TRADESESSION_SEEDS", DEFAULT))
        metafunc.parametrize("any_seed", seeds, ids=[f"seed-{seed}" for seed in seeds])


@pytest.fixture
def quiet_log() -> Iterator[None]:
    """Years of losses are years of warnings, which nobody wants to read."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
