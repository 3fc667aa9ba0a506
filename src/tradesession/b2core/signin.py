"""The first level: a B2Core user's bearer, refreshed while that goes, and got by the sign-in wizard where there are credentials.

May use asyncio; touches the network through a driver alone. What always holds: credentials that were refused are never sent again by the
same SignIn, however often and by whomever it is asked; nothing is sent where the wizard wants a reCAPTCHA, and the wizard is left alone for
ten minutes then; and a person is asked for a two-factor code once for each sign-in, with a time limit, and not again for ten minutes when
that failed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from tradesession.b2core.errors import CaptchaRequired, CodeRefused, CodeRequired, SignInRefused
from tradesession.b2core.grants import (
    LOCKED_OUT,
    SIGN_IN_PAUSE,
    B2Core,
    ChooseMethod,
    CodeMethod,
    CodeWanted,
    Obtained,
    Step,
    asked,
    read_refresh,
    read_step,
    read_wizard,
)
from tradesession.b2core.lifetimes import ODDITIES
from tradesession.clock import Clock
from tradesession.errors import ReauthorizationRequired, TokenEndpointUnreachable, TokenError, UncertainExchange
from tradesession.protocol.http import HttpRequest
from tradesession.secrets import Secret
from tradesession.timing import deadline
from tradesession.tokens.exchange import HttpSender, send_once
from tradesession.tokens.replies import Asked, GrantKind, unanswered
from tradesession.tokens.token import Token

T = TypeVar("T")

_log = logging.getLogger("tradesession.b2core")


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """What a person is asked for: the code of this second factor, for the sign-in of this user."""

    method: CodeMethod
    email: str


AskCode: TypeAlias = Callable[[CodeRequest], Awaitable[str | Secret]]
"""Asks a person for a two-factor code. Called in a task of the token's keeper, which outlives every connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What signs a user in. `ask_code` is None where nobody can be asked; `method` is preferred where there are several."""

    email: str
    password: Secret = field(repr=False)
    ask_code: AskCode | None = None
    method: CodeMethod = "google"
    code_timeout: float


class SignIn:
    """The Exchange of the first level. `credentials` are None where only a bearer was given."""

    def __init__(self, core: B2Core, credentials: Credentials | None, fingerprint: str, driver: HttpSender, *, clock: Clock) -> None:
        self._core = core
        self._credentials = credentials
        self._fingerprint = fingerprint
        self._driver = driver
        self._clock = clock
        self._doubtful: Secret | None = None  # a refresh token that got no answer
        self._refused: SignInRefused | None = None
        self._refused_until: float | None = None  # None: for good
        self._unanswered = 0  # sign-ins in a row that got no usable answer
        self._told: set[str] = set()

    async def __call__(self, token: Token | None) -> Token:
        """See Exchange. Beside its errors those of `tradesession.b2core.errors`, which are TokenRefused."""
        if token is not None and token.refresh and not self._is_over(token.refresh_expires_at):
            try:
                return await self._refresh(token.refresh)
            except ReauthorizationRequired:
                if self._credentials is None:
                    raise
            except UncertainExchange:
                if self._credentials is None or self._doubtful != token.refresh:
                    self._doubtful = token.refresh  # shown once more, says its keeper; then the credentials lead on
                    raise
        if self._credentials is None:
            raise ReauthorizationRequired(
                "B2Core's bearer is no longer good, and there are no credentials to sign in with: give a new access_token, or email and "
                "password"
            )
        return await self._sign_in(self._credentials)

    # --- refresh --------------------------------------------------------------------------------------------------------------------

    async def _refresh(self, refresh: Secret) -> Token:
        request = self._core.refresh(refresh, self._fingerprint)
        of = asked(request, GrantKind.REFRESH_TOKEN, refresh)
        reply = await send_once(self._driver, request, lambda cause: unanswered(of, cause))
        return self._taken(_raised(read_refresh(reply, of)))

    # --- sign-in --------------------------------------------------------------------------------------------------------------------

    async def _sign_in(self, credentials: Credentials) -> Token:
        if self._refused is not None and (self._refused_until is None or self._clock.monotonic() < self._refused_until):
            raise self._refused.with_traceback(None)
        try:
            return await self._walk(credentials)
        except SignInRefused as refused:
            self._refused = refused
            may_pass = isinstance(refused, (CaptchaRequired, CodeRequired, CodeRefused))
            self._refused_until = self._clock.monotonic() + LOCKED_OUT if may_pass else None
            raise

    async def _walk(self, credentials: Credentials) -> Token:
        """Through the wizard, step by step."""
        request = self._core.wizard()
        of = asked(request, GrantKind.PASSWORD)
        reply = await send_once(self._driver, request, lambda cause: unanswered(of, cause))
        uuid = _raised(read_wizard(reply, of))
        password = credentials.password
        step = await self._step(self._core.sign_in(uuid, credentials.email, password, self._fingerprint), uuid, password)
        if isinstance(step, ChooseMethod):
            method = credentials.method if credentials.method in step.methods else step.methods[0]
            _asker(credentials, method)  # else a message would go out for nobody
            step = await self._step(self._core.choose(step.uuid, method), step.uuid, chosen=method)
        if isinstance(step, CodeWanted):
            code = await self._ask(credentials, step.method)
            step = await self._step(self._core.code(step.uuid, step.method, code), step.uuid, code, after_code=True)
        if not isinstance(step, Obtained):
            raise SignInRefused(
                "the sign-in at B2Core wants a second code, which is not known here: sign in with a browser", code="workflow"
            )
        return self._taken(step)

    async def _step(
        self, request: HttpRequest, uuid: str, *secrets: Secret, chosen: CodeMethod | None = None, after_code: bool = False
    ) -> Step:
        of = asked(request, GrantKind.PASSWORD, *secrets)
        try:
            reply = await send_once(self._driver, request, lambda cause: _left_alone(of, cause))
            outcome = read_step(reply, of, uuid, chosen=chosen, after_code=after_code)
            if isinstance(outcome, TokenError):
                raise outcome
        except TokenEndpointUnreachable as error:
            if error.retry_after is not None:  # else it never left
                self._unanswered += 1
                error.retry_after = max(error.retry_after, min(LOCKED_OUT, SIGN_IN_PAUSE * 2.0 ** min(self._unanswered - 1, 10)))
            raise
        return outcome

    async def _ask(self, credentials: Credentials, method: CodeMethod) -> Secret:
        ask, wanted = _asker(credentials, method), _wanted(credentials, method)
        try:
            async with deadline(self._clock, credentials.code_timeout):
                code = Secret(await ask(CodeRequest(method, credentials.email)))
        except TimeoutError:
            raise CodeRequired(f"{wanted}, and none came within {credentials.code_timeout:g} s", code="2fa") from None
        except Exception as error:
            raise CodeRequired(f"{wanted}, and ask_code failed with {type(error).__name__}", code="2fa") from None
        if not code:
            raise CodeRequired(f"{wanted}, and an empty one was given", code="2fa")
        return code

    # --- common ----------------------------------------------------------------------------------------------------------------------

    def _taken(self, obtained: Obtained) -> Token:
        self._doubtful = None
        self._unanswered = 0
        for note in obtained.notes:
            if note not in self._told:
                self._told.add(note)
                _log.warning("%s: %s (B2Core's bearer at %s)", note, ODDITIES[note], self._core.base_url)
        return obtained.token

    def _is_over(self, moment: float | None) -> bool:
        return moment is not None and self._clock.wall() >= moment


def _asker(credentials: Credentials, method: CodeMethod) -> AskCode:
    if credentials.ask_code is None:
        wanted = _wanted(credentials, method)
        raise CodeRequired(f"{wanted}, and nobody can be asked for it: give ask_code, or run it at a terminal", code="2fa")
    return credentials.ask_code


def _wanted(credentials: Credentials, method: CodeMethod) -> str:
    return f"the sign-in of {credentials.email} at B2Core wants a two-factor code ({method})"


def _left_alone(of: Asked, cause: str) -> TokenError:
    """Credentials that left and got no answer may be sent again, but so seldom that nobody is locked out, and ever more seldom."""
    return TokenEndpointUnreachable(f"{of} got no answer ({cause}); it can be tried again", retry_after=SIGN_IN_PAUSE)


def _raised(outcome: T | TokenError) -> T:
    if isinstance(outcome, TokenError):
        raise outcome
    return outcome
