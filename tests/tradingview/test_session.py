"""A session with a scripted broker: when it is READY, what becomes of its token, and its end."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

import tradesession
from tests.leaks import Leaks
from tests.tradingview.certificates import KeyFiles
from tests.tradingview.scripted import GROUPS, LOGIN, broker, opened, quote, take, until
from tests.tradingview.test_grants import certified
from tradesession import ReauthorizationRequired, Rejected, Secret, SessionClosed, SessionState
from tradesession.timing import AdjustableClock
from tradesession.tradingview import Config, FixedToken


async def test_ready_means_a_token_the_symbols_and_every_stream(leaks: Leaks) -> None:
    async with broker() as server, opened(server, streams=2) as session:
        assert session.state is SessionState.READY
        assert [step.name for step in session.steps] == ["token", "symbol_info", "streaming", "streaming"]
        assert len(session.symbols) == 2
        assert [(one.path, one.authorization) for one in server.asked] == [
            ("/authorize", ""),
            ("/symbol_info", "Bearer token-1"),
            ("/streaming", "Bearer token-1"),
            ("/streaming", "Bearer token-1"),
        ]


async def test_public_data_is_asked_for_without_a_bearer() -> None:
    async with broker() as server, opened(server, auth=None, streams=1) as session:
        assert [step.name for step in session.steps] == ["symbol_info", "streaming"]
        assert {one.authorization for one in server.asked} == {""}


async def test_what_prevents_ready_is_raised() -> None:
    async with broker({"GET /symbol_info": {"s": "error", "errmsg": "closed today"}}) as server:
        with pytest.raises(Rejected, match="closed today"):
            async with opened(server):
                pass


async def test_a_wrong_password_is_sent_once_and_by_nobody_again(leaks: Leaks) -> None:
    async with broker({"POST /authorize": {"s": "error", "errmsg": "wrong"}}) as server:
        config = Config(server.base_url, auth=LOGIN, store="memory:", streams=4)
        async with tradesession.SessionManager() as manager:
            for _ in range(3):
                with pytest.raises(ReauthorizationRequired, match="check the login and the password"):
                    await manager.open(config)
            with pytest.raises(ReauthorizationRequired):
                await manager.tokens(config).get()
        assert [one.path for one in server.asked] == ["/authorize"]


async def test_a_401_costs_one_renewal_and_one_repetition_however_many_get_it() -> None:
    async def guarded(request: web.Request) -> web.Response:
        good = request.headers["Authorization"] == "Bearer token-2"
        return web.json_response({"s": "ok", "d": {"groups": []}} if good else {"s": "error"}, status=200 if good else 401)

    async with broker({"GET /groups": guarded}) as server, opened(server) as session:
        answers = await asyncio.gather(*(session.groups() for _ in range(20)))
        assert answers == [[]] * 20
        assert server.count("POST /authorize") == 2
        assert server.count("GET /groups") == 40


async def test_a_second_401_is_an_answer() -> None:
    async with broker({"GET /groups": 401}) as server, opened(server) as session:
        with pytest.raises(Rejected, match="HTTP 401") as caught:
            await session.groups()
        assert caught.value.verdict.level is tradesession.Level.TOKEN
        assert (server.count("GET /groups"), server.count("POST /authorize")) == (2, 2)


async def test_a_403_renews_nothing() -> None:
    async with broker({"GET /groups": 403}) as server, opened(server) as session:
        with pytest.raises(Rejected, match="the token does not allow it"):
            await session.groups()
        assert (server.count("GET /groups"), server.count("POST /authorize")) == (1, 1)


async def test_a_fixed_token_that_dies_parks_the_session() -> None:
    async with broker() as server, opened(server, auth=FixedToken(token="t0ken")) as session:
        server.answers["GET /groups"] = 401
        changes = session.changes()
        with pytest.raises(ReauthorizationRequired, match="put a new one into the configuration"):
            await session.groups()
        async for change in changes:
            if change.after is SessionState.PARKED:
                break
        assert isinstance(session.cause, ReauthorizationRequired)


async def test_a_users_bearer_is_not_renewed() -> None:
    async with broker({"GET /permissions": 401}) as server, opened(server) as session:
        with pytest.raises(Rejected, match="HTTP 401"):
            await session.permissions(bearer=Secret("users"))
        assert (server.count("GET /permissions"), server.count("POST /authorize")) == (1, 1)


async def test_a_closed_session_sends_nothing(leaks: Leaks) -> None:
    async with broker() as server:
        async with opened(server, streams=1) as session:
            quotes = session.spots("EURUSD")
        asked = len(server.asked)
        with pytest.raises(SessionClosed):
            await session.groups()
        with pytest.raises(SessionClosed):
            await session.post("/logout")
        assert [quote async for quote in quotes] == []
        assert len(server.asked) == asked


async def test_public_data_that_is_not_public_is_told_so() -> None:
    async with broker({"GET /symbol_info": 401}) as server:
        with pytest.raises(Rejected, match="the server does not take the token, or wants one"):
            async with opened(server, auth=None):
                pass
        assert len(server.asked) == 1


async def test_a_password_that_was_changed_is_refused_once_and_parks_the_session() -> None:
    clock = AdjustableClock()
    async with broker() as server, opened(server, streams=2, clock=clock) as session:
        server.answers |= {"GET /groups": 401, "GET /streaming": 401, "POST /authorize": {"s": "error", "errmsg": "wrong password"}}
        refused = await asyncio.gather(*(session.groups() for _ in range(20)), return_exceptions=True)
        assert {type(error) for error in refused} == {ReauthorizationRequired}
        await until(lambda: session.state is SessionState.PARKED)
        server.write(None, 0)
        server.write(None, 1)
        for _ in range(20):
            await clock.advance(minutes=30)
            with pytest.raises(ReauthorizationRequired, match="it is not sent again by itself"):
                await session.groups()
        assert session.state is SessionState.PARKED
        assert server.count("POST /authorize") == 2, "the first one, and the one that was refused"


async def test_a_token_endpoint_that_refuses_the_client_fails_reads_and_leaves_what_runs_alone(files: KeyFiles) -> None:
    clock = AdjustableClock()
    async with broker({"POST /token": {"access_token": "one", "expires_in": 60}, "GET /groups": GROUPS}) as server:
        auth = certified(files, token_url=f"{server.base_url}/token")
        async with opened(server, auth=auth, streams=1, clock=clock, silence=0) as session:
            server.answers["POST /token"] = {"error": "invalid_client"}
            await clock.advance(seconds=61)
            with pytest.raises(tradesession.TokenRefused, match="check the client id and the client secret"):
                await session.groups()
            assert session.state is SessionState.READY
            quotes = session.spots()
            server.write(quote("1.1"))
            await take(quotes, 1)
            server.answers["POST /token"] = {"access_token": "two", "expires_in": 60}
            await clock.advance(minutes=6)  # it was corrected there; a refusal is believed for five minutes
            assert await session.groups() == []
