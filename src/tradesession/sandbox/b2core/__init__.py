"""A broker's B2Core and its B2Trader on loopback: the sign-in, the platform's pairs, a small REST interface, and a SignalR hub."""

from tradesession.sandbox.b2core.server import B2CoreSandbox
from tradesession.sandbox.b2core.settings import Faults, Settings
from tradesession.sandbox.b2core.state import EMAIL, OTHER_PLATFORM_ID, PLATFORM_ID, State

__all__ = ["EMAIL", "OTHER_PLATFORM_ID", "PLATFORM_ID", "B2CoreSandbox", "Faults", "Settings", "State", "known_faults"]


def known_faults() -> dict[str, str]:
    """Every name of a fault or a setting with a line on what it does."""
    return Faults.known() | Settings.known()
