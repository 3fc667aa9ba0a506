"""Any hub of ASP.NET Core SignalR, as a session: `connect`, calls, streams, events.

Over WebSockets, in JSON, with negotiation or without; the bearer comes from a TokenKeeper, or is given.
"""

from tradesession.signalr.bearer import TokenSource
from tradesession.signalr.client import HubClient, HubStream, Subscription
from tradesession.signalr.config import Config
from tradesession.signalr.errors import CallLost, HubClosed, HubError
from tradesession.signalr.hub import Hub, connect
from tradesession.signalr.line import HubLine, Step

__all__ = [
    "CallLost",
    "Config",
    "Hub",
    "HubClient",
    "HubClosed",
    "HubError",
    "HubLine",
    "HubStream",
    "Step",
    "Subscription",
    "TokenSource",
    "connect",
]
