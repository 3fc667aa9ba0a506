"""The Exchange of one credential: refresh while that goes, else ask anew with the credential itself.

What always holds: a refresh token is shown once, whatever became of it; a refused login is never sent a second time by this object; and
that a session was replaced instead of prolonged is told.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from tradesession.clock import Clock
from tradesession.errors import ReauthorizationRequired, TokenEndpointUnreachable, TokenError, TokenRefused, UncertainExchange
from tradesession.hooks import Hooks, SessionReplaced, one_line
from tradesession.secrets import Secret
from tradesession.tokens.exchange import HttpExchange, HttpSender
from tradesession.tokens.grants import Grant
from tradesession.tokens.token import Slot, Token
from tradesession.tradingview import grants
from tradesession.tradingview.assertion import Assertions
from tradesession.tradingview.credentials import PasswordBearer, ServerOAuth2Bearer


class BearerExchange:
    """See Exchange. `hooks` are told of replaced sessions; whoever shares them sets them."""

    def __init__(
        self, credential: ServerOAuth2Bearer | PasswordBearer, base_url: str, slot: Slot, driver: HttpSender, clock: Clock
    ) -> None:
        self.hooks = Hooks()
        self._credential = credential
        self._base_url = base_url
        self._slot = slot
        self._driver = driver
        self._clock = clock
        self._refreshes = isinstance(credential, ServerOAuth2Bearer) or credential.refresh == "oauth"
        self._spent: Secret | None = None
        self._refused: TokenError | None = None
        self._assertions: Assertions | None = None

    async def __call__(self, token: Token | None) -> Token:
        """See Exchange. Never UncertainExchange: after a refresh without an answer the credential is used."""
        cause = ""
        if token is not None and self._may_refresh(token):
            try:
                return await self._refresh(token)
            except (ReauthorizationRequired, TokenRefused, UncertainExchange) as error:
                cause = one_line(error)
        elif token is not None:
            cause = self._why_not(token)
        new = await self._ask_anew()
        if not self._refreshes:
            return replace(new, refresh=None, refresh_expires_at=None)  # nobody spends it
        if token is not None and token.access:
            self.hooks.emit(SessionReplaced(source=f"token {self._slot}", cause=cause))
        return new

    def _may_refresh(self, token: Token) -> bool:
        if not self._refreshes or not token.refresh or token.refresh == self._spent:
            return False
        return token.refresh_expires_at is None or self._clock.wall() < token.refresh_expires_at

    def _why_not(self, token: Token) -> str:
        if not token.refresh:
            return "it has no refresh token"
        return "its refresh token may be spent" if token.refresh == self._spent else "its refresh token has ended"

    async def _refresh(self, token: Token) -> Token:
        assert token.refresh is not None, "asked for before"
        self._spent = token.refresh  # from now on, as nobody may be here to hear the answer
        try:
            new = await self._send(grants.refresh(self._credential, token.refresh))
        except TokenEndpointUnreachable:
            self._spent = None  # it was not shown, or the server was not at work
            raise
        if not new.refresh or new.refresh == token.refresh:
            self._spent = None  # the server goes on with the same one
        return new

    async def _ask_anew(self) -> Token:
        if isinstance(self._credential, ServerOAuth2Bearer):
            return await self._send(await self._asserted(self._credential))
        if self._refused is not None:
            raise self._refused.with_traceback(None)
        try:
            return await self._send(grants.login(self._credential, self._base_url))
        except (ReauthorizationRequired, TokenRefused) as error:
            self._refused = error
            raise

    async def _asserted(self, credential: ServerOAuth2Bearer) -> Grant:
        """The grant with a fresh assertion, signed beforehand: a signer that is not ours may take its time."""
        if self._assertions is None:
            options: dict[str, Any] = {} if credential.variant.jti else {"new_id": None}
            self._assertions = Assertions(
                credential.signer,
                credential.certificate,
                issuer=credential.client_id,
                subject=credential.user_id,
                audience=credential.audience,
                app_url=credential.app_url,
                x5t=credential.variant.x5t,
                lifetime=credential.lifetime,
                **options,
            )
        make, wall = self._assertions, self._clock.wall()
        try:
            signed = make(wall) if credential.signs_here else await asyncio.to_thread(make, wall)
        except Exception as error:
            raise TokenEndpointUnreachable(
                f"the assertion of client {credential.client_id} could not be signed ({one_line(error)}); nothing was sent"
            ) from None
        return grants.assertion(credential, lambda _: signed)

    async def _send(self, grant: Grant) -> Token:
        return await HttpExchange(lambda _: grant, self._driver, clock=self._clock)(None)
