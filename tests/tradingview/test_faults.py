"""A bad network and a bad server between the session and the sandboxed broker: it comes back from each, and tells what was missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from tests.leaks import Leaks
from tradesession import DeadlineExceeded, Error, Gap, LinkLost, NotSent, ProtocolError, Rejected, SessionManager, SessionState, TokenError
from tradesession.hooks import LinkLost as Lost
from tradesession.hooks import Record, Recovered
from tradesession.sandbox import FaultProxy, Sandbox
from tradesession.tradingview import Quote, Session

PATIENCE = 60.0


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1, plain=True) as sandbox:
        yield sandbox


class Bench:
    """A session behind a proxy; `tls` says whether its bytes are hidden from the proxy."""

    def __init__(self, sandbox: Sandbox, *, tls: bool = True) -> None:
        self.sandbox = sandbox
        self.records: list[Record] = []
        self.server = sandbox.tradingview
        parts = urlsplit(self.server.base_url if tls else self.server.plain_base_url)
        self._scheme = parts.scheme
        self.proxy = FaultProxy("127.0.0.1", parts.port or 0, clock=sandbox.clock)
        self.manager = SessionManager(hooks=[self.records.append], clock=sandbox.clock)

    async def __aenter__(self) -> Self:
        await self.proxy.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.manager.aclose()
        await self.proxy.__aexit__(None, None, None)

    async def open(self, **options: Any) -> Session:
        base_url = f"{self._scheme}://127.0.0.1:{self.proxy.port}/api"
        trust = {} if self._scheme == "https" else {"ca_file": None}
        config = self.server.config(**({"by": "password", "base_url": base_url} | trust | options))
        return await self.manager.open(config)

    async def until(self, condition: Callable[[], bool], step: float = 0.5) -> None:
        """Let time pass until it is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self.sandbox.clock.advance(seconds=step)
                await asyncio.sleep(0.001)

    def of(self, kind: type[Any]) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]


async def next_quote(bench: Bench, stream: Any) -> Quote | Gap:
    await bench.until(lambda: stream.statistics().queued > 0)
    found: Quote | Gap = await anext(stream)
    return found


NETWORK: dict[str, Callable[[Bench], Any]] = {
    "a reset": lambda bench: bench.proxy.cut(),
    "an orderly end": lambda bench: bench.proxy.cut(ending="finish"),
    "a cut in the middle": lambda bench: bench.proxy.cut(to_client=60),
    "garbage": lambda bench: bench.proxy.garbage(),
    "a line that is dead": lambda bench: bench.proxy.faults.update(half_open=True),
    "a server that cuts mid-line": lambda bench: bench.server.streams.cut(),
    "a server that closes": lambda bench: bench.server.streams.end(),
    "a server that falls silent": lambda bench: bench.server.faults.set("stream-silent", "true"),
}


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
@pytest.mark.parametrize("what", NETWORK)
async def test_a_stream_comes_back_from_every_loss_behind_one_gap(sandbox: Sandbox, what: str, tls: bool) -> None:
    if what == "garbage" and not tls:
        pytest.skip("without TLS garbage may be a line that is passed by")
    async with Bench(sandbox, tls=tls) as bench:
        session = await bench.open()
        async with session.spots("EURUSD", gaps=True) as quotes:
            assert isinstance(await next_quote(bench, quotes), Quote)
            NETWORK[what](bench)
            await bench.until(lambda: bool(bench.of(Lost)), step=5)
            bench.proxy.faults.clear()
            bench.server.faults.clear()
            await bench.until(lambda: bool(bench.of(Recovered)) and session.state is SessionState.READY)
            while not isinstance(update := await next_quote(bench, quotes), Gap):
                pass
            assert update.since is not None
            assert update.until is not None
            assert update.until >= update.since
            assert isinstance(await next_quote(bench, quotes), Quote)
        assert bench.server.state.unauthorized == 0
        assert len(await session.groups()) > 0


async def test_a_slow_thin_line_loses_nothing(sandbox: Sandbox, leaks: Leaks) -> None:
    async with Bench(sandbox, tls=False) as bench:
        session = await bench.open()
        bench.proxy.faults.update(latency=0.2, jitter=0.1, slice=7)
        async with session.spots("EURUSD", gaps=True) as quotes:
            await bench.until(lambda: quotes.statistics().received >= 20)
            found = [await anext(quotes) for _ in range(20)]
        assert all(isinstance(one, Quote) for one in found)
        assert bench.of(Lost) == []


async def test_a_server_that_is_away_is_found_again_when_it_is_back(sandbox: Sandbox) -> None:
    async with Bench(sandbox) as bench:
        session = await bench.open()
        bench.proxy.faults.refuse = True
        bench.proxy.cut()
        await bench.until(lambda: len(bench.of(Lost)) >= 4)
        asking = asyncio.ensure_future(session.groups())
        await bench.until(asking.done, step=2)
        with pytest.raises((NotSent, LinkLost, DeadlineExceeded)):  # as its time ends between two attempts or within one
            await asking
        bench.proxy.faults.refuse = False
        await bench.until(lambda: session.state is SessionState.READY, step=2)
        assert len(await session.groups()) > 0


@pytest.mark.parametrize("limit", [0, 1, 40, 150, 400])
async def test_reads_that_are_cut_anywhere_are_repeated(sandbox: Sandbox, limit: int) -> None:
    async with Bench(sandbox, tls=False) as bench:
        session = await bench.open(streams=0)
        for direction in ("cut_to_client", "cut_to_server"):
            bench.proxy.cut()  # what is kept open
            bench.proxy.once(**{direction: limit})
            asking = asyncio.ensure_future(session.symbol_info())
            await bench.until(asking.done)
            assert len(await asking) == len(session.symbols)


@pytest.mark.parametrize("limit", [0, 60, 200, 250])
@pytest.mark.parametrize("direction", ["cut_to_client", "cut_to_server"])
async def test_calls_with_effects_that_are_cut_anywhere_are_not(sandbox: Sandbox, limit: int, direction: str) -> None:
    async with Bench(sandbox, tls=False) as bench:
        session = await bench.open(streams=0)
        before = bench.server.state.requests["POST /logout"]
        bench.proxy.once(**{direction: limit})
        asking = asyncio.ensure_future(session.post("/logout"))
        await bench.until(asking.done)
        await asyncio.gather(asking, return_exceptions=True)
        assert bench.server.state.requests["POST /logout"] <= before + 1
        if (error := asking.exception()) is not None:
            assert isinstance(error, Error)


SERVER: dict[str, tuple[str, str, tuple[type[Exception], ...]]] = {
    "HTML in place of JSON": ("html", "true", (ProtocolError,)),
    "garbage in place of JSON": ("garbage", "true", (ProtocolError,)),
    "HTTP 500": ("status", "500", (Rejected,)),
    "HTTP 404": ("status", "404", (Rejected,)),
    "a server that hangs": ("hang", "true", (Error, TimeoutError)),
}


@pytest.mark.parametrize("what", SERVER)
async def test_every_fault_of_the_server_ends_a_read_with_an_error_of_ours_and_the_next_one_is_well(sandbox: Sandbox, what: str) -> None:
    name, value, expected = SERVER[what]
    async with Bench(sandbox) as bench:
        session = await bench.open(streams=0)
        bench.server.faults.set(name, value)
        asking = asyncio.ensure_future(session.history("EURUSD", since=sandbox.clock.wall() - 600))
        await bench.until(asking.done, step=5)
        with pytest.raises(expected):
            await asking
        bench.server.faults.clear()
        assert await session.history("EURUSD", since=sandbox.clock.wall() - 600)


@pytest.mark.parametrize("name", ["text-type", "huge"])
async def test_what_is_odd_and_harmless_passes(sandbox: Sandbox, name: str) -> None:
    async with Bench(sandbox) as bench:
        bench.server.faults.set(name, "true")
        assert len((await bench.open(streams=0)).symbols) > 0


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("settings", "stream-id", "ticker"),
        ("settings", "stream-keepalive", "blank"),
        ("settings", "stream-keepalive", "heartbeat"),
        ("settings", "gzip", "true"),
        ("settings", "scalars", "true"),
        ("faults", "stream-crlf", "true"),
        ("faults", "stream-glued", "true"),
        ("faults", "stream-garbage", "true"),
        ("faults", "stream-repeats", "true"),
        ("faults", "stream-numbers-as-text", "true"),
        ("faults", "stream-quotes", "one-sided"),
        ("faults", "stream-back-in-time", "true"),
        ("faults", "stream-unknown-symbol", "true"),
        ("faults", "stream-not-chunked", "true"),
    ],
)
async def test_streams_of_every_kind_are_read(sandbox: Sandbox, where: str, name: str, value: str) -> None:
    async with Bench(sandbox) as bench:
        getattr(bench.server, where).set(name, value)
        session = await bench.open()
        async with session.spots("EURUSD", gaps=True) as quotes, session.trades() as trades:
            if name == "stream-quotes":
                await bench.until(lambda: trades.statistics().received > 3)
                assert quotes.statistics().received == 0, "one side alone is no quote"
            else:
                await bench.until(lambda: quotes.statistics().received > 3)
                quote = await anext(quotes)
                assert isinstance(quote, Quote)
                assert quote.symbol == "EURUSD"
                assert 0 < quote.bid <= quote.ask
        assert bench.of(Lost) == []


TOKENS: dict[str, tuple[str, str]] = {
    "an answer that is lost": ("token-reply-lost", "true"),
    "HTTP 503": ("token-status", "503"),
    "HTTP 502": ("token-status", "502"),
}


@pytest.mark.parametrize("by", ["certificate", "password"])
@pytest.mark.parametrize("what", TOKENS)
async def test_a_token_endpoint_that_is_unwell_is_asked_again_and_the_session_stays(sandbox: Sandbox, what: str, by: str) -> None:
    async with Bench(sandbox) as bench:
        bench.server.settings.access_lifetime = 60
        session = await bench.open(by=by, streams=1)
        bench.server.faults.set(*TOKENS[what])
        await bench.until(lambda: bench.server.state.requests["GET /streaming"] >= 1 and sandbox.clock.monotonic() > 70, step=5)
        asking = asyncio.ensure_future(session.groups())  # waits within its deadline
        await bench.until(asking.done, step=5)
        with pytest.raises((TokenError, DeadlineExceeded)):  # as the deadline finds it: between two tries or in one
            await asking
        bench.server.faults.clear()
        await bench.until(lambda: not isinstance(session.cause, TokenError) and session.state is SessionState.READY, step=5)
        asking = asyncio.ensure_future(session.groups())
        await bench.until(asking.done, step=5)
        assert len(await asking) > 0


async def test_a_session_that_is_cancelled_anywhere_leaves_nothing(sandbox: Sandbox, leaks: Leaks) -> None:
    for turns in [*range(0, 60, 3), *range(60, 400, 40)]:
        manager = SessionManager(clock=sandbox.clock)
        opening = asyncio.ensure_future(manager.open(sandbox.tradingview.config(by="password", streams=2)))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await manager.aclose()
        await leaks.check()
