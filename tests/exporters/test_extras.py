"""What is said where an exporter's library is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tradesession.exporters.extras import missing


@pytest.mark.parametrize(("extra", "module"), [("prometheus", "prometheus_client"), ("opentelemetry", "opentelemetry")])
def test_without_its_library_the_extra_is_named_and_nothing_else_needs_it(extra: str, module: str) -> None:
    program = f"""
import importlib.abc, sys

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Hide())
import tradesession, tradesession.exporters, tradesession.exporters.metrics
try:
    import tradesession.exporters.{extra}
except tradesession.ConfigurationError as error:
    print(error)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told = f"this exporter needs the extra {extra}, and {module} is not installed: pip install 'tradesession[{extra}]'\n"
    assert (finished.stdout, finished.stderr) == (told, "")


def test_another_module_that_is_missing_is_told_as_it_is() -> None:
    """The library itself is there and broken: naming the extra would send people the wrong way."""
    error = ModuleNotFoundError("No module named 'wrapt'", name="wrapt")
    with pytest.raises(ModuleNotFoundError, match="wrapt"):
        missing("opentelemetry", "opentelemetry", error)
