"""What is said where the library of an extra is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tradesession.errors import ConfigurationError
from tradesession.extras import missing


@pytest.mark.parametrize(
    ("what", "place", "extra", "module"),
    [
        ("this exporter", "exporters.prometheus", "prometheus", "prometheus_client"),
        ("this exporter", "exporters.opentelemetry", "opentelemetry", "opentelemetry"),
        ("the sandbox", "sandbox", "sandbox", "cryptography"),
    ],
)
def test_without_its_library_the_extra_is_named_and_nothing_else_needs_it(what: str, place: str, extra: str, module: str) -> None:
    program = f"""
import importlib.abc, sys

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Hide())
import tradesession, tradesession.exporters, tradesession.exporters.metrics
from tradesession import b2core, cplugin, ctrader, preflight, signalr, tradingview
try:
    import tradesession.{place}
except tradesession.ConfigurationError as error:
    print(error)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told = f"{what} needs the extra {extra}, and {module} is not installed: pip install 'tradesession[{extra}]'\n"
    assert (finished.stdout, finished.stderr) == (told, "")


def test_the_error_names_who_needs_which_extra_for_which_library() -> None:
    error = ModuleNotFoundError("No module named 'redis.asyncio'", name="redis.asyncio")
    told = missing("this store", "redis", "redis", error)
    assert isinstance(told, ConfigurationError)
    assert str(told) == "this store needs the extra redis, and redis is not installed: pip install 'tradesession[redis]'"


def test_another_module_that_is_missing_is_told_as_it_is() -> None:
    """The library itself is there and broken: naming the extra would send people the wrong way."""
    error = ModuleNotFoundError("No module named 'wrapt'", name="wrapt")
    with pytest.raises(ModuleNotFoundError, match="wrapt"):
        missing("this exporter", "opentelemetry", "opentelemetry", error)
