"""An HTTP request and its reply as plain values: what pure code says about HTTP, and what a driver turns into bytes.

Pure. Holds secrets only as Secret values, apart from a reply's body and headers, which show in no repr. Nothing here follows, repeats
or judges anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from tradesession.errors import ConfigurationError
from tradesession.secrets import Secret, redact_url

_UNCLEAR: Final = frozenset({408, 500, 502, 504})
_URL_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")

Pairs: TypeAlias = tuple[tuple[str, str | Secret], ...]
"""Names and values in the order in which they are sent; the secret ones as Secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One HTTP request. `query` is added to what the URL already carries; `form` and `body` exclude each other.

    The URL itself is taken for public: secrets go into the pairs or the body.
    """

    method: str
    url: str
    query: Pairs = ()
    form: Pairs = ()
    body: Secret | None = None
    headers: Pairs = ()

    def __post_init__(self) -> None:
        if self.form and self.body is not None:
            raise ConfigurationError(f"{self} has a form and a body; give one of them")

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that the request carries, those of a header also without their scheme: what no text of the server may show."""
        values = [value for pairs in (self.query, self.form, self.headers) for _, value in pairs]
        secrets = [value for value in (*values, self.body) if isinstance(value, Secret)]
        bare = [Secret(credentials) for _, value in self.headers if (credentials := _credentials(value))]
        return (*secrets, *bare)

    def __str__(self) -> str:
        return f"{self.method} {redact_url(self.url)}"

    def __repr__(self) -> str:
        return f"<HttpRequest {self}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """The answer. Header names are in lower case; `sent_at` is when the request left, in wall-clock seconds.

    `damage` says in a few words why the body is not the whole one (cut off, too long), and is empty when it is. `secrets` are those that
    went with the request beside its own, such as a bearer: what no text of the server may show.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    sent_at: float = 0.0
    damage: str = ""
    secrets: tuple[Secret, ...] = field(default=(), repr=False)

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case; empty when the server named none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_success(self) -> bool:
        """Whether the status is one of the 2xx."""
        return 200 <= self.status < 300

    @property
    def is_unclear(self) -> bool:
        """Whether the status is of a server that failed in the middle, or a gateway that did not wait: an order may have been executed."""
        return self.status in _UNCLEAR

    def json_object(self) -> dict[str, object] | None:
        """The body as a JSON object; None when it is anything else. The content type is not asked: servers get it wrong.

        Nor is the damage: no part of an object is one, so what can be read is whole, however the connection ended behind it.
        """
        try:
            value = _parsed(self.body)
        except (ValueError, RecursionError):  # not JSON, not text, numbers of thousands of digits; brackets without end
            return None
        return value if isinstance(value, dict) else None

    @property
    def date(self) -> float | None:
        """The server's clock when it answered (RFC 9110, 6.6.1), in whole seconds since 1970; None when it did not say."""
        return _http_date(self.headers.get("date", ""))

    def retry_after(self, limit: float) -> float | None:
        """Seconds that the server asks to wait (Retry-After, a number or a date; RFC 9110, 10.2.3), at most `limit`; None if it does not.

        A date is compared with the server's own Date header where it sent one, so that a wrong clock here does no harm.
        """
        asked = self.headers.get("retry-after", "").strip()
        if asked.isascii() and asked.isdigit():
            return min(float(asked[:18]), limit)
        then = _http_date(asked)
        if then is None:
            return None
        now = self.date
        return min(max(0.0, then - (self.sent_at if now is None else now)), limit)


def origin(url: str) -> str:
    """Scheme, host and port of a URL, the port always written out. Raises ConfigurationError for what is no http(s) URL.

    Characters that RFC 3986 does not know are refused, so that no two parsers can see different hosts in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text quotes the URL
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or not _URL_CHARACTERS.fullmatch(url):
        raise ConfigurationError("a URL is needed that begins with https:// and a host name (http:// for loopback only)")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"the URL {redact_url(url)} carries a user or a password; give them by their own options")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}"


def _credentials(header: str | Secret) -> str:
    """What follows the scheme in the secret value of a header, as in `Basic …`."""
    return header.reveal().partition(" ")[2] if isinstance(header, Secret) else ""


def _parsed(body: bytes) -> Any:
    """The value of a JSON text. Accents of older code pages, as in a description, are no reason to lose a token that stands beside them."""
    try:
        return json.loads(body)
    except UnicodeDecodeError:
        return json.loads(body.decode("latin-1"))


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
