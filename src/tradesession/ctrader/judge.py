"""What each error code of the Open API means for a client, in one table, and the one function that reads an error message.

Pure. The codes are those of ProtoErrorCode and ProtoOAErrorCode, and some that were seen on the wire and stand in no enum; an unknown one
is a refusal like any other, unless it names a pause. Meanings follow the enums' documentation, the verdicts are ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from google.protobuf.message import Message

from tradesession import policy
from tradesession.ctrader.messages import ProtoErrorRes, ProtoOAErrorRes, ProtoOAExecutionEvent, ProtoOAOrderErrorEvent
from tradesession.errors import Rejected
from tradesession.verdict import Action, Level, Verdict

Ruling = tuple[Action, Level, str]

RETRY_DEFAULT: Final = 1.0
"""Seconds to wait where a code asks for a pause and the server names none: its quotas are per second."""

MAINTENANCE_DEFAULT: Final = 60.0
"""Seconds to wait in a maintenance whose end the server does not name: they last minutes to hours."""

_LOOK = "the state has changed meanwhile: reconcile before deciding"
_LATER = "the server is busy: repeat it shortly"
_ORDER = "correct the order"

_REQUEST: Final[dict[Action, dict[str, str]]] = {
    Action.RETRY: {
        "UNKNOWN_ERROR": "the server gives no reason: repeat it once, then report it to the broker",
        "CONCURRENT_MODIFICATION": "the order or position was being changed: read its state again, then repeat it",
        "NO_QUOTES": "there is no price to trade on: repeat it when quotes come",
        "POSITION_LOCKED": _LATER,
        "PENDING_EXECUTION": _LATER,
        "CH_SERVER_NOT_REACHABLE": "the trading server is not available: repeat it later",
    },
    Action.FATAL: {
        "TIMEOUT_ERROR": "the execution timed out on the server: reconcile before repeating it",  # not RETRY: an order might go twice
        "UNSUPPORTED_MESSAGE": "this server does not know the message: check the port (5035 takes protobuf) and the request",
        "INVALID_REQUEST": "correct the request as the description says",
        "ENTITY_NOT_FOUND": "check the id",
        "FRAME_TOO_LONG": "the message is too large: ask for less at once",
        "MARKET_CLOSED": "repeat it when the symbol's session opens",
        "INCORRECT_BOUNDARIES": "the time window is too wide or wrong: split it",
        "WORSE_GSL_NOT_ALLOWED": "a guaranteed stop may not be widened",
        "SYMBOL_HAS_HOLIDAY": "repeat it after the symbol's holiday",
        "NOT_SUBSCRIBED_TO_SPOTS": "subscribe to the symbol's spots first",
        "ALREADY_SUBSCRIBED": "the subscription stands already: nothing is to be done",
        "SYMBOL_NOT_FOUND": "check the symbol: ids differ between brokers",
        "UNKNOWN_SYMBOL": "check the symbol: ids differ between brokers",
        "NOT_ENOUGH_MONEY": "the free margin does not suffice: reduce the volume or add funds",
        "MAX_EXPOSURE_REACHED": "the exposure limit is reached: close something first",
        "POSITION_NOT_FOUND": _LOOK,
        "ORDER_NOT_FOUND": _LOOK,
        "POSITION_NOT_OPEN": _LOOK,
        "TOO_MANY_POSITIONS": "the account's limit of positions and orders is reached: close something first",
        "TRADING_BAD_VOLUME": "the volume must lie within the symbol's minimum, maximum and step (in cents of a unit)",
        "TRADING_BAD_STOPS": _ORDER + ": a stop price is not allowed",
        "TRADING_BAD_PRICES": _ORDER + ": a price is not allowed",
        "TRADING_BAD_STAKE": _ORDER + ": the stake is not allowed",
        "PROTECTION_IS_TOO_CLOSE_TO_MARKET": "move stop loss or take profit further from the market than the symbol's distance",
        "TRADING_BAD_EXPIRATION_DATE": _ORDER + ": the expiration is not allowed",
        "TRADING_DISABLED": "trading in this symbol is disabled: look at its tradingMode",
        "TRADING_NOT_ALLOWED": "the account, or the scope of the consent, allows no trading: ask for the scope 'trading'",
        "UNABLE_TO_CANCEL_ORDER": _LOOK,
        "UNABLE_TO_AMEND_ORDER": _LOOK,
        "SHORT_SELLING_NOT_ALLOWED": "the symbol cannot be sold short",
    },
}

_ELSEWHERE: Final[dict[str, Ruling]] = {
    "ACCOUNT_NOT_AUTHORIZED": (Action.RETRY, Level.ACCOUNT, "authorise the account on this connection first"),
    "ALREADY_LOGGED_IN": (Action.RETRY, Level.ACCOUNT, "the account is authorised already: nothing is to be done"),
    "CANT_ROUTE_REQUEST": (
        Action.RETRY,
        Level.ACCOUNT,
        "the account is not served by this host (demo and live are apart), or its trading server is in maintenance",
    ),
    "RET_NO_SUCH_LOGIN": (Action.FATAL, Level.ACCOUNT, "the account no longer exists"),
    "RET_ACCOUNT_DISABLED": (Action.FATAL, Level.ACCOUNT, "the account is disabled: ask the broker"),
    "CHANNEL_IS_BLOCKED": (Action.FATAL, Level.ACCOUNT, "the account is barred: ask the broker"),
    "CH_CTID_TRADER_ACCOUNT_NOT_FOUND": (
        Action.FATAL,
        Level.ACCOUNT,
        "check the account: ctidTraderAccountId is wanted, which is not the login that the terminal shows",
    ),
    "OA_AUTH_TOKEN_EXPIRED": (Action.REFRESH, Level.TOKEN, "refresh the access token"),
    "CH_ACCESS_TOKEN_INVALID": (Action.REFRESH, Level.TOKEN, "refresh the access token; if that is refused, a person must consent again"),
    "CONNECTIONS_LIMIT_EXCEEDED": (  # not FATAL: after an outage the server may still count the connections that died in it
        Action.RETRY,
        Level.LINK,
        "the application has too many connections: close others first",
    ),
    "CH_CLIENT_AUTH_FAILURE": (Action.FATAL, Level.LINK, "check client id and secret, and that the application is activated in the portal"),
    "CH_OA_CLIENT_NOT_FOUND": (Action.FATAL, Level.LINK, "check the client id: the server does not know it"),
    "CH_CLIENT_NOT_AUTHENTICATED": (Action.RETRY, Level.LINK, "authenticate the application on this connection first"),
    "CH_CLIENT_ALREADY_AUTHENTICATED": (Action.RETRY, Level.LINK, "the application is authenticated already: nothing is to be done"),
}

_PAUSES: Final[dict[str, tuple[Level, float, str]]] = {
    "BLOCKED_PAYLOAD_TYPE": (Level.REQUEST, RETRY_DEFAULT, "this type of request is blocked for a while: the quota is used up"),
    "REQUEST_FREQUENCY_EXCEEDED": (Level.REQUEST, RETRY_DEFAULT, "the quota is used up: send fewer requests a second"),
    "SERVER_IS_UNDER_MAINTENANCE": (Level.LINK, MAINTENANCE_DEFAULT, "wait for the end of the maintenance"),
}

RULINGS: Final[Mapping[str, Ruling]] = MappingProxyType(
    {code: (action, Level.REQUEST, remedy) for action, codes in _REQUEST.items() for code, remedy in codes.items()}
    | _ELSEWHERE
    | {code: (Action.RETRY_AFTER, level, remedy) for code, (level, _, remedy) in _PAUSES.items()}
)
"""Action, Level and remedy by error code."""

BENIGN: Final = frozenset({"ALREADY_LOGGED_IN", "CH_CLIENT_ALREADY_AUTHENTICATED", "ALREADY_SUBSCRIBED"})
"""Refusals that say that what was asked for is so already: they count as success."""

_UNAUTHORISED_ACCOUNT = re.compile(r"\baccount\b[^.]{0,40}\bnot\W+authori[sz]ed", re.IGNORECASE)

ErrorMessage = ProtoErrorRes | ProtoOAErrorRes | ProtoOAOrderErrorEvent | ProtoOAExecutionEvent
ERROR_MESSAGES: Final[tuple[type[Message], ...]] = (ProtoErrorRes, ProtoOAErrorRes, ProtoOAOrderErrorEvent)


def judge(error: ErrorMessage, *, wall: float, request: str = "") -> Rejected:
    """The refusal that an error message means. `wall` is the time now, as maintenance ends are told in wall-clock time.

    Its `retry_after` is what the server said; of that its verdict waits for `policy.RETRY_AFTER_LIMIT` at most.
    """
    code = text(error.errorCode) or "UNKNOWN_ERROR"
    description = "" if isinstance(error, ProtoOAExecutionEvent) else text(error.description)
    account_id = 0 if isinstance(error, ProtoErrorRes) else error.ctidTraderAccountId
    after: float | None = None
    action, level, remedy = RULINGS.get(code, (Action.FATAL, Level.REQUEST, ""))
    if code == "INVALID_REQUEST" and _UNAUTHORISED_ACCOUNT.search(description):
        action, level, remedy = RULINGS["ACCOUNT_NOT_AUTHORIZED"]
    if code not in RULINGS and isinstance(error, ProtoOAErrorRes) and error.retryAfter:
        action, remedy = Action.RETRY_AFTER, "repeat it after the pause that the server names"
    if action is Action.RETRY_AFTER:
        after = _pause(error, code, wall)
    return Rejected(
        code,
        description,
        remedy=remedy,
        verdict=Verdict(action, level, None if after is None else min(after, policy.RETRY_AFTER_LIMIT)),
        request=request,
        account_id=account_id or None,
        retry_after=after,
    )


def text(value: str | bytes) -> str:
    """The text of a string field: what is no UTF-8 comes out of a protobuf message as bytes, whatever the field's type says."""
    return value if isinstance(value, str) else value.decode(errors="replace")


def _pause(error: ErrorMessage, code: str, wall: float) -> float:
    if isinstance(error, ProtoOAErrorRes):
        if error.retryAfter:
            return float(error.retryAfter)
        ends_at = float(error.maintenanceEndTimestamp)  # seconds, by the field's documentation
    elif isinstance(error, ProtoErrorRes):
        ends_at = float(error.maintenanceEndTimestamp)  # milliseconds, by the field's documentation
    else:
        ends_at = 0.0
    if ends_at > 1e11:  # year 5138 in seconds, 1973 in milliseconds: no doubt which it is, whatever the documentation says
        ends_at /= 1000.0
    if ends_at > wall:
        return ends_at - wall
    return _PAUSES[code][1]
