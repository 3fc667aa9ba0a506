"""A cTrader Open API server on loopback, as faithful as the facts allow."""

from tradesession.sandbox.ctrader.faults import Faults
from tradesession.sandbox.ctrader.server import CTraderSandbox, Endpoint
from tradesession.sandbox.ctrader.settings import Settings
from tradesession.sandbox.ctrader.state import ALPHA, BETA, Account, Application, Broker, Ctid, Grant
from tradesession.sandbox.ctrader.switches import known_faults

__all__ = [
    "CTraderSandbox",
    "Endpoint",
    "Settings",
    "Faults",
    "known_faults",
    "Application",
    "Ctid",
    "Account",
    "Broker",
    "Grant",
    "ALPHA",
    "BETA",
]
