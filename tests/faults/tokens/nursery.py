"""Makes processes that renew a token, as cheaply as fork does: everything is imported once, and each child lives for one renewal.

Run as a module: a line of JSON on standard input makes a child, and lines of JSON on standard output tell what children do: `began`,
`at` a step, `ended` with its result. A child that is told to pause at a step stays there until it is killed.
"""

import asyncio
import json
import logging
import os
import select
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tradesession.errors import Error
from tradesession.secrets import Secret
from tradesession.tokens.exchange import HttpExchange
from tradesession.tokens.grants import TokenEndpoint, renewal
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.replies import Asked, refusal, token_from
from tradesession.tokens.stores import open_store
from tradesession.tokens.token import Slot, Token
from tradesession.transports.http import HttpDriver


def say(**fields: object) -> None:
    os.write(1, (json.dumps({"pid": os.getpid(), **fields}) + "\n").encode())  # short, so it is written in one piece


class Child:
    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order

    async def run(self) -> None:
        order = self.order
        slot = Slot.parse(order["slot"])
        store = open_store(order["store"])
        url = order["endpoint"] + "/token"
        async with HttpDriver([url]) as driver:
            token_endpoint = TokenEndpoint(url=url, client_id="client", client_secret=Secret("s"), method="GET", reader=read)
            exchange = HttpExchange(renewal(token_endpoint), driver)

            async def exchanged(token: Token | None) -> Token:
                await self.at("about to send")
                new = await exchange(token)
                await self.at("answered")
                return new

            watched: Any = store  # whose methods are replaced by ones that tell
            watched.lease = self.then("leased", store.lease)
            watched.load = self.then("read", store.load, skip=1)
            watched.note_intent = self.then("noted", store.note_intent)
            watched.commit = self.then("saved", store.commit)
            if order.get("start_at"):
                await asyncio.sleep(max(0.0, order["start_at"] - time.monotonic()))
            say(event="began")
            await self.at("joined")
            keeper = TokenKeeper(slot, store, exchanged)
            try:
                calls = [keeper.get(order.get("min_ttl", 60)) for _ in range(order.get("callers", 1))]
                tokens = await asyncio.gather(*calls, return_exceptions=True)
                await self.at("published")
            finally:
                await keeper.aclose()
                await store.aclose()
        served = [token for token in tokens if isinstance(token, Token)]
        errors = sorted({type(error).__name__ for error in tokens if isinstance(error, Error)})
        others = [repr(error) for error in tokens if isinstance(error, BaseException) and not isinstance(error, Error)]
        generations = sorted({token.generation for token in served})
        say(event="ended", served=len(served), errors=errors + others, generations=generations, exchanges=keeper.exchanges)

    def then(self, step: str, work: Callable[..., Awaitable[Any]], skip: int = 0) -> Callable[..., Awaitable[Any]]:
        calls = 0

        async def done(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            result = await work(*arguments, **options)
            calls += 1
            if calls > skip:
                await self.at(step)
            return result

        return done

    async def at(self, step: str) -> None:
        if self.order.get("tells") or self.order.get("pause") == step:
            say(event="at", step=step)
        if self.order.get("pause") == step:
            await asyncio.Event().wait()


def read(reply: Any, asked: Asked) -> Token:
    """cTrader's answer: status 200, and an error code in the body."""
    fields = reply.json_object() or {}
    token = token_from(fields, reply.sent_at)
    if token is None:
        raise refusal(asked, reply, "invalid_grant" if fields.get("errorCode") else "")
    return token


def main() -> None:
    """Read orders, make children, tell of those that ended."""
    logging.disable(logging.CRITICAL)  # the tests look at what happens, not at what is said of it
    signal.signal(signal.SIGCHLD, lambda *_: None)
    waker, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    say(event="ready")
    buffered = b""
    while True:
        ready, _, _ = select.select([0, waker], [], [])
        if waker in ready:
            os.read(waker, 4096)
            reap()
        if 0 in ready:
            read_bytes = os.read(0, 65536)
            if not read_bytes:
                return
            *lines, buffered = (buffered + read_bytes).split(b"\n")
            for line in lines:
                order = json.loads(line)
                if os.fork() == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    try:
                        asyncio.run(Child(order).run())
                    finally:
                        os._exit(0)


def reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        os.write(1, (json.dumps({"pid": pid, "event": "gone", "signal": status & 0x7F}) + "\n").encode())


if __name__ == "__main__":
    main()
