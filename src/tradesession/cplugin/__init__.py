"""CPlugin WebAPI: MT4 and MT5 servers over REST and SignalR, with one token for both.

`cplugin.Config` says which client, which trade platform and which hub; `tradesession.connect` opens the session.
"""

from tradesession.cplugin.client import Session
from tradesession.cplugin.config import Config
from tradesession.cplugin.errors import ApiError, CallUnknown
from tradesession.cplugin.hubs import Mt4Hub, Mt4V1Hub, Mt5Hub
from tradesession.cplugin.judge import Reply
from tradesession.cplugin.records import (
    ConnectionStatus,
    Kind,
    MarginCall,
    Mt5MarginCall,
    Mt5Tick,
    Organization,
    SymbolUpdate,
    Tick,
    TradePlatform,
    TradeUpdate,
    UserUpdate,
)
from tradesession.cplugin.rest import Rest, open_rest
from tradesession.signalr.line import Step

__all__ = [
    "ApiError",
    "CallUnknown",
    "Config",
    "ConnectionStatus",
    "Kind",
    "MarginCall",
    "Mt4Hub",
    "Mt4V1Hub",
    "Mt5Hub",
    "Mt5MarginCall",
    "Mt5Tick",
    "Organization",
    "Reply",
    "Rest",
    "Session",
    "Step",
    "SymbolUpdate",
    "Tick",
    "TradePlatform",
    "TradeUpdate",
    "UserUpdate",
    "open_rest",
]
