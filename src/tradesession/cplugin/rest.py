"""Rest: CPlugin's REST interface, v1 and v2.

May use asyncio. What always holds: the bearer goes to the API's own origin, and no redirect is followed; a refused token is renewed once
and the call repeated once; what only reads is repeated after a failure that may pass, what has effects only when it surely was not begun,
or under the caller's Idempotency-Key; otherwise CallUnknown says that nobody knows.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar
from uuid import UUID

from tradesession import policy
from tradesession.clock import Clock
from tradesession.cplugin.config import Config
from tradesession.cplugin.errors import ApiError, CallUnknown
from tradesession.cplugin.judge import Asked, Reply, judge
from tradesession.cplugin.records import Organization, Record, TradePlatform
from tradesession.cplugin.routing import ORGANIZATIONS, PING, TRADE_PLATFORMS, is_enveloped, rest_address
from tradesession.errors import DeadlineExceeded, Error, InvalidRequest, NotSent, OutcomeUnknown, ProtocolError, SessionClosed
from tradesession.exporters.log import logged
from tradesession.hooks import Hook, Hooks, RequestTimed
from tradesession.protocol.http import HttpReply, HttpRequest, Pairs
from tradesession.secrets import Secret
from tradesession.session.bearer import SAFE_METHODS, BearerHttp, BearerSource
from tradesession.timing import SYSTEM_CLOCK, deadline, sleep
from tradesession.tokens.token import Token
from tradesession.transports.http import HttpDriver
from tradesession.verdict import Action, Verdict

R = TypeVar("R", bound=Record)
T = TypeVar("T")

METHODS: Final = (*sorted(SAFE_METHODS), "DELETE", "PATCH", "POST", "PUT")


class Rest:
    """Calls of the API. A session has one as `session.rest`; `aclose` belongs to whoever made it.

    `chance` gives numbers in [0, 1), for jitter; `random_id` new Idempotency-Keys. `hooks` are told of each attempt that was sent.
    """

    def __init__(
        self,
        config: Config,
        tokens: BearerSource,
        *,
        clock: Clock,
        hooks: Hooks,
        chance: Callable[[], float],
        random_id: Callable[[], str],
    ) -> None:
        self._config = config
        self._tokens = tokens
        self._clock = clock
        self._hooks = hooks
        self._chance = chance
        self._random_id = random_id
        self._is_closed = False
        # What has effects has a connection of its own each: one that the server closed meanwhile would leave the outcome in doubt.
        self._reading, self._changing = (
            HttpDriver(
                [config.base_url],
                ca_file=config.ca_file,
                ssl_context=config.ssl_context,
                clock=clock,
                reply_limit=policy.CPLUGIN_REPLY_LIMIT,
                keep_alive=keep_alive,
            )
            for keep_alive in (True, False)
        )

    async def aclose(self) -> None:
        """Close what is open; calls under way end with an error."""
        self._is_closed = True
        try:
            await self._reading.aclose()
        finally:
            await self._changing.aclose()

    # --- the calls of the authorization page ----------------------------------------------------------------------------------------

    async def organizations(self, *, timeout: float | None = None) -> list[Organization]:
        """The organizations that the credentials belong to."""
        return _records(Organization, (await self.call("GET", ORGANIZATIONS, timeout=timeout)).data)

    async def trade_platforms(self, *, timeout: float | None = None) -> list[TradePlatform]:
        """The trade servers that the credentials may use; their ids are what `trade_platform` means everywhere."""
        return _records(TradePlatform, (await self.call("GET", TRADE_PLATFORMS, timeout=timeout)).data)

    async def ping(self, trade_platform: str | UUID | None = None, *, timeout: float | None = None) -> Any:
        """Check that the trade server can be reached; the configured one by default. What the API says about it, as it comes."""
        parts = {} if trade_platform is None else {"tradePlatform": trade_platform}
        return (await self.call("GET", PING, parts=parts, timeout=timeout)).data

    # --- any call ---------------------------------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        parts: Mapping[str, object] | None = None,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        timeout: float | None = None,
        server_timeout: float | None = None,
        idempotency_key: str = "",
        reads: bool | None = None,
    ) -> Coroutine[Any, Any, Reply]:
        """Any call, as in `await rest.call("GET", "/api/v2/MT4/{tradePlatform}/UserRecord/{login}", parts={"login": 5})`.

        `parts` fill the braces of the path; `tradePlatform` is the configured one unless it is among them. `query` values may be numbers,
        booleans, texts, and lists of them; those that are None are left out. `body` is sent as JSON. A path below /api/v2/ answers in the
        envelope of v2, any other one in plain JSON.

        `timeout` (seconds; the configuration's `request_timeout` by default) covers everything, repetitions as well. `server_timeout` is
        how long the API may take by itself (X-Request-Timeout, 1 to 300); by default, with a `timeout`, a second less than that, and else
        the API's own limit for the kind of call. It may take up to 20 s more to open its link to the trade server.

        `reads` says whether the call changes nothing; by default the method tells. Under an `idempotency_key` (v2) the API runs a call
        once, however often it comes, so that it is repeated as what only reads is. Without one, a key is made up for each call of v2 that
        is no read, and used only when `settle()` of a CallUnknown is asked for.

        Raises ApiError (the answer is no), NotSent (it never left: Unreachable, InvalidRequest), DeadlineExceeded (it only reads),
        CallUnknown (it left, and nobody knows), ProtocolError (the answer is none) and the errors of a TokenKeeper.
        """
        # Not a coroutine itself: its frame would stand in tracebacks, and tools that print their variables would print the body.
        request = self._request(method, path, parts, query, body)
        is_read = method in SAFE_METHODS if reads is None else reads
        is_v2 = is_enveloped(path)
        if idempotency_key and not (len(idempotency_key) <= 255 and idempotency_key.isascii() and idempotency_key.isprintable()):
            raise InvalidRequest("idempotency_key holds at most 255 printable ASCII characters")
        key = idempotency_key or ("" if is_read or not is_v2 else f"ts-{self._random_id()}")
        budget = self._config.request_timeout if timeout is None else timeout
        headers = list(request.headers)
        if key:
            headers.append(("Idempotency-Key", key))
        if (limit := _server_timeout(server_timeout, timeout)) is not None:
            headers.append(("X-Request-Timeout", f"{limit:g}"))
        call = _Call(
            HttpRequest(method=request.method, url=request.url, query=request.query, body=request.body, headers=tuple(headers)),
            Asked(name=f"{method} {path}", is_enveloped=is_v2, has_effects=not is_read, idempotency_key=key if is_v2 else ""),
            is_repeatable=is_read or (bool(idempotency_key) and is_v2),
            budget=budget,
        )
        return self._run(call)

    async def pages(
        self,
        path: str,
        *,
        limit: int | None = None,
        query: Mapping[str, object] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> AsyncIterator[Reply]:
        """Every page of a list of v2, each as its Reply: until the API says that there is no more. `limit` is the items of a page.

        `timeout` is for each page; `options` as for `call`. Raises as `call` does, and ProtocolError when a page leads back to itself, or
        says that there is more and not where.
        """
        asked = dict(query or {}) | ({} if limit is None else {"limit": limit})
        cursor: str | None = None
        while True:
            page = await self.call("GET", path, query=asked if cursor is None else asked | {"cursor": cursor}, timeout=timeout, **options)
            yield page
            if page.next_cursor is None:
                return
            if page.next_cursor in ("", cursor):
                raise ProtocolError(f"GET {path} says that there is more, and leads from a page to the same page, or to none")
            cursor = page.next_cursor

    # --- inside -------------------------------------------------------------------------------------------------------------------------

    def _request(
        self, method: str, path: str, parts: Mapping[str, object] | None, query: Mapping[str, object] | None, body: Any
    ) -> HttpRequest:
        if method not in METHODS:
            raise InvalidRequest(f"{method!r} is no method of the API; there are {', '.join(METHODS)}")
        filled = {"tradePlatform": self._config.trade_platform} | dict(parts or {})
        headers: Pairs = (("Accept", "application/json"),)
        sent: Secret | None = None
        if body is not None:
            try:
                sent = Secret(json.dumps(body, allow_nan=False, default=_as_json))
            except (TypeError, ValueError) as error:
                raise InvalidRequest(f"the body of {method} {path} cannot be sent as JSON: {error}") from None
            headers += (("Content-Type", "application/json"),)
        address = rest_address(self._config.base_url, path, filled)
        return HttpRequest(method=method, url=address, query=_query(query or {}), body=sent, headers=headers)

    async def _run(self, call: _Call) -> Reply:
        """The call; its outcome stays unknown, once it is, until the API itself has said what became of it."""
        try:
            return await self._repeated(call)
        except Error as error:
            if call.unknown is None or _is_told(error):
                raise
            raise call.unknown from (None if error is call.unknown else error)

    async def _repeated(self, call: _Call) -> Reply:
        """The call, repeated while that does no harm and may help."""
        until = self._clock.monotonic() + call.budget
        attempt = 0
        while True:
            attempt += 1
            sent_at = self._clock.monotonic()
            outcome = await self._once(call, until)
            self._report(call, outcome, self._clock.monotonic() - sent_at)
            if isinstance(outcome, Reply):
                return outcome
            pause = self._pause(call, outcome, attempt)
            if pause is None or self._clock.monotonic() + pause >= until:
                raise outcome
            await sleep(self._clock, pause)

    def _report(self, call: _Call, outcome: Reply | Error, seconds: float) -> None:
        if not isinstance(outcome, NotSent):
            name = "reply" if isinstance(outcome, Reply) else type(outcome).__name__
            self._hooks.emit(RequestTimed(source="cplugin rest", request=call.asked.name, seconds=seconds, outcome=name))

    async def _once(self, call: _Call, until: float) -> Reply | Error:
        """One attempt; what became of it."""
        if self._is_closed:
            raise SessionClosed(f"{call.asked.name} was not sent: the session is closed; open another one")
        driver = self._changing if call.asked.has_effects else self._reading
        timed = _Timed(call.asked.name, driver, self._tokens, self._clock, until)
        http = BearerHttp(timed, timed)
        try:
            reply = await http.send(call.request, repeatable=call.is_repeatable)
            if reply.status == 401 and not call.is_repeatable:  # refused before it was begun, says the vendor: once more does no harm
                reply = await http.send(call.request, repeatable=False)
        except (OutcomeUnknown, DeadlineExceeded) as error:
            failure: Error = error if not call.asked.has_effects else call.asked.unknown(str(error.__context__ or error))
        except NotSent as error:
            failure = error
        else:
            return self._settleable(judge(reply, replace(call.asked, secrets=tuple(timed.secrets))), call)
        return self._settleable(failure, call)

    def _settleable(self, outcome: T, call: _Call) -> T:
        if isinstance(outcome, CallUnknown) and call.unknown is None:
            call.unknown = outcome
            if outcome.idempotency_key:
                outcome.settler = self._settler(call)
        return outcome

    def _settler(self, call: _Call) -> Callable[[], Awaitable[Reply]]:
        """The same call under the same key: the API gives its stored answer, and runs nothing twice."""
        again = _Call(call.request, call.asked, is_repeatable=True, budget=self._config.request_timeout)
        again.unknown = call.unknown

        async def settle() -> Reply:
            return await self._run(again)

        return settle

    def _pause(self, call: _Call, error: Error, attempt: int) -> float | None:
        """Seconds until the next attempt; None when there is to be none."""
        verdict: Verdict = error.verdict
        may_pass = verdict.is_retryable or (isinstance(error, CallUnknown) and call.is_repeatable)
        was_not_begun = isinstance(error, NotSent) or (
            isinstance(error, ApiError) and error.is_untouched and bool(call.asked.idempotency_key)  # what is said, and a key beside it
        )
        if attempt >= policy.CPLUGIN_ATTEMPTS or not may_pass or not (call.is_repeatable or was_not_begun):
            return None
        bound = min(policy.CPLUGIN_RETRY_CAP, policy.CPLUGIN_RETRY_BASE * 2.0 ** (attempt - 1))
        return bound * (0.25 + 0.75 * self._chance()) + (verdict.after or 0.0 if verdict.action is Action.RETRY_AFTER else 0.0)


class _Call:
    """A call on its way. It shows nothing of the request, which may hold a secret. `unknown` is set once nobody knows its outcome."""

    __slots__ = ("asked", "budget", "is_repeatable", "request", "unknown")

    def __init__(self, request: HttpRequest, asked: Asked, *, is_repeatable: bool, budget: float) -> None:
        self.request = request
        self.asked = asked
        self.is_repeatable = is_repeatable
        self.budget = budget
        self.unknown: CallUnknown | None = None


def _is_told(error: Error) -> bool:
    """Whether this is the API's own answer to a call, under whose key an attempt went before; not a word about the last attempt alone."""
    return isinstance(error, ApiError) and not error.is_untouched and not error.code.startswith("HTTP ")


class _Timed:
    """A driver and a source of tokens that have what is left of a deadline. `secrets` are those that were sent."""

    def __init__(self, name: str, driver: HttpDriver, tokens: BearerSource, clock: Clock, until: float) -> None:
        self.secrets: set[Secret] = set()
        self._name = name
        self._driver = driver
        self._tokens = tokens
        self._clock = clock
        self._until = until

    async def get(self, min_ttl: float | None = None) -> Token | None:
        """See BearerSource. Raises NotSent at the deadline."""
        try:
            async with deadline(self._clock, self._left()):
                return await self._tokens.get(min_ttl)
        except TimeoutError:
            raise NotSent(f"{self._name} was not sent: its time was over before there was a token") from None

    async def reject(self, token: Token) -> None:
        """See BearerSource."""
        await self._tokens.reject(token)

    async def send(self, request: HttpRequest) -> HttpReply:
        """See HttpSender."""
        self.secrets.update(request.secrets)
        return await self._driver.send(request, timeout=self._left())

    def _left(self) -> float:
        return max(0.0, self._until - self._clock.monotonic())


def _server_timeout(asked: float | None, timeout: float | None) -> float | None:
    """X-Request-Timeout, in seconds; None for the API's own."""
    low, high = policy.CPLUGIN_SERVER_TIMEOUT_LEAST, policy.CPLUGIN_SERVER_TIMEOUT_MOST
    if asked is not None:
        if not low <= asked <= high:
            raise InvalidRequest(f"server_timeout={asked:g} is none that the API takes: it lies between {low:g} and {high:g} seconds")
        return asked
    return None if timeout is None else min(max(timeout - 1.0, low), high)


def _query(query: Mapping[str, object]) -> Pairs:
    several = ((name, one) for name, value in query.items() for one in (value if isinstance(value, (list, tuple)) else [value]))
    return tuple((name, str(one).lower() if isinstance(one, bool) else str(one)) for name, one in several if one is not None)


def _as_json(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is nothing that JSON knows")


def _records(cls: type[R], data: Any) -> list[R]:
    if not isinstance(data, list):
        raise ProtocolError(f"a list of {cls.__name__} was expected, and {type(data).__name__} came")
    return [cls.of(one) for one in data]


@asynccontextmanager
async def open_rest(config: Config, tokens: BearerSource, *, hooks: Iterable[Hook] = ()) -> AsyncIterator[Rest]:
    """The REST interface without a hub, for one block. `tokens` is where the token comes from: `manager.tokens(config)`."""
    clock = config.clock or SYSTEM_CLOCK
    rest = Rest(config, tokens, clock=clock, hooks=logged(hooks), chance=random.random, random_id=lambda: secrets.token_hex(8))
    try:
        yield rest
    finally:
        await rest.aclose()
