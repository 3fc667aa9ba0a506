"""Requests that fail: what is repeated, what is sent at most once, and where no bearer ever goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web

import tradesession
from tests.tradingview.scripted import GROUPS, OK, broker, opened, until
from tradesession import DeadlineExceeded, LinkLost, OutcomeUnknown, ProtocolError, Rejected, Secret
from tradesession.hooks import Record, RequestTimed
from tradesession.timing import AdjustableClock


async def cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    raise ConnectionResetError


@pytest.mark.parametrize("failure", [cut, 500, 502, 503, 429], ids=["cut", "500", "502", "503", "429"])
async def test_a_read_is_repeated_when_the_line_breaks_or_the_server_has_no_time(failure: Any) -> None:
    async with broker({"GET /groups": [failure, failure, GROUPS]}) as server, opened(server) as session:
        assert await session.groups() == []
        assert server.count("GET /groups") == 3


async def test_a_read_waits_as_long_as_the_server_asks() -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "7"})

    clock = AdjustableClock()
    async with broker({"GET /groups": [busy, GROUPS]}) as server, opened(server, clock=clock) as session:
        asking = asyncio.ensure_future(session.groups())
        await until(lambda: server.count("GET /groups") == 1)
        await clock.advance(seconds=6)
        assert not asking.done()
        await clock.advance(seconds=1.1)
        assert await asking == []


async def test_a_read_ends_at_its_deadline() -> None:
    async def never(request: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    clock = AdjustableClock()
    async with broker({"GET /x": never}) as server, opened(server, clock=clock) as session:
        asking = asyncio.ensure_future(session.get("/x", timeout=5))
        await until(lambda: server.count("GET /x") == 1)
        await clock.advance(seconds=5)
        with pytest.raises((DeadlineExceeded, LinkLost), match="/x was not answered"):
            await asking


async def last_failure(reading: Coroutine[Any, Any, Any], clock: AdjustableClock) -> None:
    """Raise that with which a read ended, or with which its last whole attempt did where its time ended within one."""
    asking = asyncio.ensure_future(reading)
    while not asking.done():
        await clock.advance(seconds=1)
        await asyncio.sleep(0.001)
    try:
        await asking
    except DeadlineExceeded as error:
        raise error.__cause__ or error from None


async def test_a_read_that_keeps_failing_ends_with_the_last_failure() -> None:
    clock = AdjustableClock()
    async with broker({"GET /x": cut, "GET /y": 502}) as server, opened(server, clock=clock) as session:
        for path, expected in (("/x", LinkLost), ("/y", Rejected)):
            with pytest.raises(expected):
                await last_failure(session.get(path, timeout=5), clock)
            assert server.count(f"GET {path}") > 1


@pytest.mark.parametrize("answer", [b"<html>", b"", {"t": []}, b'{"s": "ok"'])
async def test_what_is_no_answer_is_not_asked_for_again(answer: Any) -> None:
    async with broker({"GET /x": answer}) as server, opened(server) as session:
        with pytest.raises(ProtocolError):
            await session.get("/x")
        assert server.count("GET /x") == 1


async def test_an_error_envelope_is_a_refusal_and_not_asked_for_again() -> None:
    seen: list[Record] = []
    async with broker({"GET /x": {"s": "error", "errmsg": "no such symbol"}}) as server, opened(server, seen=seen) as session:
        with pytest.raises(Rejected, match="no such symbol"):
            await session.get("/x")
        assert server.count("GET /x") == 1
    assert [(record.request, record.outcome) for record in seen if isinstance(record, RequestTimed)][-1] == ("/x", "reply")


async def test_a_call_with_effects_is_sent_with_its_form() -> None:
    async with broker({"POST /logout": OK}) as server, opened(server) as session:
        assert await session.post("/logout", {"a": "b", "c": Secret("d")}) == OK
        assert (server.asked[-1].form, server.asked[-1].authorization) == ({"a": "b", "c": "d"}, "Bearer token-1")
        await session.post("/logout", bearer="users")
        assert server.asked[-1].authorization == "Bearer users"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        *(pytest.param(failure, OutcomeUnknown, id=str(failure)) for failure in (500, 502, 504, 408, b"<html>", b"", {"t": 1})),
        *(pytest.param(status, Rejected, id=str(status)) for status in (401, 403, 404, 429, 503, 307)),
        pytest.param(cut, OutcomeUnknown, id="cut"),
        pytest.param({"s": "error", "errmsg": "no money"}, Rejected, id="envelope"),
    ],
)
async def test_an_order_like_call_is_never_sent_twice(failure: Any, expected: type[Exception]) -> None:
    async with broker({"POST /accounts/1/orders": failure}) as server, opened(server) as session:
        with pytest.raises(expected):
            await session.post("/accounts/1/orders", {"instrument": "EURUSD"})
        assert server.count("POST /accounts/1/orders") == 1


async def test_after_a_401_the_next_call_has_another_token() -> None:
    async with broker({"POST /orders": [401, OK]}) as server, opened(server) as session:
        with pytest.raises(Rejected):
            await session.post("/orders")
        await session.post("/orders")
        assert server.asked[-1].authorization == "Bearer token-2"


async def test_an_order_that_nobody_answered_is_unknown_at_its_deadline() -> None:
    async def never(request: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    clock = AdjustableClock()
    async with broker({"POST /orders": never}) as server, opened(server, clock=clock) as session:
        asking = asyncio.ensure_future(session.post("/orders", timeout=5))
        await until(lambda: server.count("POST /orders") == 1)
        await clock.advance(seconds=5)
        with pytest.raises(OutcomeUnknown, match="/orders left, and no answer came"):
            await asking


async def test_an_answer_to_an_order_that_is_cut_off_is_unknown() -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await response.write(b'{"s":')
        return await cut(request)

    async with broker({"POST /orders": half}) as server, opened(server) as session:
        with pytest.raises(OutcomeUnknown, match="not so that it says what became of it"):
            await session.post("/orders")
        assert server.count("POST /orders") == 1


def redirect(place: str, status: int) -> Callable[[web.Request], Coroutine[Any, Any, web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": f"{place}{request.path}"})

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_and_no_other_origin_sees_the_bearer(status: int) -> None:
    clock = AdjustableClock()
    async with broker() as evil, broker() as server, opened(server, clock=clock) as session:
        for path in ("/groups", "/orders"):
            for method in ("GET", "POST"):
                server.answers[f"{method} {path}"] = redirect(evil.base_url, status)
        with pytest.raises(Rejected, match=f"HTTP {status} .a redirect to"):
            await last_failure(session.get("/groups"), clock)  # it may pass, and a read is repeated while there is time
        with pytest.raises(Rejected, match=f"HTTP {status} .a redirect to"):
            await session.post("/orders")
        assert evil.asked == []


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_no_redirect_of_a_login_or_of_a_stream_is_followed(status: int) -> None:
    async with broker() as evil, broker() as server:
        server.answers["GET /streaming"] = redirect(evil.base_url, status)
        with pytest.raises(Rejected, match="a redirect to"):
            async with opened(server, streams=1):
                pass
        server.answers["POST /authorize"] = redirect(evil.base_url, status)
        with pytest.raises(tradesession.TokenError, match="a redirect to"):
            async with opened(server):
                pass
        assert evil.asked == []


async def test_a_call_that_found_no_token_in_time_was_not_sent() -> None:
    clock = AdjustableClock()

    released = asyncio.Event()

    async def held(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response(status=503)

    async with broker({"POST /orders": 401}) as server, opened(server, clock=clock) as session:
        server.answers["POST /authorize"] = held
        with pytest.raises(Rejected):
            await session.post("/orders")  # its token is refused, and another one does not come
        asking = asyncio.ensure_future(session.post("/orders", timeout=5))
        await until(lambda: server.count("POST /authorize") == 2)
        await clock.advance(seconds=5)
        with pytest.raises(tradesession.NotSent, match="there was no token"):
            await asking
        assert server.count("POST /orders") == 1
        released.set()  # a close waits for what may bring a token
