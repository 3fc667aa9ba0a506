"""From an open link to authorised accounts: application auth, account list, account auth.

The order and the meaning of refusals are the Open API's. Each step works with any correct server: nothing is expected in a reply but what
the wire format requires, and a refusal that says that the thing is so already counts as success.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

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
from tradesession.errors import Rejected
from tradesession.secrets import Secret
from tradesession.session.link import Link
from tradesession.tokens.asking import Tokens, with_token
from tradesession.tokens.token import Token
from tradesession.verdict import Level


async def authenticate_application(link: Link[Message], config: Config) -> None:
    """ProtoOAApplicationAuthReq. Raises Rejected with the remedy when id or secret is refused."""
    # Here and below the message is in no variable: tools that print those of a traceback's frames would print the secret in it.
    await accepted(
        asked(
            link,
            lambda: ProtoOAApplicationAuthReq(clientId=config.client_id, clientSecret=Secret(config.client_secret).reveal()),
            config.step_timeout,
        )
    )


async def list_accounts(link: Link[Message], tokens: Tokens, config: Config) -> list[Account]:
    """The accounts that the token grants, demo and live: either host lists all of them."""

    async def ask(token: Token) -> ProtoOAGetAccountListByAccessTokenRes:
        reply = await asked(link, lambda: ProtoOAGetAccountListByAccessTokenReq(accessToken=token.access.reveal()), config.step_timeout)
        return cast("ProtoOAGetAccountListByAccessTokenRes", reply)

    reply = await with_token(tokens, ask)
    return [Account.of(account) for account in reply.ctidTraderAccount]


async def authorise(link: Link[Message], account: Account, tokens: Tokens, config: Config) -> Token:
    """ProtoOAAccountAuthReq for one account; the token that it is authorised with. Raises Rejected, or what kept it from being asked."""

    async def ask(token: Token) -> Token:
        await accepted(
            asked(
                link, lambda: ProtoOAAccountAuthReq(ctidTraderAccountId=account.id, accessToken=token.access.reveal()), config.step_timeout
            )
        )
        return token

    return await with_token(tokens, ask)


async def asked(link: Link[Message], message: Callable[[], Message], timeout: float) -> Message:
    """The reply to a request. Where the server says that the quota is used up (others share it), once more when it has room again.

    Unless that is further away than `timeout`, in seconds, which each of the two requests has.
    """
    try:
        return await link.request(message(), timeout=timeout)
    except Rejected as refusal:
        pause = refusal.verdict.after
        if refusal.verdict.level is not Level.REQUEST or pause is None or pause > timeout:
            raise
        link.pause(pause)
    return await link.request(message(), timeout=pause + timeout)


async def accepted(reply: Awaitable[Message]) -> None:
    """Wait for the reply; a refusal that says that it is so already is as good."""
    try:
        await reply
    except Rejected as refusal:
        if refusal.code not in BENIGN:
            raise
