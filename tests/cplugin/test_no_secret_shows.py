"""Everything at DEBUG, with secrets planted and servers that repeat what they are sent: none shows."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

import tradesession
from tests.cplugin.scripted import Api, envelope
from tests.cplugin.test_records import WIRES
from tradesession import cplugin, policy
from tradesession.errors import Error
from tradesession.hooks import Record

PRIVATE = ("A Person", "person@example.test", "+357")


class Watch:
    """Everything that was said."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.records: list[Record] = []
        self.said: list[str] = []

    def failure(self, error: BaseException) -> None:
        self.said += [repr(error), str(error)]
        self.said += traceback.TracebackException.from_exception(error, capture_locals=True).format()

    def check(self) -> None:
        assert self._caplog.records, "nothing was said at all: this proves nothing"
        for text in (self._caplog.text, *map(repr, self.records), *self.said):
            for mark in ("planted-client-secret", "planted-token", "planted-given", "planted-body", *PRIVATE):
                assert mark not in text, f"{mark} shows in: {text.replace(mark, '(HERE)')[:3000]}"


@pytest.fixture
async def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    return Watch(caplog)


async def echo(request: web.Request) -> web.StreamResponse:
    """An error that repeats all of the request."""
    text = f"you sent {request.headers} {quote(str(request.headers.get('Authorization')))} {await request.text()} {request.url}"
    return envelope(error={"code": "Validation", "managerCode": text, "message": text})


async def failing(watch: Watch, scene: Awaitable[Any]) -> None:
    """This fails. The exception is let go of, with all that its frames hold."""
    try:
        await scene
    except Error as error:
        watch.failure(error)
    else:
        raise AssertionError("it did not fail")


async def opened(config: cplugin.Config, watch: Watch) -> None:
    async with tradesession.connect(config, hooks=[watch.records.append]):
        pass


async def test_a_rest_interface_that_repeats_everything(watch: Watch) -> None:
    async with Api(echo) as api, api.session(records=watch.records) as (session, _):
        await failing(watch, session.rest.call("POST", "/api/v2/x", body={"password": "planted-body"}))
        await failing(watch, session.rest.call("GET", "/api/v2/y"))
    watch.check()


async def test_an_authority_that_repeats_everything(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "TOKEN_RETRY_FIRST", 0.001)
    async with Api() as api:
        api.token_answers = [
            web.json_response({"error": "invalid_client", "error_description": "planted-client-secret is wrong"}, status=400),
            web.Response(status=302, headers={"Location": f"{api.base_url}/?secret=planted-client-secret"}),
            *(web.Response(status=500, text="<html>planted-client-secret") for _ in range(policy.TOKEN_FAILED_TRIES)),
        ]
        for auth in ("body", "basic", "body"):
            await failing(watch, opened(api.config(client_auth=auth), watch))
    watch.check()


@pytest.mark.parametrize("place", ["header", "access_token", "signalr_token"])
async def test_a_hub_that_repeats_the_bearer(watch: Watch, place: str) -> None:
    async with Api() as api:
        api.checks_tokens = False
        async with api.session(records=watch.records, bearer_in=place) as (session, served):
            bearer = "planted-token-1"
            assert bearer in served.headers.get("Authorization", "") or bearer in served.query[place]
            updates = session.mt4.stream_user_updates()
            call = await served.next(4)
            await served.send({"type": 2, "invocationId": call["invocationId"], "item": WIRES[cplugin.UserUpdate]})
            watch.said.append(repr(await anext(updates)))
            await served.send({"type": 7, "error": f"your {bearer} ended", "allowReconnect": False})
            await session.closed()
            assert session.cause is not None
            watch.failure(session.cause)
    watch.check()


async def test_a_hub_that_refuses_the_bearer(watch: Watch) -> None:
    async with Api() as api:
        await failing(watch, opened(api.config(access_token="planted-given"), watch))
        assert api.seen
    watch.check()


async def test_a_tick_that_is_none_says_nothing_of_its_contents(watch: Watch) -> None:
    async with Api() as api, api.session(records=watch.records) as (session, served):
        ticks = session.mt4.on_tick()
        await served.send({"type": 1, "target": "OnTick", "arguments": [{"symbol": "planted-body"}]})
        try:
            await anext(ticks)
        except Error as error:
            watch.said += [repr(error), str(error)]  # the variables of its frames hold what came
        else:
            raise AssertionError("it did not fail")
        await served.send({"type": 1, "target": "OnTick", "arguments": [WIRES[cplugin.Tick]]})
        assert (await anext(ticks)).symbol == "EURUSD", "one bad tick does not end the stream"
    watch.check()
