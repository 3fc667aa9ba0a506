"""TokenStore: where Tokens rest between processes and restarts, and what every engine promises about them.

May use asyncio; engines do the I/O. What always holds, whatever the engine:

- One record per slot, and it is never torn: a reader sees the old pair or the new one, whole.
- `commit` is a compare-and-swap on the generation and durable when it returns, as far as the engine's own docstring goes. Two commits
  of one generation cannot both succeed; the second gets Conflict. It needs no lease, so that an answer that comes late is not lost.
- A generation never goes back, also not over `remove` and `put`: it is the fencing number.
- `lease` is held by one at a time, ends by itself after its time, and at once when its holder is proved dead. It saves
  exchanges; that a pair survives rests on the compare-and-swap and on the noted intent, not on it.
- An intent, once noted, stays until a commit or a mark settles it, so whoever comes after a crash knows that a refresh token may be spent.
- Every failure is StoreUnreachable (try again), StoreUnusable (a person must act) or Conflict, and leaves the record as it was; after
  StoreUnreachable from `commit`, `commit` again: doing it twice is harmless.
- Ages are measured by the store's own clock, so machines whose clocks disagree do not mislead each other.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import Conflict, Error, StoreError, StoreUnusable
from tradesession.timing import SYSTEM_CLOCK, deadline
from tradesession.tokens.codec import PLAIN, Codec
from tradesession.tokens.holder import Holder
from tradesession.tokens.stored import REMOVED, ROOT, GrantStatus, Row, StoredGrant, Write, fingerprint
from tradesession.tokens.token import Slot, Token

__all__ = ["REMOVED", "GrantStatus", "Lease", "Row", "StoredGrant", "TokenStore", "Write", "too_new"]

_log = logging.getLogger("tradesession.tokens.store")

P = ParamSpec("P")
T = TypeVar("T")


def _promised(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a failure that an engine or a codec did not foresee one of the contract's, which alone its callers are prepared for."""

    @functools.wraps(method)
    async def promised(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except Error:
            raise
        except Exception as error:
            remedy = "check whether it is damaged, and restore it if it is"
            raise StoreUnusable(f"the token store failed in a way that nobody foresaw ({type(error).__name__}): {remedy}") from error

    return promised


@dataclass(eq=False, slots=True)
class Lease:
    """The right to exchange a slot's token, for a time. Leaving the `async with` block gives it back."""

    store: TokenStore
    slot: Slot
    id: str
    is_given_back: bool = False

    async def extend(self, ttl: float) -> bool:
        """Hold it for `ttl` seconds from now; False when it has ended and may be somebody else's."""
        return await self.store.extend(self, ttl)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            await self.store.release(self)
        except StoreError as problem:  # what was done under it counts, and it ends by itself
            _log.warning("%s: the lease could not be given back and ends by itself: %s", self.slot, problem)


class TokenStore(ABC):
    """The contract above. Engines fill in the methods with an underscore; users call the others.

    Opens itself with the first call; `async with` opens it at once and closes it. `clock` is for ages and leases, where the engine has
    no better one.
    """

    poll: float | None = policy.STORE_POLL
    """Seconds between two looks of `wait_for_change`, beside what the engine announces. None: it announces everything."""

    def __init__(self, *, codec: Codec = PLAIN, clock: Clock = SYSTEM_CLOCK) -> None:
        self._codec = codec
        self._clock = clock
        self._holder = Holder.current  # asked each time: behind a fork it is another process, and the one before may have ended
        self._pace = SYSTEM_CLOCK  # looks are for other processes, and those live in real time
        self._bells: dict[str, set[asyncio.Event]] = {}

    # --- reading -----------------------------------------------------------------------------------------------------------------

    @_promised
    async def load(self, slot: Slot) -> StoredGrant | None:
        """The slot's record; None when there is none, or it was removed."""
        row = await self._read(slot.key)
        return None if row is None or row.is_removed else self._grant(slot, row)

    @_promised
    async def slots(self) -> list[Slot]:
        """Every slot that has a record, in order."""
        return sorted(Slot.parse(key) for key in await self._keys())

    @_promised
    async def wait_for_change(self, slot: Slot, revision: int, *, poll: float | None = None) -> None:
        """Return when the slot's record has another revision than this one (0: there is no record).

        Changes made by this process, and those that the engine announces, are seen at once, others after `poll` seconds.
        """
        with self._listening(slot.key) as bell:
            while True:
                bell.clear()
                if await self._revision(slot.key) != revision:
                    return
                try:
                    async with deadline(self._pace, self.poll if poll is None else poll):
                        await bell.wait()
                except TimeoutError:
                    continue

    # --- exchanging --------------------------------------------------------------------------------------------------------------

    @_promised
    async def lease(self, slot: Slot, ttl: float = policy.LEASE_TTL) -> Lease | None:
        """The right to exchange, for `ttl` seconds; None when somebody else has it."""
        lease_id = f"{secrets.token_hex(8)}@{self._holder()}"
        try:
            current = await self._take(slot.key, lease_id, ttl, "")
            if current is not None and self.is_surely_gone(current.partition("@")[2]):
                current = await self._take(slot.key, lease_id, ttl, current)
        except asyncio.CancelledError:
            with suppress(StoreError):  # it may have been taken; if it cannot be given back, it ends by itself
                await self._release(slot.key, lease_id)
            raise
        return Lease(self, slot, lease_id) if current is None else None

    @_promised
    async def extend(self, lease: Lease, ttl: float) -> bool:
        """Hold the lease for `ttl` seconds from now; False when it has ended and may be somebody else's."""
        return await self._extend(lease.slot.key, lease.id, ttl)

    @_promised
    async def release(self, lease: Lease) -> None:
        """Give the lease back; harmless when it has ended."""
        if not lease.is_given_back:
            await self._release(lease.slot.key, lease.id)
            lease.is_given_back = True

    @_promised
    async def note_intent(self, lease: Lease, generation: int, attempt: int = 1) -> None:
        """Write down, durably, that the refresh token of `generation` is about to be sent for the `attempt`-th time.

        Raises Conflict when the lease has ended or the record has another generation; then do not send.
        """
        if not await self._note(lease.slot.key, lease.id, generation, attempt, str(self._holder())):
            raise Conflict(
                f"the exchange of generation {generation} of {lease.slot} was not begun: somebody else was faster; read the store again"
            )
        self._announce(lease.slot.key)

    async def commit(self, slot: Slot, token: Token, expected: int, lease: Lease | None = None) -> None:
        """Replace generation `expected` (0: there is no record) by `token`, whose own generation is higher; settles what was noted.

        `lease` is given back in the same step. Durable when it returns. Raises Conflict when the record has another generation; when
        that is this very token, committed before by a call whose answer was lost, it succeeds.
        """
        if token.generation <= expected:
            raise ValueError(f"generation {token.generation} cannot follow {expected}: make it with Token.successor")
        await self._commit(slot, token, expected, lease)

    @_promised
    async def _commit(self, slot: Slot, token: Token, expected: int, lease: Lease | None = None, *, revives: bool = False) -> None:
        held = 0.0 if token.issued_at is None else max(0.0, self._clock.wall() - token.issued_at)
        write = Write(
            generation=token.generation,
            expected=expected,
            held=held,
            lineage=(ROOT if revives else "") + fingerprint(token),
            payload=self._codec.encode(slot, token),
            lease=lease.id if lease is not None else "",
            revives=revives,
        )
        if not await self._write(slot.key, write):
            stored = await self.load(slot)
            if stored is None or stored.token != token:
                found = "no record" if stored is None else f"generation {stored.generation}"
                raise Conflict(f"generation {token.generation} of {slot} was not saved: {expected} was expected, and the store has {found}")
        if lease is not None:
            lease.is_given_back = True
        self._announce(slot.key)

    @_promised
    async def mark(self, slot: Slot, generation: int, status: GrantStatus, cause: str = "", attempts: int = 0) -> None:
        """Settle, or give up on, the exchange of `generation`, sent so many times. Raises Conflict when the record has another."""
        if not await self._mark(slot.key, generation, status.value, cause, attempts):
            raise Conflict(f"{slot} was not marked {status.value}: generation {generation} is no longer the stored one")
        self._announce(slot.key)

    # --- by hand -----------------------------------------------------------------------------------------------------------------

    @_promised
    async def put(self, slot: Slot, token: Token, *, force: bool = False) -> Token:
        """Bring in a token from outside (a login, an import); the Token as stored, with its generation.

        Raises Conflict when the store has a newer one, unless `force`: one that descends from `token`, was issued later, or has a higher
        generation than `token` tells. The very token that is stored already is left alone.
        """
        while True:
            row = await self._read(slot.key)
            stored = None if row is None or row.is_removed else self._grant(slot, row)
            if stored is not None and _is_same_pair(stored.token, token) and not (force and stored.status is not GrantStatus.USABLE):
                return stored.token
            if stored is not None and not force and (reason := _why_newer(stored, token)):
                raise Conflict(f"{slot} was not overwritten: {reason}; force it if that is what you want")
            expected = 0 if row is None else row.generation
            numbered = replace(token, generation=max(expected, token.generation) + 1)
            try:
                await self._commit(slot, numbered, expected, revives=True)
            except Conflict:
                continue  # somebody else wrote meanwhile: look at what it is
            return numbered

    @_promised
    async def remove(self, slot: Slot) -> bool:
        """Forget the slot's tokens; what stays is their last generation. False when there were none."""
        removed = await self._remove(slot.key)
        self._announce(slot.key)
        return removed

    @_promised
    async def reseal(self) -> int:
        """Encode every record anew with the current codec, after a change of its key; how many were rewritten."""
        count = 0
        for slot in await self.slots():
            while (row := await self._read(slot.key)) is not None and not row.is_removed:
                payload = self._codec.encode(slot, self._grant(slot, row).token)
                if await self._reseal(slot.key, row.revision, payload):
                    count += 1
                    break
        return count

    def is_surely_gone(self, holder: str) -> bool:
        """Whether the process of a `StoredGrant.by` is proved to have ended; False also when that cannot be told from here."""
        other = Holder.parse(holder)
        return other is not None and other.is_surely_gone(self._holder())

    async def aclose(self) -> None:
        """Close what is open. Nothing is lost by it."""
        self._announce()

    @_promised
    async def __aenter__(self) -> Self:
        await self._keys()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    # --- inside ------------------------------------------------------------------------------------------------------------------

    def _grant(self, slot: Slot, row: Row) -> StoredGrant:
        words = row.lineage.split()
        return StoredGrant(
            token=self._codec.decode(slot, row.generation, row.payload),
            status=GrantStatus(row.status),
            age=max(0.0, row.age),
            since=max(0.0, row.since),
            revision=row.revision,
            attempts=row.attempts,
            by=row.by,
            cause=row.cause,
            lineage=tuple(word.removeprefix(ROOT) for word in words),
            is_renewed=bool(words) and not words[-1].startswith(ROOT),
        )

    @contextmanager
    def _listening(self, key: str) -> Iterator[asyncio.Event]:
        bell = asyncio.Event()
        self._bells.setdefault(key, set()).add(bell)
        try:
            yield bell
        finally:
            self._bells[key].discard(bell)
            if not self._bells[key]:
                del self._bells[key]

    def _announce(self, key: str | None = None) -> None:
        """Wake up whoever waits for a change of this record, or of any."""
        for listened, bells in self._bells.items():
            if key in (None, listened):
                for bell in bells:
                    bell.set()

    # --- what an engine fills in: each call is one atomic step, and raises StoreUnreachable or StoreUnusable --------------------------

    @abstractmethod
    async def _read(self, key: str) -> Row | None:
        """The row, also a removed one."""

    @abstractmethod
    async def _revision(self, key: str) -> int:
        """The row's revision; 0 when there is no row, or it is removed."""

    @abstractmethod
    async def _keys(self) -> list[str]:
        """The keys of all rows that are not removed."""

    @abstractmethod
    async def _take(self, key: str, lease: str, ttl: float, instead_of: str) -> str | None:
        """Take the lease when it is free, has ended, or is `instead_of` or the very same; None, or the lease that stands in the way."""

    @abstractmethod
    async def _extend(self, key: str, lease: str, ttl: float) -> bool:
        """Move the end of exactly this lease; False when it is not the current one or has ended."""

    @abstractmethod
    async def _release(self, key: str, lease: str) -> None:
        """End exactly this lease."""

    @abstractmethod
    async def _note(self, key: str, lease: str, generation: int, attempts: int, by: str) -> bool:
        """Note the intent if the lease is current and the row has this generation, durably."""

    @abstractmethod
    async def _write(self, key: str, write: Write) -> bool:
        """Compare and swap, durably; let the lineage grow as `stored.grown` does; end the lease if it is current."""

    @abstractmethod
    async def _mark(self, key: str, generation: int, status: str, cause: str, attempts: int) -> bool:
        """Set status, cause and attempts if the row has this generation."""

    @abstractmethod
    async def _reseal(self, key: str, revision: int, payload: bytes) -> bool:
        """Replace the payload if the row has this revision."""

    @abstractmethod
    async def _remove(self, key: str) -> bool:
        """Empty the row, mark it removed and raise its generation by one; False when there is no row, or it is removed."""


def too_new(place: str, found: int, known: int) -> StoreUnusable:
    """The error for a store whose schema a later version has written."""
    return StoreUnusable(
        f"the token store {place} has schema {found}, and this version knows {known}: update tradesession; nothing was changed"
    )


def _is_same_pair(one: Token, other: Token) -> bool:
    return one.access == other.access and one.refresh == other.refresh


def _why_newer(stored: StoredGrant, token: Token) -> str:
    if stored.descends_from(token):
        return f"generation {stored.generation} in the store was made from the token that is brought in"
    if 0 < token.generation < stored.generation:
        return f"the store has generation {stored.generation}, and generation {token.generation} is brought in"
    if token.issued_at is not None and stored.token.issued_at is not None and token.issued_at < stored.token.issued_at:
        return f"generation {stored.generation} in the store was issued {stored.token.issued_at - token.issued_at:.0f} s later"
    return ""
