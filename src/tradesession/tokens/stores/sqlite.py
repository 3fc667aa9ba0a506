"""SqliteStore: tokens in one file on this machine; the default.

Promises the whole contract of TokenStore among all processes of the machine that open the file: writes are serialised by SQLite and
fsynced before they return (write-ahead log, synchronous=FULL), so a pair survives a killed process, and a power cut as far as the disk
keeps its word. The file, its log and its index have mode 0600, in a directory of mode 0700 when this store makes it; a file that
others may read is refused. Others are not told of changes, they look (`policy.STORE_POLL`). Ages and leases go by this machine's wall
clock. Not for network file systems, whose locks SQLite cannot trust: use PostgreSQL or Redis to share a grant between machines.
Blocking calls run in one thread of the store's own; the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from tradesession import policy
from tradesession.errors import StoreUnreachable, StoreUnusable
from tradesession.tokens.store import REMOVED, Row, TokenStore, Write, too_new
from tradesession.tokens.stored import grown

T = TypeVar("T")

VERSION: Final = 1
"""Of the schema; `PRAGMA user_version` of the file."""

APPLICATION_ID: Final = 0x74726164
"""`PRAGMA application_id` of the file, so that no other program's database is taken for a store."""

_MIGRATIONS: Final = (
    (  # to version 1
        """CREATE TABLE grants (
            slot TEXT PRIMARY KEY, generation INTEGER NOT NULL, revision INTEGER NOT NULL, status TEXT NOT NULL,
            born_at REAL NOT NULL, since REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, actor TEXT NOT NULL DEFAULT '',
            cause TEXT NOT NULL DEFAULT '', lineage TEXT NOT NULL DEFAULT '', payload BLOB NOT NULL
        ) WITHOUT ROWID""",
        "CREATE TABLE leases (slot TEXT PRIMARY KEY, lease TEXT NOT NULL, taken_at REAL NOT NULL, ends_at REAL NOT NULL) WITHOUT ROWID",
    ),
)
"""The statements that lead from each version to the next."""

_ROW: Final = "generation, revision, status, born_at, since, attempts, actor, cause, lineage, payload"
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class SqliteStore(TokenStore):
    """See the module. `timeout` is how long a call waits for other processes' writes, in seconds."""

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = policy.STORE_TIMEOUT, **options: Any) -> None:
        super().__init__(**options)
        self._database = _Database(Path(path), timeout, self._clock.wall)
        self._thread: ThreadPoolExecutor | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    async def aclose(self) -> None:
        """Close the file; a later call opens it again."""
        await super().aclose()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._database.close)
            thread.shutdown(wait=False)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tradesession-sqlite")
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._database.guarded(work, *arguments))

    async def _read(self, key: str) -> Row | None:
        return await self._run(self._database.read, key)

    async def _revision(self, key: str) -> int:
        return await self._run(self._database.revision, key)

    async def _keys(self) -> list[str]:
        return await self._run(self._database.keys)

    async def _take(self, key: str, lease: str, ttl: float, instead_of: str) -> str | None:
        return await self._run(self._database.take, key, lease, ttl, instead_of)

    async def _extend(self, key: str, lease: str, ttl: float) -> bool:
        return await self._run(self._database.extend, key, lease, ttl)

    async def _release(self, key: str, lease: str) -> None:
        await self._run(self._database.release, key, lease)

    async def _note(self, key: str, lease: str, generation: int, attempts: int, by: str) -> bool:
        return await self._run(self._database.note, key, lease, generation, attempts, by)

    async def _write(self, key: str, write: Write) -> bool:
        return await self._run(self._database.write, key, write)

    async def _mark(self, key: str, generation: int, status: str, cause: str, attempts: int) -> bool:
        return await self._run(self._database.mark, key, generation, status, cause, attempts)

    async def _reseal(self, key: str, revision: int, payload: bytes) -> bool:
        return await self._run(self._database.reseal, key, revision, payload)

    async def _remove(self, key: str) -> bool:
        return await self._run(self._database.remove, key)


class _Database:
    """The blocking half; used by one thread. Every writing method is one transaction that begins by locking the file."""

    def __init__(self, path: Path, timeout: float, wall: Callable[[], float]) -> None:
        self.path = path
        self._timeout = timeout
        self._wall = wall
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)

    def guarded(self, work: Callable[..., T], *arguments: object) -> T:
        """Do the work on an open connection; whatever goes wrong becomes a StoreError, and nothing stays half done."""
        try:
            self._open()
            return work(*arguments)
        except sqlite3.Error as error:
            self._roll_back()
            raise _translated(error, self.path) from error
        except OSError as error:
            remedy = "check the path, and who may write there"
            raise StoreUnusable(f"the token store {self.path} cannot be used ({error.strerror}): {remedy}; nothing was changed") from error
        except Exception:  # a value that does not fit: the file must not stay locked for everybody
            self._roll_back()
            raise

    # --- opening -------------------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open the file, unless it is open and still the one that the path names: one that was moved away would swallow tokens."""
        if self._connection is not None:
            if _identity(self.path) == self._identity:
                return
            self.close()
        self._create()
        self._check_modes()
        connection = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=rw", uri=True, timeout=self._timeout, isolation_level=None)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._identity = _identity(self.path)

    def _create(self) -> None:
        if self.path.exists():
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return  # another process was faster

    def _check_modes(self) -> None:
        for path in (self.path, Path(f"{self.path}-wal"), Path(f"{self.path}-shm")):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(status.st_mode):
                raise StoreUnusable(f"the token store {path} is no file; name another path")
            if loose := stat.S_IMODE(status.st_mode) & 0o077:
                mode = stat.S_IMODE(status.st_mode)
                who = "others" if loose & 0o007 else "its group"
                raise StoreUnusable(
                    f"the token store {path} has mode {mode:04o}, so {who} may read it: chmod 600 {path}; nothing was changed"
                )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Check what the file is, and bring it to this version's schema; a file of another kind or of a later version is not touched."""
        connection.execute("BEGIN")  # one view of the file, as another process may be making it at this moment
        version = self._identify(connection)
        connection.execute("ROLLBACK")
        if version == VERSION:
            connection.execute("PRAGMA synchronous=FULL")
            return
        _retry_busy(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchone(), self._timeout)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        version = self._identify(connection)  # another process may have been faster
        for statements in _MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")

    def _identify(self, connection: sqlite3.Connection) -> int:
        """The schema's version, 0 for a new file."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != APPLICATION_ID and (application or version or tables):
            raise StoreUnusable(f"{self.path} is the database of another program; name another path; nothing was changed")
        if version > VERSION:
            raise too_new(str(self.path), version, VERSION)
        if version:
            (flaw,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if flaw != "ok":
                raise sqlite3.DatabaseError(flaw)
        return int(version)

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is not None and connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()  # which rolls back as well

    # --- statements ----------------------------------------------------------------------------------------------------------------

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        assert self._connection is not None
        return self._connection.execute(statement, values)

    def _transaction(self, *steps: tuple[str, tuple[object, ...]]) -> bool:
        """Run the first step and, if it changed a row, the others. Begins with the write lock, so that nothing comes between."""
        self._execute("BEGIN IMMEDIATE")
        applied = False
        for statement, values in steps:
            applied = self._execute(statement, *values).rowcount > 0 or applied
            if not applied:
                break
        self._execute("COMMIT" if applied else "ROLLBACK")
        return applied

    def read(self, key: str) -> Row | None:
        """See TokenStore._read."""
        found = self._execute(f"SELECT {_ROW} FROM grants WHERE slot = ?", key).fetchone()  # noqa: S608 - a constant
        if found is None:
            return None
        generation, revision, status, born_at, since, attempts, actor, cause, lineage, payload = found
        now = self._wall()
        return Row(
            generation=generation,
            revision=revision,
            status=status,
            age=now - born_at,
            since=now - since,
            attempts=attempts,
            by=actor,
            cause=cause,
            lineage=lineage,
            payload=bytes(payload),
        )

    def revision(self, key: str) -> int:
        """See TokenStore._revision."""
        found = self._execute("SELECT revision FROM grants WHERE slot = ? AND status <> ?", key, REMOVED).fetchone()
        return int(found[0]) if found is not None else 0

    def keys(self) -> list[str]:
        """See TokenStore._keys."""
        return [key for (key,) in self._execute("SELECT slot FROM grants WHERE status <> ?", REMOVED)]

    def take(self, key: str, lease: str, ttl: float, instead_of: str) -> str | None:
        """See TokenStore._take. A lease from the future means that the clock was set back: it has ended, too."""
        now = self._wall()
        self._execute("BEGIN IMMEDIATE")
        found = self._execute("SELECT lease, taken_at, ends_at FROM leases WHERE slot = ?", key).fetchone()
        if found is not None:
            current, taken_at, ends_at = found
            if taken_at - policy.CLOCK_JUMP <= now < ends_at and current not in (instead_of, lease):
                self._execute("ROLLBACK")
                return str(current)
        self._execute("INSERT OR REPLACE INTO leases (slot, lease, taken_at, ends_at) VALUES (?, ?, ?, ?)", key, lease, now, now + ttl)
        self._execute("COMMIT")
        return None

    def extend(self, key: str, lease: str, ttl: float) -> bool:
        """See TokenStore._extend."""
        now = self._wall()
        statement = "UPDATE leases SET taken_at = ?, ends_at = ? WHERE slot = ? AND lease = ? AND ends_at > ?"
        return self._transaction((statement, (now, now + ttl, key, lease, now)))

    def release(self, key: str, lease: str) -> None:
        """See TokenStore._release."""
        self._transaction(("DELETE FROM leases WHERE slot = ? AND lease = ?", (key, lease)))

    def note(self, key: str, lease: str, generation: int, attempts: int, by: str) -> bool:
        """See TokenStore._note."""
        now = self._wall()
        statement = (
            "UPDATE grants SET revision = revision + 1, status = 'exchanging', since = ?, attempts = ?, actor = ?, cause = ''"
            " WHERE slot = ? AND generation = ? AND status <> ?"
            " AND EXISTS (SELECT 1 FROM leases WHERE leases.slot = grants.slot AND lease = ? AND ends_at > ?)"
        )
        return self._transaction((statement, (now, attempts, by, key, generation, REMOVED, lease, now)))

    def write(self, key: str, write: Write) -> bool:
        """See TokenStore._write."""
        now = self._wall()
        self._execute("BEGIN IMMEDIATE")
        found = self._execute("SELECT generation, revision, status, lineage FROM grants WHERE slot = ?", key).fetchone()
        generation, revision, status, lineage = found if found is not None else (0, 0, "", "")
        if generation != write.expected or (status == REMOVED and not write.revives):
            self._execute("ROLLBACK")
            return False
        lineage = grown(lineage, write.lineage)
        self._execute(
            "INSERT OR REPLACE INTO grants (slot, generation, revision, status, born_at, since, lineage, payload)"
            " VALUES (?, ?, ?, 'usable', ?, ?, ?, ?)",
            *(key, write.generation, revision + 1, now - write.held, now, lineage, write.payload),
        )
        self._execute("DELETE FROM leases WHERE slot = ? AND lease = ?", key, write.lease)
        self._execute("COMMIT")
        return True

    def mark(self, key: str, generation: int, status: str, cause: str, attempts: int) -> bool:
        """See TokenStore._mark."""
        statement = (
            "UPDATE grants SET revision = revision + 1, status = ?, since = ?, cause = ?, attempts = ?"
            " WHERE slot = ? AND generation = ? AND status <> ?"
        )
        return self._transaction((statement, (status, self._wall(), cause, attempts, key, generation, REMOVED)))

    def reseal(self, key: str, revision: int, payload: bytes) -> bool:
        """See TokenStore._reseal."""
        statement = "UPDATE grants SET revision = revision + 1, payload = ? WHERE slot = ? AND revision = ?"
        return self._transaction((statement, (payload, key, revision)))

    def remove(self, key: str) -> bool:
        """See TokenStore._remove. The old payload is overwritten and the log emptied: gone from the disk, as far as SQLite can tell."""
        statement = (
            "UPDATE grants SET revision = revision + 1, generation = generation + 1, status = ?, since = ?, actor = '', cause = '',"
            " lineage = '', payload = x'' WHERE slot = ? AND status <> ?"
        )
        self._execute("PRAGMA secure_delete=ON")
        removed = self._transaction((statement, (REMOVED, self._wall(), key, REMOVED)))
        self._execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_dev, status.st_ino


def _retry_busy(work: Callable[[], T], timeout: float) -> T:
    """SQLite asks nobody to wait while the journal mode changes, so we do."""
    give_up_at = time.monotonic() + timeout
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)  # in the store's own thread


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


def _translated(error: sqlite3.Error, path: Path) -> StoreUnreachable | StoreUnusable:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        return StoreUnreachable(f"the token store {path} was locked by another process for too long; look what holds it")
    if code == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR:
        remedy = "the disk is full, or fails: make room"
    elif code in _BROKEN or type(error) is sqlite3.DatabaseError:
        remedy = "it is damaged, or no token store: restore it from a backup, or move it away and log in again"
    elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        remedy = "check who may write it and its directory"
    else:
        remedy = "check the file"
    return StoreUnusable(f"the token store {path} cannot be used ({error}): {remedy}; nothing was changed")
