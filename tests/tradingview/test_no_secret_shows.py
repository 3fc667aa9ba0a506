"""Everything at DEBUG, with secrets planted: none shows in a log, a record, an exception, a traceback with its variables, or any repr."""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from aiohttp import web

from tests.ctrader.test_no_secret_shows import reachable
from tests.tradingview.scripted import Broker, broker
from tradesession import Error, SessionManager
from tradesession.hooks import Record
from tradesession.sandbox import Sandbox
from tradesession.sandbox.tradingview.state import State
from tradesession.tradingview import Config, FixedToken, PasswordBearer

ASSERTION = re.compile(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+")


class Watch:
    """What was planted, and everything that was said."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.planted: set[str] = set()
        self.records: list[Record] = []
        self.said: list[str] = []

    def plant(self, state: State) -> None:
        """The secrets of the sandbox, with every token that it gave out and still knows."""
        for credential in state.credentials:
            self.planted |= {credential.password, credential.client_secret}
        for session in state.sessions:
            self.planted |= {*session.access_tokens, session.refresh_token} - {""}

    def failure(self, error: BaseException) -> None:
        self.said += [repr(error), str(error)]
        self.said += traceback.TracebackException.from_exception(error, capture_locals=True).format()

    def check(self) -> None:
        assert self.planted
        assert self._caplog.records or self.said, "nothing was said at all: this proves nothing"
        for text in (self._caplog.text, *map(repr, self.records), *self.said):
            for secret in self.planted:
                assert secret not in text, f"a secret shows in: {text.replace(secret, '(HERE)')[:2000]}"
            assert not ASSERTION.search(text), f"an assertion shows in: {text[:2000]}"


@pytest.fixture
async def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    caplog.set_level(logging.DEBUG)
    for name in tuple(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, name)
    asyncio.get_running_loop().set_debug(True)
    return Watch(caplog)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as sandbox:
        yield sandbox


async def attempt(config: Config, watch: Watch) -> None:
    """Open what cannot be opened, in a frame that holds nothing but the configuration."""
    async with SessionManager(hooks=[watch.records.append]) as manager:
        try:
            await manager.open(config)
        except Error as error:
            watch.failure(error)
            return
        raise AssertionError("it was opened")


@pytest.mark.parametrize("by", ["certificate", "password"])
async def test_a_session_that_lives_shows_none(
    sandbox: Sandbox, watch: Watch, tmp_path: Path, by: Literal["certificate", "password"]
) -> None:
    server = sandbox.tradingview
    server.settings.access_lifetime = 60
    watch.plant(server.state)
    async with SessionManager(hooks=[watch.records.append], clock=sandbox.clock) as manager:
        session = await manager.open(server.config(by=by, streams=2, store=f"sqlite:///{tmp_path}/tokens.db"))
        watch.plant(server.state)
        quotes = session.spots("EURUSD")
        for _ in range(12):
            await sandbox.clock.advance(seconds=10)
            await session.groups()
            watch.plant(server.state)
        server.state.end(server.state.sessions[0])
        await session.history("EURUSD", since=sandbox.clock.wall() - 600)
        watch.plant(server.state)
        assert quotes.statistics().received > 0
    watch.check()


@pytest.mark.parametrize("by", ["certificate", "password"])
async def test_nothing_that_hangs_on_a_session_shows_one(
    sandbox: Sandbox, watch: Watch, tmp_path: Path, by: Literal["certificate", "password"]
) -> None:
    server = sandbox.tradingview
    async with SessionManager(clock=sandbox.clock) as manager:
        # Without a stream: while one is open, aiohttp's record of the request holds what was sent.
        session = await manager.open(server.config(by=by, streams=0, store=f"sqlite:///{tmp_path}/tokens.db"))
        await session.groups()
        keeper = manager.tokens(session.config)
        await keeper.reject(await keeper.get())
        things = list(reachable(session, manager, keeper, await keeper.get()))
        assert {type(thing).__name__ for thing in things} >= {"Session", "Config", "Server", "TokenKeeper", "Token", "Secret"}
        watch.said += [repr(thing) for thing in things] + [str(thing) for thing in things]
        watch.plant(server.state)
    watch.check()


@pytest.mark.parametrize("what", ["secret", "user", "password", "token", "reply-lost", "html", "hang", "certificate"])
async def test_a_session_that_cannot_be_opened_shows_none(sandbox: Sandbox, watch: Watch, what: str) -> None:
    server = sandbox.tradingview
    watch.plant(server.state)
    watch.planted |= {"wrong-planted-secret"}
    credential = server.credentials[0]
    options: dict[str, Any] = {}
    config = server.config()
    if what == "secret":
        credential.client_secret = "another"
    elif what == "user":
        credential.user_id = "another"
    elif what == "password":
        options["auth"] = PasswordBearer(login=credential.login, password="wrong-planted-secret")
    elif what == "token":
        options["auth"] = FixedToken(token="wrong-planted-secret")
    elif what == "reply-lost":
        server.faults.token_reply_lost = True
    elif what == "html":
        server.faults.html = True
    elif what == "hang":
        server.faults.hang = True
        options["request_timeout"] = 0.3
    elif what == "certificate":
        options["ca_file"] = None
    await attempt(config.replace(clock=None, **options), watch)
    watch.plant(server.state)
    watch.planted -= {"another"}
    watch.check()


async def test_a_server_that_quotes_what_it_was_sent_cannot_make_it_show(watch: Watch) -> None:
    watch.planted = {"planted-password", "planted-token", "planted-order"}

    async def quote(request: web.Request) -> web.Response:
        text = f"{request.headers.get('Authorization')} {await request.text()} {request.query_string}"
        status = int(request.query.get("status", "200"))
        return web.json_response({"s": "error", "errmsg": text, "error": text}, status=status, headers={"Location": f"https://x/?{text}"})

    async def quoted(server: Broker, watch: Watch) -> None:
        server.answers["POST /authorize"] = {"s": "error", "errmsg": "planted-password is wrong"}
        await attempt(Config(server.base_url, auth=PasswordBearer(login="me", password="planted-password"), store="memory:"), watch)
        config = Config(server.base_url, auth=FixedToken(token="planted-token"), streams=0)
        async with SessionManager(hooks=[watch.records.append]) as manager:
            session = await manager.open(config)
            for status in ("200", "400", "403", "302", "308"):
                for call in (session.get("/x", {"status": status}, timeout=0.5), session.post("/x")):
                    try:
                        await call
                    except Error as error:
                        watch.failure(error)

    async with broker({"GET /x": quote, "POST /x": quote}) as server:
        await quoted(server, watch)
    assert any("***" in text for text in watch.said)
    watch.check()
