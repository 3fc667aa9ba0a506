"""Everything at DEBUG, with secrets planted: none shows in a log, an exception, a traceback with its variables, or any object's repr."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from google.protobuf.message import Message

from tests.faults.cutter import Cutter
from tests.session.lines import turns
from tradesession import ctrader
from tradesession.ctrader import messages as pb
from tradesession.errors import Error
from tradesession.hooks import Record
from tradesession.sandbox import Sandbox
from tradesession.sandbox.ctrader import Grant
from tradesession.secrets import Secret
from tradesession.session.manager import SessionManager
from tradesession.timing import AdjustableClock

Transport = Literal["tcp", "websocket"]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1, plain=True) as sandbox:
        yield sandbox


@pytest.fixture
async def grant(sandbox: Sandbox) -> Grant:
    return sandbox.ctrader.grant()


@pytest.fixture
def configured(sandbox: Sandbox, grant: Grant, tmp_path: Path) -> Callable[..., ctrader.Config]:
    """A configuration with every secret that there is; changed as a test wants."""

    def make(**changes: Any) -> ctrader.Config:
        demo = sandbox.ctrader.demo
        options: dict[str, Any] = {
            "client_id": sandbox.ctrader.client_id,
            "client_secret": sandbox.ctrader.client_secret,
            "access_token": grant.access_token,
            "refresh_token": grant.refresh_token,
            "host": "127.0.0.1",
            "port": demo.port,
            "ca_file": sandbox.ctrader.ca_file,
            "token_url": sandbox.ctrader.token_url,
            "store": f"sqlite:///{tmp_path}/tokens.db",
        }
        return ctrader.Config(**(options | changes))

    return make


class Watch:
    """What was planted, and everything that was said."""

    def __init__(self, caplog: pytest.LogCaptureFixture, sandbox: Sandbox, grant: Grant) -> None:
        self._caplog = caplog
        self._sandbox = sandbox
        self._grant = grant
        self._planted = {"wrong-planted-secret", "wrong-planted-token"}
        self.records: list[Record] = []
        self.said: list[str] = []
        self.note()

    def note(self) -> None:
        """The tokens that are good now are planted too."""
        self._planted |= {self._sandbox.ctrader.client_secret, self._grant.access_token, self._grant.refresh_token}

    def failure(self, error: BaseException) -> None:
        self.said += [repr(error), str(error)]
        self.said += traceback.TracebackException.from_exception(error, capture_locals=True).format()

    def check(self) -> None:
        self.note()
        assert self._caplog.records or self.said, "nothing was said at all: this proves nothing"
        for text in (self._caplog.text, *map(repr, self.records), *self.said):
            for secret in self._planted:
                assert secret not in text, f"a secret shows in: {text.replace(secret, '(HERE)')[:2000]}"


@pytest.fixture
async def watch(caplog: pytest.LogCaptureFixture, sandbox: Sandbox, grant: Grant) -> Watch:
    caplog.set_level(logging.DEBUG)
    for name in tuple(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, name)
    asyncio.get_running_loop().set_debug(True)
    return Watch(caplog, sandbox, grant)


async def attempt(config: ctrader.Config, watch: Watch) -> None:
    """Open what cannot be opened, in a frame that holds nothing but the configuration."""
    async with SessionManager(hooks=[watch.records.append]) as manager:
        try:
            await manager.open(config)
        except Error as error:
            watch.failure(error)
            return
        raise AssertionError("it was opened")


# --- failures -----------------------------------------------------------------------------------------------------------------------


WRONG: dict[str, dict[str, Any]] = {
    "a secret that is refused": {"client_secret": "wrong-planted-secret"},
    "a client that nobody knows": {"client_id": "nobody"},
    "a token that is refused": {"access_token": "wrong-planted-token", "refresh_token": None},
    "a pair that is refused": {"access_token": "wrong-planted-token", "refresh_token": "wrong-planted-token"},
    "an account that is not granted": {"accounts": [99]},
    "a port that nobody listens on": {"port": 1},
    "a certificate that nobody trusts": {"ca_file": None},
    "a port that speaks something else": {"plaintext": True, "ca_file": None},
    "an address that is none": {"transport": "websocket", "websocket_url": "http://127.0.0.1:1/"},
}


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
@pytest.mark.parametrize("wrong", WRONG)
async def test_a_handshake_that_fails_shows_no_secret(
    configured: Callable[..., ctrader.Config], watch: Watch, wrong: str, transport: Transport
) -> None:
    await attempt(configured(**({"transport": transport} | WRONG[wrong])), watch)
    watch.check()


@pytest.mark.parametrize("direction", ["to_client", "to_server"])
async def test_a_handshake_that_is_cut_anywhere_shows_no_secret(
    sandbox: Sandbox, configured: Callable[..., ctrader.Config], watch: Watch, direction: Literal["to_client", "to_server"]
) -> None:
    assert sandbox.ctrader.demo.plain_port is not None
    for limit in range(0, 250, 9):
        async with Cutter(sandbox.ctrader.demo.plain_port, direction=direction, limit=limit) as cutter:
            await attempt(configured(port=cutter.port, plaintext=True, ca_file=None, store="memory:"), watch)
    watch.check()


@pytest.mark.parametrize("quoted", ["2101", "2150", "2103"])
async def test_a_server_that_quotes_what_it_was_sent_cannot_make_it_show(
    sandbox: Sandbox, configured: Callable[..., ctrader.Config], watch: Watch, quoted: str
) -> None:
    async def quote(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Accepts the steps before `quoted`; answers that one with an error that repeats the request."""
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4))
                received = pb.ProtoMessage.FromString(await reader.readexactly(size))
                number, text = received.payloadType + 1, received.payload.decode("latin-1")
                reply: Any = {
                    2101: pb.ProtoOAApplicationAuthRes(),
                    2150: pb.ProtoOAGetAccountListByAccessTokenRes(
                        accessToken=text, ctidTraderAccount=[pb.ProtoOACtidTraderAccount(ctidTraderAccountId=1)]
                    ),
                    2103: pb.ProtoOAAccountAuthRes(ctidTraderAccountId=1),
                }[number]
                if str(number) == quoted:
                    number, reply = 2142, pb.ProtoOAErrorRes(errorCode="CANT_ROUTE_REQUEST", description=f"cannot read {text!r}")
                envelope = pb.ProtoMessage(payloadType=number, payload=reply.SerializeToString(), clientMsgId=received.clientMsgId)
                frame = envelope.SerializeToString()
                writer.write(len(frame).to_bytes(4) + frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(quote, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await attempt(configured(port=port, plaintext=True, ca_file=None, store="memory:"), watch)
    assert any("CANT_ROUTE_REQUEST (cannot read" in text for text in watch.said)
    watch.check()


# --- success ------------------------------------------------------------------------------------------------------------------------


def reachable(*roots: object) -> Iterable[object]:
    """Every object that can be reached from these by attributes and containers, but not into a Secret."""
    seen: set[int] = set()
    queue: deque[object] = deque(roots)
    while queue:
        item = queue.popleft()
        if (
            id(item) in seen
            or isinstance(item, type)
            or type(item).__name__ in {"module", "function", "method", "builtin_function_or_method"}
        ):
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, Secret | Sandbox | AdjustableClock | asyncio.AbstractEventLoop) or type(item).__module__.startswith(
            ("tradesession.sandbox", "_pytest", "logging")
        ):
            continue
        if isinstance(item, Mapping):
            queue.extend(item.keys())
            queue.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset | deque):
            queue.extend(item)
        if dataclasses.is_dataclass(item):
            queue.extend(getattr(item, field.name) for field in dataclasses.fields(item))
        queue.extend(vars(item).values() if hasattr(item, "__dict__") else ())
        for cls in type(item).__mro__:
            slots = getattr(cls, "__slots__", ())
            names = (slots,) if isinstance(slots, str) else slots
            queue.extend(getattr(item, name, None) for name in names if not name.startswith("__"))


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_a_session_that_lives_shows_no_secret_in_itself_or_in_anything_that_hangs_on_it(
    sandbox: Sandbox, configured: Callable[..., ctrader.Config], watch: Watch, transport: Transport
) -> None:
    url = sandbox.ctrader.demo.websocket_url if transport == "websocket" else ""
    async with SessionManager(hooks=[watch.records.append]) as manager:
        session = await manager.open(configured(transport=transport, websocket_url=url))
        await session.request(pb.ProtoOATraderReq(ctidTraderAccountId=session.accounts[0].id))
        stream = session.spots(session.accounts[0], "EURUSD")
        await anext(stream)
        keeper = manager.tokens(session.config)
        token = await keeper.get()
        await keeper.reject(token)  # a refresh, over the socket
        watch.note()
        renewed = await keeper.get()
        assert renewed.generation > token.generation
        await turns(50)
        things = list(reachable(session, manager, keeper, stream, token, renewed))
        assert {type(thing).__name__ for thing in things} >= {"Session", "Config", "Link", "TokenKeeper", "Token", "Secret", "Account"}
        watch.said += [repr(thing) for thing in things] + [str(thing) for thing in things]
        await sandbox.ctrader.faults.cut()
        await turns(50)
        await session.ready(10)
        watch.note()
    watch.said.append(repr(watch.records))
    watch.check()


async def test_requests_under_way_show_no_secret_either(sandbox: Sandbox, configured: Callable[..., ctrader.Config], watch: Watch) -> None:
    """The one moment in which a message with a secret in it must be held: between its sending and its answer."""
    assert sandbox.ctrader.demo.plain_port is not None
    for limit in (0, 40, 90):
        async with (
            Cutter(sandbox.ctrader.demo.plain_port, limit=limit, how="stall") as cutter,
            SessionManager(hooks=[watch.records.append]) as manager,
        ):
            config = configured(port=cutter.port, plaintext=True, ca_file=None, store="memory:")
            opening = asyncio.ensure_future(manager.open(config))
            await cutter.cut.wait()
            await turns(20)
            (session,) = manager.sessions
            held = [thing for thing in reachable(session, manager) if not isinstance(thing, Message | asyncio.Task)]
            assert any(type(thing).__name__ == "_Waiting" for thing in held)
            watch.said += [repr(thing) for thing in held if type(thing).__module__.startswith(("tradesession", "asyncio", "_asyncio"))]
            opening.cancel()
            await asyncio.wait([opening])
    watch.check()
