"""A cTrader server of a few lines, in memory: what a Link with the Open API's dialect needs to be tested by itself.

`answer` says what each request is answered with, as (message, whether the request's id goes with it); by default what a correct server
says that fills in nothing but what the wire format requires.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from google.protobuf.message import Message

from tradesession.clock import ManualClock
from tradesession.ctrader import messages as pb
from tradesession.ctrader import registry
from tradesession.ctrader.routing import OpenApiDialect
from tradesession.errors import Error, TokenError
from tradesession.protocol.turns import TokenBucket, Turns
from tradesession.secrets import Secret
from tradesession.session.link import Envelope, Link
from tradesession.tokens.token import Token

Reply = tuple[Message, bool]
Answer = Callable[[Message], Sequence[Reply]]


def accounts(*ids: int) -> pb.ProtoOAGetAccountListByAccessTokenRes:
    """An account list with nothing in it but what is required."""
    listed = [pb.ProtoOACtidTraderAccount(ctidTraderAccountId=number) for number in ids]
    return pb.ProtoOAGetAccountListByAccessTokenRes(accessToken="echoed", ctidTraderAccount=listed)


def refused(code: str, account_id: int = 0, description: str = "") -> pb.ProtoOAErrorRes:
    error = pb.ProtoOAErrorRes(errorCode=code, description=description)
    if account_id:
        error.ctidTraderAccountId = account_id
    return error


def plainly(request: Message) -> list[Reply]:
    """What a correct server answers a handshake with."""
    match request:
        case pb.ProtoOAApplicationAuthReq():
            return [(pb.ProtoOAApplicationAuthRes(), True)]
        case pb.ProtoOAGetAccountListByAccessTokenReq():
            return [(accounts(1, 2, 3), True)]
        case pb.ProtoOAAccountAuthReq():
            return [(pb.ProtoOAAccountAuthRes(ctidTraderAccountId=request.ctidTraderAccountId), True)]
    return [(refused("UNSUPPORTED_MESSAGE"), True)]


def envelope(message: Message, correlation_id: str = "") -> bytes:
    """A message as this server writes it: the inner payloadType left out."""
    number = registry.payload_type_of(message)
    frame = pb.ProtoMessage(payloadType=number, payload=message.SerializePartialToString())
    if correlation_id:
        frame.clientMsgId = correlation_id
    return frame.SerializeToString()


class Server:
    """The Transport and what is behind it. With `hold`, answers wait for `release`, which may reorder them."""

    def __init__(self, answer: Answer = plainly) -> None:
        self.answer = answer
        self.clock = ManualClock()
        self.requests: list[Message] = []
        self.events: list[Envelope] = []
        self.causes: list[Error] = []
        self.hold = False
        self._held: list[bytes] = []
        self.link: Link[Message] = Link(
            OpenApiDialect(self.clock.wall),
            Turns(TokenBucket(float("inf"), 1), TokenBucket(float("inf"), 1)),
            clock=self.clock,
            prefix="p-",
            source="test",
            on_event=self.events.append,
            on_lost=self.causes.append,
        )
        self.link.attach(self)

    def send(self, frame: bytes) -> None:
        received = pb.ProtoMessage.FromString(frame)
        if received.payloadType == registry.payload_type_of(pb.ProtoHeartbeatEvent):
            return
        request = registry.CLASSES[received.payloadType].FromString(received.payload)
        self.requests.append(request)
        replies = [envelope(message, received.clientMsgId if echoes else "") for message, echoes in self.answer(request)]
        if self.hold:
            self._held += replies
        else:
            for reply in replies:
                asyncio.get_running_loop().call_soon(self.link.received, [reply])

    def release(self, order: Callable[[list[bytes]], Sequence[bytes]] = lambda held: held) -> None:
        """Deliver what was held, in this order."""
        held, self._held = self._held, []
        for reply in order(held):
            self.link.received([reply])

    def of(self, kind: type[Message]) -> list[Message]:
        return [request for request in self.requests if isinstance(request, kind)]

    # --- Transport ---

    @property
    def is_writable(self) -> bool:
        return True

    @property
    def unsent(self) -> int:
        return 0

    async def writable(self) -> None:
        """Always."""

    async def aclose(self, timeout: float) -> None:
        self.abort()

    def abort(self) -> None:
        self.link.lost(Error("cut"))


class Tokens:
    """A keeper that hands out one token after the other, each when the one before it was rejected; the last one stays."""

    def __init__(self, *secrets: str, refuses: TokenError | None = None) -> None:
        self._tokens = [Token(access=Secret(secret), generation=number) for number, secret in enumerate(secrets)]
        self._refuses = refuses
        self.rejected: list[int] = []
        self.asked = 0

    async def get(self, min_ttl: float | None = None) -> Token:
        self.asked += 1
        await asyncio.sleep(0)
        if self.rejected and self._refuses is not None:
            raise self._refuses
        return self._tokens[0]

    async def reject(self, token: Token) -> None:
        self.rejected.append(token.generation)
        if len(self._tokens) > 1 and token.generation == self._tokens[0].generation:
            self._tokens.pop(0)

    async def changes(self) -> AsyncIterator[Token]:
        for token in self._tokens[1:]:
            yield token
