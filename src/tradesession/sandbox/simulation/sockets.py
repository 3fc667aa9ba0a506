"""Sockets of a simulation: TCP streams in memory, as Linux would play them on loopback.

No clock, no asyncio, no kernel. What is sent can be received at once; what happens happens in the order of the calls, so that the same
calls give the same bytes and the same errors on every machine. Always holds: a buffer has a bound, an end is either orderly (the peer
reads to the end, then b"") or a reset (the peer reads what has arrived, then an error), and nothing here reaches another process.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from tradesession.sandbox.simulation.network import Network

Address = tuple[str, int]

CAPACITY: Final = 256 * 1024
"""Bytes that may be on their way to one end: about what Linux lets pile up on loopback before it stops the sender."""

READABLE: Final = 1  # the numbers of selectors.EVENT_READ and EVENT_WRITE
WRITABLE: Final = 2

_LINGER_NOW: Final = b"\x01\0\0\0\0\0\0\0"
"""SO_LINGER switched on with no time: the close is a reset."""


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))  # becomes the subclass of that number, such as ConnectionResetError


class MemorySocket:
    """What `socket.socket(AF_INET, SOCK_STREAM)` is inside a simulation. Never waits: it behaves as a non-blocking socket does."""

    def __init__(self, network: Network, family: int = socket.AF_INET, proto: int = 0) -> None:
        self.family = socket.AddressFamily(family)
        self.type = socket.SOCK_STREAM
        self.proto = proto
        self._network = network
        self._fd = network.enter(self)
        self._options: dict[tuple[int, int], int | bytes] = {}
        self._timeout: float | None = None
        self._local: Address = ("::" if family == socket.AF_INET6 else "0.0.0.0", 0)  # noqa: S104 - in memory, for nobody else
        self._remote: Address | None = None
        self._waiting: deque[MemorySocket] | None = None  # of a listening socket: who has connected and is not yet accepted
        self._backlog = 0
        self._knocking: deque[MemorySocket] = deque()  # of a listening socket: who finds the backlog full
        self._peer: MemorySocket | None = None
        self._input = bytearray()
        self._at_end = False  # the peer will send no more
        self._finished = False  # we will send no more
        self._error = 0
        self._connecting: MemorySocket | None = None  # the listener whose backlog is full
        self._is_news = False  # connected, of which `connect` has not told yet

    # --- what it is ------------------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """A number that no descriptor of the kernel has; -1 when closed."""
        return self._fd

    def getsockname(self) -> tuple[object, ...]:
        """Where it is bound."""
        self._check_open()
        return self._shown(self._local)

    def getpeername(self) -> tuple[object, ...]:
        """Whom it is connected to."""
        self._check_open()
        if self._remote is None:
            raise _failure(errno.ENOTCONN)
        return self._shown(self._remote)

    def getsockopt(self, level: int, option: int, size: int = 0) -> int | bytes:
        """What was set; SO_ERROR is told once, as by the kernel."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            number, self._error = self._error, 0
            return number
        return self._options.get((level, option), bytes(size) if size else 0)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Remembered; SO_LINGER with no time makes `close` a reset."""
        self._check_open()
        self._options[level, option] = value

    def setblocking(self, flag: bool) -> None:
        """Remembered; nothing here ever blocks."""
        self._timeout = None if flag else 0.0

    def settimeout(self, seconds: float | None) -> None:
        """Remembered; nothing here ever blocks."""
        self._timeout = seconds

    def gettimeout(self) -> float | None:
        """What was set last."""
        return self._timeout

    # --- connecting ------------------------------------------------------------------------------------------------------------

    def bind(self, address: Sequence[object]) -> None:
        """Take an address; port 0 is a free one. OSError when it is taken."""
        self._check_open()
        self._local = self._network.bind(self, _address(address), self.family)

    def listen(self, backlog: int = 128) -> None:
        """Be connected to. As on Linux one more than `backlog` may wait; who comes then waits outside."""
        self._check_open()
        if self._waiting is None:
            if not self._local[1]:
                self.bind(self._local)
            self._waiting = deque()
            self._network.listen(self, self._local)
        self._backlog = max(0, backlog)

    def accept(self) -> tuple[MemorySocket, tuple[object, ...]]:
        """The next connection; BlockingIOError when there is none."""
        self._check_open()
        if self._waiting is None:
            raise _failure(errno.EINVAL)
        if not self._waiting:
            raise _failure(errno.EAGAIN)
        accepted = self._waiting.popleft()
        while self._knocking and len(self._waiting) <= self._backlog:
            self._admit(self._knocking.popleft())
        return accepted, accepted.getpeername()

    def connect(self, address: Sequence[object]) -> None:
        """Connect. As on Linux one that must not block says BlockingIOError first, and is writable when it is done or was refused."""
        self._raise_error()
        if self._connecting is not None:
            raise _failure(errno.EALREADY)
        if self._remote is not None:
            if self._is_news:
                self._is_news = False
                return
            raise _failure(errno.EISCONN)
        self._remote = target = _address(address)
        if not self._local[1]:
            self._local = self._network.bind(self, (target[0], 0), self.family)
        listener = self._network.listener(target)
        if listener is None or listener._waiting is None:
            self._remote, self._error = None, errno.ECONNREFUSED
            self._network.changed(self)
        elif len(listener._waiting) > listener._backlog:
            self._connecting = listener
            listener._knocking.append(self)
        else:
            listener._admit(self)
        if self._timeout == 0:
            self._is_news = True
            raise _failure(errno.EINPROGRESS)
        self._raise_error()

    def connect_ex(self, address: Sequence[object]) -> int:
        """Like `connect`, with the number of the error in place of the exception."""
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or 0
        return 0

    def _admit(self, client: MemorySocket) -> None:
        assert self._waiting is not None
        assert client._remote is not None
        accepted = MemorySocket(self._network, self.family, self.proto)
        accepted._local, accepted._remote = client._remote, client._local
        accepted._peer, client._peer = client, accepted
        client._connecting = None
        self._waiting.append(accepted)
        self._network.changed(self)
        self._network.changed(client)

    # --- bytes -----------------------------------------------------------------------------------------------------------------

    def send(self, data: bytes | bytearray | memoryview, flags: int = 0) -> int:
        """Hand over as much as there is room for. BlockingIOError without room, BrokenPipeError or ConnectionResetError after the end."""
        self._raise_error()
        if self._finished:
            raise _failure(errno.EPIPE)
        peer = self._peer
        if peer is None:
            raise _failure(errno.ENOTCONN if self._connecting is None else errno.EAGAIN)
        if peer._fd < 0:  # it is gone, and answers with a reset, of which the next call hears
            self._reset_by_peer()
            return len(data)
        room = CAPACITY - len(peer._input)
        if room <= 0:
            raise _failure(errno.EAGAIN)
        count = min(len(data), room)
        peer._input += data if count == len(data) else memoryview(data)[:count]
        self._network.changed(peer)
        return count

    def sendmsg(self, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        """Like `send`, from several buffers."""
        return self.send(b"".join(buffers))

    def recv(self, size: int, flags: int = 0) -> bytes:
        """At most `size` bytes of what has arrived; b"" at the end. BlockingIOError when nothing has."""
        if not self._input:
            self._raise_error()
            if self._at_end:
                return b""
            if self._peer is None and self._connecting is None:
                raise _failure(errno.ENOTCONN)
            raise _failure(errno.EAGAIN)
        was_full = len(self._input) >= CAPACITY
        data = bytes(self._input) if size >= len(self._input) else bytes(self._input[:size])
        if flags and flags & socket.MSG_PEEK:
            return data
        del self._input[: len(data)]
        if was_full and self._peer is not None:
            self._network.changed(self._peer)
        return data

    def recv_into(self, buffer: bytearray | memoryview, size: int = 0, flags: int = 0) -> int:
        """Like `recv`, into a buffer."""
        with memoryview(buffer).cast("B") as view:
            data = self.recv(min(size or len(view), len(view)), flags)
            view[: len(data)] = data
        return len(data)

    # --- ending ----------------------------------------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """End one direction, or both."""
        self._check_open()
        if self._peer is None:
            raise _failure(errno.ENOTCONN)
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self._finish()
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self._at_end = True
            self._network.changed(self)

    def close(self) -> None:
        """End it: in order, or by a reset when something that has arrived is unread or SO_LINGER says so, as on Linux."""
        if self._fd < 0:
            return
        self._network.leave(self)
        self._fd = -1
        for waiting in (*(self._waiting or ()),):
            waiting._reset()
        for knocking in self._knocking:
            knocking._connecting, knocking._error = None, errno.ECONNREFUSED
            self._network.changed(knocking)
        if self._connecting is not None:
            self._connecting._knocking.remove(self)
        if self._peer is not None:
            if self._input or self._options.get((socket.SOL_SOCKET, socket.SO_LINGER)) == _LINGER_NOW:
                self._peer._reset_by_peer()
            else:
                self._finish()

    def detach(self) -> int:
        """Not in a simulation: there is no descriptor to hand out."""
        raise _failure(errno.EOPNOTSUPP)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"fd={self._fd}"
        return f"<MemorySocket {state} {_text(self._local)} to {_text(self._remote) if self._remote else 'nobody'}>"

    # --- for the selector and the network --------------------------------------------------------------------------------------

    def readiness(self) -> int:
        """READABLE and WRITABLE, as `select` would find it."""
        if self._waiting is not None:
            return READABLE if self._waiting else 0
        if self._error:
            return READABLE | WRITABLE
        peer = self._peer
        if peer is None:
            return 0
        ready = READABLE if self._input or self._at_end else 0
        if self._finished or peer._fd < 0 or len(peer._input) < CAPACITY:
            ready |= WRITABLE
        return ready

    def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            if self._peer is not None and self._peer._fd >= 0:
                self._peer._at_end = True
                self._network.changed(self._peer)

    def _reset(self) -> None:
        """End it as one that nobody accepted."""
        self._input += b"\0"
        self.close()

    def _reset_by_peer(self) -> None:
        if self._fd < 0:
            return
        self._error = errno.EPIPE if self._at_end else errno.ECONNRESET
        self._at_end = self._finished = True
        self._network.changed(self)

    def _raise_error(self) -> None:
        self._check_open()
        if self._error:
            number, self._error = self._error, 0
            raise _failure(number)

    def _check_open(self) -> None:
        if self._fd < 0:
            raise _failure(errno.EBADF)

    def _shown(self, address: Address) -> tuple[object, ...]:
        return (*address, 0, 0) if self.family == socket.AF_INET6 else address


def socket_class(network: Network, applies: Callable[[], bool]) -> type[socket.socket]:
    """What stands in for `socket.socket`: streams are of the network where `applies` says so, everything else is of the kernel."""
    kernel = socket.socket

    def __new__(  # noqa: N807 - it becomes a method
        cls: type[socket.socket],
        family: int = -1,
        type: int = -1,  # noqa: A002 - socket's name
        proto: int = -1,
        fileno: int | None = None,
    ) -> MemorySocket | socket.socket:
        is_stream = family in (-1, socket.AF_INET, socket.AF_INET6) and type in (-1, socket.SOCK_STREAM)
        if fileno is None and is_stream and applies():
            return MemorySocket(network, socket.AF_INET if family == -1 else family, max(0, proto))
        return kernel(family, type, proto, fileno)

    # A class and not a function, for others derive theirs from it. What it makes is none of it, so that nobody calls __init__ again.
    return type("SimulatedSocket", (kernel,), {"__new__": __new__, "__slots__": ()})


def _address(address: Sequence[object]) -> Address:
    host, port = address[0], address[1]
    if not isinstance(host, str) or not isinstance(port, int):
        raise TypeError(f"an address is a host and a port, not {address!r}")
    return host, port


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
