"""The account itself, and everything that is refused by name. Facts: sections 2.3 and 5.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import Message

from tradesession.ctrader import messages as pb
from tradesession.sandbox.ctrader import market
from tradesession.sandbox.ctrader.refusal import Refusal
from tradesession.sandbox.ctrader.requests.answer import Answer, answers

if TYPE_CHECKING:
    from tradesession.sandbox.ctrader.connection import Connection


@answers(pb.ProtoOATraderReq)
def trader(connection: Connection, request: pb.ProtoOATraderReq) -> Answer:
    """Balance, leverage, rights."""
    account_id = request.ctidTraderAccountId
    account = connection.core.state.accounts[account_id]
    return Answer(pb.ProtoOATraderRes(ctidTraderAccountId=account_id, trader=market.trader(account)))


def refuse_unsupported(connection: Connection, request: Message) -> Answer:
    """Whatever the sandbox knows the name of and has no answer to; all of it is about an account."""
    account_id: int = request.ctidTraderAccountId  # type: ignore[attr-defined]  # every class that gets here has it
    raise Refusal("UNSUPPORTED_MESSAGE", f"The sandbox does not answer {type(request).__name__}", account_id=account_id)
