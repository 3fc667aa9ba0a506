"""The lines of a TradingView session: the access (token and symbols), and the connections to /streaming.

Everything made for one connection ends with it. Always holds: a stream is read in wire order and waits for nobody; a rotation costs it
nothing, since another connection brings the same before the old one goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import Error, LinkLost, Rejected
from tradesession.hooks import Hooks, StepTimed, SymbolSilent, one_line
from tradesession.protocol.backoff import Backoff
from tradesession.protocol.handover import Handover
from tradesession.protocol.lines import LineReader
from tradesession.secrets import Secret
from tradesession.session.supervisor import Line
from tradesession.tasks import TaskOwner
from tradesession.timing import deadline, sleep
from tradesession.tokens.token import Token
from tradesession.tradingview.handshake import Server, header_of
from tradesession.tradingview.liveness import Silence
from tradesession.tradingview.market import Feed
from tradesession.tradingview.records import Update
from tradesession.transports.http import HttpStream
from tradesession.verdict import Action, Level, Verdict

_log = logging.getLogger("tradesession.tradingview")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the handshake: its name, and its duration in seconds."""

    name: str
    seconds: float


class _Steps:
    """Those of the present connection of a line, each told when it is done."""

    def __init__(self, source: str, clock: Clock, hooks: Hooks) -> None:
        self.done: list[Step] = []
        self._source = source
        self._clock = clock
        self._hooks = hooks
        self._mark = 0.0

    def begin(self) -> None:
        self.done = []
        self._mark = self._clock.monotonic()

    def end(self, name: str) -> None:
        began, self._mark = self._mark, self._clock.monotonic()
        self.done.append(Step(name, self._mark - began))
        self._hooks.emit(StepTimed(source=self._source, step=name, seconds=self._mark - began))


class AccessLine(Line):
    """The server's word that we may read: a token that it takes, and its symbols. Lost when the token is, for good."""

    def __init__(self, name: str, server: Server, clock: Clock, hooks: Hooks, load_symbols: Callable[[], Awaitable[object]]) -> None:
        self.name = name
        self.is_open = asyncio.Event()
        self._steps = _Steps(name, clock, hooks)
        self._server = server
        self._load_symbols = load_symbols
        self._lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    @property
    def steps(self) -> list[Step]:
        """Of the present access, in the order in which they ended."""
        return self._steps.done

    async def connect(self) -> None:
        """See Line."""
        self._lost = asyncio.get_running_loop().create_future()
        self._steps.begin()
        if await self._server.token() is not None:
            self._steps.end("token")

    async def handshake(self) -> None:
        """See Line."""
        await self._load_symbols()
        self._steps.end("symbol_info")

    async def restore(self) -> None:
        """See Line. Nothing was subscribed."""
        self.is_open.set()

    async def lost(self) -> Exception:
        """See Line."""
        return await asyncio.shield(self._lost)

    async def disconnect(self, timeout: float) -> None:
        """See Line. Requests have connections of their own."""
        self.is_open.clear()
        self._lost.cancel()  # harmless when the cause is there

    def fail(self, cause: Error) -> None:
        """The token is dead: nothing can be read until somebody has seen to it."""
        if self.is_open.is_set() and not self._lost.done():
            self._lost.set_result(cause)


@dataclass(eq=False, slots=True)
class _Connection:
    """One of a stream's connections, as long as it lives."""

    stream: HttpStream
    bearer: Secret | None
    feed: Feed
    tasks: TaskOwner = field(default_factory=TaskOwner)

    async def aclose(self) -> None:
        try:
            await self.tasks.aclose()
        finally:  # also when whoever closes is cancelled
            self.stream.close()


class StreamingLine(Line):
    """One connection to /streaming, or two of them while one takes over. `on_update` gets what comes, and must neither wait nor raise.

    `turn` is shared by all streams of a session: one of them is replaced at a time, as brokers count connections.
    """

    def __init__(
        self,
        name: str,
        server: Server,
        new_feed: Callable[[], Feed],
        silence: Silence,
        *,
        clock: Clock,
        hooks: Hooks,
        chance: Callable[[], float],
        access: asyncio.Event,
        turn: asyncio.Lock,
        renews: bool,
        on_update: Callable[[StreamingLine, Update], None],
    ) -> None:
        self.name = name
        self.silence = silence
        self.connections = 0
        """How many were opened by now."""
        self._server = server
        self._new_feed = new_feed
        self._clock = clock
        self._hooks = hooks
        self._chance = chance
        self._access = access
        self._turn = turn
        self._renews = renews
        self._on_update = on_update
        self._steps = _Steps(name, clock, hooks)
        self._connection: _Connection | None = None
        self._going: _Connection | None = None  # while another one takes over from it
        self._handover: Handover[Update] | None = None
        self._aligned = asyncio.Event()
        self._last: Update | None = None
        self._rotations = server.rotations()
        self._tasks = TaskOwner()
        self._lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    @property
    def steps(self) -> list[Step]:
        """Of the present connection, in the order in which they ended."""
        return self._steps.done

    # --- Line -------------------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """See Line. Waits for the access, so that a wrong token is refused once and not once for each stream."""
        self._lost, self.last_heard = asyncio.get_running_loop().create_future(), None
        await self._access.wait()
        self._steps.begin()
        self._rotations = self._server.rotations()  # from before the opening, so that none is missed
        try:
            self._connection = await self._opened()
        except Rejected as refusal:
            if refusal.verdict.level is Level.REQUEST and refusal.verdict.action is Action.FATAL and self.connections:
                refusal.verdict = Verdict(Action.RETRY, Level.LINK)  # it was there before: a server that is being replaced
            raise
        self._steps.end("streaming")

    async def handshake(self) -> None:
        """See Line. Reading begins here, behind the Gap that tells of the loss before."""
        assert self._connection is not None, "connect comes first"
        self._handover, self._last = None, None
        self.silence.begin(self._clock.monotonic())
        self._begin(self._connection)
        self._spawn(self._watch(), "watches")
        if self._renews:
            self._spawn(self._follow_rotations(self._rotations), "follows rotations")

    async def restore(self) -> None:
        """See Line. The stream has everything, always."""

    async def lost(self) -> Exception:
        """See Line."""
        return await asyncio.shield(self._lost)

    async def disconnect(self, timeout: float) -> None:
        """See Line. There is no goodbye in the protocol."""
        connections, self._connection, self._going = (self._connection, self._going), None, None
        self._lost.cancel()  # harmless when the cause is there
        try:
            await self._tasks.aclose()
        finally:
            for connection in connections:
                if connection is not None:
                    await connection.aclose()

    # --- reading ----------------------------------------------------------------------------------------------------------------

    async def _opened(self) -> _Connection:
        stream, bearer = await self._server.stream("/streaming")
        self.connections += 1
        return _Connection(stream, bearer, self._new_feed())

    def _begin(self, connection: _Connection) -> None:
        task = connection.tasks.spawn(self._read(connection), name=f"{self.name} reads")
        task.add_done_callback(lambda task: self._read_ended(connection, task))

    async def _read(self, connection: _Connection) -> None:
        lines = LineReader(policy.TRADINGVIEW_LINE_LIMIT)
        while data := await connection.stream.read():
            self.silence.received(self._clock.monotonic())
            for line in lines.feed(data):
                for update in connection.feed.read(line):
                    self._take(connection, update)
        where = f", in the middle of a line ({lines.pending} bytes)" if lines.pending else ""
        raise LinkLost(f"the server ended the stream{where}")

    def _take(self, connection: _Connection, update: Update) -> None:
        handover = self._handover
        if handover is None:
            self._deliver(update)
            return
        for one in handover.from_old(update) if connection is self._going else handover.from_new(update):
            self._deliver(one)
        if handover.is_aligned:
            self._aligned.set()
        if handover.is_over:
            self._handover = None

    def _deliver(self, update: Update) -> None:
        self._last = update
        self.silence.heard(update.symbol, self._clock.monotonic())
        self._on_update(self, update)

    def _read_ended(self, connection: _Connection, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()  # looked at in any case: asyncio complains of one that nobody has seen
        if connection is self._connection or not isinstance(error, Error):
            self._fail(error)
        elif connection is self._going:
            self._end_old()

    def _fail(self, error: BaseException | None) -> None:
        """The connection has ended; a mistake of ours ends the line, loudly."""
        if error is not None and not self._lost.done():
            self.last_heard = self._clock.wall() - self.silence.of_all(self._clock.monotonic())
            self._lost.set_result(error.with_traceback(None) if isinstance(error, Error) else RuntimeError(type(error).__name__))

    def _spawn(self, coroutine: Coroutine[Any, Any, None], what: str) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                self._fail(task.exception())

        self._tasks.spawn(coroutine, name=f"{self.name} {what}").add_done_callback(ended)

    async def _watch(self) -> None:
        while True:
            await sleep(self._clock, max(self.silence.limit, 1.0) / 4)
            finding = self.silence.look(self._clock.monotonic(), self._clock.wall())
            for symbol, seconds in finding.silent:
                self._hooks.emit(SymbolSilent(source=self.name, symbol=symbol, seconds=seconds))
            if finding.is_dead:
                raise LinkLost("nothing of what was heard before is heard any more, in its trading hours: the stream counts as dead")

    # --- replacing --------------------------------------------------------------------------------------------------------------

    async def _follow_rotations(self, rotations: AsyncIterator[Token]) -> None:
        """Have every connection stand on the token in use: a broker may end it with the one that opened it."""
        async for token in rotations:
            backoff = Backoff(self._chance)
            while backoff.failures < policy.TRADINGVIEW_REPLACE_TRIES and self._connection is not None:
                if self._connection.bearer == header_of(token) or await self._replaced():
                    break
                await sleep(self._clock, backoff.failed(self._clock.monotonic()))

    async def _replaced(self) -> bool:
        """One try to let another connection take over; without one, all is as it was."""
        async with self._turn:
            try:
                new = await self._opened()
            except Error as error:
                _log.debug("%s: not replaced, it goes on with the old token: %s", self.name, one_line(error))
                return False
            self._going, self._connection = self._connection, new
            self._aligned.clear()
            self._handover = Handover(lambda update: update, [self._last] if self._last is not None else [])
            self._begin(new)
            try:
                async with deadline(self._clock, policy.TRADINGVIEW_OVERLAP):
                    await self._aligned.wait()
            except TimeoutError:
                pass  # a quiet stream has brought nothing to compare: what both would have brought, the new one has
            going = self._going
            self._end_old()
            self._spawn(self._settle(self._handover), "settles")
            if going is not None:
                await going.aclose()
            return True

    async def _settle(self, handover: Handover[Update] | None) -> None:
        await sleep(self._clock, policy.HANDOVER_SETTLE)
        if self._handover is handover:
            self._handover = None  # nothing can come twice any more: an update that equals another one is a new one

    def _end_old(self) -> None:
        """The old connection brings no more."""
        self._going = None
        self._aligned.set()
        if self._handover is not None:
            for update in self._handover.end_old():
                self._deliver(update)
