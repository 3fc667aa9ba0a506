"""The cTrader Open API: configuration, sessions, and the messages under the names of the Open API documents (`ctrader.messages`)."""

from tradesession.ctrader.accounts import Account, Accounts, AccountState
from tradesession.ctrader.client import Session
from tradesession.ctrader.config import Config
from tradesession.ctrader.line import Step
from tradesession.ctrader.market import Bar, BarStream, Depth, DepthStream, Level, Quote, QuoteStream
from tradesession.ctrader.settlement import Outcome, Settlement
from tradesession.ctrader.symbols import Symbol

__all__ = [
    "Account",
    "AccountState",
    "Accounts",
    "Bar",
    "BarStream",
    "Config",
    "Depth",
    "DepthStream",
    "Level",
    "Outcome",
    "Quote",
    "QuoteStream",
    "Session",
    "Settlement",
    "Step",
    "Symbol",
]
