"""tradesession: an asyncio session layer for trading platforms.

`connect(config)` opens one session, `SessionManager` many. The platforms are packages, each with a `Config`: `tradesession.ctrader`,
`tradesession.cplugin`, `tradesession.tradingview`, `tradesession.b2core`; `tradesession.signalr` is any hub, `tradesession.sandbox` the
servers to test against. Every exception has the root `tradesession.Error`.
"""

import logging

from tradesession.errors import (
    CertificateRefused,
    ConfigurationError,
    Conflict,
    DeadlineExceeded,
    Error,
    InvalidRequest,
    LinkLost,
    NotSent,
    OutcomeUnknown,
    ProtocolError,
    ReauthorizationRequired,
    Rejected,
    SessionClosed,
    StoreError,
    StoreUnreachable,
    StoreUnusable,
    StreamOverflow,
    TokenEndpointUnreachable,
    TokenError,
    TokenRefused,
    UncertainExchange,
    UnknownAccount,
    Unreachable,
)
from tradesession.secrets import Secret
from tradesession.session.manager import SessionManager, connect
from tradesession.session.session import Session, StateChange
from tradesession.session.states import SessionState
from tradesession.session.streams import EventStream, Gap, StreamStatistics
from tradesession.verdict import Action, Level, Verdict

__all__ = [
    "Action",
    "CertificateRefused",
    "ConfigurationError",
    "Conflict",
    "DeadlineExceeded",
    "Error",
    "EventStream",
    "Gap",
    "InvalidRequest",
    "Level",
    "LinkLost",
    "NotSent",
    "OutcomeUnknown",
    "ProtocolError",
    "ReauthorizationRequired",
    "Rejected",
    "Secret",
    "Session",
    "SessionClosed",
    "SessionManager",
    "SessionState",
    "StateChange",
    "StoreError",
    "StoreUnreachable",
    "StoreUnusable",
    "StreamOverflow",
    "StreamStatistics",
    "TokenEndpointUnreachable",
    "TokenError",
    "TokenRefused",
    "UncertainExchange",
    "UnknownAccount",
    "Unreachable",
    "Verdict",
    "connect",
]

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # else Python prints a library's warnings by itself
