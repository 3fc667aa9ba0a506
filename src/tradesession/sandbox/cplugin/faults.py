"""Faults as the owner of a sandbox uses them: the switches, which hold until taken back, and things that happen once, now.

No sockets of its own. What happens once happens to the connections that are open at that moment; new ones are not touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tradesession.clock import Clock
from tradesession.sandbox.cplugin.switches import Switches

if TYPE_CHECKING:
    from tradesession.sandbox.cplugin.tap import Tap
    from tradesession.sandbox.signalr.connection import HubConnection


class Faults(Switches):
    """Switches are attributes, see `Switches`; `set(name, value)` turns one by its name on the command line."""

    __slots__ = ("_connections", "_taps")

    def __init__(
        self,
        clock: Clock,
        on_change: Callable[[], None],
        connections: Callable[[], list[HubConnection]],
        taps: Callable[[], list[Tap]],
    ) -> None:
        self._connections = connections
        self._taps = taps
        super().__init__(clock, on_change)

    def close(self, error: str | None = None, *, allow_reconnect: bool = False) -> int:
        """Say Close on every hub connection, with an error or a way back, and close it. Gives back to how many."""
        hit = self._connections()
        for connection in hit:
            connection.end(error, allow_reconnect=allow_reconnect)
        return len(hit)

    def drop(self) -> int:
        """Reset the socket of every hub connection, without a word. Gives back of how many."""
        hit = self._connections()
        for connection in hit:
            connection.drop()
        return len(hit)

    async def cut(self, after_bytes: int | None = None, *, after_input_bytes: int | None = None) -> None:
        """Cut every socket, at once, or when so many more bytes have left the server or (`after_input_bytes`) the client."""
        for tap in self._taps():
            if after_bytes is None and after_input_bytes is None:
                tap.abort("fault: cut")
            else:
                tap.cut_after(output=after_bytes, input=after_input_bytes)
        await asyncio.sleep(0)

    def send(self, record: dict[str, Any] | str) -> int:
        """Send a record, right or wrong, on every hub connection; a text goes as it is. Gives back to how many."""
        hit = self._connections()
        for connection in hit:
            connection.send(record)
        return len(hit)
