"""An event loop in virtual time: nothing waits, the time jumps to the next timer as soon as nothing is left to do.

It is asyncio's own loop with its clock and its selector replaced. Always holds: time moves only when no callback is due and no socket is
ready; it moves to the next timer and not past it; and what runs in one moment runs in the same order in every run.
"""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
import itertools
import selectors
import socket
from collections.abc import Callable, Coroutine, Generator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar, TypeVarTuple

from tradesession.sandbox.simulation.network import FIRST_DESCRIPTOR, Network
from tradesession.timing import AdjustableClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START: Final = 1_767_225_600.0
"""When a virtual world begins unless told otherwise: 2026-01-01T00:00:00Z, a Thursday."""

BUSY_LIMIT: Final = 1_000_000
"""Turns of the loop in one moment after which it counts as stuck: the busiest moments of a thousand clients take some thousands."""

_FEW_TIMERS: Final = 1000
"""Timers that may lie about, taken back or not, before anybody looks through them."""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"localhost": ("127.0.0.1", "::1")})


class Stalled(RuntimeError):
    """The simulation cannot go on: everybody waits for what nobody will do, or somebody never waits at all."""


class VirtualTimer(asyncio.TimerHandle):
    """A timer of the virtual time. `work` is done in `context`, unless it was taken back, be it in the very moment in which it was due."""

    def __init__(self, when: float, work: Callable[[], object], loop: asyncio.AbstractEventLoop, context: Context | None) -> None:
        super().__init__(when, work, (), loop, context)
        self._work: Callable[[], object] | None = work
        self._in_context = context
        self._on = loop

    def cancel(self) -> None:
        """See asyncio."""
        super().cancel()
        self._work = None

    def start(self) -> None:
        """It is due: the loop does the work in its next turn."""
        self._on.call_soon(self._fire, context=self._in_context)

    def _fire(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work()


class VirtualSelector(selectors.SelectSelector):
    """Finds out which sockets are ready, and keeps the time, which passes in `select` and nowhere else.

    The timers are here and not in asyncio's own heap, which has no order for those of one moment and knows the time by nanoseconds only.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.now = 0.0
        self._network = network
        self._keys: dict[int, selectors.SelectorKey] = {}  # as `get_map`, without its detours
        self._kernel = selectors.DefaultSelector()
        self._of_kernel = 0
        self._turns = 0
        self._timers: list[tuple[float, int, VirtualTimer]] = []
        self._numbers = itertools.count()
        self._sweep_at = _FEW_TIMERS

    def set_timer(self, timer: VirtualTimer) -> None:
        """Start it when it is due; those of one moment in the order in which they were set."""
        heapq.heappush(self._timers, (timer.when(), next(self._numbers), timer))
        if len(self._timers) > self._sweep_at:  # most deadlines are taken back long before they are due
            self._timers = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._sweep_at = max(_FEW_TIMERS, 2 * len(self._timers))

    # --- what is watched -------------------------------------------------------------------------------------------------------

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See selectors."""
        key = super().register(fileobj, events, data)
        self._keys[key.fd] = key
        sock = self._network.find(key.fd)
        if sock is not None:
            self._network.changed(sock)
        elif key.fd < FIRST_DESCRIPTOR:
            self._kernel.register(key.fd, events)
            self._of_kernel += 1
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See selectors."""
        key = super().unregister(fileobj)
        del self._keys[key.fd]
        if key.fd < FIRST_DESCRIPTOR:
            self._kernel.unregister(key.fd)
            self._of_kernel -= 1
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See selectors."""
        self.unregister(fileobj)
        return self.register(fileobj, events, data)

    def close(self) -> None:
        """See selectors."""
        self._kernel.close()
        super().close()

    # --- time ------------------------------------------------------------------------------------------------------------------

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; when nothing is, the time of the next timer has come. Raises Stalled."""
        ready = self._ready() if self._network.active else []
        if self._of_kernel > 1:  # more than the pipe by which threads wake the loop up
            ready += self._ready_in_kernel()
        if not ready and timeout is None and not self._go_to_next_timer():
            ready = self._ready_in_kernel()  # a thread may have called
            if not ready:
                raise Stalled(f"at {self.now:.3f} s everybody waits, and nobody has set a timer")
        self._start_timers()
        self._turns += 1
        if self._turns > BUSY_LIMIT:
            self._turns = 0  # for those who are cancelled now, and clean up
            raise Stalled(f"{BUSY_LIMIT} turns at {self.now:.3f} s: something never waits, such as a loop around `await asyncio.sleep(0)`")
        return ready

    def _go_to_next_timer(self) -> bool:
        """Let the time pass; False when there is no timer."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if self._timers and self._timers[0][0] > self.now:
            self.now = self._timers[0][0]
            self._turns = 0
        return bool(self._timers)

    def _start_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled():
                timer.start()

    def _ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        keys, active = self._keys, self._network.active
        ready = []
        for number, sock in list(active.items()):
            key = keys.get(number)
            events = 0 if key is None else sock.readiness() & key.events
            if key is not None and events:
                ready.append((key, events))
            else:
                del active[number]  # until something happens to it, or somebody watches it
        return ready

    def _ready_in_kernel(self) -> list[tuple[selectors.SelectorKey, int]]:
        return sorted(((self._keys[key.fd], events) for key, events in self._kernel.select(0)), key=lambda item: item[0].fd)


class OrderedTask(asyncio.Task[T]):
    """A task whose place in a set depends on its number and not on its address, so that sets of tasks have the same order in every run."""

    def __init__(self, number: int, coroutine: Coroutine[Any, Any, T], **options: Any) -> None:
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module. Functions given to an executor run in its thread while everything else stands still."""

    def __init__(self, network: Network) -> None:
        self._time = VirtualSelector(network)
        super().__init__(self._time)
        self._numbers = itertools.count(1)
        self._threads: ThreadPoolExecutor | None = None
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._time.now

    def call_at(self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> VirtualTimer:
        """See asyncio."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        timer = VirtualTimer(when, partial(callback, *args) if args else callback, self, context or copy_context())
        self._time.set_timer(timer)
        return timer

    def call_later(self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> VirtualTimer:
        """See asyncio."""
        return self.call_at(self._time.now + delay, callback, *args, context=context)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any
    ) -> OrderedTask[T]:
        return OrderedTask(next(self._numbers), coroutine, loop=loop, **options)  # type: ignore[arg-type]  # Task takes generators too

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # a future is awaitable
        """See asyncio. When this returns the function has run: in virtual time a thread takes none, and no run depends on its pace."""
        if executor is None:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(1, thread_name_prefix="simulation")
            executor = self._threads
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(executor.submit(func, *args).result())
        except Exception as error:
            future.set_exception(error)
        return future

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Addresses and `localhost` only: there is no name service in a simulation."""
        name = host.decode() if isinstance(host, bytes) else host or "0.0.0.0"  # noqa: S104 - nobody else is in this network
        found = []
        for address in _NAMES.get(name, (name,)):
            try:
                kind = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
            except ValueError:
                raise socket.gaierror(socket.EAI_NONAME, f"{name} has no address in the simulation; give a numeric one") from None
            if family in (0, kind):
                place = (address, int(port or 0), 0, 0) if kind == socket.AF_INET6 else (address, int(port or 0))
                found.append((kind, type or socket.SOCK_STREAM, proto or socket.IPPROTO_TCP, "", place))
        return found

    def close(self) -> None:
        """See asyncio."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        super().close()


class VirtualClock(AdjustableClock):
    """The clock of a virtual world: its monotonic time is the loop's. `advance` only waits, as all time there passes by waiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: float = START) -> None:
        super().__init__()
        self._loop = loop
        self._offset = start - loop.time()

    def monotonic(self) -> float:
        """See Clock."""
        return self._loop.time()

    def wall(self) -> float:
        """See Clock."""
        return self._loop.time() + self._offset

    def shift_wall(self, seconds: float) -> None:
        """See AdjustableClock."""
        self._offset += seconds

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """See Clock."""
        return self._loop.call_at(when, callback)

    async def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0) -> None:
        """Wait for the sum of the arguments."""
        await asyncio.sleep(seconds + 60 * minutes + 3600 * hours + 86400 * days)
