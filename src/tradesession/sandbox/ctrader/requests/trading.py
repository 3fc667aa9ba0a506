"""The account itself, its empty book, and everything that is refused by name. Facts: sections 2.3, 5.2 and 9.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import Message

from tradesession.ctrader import messages as pb
from tradesession.ctrader import registry
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


@answers(pb.ProtoOAReconcileReq)
def reconcile(connection: Connection, request: pb.ProtoOAReconcileReq) -> Answer:
    """No positions and no orders: nothing can be traded here."""
    return Answer(pb.ProtoOAReconcileRes(ctidTraderAccountId=request.ctidTraderAccountId))


def refuse_unsupported(connection: Connection, request: Message) -> Answer:
    """Whatever the sandbox knows the name of and has no answer to; all of it is about an account.

    An order under a grant that may only look is refused for that.
    """
    cls = type(request)
    account_id: int = request.ctidTraderAccountId  # type: ignore[attr-defined]  # every class that gets here has it
    if cls in registry.ORDER_REQUESTS and connection.authorized[account_id].scope == "accounts":
        raise Refusal(connection.core.settings.view_scope_code, "The access token does not allow trading", account_id=account_id)
    raise Refusal("UNSUPPORTED_MESSAGE", f"The sandbox does not answer {cls.__name__}", account_id=account_id)
