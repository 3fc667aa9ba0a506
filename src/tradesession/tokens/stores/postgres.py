"""PostgresStore: tokens in a PostgreSQL database, shared by machines.

Promises the whole contract of TokenStore among all that reach the server. A commit is durable as the server's `synchronous_commit`
says, which is raised to `on` where the role or the database has it off; behind an asynchronous replica, a failover may still forget
the last seconds, and then the process that has the newer token in memory writes it again. Ages and leases go by the server's clock.
Changes are announced by NOTIFY; behind a pooler that cannot LISTEN, and while the announcements' connection is down, they are seen by
looking. Driver: asyncpg. Its own time limit for a call runs in real time, as the server does.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from tradesession import policy
from tradesession.errors import ConfigurationError, StoreError, StoreUnreachable, StoreUnusable
from tradesession.secrets import redact_url
from tradesession.tasks import TaskOwner
from tradesession.timing import SYSTEM_CLOCK, deadline, sleep
from tradesession.tokens.store import REMOVED, Row, TokenStore, Write, too_new

_log = logging.getLogger("tradesession.tokens.store")

DEFAULT_SCHEMA: Final = "tradesession"

VERSION: Final = 1
"""Of the schema; in the table `meta`."""

_MIGRATIONS: Final = (
    (  # to version 1
        """CREATE TABLE {schema}.grants (
            slot text PRIMARY KEY, generation bigint NOT NULL, revision bigint NOT NULL, status text NOT NULL,
            born_at timestamptz NOT NULL, since timestamptz NOT NULL, attempts integer NOT NULL DEFAULT 0, actor text NOT NULL DEFAULT '',
            cause text NOT NULL DEFAULT '', lineage text NOT NULL DEFAULT '', payload bytea NOT NULL
        )""",
        "CREATE TABLE {schema}.leases (slot text PRIMARY KEY, lease text NOT NULL, ends_at timestamptz NOT NULL)",
    ),
)
"""The statements that lead from each version to the next."""

_ROW: Final = """SELECT generation, revision, status, attempts, actor, cause, lineage, payload,
    extract(epoch FROM clock_timestamp() - born_at)::float8 AS age, extract(epoch FROM clock_timestamp() - since)::float8 AS since
    FROM {schema}.grants WHERE slot = $1"""

_TAKE: Final = """INSERT INTO {schema}.leases AS held (slot, lease, ends_at)
    VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
    ON CONFLICT (slot) DO UPDATE SET lease = excluded.lease, ends_at = excluded.ends_at
    WHERE held.ends_at <= clock_timestamp() OR held.lease IN ($2, $4) RETURNING lease"""

# Each change is one statement, so that a commit costs one exchange with the server: CHANGE is what the statement itself does.
_ANNOUNCED: Final = """WITH changed AS ({change} RETURNING slot),
    freed AS (DELETE FROM {schema}.leases WHERE slot = $1 AND lease = $2 AND $2 <> '' AND EXISTS (SELECT 1 FROM changed))
    SELECT pg_notify('{channel}', slot) FROM changed"""

# The lease is locked until the intent is noted, so that nobody takes it over in between and reads a record without the intent.
_NOTE: Final = """WITH held AS (SELECT 1 FROM {schema}.leases WHERE slot = $1 AND lease = $2 AND ends_at > clock_timestamp() FOR SHARE),
    changed AS (UPDATE {schema}.grants SET revision = revision + 1, status = 'exchanging', since = clock_timestamp(), attempts = $4,
        actor = $5, cause = '' WHERE slot = $1 AND generation = $3 AND status <> 'removed' AND EXISTS (SELECT 1 FROM held) RETURNING slot)
    SELECT pg_notify('{channel}', slot) FROM changed"""

_INSERT: Final = """INSERT INTO {schema}.grants (slot, generation, revision, status, born_at, since, lineage, payload)
    VALUES ($1, $3, 1, 'usable', clock_timestamp() - make_interval(secs => $4), clock_timestamp(), $5, $6) ON CONFLICT DO NOTHING"""

_REPLACE: Final = """UPDATE {schema}.grants SET generation = $3, revision = revision + 1, status = 'usable',
    born_at = clock_timestamp() - make_interval(secs => $4), since = clock_timestamp(), attempts = 0, actor = '', cause = '',
    lineage = (SELECT string_agg(word, ' ' ORDER BY place) FROM (
        SELECT word, place, row_number() OVER (PARTITION BY starts_with(word, '=') ORDER BY place DESC) AS back
        FROM unnest(string_to_array(trim(lineage || ' ' || $5), ' ')) WITH ORDINALITY AS words (word, place)
        ) AS counted WHERE back <= $9),
    payload = $6 WHERE slot = $1 AND generation = $7 AND (status <> 'removed' OR $8)"""

_MARK: Final = """UPDATE {schema}.grants SET revision = revision + 1, status = $4, since = clock_timestamp(), cause = $5, attempts = $6
    WHERE slot = $1 AND generation = $3 AND status <> 'removed'"""

_RESEAL: Final = "UPDATE {schema}.grants SET revision = revision + 1, payload = $4 WHERE slot = $1 AND revision = $3"

_REMOVE: Final = """UPDATE {schema}.grants SET revision = revision + 1, generation = generation + 1, status = 'removed',
    since = clock_timestamp(), actor = '', cause = '', lineage = '', payload = '' WHERE slot = $1 AND status <> 'removed'"""

_ABSENT: Final = (OSError, asyncio.TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.CannotConnectNowError,
                  asyncpg.TooManyConnectionsError, asyncpg.OperatorInterventionError, asyncpg.InternalClientError)  # fmt: skip


_OVERTAKEN: Final = (asyncpg.DuplicateSchemaError, asyncpg.DuplicateTableError, asyncpg.UniqueViolationError)


class PostgresStore(TokenStore):
    """See the module. `dsn` is a libpq URL; `schema` holds the tables and is made when it is missing, if the role may.

    `timeout` limits each call, in seconds.
    """

    poll = policy.STORE_POLL_ANNOUNCED

    def __init__(self, dsn: str, *, schema: str = DEFAULT_SCHEMA, timeout: float = policy.STORE_TIMEOUT, **options: Any) -> None:
        super().__init__(**options)
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,47}", schema):
            raise ConfigurationError(f"schema={schema!r} is no plain name: use lower-case letters, digits and _, 48 at most")
        self._dsn = dsn
        self._place = redact_url(dsn)
        self._schema = schema
        self._timeout = timeout
        self._pool: asyncpg.Pool[Any] | None = None
        self._opening = asyncio.Lock()
        self._tasks = TaskOwner()

    @property
    def _channel(self) -> str:
        return f"tradesession_{self._schema}"

    async def aclose(self) -> None:
        """Close the connections; a later call opens them again."""
        await super().aclose()
        await self._tasks.aclose()
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with deadline(SYSTEM_CLOCK, policy.CLOSE_TIMEOUT):
                await pool.close()  # a call that was cancelled may still be giving its connection back, in a task of the pool
        except (TimeoutError, asyncpg.PostgresError, *_ABSENT):
            pool.terminate()

    # --- connecting ------------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """A connection from the pool; whatever goes wrong on it becomes a StoreError."""
        try:
            pool = self._pool or await self._open()
            async with pool.acquire(timeout=self._timeout) as connection:
                yield connection
        except (asyncpg.PostgresError, *_ABSENT) as error:
            raise self._translated(error) from error

    async def _open(self) -> asyncpg.Pool[Any]:
        async with self._opening:
            if self._pool is None:
                pool = await self._connected({})
                try:
                    async with pool.acquire() as connection:
                        await self._prepare(connection)
                        is_durable = await connection.fetchval("SHOW synchronous_commit") != "off"
                except ValueError:  # of asyncpg, which reads the URL now; its text may quote it
                    pool.terminate()
                    raise ConfigurationError(
                        f"the token store {self._place} has a URL that cannot be read: check its host, port and options"
                    ) from None
                except BaseException:
                    pool.terminate()
                    raise
                if not is_durable:
                    pool.terminate()
                    pool = await self._connected({"synchronous_commit": "on"})
                self._pool = pool
                self._tasks.spawn(self._listen(), name="announcements of the token store")
            return self._pool

    async def _connected(self, settings: dict[str, str]) -> asyncpg.Pool[Any]:
        return await asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=4,
            timeout=self._timeout,
            command_timeout=self._timeout,
            statement_cache_size=0,  # prepared statements break behind poolers
            server_settings=settings,
        )

    async def _prepare(self, connection: Any) -> None:
        """Bring the tables to this version's schema; those of a later version are not touched."""
        if await self._version(connection) < VERSION:
            try:
                await self._migrate(connection)
            except _OVERTAKEN:  # by another process; unless there is something else of that name
                if await self._version(connection) < VERSION:
                    raise

    async def _migrate(self, connection: Any) -> None:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", self._channel)
            version = await self._version(connection)
            if not version:
                await connection.execute(self._sql("CREATE SCHEMA IF NOT EXISTS {schema}"))
                await connection.execute(self._sql("CREATE TABLE IF NOT EXISTS {schema}.meta (version integer NOT NULL)"))
            for statements in _MIGRATIONS[version:]:
                for statement in statements:
                    await connection.execute(self._sql(statement))
            await connection.execute(self._sql("DELETE FROM {schema}.meta"))
            await connection.execute(self._sql("INSERT INTO {schema}.meta VALUES ($1)"), VERSION)

    async def _version(self, connection: Any) -> int:
        if await connection.fetchval("SELECT to_regclass($1)", f"{self._schema}.meta") is None:
            return 0
        version = int(await connection.fetchval(self._sql("SELECT coalesce(max(version), 0) FROM {schema}.meta")))
        if version > VERSION:
            raise too_new(self._place, version, VERSION)
        return version

    async def _listen(self) -> None:
        """Pass announcements on for as long as the store is open."""
        while True:
            lost = asyncio.Event()
            try:
                connection = await asyncpg.connect(self._dsn, timeout=self._timeout, statement_cache_size=0)
                try:
                    connection.add_termination_listener(_setter(lost))
                    await connection.add_listener(self._channel, self._heard)
                    self._announce()  # what was said before
                    await lost.wait()
                finally:
                    connection.terminate()
            except (asyncpg.PostgresError, *_ABSENT) as error:
                _log.debug("%s: changes are not announced for now: %s", self._place, type(error).__name__)
            await sleep(SYSTEM_CLOCK, policy.STORE_POLL)

    def _heard(self, connection: object, process: int, channel: str, key: object) -> None:
        self._announce(str(key))

    def _translated(self, error: Exception) -> StoreError:
        if isinstance(error, _ABSENT):
            return StoreUnreachable(
                f"the token store {self._place} cannot be reached ({_named(error)}): see that it runs there; nothing was changed"
            )
        if isinstance(error, (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)):
            remedy = "check user, password and database"
        elif isinstance(error, asyncpg.InsufficientPrivilegeError):
            remedy = f"let the role use schema {self._schema} and its tables, or create it"
        elif isinstance(error, asyncpg.DiskFullError):
            remedy = "the server's disk is full: make room"
        elif isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            remedy = "the server is a standby: name the primary"
        elif isinstance(error, (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError)):
            return StoreUnreachable(f"the token store {self._place} was busy ({_named(error)}); nothing was changed")
        else:
            remedy = "check the server and the tables"
        return StoreUnusable(f"the token store {self._place} cannot be used ({_named(error)}): {remedy}; nothing was changed")

    # --- statements ------------------------------------------------------------------------------------------------------------------

    def _sql(self, statement: str) -> str:
        return statement.format(schema=self._schema, channel=self._channel)

    async def _change(self, statement: str, *values: object) -> bool:
        """Whether the statement changed the row; if so, it was announced."""
        async with self._connection() as connection:
            return await connection.fetchrow(self._sql(statement), *values) is not None

    async def _announced(self, change: str, key: str, lease: str, *values: object) -> bool:
        return await self._change(_ANNOUNCED.replace("{change}", change), key, lease, *values)

    async def _read(self, key: str) -> Row | None:
        async with self._connection() as connection:
            found = await connection.fetchrow(self._sql(_ROW), key)
        if found is None:
            return None
        fields = dict(found)
        return Row(by=fields.pop("actor"), **fields)

    async def _revision(self, key: str) -> int:
        statement = "SELECT revision FROM {schema}.grants WHERE slot = $1 AND status <> $2"
        async with self._connection() as connection:
            return int(await connection.fetchval(self._sql(statement), key, REMOVED) or 0)

    async def _keys(self) -> list[str]:
        async with self._connection() as connection:
            rows = await connection.fetch(self._sql("SELECT slot FROM {schema}.grants WHERE status <> $1"), REMOVED)
        return [row["slot"] for row in rows]

    async def _take(self, key: str, lease: str, ttl: float, instead_of: str) -> str | None:
        async with self._connection() as connection:
            if await connection.fetchval(self._sql(_TAKE), key, lease, float(ttl), instead_of) is not None:
                return None
            current = await connection.fetchval(self._sql("SELECT lease FROM {schema}.leases WHERE slot = $1"), key)
        return str(current or "somebody's")  # given back meanwhile: the next try gets it

    async def _extend(self, key: str, lease: str, ttl: float) -> bool:
        statement = """UPDATE {schema}.leases SET ends_at = clock_timestamp() + make_interval(secs => $3)
            WHERE slot = $1 AND lease = $2 AND ends_at > clock_timestamp()"""
        async with self._connection() as connection:
            result = await connection.execute(self._sql(statement), key, lease, float(ttl))
        return bool(result != "UPDATE 0")

    async def _release(self, key: str, lease: str) -> None:
        async with self._connection() as connection:
            await connection.execute(self._sql("DELETE FROM {schema}.leases WHERE slot = $1 AND lease = $2"), key, lease)

    async def _note(self, key: str, lease: str, generation: int, attempts: int, by: str) -> bool:
        return await self._change(_NOTE, key, lease, generation, attempts, by)

    async def _write(self, key: str, write: Write) -> bool:
        values: tuple[object, ...] = (write.generation, write.held, write.lineage, write.payload)
        if write.expected == 0:
            return await self._announced(_INSERT, key, write.lease, *values)
        return await self._announced(_REPLACE, key, write.lease, *values, write.expected, write.revives, policy.LINEAGE)

    async def _mark(self, key: str, generation: int, status: str, cause: str, attempts: int) -> bool:
        return await self._announced(_MARK, key, "", generation, status, cause, attempts)

    async def _reseal(self, key: str, revision: int, payload: bytes) -> bool:
        return await self._announced(_RESEAL, key, "", revision, payload)

    async def _remove(self, key: str) -> bool:
        return await self._announced(_REMOVE, key, "")


def _setter(event: asyncio.Event) -> Callable[[object], None]:
    return lambda _: event.set()


def _named(error: Exception) -> str:
    """The kind of an error, without its text: that may quote values."""
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} {state}" if state else type(error).__name__
