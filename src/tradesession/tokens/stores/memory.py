"""MemoryStore: tokens for one process and its lifetime.

Promises the whole contract of TokenStore among all users of one object, apart from durability: what it holds ends with the process,
and a refresh token that works once ends with it. For tests, for static tokens, and for grants that can be had again at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tradesession.tokens.store import REMOVED, Row, TokenStore, Write
from tradesession.tokens.stored import grown


@dataclass(slots=True)
class _Lease:
    id: str
    ends_at: float


@dataclass(slots=True)
class _Record:
    """A row with the times, by the clock, from which its ages count."""

    row: Row
    born_at: float
    since: float


class MemoryStore(TokenStore):
    """See the module. Leases and ages are measured by the monotonic time of `clock`."""

    poll = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pace = self._clock
        self._records: dict[str, _Record] = {}
        self._leases: dict[str, _Lease] = {}

    async def _read(self, key: str) -> Row | None:
        record = self._records.get(key)
        if record is None:
            return None
        now = self._clock.monotonic()
        return replace(record.row, age=now - record.born_at, since=now - record.since)

    async def _revision(self, key: str) -> int:
        record = self._records.get(key)
        return 0 if record is None or record.row.is_removed else record.row.revision

    async def _keys(self) -> list[str]:
        return [key for key, record in self._records.items() if not record.row.is_removed]

    async def _take(self, key: str, lease: str, ttl: float, instead_of: str) -> str | None:
        now = self._clock.monotonic()
        current = self._leases.get(key)
        if current is not None and current.ends_at > now and current.id not in (instead_of, lease):
            return current.id
        self._leases[key] = _Lease(lease, now + ttl)
        return None

    def _holds(self, key: str, lease: str) -> bool:
        current = self._leases.get(key)
        return current is not None and current.id == lease and current.ends_at > self._clock.monotonic()

    async def _extend(self, key: str, lease: str, ttl: float) -> bool:
        if not self._holds(key, lease):
            return False
        self._leases[key].ends_at = self._clock.monotonic() + ttl
        return True

    async def _release(self, key: str, lease: str) -> None:
        if self._holds(key, lease):
            del self._leases[key]

    async def _note(self, key: str, lease: str, generation: int, attempts: int, by: str) -> bool:
        if not self._holds(key, lease):
            return False
        return self._change(key, _of(generation), status="exchanging", attempts=attempts, by=by, cause="")

    async def _write(self, key: str, write: Write) -> bool:
        record = self._records.get(key)
        if (record.row.generation if record is not None else 0) != write.expected:
            return False
        if record is not None and record.row.is_removed and not write.revives:
            return False
        lineage = grown(record.row.lineage if record is not None else "", write.lineage)
        now = self._clock.monotonic()
        row = Row(
            generation=write.generation,
            revision=record.row.revision + 1 if record is not None else 1,
            status="usable",
            age=0.0,
            since=0.0,
            attempts=0,
            by="",
            cause="",
            lineage=lineage,
            payload=write.payload,
        )
        self._records[key] = _Record(row, now - write.held, now)
        await self._release(key, write.lease)
        return True

    async def _mark(self, key: str, generation: int, status: str, cause: str, attempts: int) -> bool:
        return self._change(key, _of(generation), status=status, cause=cause, attempts=attempts)

    async def _reseal(self, key: str, revision: int, payload: bytes) -> bool:
        return self._change(key, lambda row: row.revision == revision, payload=payload)

    async def _remove(self, key: str) -> bool:
        record = self._records.get(key)
        if record is None or record.row.is_removed:
            return False
        empty: dict[str, Any] = {"payload": b"", "lineage": "", "by": "", "cause": ""}
        return self._change(key, lambda _: True, status=REMOVED, generation=record.row.generation + 1, **empty)

    def _change(self, key: str, applies: Callable[[Row], bool], **fields: Any) -> bool:
        record = self._records.get(key)
        if record is None or not applies(record.row):
            return False
        record.row = replace(record.row, revision=record.row.revision + 1, **fields)
        if "status" in fields:
            record.since = self._clock.monotonic()
        return True


def _of(generation: int) -> Callable[[Row], bool]:
    return lambda row: row.generation == generation and not row.is_removed
