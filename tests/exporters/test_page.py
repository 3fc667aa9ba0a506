"""docs/observability.md says what is true: its tables have every record, line and metric, and its examples run."""

from __future__ import annotations

import dataclasses
import logging
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIServer

import prometheus_client
import pytest
from prometheus_client import REGISTRY

import tradesession
from tests.exporters.samples import CLASSES, RETRY, SAMPLES
from tradesession.exporters import LogExporter, log
from tradesession.exporters.metrics import METRICS
from tradesession.hooks import LinkLost, Record, Recovered, RenewalFailed, TokenRotated
from tradesession.sandbox import Sandbox
from tradesession.verdict import Action, Level, Verdict

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def table(first: str) -> list[list[str]]:
    """The rows of the table whose first column has this name, cell by cell."""
    rows = PAGE.split(f"\n| {first} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_the_table_of_records_has_every_class_with_its_fields() -> None:
    of_all = {field.name for field in dataclasses.fields(Record)}
    expected = [
        [f"`{cls.__name__}`", ", ".join(f"`{field.name}`" for field in dataclasses.fields(cls) if field.name not in of_all)]
        for cls in CLASSES
    ]
    assert [row[:2] for row in table("record")] == expected
    assert all(len(row) == 3 and row[2] for row in table("record"))


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    expected = [
        [
            f"`{metric.name}`",
            f"`{metric.prometheus}`",
            metric.kind,
            f"`{metric.unit}`",
            ", ".join(f"`{label}`" for label in metric.labels) + (" (`account`)" if metric.is_of_account else ""),
            metric.description,
        ]
        for metric in METRICS
    ]
    assert table("OpenTelemetry") == expected


def test_the_table_of_loggers_is_that_of_the_code() -> None:
    loggers = [item.name for item in vars(log).values() if isinstance(item, logging.Logger)]
    assert [row[0] for row in table("logger")] == [f"`{name}`" for name in loggers]


def test_every_logger_is_named() -> None:
    source = Path(tradesession.__file__).parent
    texts = [file.read_text(encoding="utf-8") for file in source.rglob("*.py") if "sandbox" not in file.relative_to(source).parts]
    names = {name for text in texts for name in re.findall(r'getLogger\("(tradesession\.[a-z0-9_.]+)"\)', text)}
    assert len(names) > 8
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []


def test_the_table_of_lines_has_every_line_that_is_seen_without_debugging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tradesession")
    exporter = LogExporter()
    more = [
        Recovered(source="link", seconds=3, account_id=5),
        LinkLost(source="link", cause="gone", verdict=Verdict(Action.FATAL, Level.LINK)),
        LinkLost(source="link", cause="gone", verdict=Verdict(Action.REAUTHORIZE, Level.TOKEN)),
        LinkLost(source="link", cause="gone", verdict=RETRY, during="outage", delay=1),
        RenewalFailed(source="token", cause="dead", needs_person=True),
        TokenRotated(source="token", generation=3, expires_at=None, saved=False, cause="full"),
        TokenRotated(source="token", generation=3, expires_at=None),
    ]
    for record in (*SAMPLES, *more):
        exporter(record)
    said = {(line.levelname, line.getMessage()) for line in caplog.records if line.levelno > logging.DEBUG}
    rows = [(level, re.escape(text.strip("`")).replace("…", ".+?")) for level, text, _ in table("level")]
    for level, text in said:
        assert [row for row in rows if row[0] == level and re.fullmatch(row[1], text)], f"{level} {text} is not in the table"
    for level, pattern in rows:
        assert [text for other, text in said if other == level and re.fullmatch(pattern, text)], f"{level} {pattern} is never said"
    assert len(said) == len(rows)


# --- examples -------------------------------------------------------------------------------------------------------------------------


def as_function(block: str, number: int) -> str:
    return f"async def block_{number}(config: ctrader.Config) -> None:\n{textwrap.indent(block, '    ')}"


PREAMBLE = "import tradesession\nfrom tradesession import ctrader\n\n"
FUNCTIONS = [as_function(block, number) for number, block in enumerate(BLOCKS)]


def test_every_example_passes_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    page = tmp_path / "page.py"
    page.write_text(PREAMBLE + "\n\n".join(FUNCTIONS))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(page)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.fixture
def clean_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the examples leave in the places that are the process's; and their server is at a port that is free."""
    servers: list[tuple[WSGIServer, Thread]] = []
    start = prometheus_client.start_http_server

    def start_http_server(port: int, addr: str) -> None:
        assert (port, addr) == (9464, "127.0.0.1")
        servers.append(start(0, addr))

    monkeypatch.setattr(prometheus_client, "start_http_server", start_http_server)
    handlers = logging.getLogger("tradesession.session").handlers
    before, collectors = list(handlers), set(REGISTRY._collector_to_names)
    yield
    handlers[:] = before
    for collector in set(REGISTRY._collector_to_names) - collectors:
        REGISTRY.unregister(collector)
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.usefixtures("clean_up")
@pytest.mark.parametrize("number", range(len(BLOCKS)))
async def test_every_example_runs(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Callable[[object], Any]] = {}
    exec(PREAMBLE + FUNCTIONS[number], names)
    async with Sandbox(seed=1, plain=True) as sandbox:
        await names[f"block_{number}"](sandbox.ctrader.config(plaintext=True))
    assert capsys.readouterr().out == ("SessionState.READY\n" if "connect(" in BLOCKS[number] else "")
