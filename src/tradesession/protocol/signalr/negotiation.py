"""Negotiation: the HTTP call before the socket, its answer, and the address of the socket (TransportProtocols, versions 0 and 1).

Pure. What the connection is addressed with (`id`) is a secret; `connection_id` is its public name. Redirects come back as values: whoever
follows them counts them and decides which bearer goes where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from tradesession.errors import ConfigurationError, ProtocolError, Rejected
from tradesession.protocol.http import HttpReply, HttpRequest, Pairs, origin
from tradesession.secrets import Secret, redact_url
from tradesession.verdict import Action, Level, Verdict

BearerPlace: TypeAlias = Literal["header", "access_token", "signalr_token"]
"""Where the bearer of the socket's opening stands: in the Authorization header, or in the query under one of two names."""

VERSION: Final = 1
"""The highest version there is; a server that knows only 0 answers as such."""

_WEBSOCKETS: Final = "WebSockets"


@dataclass(frozen=True, slots=True)
class Negotiated:
    """A connection was promised. `id` goes into the socket's query; `stateful` says that it may be resumed on another socket."""

    connection_id: str
    id: Secret
    stateful: bool = False


@dataclass(frozen=True, slots=True)
class Redirected:
    """The hub is elsewhere, and is to be negotiated with there; with this token where one was given."""

    url: str
    access_token: Secret | None = None


def hub_url(url: str) -> str:
    """A hub's address as http or https, whatever it was given as, without a fragment. Raises ConfigurationError for what is none."""
    parts = urlsplit(url) if url.isascii() else urlsplit("")
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    address = urlunsplit((scheme, parts.netloc, parts.path or "/", parts.query, ""))
    origin(address)
    return address


def negotiation_request(url: str, *, headers: Pairs = (), stateful: bool = False) -> HttpRequest:
    """The call that asks for a connection; what the hub's own query says is kept."""
    parts = urlsplit(url)
    query: list[tuple[str, str]] = []
    present = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if "negotiateVersion" not in present:
        query.append(("negotiateVersion", str(VERSION)))
    if stateful and "useStatefulReconnect" not in present:
        query.append(("useStatefulReconnect", "true"))
    path = parts.path.rstrip("/") + "/negotiate"
    return HttpRequest(method="POST", url=urlunsplit((*parts[:2], path, parts.query, "")), query=tuple(query), headers=headers)


def read_negotiation(reply: HttpReply) -> Negotiated | Redirected:
    """What a successful answer says. Raises Rejected for a refusal by the hub, ProtocolError for what is no answer to a negotiation."""
    answer = reply.json_object()
    if answer is None:
        raise ProtocolError(
            f"the negotiation was answered with {reply.damage or 'something that is no JSON object'}: is this the address of a hub?"
        )
    if answer.get("error") is not None:
        raise Rejected("negotiation", str(answer["error"]), request="the negotiation", verdict=Verdict(Action.RETRY, Level.LINK))
    if "ProtocolVersion" in answer:
        raise ConfigurationError("the server speaks the old ASP.NET SignalR, not ASP.NET Core's; this client knows the latter alone")
    if answer.get("url") is not None:
        return _read_redirect(answer)
    return _read_connection(answer)


def socket_url(url: str, pairs: Pairs) -> str:
    """The WebSocket address of a hub, with these pairs in its query. It may hold secrets: for the opening of the socket alone."""
    parts = urlsplit(url)
    added = urlencode([(name, value.reveal() if isinstance(value, Secret) else value) for name, value in pairs], quote_via=quote, safe="")
    query = "&".join(part for part in (parts.query, added) if part)
    return urlunsplit(("wss" if parts.scheme == "https" else "ws", parts.netloc, parts.path, query, ""))


def _read_redirect(answer: dict[str, object]) -> Redirected:
    url, token = answer["url"], answer.get("accessToken")
    if not isinstance(url, str) or not (token is None or isinstance(token, str)):
        raise ProtocolError("the negotiation was answered with a redirect whose url or accessToken is no text")
    try:
        return Redirected(hub_url(url), Secret(token) if token else None)
    except ConfigurationError:
        raise ProtocolError(f"the negotiation was answered with a redirect to {redact_url(url)!r}, which is no address of a hub") from None


def _read_connection(answer: dict[str, object]) -> Negotiated:
    connection_id = answer.get("connectionId")
    version = answer.get("negotiateVersion")
    token = answer.get("connectionToken") if isinstance(version, int) and version >= 1 else connection_id
    if not isinstance(connection_id, str) or not isinstance(token, str) or not connection_id or not token:
        raise ProtocolError("the negotiation was answered without a connection: connectionId or connectionToken is missing or no text")
    offered = answer.get("availableTransports")
    transports = [item for item in offered if isinstance(item, dict)] if isinstance(offered, list) else []
    if not any(item.get("transport") == _WEBSOCKETS and "Text" in _texts(item.get("transferFormats")) for item in transports):
        names = ", ".join(_texts([item.get("transport") for item in transports])) or "none at all"
        raise Rejected(
            "transport",
            f"it offers {names}",
            request="the negotiation",
            remedy="this client speaks over WebSockets in text alone; enable them for the hub, or whatever stands before it",
            verdict=Verdict(Action.FATAL, Level.LINK),
        )
    return Negotiated(connection_id, Secret(token), stateful=answer.get("useStatefulReconnect") is True)


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
