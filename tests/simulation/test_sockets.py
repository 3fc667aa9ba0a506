"""A socket in memory does what one of the kernel does: every test here runs on both."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.sandbox.simulation.network import FIRST_DESCRIPTOR, Network
from tradesession.sandbox.simulation.sockets import CAPACITY, READABLE, WRITABLE, MemorySocket, socket_class

AnySocket = socket.socket | MemorySocket

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is compared is Linux")


class Kind:
    """Makes sockets of one kind and tells whether they are ready."""

    def __init__(self, kind: str) -> None:
        self.network = Network()
        self.stack = ExitStack()
        self.in_memory = kind == "memory"

    def socket(self, family: int = socket.AF_INET) -> AnySocket:
        made: AnySocket = MemorySocket(self.network, family) if self.in_memory else socket.socket(family)
        made.setblocking(False)
        self.stack.callback(made.close)
        return made

    def adopt(self, accepted: AnySocket) -> AnySocket:
        accepted.setblocking(False)
        self.stack.callback(accepted.close)
        return accepted

    def readiness(self, one: AnySocket) -> int:
        if isinstance(one, MemorySocket):
            return one.readiness()
        reading, writing, _ = select.select([one], [one], [], 0)
        return (READABLE if reading else 0) | (WRITABLE if writing else 0)

    def listener(self, backlog: int = 16) -> AnySocket:
        listener = self.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        return listener

    def pair(self) -> tuple[AnySocket, AnySocket]:
        listener = self.listener()
        client = self.socket()
        with contextlib.suppress(BlockingIOError):
            client.connect(listener.getsockname())
        server = self.adopt(listener.accept()[0])
        return client, server


@pytest.fixture(params=["kernel", "memory"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    kind = Kind(request.param)
    with kind.stack:
        yield kind
    assert kind.network.sockets == []


Pair = tuple[AnySocket, AnySocket]


@pytest.fixture
def pair(kind: Kind) -> Pair:
    return kind.pair()


def number(call: Callable[[], object]) -> int | None:
    """The error number with which the call fails."""
    with pytest.raises(OSError) as failure:
        call()
    return failure.value.errno


# --- connecting -----------------------------------------------------------------------------------------------------------------


def test_the_two_ends_know_each_other(pair: Pair) -> None:
    client, server = pair
    assert client.getpeername() == server.getsockname()
    assert server.getpeername() == client.getsockname()
    assert client.getsockname() != server.getsockname()
    assert (client.family, client.type) == (server.family, server.type) == (socket.AF_INET, socket.SOCK_STREAM)


def test_a_connection_can_be_written_to_before_it_is_accepted(kind: Kind) -> None:
    listener, client = kind.listener(), kind.socket()
    assert kind.readiness(listener) == 0
    assert client.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)
    assert kind.readiness(listener) == READABLE
    assert kind.readiness(client) == WRITABLE
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    client.send(b"early")
    server, address = listener.accept()
    assert address == client.getsockname()
    assert kind.adopt(server).recv(10) == b"early"
    assert number(listener.accept) == errno.EAGAIN


def test_where_nobody_listens_a_connection_is_refused(kind: Kind) -> None:
    nobody = kind.socket()
    nobody.bind(("127.0.0.1", 0))
    client = kind.socket()
    assert client.connect_ex(nobody.getsockname()) == errno.EINPROGRESS
    assert kind.readiness(client) == READABLE | WRITABLE
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_one_that_may_block_hears_at_once_how_it_ended(kind: Kind) -> None:
    listener, client = kind.listener(), kind.socket()
    client.setblocking(True)
    client.connect(listener.getsockname())
    assert kind.readiness(client) == WRITABLE
    address = listener.getsockname()
    listener.close()
    other = kind.socket()
    other.settimeout(5)
    assert other.connect_ex(address) == errno.ECONNREFUSED


def test_a_port_is_free_again_when_its_listener_is_closed(kind: Kind) -> None:
    first = kind.listener()
    address = first.getsockname()
    second = kind.socket()
    second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    assert number(lambda: second.bind(address)) == errno.EADDRINUSE
    first.close()
    second.bind(address)
    second.listen()
    assert second.getsockname() == address


def test_who_was_not_accepted_is_reset_when_the_listener_closes(kind: Kind) -> None:
    listener, client = kind.listener(), kind.socket()
    with contextlib.suppress(BlockingIOError):
        client.connect(listener.getsockname())
    listener.close()
    assert kind.readiness(client) & READABLE
    assert number(lambda: client.recv(1)) == errno.ECONNRESET


def test_when_enough_wait_to_be_accepted_the_next_one_waits_outside(kind: Kind) -> None:
    listener = kind.listener(backlog=0)
    clients = [kind.socket() for _ in range(3)]
    for client in clients:
        client.connect_ex(listener.getsockname())
    assert [kind.readiness(client) for client in clients] == [WRITABLE, 0, 0]
    if kind.in_memory:  # the kernel's clients knock again only after a second
        assert number(lambda: clients[1].connect(("127.0.0.1", 1))) == errno.EALREADY
        assert number(lambda: clients[1].send(b"x")) == number(lambda: clients[1].recv(1)) == errno.EAGAIN
        clients[1].close()
        kind.adopt(listener.accept()[0])
        assert kind.readiness(clients[2]) == WRITABLE
        late = kind.socket()
        late.connect_ex(listener.getsockname())
        listener.close()
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_a_listener_on_all_addresses_is_found_under_each(kind: Kind) -> None:
    listener = kind.socket()
    listener.bind(("0.0.0.0", 0))
    listener.listen()
    client = kind.socket()
    client.connect_ex(("127.0.0.1", listener.getsockname()[1]))
    assert kind.readiness(client) == WRITABLE


def test_ipv6_addresses_have_four_parts(kind: Kind) -> None:
    if not kind.in_memory and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    listener = kind.socket(socket.AF_INET6)
    try:
        listener.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    listener.listen()
    client = kind.socket(socket.AF_INET6)
    client.connect_ex(listener.getsockname())
    assert client.getpeername() == listener.getsockname()
    assert len(client.getsockname()) == 4


@pytest.mark.parametrize("call", ["accept", "getpeername", "recv", "send", "shutdown"])
def test_what_is_not_connected_says_so(kind: Kind, call: str) -> None:
    one = kind.socket()
    calls: dict[str, Callable[[], object]] = {
        "accept": one.accept,
        "getpeername": one.getpeername,
        "recv": lambda: one.recv(1),
        "send": lambda: one.send(b"x"),
        "shutdown": lambda: one.shutdown(socket.SHUT_WR),
    }
    expected = {"accept": (errno.EINVAL,), "send": (errno.ENOTCONN, errno.EPIPE)}.get(call, (errno.ENOTCONN,))
    assert number(calls[call]) in expected


def test_the_second_connect_tells_of_the_first_and_the_third_is_refused(pair: Pair) -> None:
    client, server = pair
    client.connect(server.getsockname())
    assert number(lambda: client.connect(server.getsockname())) == errno.EISCONN
    assert client.connect_ex(server.getsockname()) == errno.EISCONN


# --- bytes ----------------------------------------------------------------------------------------------------------------------


def test_bytes_arrive_in_order_and_in_the_pieces_that_are_asked_for(kind: Kind, pair: Pair) -> None:
    client, server = pair
    assert kind.readiness(server) == WRITABLE
    assert number(lambda: server.recv(1)) == errno.EAGAIN
    assert client.send(b"abc") + client.send(memoryview(b"def")) + client.sendmsg([b"g", b"hi"]) == 9
    assert kind.readiness(server) == READABLE | WRITABLE
    assert server.recv(2, socket.MSG_PEEK) == b"ab"
    assert server.recv(4) == b"abcd"
    buffer = bytearray(3)
    assert server.recv_into(buffer) == 3
    assert bytes(buffer) == b"efg"
    assert server.recv_into(buffer, 1) == 1
    assert server.recv(100) == b"i"
    assert kind.readiness(server) == WRITABLE


def fill(one: AnySocket) -> int:
    """Send until nothing more is taken; how much was."""
    total = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            total += one.send(b"x" * 10_000)
    return total


def test_a_peer_that_does_not_read_stops_the_sender_until_it_does(kind: Kind, pair: Pair) -> None:
    client, server = pair
    total = fill(client)
    assert total >= CAPACITY
    assert kind.readiness(client) == 0
    seen = 0
    while seen < total:
        seen += len(server.recv(1 << 20))
    assert kind.readiness(client) == WRITABLE
    assert client.send(b"more") == 4
    assert server.recv(10) == b"more"


# --- ending ---------------------------------------------------------------------------------------------------------------------


def test_an_orderly_end_lets_the_peer_read_everything_first(kind: Kind, pair: Pair) -> None:
    client, server = pair
    client.send(b"last words")
    client.close()
    assert client.fileno() == -1
    assert kind.readiness(server) == READABLE | WRITABLE
    assert server.recv(100) == b"last words"
    assert server.recv(100) == server.recv(100) == b""


def test_half_of_a_connection_can_be_closed(kind: Kind, pair: Pair) -> None:
    client, server = pair
    client.shutdown(socket.SHUT_WR)
    assert number(lambda: client.send(b"x")) == errno.EPIPE
    assert server.recv(1) == b""
    assert kind.readiness(client) == WRITABLE
    server.send(b"still heard")
    assert client.recv(100) == b"still heard"
    server.close()
    assert client.recv(1) == b""


def test_reading_can_be_ended_alone(pair: Pair) -> None:
    client, server = pair
    client.shutdown(socket.SHUT_RD)
    assert client.recv(1) == b""
    client.send(b"x")
    assert server.recv(1) == b"x"


def test_a_close_with_something_unread_is_a_reset(kind: Kind, pair: Pair) -> None:
    client, server = pair
    server.send(b"answer")
    client.send(b"never read")
    server.close()
    assert kind.readiness(client) == READABLE | WRITABLE
    assert client.recv(100) == b"answer"
    assert number(lambda: client.recv(1)) == errno.ECONNRESET
    assert client.recv(1) == b""
    assert number(lambda: client.send(b"x")) == errno.EPIPE


def test_a_close_without_lingering_is_a_reset(pair: Pair) -> None:
    client, server = pair
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == b"\x01\0\0\0\0\0\0\0"
    server.close()
    assert number(lambda: client.send(b"x")) == errno.ECONNRESET
    assert number(lambda: client.send(b"x")) == errno.EPIPE


def test_who_writes_to_a_closed_peer_hears_of_it_on_the_next_call(pair: Pair) -> None:
    client, server = pair
    server.close()
    assert client.send(b"into the void") == 13
    assert number(lambda: client.send(b"x")) == errno.EPIPE
    assert client.recv(1) == b""


def test_a_closed_socket_does_nothing_more(pair: Pair) -> None:
    client, _ = pair
    client.close()
    client.close()
    calls: list[Callable[[], object]] = [client.getsockname, client.getpeername, lambda: client.recv(1), lambda: client.send(b"x")]
    assert {number(call) for call in calls} == {errno.EBADF}


def test_it_closes_at_the_end_of_a_block_and_shows_what_it_is(kind: Kind) -> None:
    with kind.socket() as one:
        assert str(one.fileno()) in repr(one)
    assert one.fileno() == -1
    assert "closed" in repr(one)


# --- what only those in memory are --------------------------------------------------------------------------------------------------


def test_numbers_and_ports_are_the_same_in_every_run() -> None:
    def run() -> list[object]:
        network = Network()
        listener = MemorySocket(network)
        listener.listen()
        client = MemorySocket(network)
        client.connect(("127.0.0.1", listener.getsockname()[1]))
        seen = [listener.fileno(), client.fileno(), listener.getsockname(), client.getsockname(), repr(client)]
        for one in network.sockets:
            one.close()
        return seen

    assert run() == run()


def test_no_descriptor_is_handed_out_and_nothing_blocks() -> None:
    one = MemorySocket(Network())
    assert number(one.detach) == errno.EOPNOTSUPP
    one.setblocking(True)
    assert one.gettimeout() is None
    one.settimeout(3.0)
    assert one.gettimeout() == 3.0
    with pytest.raises(TypeError, match="a host and a port"):
        one.connect((1, "host"))
    one.close()


def test_the_class_makes_streams_in_memory_and_leaves_the_rest_to_the_kernel() -> None:
    network, on = Network(), True
    made = socket_class(network, lambda: on)
    stream = made()
    assert stream.fileno() >= FIRST_DESCRIPTOR
    assert issubclass(made, socket.socket)
    stream.close()
    datagrams = made(socket.AF_INET, socket.SOCK_DGRAM)
    assert 0 <= datagrams.fileno() < FIRST_DESCRIPTOR
    datagrams.close()
    on = False
    with made(socket.AF_INET, socket.SOCK_STREAM) as other:
        assert 0 <= other.fileno() < FIRST_DESCRIPTOR


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=50), st.integers(1, 60)), max_size=40))
def test_a_stream_is_what_was_sent_whatever_the_pieces(steps: list[bytes | int]) -> None:
    network = Network()
    with MemorySocket(network) as listener, MemorySocket(network) as client:
        listener.listen()
        client.connect(("127.0.0.1", listener.getsockname()[1]))
        server = listener.accept()[0]
        sent, seen = b"", b""
        for step in steps:
            if isinstance(step, bytes):
                client.send(step)
                sent += step
            elif server.readiness() & READABLE:
                seen += server.recv(step)
        client.shutdown(socket.SHUT_WR)
        while piece := server.recv(7):
            seen += piece
        server.close()
        assert seen == sent
