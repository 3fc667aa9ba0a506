"""Keys of both sizes, made once."""

from __future__ import annotations

import shutil

import pytest

from tests.tradingview import certificates
from tests.tradingview.certificates import KeyFiles


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[int, KeyFiles]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on this machine")
    return {bits: certificates.make(tmp_path_factory.mktemp(f"rsa{bits}"), bits) for bits in (2048, 4096)}


@pytest.fixture(scope="session")
def files(keys: dict[int, KeyFiles]) -> KeyFiles:
    return keys[2048]
