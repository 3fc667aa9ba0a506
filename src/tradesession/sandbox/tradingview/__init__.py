"""A sandboxed broker that speaks TradingView's REST data integration. See `TradingViewSandbox`."""

from tradesession.sandbox.tradingview.faults import Faults
from tradesession.sandbox.tradingview.server import TradingViewSandbox
from tradesession.sandbox.tradingview.settings import Settings
from tradesession.sandbox.tradingview.state import Credential

__all__ = ["Credential", "Faults", "Settings", "TradingViewSandbox", "known_faults"]


def known_faults() -> dict[str, str]:
    """Every fault and every setting by its name on the command line, with a line on what it does."""
    return Faults.known() | Settings.known()
