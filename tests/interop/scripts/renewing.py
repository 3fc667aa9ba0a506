"""One renewal with a witness: what every client of the table in `test_cancelled_renewals.py` does, in the same steps.

The first of two callers is cancelled at the moment that the test names, which a client reports (`saving`) or the endpoint notices. Then
everybody is let go on, the second caller gets what it gets, and a third one asks. May import nothing but the standard library and `steps`.
"""

import asyncio
import contextlib

from steps import facts, report


class Client:
    """What a client under test fills in: how it is made, how it asks, and what it holds."""

    def __init__(self, given):
        self.given = given
        self.may_save = asyncio.Event()
        self.saved = given["refresh_token"]

    async def ask(self):
        """The status of a request to the resource, with a token that was renewed if need be."""
        raise NotImplementedError

    def held(self):
        """The refresh token in memory."""
        raise NotImplementedError

    async def save(self):
        """For the client's way of saving: the test may want to cancel just here."""
        if self.given["tells_when_saving"]:
            report("saving")
            await self.may_save.wait()

    async def at_rest(self):
        """The refresh token that is there after a restart."""
        return self.saved

    async def aclose(self):
        """Release everything."""


async def outcome(asking):
    """A status, or the name of an error with what it says."""
    try:
        return await asking
    except asyncio.CancelledError:
        return "cancelled"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


async def play(make):
    """The whole of it, with the client that `make` makes of the facts."""
    given = await asyncio.to_thread(facts)
    client = make(given)
    first = asyncio.create_task(client.ask())
    cancel = (await asyncio.to_thread(facts))["cancel"]  # the moment is there; whoever asked before it could be the one who is served
    second = asyncio.create_task(client.ask())
    await asyncio.sleep(0)
    if cancel:
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
    report("cancelled")
    await asyncio.to_thread(facts)  # the endpoint goes on as well
    client.may_save.set()
    outcomes = {"first": await outcome(first), "second": await outcome(second), "third": await outcome(client.ask())}
    report("end", in_memory=client.held(), at_rest=await client.at_rest(), **outcomes)
    await client.aclose()
