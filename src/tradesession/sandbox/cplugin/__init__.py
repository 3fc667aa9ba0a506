"""A CPlugin WebAPI on loopback: authority, REST and SignalR hubs, as faithful as the facts allow."""

from tradesession.sandbox.cplugin.faults import Faults
from tradesession.sandbox.cplugin.hubs import PATHS
from tradesession.sandbox.cplugin.server import CPluginSandbox
from tradesession.sandbox.cplugin.settings import Settings
from tradesession.sandbox.cplugin.switches import known_faults

__all__ = ["CPluginSandbox", "Faults", "PATHS", "Settings", "known_faults"]
