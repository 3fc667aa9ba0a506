"""Whole sessions against the sandbox: records of every hub, renewals that cost nothing, losses, refusals, trades that happen once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

import tradesession
from tests.cplugin.test_hubs import tabled
from tradesession import cplugin
from tradesession.cplugin.tables import Pushed, Streaming
from tradesession.errors import ConfigurationError, LinkLost, ReauthorizationRequired, Rejected
from tradesession.sandbox import Sandbox
from tradesession.session.states import SessionState
from tradesession.session.streams import EventStream, Gap
from tradesession.signalr import HubError
from tradesession.verdict import Level

START = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = 60.0


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as sandbox:
        sandbox.cplugin.feed.interval = 0.01
        sandbox.cplugin.settings.update_interval = 0.01
        yield sandbox


def number(tick: cplugin.Tick) -> int:
    assert tick.last_time is not None
    return round((tick.last_time - START).total_seconds() * 1000)


async def the_next(stream: EventStream[Any]) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await anext(stream)


async def reached(session: cplugin.Session, state: SessionState) -> None:
    async with asyncio.timeout(PATIENCE):
        async with session.changes() as changes:
            while session.state is not state:
                await anext(changes)


async def exhausted(stream: EventStream[Any]) -> None:
    """Read to the end."""
    async with asyncio.timeout(PATIENCE):
        async for _ in stream:
            pass


async def ended(config: cplugin.Config) -> None:
    """Open a session that ends by itself, READY for a moment or not; raises why."""
    async with tradesession.connect(config) as session:
        await asyncio.wait_for(session.closed(), PATIENCE)
        await session.ready()


# --- records -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hub", "name", "entry"), tabled(Streaming))
@pytest.mark.parametrize(("kind", "times"), [("number", "zone"), ("text", "no zone"), ("text", "seven digits")])
async def test_every_stream_brings_whole_records(sandbox: Sandbox, hub: Any, name: str, entry: Any, kind: Any, times: Any) -> None:
    sandbox.cplugin.settings.kind, sandbox.cplugin.settings.times = kind, times
    async with tradesession.connect(sandbox.cplugin.config(hub=hub)) as session, getattr(session.hub, name)() as stream:
        for _ in range(3):
            record = await the_next(stream)
            assert type(record) is entry.record
            missing = [field for field, value in vars(record).items() if value is None]
            assert not missing


@pytest.mark.parametrize(("hub", "name", "entry"), [one for one in tabled(Pushed) if one[1].startswith("on_tick")])
@pytest.mark.parametrize("symbol_count", [1, 3])
async def test_subscribed_ticks_come_on_every_hub(sandbox: Sandbox, hub: Any, name: str, entry: Any, symbol_count: int) -> None:
    sandbox.cplugin.settings.ticks_in_batches = bool(entry.field)
    symbols = ("EURUSD", "GBPUSD", "USDJPY")[:symbol_count]
    async with tradesession.connect(sandbox.cplugin.config(hub=hub)) as session:
        async with session.hub.ticks(*symbols) as ticks:
            seen = [await the_next(ticks) for _ in range(3 * symbol_count)]
        assert {tick.symbol for tick in seen} == set(symbols)
        assert all(type(tick) is entry.record and tick.bid < tick.ask for tick in seen)
        async with getattr(session.hub, name)() as direct, await session.hub.subscribe_to_ticks("XAUUSD"):
            assert (await the_next(direct)).symbol == "XAUUSD"
    assert sandbox.cplugin.journal.counts["call.UnsubscribeFromTicks"] == symbol_count + 1


@pytest.mark.parametrize("stream_all", ["null", "omit"])
async def test_every_symbol_can_be_streamed_at_once(sandbox: Sandbox, stream_all: Any) -> None:
    async with tradesession.connect(sandbox.cplugin.config(stream_all=stream_all)) as session, session.mt4.stream_ticks() as ticks:
        assert len({(await the_next(ticks)).symbol for _ in range(4)}) == 4


@pytest.mark.parametrize("hub", ["mt4-v2", "mt5-v2"])
async def test_the_link_to_the_trade_server_is_told(sandbox: Sandbox, hub: Any) -> None:
    async with tradesession.connect(sandbox.cplugin.config(hub=hub)) as session:
        statuses = session.hub.on_connection_status()
        assert (await the_next(statuses)).connected
        sandbox.cplugin.connect_platform(False)
        assert not (await the_next(statuses)).connected
        with pytest.raises(cplugin.ApiError) as caught:
            await session.rest.call("GET", f"/api/v2/{hub[:3].upper()}/{{tradePlatform}}/ServerTime")
        assert caught.value.code == "NoConnect"


async def test_any_other_method_is_called_by_its_name(sandbox: Sandbox) -> None:
    async with tradesession.connect(sandbox.cplugin.config()) as session:
        assert await session.hub.invoke("Echo", {"a": [1, None]}) == {"a": [1, None]}
        assert await session.hub.invoke("WhoAmI") == sandbox.cplugin.client_id
        with pytest.raises(HubError, match="Method does not exist"):
            await session.hub.invoke("NoSuch")
        with pytest.raises(HubError, match="NOSUCH"):
            await anext(session.hub.ticks("NOSUCH"))


async def test_v1_connects_its_platform(sandbox: Sandbox) -> None:
    async with tradesession.connect(sandbox.cplugin.config(hub="mt4-v1")) as session:
        assert sandbox.cplugin.journal.counts["call.Connect"] == 1
        assert await session.mt4_v1.connect() is True
        assert await session.mt4_v1.ping() is True


# --- the bearer --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["header", "access_token", "signalr_token"])
@pytest.mark.parametrize("skip_negotiation", [True, False])
async def test_the_bearer_stands_where_it_is_told_to(sandbox: Sandbox, place: Any, skip_negotiation: bool) -> None:
    async with tradesession.connect(sandbox.cplugin.config(bearer_in=place, skip_negotiation=skip_negotiation)) as session:
        assert bool(session.connection_id) is not skip_negotiation
        counts = sandbox.cplugin.journal.counts
        assert counts[f"bearer.{place}"] >= 1
        assert counts["negotiated"] == (not skip_negotiation)


@pytest.mark.parametrize("close_at_expiry", [False, True])
async def test_twenty_renewals_lose_nothing_and_double_nothing(sandbox: Sandbox, close_at_expiry: bool) -> None:
    server = sandbox.cplugin
    server.faults.token_life, server.faults.close_at_expiry = 60.0, close_at_expiry
    server.feed.numbered = True
    server.feed.interval = 0.5
    async with tradesession.connect(server.config()) as session:
        streamed = session.mt4.stream_ticks("EURUSD", gaps=True)
        pushed = session.mt4.ticks("EURUSD", gaps=True)
        changes = session.changes()
        seen: dict[EventStream[Any], list[int]] = {streamed: [], pushed: []}

        async def read(stream: EventStream[Any]) -> None:
            async for tick in stream:
                assert isinstance(tick, cplugin.Tick), tick
                seen[stream].append(number(tick))

        reading = [asyncio.create_task(read(stream)) for stream in seen]
        async with asyncio.timeout(100):
            while session.renewals < 20:
                await sandbox.clock.advance(1.0)
        assert changes.statistics().received == 0
    await asyncio.gather(*reading)  # they end with the session
    for numbers in seen.values():
        assert len(numbers) > 1000
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert 20 <= server.journal.counts["token.issued"] <= 30


async def test_a_bearer_that_is_refused_once_costs_one_token(sandbox: Sandbox) -> None:
    sandbox.cplugin.faults.refuse_bearer = 1
    async with tradesession.connect(sandbox.cplugin.config()):
        assert sandbox.cplugin.journal.counts["token.issued"] == 2


async def test_one_that_is_refused_always_is_the_end(sandbox: Sandbox) -> None:
    sandbox.cplugin.faults.refuse_every_bearer = True
    with pytest.raises(Rejected) as caught:
        async with tradesession.connect(sandbox.cplugin.config()):
            pass
    assert caught.value.verdict.level is Level.TOKEN
    assert sandbox.cplugin.journal.counts["token.issued"] <= 2


async def test_a_missing_right_is_told_and_renews_nothing(sandbox: Sandbox) -> None:
    sandbox.cplugin.faults.forbid = True
    with pytest.raises(Rejected, match="403"):
        async with tradesession.connect(sandbox.cplugin.config()):
            pass
    assert sandbox.cplugin.journal.counts["token.issued"] == 1


async def test_a_given_token_works_until_it_is_refused(sandbox: Sandbox) -> None:
    server = sandbox.cplugin
    config = server.config(access_token=server.issue())
    async with tradesession.connect(config) as session:
        assert await session.rest.ping() is True
        server.revoke()
        with pytest.raises(ReauthorizationRequired):
            await session.rest.ping()
    assert server.journal.counts["token.requests"] == 0


# --- losses ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["drop", "close"])
@pytest.mark.parametrize("hub", ["mt4-v1", "mt4-v2", "mt5-v2"])
async def test_a_loss_leaves_a_gap_and_everything_comes_back(sandbox: Sandbox, loss: str, hub: Any) -> None:
    server = sandbox.cplugin
    async with tradesession.connect(server.config(hub=hub)) as session:
        ticks = session.hub.ticks("EURUSD", gaps=True)
        await the_next(ticks)
        assert server.faults.drop() if loss == "drop" else server.faults.close("bye", allow_reconnect=True)
        await reached(session, SessionState.BACKOFF)
        await sandbox.clock.advance(5)
        await reached(session, SessionState.READY)
        async with asyncio.timeout(PATIENCE):
            events = [await anext(ticks)]
            while not isinstance(events[-1], Gap):
                events.append(await anext(ticks))
        assert isinstance(await the_next(ticks), cplugin.Tick)


async def test_a_hub_that_does_not_want_us_back_ends_the_session(sandbox: Sandbox) -> None:
    async with tradesession.connect(sandbox.cplugin.config()) as session:
        ticks = session.mt4.stream_ticks("EURUSD")
        sandbox.cplugin.faults.close("go away")
        await asyncio.wait_for(session.closed(), PATIENCE)
        assert isinstance(session.cause, LinkLost)
        with pytest.raises(LinkLost, match="go away"):
            await exhausted(ticks)


async def test_a_trade_platform_that_nobody_knows_is_refused(sandbox: Sandbox) -> None:
    config = sandbox.cplugin.config(trade_platform="00000000-0000-4000-8000-000000000000")
    with pytest.raises((LinkLost, Rejected), match="unknown"):
        await ended(config)


async def test_behind_a_balancer_without_memory_the_negotiation_is_skipped(sandbox: Sandbox) -> None:
    sandbox.cplugin.faults.lose_ids = True
    async with tradesession.connect(sandbox.cplugin.config(skip_negotiation=True)) as session:
        assert session.state is SessionState.READY


# --- REST --------------------------------------------------------------------------------------------------------------------------------

TRADE = "/api/v2/MT4/{tradePlatform}/TradeTransaction"
ORDER = {"symbol": "EURUSD", "volume": 1}


async def test_v1_and_v2_are_called(sandbox: Sandbox) -> None:
    server = sandbox.cplugin
    async with tradesession.connect(server.config()) as session:
        [organization] = await session.rest.organizations()
        platforms = await session.rest.trade_platforms()
        assert [platform.id for platform in platforms] == [platform.id for platform in server.platforms]
        assert platforms[0].organization == organization
        assert await session.rest.ping() is True
        reply = await session.rest.call("GET", "/api/v2/MT4/{tradePlatform}/UserRecordGet/{login}", parts={"login": 7}, timeout=20)
        assert (reply.data["login"], reply.timeout_applied) == (7, 19.0)
        assert reply.activity_id.startswith("00-")
        plain = await session.rest.call("GET", "/API/MT4/{tradePlatform}/UserRecordGet/{login}", parts={"login": 7})
        assert plain.data == reply.data
        for path in ("/api/v2/MT4/{tradePlatform}/UserRecordGet/{login}", "/API/MT4/{tradePlatform}/UserRecordGet/{login}"):
            with pytest.raises(cplugin.ApiError) as caught:
                await session.rest.call("GET", path, parts={"login": 99})
            assert caught.value.code == "NotFound"
            assert caught.value.activity_id


async def test_pages_of_users(sandbox: Sandbox) -> None:
    async with tradesession.connect(sandbox.cplugin.config()) as session:
        pages = [reply.data async for reply in session.rest.pages("/api/v2/MT4/{tradePlatform}/UsersRequest", limit=10)]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [user["login"] for page in pages for user in page] == list(range(1, 26))


async def test_a_trade_whose_answer_got_lost_is_settled_and_happens_once(sandbox: Sandbox) -> None:
    server = sandbox.cplugin
    async with tradesession.connect(server.config()) as session:
        server.faults.rest_delay = 60.0
        trading = asyncio.create_task(session.rest.call("POST", TRADE, body=ORDER, timeout=30))
        async with asyncio.timeout(PATIENCE):
            while not server.office.executed:
                await asyncio.sleep(0)
        await sandbox.clock.advance(31)
        with pytest.raises(cplugin.CallUnknown) as caught:
            await trading
        server.faults.rest_delay = 0.0
        settled = await caught.value.settle()
    assert settled.data["order"] == server.office.executed[0]["order"]
    assert len(server.office.executed) == 1


@pytest.mark.parametrize("key", ["", "mine"])
async def test_an_outcome_that_the_server_does_not_know_either_surfaces(sandbox: Sandbox, key: str) -> None:
    server = sandbox.cplugin
    server.faults.rest_error = "OutcomeUnknown"
    async with tradesession.connect(server.config()) as session:
        trading = asyncio.create_task(session.rest.call("POST", TRADE, body=ORDER, idempotency_key=key))
        while not trading.done():
            await sandbox.clock.advance(1)
        with pytest.raises(cplugin.CallUnknown):
            await trading
    assert len(server.office.executed) == 1


async def test_a_busy_server_is_asked_again(sandbox: Sandbox) -> None:
    server = sandbox.cplugin
    server.faults.rest_error = "Busy"
    async with tradesession.connect(server.config()) as session:
        trading = asyncio.create_task(session.rest.call("POST", TRADE, body=ORDER))
        async with asyncio.timeout(PATIENCE):
            while not server.journal.counts["rest.TradeTransaction"]:
                await asyncio.sleep(0)
        server.faults.rest_error = ""
        while not trading.done():
            await sandbox.clock.advance(1)
        assert (await trading).data["symbol"] == "EURUSD"
    assert len(server.office.executed) == 1


async def test_a_session_of_another_platform_wants_its_own(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigurationError):
        sandbox.cplugin.config(hub="mt6")


# --- the authority -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "value", "code"),
    [
        ("discovery_endpoint", "https://elsewhere.test/token", "discovery_invalid"),
        ("discovery_garbage", "", "discovery_invalid"),
        ("discovery_status", "404", "discovery_failed"),
        ("token_error", "invalid_scope", "invalid_scope"),
        ("refuse_tokens", "1", "invalid_client"),
        ("token_redirect", "https://elsewhere.test/", "HTTP 307"),
    ],
)
async def test_an_authority_that_is_not_right_is_refused(sandbox: Sandbox, fault: str, value: str, code: str) -> None:
    sandbox.set_fault(f"cplugin.{fault}", value)
    with pytest.raises(tradesession.TokenError) as caught:
        async with tradesession.connect(sandbox.cplugin.config()):
            pass
    assert getattr(caught.value, "code", code) == code


@pytest.mark.parametrize("expires_in", ["missing", "zero", "negative", "text"])
async def test_a_life_that_is_not_told_is_none(sandbox: Sandbox, expires_in: Any) -> None:
    sandbox.cplugin.faults.expires_in = expires_in
    async with tradesession.connect(sandbox.cplugin.config()) as session:
        await session.rest.ping()
        await session.rest.ping()
    assert sandbox.cplugin.journal.counts["token.issued"] == 1
