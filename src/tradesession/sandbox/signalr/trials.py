"""Methods for trying out a client, which production does not have, in every hub that derives from this one.

Runs in tasks of the connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tradesession.sandbox.signalr.hub import Hub
from tradesession.sandbox.signalr.methods import HubException, anything, method, text, whole
from tradesession.sandbox.signalr.uploads import Upload


class TrialHub(Hub):
    """Calls, streams and uploads of every kind."""

    @method("Echo", anything)
    async def echo(self, value: Any) -> Any:
        """The argument."""
        return value

    @method("WhoAmI")
    async def who_am_i(self) -> str:
        """Whose bearer it was."""
        return self.caller.client_id

    @method("ConnectionId")
    async def connection_id(self) -> str:
        """The public id of the connection."""
        return self.caller.id

    @method("Optional", text, whole)
    async def optional(self, first: str | None, second: int) -> str:
        """Both, with a slash between."""
        return f"{first or ''}/{second}"

    @method("Slow", whole)
    async def slow(self, milliseconds: int) -> None:
        """Takes so long."""
        await self.pause(milliseconds / 1000)

    @method("Fail")
    async def fail(self) -> None:
        """An error whose text stays here."""
        raise RuntimeError("an ordinary exception")

    @method("FailOpenly")
    async def fail_openly(self) -> None:
        """An error whose text reaches the client."""
        raise HubException("a hub exception")

    @method("Big", whole)
    async def big(self, characters: int) -> str:
        """A text of that length."""
        return "x" * characters

    @method("Abort")
    async def abort(self) -> None:
        """Ends the connection."""
        self.caller.end()

    @method("Count", whole, whole, whole, is_stream=True)
    async def count(self, count: int, pause: int, fail_at: int) -> AsyncIterator[int]:
        """0, 1, … with a pause in milliseconds before each, and an error in place of item `fail_at`."""
        for number in range(count):
            if number == fail_at:
                raise HubException(f"failed at {number}")
            if pause > 0:
                await self.pause(pause / 1000)
            yield number

    @method("Sum", uploads=(whole,))
    async def sum(self, numbers: Upload) -> int:
        """Adds what the client streams."""
        total = 0
        async for number in numbers:
            total += number
        return total

    @method("Mirror", uploads=(text,), is_stream=True)
    async def mirror(self, texts: Upload) -> AsyncIterator[str | None]:
        """Sends back what the client streams."""
        async for one in texts:
            yield one
