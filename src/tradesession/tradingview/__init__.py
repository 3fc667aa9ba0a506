"""TradingView's data integration: TradingView's side, played against a broker's server."""

from tradesession.tokens.grants import ClientAuth
from tradesession.tradingview.client import Session
from tradesession.tradingview.config import Config
from tradesession.tradingview.credentials import (
    SAXO,
    TRADINGVIEW,
    FixedToken,
    PasswordBearer,
    ServerOAuth2Bearer,
    Variant,
)
from tradesession.tradingview.keys import Signer, X5t
from tradesession.tradingview.line import Step
from tradesession.tradingview.records import Bar, DailyBar, Group, Quote, SymbolInfo, Trade, Update, UserQuote

__all__ = [
    "SAXO",
    "TRADINGVIEW",
    "Bar",
    "ClientAuth",
    "Config",
    "DailyBar",
    "FixedToken",
    "Group",
    "PasswordBearer",
    "Quote",
    "ServerOAuth2Bearer",
    "Session",
    "Signer",
    "Step",
    "SymbolInfo",
    "Trade",
    "Update",
    "UserQuote",
    "Variant",
    "X5t",
]
