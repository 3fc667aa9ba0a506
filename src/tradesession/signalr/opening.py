"""Opening: from a hub's address to its socket, by negotiation or without.

May use the network. The bearer is asked for anew before each negotiation and each opening, and goes to the hub's own origin alone, or with
a redirect that brings its own. A 401 is reported to the token's source, and tried once more with another token; a 403 never is. Redirects
of the HTTP kind are refused. No exception and no log holds an address with its query.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, NoReturn, TypeVar
from urllib.parse import urlsplit

from tradesession.clock import Clock
from tradesession.errors import OutcomeUnknown, Rejected, Unreachable
from tradesession.protocol.http import HttpReply, HttpRequest, Pairs, origin
from tradesession.protocol.signalr.negotiation import Negotiated, Redirected, negotiation_request, read_negotiation, socket_url
from tradesession.secrets import Secret, redact_text, redact_url
from tradesession.signalr.bearer import TokenSource
from tradesession.signalr.config import Config
from tradesession.tokens.token import Token
from tradesession.transports.http import HttpDriver, safe_origin
from tradesession.transports.stream import Receiver
from tradesession.transports.tls import tls_context
from tradesession.transports.websocket import OpeningRefused, WebSocketTransport, open_websocket
from tradesession.verdict import Action, Level, Verdict

T = TypeVar("T")
R = TypeVar("R", bound=Receiver)

_RETRY_AFTER_LIMIT: Final = 300.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hub is to be found now. `token` came with a redirect, and stands in for the source's bearer there."""

    url: str
    is_own_origin: bool = True
    token: Secret | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What was negotiated, and where; `negotiated` is None where that was skipped."""

    place: Place
    negotiated: Negotiated | None = None


@dataclass(frozen=True, slots=True)
class Opened(Generic[R]):
    """An open socket, and who receives what it brings.

    `token` is the source's bearer that it stands on, if it stands on one; `secrets` are all that it was opened with.
    """

    transport: WebSocketTransport
    receiver: R
    admission: Admission
    token: Token | None
    secrets: tuple[Secret, ...]


class _BearerRefused(Exception):
    """A 401, on its way to be tried once more. `token` is the source's, None where a redirect's was shown."""

    def __init__(self, error: Rejected, token: Token | None) -> None:
        super().__init__()
        self.error = error
        self.token = token


class Opener:
    """Opens sockets to one hub, one after the other.

    `on_step` is told of each step of `open` that is done: `negotiate`, `connect`; `on_refused` of a token of the source that was refused
    although it came in place of a refused one.
    """

    def __init__(
        self,
        config: Config,
        source: TokenSource,
        clock: Clock,
        on_step: Callable[[str], object] = lambda name: None,
        on_refused: Callable[[Token], object] = lambda token: None,
    ) -> None:
        self._config = config
        self._source = source
        self._clock = clock
        self._on_step = on_step
        self._on_refused = on_refused
        self._tls: ssl.SSLContext | None = None
        safe_origin(config.url)

    async def open(self, make: Callable[[], R]) -> Opened[R]:
        """Negotiate, unless that is to be skipped, and open the socket. `make` makes the receiver of each socket that is tried.

        Raises Unreachable, Rejected (the hub or what stands before it refuses), ProtocolError, TokenError, StoreError, ConfigurationError.
        """

        async def once(refused: _BearerRefused | None) -> Opened[R]:
            place = Place(self._config.url)
            admission = await self._negotiate(place, refused) if self._config.negotiate else Admission(place)
            opened = await self._open_socket(admission, make(), refused)
            self._on_step("connect")
            return opened

        return await self._twice_at_most(once)

    async def reopen(self, admission: Admission, make: Callable[[], R]) -> Opened[R]:
        """Another socket for the same connection (stateful reconnect). Raises as `open` does."""

        async def once(refused: _BearerRefused | None) -> Opened[R]:
            return await self._open_socket(admission, make(), refused)

        return await self._twice_at_most(once)

    # --- the bearer ---------------------------------------------------------------------------------------------------------------

    async def _twice_at_most(self, once: Callable[[_BearerRefused | None], Awaitable[T]]) -> T:
        try:
            return await once(None)
        except _BearerRefused as refused:
            first = refused
        if first.token is not None:
            await self._source.reject(first.token)
        try:
            return await once(first)
        except _BearerRefused as refused:
            second = refused
        if second.token is not None:
            self._on_refused(second.token)
        raise second.error

    async def _bearer(self, place: Place, refused: _BearerRefused | None) -> tuple[Secret | None, Token | None]:
        """The secret to show at this place, and the source's token that it is of."""
        if place.token is not None:
            return place.token, None
        if not place.is_own_origin:
            return None, None
        token = await self._source.get()
        if token is None:
            return None, None
        if refused is not None and refused.token is not None and token.access == refused.token.access:
            raise refused  # the source has no other one
        return token.access, token

    def _headers(self, place: Place, bearer: Secret | None) -> Pairs:
        own = [(name, value) for name, value in self._config.headers.items() if place.is_own_origin or not isinstance(value, Secret)]
        if bearer is not None:
            own.append(("Authorization", Secret(f"Bearer {bearer.reveal()}")))
        return tuple(own)

    # --- negotiation ----------------------------------------------------------------------------------------------------------------

    async def _negotiate(self, place: Place, refused: _BearerRefused | None) -> Admission:
        for _ in range(self._config.max_redirects + 1):
            bearer, token = await self._bearer(place, refused)
            request = negotiation_request(place.url, headers=self._headers(place, bearer), stateful=self._config.stateful)
            reply = await self._send(request)
            secrets = (*request.secrets, *([bearer] if bearer else []))
            if reply.status != 200:
                self._refuse(reply, "the negotiation", token, bearer, secrets)
            try:
                answer = read_negotiation(reply)
            except Rejected as refusal:
                raise _masked(refusal, secrets) from None
            if isinstance(answer, Negotiated):
                self._on_step("negotiate")
                return Admission(place, answer)
            place = self._follow(place, answer)
        raise Rejected(
            "redirect",
            request="the negotiation",
            remedy=f"it was redirected over {self._config.max_redirects} times, at last to {redact_url(place.url)}; raise max_redirects if "
            "that is meant",
            verdict=Verdict(Action.RETRY, Level.LINK),
        )

    def _follow(self, place: Place, to: Redirected) -> Place:
        if urlsplit(place.url).scheme == "https" and urlsplit(to.url).scheme != "https":
            raise Rejected(
                "redirect",
                f"to {redact_url(to.url)}",
                request="the negotiation",
                remedy="a redirect from https to http is not followed",
                verdict=Verdict(Action.FATAL, Level.LINK),
            )
        is_own = origin(to.url) == origin(self._config.url)
        return Place(to.url, is_own, to.access_token or (place.token if origin(to.url) == origin(place.url) else None))

    async def _send(self, request: HttpRequest) -> HttpReply:
        tls = self._context(request.url)
        driver = HttpDriver([request.url], ssl_context=tls, clock=self._clock, timeout=self._config.connect_timeout)
        async with driver:
            try:
                return await driver.send(request)
            except OutcomeUnknown as error:  # nothing is lost: a connection that was promised to nobody is forgotten
                unanswered = Unreachable(str(error))
        raise unanswered

    # --- the socket -----------------------------------------------------------------------------------------------------------------

    async def _open_socket(self, admission: Admission, receiver: R, refused: _BearerRefused | None) -> Opened[R]:
        place, query = admission.place, []
        bearer, token = await self._bearer(place, refused)
        if admission.negotiated is not None:
            query.append(("id", admission.negotiated.id))
        in_header = self._config.bearer_in == "header"
        if bearer is not None and not in_header:
            query.append((self._config.bearer_in, bearer))
        secrets = (*(secret for _, secret in query), *([bearer] if bearer else []))
        try:
            transport = await open_websocket(
                socket_url(place.url, tuple(query)),
                receiver,
                tls=self._context(place.url),
                headers=dict(self._headers(place, bearer if in_header else None)),
                text=True,
                max_frame=self._config.max_record,
                clock=self._clock,
                timeout=self._config.connect_timeout,
            )
        except OpeningRefused as refusal:
            reply = refusal.reply
        else:
            return Opened(transport, receiver, admission, token, secrets)
        return self._refuse(reply, "the opening of the socket", token, bearer, secrets)

    def _context(self, url: str) -> ssl.SSLContext | None:
        if urlsplit(url).scheme != "https":
            return None
        if self._tls is None:
            host = urlsplit(url).hostname or ""
            self._tls = tls_context(host=host, ca_file=self._config.ca_file, ssl_context=self._config.ssl_context)
        return self._tls

    # --- refusals -------------------------------------------------------------------------------------------------------------------

    def _refuse(self, reply: HttpReply, what: str, token: Token | None, bearer: Secret | None, secrets: tuple[Secret, ...]) -> NoReturn:
        error = _refusal(reply, what, secrets, has_bearer=bearer is not None)
        raise _BearerRefused(error, token) if reply.status == 401 and bearer is not None else error


def _refusal(reply: HttpReply, what: str, secrets: tuple[Secret, ...], *, has_bearer: bool) -> Rejected:
    """Our exception for an HTTP status that is no success."""
    status = reply.status
    after = reply.retry_after(_RETRY_AFTER_LIMIT)
    retry = Verdict(Action.RETRY, Level.LINK) if after is None else Verdict(Action.RETRY_AFTER, Level.LINK, after)
    verdict, remedy = retry, _REMEDIES.get(status, "look at the server, or at whatever stands before it")
    if status == 401:
        verdict = Verdict(Action.REAUTHORIZE, Level.TOKEN)
        remedy = remedy if has_bearer else "it wants a bearer, and there is none for this place: give token="
    elif status == 403:
        verdict = Verdict(Action.FATAL, Level.LINK)
    elif 300 <= status < 400:
        remedy = "redirects are not followed here: give the address that it leads to"
    said = redact_text(reply.headers.get("www-authenticate", ""), secrets) if status == 401 else ""
    return Rejected(f"HTTP {status}", said, request=what, remedy=remedy, verdict=verdict, retry_after=after)


_REMEDIES: Final = {
    401: "the hub takes none of the tokens that it was shown: check their audience and scope, and this machine's clock",
    403: "the credentials are known, and lack the right to this hub: have it granted",
    404: "check the path of the hub; behind a load balancer without affinity, skip the negotiation",
    405: "this is not the address of a hub",
}


def _masked(refusal: Rejected, secrets: tuple[Secret, ...]) -> Rejected:
    """The same refusal with every secret in the server's text masked."""
    return Rejected(
        refusal.code,
        redact_text(refusal.description, secrets),
        request=refusal.request,
        remedy=refusal.remedy,
        verdict=refusal.verdict,
        retry_after=refusal.retry_after,
    )
