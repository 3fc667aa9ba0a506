"""A platform of a few lines of text, and a transport in memory: what a Link needs to be tested by itself.

A frame is `kind|id|body`. Requests are strings; one that begins with `!` has effects. The reply to `x` is of kind 1 and has the body `x?`.
The name of a request is its first word.
"""

from __future__ import annotations

import asyncio

from tradesession.clock import ManualClock
from tradesession.errors import Error, InvalidRequest, ProtocolError, Rejected
from tradesession.hooks import Hooks, Record
from tradesession.protocol.turns import Lane, TokenBucket, Turns
from tradesession.session.link import Envelope, Incoming, Link

REPLY, EVENT, HEARTBEAT, OTHER = 1, 2, 3, 4


class Lines:
    """The Dialect. Requests with effects go first, and the length of a request is its type."""

    def encode(self, message: str, correlation_id: str) -> bytes:
        if message == "unspeakable":
            raise InvalidRequest("unspeakable cannot be sent")
        return f"{REPLY}|{correlation_id}|{message}".encode()

    def heartbeat(self) -> bytes:
        return f"{HEARTBEAT}||".encode()

    def decode(self, frame: bytes) -> Incoming:
        kind, first, rest = frame.decode().partition("|")
        correlation_id, second, body = rest.partition("|")
        if not (first and second and kind.isdigit()):
            raise ProtocolError("no line")
        return Incoming(int(kind), correlation_id, body.encode())

    def read_reply(self, request: str, incoming: Incoming) -> str:
        if incoming.kind not in (REPLY, EVENT):
            raise ProtocolError(f"{self.name(request)} was answered with {incoming.kind}")
        if incoming.body == b"no":
            raise Rejected("NO", request=self.name(request))
        if incoming.body == b"\0":
            raise ProtocolError(f"{self.name(request)} was answered with rubbish")
        return incoming.body.decode()

    def is_event(self, incoming: Incoming) -> bool:
        return incoming.kind == EVENT

    def lane(self, message: str) -> Lane:
        return Lane.ORDER if message.startswith("!") else Lane.READ

    def kind(self, message: str) -> int:
        return len(message)

    def has_effects(self, message: str) -> bool:
        return message.startswith("!")

    def name(self, message: str) -> str:
        return message.partition(" ")[0]


class Memory:
    """The Transport: what was sent is in `sent`."""

    def __init__(self, link: Link[str]) -> None:
        self.link = link
        self.sent: list[str] = []
        self.aborted = False
        self.unsent = 0
        self._writable = asyncio.Event()
        self._writable.set()

    def send(self, frame: bytes) -> None:
        self.sent.append(frame.decode())

    @property
    def is_writable(self) -> bool:
        return self._writable.is_set()

    def block(self, unsent: int = 100_000) -> None:
        self.unsent = unsent
        self._writable.clear()

    def drain(self) -> None:
        self.unsent = 0
        self._writable.set()

    async def writable(self) -> None:
        await self._writable.wait()

    async def aclose(self, timeout: float) -> None:
        self.abort("closed by this side")

    def abort(self, why: str = "cut") -> None:
        if not self.aborted:
            self.aborted = True
            self._writable.set()
            self.link.lost(Error(why))

    # --- the other side ---

    @property
    def requests(self) -> dict[str, str]:
        """Request by id, without the heartbeats."""
        return {line.split("|")[1]: line.split("|")[2] for line in self.sent if line.startswith(f"{REPLY}|")}

    @property
    def beats(self) -> int:
        return sum(line.startswith(f"{HEARTBEAT}|") for line in self.sent)

    def deliver(self, kind: int, correlation_id: str = "", body: str = "") -> None:
        """What StreamTransport does with a frame."""
        try:
            self.link.received([f"{kind}|{correlation_id}|{body}".encode()])
        except Error as error:
            self.link.lost(error)
            self.abort()

    def answer(self, correlation_id: str) -> None:
        self.deliver(REPLY, correlation_id, self.requests[correlation_id] + "?")


class Rig:
    """A Link with its clock, its transport and everything that it told."""

    def __init__(self, *, rate: float = float("inf"), burst: int = 1, attach: bool = True, **options: float) -> None:
        self.clock = ManualClock()
        self.events: list[Envelope] = []
        self.causes: list[Error] = []
        self.records: list[Record] = []
        self.link: Link[str] = Link(
            Lines(),
            Turns(TokenBucket(rate, burst), TokenBucket(rate, burst)),
            clock=self.clock,
            prefix="p-",
            source="test",
            on_event=self.events.append,
            on_lost=self.causes.append,
            hooks=Hooks.of([self.records.append]),
            **options,
        )
        self.transport = Memory(self.link)
        if attach:
            self.link.attach(self.transport)

    async def ask(self, message: str, **options: float) -> asyncio.Task[str]:
        """A caller, up to where it waits."""
        task = asyncio.ensure_future(self.link.request(message, **options))
        await turns()
        return task


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
