"""The Python of docs/signalr.md and the README's about hubs: every block passes mypy strict and runs against a hub, in virtual time.

The table of settings is true.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import tradesession
from tests.docs.test_platform_pages import blocks_of
from tests.docs.test_readme import HUB, README
from tests.signalr.fake import Source
from tests.signalr.living import LivingHub, at
from tradesession import signalr
from tradesession.hooks import Hooks
from tradesession.sandbox.simulation import World, simulated
from tradesession.session.states import SessionState
from tradesession.tasks import TaskOwner

PAGE = (Path(__file__).parents[2] / "docs" / "signalr.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PROGRAM, KEEPER, CALLS, STREAMS, UPLOADS, PLATFORM = BLOCKS
(SHORT,) = (block for block in blocks_of(README) if HUB in block)
SNIPPETS = {"keeper": KEEPER, "calls": CALLS, "streams": STREAMS, "uploads": UPLOADS, "short": SHORT}

PREAMBLE = """
from collections.abc import AsyncIterator
import tradesession
from tradesession import signalr
"""


def as_function(name: str, snippet: str) -> str:
    return f"async def {name}(hub: signalr.Hub) -> None:\n" + textwrap.indent(snippet, "    ")


class Documented(LivingHub):
    """The hub of the examples, and the token endpoint beside it."""

    def add_routes(self, app: web.Application) -> None:
        super().add_routes(app)
        app.router.add_post("/connect/token", self._token)

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert (form["grant_type"], form["client_id"]) == ("client_credentials", "bot")
        return web.json_response({"access_token": "issued", "token_type": "Bearer", "expires_in": 3600})

    def here(self, text: str) -> str:
        """The example, leading to this hub."""
        return text.replace("https://example.com/hubs/prices", self.url).replace("https://example.com", self.url.removesuffix("/hub"))


def test_every_block_passes_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    (tmp_path / "snippets.py").write_text(PREAMBLE + "\n\n".join(as_function(name, text) for name, text in SNIPPETS.items()))
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "platform_.py").write_text(PLATFORM)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", *map(str, sorted(tmp_path.glob("*.py")))]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize("program", [PROGRAM, "async def main() -> None:\n" + textwrap.indent(SHORT, "    ")], ids=["page", "readme"])
@simulated()
async def test_the_program_prints_ticks(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setenv("HUB_TOKEN", "from the environment")
    async with Documented() as server:
        names: dict[str, Any] = {}
        exec(server.here(program).replace("asyncio.run(main())", ""), names)
        running = asyncio.create_task(names["main"]())
        await asyncio.sleep(0.35)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
    assert capsys.readouterr().out.splitlines() == ["hello", "EURUSD 1", "EURUSD 2", "EURUSD 3"]
    assert server.bearers() == ["Bearer from the environment"] * 2


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("keeper", ["1"]),
        ("calls", ["{'any': ['JSON', 1, None]}", "HubException: Method does not exist. Method does not exist."]),
        ("streams", ["True", "EURUSD 1", "EURUSD 2"]),
        ("uploads", ["45"]),
    ],
)
@simulated()
async def test_a_snippet_runs(world: World, capsys: pytest.CaptureFixture[str], name: str, lines: list[str]) -> None:
    async with Documented() as server, at(server, clock=world.clock) as hub:
        names: dict[str, Any] = {"tradesession": tradesession, "signalr": signalr, "AsyncIterator": AsyncIterator}
        exec(as_function("example", server.here(SNIPPETS[name])), names)
        running = asyncio.create_task(names["example"](hub))
        await asyncio.sleep(0.25)
        if name == "streams":
            running.cancel()  # it never ends
            await asyncio.wait([running])
        else:
            await running
        if name == "keeper":
            assert server.bearers()[-1] == "Bearer issued"
        if name == "uploads":
            for number, question in enumerate(["why", "who"]):
                ask = {"type": 1, "target": "Ask", "invocationId": f"s{number}", "arguments": [question]}
                server.connections[0].put(ask)
            await asyncio.sleep(0.1)
            assert [(record.get("error"), record.get("result")) for record in server.answered] == [
                ("that is a secret", None),
                (None, "WHO"),
            ]
    assert capsys.readouterr().out.splitlines() == lines


@simulated()
async def test_the_platform_has_two_hubs_in_one_session(world: World) -> None:
    names: dict[str, Any] = {}
    exec(PLATFORM, names)
    async with Documented() as prices, Documented() as orders:
        tasks = TaskOwner()
        configs = [signalr.Config(server.url, clock=world.clock, name=name) for server, name in ((prices, "prices"), (orders, "orders"))]
        desk = names["Desk"](*configs, Source(), world.clock, Hooks())
        desk.start(tasks)
        async with desk:
            assert [server.connections[0].calls for server in (prices, orders)] == [["Echo"], ["Echo"]]
            assert await desk.orders.invoke("Echo", 1) == 1
            ticks = desk.prices.stream("StreamTicks", "EURUSD", restart=True, gaps=True)
            await anext(ticks)
            orders.cut()
            await asyncio.sleep(0.01)
            assert desk.state is SessionState.BACKOFF
            waiting = asyncio.create_task(desk.orders.invoke("Echo", 2))
            assert await desk.prices.invoke("Echo", 3) == 3  # the other hub is as it was
            assert await waiting == 2
            assert orders.connections[0].calls == ["Echo", "Echo"]
            prices.cut()
            await desk.aclose()
        await tasks.aclose()


def test_the_table_of_settings_is_true() -> None:
    table = PAGE[PAGE.index("<!-- settings -->") : PAGE.index("<!-- /settings -->")]
    told = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", table, re.MULTILINE))
    config = signalr.Config("https://example.com/hub")
    fields = {field.name: field.default for field in dataclasses.fields(config) if field.name != "url"}
    expected = {
        name: default.__name__ if isinstance(default, type) else repr(default).replace("'", '"')
        for name, default in fields.items()
        if name != "headers"
    }
    assert told == {**expected, "headers": "{}"}
