"""Who loses a pair whose refresh token works once when a caller is cancelled in mid-renewal: ours beside two OAuth clients for asyncio.

Each client runs in a process of its own and does the same steps (`scripts/renewing.py`): two callers need a renewal, the first one is
cancelled at a moment of it, the second one gets what it gets, and at the end a third one asks. The table is printed after the run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.interop.environments import AIOHTTP_OAUTH2_CLIENT, AUTHLIB
from tests.interop.programs import running

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120, func_only=True)]


class Moment(Enum):
    """When the first caller is cancelled."""

    NEVER = "never"
    ARRIVED = "the request has arrived"
    EXCHANGED = "exchanged, no answer yet"
    HALF = "half of the answer is there"
    SAVING = "the new pair is being saved"


class Endpoint:
    """A token endpoint (RFC 6749, section 6) with refresh tokens that work once, and a resource that wants the newest access token."""

    def __init__(self, moment: Moment) -> None:
        self.reached = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.number = 1
        self.origin = ""
        self._moment = moment
        self._turn = asyncio.Lock()  # whoever comes meanwhile waits behind the first one

    @property
    def refresh_token(self) -> str:
        return f"refresh-{self.number}"

    @property
    def access_token(self) -> str:
        return f"access-{self.number}"

    async def _pass(self, moment: Moment) -> None:
        if moment is self._moment:
            self.reached.set()
            await self.may_go_on.wait()

    async def _token(self, request: web.Request) -> web.StreamResponse:
        refresh_token = str((await request.post())["refresh_token"])
        async with self._turn:
            return await self._exchange(request, refresh_token)

    async def _exchange(self, request: web.Request, refresh_token: str) -> web.StreamResponse:
        await self._pass(Moment.ARRIVED)
        if refresh_token != self.refresh_token:
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.number += 1
        pair = {"access_token": self.access_token, "token_type": "bearer", "expires_in": 3600, "refresh_token": self.refresh_token}
        await self._pass(Moment.EXCHANGED)
        body: bytes = web.json_response(pair).body  # type: ignore[assignment]
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
        with suppress(ConnectionError):  # whoever was cancelled has hung up
            await response.prepare(request)
            await response.write(body[:20])
            await self._pass(Moment.HALF)
            await response.write(body[20:])
        return response

    async def _resource(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if request.headers.get("Authorization", "").lower() == f"bearer {self.access_token}" else 401)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/token", self._token)
        app.router.add_get("/resource", self._resource)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield
        finally:
            self.may_go_on.set()
            await runner.cleanup()


Row = dict[str, str]
LOST: Row = {"in memory": "spent pair", "at rest": "spent pair", "another caller": "invalid_grant", "next request": "invalid_grant"}
KEPT: Row = {"in memory": "new pair", "at rest": "new pair", "another caller": "200", "next request": "200"}

OBSERVED: dict[str, dict[Moment, Row]] = {
    "tradesession": dict.fromkeys(Moment, KEPT),
    "Authlib 1.9.9": {
        Moment.NEVER: KEPT,
        Moment.ARRIVED: LOST,
        Moment.EXCHANGED: LOST,
        Moment.HALF: LOST,
        Moment.SAVING: KEPT | {"at rest": "spent pair"},
    },
    "aiohttp-oauth2-client 2.0.1": {
        Moment.NEVER: KEPT | {"at rest": "-"},
        Moment.ARRIVED: LOST | {"at rest": "-"},
        Moment.EXCHANGED: LOST | {"at rest": "-"},
        Moment.HALF: LOST | {"at rest": "-"},
    },
}
"""What became of the pair. The foreign clients do in their caller what ours does in a task of its own."""

SCRIPTS: dict[str, tuple[Callable[[], Path], str]] = {
    "tradesession": (lambda: Path(sys.executable), "renewing_tradesession.py"),
    "Authlib 1.9.9": (AUTHLIB.ensure, "renewing_authlib.py"),
    "aiohttp-oauth2-client 2.0.1": (AIOHTTP_OAUTH2_CLIENT.ensure, "renewing_aiohttp_oauth2_client.py"),
}


@pytest.fixture
def python(client: str) -> Path:
    """With the client, installed before the test's time begins."""
    return SCRIPTS[client][0]()


async def play(client: str, python: Path, moment: Moment, directory: Path) -> Row:
    """One renewal, cancelled then; what became of the pair and of the others."""
    endpoint = Endpoint(moment)
    async with endpoint.serving(), running(python, SCRIPTS[client][1], directory) as program:
        first = endpoint.refresh_token
        await program.tell(
            token_url=f"{endpoint.origin}/token",
            resource_url=f"{endpoint.origin}/resource",
            access_token=endpoint.access_token,
            refresh_token=first,
            tells_when_saving=moment is Moment.SAVING,
            file=str(directory / f"{moment.name}.db"),
        )
        if moment is Moment.SAVING:
            await program.step("saving")
        elif moment is not Moment.NEVER:
            async with asyncio.timeout(60):
                await endpoint.reached.wait()
        await program.tell(cancel=moment is not Moment.NEVER)
        await program.step("cancelled")
        endpoint.may_go_on.set()
        await program.tell()
        end = await program.step("end")
        steps = await program.rest()
    assert all(step["changed"] == [] for step in steps if step["step"] == "installed"), "as its author published it"
    assert end["first"] == ("cancelled" if moment is not Moment.NEVER else 200)
    assert endpoint.number == 2, "one exchange, whoever asked"
    return {
        "in memory": pair(end["in_memory"], endpoint),
        "at rest": pair(end["at_rest"], endpoint),
        "another caller": word(end["second"]),
        "next request": word(end["third"]),
    }


def pair(refresh_token: str | None, endpoint: Endpoint) -> str:
    if refresh_token is None:
        return "-"
    return "new pair" if refresh_token == endpoint.refresh_token else "spent pair"


def word(outcome: Any) -> str:
    return "invalid_grant" if "invalid_grant" in str(outcome) else str(outcome)


@pytest.mark.parametrize("client", OBSERVED)
async def test_who_loses_the_pair_when_a_caller_is_cancelled_in_mid_rotation(
    client: str, python: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    rows = {moment: await play(client, python, moment, tmp_path) for moment in OBSERVED[client]}
    record_property("table", table(client, rows))
    assert rows == OBSERVED[client]


def table(client: str, rows: dict[Moment, Row]) -> str:
    lines = [[f"{client}, cancelled when", *KEPT], *([moment.value, *row.values()] for moment, row in rows.items())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
