"""The type of every secret: client secrets, access and refresh tokens, passwords, codes.

Pure. A Secret shows in no repr, str, format, pickle or log; the value comes out through `reveal()` alone, which is called where the
bytes leave and nowhere else, so that a search for it lists every such place.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from typing import NoReturn, final
from urllib.parse import quote, quote_plus, urlsplit, urlunsplit

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
        return hashlib.sha256(self._bytes()).hexdigest()[:8]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._bytes(), other._bytes())

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

    def _bytes(self) -> bytes:
        # Environment variables may hold lone surrogates; the error of a strict codec would carry the whole value.
        return self._value.encode(errors="surrogatepass")


def redact_url(url: str) -> str:
    """The URL without its query's values, fragment, user and password: fit for a log or an exception. Takes any text, raises nothing."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its message would show what stands where the port or the host should
        return "(an address that cannot be read)"
    host = parts.hostname or ""
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc += f":{port}"
    before, at, path = parts.path.rpartition("@")  # a password with a slash, or an address without its scheme, puts them here
    query = "&".join(_masked(pair) for pair in parts.query.split("&") if pair)
    return urlunsplit((parts.scheme, netloc, MASK + at + path if before else path, query, ""))


def redact_text(text: str, secrets: Iterable[Secret]) -> str:
    """The text with every occurrence of the given secrets masked, also as URLs and JSON spell them; for texts that a server wrote."""
    spans = sorted(span for secret in secrets if secret for span in _occurrences(text, secret.reveal()))
    pieces: list[str] = []
    position = 0
    for start, end in spans:
        if start >= position:  # else it overlaps the one before, and one mask covers both
            pieces += (text[position:start], MASK)
        position = max(position, end)
    return "".join((*pieces, text[position:]))


def _masked(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={MASK}" if equals else MASK


def _occurrences(text: str, value: str) -> Iterator[tuple[int, int]]:
    for form in {value, quote(value, "", errors="surrogatepass"), quote_plus(value, errors="surrogatepass"), json.dumps(value)[1:-1]}:
        start = text.find(form)
        while start >= 0:
            yield start, start + len(form)
            start = text.find(form, start + 1)
