"""Everything at DEBUG, with secrets planted: none shows in a log, an exception with its variables, a record, or any object's repr."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ctrader.test_no_secret_shows import reachable
from tests.faults.cutter import Cutter
from tradesession import b2core
from tradesession.errors import Error, Rejected
from tradesession.hooks import Record
from tradesession.sandbox import Sandbox
from tradesession.sandbox.b2core import B2CoreSandbox
from tradesession.sandbox.b2core.state import Refused, State
from tradesession.session.manager import SessionManager

ORDERS = "/frontoffice/api/v3/orders"


class Watch:
    """What was planted, and everything that was said."""

    def __init__(self, caplog: pytest.LogCaptureFixture, server: B2CoreSandbox) -> None:
        self._caplog = caplog
        self._server = server
        self.planted = {"wrong-planted-password", "wrong-planted-token", "987654"}
        self.records: list[Record] = []
        self.said: list[str] = []

    def failure(self, error: BaseException) -> None:
        self.said += [repr(error), str(error)]
        self.said += traceback.TracebackException.from_exception(error, capture_locals=True).format()

    def check(self) -> None:
        state = self._server.state
        planted = self.planted | {state.password, *state.codes, *state._bearers, *state._pairs, *state._refreshes}
        planted |= {bearer.refresh for bearer in state._bearers.values()}
        assert self._caplog.records or self.said, "nothing was said at all: this proves nothing"
        for text in (self._caplog.text, *map(repr, self.records), *self.said):
            for secret in planted:
                assert secret not in text, f"a secret shows in: {text.replace(secret, '(HERE)')[:2000]}"


@pytest.fixture
async def watch(caplog: pytest.LogCaptureFixture, server: B2CoreSandbox) -> Watch:
    caplog.set_level(logging.DEBUG)
    for name in tuple(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, name)
    asyncio.get_running_loop().set_debug(True)
    return Watch(caplog, server)


async def attempt(sandbox: Sandbox, config: b2core.Config, watch: Watch) -> None:
    """Open what cannot be opened, in a frame that holds nothing but the configuration."""
    async with SessionManager(hooks=[watch.records.append], clock=sandbox.clock) as manager:
        try:
            await manager.open(config)
        except Error as error:
            watch.failure(error)
            return
        raise AssertionError("it was opened")


def ask(code: str) -> b2core.AskCode:
    async def asked(request: b2core.CodeRequest) -> str:
        return code

    return asked


WRONG: dict[str, dict[str, Any]] = {
    "a password that is refused": {"password": "wrong-planted-password"},
    "a bearer that is refused": {"email": "", "password": None, "access_token": "wrong-planted-token"},
    "a pair that is refused": {
        "access_token": "wrong-planted-token",
        "refresh_token": "wrong-planted-token",
        "password": "wrong-planted-password",
    },
    "a platform that is not there": {"platform_id": 99},
    "a port that nobody listens on": {"base_url": "http://127.0.0.1:1"},
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_an_opening_that_fails_shows_no_secret(sandbox: Sandbox, server: B2CoreSandbox, watch: Watch, wrong: str) -> None:
    await attempt(sandbox, server.config(**WRONG[wrong]), watch)
    watch.check()


@pytest.mark.parametrize("knob", ["recaptcha", "forced_reset", "wrong_uuid", "token_reply_lost"])
async def test_a_sign_in_that_goes_wrong_shows_no_secret(sandbox: Sandbox, server: B2CoreSandbox, watch: Watch, knob: str) -> None:
    setattr(server.faults, knob, True)
    await attempt(sandbox, server.config(), watch)
    watch.check()


async def test_a_code_that_is_refused_does_not_show(sandbox: Sandbox, server: B2CoreSandbox, watch: Watch) -> None:
    server.settings.two_factor = "sms"
    await attempt(sandbox, server.config(ask_code=ask("987654")), watch)
    watch.check()


@pytest.mark.parametrize("direction", ["to_client", "to_server"])
async def test_an_opening_that_is_cut_anywhere_shows_no_secret(
    sandbox: Sandbox, server: B2CoreSandbox, watch: Watch, direction: Any
) -> None:
    for limit in range(1, 700, 61):
        async with Cutter(server.port, direction=direction, limit=limit) as cutter:
            config = server.config(base_url=f"http://127.0.0.1:{cutter.port}", trader_urls=[server.base_url])
            try:
                await attempt(sandbox, config, watch)
            except AssertionError:
                break
    watch.check()


ECHO: dict[str, Callable[[str], bytes]] = {
    "envelope": lambda text: b'{"error": {"message": ' + _json(text) + b', "details": [{"issue": ' + _json(text) + b"}]}}",
    "laravel": lambda text: b'{"message": ' + _json(text) + b"}",
    "workflow": lambda text: b'{"workflow": ' + _json(text) + b', "uuid": "u"}',
}


def _json(text: str) -> bytes:
    return json.dumps(text).encode()


@pytest.mark.parametrize("shape", ECHO)
@pytest.mark.parametrize("status", [200, 400, 401, 500])
async def test_a_server_that_quotes_what_it_was_sent_cannot_make_it_show(
    sandbox: Sandbox, server: B2CoreSandbox, watch: Watch, shape: str, status: int
) -> None:
    async def quote(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = (await reader.read(65536)).decode("latin-1")
        body = ECHO[shape](received)
        if "signin/wizard" in received:
            body = b'{"uuid": "u", "workflow": "login"}'
        answered = 200 if b"login" in body[:60] else status
        head = f"HTTP/1.1 {answered} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(quote, "127.0.0.1", 0) as quoting:
        url = f"http://127.0.0.1:{quoting.sockets[0].getsockname()[1]}"
        await attempt(sandbox, server.config(base_url=url, password="wrong-planted-password"), watch)
        bearer = {"email": "", "password": None, "access_token": "wrong-planted-token"}
        await attempt(sandbox, server.config(base_url=url, **bearer), watch)
        await attempt(sandbox, server.config(base_url=url, refresh_token="wrong-planted-token", **bearer), watch)
    watch.check()


async def test_a_rest_interface_that_quotes_the_bearer_cannot_make_it_show(
    sandbox: Sandbox, server: B2CoreSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SessionManager(clock=sandbox.clock) as manager:
        session = await manager.open(server.config())
        bearer = (await manager.tokens(session.config).get()).access.reveal()

        def place(state: State, order: dict[str, Any]) -> dict[str, Any]:
            raise Refused(422, f"the token {bearer} is not enough", f"Bearer {bearer}")

        monkeypatch.setattr(State, "place", place)
        with pytest.raises(Rejected, match=r"the token \*\*\* is not enough") as caught:
            await session.trader.post(ORDERS, {})
        assert bearer not in repr(caught.value)


async def test_a_session_that_lives_shows_no_secret_in_itself_or_in_anything_that_hangs_on_it(
    sandbox: Sandbox, server: B2CoreSandbox, watch: Watch, tmp_path: Path
) -> None:
    server.settings.two_factor = "google"
    server.settings.pair_life = 60

    async def from_telephone(request: b2core.CodeRequest) -> str:
        return server.state.codes[-1]

    async with SessionManager(hooks=[watch.records.append], clock=sandbox.clock) as manager:
        session = await manager.open(server.config(ask_code=from_telephone, store=f"sqlite:///{tmp_path}/tokens.db"))
        (account, _) = await session.accounts()
        orders = session.open_orders(account)
        await session.trader.post(ORDERS, {"accountId": account.id})
        await anext(orders)
        server.state.end_pairs()
        await session.accounts()  # a renewal after a 401
        await sandbox.clock.advance(120)  # renewals in time, and other connections of the hub
        keeper = manager.tokens(session.config)
        things = list(reachable(session, manager, keeper, orders, await keeper.get()))
        names = {type(thing).__name__ for thing in things}
        assert names >= {"Session", "Config", "TraderLine", "HubLink", "TokenKeeper", "SignIn", "Credentials", "PlatformExchange", "Secret"}
        watch.said += [repr(thing) for thing in things] + [str(thing) for thing in things]
        for connection in server.hub.connections:
            connection.drop()
        await sandbox.clock.advance(3)
        await session.ready(60)
        server.faults.redirect = "http://127.0.0.1:1"
        for use in (session.accounts(), session.platforms(), session.renew(), keeper.renew()):
            try:
                await use
            except Error as error:
                watch.failure(error)
    watch.said.append(repr(watch.records))
    watch.check()
