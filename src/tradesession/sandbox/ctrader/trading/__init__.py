"""Orders, positions, deals and balances: a book for each account, and the desk that keeps them all on the sandbox's clock.

Everything but the desk is pure. Facts: sections 8.1, 9.2 to 9.4 of the fact sheet.
"""

from tradesession.sandbox.ctrader.trading.book import Happening, OrderBook
from tradesession.sandbox.ctrader.trading.desk import Desk

__all__ = ["Desk", "Happening", "OrderBook"]
