"""The bench of the keepers' tests."""

from collections.abc import AsyncIterator

import pytest

from tests.tokens.fakes import Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.aclose()
