"""Config: where a hub is, and everything about its connection that can be set, checked when it is made.

Nothing is contacted; files are read when the hub is connected.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args
from urllib.parse import urlsplit

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import ConfigurationError
from tradesession.options import require_above_zero
from tradesession.protocol.signalr.negotiation import BearerPlace, hub_url
from tradesession.secrets import Secret, redact_url


@dataclass(frozen=True)
class Config:
    """A hub of ASP.NET Core SignalR, and how to speak with it.

    `url` is the hub's address, with https (http is for loopback only); its own query goes along everywhere. The bearer stands in the
    Authorization header, or with `bearer_in` in the query of the socket's opening, under one of the two names that servers know; a URL
    ends up in logs along the way, so the header is the better place. The negotiation always has it in the header.

    Without `negotiate` the socket is opened at once: one round trip less, and right where several servers stand behind one name; but
    neither redirects nor stateful reconnect are known then. `stateful` resumes a broken connection on another socket where the server
    offers it. `renew` replaces the connection before its bearer ends. `headers` go along with the negotiation and the opening of the
    socket. `parse_float` makes numbers with a point of what it is given, such as `decimal.Decimal`. `name` is what logs call the hub.

    Times are in seconds, sizes in bytes; the defaults and their reasons stand in `tradesession.policy`. `send_limit` is the longest record
    that the server takes, None for any; `parallel` how many calls of one client it runs at once, which a stateful connection must keep to.
    Raises ConfigurationError, naming the option, for anything that cannot be meant.
    """

    url: str = field(repr=False)  # its query may hold a secret
    bearer_in: BearerPlace = "header"
    negotiate: bool = True
    stateful: bool = True
    renew: bool = True
    headers: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)
    name: str = ""
    ca_file: str | os.PathLike[str] | None = None
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    parse_float: Callable[[str], Any] = float

    connect_timeout: float = policy.CONNECT_TIMEOUT
    handshake_timeout: float = policy.HUB_HANDSHAKE_TIMEOUT
    call_timeout: float = policy.REQUEST_TIMEOUT
    close_timeout: float = policy.CLOSE_TIMEOUT
    ping_interval: float = policy.HUB_PING_INTERVAL
    server_timeout: float = policy.HUB_SERVER_TIMEOUT
    parallel: int = 1
    resume_timeout: float = policy.HUB_RESUME_TIMEOUT
    overlap: float = policy.HUB_OVERLAP
    send_limit: int | None = policy.HUB_SEND_LIMIT
    replay_buffer: int = policy.HUB_REPLAY_BUFFER
    max_record: int = policy.MAX_FRAME
    max_redirects: int = policy.HUB_REDIRECTS
    clock: Clock | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", hub_url(self.url))
        object.__setattr__(self, "name", self.name or f"hub {urlsplit(self.url).path}")
        if self.bearer_in not in get_args(BearerPlace):
            raise ConfigurationError(f"bearer_in={self.bearer_in!r} is no place for a bearer; there are {', '.join(get_args(BearerPlace))}")
        require_above_zero(self, "connect_timeout", "handshake_timeout", "call_timeout", "close_timeout", "resume_timeout", "overlap")
        if not 0 < self.ping_interval < self.server_timeout:
            raise ConfigurationError(
                f"ping_interval={self.ping_interval:g} must be above 0 and below server_timeout={self.server_timeout:g}, "
                "else a healthy connection is cut between two pings"
            )
        for name in ("send_limit", "replay_buffer", "max_record", "parallel"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name}={value} leaves no room; the default is {type(self).__dataclass_fields__[name].default}")
        if self.max_redirects < 0:
            raise ConfigurationError(f"max_redirects={self.max_redirects} is no number of redirects; 0 follows none")
        if self.ca_file is not None and self.ssl_context is not None:
            raise ConfigurationError("give ca_file or ssl_context, not both: the context already says what it trusts")

    def replace(self, **changes: Any) -> Config:
        """This configuration with some options changed."""
        return replace(self, **changes)

    def __str__(self) -> str:
        return redact_url(self.url)
