"""TLS TCP against real sockets on loopback."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import struct
import traceback
from pathlib import Path
from typing import Any

import pytest

from tests.leaks import Leaks
from tests.transports.peers import Listener, Recorder
from tradesession import policy
from tradesession.errors import CertificateRefused, ConfigurationError, Error, LinkLost, ProtocolError, Unreachable
from tradesession.protocol.framing import encode_frame
from tradesession.sandbox.authority import Authority, Flaw
from tradesession.timing import AdjustableClock
from tradesession.transports.stream import describe
from tradesession.transports.tcp import TcpTransport, open_tcp
from tradesession.transports.tls import tls_context

pytestmark = pytest.mark.usefixtures("leaks")


def trusting(ca_file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file))


@pytest.fixture(params=["plain", "tls"])
def contexts(request: pytest.FixtureRequest, authority: Authority) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """The server's and the client's context: once without TLS, once with."""
    return (None, None) if request.param == "plain" else (authority.server_context(), trusting(authority.ca_file))


Contexts = tuple[ssl.SSLContext | None, ssl.SSLContext | None]


# --- connecting -------------------------------------------------------------------------------------------------------------------


async def test_frames_go_both_ways(contexts: Contexts) -> None:
    async with Listener(contexts[0]) as listener:
        receiver = Recorder()
        transport = await open_tcp("127.0.0.1", listener.port, receiver, tls=contexts[1])
        peer = await listener.accept()
        transport.send(b"hello")
        transport.send(b"")
        assert await peer.receive(9 + 4) == b"\x00\x00\x00\x05hello\x00\x00\x00\x00"
        peer.send(encode_frame(b"one") + encode_frame(b"") + encode_frame(b"two")[:3])
        assert await receiver.have(2) == [b"one", b""]
        peer.send(encode_frame(b"two")[3:])
        assert await receiver.have(3) == [b"one", b"", b"two"]
        await transport.aclose(policy.CLOSE_TIMEOUT)
        assert await peer.rest() == b""


async def test_a_host_name_is_verified(authority: Authority) -> None:
    async with Listener(authority.server_context()) as listener:
        transport = await open_tcp("localhost", listener.port, Recorder(), tls=trusting(authority.ca_file))
        await transport.aclose(policy.CLOSE_TIMEOUT)
        assert transport.is_lost


async def test_an_authority_that_the_system_does_not_know_is_refused_by_default(authority: Authority) -> None:
    async with Listener(authority.server_context()) as listener:
        with pytest.raises(CertificateRefused, match=rf"^the certificate of 127\.0\.0\.1:{listener.port} is not trusted .*ca_file$"):
            await open_tcp("127.0.0.1", listener.port, Recorder(), tls=tls_context(host="127.0.0.1"))


@pytest.mark.parametrize(
    ("flaw", "reason"), [("host", "not valid for"), ("authority", "unable to get|self.signed"), ("expired", "expired")]
)
async def test_a_certificate_with_a_flaw_is_refused(authority: Authority, flaw: Flaw, reason: str) -> None:
    async with Listener(authority.server_context(flaw)) as listener:
        with pytest.raises(CertificateRefused, match=reason):
            await open_tcp("127.0.0.1", listener.port, Recorder(), tls=tls_context(host="127.0.0.1", ca_file=authority.ca_file))


async def test_a_context_of_the_callers_own_decides_what_is_trusted(authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with Listener(authority.server_context("expired")) as listener:
        transport = await open_tcp("127.0.0.1", listener.port, Recorder(), tls=tls_context(host="127.0.0.1", ssl_context=context))
        await transport.aclose(policy.CLOSE_TIMEOUT)
        assert transport.is_lost


async def test_plaintext_to_anywhere_else_is_refused_at_the_socket_too() -> None:
    with pytest.raises(ConfigurationError, match=r"plaintext to '192\.0\.2\.1' is refused"):
        await open_tcp("192.0.2.1", 5035, Recorder(), tls=None)


async def test_a_port_that_nobody_listens_on_is_unreachable(contexts: Contexts) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(
            Unreachable, match=rf"^127\.0\.0\.1:{port} cannot be reached \(Connection refused\): check host, port and network$"
        ):
            await open_tcp("127.0.0.1", port, Recorder(), tls=contexts[1])


async def test_a_name_that_does_not_resolve_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*arguments: object, **options: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with pytest.raises(Unreachable, match=r"the name does not resolve: Name or service not known"):
        await open_tcp("nowhere.invalid", 5035, Recorder(), tls=tls_context(host="nowhere.invalid"))


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "nul\0l"])
async def test_what_can_be_no_host_name_is_a_matter_of_configuration(host: str) -> None:
    with pytest.raises(ConfigurationError, match="is no address"):
        await open_tcp(host, 5035, Recorder(), tls=tls_context(host=host))


async def test_what_can_be_no_port_is_a_matter_of_configuration() -> None:
    with pytest.raises(ConfigurationError, match="port=70000 is no address"):
        await open_tcp("127.0.0.1", 70000, Recorder(), tls=None)


async def test_a_server_that_does_not_speak_tls_is_unreachable(ca_file: Path) -> None:
    async with Listener() as listener:
        opening = asyncio.ensure_future(open_tcp("127.0.0.1", listener.port, Recorder(), tls=trusting(ca_file)))
        peer = await listener.accept()
        await peer.receive(1)
        peer.send(b"220 mail.example.com ESMTP\r\n")
        with pytest.raises(Unreachable, match=r"does not speak TLS as expected .*is it the TLS port"):
            await opening


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_server_that_leaves_during_the_tls_handshake_is_unreachable(ca_file: Path, how: str) -> None:
    async with Listener() as listener:
        opening = asyncio.ensure_future(open_tcp("127.0.0.1", listener.port, Recorder(), tls=trusting(ca_file)))
        peer = await listener.accept()
        await peer.receive(1)
        peer.close() if how == "close" else peer.reset()
        with pytest.raises(Unreachable, match="cannot be reached"):
            await opening


async def test_a_tls_handshake_that_hangs_ends_at_the_deadline(ca_file: Path) -> None:
    clock = AdjustableClock()
    async with Listener() as listener:
        opening = asyncio.ensure_future(open_tcp("127.0.0.1", listener.port, Recorder(), tls=trusting(ca_file), clock=clock, timeout=10))
        peer = await listener.accept()
        await clock.advance(9)
        assert not opening.done()
        await clock.advance(1.1)
        with pytest.raises(Unreachable, match="did not complete the connection within 10 s"):
            await opening
        await peer.rest()


async def test_a_caller_who_gives_up_leaves_no_socket(ca_file: Path, leaks: Leaks) -> None:
    async with Listener() as listener:
        opening = asyncio.ensure_future(open_tcp("127.0.0.1", listener.port, Recorder(), tls=trusting(ca_file)))
        peer = await listener.accept()
        opening.cancel()
        await asyncio.wait([opening])
        assert opening.cancelled()
        await peer.rest()  # the client's end has come


async def test_a_server_that_wants_a_certificate_of_the_client_ends_the_link(authority: Authority) -> None:
    context = authority.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    async with Listener(context) as listener:
        receiver = Recorder()
        try:
            await open_tcp("127.0.0.1", listener.port, receiver, tls=trusting(authority.ca_file))
        except Unreachable as error:  # TLS 1.2 tells during the handshake
            cause: Error = error
        else:
            cause = await receiver.end()
        assert isinstance(cause, LinkLost | Unreachable)


# --- the end ----------------------------------------------------------------------------------------------------------------------


async def connected(listener: Listener, contexts: Contexts, **options: Any) -> tuple[TcpTransport, Recorder]:
    receiver = Recorder()
    return await open_tcp("127.0.0.1", listener.port, receiver, tls=contexts[1], **options), receiver


async def test_an_orderly_close_of_ours_is_told_once_and_nothing_comes_after_it(contexts: Contexts) -> None:
    async with Listener(contexts[0]) as listener:
        transport, receiver = await connected(listener, contexts)
        peer = await listener.accept()
        transport.send(b"last")
        closing = asyncio.ensure_future(transport.aclose(policy.CLOSE_TIMEOUT))
        await asyncio.sleep(0)
        assert [str(cause) for cause in receiver.causes] == ["closed by this side"]
        assert await peer.receive(8) == encode_frame(b"last")
        peer.send(encode_frame(b"too late"))
        peer.close()
        await closing
        await transport.aclose(policy.CLOSE_TIMEOUT)
        transport.send(b"nobody")
        assert (receiver.frames, len(receiver.causes)) == ([], 1)


@pytest.mark.parametrize("how", ["close", "finish"])
async def test_a_close_by_the_server_is_told_with_what_came_before(contexts: Contexts, how: str) -> None:
    if how == "finish" and contexts[0] is not None:
        pytest.skip("TLS knows no half close")
    async with Listener(contexts[0]) as listener:
        transport, receiver = await connected(listener, contexts)
        peer = await listener.accept()
        peer.send(encode_frame(b"bye") + b"\x00\x00\x00\x09torn")
        getattr(peer, how)()
        cause = await receiver.end()
        assert isinstance(cause, LinkLost)
        assert str(cause) == "the server closed the connection"
        assert receiver.frames == [b"bye"]
        transport.send(b"nobody")
        await transport.aclose(policy.CLOSE_TIMEOUT)
        assert len(receiver.causes) == 1


async def test_a_reset_is_told_as_what_it_is(contexts: Contexts) -> None:
    async with Listener(contexts[0]) as listener:
        _, receiver = await connected(listener, contexts)
        (await listener.accept()).reset()
        cause = await receiver.end()
        assert isinstance(cause, LinkLost)
        assert str(cause).startswith("the connection broke: ")


async def test_an_abort_is_told_and_drops_what_was_not_sent(contexts: Contexts) -> None:
    async with Listener(contexts[0]) as listener:
        transport, receiver = await connected(listener, contexts)
        peer = await listener.accept()
        transport.abort()
        assert isinstance(await receiver.end(), LinkLost)
        transport.abort()
        with pytest.raises(ConnectionError) if contexts[0] is not None else pytest.raises(asyncio.IncompleteReadError):
            await peer.receive(1)


async def test_the_first_reason_is_the_one_that_counts(contexts: Contexts) -> None:
    async with Listener(contexts[0]) as listener:
        transport, receiver = await connected(listener, contexts)
        first, second = LinkLost("first"), LinkLost("second")
        transport.fail(first)
        transport.fail(second)
        (await listener.accept()).close()
        await transport.aclose(policy.CLOSE_TIMEOUT)
        assert receiver.causes == [first]


async def test_a_frame_over_the_cap_ends_the_connection_and_those_before_it_arrive(contexts: Contexts) -> None:
    async with Listener(contexts[0]) as listener:
        _, receiver = await connected(listener, contexts, max_frame=5)
        (await listener.accept()).send(encode_frame(b"12345") + encode_frame(b"123456") + encode_frame(b"never"))
        cause = await receiver.end()
        assert isinstance(cause, ProtocolError)
        assert "a frame of 6 bytes, and the cap is 5" in str(cause)
        assert receiver.frames == [b"12345"]


async def test_a_frame_that_the_receiver_refuses_ends_the_connection_and_the_next_one_is_nobodys(contexts: Contexts) -> None:
    async with Listener(contexts[0]) as listener:
        _, receiver = await connected(listener, contexts)
        receiver.refuse = ProtocolError("no envelope")
        (await listener.accept()).send(encode_frame(b"secret bytes") + encode_frame(b"never"))
        cause = await receiver.end()
        assert cause is receiver.refuse
        assert receiver.frames == [b"secret bytes"]
        shown = "".join(traceback.TracebackException.from_exception(cause, capture_locals=True).format())
        assert "secret bytes" not in shown


async def test_any_byte_is_a_sign_of_life_be_it_only_a_part_of_a_frame(contexts: Contexts) -> None:
    async with Listener(contexts[0]) as listener:
        transport, receiver = await connected(listener, contexts)
        peer = await listener.accept()
        for byte in encode_frame(b"slow"):
            before = receiver.calls
            peer.send(bytes([byte]))
            while receiver.calls == before:
                await asyncio.sleep(0)
        assert receiver.frames == [b"slow"]
        transport.abort()


async def test_a_receiver_that_ends_the_connection_itself_gets_nothing_more_of_the_same_chunk(contexts: Contexts) -> None:
    class Ends(Recorder):
        def take(self, frame: bytes) -> None:
            super().take(frame)
            transport.fail(LinkLost("enough"))

    receiver = Ends()
    async with Listener(contexts[0]) as listener:
        transport = await open_tcp("127.0.0.1", listener.port, receiver, tls=contexts[1])
        (await listener.accept()).send(encode_frame(b"one") + encode_frame(b"two"))
        assert str(await receiver.end()) == "enough"
        assert receiver.frames == [b"one"]


async def test_a_transport_that_was_never_connected_can_be_closed_and_cut() -> None:
    receiver = Recorder()
    transport = TcpTransport(receiver, AdjustableClock(), 100)
    transport.send(b"nobody")
    transport.close()
    await transport.aclose(1)
    transport.abort()
    assert (receiver.frames, receiver.causes) == ([], [])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "try again"), "the name does not resolve: try again"),
        (ssl.SSLError(1, "no"), "TLS: error"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "Connection refused"),
        (OSError(-9, "a number of nobody's"), "a number of nobody's"),
        (ConnectionAbortedError("the handshake takes too long"), "the handshake takes too long"),
        (OSError(), "OSError"),
        (KeyError("detail"), "KeyError"),
    ],
)
def test_an_error_of_the_system_is_told_in_a_few_words(error: Exception, told: str) -> None:
    assert describe(error) == told


async def test_bytes_that_arrive_behind_the_end_reach_nobody(contexts: Contexts) -> None:
    async with Listener(contexts[0]) as listener:
        transport, receiver = await connected(listener, contexts)
        await listener.accept()
        transport.fail(LinkLost("over"))
        late = encode_frame(b"late")
        transport.get_buffer(-1)[: len(late)] = late
        transport.buffer_updated(len(late))
        assert receiver.frames == []


# --- a peer that does not read ----------------------------------------------------------------------------------------------------


async def fill(transport: TcpTransport) -> None:
    """Send until the buffer is over its mark."""
    while transport.is_writable:
        transport.send(bytes(1 << 16))
        await asyncio.sleep(0)


async def test_a_peer_that_does_not_read_makes_writers_wait_and_wakes_them_when_it_reads(contexts: Contexts) -> None:
    async with Listener(contexts[0]) as listener:
        transport, _ = await connected(listener, contexts)
        peer = await listener.accept()
        await fill(transport)
        waiting = asyncio.ensure_future(transport.writable())
        await asyncio.sleep(0)
        assert not waiting.done()
        while not waiting.done():
            await peer.reader.read(1 << 16)
        assert transport.is_writable
        transport.abort()


@pytest.mark.parametrize("end", ["loss", "abort", "close"])
async def test_writers_who_wait_are_woken_by_the_end(contexts: Contexts, end: str) -> None:
    clock = AdjustableClock()
    async with Listener(contexts[0]) as listener:
        receiver = Recorder()
        transport = await open_tcp("127.0.0.1", listener.port, receiver, tls=contexts[1], clock=clock)
        peer = await listener.accept()
        await fill(transport)
        waiting = asyncio.ensure_future(transport.writable())
        await asyncio.sleep(0)
        assert not waiting.done()
        if end == "close":
            closing = asyncio.ensure_future(transport.aclose(2))
            await waiting
            await clock.advance(2.1)  # the peer takes nothing, so the goodbye is cut short
            await closing
        else:
            transport.abort() if end == "abort" else peer.reset()
            await waiting
        assert len(receiver.causes) == 1


async def test_a_close_waits_until_everything_written_has_left(contexts: Contexts) -> None:
    async with Listener(contexts[0]) as listener:
        transport, _ = await connected(listener, contexts)
        peer = await listener.accept()
        payload = bytes(3 << 20)
        transport.send(payload)
        reading = asyncio.ensure_future(peer.receive(4 + len(payload)))
        await transport.aclose(30)
        assert await reading == struct.pack(">I", len(payload)) + payload
