"""The type of every secret: client secrets, access and refresh tokens, passwords, codes.

Pure. A Secret shows in no repr, str, format, pickle or log; the value comes out through `reveal()` alone, which is called where the
bytes leave and nowhere else, so that a search for it lists every such place.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import NoReturn, final
from urllib.parse import urlsplit, urlunsplit

MASK = "***"


@final
class Secret:
    """A string that does not show. Compared in constant time; an empty one is false."""

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret) -> None:
        if not isinstance(value, (str, Secret)):
            raise TypeError(f"a secret is made of a string, not of {type(value).__name__}")
        self._value: str = value._value if isinstance(value, Secret) else value

    def reveal(self) -> str:
        """The value itself. Call it where the bytes leave, and keep the result in no variable that outlives the call."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of the SHA-256: enough to tell two secrets apart in a log, useless to an attacker."""
        return hashlib.sha256(self._value.encode()).hexdigest()[:8]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled; hand it over by other means, or reveal() it where you must")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self


def redact_url(url: str) -> str:
    """The URL without its query's values, fragment, user and password: fit for a log or an exception."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    netloc = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        netloc += f":{parts.port}"
    query = "&".join(f"{pair.split('=', 1)[0]}={MASK}" for pair in parts.query.split("&") if pair)
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))


def redact_text(text: str, secrets: Iterable[Secret]) -> str:
    """The text with every occurrence of the given secrets masked; for texts that a server wrote."""
    for secret in secrets:
        if secret:
            text = text.replace(secret.reveal(), MASK)
    return text
