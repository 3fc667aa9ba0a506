"""Wire: one hub connection's way to the server, over one socket or, with stateful reconnect, over several one after the other.

May know sockets and timers, must not know what a call is. Always holds: records reach `on_event` in the server's order, each once; pings go
out at their own pace whatever else happens; the end comes once, with its cause, and nothing reaches anybody after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from tradesession.clock import Clock
from tradesession.errors import Error, LinkLost, NotSent, ProtocolError, Rejected, Unreachable
from tradesession.hooks import Heartbeat, Hooks
from tradesession.protocol.signalr.codec import JsonCodec
from tradesession.protocol.signalr.machine import Accepted, HubEvent, HubMachine, Phase, Refused
from tradesession.protocol.signalr.records import Close
from tradesession.protocol.signalr.replay import Replay
from tradesession.secrets import redact_text
from tradesession.signalr.acks import Acknowledgements
from tradesession.signalr.config import Config
from tradesession.signalr.errors import HubClosed
from tradesession.signalr.heart import Heart
from tradesession.signalr.opening import Opened, Opener
from tradesession.signalr.resumption import Resumption
from tradesession.timing import deadline
from tradesession.tokens.token import Token
from tradesession.verdict import Action, Level, Verdict

_log = logging.getLogger("tradesession.signalr")


class _Socket:
    """The Receiver of one socket. What it brings before it is in use waits; what it brings after it was replaced is nobody's."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._early: list[bytes] | None = []
        self.cause: Error | None = None

    def begin(self) -> None:
        """It is in use; a server may have spoken right behind the opening. Raises ProtocolError as `Wire.received` does."""
        early, self._early = self._early, None
        for frame in early or ():
            self._wire.received(self, frame)

    def received(self, frames: Iterable[bytes]) -> None:
        is_torn = True
        for frame in frames:
            is_torn = False
            if self._early is not None:
                self._early.append(frame)
            else:
                self._wire.received(self, frame)
        if is_torn:
            self._wire.heard(self)

    def lost(self, cause: Error) -> None:
        self.cause = cause
        self._wire.socket_lost(self, cause)


class Wire:
    """One hub connection. `on_event` gets what the machine tells, `on_end` the cause of the end; neither may wait or raise."""

    def __init__(
        self,
        config: Config,
        opener: Opener,
        *,
        clock: Clock,
        hooks: Hooks,
        chance: Callable[[], float],
        on_event: Callable[[HubEvent], None],
        on_end: Callable[[Error], None],
    ) -> None:
        self.machine = HubMachine()
        self.cause: Error | None = None
        """Why it ended; None while it lives."""
        self.token: Token | None = None
        """The source's token that the present socket was opened with."""
        self.resumptions = 0
        """How many sockets were replaced so far."""
        self._config = config
        self._opener = opener
        self._clock = clock
        self._hooks = hooks
        self._on_event = on_event
        self._on_end = on_end
        self._opened: Opened[_Socket] | None = None
        self._socket: _Socket | None = None  # None while there is no socket in use
        self._heart = Heart(clock, interval=config.ping_interval, patience=config.server_timeout, beat=self._beat, die=self._die)
        self._resumption = Resumption(
            config.name, timeout=config.resume_timeout, clock=clock, chance=chance, reopen=self._reopen, give_up=self.end
        )
        self._acks: Acknowledgements | None = None
        self._accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room: set[asyncio.Future[None]] = set()

    @property
    def silence(self) -> float:
        """Seconds since the server was last heard, over whatever socket."""
        return self._heart.silence

    # --- the beginning ------------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Negotiate and open the socket. Raises as `Opener.open` does, or the cause of an early end."""
        opened = await self._opener.open(lambda: _Socket(self))
        negotiated = opened.admission.negotiated
        is_stateful = negotiated is not None and negotiated.stateful and self._config.stateful
        replay = Replay(limit=self._config.replay_buffer) if is_stateful else None
        self.machine = HubMachine(
            JsonCodec(self._config.parse_float),
            replay=replay,
            send_limit=self._config.send_limit,
            max_record=self._config.max_record,
        )
        if replay is not None:
            self._acks = Acknowledgements(replay, self._clock, patience=self._config.server_timeout, send=self._acknowledge)
        self._adopt(opened)
        opened.receiver.begin()
        _log.debug("%s: open, as connection %s%s", self._config.name, self.connection_id or "?", ", stateful" if is_stateful else "")

    async def handshake(self) -> None:
        """Agree on the protocol. Raises Unreachable when no answer comes in time, Rejected, or the cause of the end."""
        self.send(self.machine.handshake())
        try:
            async with deadline(self._clock, self._config.handshake_timeout):
                await self._accepted
        except TimeoutError:
            raise Unreachable(
                f"{self._config.name} did not answer the handshake within {self._config.handshake_timeout:g} s: is it a SignalR hub?"
            ) from None

    @property
    def connection_id(self) -> str:
        """The public name of the connection; empty when the negotiation was skipped."""
        negotiated = self._opened.admission.negotiated if self._opened is not None else None
        return negotiated.connection_id if negotiated is not None else ""

    @property
    def is_stateful(self) -> bool:
        """Whether a broken socket is replaced without a loss."""
        return self.machine.replay is not None

    # --- sending --------------------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Hand records to the socket; while there is none, those that count wait in the replay. Never waits."""
        if self._socket is not None and self._opened is not None:
            self._opened.transport.send(data)

    def deliver(self, data: bytes | None) -> bool:
        """Send what the machine gave; False when that was nothing, as it is wanted no more."""
        if data is not None and self.cause is None:
            self.send(data)
        return data is not None

    async def room(self, name: str, until: float | None = None, budget: float = 0.0) -> None:
        """Wait until more may be sent, or until this time, of a budget of so many seconds. Raises NotSent, naming what was to be sent."""
        self._check_open(name)
        if self._has_room():
            return
        try:
            async with deadline(self._clock, None if until is None else until - self._clock.monotonic()):
                while not self._has_room():
                    await self._wait_for_room()
                    self._check_open(name)
        except TimeoutError:
            raise NotSent(f"{name} was not sent within its {budget:g} s: the server does not read") from None

    # --- the end --------------------------------------------------------------------------------------------------------------------

    def end(self, cause: Error) -> None:
        """It is over, for this reason; only the first one counts. The socket is closed by `aclose`."""
        if self.cause is not None:
            return
        self.cause = cause
        self._stop_timers()
        if not self._accepted.done():
            self._accepted.set_exception(cause.with_traceback(None))
            self._accepted.exception()  # nobody need wait for it
        self._on_end(cause)
        self._wake_room()

    async def aclose(self, timeout: float) -> None:
        """Say goodbye in order, within `timeout` seconds."""
        if self.cause is None and self._accepted.done():
            self.send(self.machine.goodbye())
        self.end(LinkLost("closed by this side"))
        await self._resumption.aclose()
        if self._opened is not None:
            await self._opened.transport.aclose(timeout)

    def public(self, text: str) -> str:
        """A text of the server with everything masked that is secret on this connection."""
        return redact_text(text, self._opened.secrets if self._opened is not None else ())

    # --- what the sockets bring -------------------------------------------------------------------------------------------------------

    def heard(self, socket: _Socket) -> None:
        """A part of a message came."""
        if socket is self._socket:
            self._heart.heard()

    def received(self, socket: _Socket, frame: bytes) -> None:
        """A message came. A ProtocolError raised here ends the socket, and with it the connection."""
        if not self._is_heard(socket):
            return
        spoken = self.machine.spoken
        for event in self.machine.receive(frame):
            self._take(event)
            if not self._is_heard(socket):
                return
        if self.machine.spoken != spoken:
            self._heart.heard()
        replay = self.machine.replay
        if self._acks is not None and replay is not None and not replay.awaits_sequence:
            self._resumption.steady()
            self._acks.heard(len(frame))
            self._wake_room()

    def socket_lost(self, socket: _Socket, cause: Error) -> None:
        """A socket is over."""
        if socket is not self._socket:
            return
        self._socket = None
        if self.cause is not None:
            return
        cause = self._masked(cause)
        if self.is_stateful and self.machine.phase is Phase.OPEN and isinstance(cause, LinkLost):
            self._suspend(cause)
        else:
            self.end(cause)

    # --- inside -----------------------------------------------------------------------------------------------------------------------

    def _adopt(self, opened: Opened[_Socket]) -> None:
        self._opened = opened
        if self.cause is not None:  # it was ended while the socket was opened
            opened.transport.abort()
            raise self.cause
        if opened.receiver.cause is not None:  # it broke in the very moment in which it opened
            raise self._masked(opened.receiver.cause)
        self._socket = opened.receiver
        self.token = opened.token
        self._heart.begin()

    def _masked(self, cause: Error) -> Error:
        """The same without secrets: a LinkLost may hold the reason with which the server closed the WebSocket."""
        return LinkLost(self.public(str(cause))) if type(cause) is LinkLost else cause

    def _is_heard(self, socket: _Socket) -> bool:
        return socket is self._socket and self.cause is None

    def _take(self, event: HubEvent) -> None:
        if isinstance(event, Accepted):
            if not self._accepted.done():
                self._accepted.set_result(None)
        elif isinstance(event, Refused):
            self.end(
                Rejected(
                    "the handshake",
                    self.public(event.error),
                    request=f"the connection to {self._config.name}",
                    remedy="it must speak the JSON protocol, version 1",
                    verdict=Verdict(Action.RETRY, Level.LINK),
                )
            )
        elif isinstance(event, Close):
            self.end(HubClosed(self.public(event.error or ""), allow_reconnect=event.allow_reconnect))
        else:
            self._on_event(event)

    def _beat(self, silence: float) -> None:
        if self._acks is not None and self._acks.is_deaf(self._clock.monotonic()):
            self._cut(LinkLost(f"the hub has acknowledged nothing for {self._config.server_timeout:g} s: it does not read"))
        elif self.machine.phase is Phase.OPEN:
            self.send(self.machine.ping())
            self._hooks.emit(Heartbeat(source=self._config.name, silence=silence))

    def _die(self, silence: float) -> None:
        # No other socket would help: a server gives a connection up sooner than this.
        self._cut(LinkLost(f"the hub has sent nothing for {silence:.0f} s"))

    def _cut(self, cause: LinkLost) -> None:
        self.end(cause)
        if self._opened is not None:
            self._opened.transport.abort()

    def _stop_timers(self) -> None:
        self._heart.stop()
        if self._acks is not None:
            self._acks.stop()

    def _check_open(self, name: str) -> None:
        if self.cause is not None:
            raise NotSent(f"{name} was not sent: {self.cause}") from self.cause

    def _has_room(self) -> bool:
        if self.machine.replay is not None and self.machine.replay.is_full:
            return False
        return self._socket is None or self._opened is None or self._opened.transport.is_writable

    async def _wait_for_room(self) -> None:
        if self._socket is not None and self._opened is not None and not self._opened.transport.is_writable:
            await self._opened.transport.writable()
            return
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.add(news)
        try:
            await news
        finally:
            self._room.discard(news)

    def _wake_room(self) -> None:
        for news in self._room:
            if not news.done():
                news.set_result(None)

    # --- stateful reconnect -------------------------------------------------------------------------------------------------------------

    def _acknowledge(self) -> None:
        if self._socket is not None:
            self.send(self.machine.ack())

    def _suspend(self, cause: LinkLost) -> None:
        self._stop_timers()
        self.machine.suspend()
        self._resumption.begin(cause)

    async def _reopen(self) -> None:
        """Replace the socket, and go on. Raises as `Opener.reopen` does, or what broke the new one at once."""
        assert self._opened is not None, "only what was open is opened again"
        opened = await self._opener.reopen(self._opened.admission, lambda: _Socket(self))
        self._adopt(opened)
        self.resumptions += 1
        self.send(self.machine.resume())
        try:
            opened.receiver.begin()
        except ProtocolError as error:
            self.end(error)
        self._wake_room()
