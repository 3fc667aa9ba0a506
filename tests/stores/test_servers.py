"""PostgreSQL and Redis as servers: out of reach, full, forbidden, forgetful; and announcements that get lost."""

import asyncio
import gc
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import pytest
from redis import exceptions

from tests.stores.engines import POSTGRES, Postgres, Redis, running
from tests.stores.test_contract import SLOT, leased, loaded, token
from tradesession import policy
from tradesession.errors import StoreError, StoreUnreachable, StoreUnusable
from tradesession.tokens.store import GrantStatus, TokenStore
from tradesession.tokens.stores.postgres import _NOTE, PostgresStore
from tradesession.tokens.stores.redis import RedisStore

pytestmark = pytest.mark.services


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[Postgres]:
    async with running("postgresql", tmp_path) as engine:
        assert isinstance(engine, Postgres)
        yield engine


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    async with running("redis", tmp_path) as engine:
        assert isinstance(engine, Redis)
        yield engine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- closing ----------------------------------------------------------------------------------------------------------------------


async def test_closing_while_a_cancelled_call_gives_its_connection_back_leaves_nothing_to_report(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(str(context["message"])))
    store = postgres.open()
    await store.slots()
    giving_back, reset = asyncio.Event(), asyncpg.Connection.reset

    async def observed(connection: Any, **options: Any) -> None:
        giving_back.set()
        await connection.execute("SELECT pg_sleep(0.05)")  # a server that takes its time
        await reset(connection, **options)

    monkeypatch.setattr(asyncpg.Connection, "reset", observed)
    call = asyncio.ensure_future(store.load(SLOT))
    await giving_back.wait()
    call.cancel()
    await asyncio.wait([call])
    await store.aclose()
    await asyncio.sleep(0)
    del call
    gc.collect()
    assert reports == []


async def test_closing_does_not_wait_for_a_server_that_has_gone_silent(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    store = postgres.open()
    await store.slots()
    silent = asyncio.Event()

    async def never(pool: Any) -> None:
        await silent.wait()

    monkeypatch.setattr(asyncpg.Pool, "close", never)
    monkeypatch.setattr(policy, "CLOSE_TIMEOUT", 0.01)
    await store.aclose()
    assert await store.slots() == []  # it opens itself again
    await store.aclose()


# --- out of reach -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
async def test_a_server_that_does_not_run_is_unreachable(scheme: str) -> None:
    port = free_port()
    store = (
        PostgresStore(f"postgresql://me:secret@127.0.0.1:{port}/db")
        if scheme == "postgresql"
        else RedisStore(f"redis://:secret@127.0.0.1:{port}")
    )
    async with aclosing(store):
        for call in (store.load(SLOT), store.commit(SLOT, token(1, 1), 0), store.lease(SLOT), store.slots()):
            with pytest.raises(StoreUnreachable, match=r"cannot be reached .*; nothing was changed") as caught:
                await call
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
async def test_a_server_that_says_nothing_is_unreachable_in_time(scheme: str) -> None:
    served = asyncio.Semaphore(0)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        served.release()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    store: TokenStore = PostgresStore(f"postgresql://me@{place}/db", timeout=0.2)
    if scheme == "redis":
        store = RedisStore(f"redis://{place}", timeout=0.2)
    async with server, asyncio.timeout(60):
        with pytest.raises(StoreUnreachable):
            await store.load(SLOT)
        await store.aclose()
        await served.acquire()


# --- PostgreSQL -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("database", "remedy"),
    [
        ("postgresql://postgres@{host}/no_such_database_here", "check user, password and database"),
        ("postgresql://nobody_here@{host}/test", "check user"),
    ],
)
async def test_wrong_names_are_told(postgres: Postgres, database: str, remedy: str) -> None:
    store = PostgresStore(database.format(host=urlsplit(POSTGRES).netloc.rpartition("@")[2]))
    async with aclosing(store):
        with pytest.raises(StoreUnusable, match=remedy):
            await store.load(SLOT)


async def test_a_role_without_rights_is_told(postgres: Postgres) -> None:
    async with postgres.open() as store:
        await store.commit(SLOT, token(1, 1), 0)
    role = f"t_{secrets.token_hex(6)}"
    await postgres._execute(f"CREATE ROLE {role} LOGIN")
    try:
        store = PostgresStore(POSTGRES.replace("postgres@", f"{role}@"), schema=postgres.schema)
        async with aclosing(store):
            with pytest.raises(StoreUnusable, match=f"let the role use schema {postgres.schema} and its tables, or create it"):
                await store.load(SLOT)
    finally:
        await postgres._execute(f"DROP ROLE {role}")


async def test_a_schema_with_other_tables_is_not_touched(postgres: Postgres) -> None:
    await postgres._execute(f"CREATE SCHEMA {postgres.schema}")
    await postgres._execute(f"CREATE TABLE {postgres.schema}.grants (a integer)")
    async with aclosing(postgres.open()) as store:
        with pytest.raises(StoreUnusable, match="DuplicateTableError"):
            await store.load(SLOT)


async def test_commits_are_durable_even_where_the_role_does_without(postgres: Postgres) -> None:
    await postgres._execute("SELECT 1")
    async with postgres.open() as store:
        await store.commit(SLOT, token(1, 1), 0)
    store = PostgresStore(f"{POSTGRES}?options=-csynchronous_commit%3Doff", schema=postgres.schema)
    async with store, store._connection() as connection:
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
    store = PostgresStore(f"{POSTGRES}?options=-csynchronous_commit%3Dremote_apply", schema=postgres.schema)
    async with store, store._connection() as connection:
        assert await connection.fetchval("SHOW synchronous_commit") == "remote_apply"


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1"
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ILIKE $1"


async def test_connections_that_the_server_cut_are_replaced_and_announcements_come_back(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradesession.policy.STORE_POLL", 0.01)
    async with postgres.open() as one, postgres.open() as other:
        await one.commit(SLOT, token(1, 1), 0)
        revision = (await loaded(other)).revision
        waiting = asyncio.create_task(other.wait_for_change(SLOT, revision))
        await asyncio.sleep(0)
        await postgres._execute(CUT, f"%{postgres.schema}%")
        async with asyncio.timeout(60):
            while True:
                try:
                    await one.commit(SLOT, token(2, 2), 1)
                    break
                except StoreUnreachable:
                    continue
            with suppress(StoreUnreachable):
                await waiting
            assert (await loaded(other)).token == token(2, 2)
            await _hears(one, other, 3)


async def _hears(one: Any, other: Any, generation: int) -> None:
    """Changes reach the other store by announcement alone: its own looks are half a minute apart."""
    revision = (await loaded(other)).revision
    waiting = asyncio.create_task(other.wait_for_change(SLOT, revision))
    await asyncio.sleep(0)
    await one.commit(SLOT, token(generation, generation), generation - 1)
    await waiting


async def test_who_takes_a_lease_over_waits_for_the_intent_that_is_being_noted_under_it(postgres: Postgres) -> None:
    """Else he would read the record without it, and show the same refresh token."""
    async with postgres.open() as one, postgres.open() as other:
        assert isinstance(one, PostgresStore)
        await one.commit(SLOT, token(1, 1), 0)
        lease = await leased(one)
        async with one._connection() as connection, one._connection() as looking, connection.transaction():
            assert await connection.fetchrow(one._sql(_NOTE), SLOT.key, lease.id, 1, 1, "me") is not None
            taking = asyncio.create_task(other._take(SLOT.key, "another", 15.0, lease.id))
            while not taking.done() and not await looking.fetchval(WAITING, f"%{postgres.schema}%"):
                await asyncio.sleep(0)
            assert not taking.done()
        assert await taking is None
        assert (await loaded(other)).status is GrantStatus.EXCHANGING


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (asyncpg.DiskFullError("x"), StoreUnusable, "disk is full"),
        (asyncpg.ReadOnlySQLTransactionError("x"), StoreUnusable, "name the primary"),
        (asyncpg.SerializationError("x"), StoreUnreachable, "was busy"),
        (asyncpg.AdminShutdownError("x"), StoreUnreachable, "cannot be reached"),
        (asyncpg.TooManyConnectionsError("x"), StoreUnreachable, "cannot be reached"),
        (asyncpg.UndefinedTableError("x"), StoreUnusable, "check the server and the tables"),
    ],
)
def test_what_postgres_says_has_a_remedy(error: Exception, kind: type[StoreError], remedy: str) -> None:
    translated = PostgresStore("postgresql://me:secret@h/d")._translated(error)
    assert type(translated) is kind
    assert remedy in str(translated)
    assert "secret" not in str(translated)


# --- Redis ------------------------------------------------------------------------------------------------------------------------


class RedisServer:
    """A Redis server of the test's own, whose settings it may choose and which it may kill."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *settings: str) -> None:
        command = [shutil.which("redis-server") or "", "--port", str(self.port), "--dir", str(self._directory), "--save", "", *settings]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        give_up_at = time.monotonic() + 10
        while True:
            assert time.monotonic() < give_up_at
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(5) in (b"+PONG", b"-NOAU"):  # and not -LOADING
                    return

    def stop(self, how: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("redis-server is not installed")
    server = RedisServer(tmp_path)
    yield server
    server.stop()


async def test_a_server_with_an_append_only_file_keeps_a_commit_when_it_is_killed(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ("--appendonly", "yes", "--appendfsync", "always")
    server.start(*settings)
    async with RedisStore(server.url) as store:
        await store.commit(SLOT, token(1, 1), 0)
        server.stop()
        with pytest.raises(StoreUnreachable):
            await store.load(SLOT)
        server.start(*settings)
        assert (await loaded(store)).token == token(1, 1)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ((), "has no append-only file and forgets tokens at a restart"),
        (("--appendonly", "yes", "--appendfsync", "everysec"), "may forget the last two seconds"),
        (("--appendonly", "yes", "--appendfsync", "no"), "may forget the last half minute"),
        (("--maxmemory-policy", "allkeys-lru"), "may evict tokens: set maxmemory-policy noeviction"),
        (("--rename-command", "CONFIG", ""), "cannot be seen"),
    ],
)
async def test_what_a_server_does_not_promise_is_said(
    server: RedisServer, caplog: pytest.LogCaptureFixture, settings: tuple[str, ...], said: str
) -> None:
    server.start(*settings)
    async with RedisStore(server.url) as store:
        await store.commit(SLOT, token(1, 1), 0)
        client: Any = store._client
        execute: Any = client.execute_command
        has_waitaof = await store._knows(execute, "WAITAOF")
        assert store._waits_for_disk is (has_waitaof and "everysec" in settings)
    assert said in caplog.text or store._waits_for_disk
    assert all(record.levelno == logging.WARNING for record in caplog.records)


async def test_a_commit_that_does_not_reach_the_disk_in_time_is_tried_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis 7.2 and later tell; here the answer is played."""
    async with redis.open() as store:
        assert isinstance(store, RedisStore)
        assert store._client is not None
        answers = [[0, 0], [1, 0], exceptions.ConnectionError("gone")]
        real: Any = store._client.execute_command

        async def execute(*command: Any, **options: Any) -> Any:
            if command[0] != "WAITAOF":
                return await real(*command, **options)
            assert command[1:3] == (1, 0)
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(store._client, "execute_command", execute)
        store._waits_for_disk = True
        with pytest.raises(StoreUnreachable, match="did not bring it to the disk in time; try again"):
            await store.commit(SLOT, token(1, 1), 0)
        await store.commit(SLOT, token(1, 1), 0)
        assert (await loaded(store)).token == token(1, 1)
        await store.commit(SLOT, token(2, 2), 1)
        with pytest.raises(StoreUnreachable):
            await store.commit(SLOT, token(3, 3), 2)
        assert answers == []


async def test_the_keys_of_another_program_are_not_touched(redis: Redis) -> None:
    await redis._execute("SET", f"{redis.prefix}version", "7.2-beta")
    async with aclosing(redis.open()) as store:
        with pytest.raises(StoreUnusable, match=r"version in .* is another program's: name another prefix; nothing was changed"):
            await store.put(SLOT, token(1))


async def test_redis_announcements_come_back_after_a_cut(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradesession.policy.STORE_POLL", 0.01)
    settings = ("--appendonly", "yes", "--appendfsync", "always")
    server.start(*settings)
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        await one.commit(SLOT, token(1, 1), 0)
        await _hears(one, other, 2)
        server.stop()
        server.start(*settings)
        async with asyncio.timeout(60):
            await _hears(one, other, 3)


async def test_a_full_server_is_told(server: RedisServer) -> None:
    server.start()
    async with RedisStore(server.url) as store:
        await store.commit(SLOT, token(1, 1), 0)
        client: Any = store._client
        await client.execute_command("CONFIG SET", "maxmemory", 1)
        with pytest.raises(StoreUnusable, match="the server's memory is full: make room; nothing was changed"):
            await store.commit(SLOT, token(2, 2), 1)
        assert (await loaded(store)).token == token(1, 1)


async def test_a_password_is_asked_for(server: RedisServer) -> None:
    server.start("--requirepass", "right")
    for url in (server.url, f"redis://:wrong@127.0.0.1:{server.port}"):
        async with aclosing(RedisStore(url)) as store:
            with pytest.raises(StoreUnusable, match="check user, password and the rights of the user"):
                await store.load(SLOT)


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (exceptions.ReadOnlyError("x"), StoreUnusable, "name the primary"),
        (exceptions.ResponseError("MISCONF stop"), StoreUnusable, "cannot write to its disk"),
        (exceptions.BusyLoadingError("x"), StoreUnreachable, "cannot be reached"),
        (exceptions.ResponseError("x"), StoreUnusable, "check the server"),
    ],
)
def test_what_redis_says_has_a_remedy(error: Exception, kind: type[StoreError], remedy: str) -> None:
    translated = RedisStore("redis://:secret@h")._translated(error)
    assert type(translated) is kind
    assert remedy in str(translated)
    assert "secret" not in str(translated)
