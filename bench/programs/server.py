"""The server that all clients are measured against: it answers at once, knows no rules, and pushes spot events as fast as they are taken.

Plain sockets, one thread for each connection. It begins with an answer that tells its port; `push` sends `count` events over the
connection of that number (in the order in which they were accepted), of `symbols` symbols in turn; `cut` ends every connection;
`answer heartbeats` does with heartbeats what it does with requests.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from struct import Struct
from typing import Any, Final

from google.protobuf.message import Message

from bench.lines import answer, read_command
from tradesession.ctrader import registry
from tradesession.ctrader.messages import (
    ProtoHeartbeatEvent,
    ProtoMessage,
    ProtoOACtidTraderAccount,
    ProtoOAGetAccountListByAccessTokenReq,
    ProtoOAGetAccountListByAccessTokenRes,
    ProtoOALightSymbol,
    ProtoOASpotEvent,
    ProtoOASymbol,
    ProtoOASymbolByIdReq,
    ProtoOASymbolByIdRes,
    ProtoOASymbolsListReq,
    ProtoOASymbolsListRes,
    ProtoOAVersionReq,
    ProtoOAVersionRes,
)

ACCOUNT: Final = 44_300_017
"""The first account; the access token tells how many there are, as in bench-10."""
SYMBOLS: Final = 100
"""Symbols S1 to S100, with their numbers as ids."""
BLOCK: Final = 10_000
"""Events that are encoded beforehand and sent again and again."""

_LENGTH: Final = Struct(">I")
_HEARTBEAT: Final = registry.payload_type_of(ProtoHeartbeatEvent)


def framed(message: Message, correlation_id: str = "") -> bytes:
    """A message in its envelope, behind its length."""
    envelope = ProtoMessage(payloadType=registry.payload_type_of(message), payload=message.SerializeToString())
    if correlation_id:
        envelope.clientMsgId = correlation_id
    frame = envelope.SerializeToString()
    return _LENGTH.pack(len(frame)) + frame


@cache
def events(symbols: int) -> bytes:
    """A block of spot events, each with both prices, which walk at random by a few points at a time."""
    chance = random.Random(1)
    bids = [110_000] * symbols
    block = []
    for number in range(BLOCK):
        symbol = number % symbols
        bids[symbol] = min(max(bids[symbol] + chance.randrange(-3, 4), 105_000), 115_000)  # every event of the same length
        spread = chance.randrange(1, 20)
        block.append(
            framed(ProtoOASpotEvent(ctidTraderAccountId=ACCOUNT, symbolId=1 + symbol, bid=bids[symbol], ask=bids[symbol] + spread))
        )
    return b"".join(block)


def reply_to(request: Message) -> Message:
    """The reply, with what it must have and what a client looks at."""
    if isinstance(request, ProtoOAVersionReq):
        return ProtoOAVersionRes(version="1")
    if isinstance(request, ProtoOAGetAccountListByAccessTokenReq):
        count = int(request.accessToken.rpartition("-")[2])
        accounts = [
            ProtoOACtidTraderAccount(ctidTraderAccountId=ACCOUNT + number, isLive=False, traderLogin=number, brokerTitleShort="Bench")
            for number in range(count)
        ]
        return ProtoOAGetAccountListByAccessTokenRes(accessToken=request.accessToken, ctidTraderAccount=accounts)
    if isinstance(request, ProtoOASymbolsListReq):
        light = [ProtoOALightSymbol(symbolId=number, symbolName=f"S{number}", enabled=True) for number in range(1, SYMBOLS + 1)]
        return ProtoOASymbolsListRes(ctidTraderAccountId=ACCOUNT, symbol=light)
    if isinstance(request, ProtoOASymbolByIdReq):
        return ProtoOASymbolByIdRes(
            ctidTraderAccountId=ACCOUNT, symbol=[ProtoOASymbol(symbolId=number, digits=5, pipPosition=4) for number in request.symbolId]
        )
    reply = registry.REPLIES[type(request)]()
    if "ctidTraderAccountId" in reply.DESCRIPTOR.fields_by_name:
        reply.ctidTraderAccountId = request.ctidTraderAccountId  # type: ignore[attr-defined]  # so has the request, then
    return reply


@dataclass(slots=True)
class Settings:
    """What can be switched."""

    answers_heartbeats: bool = False
    """Off at first: the official SDK answers them too, and the two would not come to an end."""


class Connection:
    """One client."""

    def __init__(self, client: socket.socket, settings: Settings) -> None:
        self._settings = settings
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._sending = threading.Lock()

    def begin(self) -> None:
        """Serve."""
        threading.Thread(target=self._serve, daemon=True).start()

    def push(self, count: int, symbols: int) -> None:
        """Send so many events."""
        block = events(symbols)
        frame = len(block) // BLOCK
        with self._sending:
            for start in range(0, count, BLOCK):
                self._client.sendall(block if count - start >= BLOCK else block[: frame * (count - start)])

    def cut(self) -> None:
        """End it."""
        with suppress(OSError):  # the client may have been first
            self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        rest = b""
        try:
            while data := self._client.recv(1 << 16):
                rest += data
                replies = []
                position = 0
                while len(rest) - position >= _LENGTH.size:
                    stop = position + _LENGTH.size + _LENGTH.unpack_from(rest, position)[0]
                    if stop > len(rest):
                        break
                    replies.append(self._reply(rest[position + _LENGTH.size : stop]))
                    position = stop
                rest = rest[position:]
                with self._sending:
                    self._client.sendall(b"".join(replies))
        except OSError:
            return  # the client is gone

    def _reply(self, frame: bytes) -> bytes:
        envelope = ProtoMessage.FromString(frame)
        if envelope.payloadType == _HEARTBEAT:
            return framed(ProtoHeartbeatEvent()) if self._settings.answers_heartbeats else b""
        request = registry.CLASSES[envelope.payloadType].FromString(envelope.payload)
        return framed(reply_to(request), envelope.clientMsgId)


def main() -> None:
    """Serve until stdin ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[Connection] = []
    settings = Settings()

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            connections.append(Connection(client, settings))
            connections[-1].begin()  # not before everybody who pushes or cuts knows of it

    threading.Thread(target=accept, daemon=True).start()
    answer(port=listener.getsockname()[1])
    while (command := read_command()) is not None:
        _obey(command, connections, settings)


def _obey(command: dict[str, Any], connections: list[Connection], settings: Settings) -> None:
    if command["do"] == "answer heartbeats":
        settings.answers_heartbeats = True
    elif command["do"] == "cut":
        for connection in connections:
            connection.cut()
    else:
        while len(connections) <= command["connection"]:  # a client may know that it is connected before we do
            time.sleep(0.001)
        connections[command["connection"]].push(command["count"], command["symbols"])
    answer()


if __name__ == "__main__":
    main()
