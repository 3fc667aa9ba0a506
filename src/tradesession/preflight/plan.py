"""What a preflight is told: where the server is, what to be let in with, and how thorough to be. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tradesession.errors import ConfigurationError
from tradesession.tradingview.credentials import FixedToken, PasswordBearer, ServerOAuth2Bearer
from tradesession.transports.http import safe_origin

STREAMS: Final = 4
"""Connections to /streaming side by side: what TradingView keeps."""
DURATION: Final = 30.0
"""Seconds for which the streams are listened to: what TradingView's test of a permanent connection takes."""
SAMPLED_SYMBOLS: Final = 3
"""Symbols whose history is examined, of as many types as there are: each takes 26 requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Seconds unless a name says otherwise. Raises ConfigurationError for what cannot be meant.

    `login` and `key` are the credentials; each that is given is examined, and the data are read with a token by `key` where there is one,
    else by `login`, else with `token`, which was handed out by hand. With none of them the data are public.
    """

    base_url: str
    login: PasswordBearer | None = None
    key: ServerOAuth2Bearer | None = None
    token: FixedToken | None = None
    ca_file: str | None = None
    duration: float = DURATION
    budget: float = 105.0
    """For everything; what has not been looked at by then is not looked at. Leaves time for a report within two minutes."""
    request_timeout: float = 10.0
    """For one answer. A broker's /symbol_info of 10,000 symbols takes a few."""
    tokens: int = 10
    """Tokens that are asked for one after another: what TradingView's test of new tokens compares."""
    sampled_symbols: int = SAMPLED_SYMBOLS
    wrong_password: bool = True
    """Whether a wrong password may be sent, once; some servers count them."""
    token_limit: int = 64 * 1024
    """Bytes of an answer with a token."""
    reply_limit: int = 1024 * 1024
    """Bytes of another answer: a day of minute bars is a tenth of it."""
    symbols_limit: int = 32 * 1024 * 1024
    """Bytes of /symbol_info: 10,000 symbols are about a fifth of it."""
    stream_limit: int = 64 * 1024 * 1024
    """Bytes that one stream may send."""
    line_limit: int = 64 * 1024
    """Bytes of one line of a stream."""
    origins: frozenset[str] = field(init=False, repr=False)
    """Where tokens and passwords may go, and no other place."""

    def __post_init__(self) -> None:
        try:
            origin = safe_origin(self.base_url)
        except ConfigurationError as error:
            raise ConfigurationError(f"the broker's URL: {error}") from None
        if urlsplit(self.base_url).query or urlsplit(self.base_url).fragment:
            raise ConfigurationError("the broker's URL has a query or a fragment; give the address that /symbol_info is appended to")
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))
        others = [self.key.token_url if self.key else "", self.login.url if self.login else ""]
        object.__setattr__(self, "origins", frozenset({origin, *(safe_origin(url) for url in others if url)}))
        if not (self.duration > 0 and self.budget > self.duration):
            raise ConfigurationError(f"the streams take {self.duration:g} s of {self.budget:g} s: give more than 0 and less than all")

    @property
    def is_public(self) -> bool:
        """Whether the data are: nothing was given to be let in with."""
        return self.login is None and self.key is None and self.token is None
