"""What each request is answered with: one function for each request class, found by the class.

No sockets, no tasks. A function takes the connection and the request and gives back an Answer, or raises a Refusal. Whatever has no
function of its own is refused by name. A new request needs a function with `@answers(...)` in one of the modules here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

if TYPE_CHECKING:
    from tradesession.sandbox.ctrader.connection import Connection

from tradesession.sandbox.ctrader.requests import history, lists, market, sessions, trading
from tradesession.sandbox.ctrader.requests.answer import HANDLERS, Answer

__all__ = ["Answer", "handler_of"]

_MODULES = (history, lists, market, sessions, trading)  # importing them fills the table


def handler_of(cls: type[Message]) -> Callable[[Connection, Any], Answer]:
    """The function that answers this class of requests."""
    return HANDLERS.get(cls, trading.refuse_unsupported)
