"""The two token endpoints: /authorize for login and password, and the token URL for assertions and refresh tokens.

No sockets: forms in, answers out. Sections A1 and A2 of the fact sheet.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from tradesession.sandbox.tradingview.assertion import Verifier
from tradesession.sandbox.tradingview.data import error
from tradesession.sandbox.tradingview.faults import Faults
from tradesession.sandbox.tradingview.settings import Settings
from tradesession.sandbox.tradingview.state import Credential, Issued, State, TokenDenied

Answer = tuple[int, dict[str, Any]]
"""HTTP status and body."""

_LOGIN_FIELDS: Final = ("login", "password", "locale")


class TokenDesk:
    """Gives tokens, or says why not. `token_url` is set by the server when it knows where it listens."""

    def __init__(self, state: State, settings: Settings, faults: Faults) -> None:
        self._state = state
        self._settings = settings
        self._faults = faults
        self.token_url = ""

    def authorize(self, form: Mapping[str, str]) -> Answer:
        """PasswordBearer. Whatever is wrong is said by an envelope with HTTP 200 (section A1.1)."""
        try:
            issued = self._log_in(form)
        except TokenDenied as denied:
            self._state.denials[denied.code] += 1
            return self._faults.wrong_password_status or 200, error(denied.description)
        return 200, self._login_reply(issued)

    def token(self, form: Mapping[str, str], authorization: str) -> Answer:
        """ServerOAuth2Bearer, and refreshing for both."""
        try:
            issued = self._exchange(form, self._client(form, authorization))
        except TokenDenied as denied:
            self._state.denials[denied.code] += 1
            return self._refusal(denied)
        return 200, self._oauth_reply(issued)

    def _log_in(self, form: Mapping[str, str]) -> Issued:
        missing = [name for name in _LOGIN_FIELDS if not form.get(name)]
        if missing:
            raise TokenDenied("invalid_request", "field_missing", f"These fields are missing: {', '.join(missing)}")
        return self._state.log_in(form["login"], form["password"])

    # --- who asks ---

    def _client(self, form: Mapping[str, str], authorization: str) -> Credential | None:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization.startswith("Basic "):
            try:
                given = base64.b64decode(authorization[6:], validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                given = ""
            client_id, secret = (unquote_plus(part) for part in given.partition(":")[::2])
        if not client_id and not secret:
            return None
        for credential in self._state.credentials:
            if credential.client_id == client_id and hmac.compare_digest(credential.client_secret.encode(), secret.encode()):
                return credential
        raise TokenDenied("invalid_client", "client_unknown", "The client id or its secret is wrong")

    # --- what for ---

    def _exchange(self, form: Mapping[str, str], client: Credential | None) -> Issued:
        grant_type = form.get("grant_type", "")
        if grant_type == "refresh_token":
            return self._state.refresh(form.get("refresh_token", ""), client)
        if client is None:
            raise TokenDenied("invalid_client", "client_missing", "client_id and client_secret are missing")
        if grant_type != client.grant_type:
            raise TokenDenied("unsupported_grant_type", "grant_type_unknown", f"grant_type is refresh_token or {client.grant_type}")
        assertion = form.get("assertion", "")
        if not assertion:
            raise TokenDenied("invalid_request", "assertion_missing", "There is no assertion")
        verifier = Verifier(
            self._state.credentials,
            audience=self._faults.audience or self.token_url,
            now=self._state.wall(),
            longest=self._settings.longest_assertion,
            x5t=self._settings.x5t,
        )
        try:
            verifier.verify(assertion, client)
        finally:
            if verifier.spelling:
                self._state.spellings[verifier.spelling] += 1
        if self._state.is_replay(assertion) and not self._faults.replay_accepted:
            raise TokenDenied("invalid_grant", "assertion_replayed", "The assertion was used before")
        return self._state.open(client, by_assertion=True)

    # --- how it is said ---

    def _login_reply(self, issued: Issued) -> dict[str, Any]:
        envelope: dict[str, Any] = {"s": "ok", "d": {"access_token": issued.access_token, **self._expiration(issued)}}
        match self._settings.reply_style:
            case "enveloped":
                return envelope
            case "flat":
                return self._oauth_reply(issued)
            case "both":
                return envelope | self._oauth_reply(issued)

    def _expiration(self, issued: Issued) -> dict[str, Any]:
        until = int(issued.expires_at)
        match self._faults.expiration:
            case "float":
                return {"expiration": until + 0.5}
            case "string":
                return {"expiration": str(until)}
            case "past":
                return {"expiration": until - 10 * issued.access_lifetime}
            case "missing":
                return {}
            case "":
                return {"expiration": until}

    def _oauth_reply(self, issued: Issued) -> dict[str, Any]:
        lifetimes: dict[str, Any] = {"expires_in": issued.access_lifetime}
        match self._faults.expiration:
            case "float":
                lifetimes["expires_in"] = issued.access_lifetime + 0.5
            case "string":
                lifetimes["expires_in"] = str(issued.access_lifetime)
            case "past":
                lifetimes["expires_in"] = -1
            case "missing":
                lifetimes = {}
        return {
            "access_token": issued.access_token,
            **lifetimes,
            "token_type": "Bearer",
            "refresh_token": issued.refresh_token,
            "refresh_token_expires_in": issued.refresh_lifetime,
        }

    def _refusal(self, denied: TokenDenied) -> Answer:
        if self._settings.token_errors == "envelope":  # noqa: S105 - the name of a setting
            return 200, error(f"{denied.code}: {denied.description}")
        status = 401 if denied.error == "invalid_client" else 400
        return status, {"error": denied.error, "error_code": denied.code, "error_description": denied.description}
