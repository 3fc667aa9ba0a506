"""The refresh of a cTrader token: over a live socket where there is one, over HTTP otherwise.

One object for each grant, shared by all its sessions. A refresh token works once, so the second way is taken only when the first one has
surely not left; an exchange that left and was not answered is never tried elsewhere here: its keeper decides about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from google.protobuf.message import Message

from tradesession.clock import Clock
from tradesession.ctrader.grants import read_socket_refresh, socket_refusal, socket_unanswered
from tradesession.ctrader.messages import ProtoOARefreshTokenReq, ProtoOARefreshTokenRes
from tradesession.errors import NotSent, OutcomeUnknown, ProtocolError, Rejected, TokenEndpointUnreachable
from tradesession.session.link import Link
from tradesession.tokens.exchange import Exchange
from tradesession.tokens.grants import refresh_secret
from tradesession.tokens.token import Token


class SocketExchange:
    """ProtoOARefreshTokenReq on one link, whose application is authenticated; no client secret travels. See Exchange.

    What is not sent within `send_within` seconds is not sent, so that there is time for another way; an answer has `timeout` seconds.
    """

    def __init__(self, link: Link[Message], clock: Clock, *, send_within: float, timeout: float) -> None:
        self._link = link
        self._clock = clock
        self._send_within = send_within
        self._timeout = timeout
        self._under_way = 0
        self._settled = asyncio.Event()
        self._settled.set()

    async def settled(self) -> None:
        """Wait until no refresh is under way: its answer comes over this link or never, so whoever wants to close the link waits."""
        await self._settled.wait()

    async def __call__(self, token: Token | None) -> Token:
        """See Exchange."""
        self._under_way += 1
        self._settled.clear()
        try:
            return await self._ask(token)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._settled.set()

    async def _ask(self, token: Token | None) -> Token:
        refresh = refresh_secret(token)
        sent_at = self._clock.wall()
        try:
            limits = {"timeout": self._timeout, "send_within": self._send_within}
            reply = await self._link.request(ProtoOARefreshTokenReq(refreshToken=refresh.reveal()), **limits)  # in no variable
        except Rejected as refusal:
            raise socket_refusal(refusal.code, refusal.description, refresh) from None  # its text may quote the token
        except NotSent as error:
            raise TokenEndpointUnreachable(f"the refresh was not sent over the open connection: {error}") from error
        except (OutcomeUnknown, ProtocolError) as error:
            raise socket_unanswered(str(error)) from error
        return read_socket_refresh(cast("ProtoOARefreshTokenRes", reply), sent_at)


class Refresh:
    """The Exchange of one cTrader grant."""

    def __init__(self, over_http: Exchange) -> None:
        self._over_http = over_http
        self._sockets: list[SocketExchange] = []

    @contextmanager
    def over(self, socket: SocketExchange) -> Iterator[None]:
        """While the block lasts, this socket may be used."""
        self._sockets.append(socket)
        try:
            yield
        finally:
            self._sockets.remove(socket)

    async def __call__(self, token: Token | None) -> Token:
        """See Exchange."""
        for socket in reversed(self._sockets):
            try:
                return await socket(token)
            except TokenEndpointUnreachable:
                continue  # it never left, or the server says that it cannot now: nothing is spent, the next way may work
        return await self._over_http(token)
