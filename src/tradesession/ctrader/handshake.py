"""From an open link to authorised accounts: application auth, account list, account auth.

The order and the meaning of refusals are the Open API's. Each step works with any correct server: nothing is expected in a reply but what
the wire format requires, and a refusal that says that the thing is so already counts as success.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar, cast

from google.protobuf.message import Message

from tradesession.ctrader.accounts import Account
from tradesession.ctrader.config import Config
from tradesession.ctrader.judge import BENIGN
from tradesession.ctrader.messages import (
    ProtoOAAccountAuthReq,
    ProtoOAApplicationAuthReq,
    ProtoOAGetAccountListByAccessTokenReq,
    ProtoOAGetAccountListByAccessTokenRes,
)
from tradesession.errors import Rejected, TokenError
from tradesession.secrets import Secret
from tradesession.session.link import Link
from tradesession.tokens.token import Token
from tradesession.verdict import Action

T = TypeVar("T")


class Tokens(Protocol):
    """Where tokens come from: a TokenKeeper, for the handshake's purposes."""

    async def get(self, min_ttl: float | None = None) -> Token:
        """A token that is good for at least `min_ttl` seconds."""

    async def reject(self, token: Token) -> None:
        """This token was refused by the server."""

    def changes(self) -> AsyncIterator[Token]:
        """Every token that comes after now."""


async def authenticate_application(link: Link[Message], config: Config) -> None:
    """ProtoOAApplicationAuthReq. Raises Rejected with the remedy when id or secret is refused."""
    # Here and below the message is in no variable: tools that print those of a traceback's frames would print the secret in it.
    await accepted(
        link.request(
            ProtoOAApplicationAuthReq(clientId=config.client_id, clientSecret=Secret(config.client_secret).reveal()),
            timeout=config.step_timeout,
        )
    )


async def list_accounts(link: Link[Message], tokens: Tokens, config: Config) -> list[Account]:
    """The accounts that the token grants, demo and live: either host lists all of them."""

    async def ask(token: Token) -> ProtoOAGetAccountListByAccessTokenRes:
        reply = await link.request(ProtoOAGetAccountListByAccessTokenReq(accessToken=token.access.reveal()), timeout=config.step_timeout)
        return cast("ProtoOAGetAccountListByAccessTokenRes", reply)

    reply = await with_token(tokens, ask)
    return [Account.of(account) for account in reply.ctidTraderAccount]


async def authorise(link: Link[Message], account: Account, tokens: Tokens, config: Config) -> Token:
    """ProtoOAAccountAuthReq for one account; the token that it is authorised with. Raises Rejected, or what kept it from being asked."""

    async def ask(token: Token) -> Token:
        await accepted(
            link.request(
                ProtoOAAccountAuthReq(ctidTraderAccountId=account.id, accessToken=token.access.reveal()), timeout=config.step_timeout
            )
        )
        return token

    return await with_token(tokens, ask)


async def with_token(tokens: Tokens, ask: Callable[[Token], Awaitable[T]]) -> T:
    """Ask with the current token; when the server refuses the token, once more with a renewed one."""
    token = await tokens.get()
    try:
        return await ask(token)
    except Rejected as refusal:
        if refusal.verdict.action is not Action.REFRESH:
            raise
        await tokens.reject(token)
        try:
            renewed = await tokens.get()
        except TokenError as error:
            raise error from refusal  # what the server said stands behind what the keeper says
        if renewed.access == token.access:
            raise
    return await ask(renewed)


async def accepted(reply: Awaitable[Message]) -> None:
    """Wait for the reply; a refusal that says that it is so already is as good."""
    try:
        await reply
    except Rejected as refusal:
        if refusal.code not in BENIGN:
            raise
