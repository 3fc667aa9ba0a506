"""The token stores, and how one is opened by its URL: memory, SQLite, PostgreSQL, Redis."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from tradesession.errors import ConfigurationError
from tradesession.secrets import redact_url
from tradesession.tokens.store import TokenStore
from tradesession.tokens.stores.memory import MemoryStore

__all__ = ["MemoryStore", "default_store_url", "open_store"]


def default_store_url() -> str:
    """The SQLite file in the user's state directory (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return f"sqlite:///{Path(state) / 'tradesession' / 'tokens.sqlite'}"


def open_store(url: str) -> TokenStore:
    """The store of this URL. Raises ConfigurationError for a scheme that none has."""
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return MemoryStore()
    raise ConfigurationError(f"{redact_url(url)!r} names no token store; the known ones begin with memory:")
