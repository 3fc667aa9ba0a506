"""Hundreds of accounts on one line, at a server that works through them one by one; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.ctrader.scripted import accounts, envelope, plainly
from tradesession import ctrader, policy
from tradesession.ctrader import messages as pb
from tradesession.ctrader import registry
from tradesession.errors import Error
from tradesession.sandbox.simulation import World, simulated
from tradesession.session.manager import SessionManager

AUTHORISATION = 0.06
"""Seconds; what the real service was seen to take for one."""


class OneByOne:
    """A correct server that answers in order, each authorisation after its time. `ends` says at which one it cuts the connection."""

    def __init__(self, count: int, ends: Callable[[int], bool] = lambda number: False) -> None:
        self.count = count
        self.ends = ends
        self.most_waiting = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[ctrader.Config]:
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            yield ctrader.Config(client_id="app", client_secret="secret", access_token="token", host="127.0.0.1", port=port, plaintext=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests: asyncio.Queue[pb.ProtoMessage] = asyncio.Queue()
        answering = asyncio.ensure_future(self._answer(requests, writer))
        while size := await reader.read(4):
            requests.put_nowait(pb.ProtoMessage.FromString(await reader.readexactly(int.from_bytes(size))))
            self.most_waiting = max(self.most_waiting, requests.qsize())
        answering.cancel()
        writer.close()

    async def _answer(self, requests: asyncio.Queue[pb.ProtoMessage], writer: asyncio.StreamWriter) -> None:
        authorised = 0
        while True:
            received = await requests.get()
            request = registry.CLASSES[received.payloadType].FromString(received.payload)
            ((reply, _),) = plainly(request)
            if isinstance(request, pb.ProtoOAGetAccountListByAccessTokenReq):
                reply = accounts(*range(1, self.count + 1))
            if isinstance(request, pb.ProtoOAAccountAuthReq):
                authorised += 1
                await asyncio.sleep(AUTHORISATION)
                if self.ends(authorised):
                    writer.transport.abort()
                    return
            frame = envelope(reply, received.clientMsgId)
            writer.write(len(frame).to_bytes(4) + frame)


@simulated()
async def test_hundreds_of_accounts_are_authorised_however_long_the_server_takes_for_all_of_them(world: World) -> None:
    server = OneByOne(count=500)
    async with server.listening() as config, SessionManager(clock=world.clock) as manager:
        began = world.clock.monotonic()
        session = await manager.open(config)
        assert world.clock.monotonic() - began > 2 * config.step_timeout  # together far above what one step may take
        assert [account.state for account in session.accounts] == [ctrader.AccountState.AUTHORIZED] * 500
        assert 1 < server.most_waiting <= policy.AUTHORISATIONS_AT_ONCE


@pytest.mark.parametrize("number", [1, 30, 77])
@simulated()
async def test_a_loss_among_them_ends_the_opening_at_once_and_leaves_nothing(world: World, number: int) -> None:
    server = OneByOne(count=100, ends=lambda authorised: authorised == number)
    async with server.listening() as config, SessionManager(clock=world.clock) as manager:
        with pytest.raises(Error, match=r"the server closed the connection|the connection broke"):
            await manager.open(config)
        assert world.clock.monotonic() < number * AUTHORISATION + 1
