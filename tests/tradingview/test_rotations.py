"""Rotations against the sandboxed broker: four credential sets, four streams each, and nobody notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tradesession
from tests.leaks import Leaks
from tradesession import Gap, SessionManager, SessionState
from tradesession.hooks import LinkLost, Record, SessionReplaced, TokenRotated
from tradesession.sandbox import Sandbox
from tradesession.tradingview import Quote, Session

MINUTES = 5


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as sandbox:
        sandbox.tradingview.settings.access_lifetime = 60
        sandbox.tradingview.settings.refresh_lifetime = 120
        yield sandbox


class Life:
    """Sessions of some slots, what they say, and the quotes of one symbol on each of their streams."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.records: list[Record] = []
        self.sessions: list[Session] = []
        self.streams: list[Any] = []
        self.manager = SessionManager(hooks=[self.records.append], clock=sandbox.clock)

    async def open(self, slots: int, streams: int, **options: Any) -> None:
        for slot in range(1, slots + 1):
            session = await self.manager.open(self.sandbox.tradingview.config(slot, streams=streams, **options))
            self.sessions.append(session)
            self.streams += [session.spots("EURUSD", gaps=True, stream=number, limit=100_000) for number in range(streams)]

    async def live(self, minutes: float) -> None:
        for _ in range(round(minutes * 12)):
            await self.sandbox.clock.advance(seconds=5)
            await asyncio.gather(*(session.groups() for session in self.sessions))

    def of(self, kind: type[Any]) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]

    async def told(self) -> list[list[Quote | Gap]]:
        """What came over each stream so far."""
        return [[await anext(stream) for _ in range(stream.statistics().queued)] for stream in self.streams]


def seconds_of(updates: list[Quote | Gap]) -> list[float]:
    return [update.time.timestamp() for update in updates if isinstance(update, Quote) and update.time is not None]


@pytest.mark.parametrize("ends_with_token", [False, True], ids=["streams stay", "streams end with their token"])
async def test_four_slots_with_four_streams_through_rotations(sandbox: Sandbox, leaks: Leaks, ends_with_token: bool) -> None:
    server = sandbox.tradingview
    server.settings.stream_ends_with_token = ends_with_token
    life = Life(sandbox)
    async with life.manager:
        await life.open(slots=4, streams=4)
        await life.live(MINUTES)
        assert all(session.state is SessionState.READY for session in life.sessions)
        told = await life.told()
    assert server.state.unauthorized == 0, "no 401 at all"
    assert life.of(LinkLost) == []
    assert life.of(SessionReplaced) == [], "a refresh goes on with the same session"
    rotations = len(life.of(TokenRotated))
    assert 4 * MINUTES <= rotations <= 4 * (MINUTES * 60 / 45 + 1), "each token once in its life, whoever uses it"
    assert server.state.refreshes == rotations
    assert server.state.requests["POST /authorize/token"] == 4 + rotations
    for updates in told:
        assert not [update for update in updates if isinstance(update, Gap)]
        seconds = seconds_of(updates)
        assert len(seconds) >= MINUTES * 60 - 5
        assert [after - before for before, after in pairwise(seconds)] == [1.0] * (len(seconds) - 1), "each second once, in order"


async def test_streams_may_be_left_alone(sandbox: Sandbox) -> None:
    life = Life(sandbox)
    async with life.manager:
        await life.open(slots=1, streams=2, renew_streams=False)
        await life.live(3)
        assert sandbox.tradingview.state.requests["GET /streaming"] == 2
        assert life.of(LinkLost) == []
        assert all(len(seconds_of(updates)) >= 175 for updates in await life.told())


async def test_a_server_that_lets_no_further_connection_in_keeps_the_old_ones(sandbox: Sandbox) -> None:
    life = Life(sandbox)
    async with life.manager:
        await life.open(slots=1, streams=4)
        sandbox.tradingview.faults.stream_refused = 4
        await life.live(3)
        assert life.of(LinkLost) == []
        for updates in await life.told():
            assert len(seconds_of(updates)) == len(updates) >= 175


async def test_old_tokens_that_die_at_once_cost_one_401_for_each_request_under_way(sandbox: Sandbox) -> None:
    server = sandbox.tradingview
    server.settings.overlap = 0.0
    life = Life(sandbox)
    async with life.manager:
        await life.open(slots=2, streams=2)
        await life.live(MINUTES)
        assert life.of(LinkLost) == []
        assert server.state.unauthorized <= len(life.of(TokenRotated))


async def test_an_expired_token_costs_one_renewal_for_a_thousand_reads(sandbox: Sandbox) -> None:
    server = sandbox.tradingview
    async with tradesession.connect(server.config(streams=0)) as session:
        before = server.state.requests["POST /authorize/token"]
        server.state.expire()
        await asyncio.gather(*(session.groups() for _ in range(100)))
        assert server.state.requests["POST /authorize/token"] == before + 1
        assert server.state.unauthorized <= 100
        assert server.state.requests["GET /groups"] == 100 + server.state.unauthorized


async def test_a_refresh_token_that_died_is_followed_by_an_assertion_and_told(sandbox: Sandbox) -> None:
    server = sandbox.tradingview
    life = Life(sandbox)
    async with life.manager:
        await life.open(slots=1, streams=1)
        await life.live(1)
        assert life.of(SessionReplaced) == []
        server.state.end(server.state.sessions[0])
        await life.live(2)
        assert len(life.of(SessionReplaced)) == 1
        assert "refresh_token" in life.of(SessionReplaced)[0].cause
        assert life.sessions[0].state is SessionState.READY
        gaps = [update for update in (await life.told())[0] if isinstance(update, Gap)]
        assert len(gaps) == 1, "the server ended the stream with its session"


@pytest.mark.parametrize("rotation", ["on", "off", "revoke"])
async def test_every_kind_of_rotation_goes_on_in_one_session(sandbox: Sandbox, rotation: Any) -> None:
    sandbox.tradingview.settings.rotation = rotation
    life = Life(sandbox)
    async with life.manager:
        await life.open(slots=1, streams=0)
        await life.live(3)
        assert sandbox.tradingview.state.unauthorized == 0
        assert life.of(SessionReplaced) == []
        assert not sandbox.tradingview.state.denials


async def test_a_lost_answer_to_a_refresh_never_shows_the_token_twice(sandbox: Sandbox) -> None:
    server = sandbox.tradingview
    server.settings.rotation = "revoke"
    life = Life(sandbox)
    async with life.manager:
        await life.open(slots=1, streams=0)
        server.faults.token_reply_lost = True
        await sandbox.clock.advance(seconds=52)
        server.faults.token_reply_lost = False
        await sandbox.clock.advance(seconds=30)
        await life.sessions[0].groups()
        assert server.state.denials["refresh_token_spent"] == 0
        assert len(life.of(SessionReplaced)) == 1


async def test_by_password_each_token_is_another_login(sandbox: Sandbox) -> None:
    server = sandbox.tradingview
    life = Life(sandbox)
    async with life.manager:
        await life.open(slots=1, streams=1, by="password")
        await life.live(3)
        assert server.state.unauthorized == 0
        assert server.state.refreshes == 0
        assert 3 <= server.state.requests["POST /authorize"] <= 6
        assert life.of(SessionReplaced) == life.of(LinkLost) == []


@pytest.mark.parametrize("style", ["enveloped", "flat", "both"])
@pytest.mark.parametrize("expiration", ["", "float", "string", "past", "missing"])
async def test_no_shape_of_a_reply_makes_a_storm_of_logins(sandbox: Sandbox, style: Any, expiration: Any) -> None:
    server = sandbox.tradingview
    server.settings.reply_style, server.faults.expiration = style, expiration
    life = Life(sandbox)
    async with life.manager:
        await life.open(slots=1, streams=0, by="password")
        await life.live(3)
        assert server.state.requests["POST /authorize"] <= 6
        assert server.state.unauthorized <= 4, "where no expiry was promised, the 401 says it"


@pytest.mark.parametrize("offset", [-120.0, 120.0])
async def test_clocks_two_minutes_apart_do_no_harm(sandbox: Sandbox, offset: float) -> None:
    server = sandbox.tradingview
    server.faults.clock_offset = offset
    server.settings.access_lifetime, server.settings.refresh_lifetime = 1200, 2400
    life = Life(sandbox)
    async with life.manager:
        await life.open(slots=1, streams=0, by="password")
        await life.live(2)
        assert server.state.requests["POST /authorize"] == 1
        assert server.state.unauthorized == 0


async def test_whoever_shares_the_store_shares_the_token(sandbox: Sandbox, tmp_path: Path) -> None:
    server = sandbox.tradingview
    lives = [Life(sandbox) for _ in range(2)]
    async with lives[0].manager, lives[1].manager:
        for life in lives:
            await life.open(slots=1, streams=1, store=f"sqlite:///{tmp_path}/tokens.db")
        for _ in range(30):
            await sandbox.clock.advance(seconds=5)
            for life in lives:
                await life.sessions[0].groups()
    assert server.state.requests["POST /authorize/token"] <= 1 + 150 / 42, "one chain of tokens for both"
    assert server.state.denials == {}
    assert [life.of(LinkLost) + life.of(SessionReplaced) for life in lives] == [[], []]
