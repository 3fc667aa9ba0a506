"""One client's hub connection: handshake, records, pings, endings, and what stateful reconnect carries from socket to socket.

No sockets of its own; calls run in tasks that it owns. Always holds: nothing is answered before the handshake, and when a connection is
over, everything of it is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from tradesession.sandbox.signalr.calls import Calls
from tradesession.sandbox.signalr.core import Bearer, HubCore
from tradesession.sandbox.signalr.handshake import STATEFUL_VERSION, read_handshake
from tradesession.sandbox.signalr.hub import Hub
from tradesession.sandbox.signalr.methods import HubException
from tradesession.sandbox.signalr.records import (
    ACK,
    CLOSE,
    COUNTED,
    END_BYTE,
    INVOCATION,
    PING,
    SEQUENCE,
    BadRecord,
    Record,
    UnknownType,
    read_record,
    write_record,
)
from tradesession.sandbox.signalr.replay import Replay
from tradesession.sandbox.signalr.timers import Timers

_CLOSED: Final = "Connection closed with an error."


class Socket(Protocol):
    """What carries a connection for a while."""

    def write(self, text: str) -> None:
        """Send a message, some time."""

    async def room(self) -> None:
        """Wait until not too much waits."""

    def close(self) -> None:
        """Close in an orderly way when everything has left."""

    def abort(self) -> None:
        """Reset."""


class HubConnection:
    """A connection to one hub. `over` hears when it is over. `stateful` says whether it was negotiated so."""

    def __init__(
        self,
        core: HubCore,
        hub_name: str,
        hub: type[Hub],
        bearer: Bearer,
        *,
        stateful: bool = False,
        over: Callable[[HubConnection], None],
    ) -> None:
        self.core = core
        self.hub_name = hub_name
        self.id = core.new_id()
        self.bearer = bearer
        """What its present socket was opened with."""
        self.query: Mapping[str, str] = {}
        """Of its present socket's address."""
        self.socket: Socket | None = None
        self.is_over = False
        self.is_shaken = False
        self.hub = hub(self)
        self._over = over
        self._may_be_stateful = stateful
        self._replay: Replay | None = None
        self._calls = Calls(core, self.hub, self.send, self._room)
        self._buffer = bytearray()
        self._greeting: list[str] | None = None
        self._acknowledged = asyncio.Event()
        self._has_pinged = False
        self._heard = self._spoke = core.clock.monotonic()
        self._timers = Timers(core.clock)

    @property
    def client_id(self) -> str:
        """Whose bearer it came with."""
        return self.bearer.client_id

    # --- the socket ---

    def attach(self, socket: Socket) -> None:
        """A socket carries the connection from now on."""
        if self.socket is not None:
            self.socket.abort()
        self.socket = socket
        self._buffer.clear()
        self._timers.cancel("without a socket")
        if self._replay is not None:
            self.core.journal.count("resumed")
            number, again = self._replay.resume()
            self._write({"type": SEQUENCE, "sequenceId": number})
            for one in again:
                self._write(one)
            self._look_held_back()
            self._acknowledged.set()  # whoever waits looks again
        elif not self.is_shaken:
            self._timers.set("handshake", self.core.settings.handshake_timeout, self._no_handshake)
        self._watch_bearer()

    def detached(self, socket: Socket, *, orderly: bool, cause: str) -> None:
        """That socket is gone."""
        if socket is not self.socket:
            return
        self.socket = None
        if orderly or self._replay is None or self.is_over:
            self.finish(cause)
        else:
            self.wait_for_socket()

    def received(self, data: bytes) -> None:
        """Bytes from the client, in whatever messages."""
        if self.is_over:
            return
        self._buffer += data
        if not self.is_shaken and not self._shake():
            return
        limit = self.core.settings.max_message
        while not self.is_over:
            end = self._buffer.find(END_BYTE, 0, limit)
            if end < 0:
                if len(self._buffer) > limit:
                    self._break()
                return
            try:
                record = read_record(bytes(self._buffer[:end]))
            except BadRecord:
                self._break()
                return
            except UnknownType:  # never consumed, and so in the way of everything after it
                if len(self._buffer) > limit:
                    self._break()
                return
            del self._buffer[: end + 1]
            self._heard = self.core.clock.monotonic()
            self._take(record)

    @property
    def is_stateful(self) -> bool:
        """Whether another socket may go on with it."""
        return self._replay is not None

    # --- to the client ---

    def push(self, target: str, *arguments: Any) -> None:
        """Call a target of the client, without an answer."""
        if not self.is_over:
            self.send({"type": INVOCATION, "target": target, "arguments": list(arguments)})

    def ask(self, target: str, *arguments: Any) -> asyncio.Future[Any]:
        """Call the client and get its answer. HubException."""
        return self._calls.ask(target, *arguments)

    def send(self, record: Record | str) -> None:
        """Send a record; a text goes out as it is, right or wrong."""
        if self.is_over or self.core.faults.silent_hub:
            return
        if isinstance(record, dict) and self.core.faults.unknown_members:
            record = {**record, "novelty": {"of": ["nobody", 1, None]}}
        written = write_record(record)
        counted = isinstance(record, dict) and record["type"] in COUNTED
        if counted and self._replay is not None and not self._replay.send(written):
            self._look_held_back()
            return
        self._write(written)

    def end(self, error: str | None = None, *, allow_reconnect: bool = False) -> None:
        """Say Close, and close."""
        if self.is_over:
            return
        record: Record = {"type": CLOSE}
        if error is not None:
            record["error"] = error
        if allow_reconnect:
            record["allowReconnect"] = True
        self._write(record)
        self.finish(error or "the server")

    def apply_faults(self) -> None:
        """Take notice of switches that were turned."""
        self._watch_bearer()

    def wait_for_socket(self) -> None:
        """Negotiated, or between two sockets: it is over unless one comes in time."""
        self._timers.cancel("held back")
        self._timers.set("without a socket", self.core.settings.disconnect_timeout, lambda: self.finish("no socket came"))

    def drop(self) -> None:
        """Reset the socket, without a word."""
        if self.socket is not None:
            self.socket.abort()

    def finish(self, cause: str) -> None:
        """It is over."""
        if self.is_over:
            return
        self.is_over = True
        self._greet()
        self._acknowledged.set()
        self._timers.close()
        self._calls.close()
        self.hub.disconnected()
        self.core.remove(self, cause)
        if self.socket is not None:
            self.socket.close()
        self._over(self)

    async def aclose(self) -> None:
        """End it, and wait until its tasks have ended."""
        self.finish("the sandbox closed")
        await self._calls.aclose()

    # --- the handshake ---

    def _shake(self) -> bool:
        """Answer the handshake if it has come; whether records may follow."""
        end = self._buffer.find(END_BYTE)
        if end < 0 or self.core.faults.no_handshake:
            if len(self._buffer) > self.core.settings.max_message:
                self._no_handshake()
            return False
        asked = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        handshake = read_handshake(asked)
        error = self.core.faults.handshake_error or handshake.error
        self._timers.cancel("handshake")
        if error:
            self._refuse(error)
            return False
        if handshake.version == STATEFUL_VERSION and self._may_be_stateful:
            self._replay = Replay(self.core.settings.replay_buffer)
        self.is_shaken = True
        self._heard = self.core.clock.monotonic()
        self.core.add(self)
        self._greeting = [write_record({})]
        try:
            self.hub.connected()
        except HubException as refusal:
            self.end(f"{_CLOSED} HubException: {refusal}")
        self._greet()
        if not self.is_over:
            self._watch_silence()
        return not self.is_over

    def _greet(self) -> None:
        """Send the answer to the handshake, in one message with what followed at once, as the real server mostly does."""
        greeting, self._greeting = self._greeting or [], None
        if greeting and not self.core.faults.never_glue and not self.is_over:
            greeting = ["".join(greeting)]
        for message in greeting:
            self._put(message)

    def _no_handshake(self) -> None:
        self._refuse("Handshake was canceled.")

    def _refuse(self, error: str) -> None:
        self._put(write_record({"error": error}))
        self.finish(f"handshake: {error}")

    # --- records ---

    def _take(self, record: Record) -> None:
        kind = record["type"]
        if kind in COUNTED and self._replay is not None and not self._replay.arrives():
            return
        if kind in COUNTED and self._replay is not None:
            self._timers.set_once("acknowledge", self.core.settings.ack_interval, self._acknowledge)
        if kind == PING:
            self._has_pinged = True
        elif kind == CLOSE:
            self.end()
        elif kind == ACK:
            self._acknowledged.set()
            self._timers.cancel("held back")
            for released in [] if self._replay is None else self._replay.receive_ack(record["sequenceId"]):
                self._write(released)
            self._look_held_back()
        elif kind == SEQUENCE:
            if self._replay is not None and not self._replay.receive_sequence(record["sequenceId"]):
                self._break()
        else:
            self._calls.serve(record)

    def _acknowledge(self) -> None:
        if self._replay is not None and self._replay.acknowledged < self._replay.received:
            self._replay.acknowledged = self._replay.received
            self._write({"type": ACK, "sequenceId": self._replay.received})

    def _break(self) -> None:
        """What the client sent cannot be read."""
        self.end(_CLOSED, allow_reconnect=True)

    def _write(self, record: Record | str) -> None:
        message = record if isinstance(record, str) else write_record(record)
        if self._greeting is not None:
            self._greeting.append(message)
        else:
            self._put(message)

    def _put(self, message: str) -> None:
        self._spoke = self.core.clock.monotonic()
        if self.socket is not None:
            self.socket.write(message)

    async def _room(self) -> None:
        while self._replay is not None and self._replay.is_full and not self.is_over:
            self._held_back()
            self._acknowledged.clear()
            await self._acknowledged.wait()
        if self.socket is not None:
            await self.socket.room()

    def _look_held_back(self) -> None:
        if self._replay is not None and self._replay.holds_back:
            self._held_back()

    def _held_back(self) -> None:
        """Something waits for an acknowledgement: it does so for a while, if there is a socket."""
        if self.socket is not None:
            self._timers.set_once("held back", self.core.settings.send_timeout, lambda: self.finish("the client acknowledges nothing"))

    # --- time ---

    def _watch_silence(self) -> None:
        """Ping after a silence of our own, and drop a client that has fallen silent after its first ping."""
        settings, now = self.core.settings, self.core.clock.monotonic()
        if self._has_pinged and now >= self._heard + settings.client_timeout:
            self._break()
            return
        if now >= self._spoke + settings.keep_alive:
            self._spoke = now  # also when the fault keeps it back: the next one is due a whole span later
            if not self.core.faults.no_pings:
                self.send({"type": PING})
        due = self._spoke + settings.keep_alive
        if self._has_pinged:
            due = min(due, self._heard + settings.client_timeout)
        if not self.is_over:
            self._timers.set("silence", due - now, self._watch_silence)

    def _watch_bearer(self) -> None:
        self._timers.cancel("bearer")
        if self.core.faults.close_at_expiry and self.socket is not None:
            self._timers.set("bearer", self.bearer.expires_at - self.core.clock.wall(), lambda: self.end(allow_reconnect=True))
