"""A client made by hand: streams, `websockets`, and the generated envelope. Shares nothing with the sandbox or the library."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import websockets
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from google.protobuf.message import Message

from tradesession.ctrader import messages as pb
from tradesession.ctrader import registry
from tradesession.sandbox import Sandbox
from tradesession.sandbox.ctrader import Account, Grant

PATIENCE = 60.0

M = TypeVar("M", bound=Message)

Transport = Literal["tcp", "websocket"]


@dataclass(frozen=True, slots=True)
class Received:
    """One envelope; `message` is None for a payload type that nobody knows."""

    payload_type: int
    payload: bytes
    message_id: str
    message: Any
    envelope: pb.ProtoMessage

    @property
    def name(self) -> str:
        return type(self.message).__name__

    @property
    def code(self) -> str:
        """The error code, or empty for anything but an error."""
        return str(getattr(self.message, "errorCode", ""))


class RawClient(ABC):
    """One connection. `request` gives back what carries its id and keeps everything else in `events`."""

    def __init__(self) -> None:
        self._ids = (f"id-{number}" for number in itertools.count(1))
        self.events: list[Received] = []

    @abstractmethod
    async def write(self, frame: bytes) -> None: ...

    @abstractmethod
    async def read(self) -> bytes:
        """The next frame; EOFError at the end of the stream."""

    @abstractmethod
    async def aclose(self) -> None: ...

    @abstractmethod
    async def wait_closed(self) -> str:
        """Wait for the server's close, passing by everything that comes before; gives back its reason, if the transport has one."""

    async def wait_lost(self) -> None:
        """Wait for the end of the connection, however it comes."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    async def send(self, message: Message, message_id: str = "") -> None:
        await self.send_payload(registry.payload_type_of(message), message.SerializeToString(), message_id)

    async def send_payload(self, payload_type: int, payload: bytes = b"", message_id: str = "") -> None:
        envelope = pb.ProtoMessage(payloadType=payload_type, payload=payload)
        if message_id:
            envelope.clientMsgId = message_id
        await self.write(envelope.SerializeToString())

    async def receive(self) -> Received:
        async with asyncio.timeout(PATIENCE):
            return parse(await self.read())

    async def request(self, message: Message) -> Received:
        return await self.request_payload(registry.payload_type_of(message), message.SerializeToString())

    async def request_payload(self, payload_type: int, payload: bytes = b"") -> Received:
        message_id = next(self._ids)
        await self.send_payload(payload_type, payload, message_id)
        while (received := await self.receive()).message_id != message_id:
            self.events.append(received)
        return received

    async def event(self, cls: type[Message]) -> Any:
        """The next event of that class, passing by what is older."""
        while True:
            received = self.events.pop(0) if self.events else await self.receive()
            if isinstance(received.message, cls):
                return received.message

    async def authenticate(self, sandbox: Sandbox, *accounts: Account, grant: Grant | None = None) -> Grant:
        """Application, then accounts; the grant that was used."""
        ct = sandbox.ctrader
        reply = await self.request(pb.ProtoOAApplicationAuthReq(clientId=ct.client_id, clientSecret=ct.client_secret))
        assert isinstance(reply.message, pb.ProtoOAApplicationAuthRes), reply
        grant = grant or ct.grant()
        for account in accounts:
            reply = await self.request(account_auth(account, grant))
            assert isinstance(reply.message, pb.ProtoOAAccountAuthRes), reply
        return grant

    async def authenticate_again(self, account: Account, grant: Grant) -> None:
        """An account whose session had ended."""
        reply = await self.request(account_auth(account, grant))
        assert isinstance(reply.message, pb.ProtoOAAccountAuthRes), reply

    async def is_alive(self) -> bool:
        """Whether a request is still answered."""
        return (await self.request(pb.ProtoOAVersionReq())).name == "ProtoOAVersionRes"


class TcpClient(RawClient):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self.reader = reader
        self.writer = writer

    async def write(self, frame: bytes) -> None:
        self.writer.write(len(frame).to_bytes(4, "big") + frame)
        await self.writer.drain()

    async def read(self) -> bytes:
        try:
            return await self.reader.readexactly(int.from_bytes(await self.reader.readexactly(4), "big"))
        except asyncio.IncompleteReadError as error:
            raise EOFError from error

    async def wait_closed(self) -> str:
        async with asyncio.timeout(PATIENCE):
            while await self.reader.read(1 << 16):
                pass
        return ""

    async def aclose(self) -> None:
        self.writer.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass


class WebSocketClient(RawClient):
    def __init__(self, socket: websockets.ClientConnection) -> None:
        super().__init__()
        self.socket = socket

    async def write(self, frame: bytes) -> None:
        await self.socket.send(frame)

    async def read(self) -> bytes:
        try:
            data = await self.socket.recv()
        except websockets.ConnectionClosed as error:
            raise EOFError from error
        assert isinstance(data, bytes)
        return data

    async def wait_closed(self) -> str:
        async with asyncio.timeout(PATIENCE):
            try:
                while True:
                    await self.socket.recv()
            except websockets.ConnectionClosed as closed:
                return f"{closed.rcvd.code} {closed.rcvd.reason}" if closed.rcvd else ""

    async def aclose(self) -> None:
        await self.socket.close()


def parse(frame: bytes) -> Received:
    envelope = pb.ProtoMessage.FromString(frame)
    cls = registry.class_for(envelope.payloadType)
    message = None if cls is None else cls.FromString(envelope.payload)
    return Received(envelope.payloadType, envelope.payload, envelope.clientMsgId, message, envelope)


def account_auth(account: Account | int, grant: Grant | str) -> pb.ProtoOAAccountAuthReq:
    account_id = account if isinstance(account, int) else account.id
    token = grant if isinstance(grant, str) else grant.access_token
    return pb.ProtoOAAccountAuthReq(ctidTraderAccountId=account_id, accessToken=token)


_SAMPLES: dict[int, Any] = {FieldDescriptorProto.TYPE_STRING: "x", FieldDescriptorProto.TYPE_BOOL: True}


def filled(cls: type[M], **fields: int) -> M:
    """A message of the class with something in each required field, and `fields` as given."""
    definition = DescriptorProto()
    cls.DESCRIPTOR.CopyToProto(definition)
    message = cls(**fields)
    for field in definition.field:
        if field.label != FieldDescriptorProto.LABEL_REQUIRED or field.name in fields:
            continue
        if field.type == FieldDescriptorProto.TYPE_MESSAGE:
            part = getattr(pb, field.type_name.rpartition(".")[2])
            getattr(message, field.name).CopyFrom(filled(part))
        elif field.type == FieldDescriptorProto.TYPE_ENUM:
            setattr(message, field.name, getattr(pb, field.type_name.rpartition(".")[2]).values()[0])
        else:
            setattr(message, field.name, _SAMPLES.get(field.type, 1))
    return message


async def causes(sandbox: Sandbox) -> list[str]:
    """Why each connection ended, when all of them have."""
    async with asyncio.timeout(PATIENCE):
        while sandbox.ctrader.connections:
            await asyncio.sleep(0)
    return [closing.cause for closing in sandbox.ctrader.state.closings]


def trust(sandbox: Sandbox) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(sandbox.ctrader.ca_file))


async def connect(sandbox: Sandbox, environment: Literal["demo", "live"] = "demo", transport: Transport = "tcp") -> RawClient:
    endpoint = getattr(sandbox.ctrader, environment)
    if transport == "websocket":
        return WebSocketClient(await websockets.connect(endpoint.websocket_url, ssl=trust(sandbox), ping_interval=None, max_queue=1 << 16))
    return await connect_tcp(sandbox, endpoint.host, endpoint.port)


async def connect_tcp(sandbox: Sandbox, host: str, port: int) -> TcpClient:
    async with asyncio.timeout(PATIENCE):
        return TcpClient(*await asyncio.open_connection(host, port, ssl=trust(sandbox)))
