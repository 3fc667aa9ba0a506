"""The loopback listener that catches the code of a consent, seen from a browser and from everything else that knocks."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest

from tradesession import policy
from tradesession.clock import ManualClock
from tradesession.errors import ConfigurationError, ReauthorizationRequired, TokenRefused
from tradesession.secrets import Secret
from tradesession.tokens.consent import RedirectCatcher

CODE = "planted-code"
STATE = Secret("planted-state")


@pytest.fixture(autouse=True)
def nothing_is_logged_or_printed(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    out, err = capfd.readouterr()
    logged = "\n".join(f"{record.getMessage()} {record.exc_text}" for record in caplog.records)
    assert "planted" not in logged + out + err


@asynccontextmanager
async def knocking(catcher: RedirectCatcher, data: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to the catcher that has sent `data`."""
    parts = urlsplit(catcher.redirect_uri)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    reader, writer = await asyncio.open_connection(host, parts.port)
    writer.write(data)
    await writer.drain()
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(catcher: RedirectCatcher, target: str, *, method: str = "GET", host: str | None = "127.0.0.1", more: str = "") -> str:
    """One raw request; the whole raw answer."""
    head = f"{method} {target} HTTP/1.1\r\n" + (f"Host: {host}\r\n" if host is not None else "") + more + "\r\n"
    async with knocking(catcher, head.encode()) as (reader, _):
        return (await reader.read()).decode()


def status(answer: str) -> int:
    return int(answer.split(" ", 2)[1])


def catcher_now(**options: object) -> RedirectCatcher:
    """A catcher that does not wait for the browser's last page."""
    return RedirectCatcher(farewell=0.0, **options)  # type: ignore[arg-type]  # the options of one test differ from those of the next


# --- the good way -----------------------------------------------------------------------------------------------------------------


async def test_a_browser_ends_at_a_page_without_the_code() -> None:
    async with RedirectCatcher(state=STATE) as catcher, aiohttp.ClientSession() as browser:
        assert catcher.redirect_uri.startswith("http://127.0.0.1:")
        async with browser.get(catcher.redirect_uri, params={"code": CODE, "state": STATE.reveal()}) as response:
            page = await response.text()
            assert response.status == 200
            assert str(response.url) == catcher.redirect_uri + "/end"
            assert [step.status for step in response.history] == [303]
        assert "Consent received" in page
        assert "planted" not in page
        assert "<script" not in page
        assert "http" not in page.replace("http-equiv", "")
        code = await catcher.code()
    assert code == Secret(CODE)
    assert CODE not in repr(code)


async def test_every_answer_forbids_keeping_loading_framing_and_referring() -> None:
    async with catcher_now() as catcher:
        for target in ("/callback", "/favicon.ico", f"/callback?code={CODE}", "/callback/end"):
            answer = await ask(catcher, target)
            assert "Cache-Control: no-store\r\n" in answer
            assert "Content-Security-Policy: default-src 'none'; style-src 'sha256-" in answer
            assert "frame-ancestors 'none'" in answer
            assert "Referrer-Policy: no-referrer\r\n" in answer
            assert "X-Content-Type-Options: nosniff\r\n" in answer


async def test_the_code_waits_for_the_one_who_asks_late_or_twice() -> None:
    async with catcher_now() as catcher:
        await ask(catcher, f"/callback?code={CODE}")
        assert await catcher.code() == Secret(CODE)
        assert await catcher.code() == Secret(CODE)


async def test_a_registered_redirect_uri_is_used_letter_by_letter() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://localhost:{port}/Back%20here?app=7"
    async with catcher_now(redirect_uri=uri) as catcher:
        assert catcher.redirect_uri == uri
        assert status(await ask(catcher, f"/Back%20here?app=7&code={CODE}", host=f"localhost:{port}")) == 303
        assert await catcher.code() == Secret(CODE)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:0", "http://127.0.0.1:0/", "http://127.0.0.2:0/cb"])
async def test_any_path_and_any_loopback_address_will_do(uri: str) -> None:
    async with catcher_now(redirect_uri=uri) as catcher, aiohttp.ClientSession() as browser:
        async with browser.get(catcher.redirect_uri, params={"code": CODE}) as response:
            assert response.status == 200
        assert await catcher.code() == Secret(CODE)


async def test_version_six_of_loopback_will_do_where_there_is_one() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no ::1")
    async with catcher_now(redirect_uri="http://[::1]:0/cb") as catcher:
        assert catcher.redirect_uri.startswith("http://[::1]:")
        assert status(await ask(catcher, f"/cb?code={CODE}", host="[::1]")) == 303
        assert await catcher.code() == Secret(CODE)


# --- everything else that knocks --------------------------------------------------------------------------------------------------


async def test_guesses_previews_and_strangers_change_nothing() -> None:
    async with catcher_now(state=STATE) as catcher:
        assert status(await ask(catcher, "/favicon.ico")) == 404
        assert status(await ask(catcher, "/")) == 404
        assert status(await ask(catcher, "/callback/end")) == 404
        assert status(await ask(catcher, "/callback")) == 400
        assert status(await ask(catcher, f"/callback?code={CODE}", method="HEAD")) == 200
        refused = await ask(catcher, f"/callback?code={CODE}", method="POST", more="Content-Length: 5000\r\n")
        assert status(refused) == 405
        assert "Allow: GET, HEAD\r\n" in refused
        assert status(await ask(catcher, f"/callback?code={CODE}", host="evil.test")) == 421
        assert status(await ask(catcher, f"/callback?code={CODE}", host="[::1")) == 421
        assert status(await ask(catcher, f"/callback?code={CODE}", host=None)) in (400, 421)  # aiohttp itself, or we
        assert status(await ask(catcher, f"/callback?code={CODE}&state={STATE.reveal()}")) == 303
        assert await catcher.code() == Secret(CODE)


@pytest.mark.parametrize("data", [b"", b"GET /callback?code=planted-half", b"GET /callback?code=planted HTTP/1.1\r\nHost: 127"])
async def test_connections_that_send_nothing_or_half_neither_disturb_nor_delay(data: bytes) -> None:
    async with catcher_now() as catcher, knocking(catcher, data) as (reader, _):
        assert status(await ask(catcher, f"/callback?code={CODE}")) == 303
        assert await catcher.code() == Secret(CODE)
        await catcher.__aexit__(None, None, None)
        assert await reader.read() == b""


async def test_a_preconnected_connection_may_bring_the_code_later() -> None:
    async with catcher_now() as catcher, knocking(catcher) as (reader, writer):
        assert status(await ask(catcher, "/favicon.ico")) == 404
        writer.write(f"GET /callback?code={CODE} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert status((await reader.read()).decode()) == 303
        assert await catcher.code() == Secret(CODE)


@pytest.mark.parametrize(
    "data",
    [
        b"planted garbage\r\n\r\n",
        b"GET /callback?code=planted HTTP/9.9\r\n\r\n",
        b"GET /callback?code=" + b"planted" * 3000 + b" HTTP/1.1\r\n\r\n",
        b"GET /callback?code=planted HTTP/1.1\r\nbad header planted\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03planted",
    ],
)
async def test_what_is_not_http_is_turned_away_without_a_word_in_the_log(data: bytes) -> None:
    async with catcher_now() as catcher:
        async with knocking(catcher, data) as (reader, writer):
            writer.write_eof()
            assert b" 303 " not in await reader.read()
        assert status(await ask(catcher, f"/callback?code={CODE}")) == 303
        assert await catcher.code() == Secret(CODE)


async def test_a_browser_that_leaves_before_the_answer_is_no_trouble() -> None:
    async with catcher_now() as catcher:
        async with knocking(catcher, f"GET /callback?code={CODE} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()) as (_, writer):
            writer.transport.abort()
        await ask(catcher, f"/callback?code={CODE}")
        assert await catcher.code() == Secret(CODE)


async def test_it_listens_on_loopback_alone() -> None:
    async with catcher_now(redirect_uri="http://localhost:0/cb") as catcher:
        assert catcher._runner is not None
        assert [address[0] for address in catcher._runner.addresses] == ["127.0.0.1"]


# --- state, repetition, refusal ---------------------------------------------------------------------------------------------------


async def test_a_wrong_state_is_explained_and_waiting_goes_on() -> None:
    async with catcher_now(state=STATE) as catcher:
        refused = await ask(catcher, "/callback?code=planted-forged&state=planted-forged")
        assert status(refused) == 400
        assert "its state is not the one of this login" in refused
        assert "planted" not in refused
        waiting = asyncio.create_task(catcher.code())
        await asyncio.sleep(0)
        assert not waiting.done()
        assert status(await ask(catcher, f"/callback?code={CODE}&state={STATE.reveal()}")) == 303
        assert await waiting == Secret(CODE)


async def test_a_missing_state_is_accepted_unless_it_is_required() -> None:
    async with catcher_now(state=STATE) as catcher:
        assert status(await ask(catcher, f"/callback?code={CODE}")) == 303
    async with catcher_now(state=STATE, require_state=True) as catcher:
        assert "carries no state" in await ask(catcher, f"/callback?code={CODE}")
        assert status(await ask(catcher, f"/callback?code={CODE}&state={STATE.reveal()}")) == 303
        assert await catcher.code() == Secret(CODE)


async def test_one_code_is_taken_and_another_refused() -> None:
    async with catcher_now() as catcher:
        assert status(await ask(catcher, f"/callback?code={CODE}")) == 303
        assert status(await ask(catcher, f"/callback?code={CODE}")) == 303
        second = await ask(catcher, "/callback?code=planted-second")
        assert status(second) == 409
        assert "This login is over" in second
        assert status(await ask(catcher, "/callback?error=access_denied")) == 409
        assert await catcher.code() == Secret(CODE)


async def test_a_refusal_is_shown_escaped_and_raised() -> None:
    async with catcher_now() as catcher:
        assert status(await ask(catcher, "/callback?error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E")) == 303
        page = await ask(catcher, "/callback/end")
        assert "The login did not succeed" in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script" not in page
        with pytest.raises(ReauthorizationRequired, match=r"access_denied \(<script>"):
            await catcher.code()
        assert status(await ask(catcher, "/callback?code=planted-late")) == 409


async def test_another_refusal_is_no_matter_of_consent() -> None:
    async with catcher_now() as catcher:
        await ask(catcher, "/callback?error=invalid_scope")
        with pytest.raises(TokenRefused, match="invalid_scope"):
            await catcher.code()


# --- time -------------------------------------------------------------------------------------------------------------------------


async def test_nobody_consents_for_ever() -> None:
    clock = ManualClock()
    async with RedirectCatcher(clock=clock) as catcher:
        waiting = asyncio.create_task(catcher.code())
        await asyncio.sleep(0)
        clock.advance(policy.CONSENT_TIMEOUT - 1)
        await asyncio.sleep(0)
        assert not waiting.done()
        clock.advance(1)
        with pytest.raises(ReauthorizationRequired, match=r"no consent came to http://127\.0\.0\.1:\d+/callback within 300 s") as caught:
            await waiting
    assert caught.value.__cause__ is None
    assert clock.next_timer() is None


async def test_leaving_waits_for_the_last_page_and_no_longer() -> None:
    clock = ManualClock()
    catcher = await RedirectCatcher(clock=clock).__aenter__()
    await ask(catcher, f"/callback?code={CODE}")
    leaving = asyncio.create_task(catcher.__aexit__(None, None, None))
    await asyncio.sleep(0)
    assert "Consent received" in await ask(catcher, "/callback/end")
    await leaving
    assert clock.next_timer() is None


async def test_a_browser_that_never_fetches_its_last_page_holds_nobody_up() -> None:
    clock = ManualClock()
    catcher = await RedirectCatcher(clock=clock).__aenter__()
    await ask(catcher, f"/callback?code={CODE}")
    assert status(await ask(catcher, "/callback/end", method="HEAD")) == 200
    leaving = asyncio.create_task(catcher.__aexit__(None, None, None))
    await asyncio.sleep(0)
    assert not leaving.done()
    clock.advance(policy.CLOSE_TIMEOUT)
    await leaving
    with pytest.raises(OSError, match="Connect call failed"):
        await ask(catcher, "/callback/end")


async def test_a_cancelled_login_stops_listening_at_once() -> None:
    clock = ManualClock()

    async def login() -> None:
        async with RedirectCatcher(clock=clock) as catcher:
            uris.append(catcher)
            await ask(catcher, f"/callback?code={CODE}")
            entered.set()
            await asyncio.Event().wait()

    uris: list[RedirectCatcher] = []
    entered = asyncio.Event()
    task = asyncio.create_task(login())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(OSError, match="Connect call failed"):
        await ask(uris[0], "/callback")


# --- what cannot be caught --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    ["https://127.0.0.1:8443/cb", "http://bot.example.test/cb", "http://0.0.0.0:80/cb", "http://127.0.0.1:80/cb#part", "http://[::]:80/"],
)
def test_a_redirect_to_elsewhere_is_refused_with_the_way_out(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="or paste the address instead") as caught:
        RedirectCatcher(uri)
    assert uri in str(caught.value)


def test_a_required_state_must_be_given() -> None:
    with pytest.raises(ConfigurationError, match="require_state=True needs a state"):
        RedirectCatcher(require_state=True)


def test_a_redirect_uri_without_a_port_means_port_80() -> None:
    assert RedirectCatcher("http://localhost/cb")._port == 80


async def test_a_port_that_is_taken_is_named() -> None:
    async with catcher_now() as first:
        with pytest.raises(ConfigurationError, match=r"cannot listen on 127\.0\.0\.1 port \d+: another program listens there"):
            async with catcher_now(redirect_uri=first.redirect_uri):
                raise AssertionError("two catchers on one port")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EACCES, "planted"), "register a redirect URI with a port above 1023"),
        (OSError(errno.EADDRNOTAVAIL, "planted"), "register another redirect URI, or paste"),
        (OSError("planted"), "OSError; register another redirect URI"),
    ],
)
async def test_a_port_that_cannot_be_had_says_why(monkeypatch: pytest.MonkeyPatch, error: OSError, said: str) -> None:
    async def refuse(*_: object, **__: object) -> object:
        raise error

    monkeypatch.setattr(asyncio.get_running_loop(), "create_server", refuse)
    with pytest.raises(ConfigurationError, match=said) as caught:
        await RedirectCatcher().__aenter__()
    assert "planted" not in str(caught.value)
