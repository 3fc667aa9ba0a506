"""Which store a URL names, and what is said of one that names none."""

import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from tradesession.errors import ConfigurationError
from tradesession.tokens.stores import default_path, default_store_url, open_store
from tradesession.tokens.stores.memory import MemoryStore
from tradesession.tokens.stores.postgres import PostgresStore
from tradesession.tokens.stores.redis import RedisStore
from tradesession.tokens.stores.sqlite import SqliteStore


def test_memory() -> None:
    assert isinstance(open_store("memory:"), MemoryStore)
    assert open_store("memory:") is not open_store("memory:")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/lib/bots/tokens.db", "/var/lib/bots/tokens.db"),
        ("sqlite:////var/lib/bots/tokens.db", "/var/lib/bots/tokens.db"),
        ("sqlite://localhost/var/tokens.db", "/var/tokens.db"),
        ("sqlite:/var/tokens.db", "/var/tokens.db"),
        ("SQLITE:tokens.db", "tokens.db"),
        ("sqlite:bots/tokens.db", "bots/tokens.db"),
        ("sqlite:///var/a%20b%3F.db", "/var/a b?.db"),
        ("sqlite:~/tokens.db", "/home/me/tokens.db"),
        ("sqlite:///~/tokens.db", "/home/me/tokens.db"),
        ("sqlite:", "/state/tradesession/tokens.sqlite"),
        ("sqlite://", "/state/tradesession/tokens.sqlite"),
        ("sqlite:///", "/state/tradesession/tokens.sqlite"),
    ],
)
def test_a_file(url: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    store = open_store(url, environ={"XDG_STATE_HOME": "/state"})
    assert isinstance(store, SqliteStore)
    assert store.path == Path(path)


def test_the_default_is_a_file_in_the_users_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert default_path({}) == Path("/home/me/.local/state/tradesession/tokens.sqlite")
    assert default_path({"XDG_STATE_HOME": "relative"}) == default_path({})
    assert default_store_url({"XDG_STATE_HOME": "/a b"}) == "sqlite:///a%20b/tradesession/tokens.sqlite"
    store = open_store(environ={"XDG_STATE_HOME": "/a b"})
    assert isinstance(store, SqliteStore)
    assert store.path == Path("/a b/tradesession/tokens.sqlite")


def test_the_environment_names_the_store() -> None:
    assert isinstance(open_store(None, environ={"TRADESESSION_STORE": "memory:"}), MemoryStore)
    assert isinstance(open_store("sqlite:x.db", environ={"TRADESESSION_STORE": "memory:"}), SqliteStore)


def test_servers_with_their_options() -> None:
    postgres = open_store("postgresql://user:secret@host/db?schema=bots&sslmode=require")
    assert isinstance(postgres, PostgresStore)
    assert (postgres._schema, postgres._dsn) == ("bots", "postgresql://user:secret@host/db?sslmode=require")
    redis = open_store("rediss://:secret@host:6380/2?prefix=bots:")
    assert isinstance(redis, RedisStore)
    assert (redis._prefix, redis._url) == ("bots:", "rediss://:secret@host:6380/2")
    assert isinstance(open_store("postgres:///db"), PostgresStore)
    assert isinstance(open_store("redis://host"), RedisStore)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlit:///x", "'sqlit' names no token store: did you mean sqlite?"),
        (
            "mysql://root:secret@host/db",
            "'mysql' names no token store: the known ones are memory, postgres,",
        ),
        ("/var/tokens.db", "'/var/tokens.db' names no token store: it has no scheme; sqlite:PATH names a file"),
        ("sqlite://tokens.db", "sqlite://tokens.db/… names a host"),
        ("sqlite:///x?mode=ro", "takes no options"),
        ("postgresql://host/db?schema=a;b", "schema='a;b' is no plain name"),
        ("sqlite:/tmp/a%00b", "holds a %00"),
        ("sqlite:~nobody-of-that-name/tokens.db", "that user has no home directory"),
        ("postgresql://me:secret@[::1/db", "the URL of the token store cannot be read"),
        ("redis://:secret@[::1/0", "the URL of the token store cannot be read"),
        ("redis://:secret@host:6379/nine", "'nine' is no database of a Redis server: they are numbered"),
    ],
)
def test_what_names_no_store(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@127.0.0.1:port/db",
        "postgresql://me:secret@127.0.0.1:1/db?sslmode=perhaps",
        "redis://:secret@127.0.0.1:port/0",
        "redis://:secret@127.0.0.1:1/0?socket_timeout=soon",
        "redis://:secret@127.0.0.1:1/0?colour=red",
    ],
)
async def test_what_the_driver_cannot_read_is_told_when_the_store_is_opened(url: str) -> None:
    async with aclosing(open_store(url)) as store:
        with pytest.raises(ConfigurationError, match="has a URL that cannot be read: check its host, port and options") as caught:
            await store.slots()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("url", "module", "extra"), [("postgresql://h/d", "asyncpg", "postgres"), ("redis://h", "redis", "redis")])
def test_a_missing_extra_is_named(url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == module or name.startswith((f"{module}.", f"tradesession.tokens.stores.{extra}"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"needs the extra {extra}.*pip install 'tradesession\[{extra}\]'"):
        open_store(url)


def test_a_broken_installation_is_not_taken_for_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tradesession.tokens.stores.redis", raising=False)
    monkeypatch.setitem(sys.modules, "tradesession.timing", None)
    with pytest.raises(ModuleNotFoundError):
        open_store("redis://h")
