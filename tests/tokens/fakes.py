"""What the tests of keepers share: an issuer of single-use tokens, a store that can be down, and time that is pushed by hand."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from tradesession.clock import Clock, ManualClock
from tradesession.errors import Error, ReauthorizationRequired, StoreUnreachable
from tradesession.hooks import Record, TokenRotated
from tradesession.secrets import Secret
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.store import Row, StoredGrant, Write
from tradesession.tokens.stores.memory import MemoryStore
from tradesession.tokens.token import Slot, Token

T = TypeVar("T")

SLOT = Slot("ctrader", "demo", "client-1")


class Issuer:
    """An endpoint whose refresh tokens work once, with cTrader's rule: an exchange ends the old pair at once.

    `shown` counts how often each refresh token was presented, `exchanged` how often it was honoured, `unanswered` how often no answer
    came back; `spent_for` tells for each new one which it came for. `before` and `after` run on either side of the rotation, so that a
    test can hold an answer back or lose it; `errors` are raised one by one instead of answering.
    """

    def __init__(self, clock: Clock, lifetime: float | None = 3600.0) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.number = 0
        self.access = ""
        self.refresh = ""
        self.expires_at = 0.0
        self.shown: Counter[str] = Counter()
        self.exchanged: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self.spent_for: dict[str, str] = {}
        self.errors: list[Error] = []
        self.before: Callable[[], Awaitable[object]] | None = None
        self.after: Callable[[], Awaitable[object]] | None = None

    @property
    def calls(self) -> int:
        return sum(self.shown.values())

    def consent(self) -> Token:
        """A first pair, as a person's consent yields it."""
        return self._issue(self.clock.wall())

    def _issue(self, asked_at: float) -> Token:
        self.number += 1
        self.access, self.refresh = f"access-{self.number}", f"refresh-{self.number}"
        self.expires_at = self.clock.monotonic() + (self.lifetime if self.lifetime is not None else float("inf"))
        return Token(
            access=Secret(self.access),
            refresh=Secret(self.refresh),
            issued_at=asked_at,
            expires_at=asked_at + self.lifetime if self.lifetime is not None else None,
        )

    def accepts(self, token: Token) -> bool:
        """Whether a server would take this access token now."""
        return token.access == Secret(self.access) and self.clock.monotonic() < self.expires_at

    async def __call__(self, token: Token | None) -> Token:
        asked_at = self.clock.wall()
        if self.before is not None:
            await self.before()
        if token is None or token.refresh is None:
            raise ReauthorizationRequired("there is no refresh token: give consent")
        refresh = token.refresh.reveal()
        self.shown[refresh] += 1
        if self.errors:
            self.unanswered[refresh] += 1
            raise self.errors.pop(0)
        if refresh != self.refresh:
            raise ReauthorizationRequired("refused with invalid_grant: give consent again")
        self.exchanged[refresh] += 1
        new = self._issue(asked_at)
        self.spent_for[self.refresh] = refresh
        if self.after is not None:
            self.unanswered[refresh] += 1
            await self.after()
            self.unanswered[refresh] -= 1
        return new


class FragileStore(MemoryStore):
    """A memory store that is down while `is_down`, or whose single operations fail: `failing` holds their names without underscore."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.is_down = False
        self.failing: set[str] = set()
        self.writes = 0

    def check(self, operation: str) -> None:
        if self.is_down or operation in self.failing:
            raise StoreUnreachable(f"the store is down ({operation})")

    async def _read(self, key: str) -> Row | None:
        self.check("read")
        return await super()._read(key)

    async def _revision(self, key: str) -> int:
        self.check("revision")
        return await super()._revision(key)

    async def _take(self, key: str, lease: str, ttl: float, instead_of: str) -> str | None:
        self.check("take")
        return await super()._take(key, lease, ttl, instead_of)

    async def _extend(self, key: str, lease: str, ttl: float) -> bool:
        self.check("extend")
        return await super()._extend(key, lease, ttl)

    async def _release(self, key: str, lease: str) -> None:
        self.check("release")
        await super()._release(key, lease)

    async def _note(self, key: str, lease: str, generation: int, attempts: int, by: str) -> bool:
        self.check("note")
        return await super()._note(key, lease, generation, attempts, by)

    async def _write(self, key: str, write: Write) -> bool:
        self.check("write")
        self.writes += 1
        return await super()._write(key, write)

    async def _mark(self, key: str, generation: int, status: str, cause: str, attempts: int) -> bool:
        self.check("mark")
        return await super()._mark(key, generation, status, cause, attempts)


async def settle(turns: int = 30) -> None:
    """Let the loop run until nothing more happens at this moment."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def advance(clock: ManualClock, seconds: float) -> None:
    """Let time pass, with the loop running between the timers."""
    until = clock.monotonic() + seconds
    await settle()
    while clock.step(until):
        await settle()
    await settle()


async def while_time_passes(clock: ManualClock, work: Coroutine[Any, Any, T], limit: float = 3600.0) -> T:
    """Run `work` and push the clock from timer to timer until it is done; TimeoutError when that takes longer than `limit` seconds."""
    task = asyncio.ensure_future(work)
    until = clock.monotonic() + limit
    await settle()
    while not task.done() and clock.step(until):
        await settle()
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
        raise TimeoutError(f"not done within {limit:g} virtual seconds")
    return await task


class Bench:
    """A keeper with its surroundings; `records` are what the hooks got."""

    def __init__(self, lifetime: float | None = 3600.0) -> None:
        self.clock = ManualClock()
        self.store = FragileStore(self.clock)
        self.issuer = Issuer(self.clock, lifetime)
        self.records: list[Record] = []
        self.keepers: list[TokenKeeper] = []

    def keeper(self, seed: int = 1, **options: object) -> TokenKeeper:
        chance = random.Random(seed).random
        keeper = TokenKeeper(
            SLOT,
            self.store,
            self.issuer,
            clock=self.clock,
            hooks=[self.records.append],
            random=chance,
            **options,  # type: ignore[arg-type]
        )
        self.keepers.append(keeper)
        return keeper

    @property
    def rotations(self) -> list[tuple[int, bool]]:
        """Generation and `saved` of each TokenRotated."""
        return [(record.generation, record.saved) for record in self.records if isinstance(record, TokenRotated)]

    async def consent(self) -> Token:
        return await self.store.put(SLOT, self.issuer.consent())

    async def expired(self) -> None:
        """A first pair in the store whose access token is over."""
        await self.consent()
        await advance(self.clock, (self.issuer.lifetime or 0) + 1)

    async def stored(self) -> StoredGrant:
        """What the store has, whatever state it is in."""
        store, before = self.store, (self.store.is_down, self.store.failing)
        store.is_down, store.failing = False, set()
        grant = await store.load(SLOT)
        store.is_down, store.failing = before
        assert grant is not None
        return grant

    async def aclose(self) -> None:
        for keeper in self.keepers:
            await while_time_passes(self.clock, keeper.aclose())
