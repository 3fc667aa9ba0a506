"""The four engines under test, each with data of its own that is gone afterwards."""

import os
import secrets
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import pytest
import redis.asyncio as aioredis

from tradesession.tokens.store import TokenStore
from tradesession.tokens.stores import open_store
from tradesession.tokens.stores.memory import MemoryStore

POSTGRES = os.environ.get("TRADESESSION_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
REDIS = os.environ.get("TRADESESSION_TEST_REDIS", "redis://127.0.0.1:6379/0")

NAMES = ("memory", "sqlite", "postgresql", "redis")
SHARED = ("sqlite", "postgresql", "redis")


class Engine(ABC):
    """One engine with data of its own; `url` opens it in any process, apart from memory's."""

    url = ""
    extends_over_processes = True

    def open(self, **options: Any) -> TokenStore:
        """One more store object on the same data."""
        return open_store(self.url, **options)

    @abstractmethod
    async def corrupt(self, key: str, payload: bytes) -> None:
        """Replace the payload of a row behind the store's back."""

    @abstractmethod
    async def age_schema(self, version: int) -> None:
        """Pretend that another version has written the data."""

    async def clean(self) -> None:  # noqa: B027 - where the data ends with the test anyway
        """Leave nothing behind."""


class Memory(Engine):
    extends_over_processes = False

    def __init__(self) -> None:
        self._store: MemoryStore | None = None

    def open(self, **options: Any) -> TokenStore:
        self._store = self._store or MemoryStore(**options)
        return self._store

    async def corrupt(self, key: str, payload: bytes) -> None:
        assert self._store is not None
        row = await self._store._read(key)
        assert row is not None
        await self._store._reseal(key, row.revision, payload)

    async def age_schema(self, version: int) -> None:
        pytest.skip("memory has no schema")


class Sqlite(Engine):
    def __init__(self, directory: Path) -> None:
        self.path = directory / "state" / "tokens.db"
        self.url = f"sqlite://{self.path}"

    def _execute(self, statement: str, *values: object) -> None:
        import sqlite3

        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(statement, values)
        connection.close()

    async def corrupt(self, key: str, payload: bytes) -> None:
        self._execute("UPDATE grants SET payload = ?, revision = revision + 1 WHERE slot = ?", payload, key)

    async def age_schema(self, version: int) -> None:
        self._execute(f"PRAGMA user_version={version}")


class Postgres(Engine):
    def __init__(self) -> None:
        self.schema = f"t_{secrets.token_hex(6)}"
        self.url = f"{POSTGRES}{'&' if '?' in POSTGRES else '?'}schema={self.schema}"

    async def _execute(self, statement: str, *values: object) -> None:
        connection = await asyncpg.connect(POSTGRES)
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()

    async def corrupt(self, key: str, payload: bytes) -> None:
        await self._execute(f"UPDATE {self.schema}.grants SET payload = $1, revision = revision + 1 WHERE slot = $2", payload, key)

    async def age_schema(self, version: int) -> None:
        await self._execute(f"UPDATE {self.schema}.meta SET version = $1", version)

    async def clean(self) -> None:
        await self._execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")


class Redis(Engine):
    def __init__(self) -> None:
        self.prefix = f"t:{secrets.token_hex(6)}:"
        self.url = f"{REDIS}{'&' if '?' in REDIS else '?'}prefix={self.prefix}"

    async def _execute(self, *command: object) -> None:
        client: Any = aioredis.Redis.from_url(REDIS)
        await client.execute_command(*command)
        await client.aclose()

    async def corrupt(self, key: str, payload: bytes) -> None:
        await self._execute("HSET", f"{self.prefix}grant:{key}", "payload", payload)

    async def age_schema(self, version: int) -> None:
        await self._execute("SET", f"{self.prefix}version", version)

    async def clean(self) -> None:
        client: Any = aioredis.Redis.from_url(REDIS)
        keys = [key async for key in client.scan_iter(f"{self.prefix}*")]
        if keys:
            await client.delete(*keys)
        await client.aclose()


def require(url: str) -> None:
    """Skip where the service does not run; fail in CI, where it must."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 0), timeout=2).close()
    except OSError as error:
        reason = f"no {parts.scheme} server at {parts.hostname}:{parts.port} ({error})"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@asynccontextmanager
async def running(name: str, directory: Path) -> AsyncIterator[Engine]:
    """The engine of that name, cleaned up afterwards."""
    engine: Engine
    if name == "memory":
        engine = Memory()
    elif name == "sqlite":
        engine = Sqlite(directory)
    elif name == "postgresql":
        require(POSTGRES)
        engine = Postgres()
    else:
        require(REDIS)
        engine = Redis()
    try:
        yield engine
    finally:
        await engine.clean()
