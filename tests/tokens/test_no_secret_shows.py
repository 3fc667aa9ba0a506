"""Planted secrets through every way in which an exchange can end, at DEBUG, with asyncio's own debug mode on: none may show."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest

from tradesession.clock import ManualClock
from tradesession.ctrader.grants import token_endpoint
from tradesession.errors import TokenError
from tradesession.secrets import Secret
from tradesession.tokens.exchange import HttpExchange
from tradesession.tokens.grants import AuthorizationCode, ClientAuth, Grant, JwtBearer, Password, RefreshToken, TokenEndpoint
from tradesession.tokens.token import Token
from tradesession.transports.http import HttpDriver

PLANTED = "planted+/=%secret"
MARKS = ("planted", quote(PLANTED, safe=""), "cGxhbnRlZ", "bGFudGVk", "YW50ZWQ")  # also inside base64, at each of its three phases

Answer = Callable[[bytes], bytes]


def grants(url: str) -> dict[str, Grant]:
    secret = Secret(PLANTED)
    documented = token_endpoint("42_app", secret, url=url)
    form = token_endpoint("42_app", secret, url=url, method="POST")
    basic = TokenEndpoint(url=url, client_id="42_app", client_secret=secret, auth=ClientAuth.BASIC)
    return {
        "cTrader refresh": RefreshToken(documented, secret),
        "cTrader refresh as a form": RefreshToken(form, secret),
        "cTrader code": AuthorizationCode(documented, secret, "http://127.0.0.1:1/"),
        "refresh with Basic": RefreshToken(basic, secret),
        "password": Password(basic, "ann", secret),
        "assertion": JwtBearer(form, lambda wall: secret),
    }


def text(status: str, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def echo_as_json(request: bytes) -> bytes:
    quoted = request.decode().replace("\r\n", " ").replace('"', "'")
    return text("400 Bad Request", f'{{"errorCode":"ODD {quoted}","description":"you sent {quoted}","error":"{PLANTED}"}}'.encode())


ANSWERS: dict[str, Answer] = {
    "a pair": lambda request: text("200 OK", b'{"accessToken":"planted-a","refreshToken":"planted-r","expiresIn":60}'),
    "its own request in JSON": echo_as_json,
    "its own request in HTML": lambda request: text("500 Oops", b"<html>" + request, "text/html"),
    "its own request in a header": lambda request: text(
        "302 Found", b"", more=f"Location: https://x.test/{PLANTED}?c={quote(PLANTED)}\r\n"
    ),
    "its own request as a type": lambda request: text("403 No", b"{}", kind=f"text/{PLANTED}"),
    "a secret as the reason": lambda request: text(f"429 {PLANTED}", b""),
    "no HTTP": lambda request: request,
    "a header without end": lambda request: b"HTTP/1.1 200 OK\r\nX: " + PLANTED.encode() * 2000 + b"\r\n\r\n",
    "a body that is cut off": lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + PLANTED.encode(),
    "nothing": lambda request: b"",
}


@asynccontextmanager
async def serving(answer: Answer | None) -> AsyncIterator[str]:
    """A server that answers one request and closes; None resets at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return
        request = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in request.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        writer.write(answer(request + await reader.readexactly(length)))
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/token"
    finally:
        listener.close()


async def outcomes(url: str) -> AsyncIterator[Token | TokenError]:
    for grant in grants(url).values():
        async with HttpDriver([url], clock=ManualClock()) as driver:
            exchange = HttpExchange(lambda token, grant=grant: grant, driver)  # type: ignore[misc]  # the default binds the loop's value
            try:
                yield await exchange(None)
            except TokenError as error:
                yield error


def shown(outcome: Token | TokenError) -> str:
    """What a log, a traceback, or a debugger that prints the frames' variables would show."""
    if isinstance(outcome, Token):
        return f"{outcome!r} {outcome}"
    seen = "".join(traceback.TracebackException.from_exception(outcome, capture_locals=True).format())
    link: BaseException | None = outcome
    while link is not None:
        seen += f"{link!r} {link} {link.args!r} {link.__dict__!r}"
        link = link.__cause__ or link.__context__
    return seen


@pytest.fixture
def sweep(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[str], Awaitable[None]]:
    """Checks a text, and everything that was logged or printed so far."""
    caplog.set_level(logging.DEBUG)

    async def check(seen: str) -> None:
        await asyncio.sleep(0)
        out, err = capfd.readouterr()
        logged = "\n".join(f"{record.getMessage()} {record.exc_text} {record.args!r}" for record in caplog.records)
        for mark in MARKS:
            assert mark not in seen + logged + out + err

    return check


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_answer_makes_a_secret_show(answer: str, sweep: Callable[[str], Awaitable[None]]) -> None:
    asyncio.get_running_loop().set_debug(True)
    async with serving(ANSWERS[answer]) as url:
        seen = [outcome async for outcome in outcomes(url)]
    assert len(seen) == len(grants(url))
    assert all(isinstance(outcome, Token) == (answer == "a pair") for outcome in seen)
    await sweep(" ".join(shown(outcome) for outcome in seen))


async def test_no_failure_of_the_network_makes_a_secret_show(sweep: Callable[[str], Awaitable[None]]) -> None:
    asyncio.get_running_loop().set_debug(True)
    async with serving(None) as url:
        seen = [outcome async for outcome in outcomes(url)]
        seen += [outcome async for outcome in outcomes(url.replace("http:", "https:"))]
    seen += [outcome async for outcome in outcomes(url)]  # nobody listens there any more
    assert all(isinstance(outcome, TokenError) for outcome in seen)
    await sweep(" ".join(shown(outcome) for outcome in seen))
