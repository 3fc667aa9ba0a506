"""The engines of TokenStore, and `open_store`, which picks one by its URL.

memory:                                       this process alone
sqlite:///var/lib/bots/tokens.db              a file on this machine (the path is absolute; sqlite:tokens.db is a relative one)
sqlite:                                       the default file, in the user's state directory
postgresql://user@host/database?schema=bots   needs the extra `postgres`
redis://host:6379/0?prefix=bots:              needs the extra `redis`; rediss:// for TLS
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from tradesession.clock import Clock
from tradesession.errors import ConfigurationError
from tradesession.extras import missing
from tradesession.options import suggestion
from tradesession.timing import SYSTEM_CLOCK
from tradesession.tokens.codec import PLAIN, Codec
from tradesession.tokens.encryption import codec_from_environment

if TYPE_CHECKING:
    from tradesession.tokens.store import TokenStore

URL_VARIABLE: Final = "TRADESESSION_STORE"
"""The environment variable with the default URL."""

SCHEMES: Final = ("memory", "sqlite", "postgresql", "postgres", "redis", "rediss")


def open_store(
    url: str | None = None,
    *,
    codec: Codec | None = None,
    clock: Clock = SYSTEM_CLOCK,
    environ: Mapping[str, str] = os.environ,
) -> TokenStore:
    """The store that a URL names; without one, that of TRADESESSION_STORE, or the default file. Nothing is contacted yet.

    What rests is encrypted when TRADESESSION_STORE_KEY is set (see `tradesession.tokens.encryption`), or as `codec` says.
    Raises ConfigurationError for a URL that names no store, and for a store whose extra is not installed.
    """
    url = url or default_store_url(environ)
    scheme = url.partition(":")[0].lower()
    if ":" not in url:
        raise ConfigurationError(f"{url!r} names no token store: it has no scheme; sqlite:PATH names a file")
    if scheme not in SCHEMES:
        raise ConfigurationError(f"{scheme!r} names no token store: {suggestion(scheme, list(SCHEMES))}")
    if codec is None:
        codec = PLAIN if scheme == "memory" else codec_from_environment(environ)
    if scheme == "memory":
        from tradesession.tokens.stores.memory import MemoryStore

        return MemoryStore(codec=codec, clock=clock)
    if scheme == "sqlite":
        from tradesession.tokens.stores.sqlite import SqliteStore

        return SqliteStore(_path(url, environ), codec=codec, clock=clock)
    if scheme in ("redis", "rediss"):
        return _redis(url, codec, clock)
    return _postgres(url, codec, clock)


def default_store_url(environ: Mapping[str, str] = os.environ) -> str:
    """The URL in TRADESESSION_STORE, or that of the default file."""
    return environ.get(URL_VARIABLE) or f"sqlite://{quote(str(default_path(environ)))}"


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where tokens rest unless told otherwise: `tradesession/tokens.sqlite` in XDG_STATE_HOME, or in ~/.local/state."""
    base = environ.get("XDG_STATE_HOME", "")
    root = Path(base) if base.startswith("/") else _expanded("~/.local/state")  # a relative one is to be ignored, says XDG
    return root / "tradesession" / "tokens.sqlite"


def _path(url: str, environ: Mapping[str, str]) -> Path:
    rest = url.partition(":")[2]
    if "?" in rest or "#" in rest:
        raise ConfigurationError("a sqlite: URL takes no options; write a ? or # in the path as %3F or %23")
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise ConfigurationError(
                f"sqlite://{host}/… names a host, and a file is on this machine: write sqlite:///{host}/… or sqlite:{host}/…"
            )
        rest = slash + path.lstrip("/")
    path = unquote(rest)
    if path in ("", "/"):
        return default_path(environ)
    if "\0" in path:
        raise ConfigurationError("the path of a sqlite: URL holds a %00, which no path may")
    return _expanded(path.removeprefix("/") if path.startswith("/~/") else path)


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # of an account without a home directory, as in some containers
        raise ConfigurationError(f"{path} names no file: that user has no home directory; name the token store by its full path") from error


def _options(url: str, *known: str) -> tuple[str, dict[str, str]]:
    """The URL without our own options, and those."""
    parts = _split(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    ours = {name: value for name, value in pairs if name in known}
    rest = urlencode([pair for pair in pairs if pair[0] not in known])
    return urlunsplit(parts._replace(query=rest)), ours


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # its text may quote the URL
        raise ConfigurationError("the URL of the token store cannot be read: check its host and port") from None


def _postgres(url: str, codec: Codec, clock: Clock) -> TokenStore:
    try:
        from tradesession.tokens.stores.postgres import DEFAULT_SCHEMA, PostgresStore
    except ModuleNotFoundError as error:
        raise missing("this store", "postgres", "asyncpg", error) from error
    url, options = _options(url, "schema")
    return PostgresStore(url, schema=options.get("schema", DEFAULT_SCHEMA), codec=codec, clock=clock)


def _redis(url: str, codec: Codec, clock: Clock) -> TokenStore:
    try:
        from tradesession.tokens.stores.redis import DEFAULT_PREFIX, RedisStore
    except ModuleNotFoundError as error:
        raise missing("this store", "redis", "redis", error) from error
    number = _split(url).path.strip("/")
    if number and not number.isdecimal():  # redis-py would take database 0 for it
        raise ConfigurationError(f"{number!r} is no database of a Redis server: they are numbered, as in redis://host:6379/0")
    url, options = _options(url, "prefix")
    return RedisStore(url, prefix=options.get("prefix", DEFAULT_PREFIX), codec=codec, clock=clock)
