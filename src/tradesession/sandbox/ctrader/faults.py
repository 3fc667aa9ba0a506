"""Faults as the owner of a sandbox uses them: the switches, which hold until taken back, and things that happen once, now.

No sockets of its own. What happens once happens to the connections that are open at that moment; new ones are not touched.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tradesession.clock import Clock
from tradesession.sandbox.ctrader.state import Account
from tradesession.sandbox.ctrader.switches import Switches

if TYPE_CHECKING:
    from tradesession.sandbox.ctrader.connection import Connection


class Faults(Switches):
    """Switches are attributes, see `Switches`; `set(name, value)` turns one by its name on the command line."""

    __slots__ = ("_connections",)

    def __init__(self, clock: Clock, on_change: Callable[[], None], connections: Callable[[], list[Connection]]) -> None:
        self._connections = connections
        super().__init__(clock, on_change)

    def maintenance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0) -> None:
        """From now on, and for so long on the sandbox's clock, every request is refused with SERVER_IS_UNDER_MAINTENANCE."""
        self.maintenance_until = self._clock.monotonic() + seconds + 60 * minutes + 3600 * hours

    def account_disconnect(self, account: Account | int) -> int:
        """Send 2164 for the account wherever it is authorised, and end its session there; the connections stay. Gives back to how many."""
        account_id = account.id if isinstance(account, Account) else account
        hit = [connection for connection in self._connections() if connection.hears(account_id)]
        for connection in hit:
            connection.disconnect_account(account_id)
        return len(hit)

    def client_disconnect(self, reason: str = "The server ends the connection") -> int:
        """Send 2148 to every connection and close it. Gives back to how many."""
        hit = self._connections()
        for connection in hit:
            connection.disconnect(reason)
        return len(hit)

    async def cut(self, after_bytes: int | None = None, *, after_input_bytes: int | None = None) -> None:
        """Cut the connections, at once, or when so many more bytes have left the server or (`after_input_bytes`) the client."""
        for connection in self._connections():
            if after_bytes is None and after_input_bytes is None:
                connection.channel.abort("fault: cut")
            else:
                connection.channel.cut_after(output=after_bytes, input=after_input_bytes)
        await asyncio.sleep(0)

    def garbage(self, size: int = 64) -> None:
        """Send random bytes, outside every frame, on every connection."""
        data = random.Random("garbage").randbytes(size)
        for connection in self._connections():
            connection.channel.send_raw(data)
