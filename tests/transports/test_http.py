"""The HTTP driver against a server on loopback that does what it is told, byte by byte."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import ssl
import struct
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tradesession.clock import ManualClock
from tradesession.errors import CertificateRefused, ConfigurationError, Error, NotSent, OutcomeUnknown, Unreachable
from tradesession.protocol.http import HttpRequest
from tradesession.secrets import Secret
from tradesession.transports.http import HttpDriver, encode_pairs, safe_origin

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
PLANTED = "planted+secret/%"


class Server:
    """Records what arrives on each connection, and lets a behaviour answer."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.url = ""
        self.requests: list[bytes] = []
        self.arrived = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.behave(self, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        self.requests.append(head + await reader.readexactly(length))
        self.arrived.set()
        return self.requests[-1]


Behaviour = Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(behave: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(behave)
    listener = await asyncio.start_server(server, "127.0.0.1", 0, ssl=tls)
    host, port = listener.sockets[0].getsockname()
    server.url = f"http{'s' if tls else ''}://{host}:{port}/token"
    try:
        yield server
    finally:
        server.released.set()
        listener.close()


def answering(*pieces: bytes) -> Behaviour:
    async def behave(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return behave


def request(server: Server, method: str = "GET") -> HttpRequest:
    pairs = (("refresh_token", Secret(PLANTED)), ("client_id", "me"))
    if method == "GET":
        return HttpRequest(method="GET", url=server.url, query=pairs)
    return HttpRequest(method="POST", url=server.url, form=pairs, headers=(("Authorization", Secret("Basic planted")),))


def texts_of(error: BaseException) -> str:
    """Everything that a traceback, a repr or a debugger would show of an exception and its chain."""
    shown = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        shown += f"{link!r} {link} {link.args!r} {getattr(link, '__dict__', {})!r}"
        link = link.__cause__ or link.__context__
    return shown


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "aiohttp.client", "aiohttp.internal"):
        caplog.set_level(logging.DEBUG, logger=name)
    yield
    logged = "\n".join(f"{record.getMessage()} {record.exc_text} {record.args!r}" for record in caplog.records)
    assert "planted" not in logged


# --- what is sent -----------------------------------------------------------------------------------------------------------------


async def test_a_get_carries_its_pairs_in_the_query() -> None:
    async with serving(answering(OK)) as server, HttpDriver([server.url]) as driver:
        reply = await driver.send(
            HttpRequest(method="GET", url=server.url + "?tenant=a%2Fb#part", query=(("r", Secret(PLANTED)), ("e", "")))
        )
    assert (reply.status, reply.body, reply.damage, reply.headers["content-type"]) == (200, b"{}", "", "application/json")
    assert server.requests[0].startswith(b"GET /token?tenant=a%2Fb&r=planted%2Bsecret%2F%25&e= HTTP/1.1\r\n")


async def test_a_post_carries_its_pairs_in_the_body() -> None:
    async with serving(answering(OK)) as server, HttpDriver([server.url]) as driver:
        await driver.send(request(server, "POST"))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /token HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/x-www-form-urlencoded\r\n" in head + b"\r\n"
    assert b"\r\nAuthorization: Basic planted\r\n" in head + b"\r\n"
    assert dict(parse_qsl(body.decode(), strict_parsing=True)) == {"refresh_token": PLANTED, "client_id": "me"}


async def test_a_body_of_another_kind_goes_out_as_it_is() -> None:
    async with serving(answering(OK)) as server, HttpDriver([server.url]) as driver:
        await driver.send(
            HttpRequest(method="POST", url=server.url, body=Secret('{"refreshToken":"ü"}'), headers=(("Content-Type", "application/json"),))
        )
    assert server.requests[0].endswith('\r\n\r\n{"refreshToken":"ü"}'.encode())
    assert server.requests[0].lower().count(b"content-type:") == 1


@given(st.lists(st.tuples(st.text(min_size=1), st.text())))
def test_every_pair_survives_the_encoding(pairs: list[tuple[str, str]]) -> None:
    encoded = encode_pairs(tuple((name, Secret(value)) for name, value in pairs))
    assert parse_qsl(encoded, keep_blank_values=True) == pairs
    assert encoded.isascii()
    assert "+" not in encoded


async def test_each_request_has_a_connection_of_its_own_and_no_cookie() -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with serving(answering(cookie)) as server, HttpDriver([server.url]) as driver:
        await driver.send(request(server))
        await driver.send(request(server))
    assert len(server.requests) == 2
    assert b"cookie" not in server.requests[1].lower()


async def test_the_sending_is_timed_by_the_wall_clock() -> None:
    clock = ManualClock(wall=5000.0)

    async def slow(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        clock.advance(20)
        writer.write(OK)

    async with serving(slow) as server, HttpDriver([server.url], clock=clock) as driver:
        assert (await driver.send(request(server))).sent_at == 5000.0
    assert clock.wall() == 5020.0
    assert clock.next_timer() is None


# --- where it may go --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://127.9.9.9/", "http://[::1]:1/", "http://localhost/", "https://example.test/"]
)
def test_https_or_loopback_is_fine(url: str) -> None:
    assert safe_origin(url).startswith("http")


@pytest.mark.parametrize(
    "url", ["http://example.test/", "http://10.0.0.1/", "http://localhost.example.test/", "http://127.0.0.1.nip.test/"]
)
async def test_plain_http_to_anywhere_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="use https"):
        HttpDriver([url])
    async with HttpDriver(["https://example.test"]) as driver:
        with pytest.raises(ConfigurationError, match="use https"):
            await driver.send(HttpRequest(method="GET", url=url))


async def test_only_the_named_origins_are_spoken_to() -> None:
    async with serving(answering(OK)) as server, HttpDriver(["http://127.0.0.1:1/", "https://example.test/a"]) as driver:
        with pytest.raises(ConfigurationError, match=r"this driver talks to http://127\.0\.0\.1:1, https://example\.test:443 only"):
            await driver.send(request(server))
    assert server.requests == []


def test_a_driver_without_an_origin_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one origin"):
        HttpDriver([])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_gets_no_secrets(status: int) -> None:
    async with serving(answering(OK)) as thief:
        moved = f"HTTP/1.1 {status} Moved\r\nLocation: {thief.url}\r\nContent-Length: 0\r\n\r\n".encode()
        async with serving(answering(moved)) as server, HttpDriver([server.url, thief.url]) as driver:
            for method in ("GET", "POST"):
                reply = await driver.send(request(server, method))
                assert (reply.status, reply.headers["location"]) == (status, thief.url)
    assert thief.requests == []


@pytest.mark.parametrize("header", [("X-Token", Secret("planted\r\nX: y")), ("X\n", "planted"), ("X-Token", Secret("plänted"))])
async def test_a_header_that_would_break_the_request_is_refused_without_showing_it(header: tuple[str, str | Secret]) -> None:
    async with HttpDriver(["https://example.test"]) as driver:
        with pytest.raises(ConfigurationError, match="characters that no header may hold") as caught:
            await driver.send(HttpRequest(method="GET", url="https://example.test/", headers=(header,)))
    assert "planted" not in texts_of(caught.value)


# --- what never left --------------------------------------------------------------------------------------------------------------


async def failure(driver: HttpDriver, what: HttpRequest) -> Error:
    with pytest.raises(Error) as caught:
        await driver.send(what)
    assert "planted" not in texts_of(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "\n" not in str(caught.value)
    return caught.value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_connection_is_unreachable(method: str) -> None:
    async with serving(answering(OK)) as server:
        server.url = f"http://127.0.0.1:{free_port()}/token"
        async with HttpDriver([server.url]) as driver:
            error = await failure(driver, request(server, method))
    assert type(error) is Unreachable
    assert f"{server.url.removeprefix('http://').removesuffix('/token')} is not reachable (connection refused)" in str(error)
    assert "was not sent" in str(error)


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 70 + ".invalid"])
async def test_a_name_that_cannot_be_resolved_is_unreachable(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def unknown(name: object, *rest: object, **options: object) -> object:
        if name == "no-such-name.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "planted: not known")
        return resolve(name, *rest, **options)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    url = f"https://{host}/"
    async with HttpDriver([url]) as driver:
        error = await failure(driver, HttpRequest(method="GET", url=url, query=(("s", Secret("planted")),)))
    assert type(error) is Unreachable


async def test_a_server_that_speaks_no_tls_is_unreachable() -> None:
    async def mute(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(mute) as server:
        server.url = server.url.replace("http:", "https:")
        async with HttpDriver([server.url]) as driver:
            error = await failure(driver, request(server))
    assert type(error) is Unreachable
    assert "the TLS handshake failed" in str(error)


async def test_a_tls_handshake_that_never_ends_is_given_up_in_time() -> None:
    clock = ManualClock()

    async def stalled(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        server.arrived.set()
        await server.released.wait()

    async with serving(stalled) as server:
        server.url = server.url.replace("http:", "https:")
        async with HttpDriver([server.url], clock=clock, timeout=5.0) as driver:
            sending = asyncio.create_task(failure(driver, request(server)))
            await server.arrived.wait()
            clock.advance(5.0)
            error = await sending
    assert type(error) is Unreachable
    assert "no answer within 5 s" in str(error)


async def test_a_closed_driver_sends_nothing() -> None:
    async with serving(answering(OK)) as server:
        async with HttpDriver([server.url]) as driver:
            await driver.send(request(server))
        error = await failure(driver, request(server))
        await driver.aclose()
    assert type(error) is NotSent
    assert len(server.requests) == 1


# --- what left, and got no answer -------------------------------------------------------------------------------------------------


async def closing(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.read(reader)


async def resetting(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.read(reader)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def resetting_at_once(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    server.requests.append(b"")
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


LOST = [closing, resetting, resetting_at_once, answering(b"HTTP/1.1 2"), answering(b"planted planted\r\n\r\n")]
LOST += [answering(b"HTTP/1.1 200 OK\r\nX-Planted: " + b"planted" * 30_000 + b"\r\n\r\n")]


@pytest.mark.parametrize("behave", LOST)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_breaks_after_the_sending_leaves_the_outcome_unknown_and_is_not_repeated(
    behave: Behaviour, method: str
) -> None:
    async with serving(behave) as server, HttpDriver([server.url]) as driver:
        error = await failure(driver, request(server, method))
        assert type(error) is OutcomeUnknown
        assert "left, and no answer came" in str(error)
        assert len(server.requests) == 1


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
async def test_an_answer_that_never_ends_is_given_up_in_time(begun: bytes) -> None:
    clock = ManualClock()

    async def stalled(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(begun)
        await writer.drain()
        await server.released.wait()

    async with serving(stalled) as server, HttpDriver([server.url], clock=clock) as driver:
        sending = asyncio.create_task(failure(driver, request(server)))
        await server.arrived.wait()
        clock.advance(29.9)
        await asyncio.sleep(0)
        assert not sending.done()
        clock.advance(0.2)
        error = await sending
    assert type(error) is OutcomeUnknown
    assert "no answer within 30 s" in str(error)
    assert clock.next_timer() is None


async def test_closing_the_driver_ends_what_is_under_way() -> None:
    async def stalled(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        await server.released.wait()

    async with serving(stalled) as server:
        driver = HttpDriver([server.url])
        sending = asyncio.create_task(failure(driver, request(server)))
        await server.arrived.wait()
        await driver.aclose()
        assert type(await sending) is OutcomeUnknown


async def test_a_cancelled_request_is_cancelled() -> None:
    async def stalled(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        await server.released.wait()

    async with serving(stalled) as server, HttpDriver([server.url]) as driver:
        sending = asyncio.create_task(driver.send(request(server)))
        await server.arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert len(server.requests) == 1


# --- odd answers ------------------------------------------------------------------------------------------------------------------


async def test_an_answer_may_come_before_the_whole_form_was_read() -> None:
    async def hasty(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await server.released.wait()

    async with serving(hasty) as server, HttpDriver([server.url]) as driver:
        form = (("assertion", Secret("planted" * 140_000)),)
        reply = await driver.send(HttpRequest(method="POST", url=server.url, form=form))
    assert (reply.status, reply.body) == (200, b"{}")


@pytest.mark.parametrize("length", [b"Content-Length: 300\r\n", b"Transfer-Encoding: chunked\r\n", b""])
async def test_an_answer_over_the_limit_is_damaged_but_has_its_status(length: bytes) -> None:
    body = b"12c\r\n" + b"x" * 300 + b"\r\n0\r\n\r\n" if b"chunked" in length else b"x" * 300
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\n" + length + b"\r\n" + body
    async with serving(answering(answer)) as server, HttpDriver([server.url], reply_limit=299) as driver:
        reply = await driver.send(request(server))
    assert (reply.status, reply.body, reply.damage) == (503, b"", "more than 299 bytes")
    assert reply.retry_after(60.0) == 9.0


async def test_an_answer_at_the_limit_is_whole() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + b"x" * 300
    async with serving(answering(answer)) as server, HttpDriver([server.url], reply_limit=300) as driver:
        assert (await driver.send(request(server))).body == b"x" * 300


async def test_an_answer_that_is_cut_off_is_damaged_but_has_its_status() -> None:
    async with serving(answering(b"HTTP/1.1 400 Bad\r\nContent-Length: 300\r\n\r\nplanted")) as server, HttpDriver([server.url]) as driver:
        reply = await driver.send(request(server))
    assert (reply.status, reply.body) == (400, b"planted")
    assert reply.damage.startswith("cut off after 7 bytes (")


@pytest.mark.parametrize(
    "answer",
    [b"Content-Length: 99\r\n\r\n" + b'{"accessToken": "a"}', b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + b'{"accessToken": "a"}\r\n'],
    ids=["a length that is not kept", "chunks without an end"],
)
async def test_a_pair_that_came_whole_is_not_lost_with_the_end_of_its_answer(answer: bytes) -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\n" + answer)) as server, HttpDriver([server.url]) as driver:
        reply = await driver.send(request(server))
    assert reply.damage.startswith("cut off after 20 bytes (")
    assert reply.json_object() == {"accessToken": "a"}


async def test_a_pair_is_not_lost_to_a_long_header() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Security-Policy: " + b"x" * 60_000 + b'\r\nContent-Length: 20\r\n\r\n{"accessToken": "a"}'
    async with serving(answering(answer)) as server, HttpDriver([server.url]) as driver:
        assert (await driver.send(request(server))).json_object() == {"accessToken": "a"}


async def test_a_compressed_answer_is_not_asked_for_and_read_all_the_same() -> None:
    packed = gzip.compress(b'{"a": 1}')
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    async with serving(answering(answer)) as server, HttpDriver([server.url]) as driver:
        assert (await driver.send(request(server))).json_object() == {"a": 1}
    assert b"Accept-Encoding: identity\r\n" in server.requests[0]


async def test_a_wrongly_compressed_answer_is_damaged() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nplanted"
    async with serving(answering(answer)) as server, HttpDriver([server.url]) as driver:
        assert "not encoded as it says" in (await driver.send(request(server))).damage


# --- TLS --------------------------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server context with a self-signed certificate for loopback, and the file that makes it trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    trusted, private = folder / f"{name}.pem", folder / f"{name}.key"
    trusted.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, private)
    return context, trusted


async def test_a_trusted_certificate_is_accepted_by_file_or_by_context(tmp_path: Path) -> None:
    context, trusted = certificate(tmp_path, "one")
    async with serving(answering(OK), tls=context) as server:
        async with HttpDriver([server.url], ca_file=trusted) as driver:
            assert (await driver.send(request(server))).status == 200
        async with HttpDriver([server.url], ssl_context=ssl.create_default_context(cafile=str(trusted))) as driver:
            assert (await driver.send(request(server))).status == 200


async def test_a_server_that_does_not_answer_the_goodbye_leaves_no_connection_behind(tmp_path: Path) -> None:
    async def deaf(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that is read from has it
        writer.write(OK)
        await server.released.wait()
        writer.transport.abort()

    context, trusted = certificate(tmp_path, "one")
    async with serving(deaf, tls=context) as server:
        async with HttpDriver([server.url], ca_file=trusted) as driver:
            assert (await driver.send(request(server))).status == 200
            opened = list(driver._sockets)
        assert [one.fileno() for one in opened] == [-1]


async def test_an_unknown_certificate_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    context, _ = certificate(tmp_path, "one")
    _, other = certificate(tmp_path, "other")
    async with serving(answering(OK), tls=context) as server:
        for driver in (HttpDriver([server.url]), HttpDriver([server.url], ca_file=other)):
            async with driver:
                error = await failure(driver, request(server))
            assert type(error) is CertificateRefused
            assert "ca_file" in str(error)
    assert server.requests == []


async def test_a_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    context, trusted = certificate(tmp_path, "one")
    async with serving(answering(OK), tls=context) as server:
        server.url = server.url.replace("127.0.0.1", "localhost")
        async with HttpDriver([server.url], ca_file=trusted) as driver:
            error = await failure(driver, request(server))
    assert type(error) is CertificateRefused
    assert server.requests == []


def test_a_certificate_file_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        HttpDriver(["https://example.test"], ca_file=tmp_path / "missing.pem")
