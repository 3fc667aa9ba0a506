"""Asking a broker's server: with the token in the header, once more with a renewed one after a 401, and reads again when the line breaks.

May use asyncio. Always holds: the bearer goes to the base URL's origin and nowhere else; a redirect is an answer like any other, and not
followed; what has effects is sent at most once, whatever comes of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from tradesession import policy
from tradesession.clock import Clock
from tradesession.errors import (
    DeadlineExceeded,
    Error,
    LinkLost,
    NotSent,
    OutcomeUnknown,
    ProtocolError,
    Rejected,
    TokenEndpointUnreachable,
)
from tradesession.hooks import Hooks, RequestTimed
from tradesession.protocol.backoff import Backoff
from tradesession.protocol.http import HttpReply, HttpRequest, Pairs
from tradesession.secrets import Secret
from tradesession.timing import deadline, sleep
from tradesession.tokens.asking import Tokens, with_token
from tradesession.tokens.token import Token
from tradesession.tradingview.config import Config
from tradesession.tradingview.judge import judged, refusal_by_status
from tradesession.transports.http import HttpDriver, HttpStream
from tradesession.verdict import Action

T = TypeVar("T")

ERROR_LIMIT = 1 << 16
"""Bytes that are read of an answer that is no stream, in place of one: enough for an error's text."""


class Server:
    """The broker's server, as one session asks it. `on_dead_token` is told when only a person can help."""

    def __init__(
        self,
        config: Config,
        tokens: Tokens,
        *,
        clock: Clock,
        hooks: Hooks,
        name: str,
        chance: Callable[[], float],
        on_dead_token: Callable[[Error], None],
    ) -> None:
        self._config = config
        self._tokens = tokens
        self._clock = clock
        self._hooks = hooks
        self._name = name
        self._chance = chance
        self._on_dead_token = on_dead_token
        trust: dict[str, Any] = {"ca_file": config.ca_file, "ssl_context": config.ssl_context, "clock": clock}
        limits: dict[str, Any] = {"timeout": config.request_timeout, "reply_limit": policy.TRADINGVIEW_REPLY_LIMIT}
        self._reads = HttpDriver([config.base_url], keep_alive=True, **trust, **limits)
        self._calls = HttpDriver([config.base_url], **trust, **limits)  # each with a connection of its own
        self._streams = HttpDriver([config.base_url], **trust, timeout=config.connect_timeout)

    async def token(self) -> Token | None:
        """The token in use, or a new one; None where the data is public."""
        return None if self._config.auth is None else await self._tokens.get()

    async def read(
        self,
        path: str,
        query: Pairs = (),
        *,
        bearer: Secret | None = None,
        timeout: float | None = None,
        once: bool = False,
        is_ready: Callable[[], None],
    ) -> dict[str, Any]:
        """A GET, repeated while there is time when the line breaks or the server has none; `timeout` in seconds covers all of it.

        With `once` whoever asks sees to the repeating. `is_ready` raises when nothing more is to be sent.

        Raises Rejected, ProtocolError, NotSent, DeadlineExceeded, TokenError.
        """
        budget = self._config.request_timeout if timeout is None else timeout
        until = self._clock.monotonic() + budget
        backoff = Backoff(self._chance)
        error: Error | None = None
        while True:
            is_ready()
            try:
                async with deadline(self._clock, until - self._clock.monotonic()):
                    return await self._asked(bearer, lambda header: self._get(path, query, header))
            except TimeoutError:
                before = f" ({error})" if error is not None else ""
                late = DeadlineExceeded(f"{path} was not answered within {budget:.3g} s{before}; it only reads, so it may be repeated")
                raise late from error
            except (Rejected, LinkLost, NotSent, OutcomeUnknown, TokenEndpointUnreachable) as failure:
                error = failure
            pause = _pause(error, backoff.failed(self._clock.monotonic()))
            if pause is None or once or self._clock.monotonic() + pause >= until:
                raise _of_read(path, error)
            await sleep(self._clock, pause)

    async def call(self, path: str, form: Pairs, *, bearer: Secret | None = None, timeout: float | None = None) -> dict[str, Any]:
        """A POST, sent at most once. Raises Rejected, NotSent, OutcomeUnknown, TokenError.

        A 401 has the token renewed for whoever asks next, and is raised.
        """
        budget = self._config.request_timeout if timeout is None else timeout
        until = self._clock.monotonic() + budget
        try:
            async with deadline(self._clock, budget):
                token = None if bearer is not None else await self._obtained()
        except TimeoutError:
            raise NotSent(f"{path} was not sent within {budget:.3g} s: there was no token") from None
        request = self._request("POST", path, _bearer(bearer) if bearer is not None else header_of(token), form=form)
        reply = await self._timed(path, self._calls.send(request, timeout=until - self._clock.monotonic()))
        outcome = judged(reply, request, path)
        if isinstance(outcome, (LinkLost, ProtocolError)) or reply.is_unclear:
            raise OutcomeUnknown(f"{path} was answered, but not so that it says what became of it ({outcome}): it may have been executed")
        if isinstance(outcome, Error):
            if isinstance(outcome, Rejected) and outcome.verdict.action is Action.REFRESH and token is not None:
                await self._tokens.reject(token)
            raise outcome
        return outcome

    def rotations(self) -> AsyncIterator[Token]:
        """Every token that comes after now."""
        return self._tokens.changes()

    async def stream(self, path: str) -> tuple[HttpStream, Secret | None]:
        """The beginning of an endless answer, and the bearer that it was asked with.

        Raises Rejected, NotSent, LinkLost, TokenError.
        """

        async def ask(header: Secret | None) -> tuple[HttpStream, Secret | None]:
            request = self._request("GET", path, header)
            try:
                stream = await self._streams.open(request)
            except OutcomeUnknown as error:
                raise _of_read(path, error) from error
            if stream.status == 200:
                return stream, header
            try:
                async with deadline(self._clock, self._config.connect_timeout):
                    reply = await stream.whole(ERROR_LIMIT)
            except TimeoutError:
                reply = HttpReply(status=stream.status, headers=stream.headers)
            finally:
                stream.close()
            raise refusal_by_status(reply, request, path) or LinkLost(f"{path} was answered with HTTP {reply.status}, and no stream")

        return await self._asked(None, ask)

    async def aclose(self) -> None:
        """Close every connection."""
        for driver in (self._streams, self._reads, self._calls):
            await driver.aclose()

    # --- inside -------------------------------------------------------------------------------------------------------------------

    async def _get(self, path: str, query: Pairs, header: Secret | None) -> dict[str, Any]:
        request = self._request("GET", path, header, query=query)
        outcome = judged(await self._timed(path, self._reads.send(request)), request, path)
        if isinstance(outcome, Error):
            raise outcome
        return outcome

    async def _asked(self, bearer: Secret | None, ask: Callable[[Secret | None], Awaitable[T]]) -> T:
        """With the given bearer, without one where data is public, or with the session's token, renewed once."""
        if bearer is not None:
            return await ask(_bearer(bearer))
        if self._config.auth is None:
            return await ask(None)
        try:
            return await with_token(self._tokens, lambda token: ask(header_of(token)))
        except Error as error:
            self._look_dead(error)
            raise

    async def _obtained(self) -> Token | None:
        try:
            return await self.token()
        except Error as error:
            self._look_dead(error)
            raise

    def _look_dead(self, error: Error) -> None:
        if error.verdict.needs_human:  # any other refusal of the token endpoint is this read's: it may be corrected there
            self._on_dead_token(error)

    def _request(self, method: str, path: str, header: Secret | None, *, query: Pairs = (), form: Pairs = ()) -> HttpRequest:
        headers: list[tuple[str, str | Secret]] = [("Accept", "application/json")]
        if header is not None:
            headers.append(("Authorization", header))
        pairs = tuple(pair for pair in query if pair[1])
        return HttpRequest(method=method, url=self._config.base_url + path, query=pairs, form=form, headers=tuple(headers))

    async def _timed(self, path: str, sending: Awaitable[HttpReply]) -> HttpReply:
        began, outcome = self._clock.monotonic(), "reply"
        try:
            return await sending
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            seconds = self._clock.monotonic() - began
            self._hooks.emit(RequestTimed(source=self._name, request=path, seconds=seconds, outcome=outcome))


def _bearer(secret: Secret) -> Secret:
    return Secret(f"Bearer {secret.reveal()}")


def header_of(token: Token | None) -> Secret | None:
    """The value of the Authorization header; None without a token."""
    return None if token is None else Secret(token.authorization())


def _pause(error: Error, backoff: float) -> float | None:
    """Seconds until a read that failed so is sent again; None when that is no use."""
    if error.verdict.action is Action.RETRY_AFTER:
        return error.verdict.after
    return backoff if isinstance(error, (LinkLost, OutcomeUnknown)) or error.verdict.action is Action.RETRY else None


def _of_read(path: str, error: Error) -> Error:
    """What a read ends with: nothing is unknown about it, since it may be repeated."""
    if not isinstance(error, OutcomeUnknown):
        return error
    lost = LinkLost(f"{path} was not answered ({error}); it only reads, so it may be repeated")
    lost.__cause__ = error
    return lost
