"""The floor: what nothing can undercut that receives and decodes the same, a bare asyncio.Protocol with protobuf parsing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from struct import Struct
from time import perf_counter
from typing import Any, Final

from google.protobuf.message import Message

from bench.lines import answer
from bench.loops import Countdown, idled, round_trips, run_program, serve
from tradesession.ctrader import registry
from tradesession.ctrader.messages import (
    ProtoHeartbeatEvent,
    ProtoMessage,
    ProtoOAAccountAuthReq,
    ProtoOAApplicationAuthReq,
    ProtoOAGetAccountListByAccessTokenReq,
    ProtoOASpotEvent,
    ProtoOAVersionReq,
)

_LENGTH: Final = Struct(">I")
_SPOT: Final = registry.payload_type_of(ProtoOASpotEvent)
HEARTBEAT: Final = 1.0
"""Seconds."""


class Floor(asyncio.Protocol):
    """Frames, envelopes and messages, with no care for anything that may go wrong."""

    def __init__(self, on_event: Callable[[], None]) -> None:
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._sent = 0
        self._on_event = on_event

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport  # type: ignore[assignment]  # other loops than asyncio's have classes of their own

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        while end - position >= 4:
            stop = position + 4 + _LENGTH.unpack_from(data, position)[0]
            if stop > end:
                break
            envelope = ProtoMessage.FromString(data[position + 4 : stop])
            position = stop
            if envelope.payloadType == _SPOT:
                ProtoOASpotEvent.FromString(envelope.payload)
                self._on_event()
            elif envelope.clientMsgId:
                self._waiting.pop(envelope.clientMsgId).set_result(registry.CLASSES[envelope.payloadType].FromString(envelope.payload))
        self._rest = data[position:]

    async def request(self, message: Message) -> Any:
        """One round trip."""
        self._sent += 1
        correlation_id = str(self._sent)
        self.send(message, clientMsgId=correlation_id)
        future = self._waiting[correlation_id] = asyncio.get_running_loop().create_future()
        return await future

    def send(self, message: Message, **options: Any) -> None:
        """One message."""
        number = registry.PAYLOAD_TYPES[type(message)]
        frame = ProtoMessage(payloadType=number, payload=message.SerializeToString(), **options).SerializeToString()
        assert self._transport is not None
        self._transport.write(_LENGTH.pack(len(frame)) + frame)

    def beat(self) -> None:
        """Heartbeats from now on."""
        self.send(ProtoHeartbeatEvent())
        asyncio.get_running_loop().call_later(HEARTBEAT, self.beat)

    async def handshake(self, accounts: int) -> None:
        """What a session does before it is READY."""
        await self.request(ProtoOAApplicationAuthReq(clientId="bench", clientSecret="bench"))
        token = f"bench-{accounts}"
        found = await self.request(ProtoOAGetAccountListByAccessTokenReq(accessToken=token))
        ids = [account.ctidTraderAccountId for account in found.ctidTraderAccount]
        await asyncio.gather(*(self.request(ProtoOAAccountAuthReq(ctidTraderAccountId=one, accessToken=token)) for one in ids))

    def close(self) -> None:
        """End it."""
        assert self._transport is not None
        self._transport.close()


async def run(facts: dict[str, Any]) -> None:
    """Connect, and do as told."""
    countdown = Countdown()

    async def opened() -> Floor:
        connected = await asyncio.get_running_loop().create_connection(lambda: Floor(countdown.one), "127.0.0.1", facts["port"])
        return connected[1]

    async def connect(command: dict[str, Any]) -> None:
        started = perf_counter()
        floor = await opened()
        await floor.handshake(command["accounts"])
        answer(seconds=perf_counter() - started)
        floor.close()

    async def open_idle() -> Floor:
        floor = await opened()
        await floor.handshake(accounts=1)
        floor.beat()
        return floor

    async def idle(command: dict[str, Any]) -> None:
        await idled(open_idle, command)

    floor = await opened()
    request = round_trips(lambda: floor.request(ProtoOAVersionReq()))
    await serve({"events": countdown.measure, "requests": request, "connect": connect, "idle": idle})


if __name__ == "__main__":
    run_program(run)
