"""B2Core's two levels of tokens: what is asked for on the way to each, and what the answers mean.

Pure. The first level is a B2Core user's bearer, by a sign-in wizard of several steps; the second is the pair of one trading platform under
it. Shapes are of the public documents (fact sheet, B1 and B2) and, where these show none, of other people's clients; they are read with
much tolerance, and a token that is there is taken whatever stands around it. No text of the server reaches an exception before every
secret of the request has been masked in it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

from tradesession.b2core.errors import CaptchaRequired, CodeRefused, PasswordResetRequired, SignInRefused
from tradesession.b2core.lifetimes import lifetime, seconds_field, stated_life
from tradesession.errors import ReauthorizationRequired, TokenEndpointUnreachable, TokenError, TokenRefused
from tradesession.protocol.http import HttpReply, HttpRequest, Pairs
from tradesession.protocol.values import finite
from tradesession.secrets import Secret
from tradesession.tokens.replies import Asked, Blame, GrantKind, Meaning, refusal, text_field, unanswered
from tradesession.tokens.token import Token

CodeMethod: TypeAlias = Literal["google", "sms", "email"]
"""Where a two-factor code comes from: an authenticator application, a text message, a mail."""

CODE_METHODS: Final[tuple[CodeMethod, ...]] = ("google", "sms", "email")

LOCKED_OUT: Final = 600.0
"""Seconds to leave the sign-in alone when it says that there were too many tries: the documented default of the block."""

SIGN_IN_PAUSE: Final = 20.0
"""Seconds before credentials are sent again after a sign-in without an answer: the documented default allows five tries a minute."""

_NEVER_DONE: Final = frozenset({408, 425, 429, 503})


def device_fingerprint(device: Mapping[str, object]) -> str:
    """What B2Core calls a device fingerprint: Base64 of free JSON that has a `user_agent`. The same for the sign-in and its refreshes."""
    return base64.b64encode(json.dumps(device, separators=(",", ":"), sort_keys=True).encode()).decode("ascii")


@dataclass(frozen=True, slots=True)
class B2Core:
    """The addresses of one broker's B2Core, and the requests that go there."""

    base_url: str

    def wizard(self) -> HttpRequest:
        """The beginning of a sign-in."""
        return self._request("GET", "/signin/wizard")

    def sign_in(self, uuid: str, email: str, password: Secret, fingerprint: str) -> HttpRequest:
        """The credentials, in the wizard's step of that uuid."""
        body = {"uuid": uuid, "email": email, "password": password.reveal(), "device_fingerprint": fingerprint}
        return self._request("POST", "/signin", body)

    def choose(self, uuid: str, method: CodeMethod) -> HttpRequest:
        """Which second factor, where the user has several."""
        return self._request("POST", "/signin/2fa", {"uuid": uuid, "type": method})

    def code(self, uuid: str, method: CodeMethod, code: Secret) -> HttpRequest:
        """The code of the second factor."""
        return self._request("POST", f"/2fa/{method}", {"uuid": uuid, "code": code.reveal()})

    def refresh(self, refresh: Secret, fingerprint: str) -> HttpRequest:
        """Another bearer for a refresh token. Written in camelCase, unlike the sign-in."""
        return self._request("POST", "/refresh", {"refreshToken": refresh.reveal(), "deviceFingerprint": fingerprint})

    def platform_auth(self, platform_id: str, bearer: Token, geo: Pairs) -> HttpRequest:
        """A first pair of the platform, for the bearer's user."""
        return self._request("POST", f"/platforms/{quote(platform_id, safe='')}/auth", bearer=bearer, headers=geo)

    def platform_refresh(self, platform_id: str, bearer: Token, refresh: Secret) -> HttpRequest:
        """Another pair of the platform; takes the bearer as well."""
        return self._request("POST", f"/platforms/{quote(platform_id, safe='')}/refresh", {"refreshToken": refresh.reveal()}, bearer)

    def _request(
        self, method: str, path: str, body: Mapping[str, str] | None = None, bearer: Token | None = None, headers: Pairs = ()
    ) -> HttpRequest:
        own: list[tuple[str, str | Secret]] = [("Accept", "application/json"), *headers]
        if body is not None:
            own.append(("Content-Type", "application/json"))
        if bearer is not None:
            own.append(("Authorization", Secret(bearer.authorization())))
        sent = Secret(json.dumps(body)) if body is not None else None
        return HttpRequest(method=method, url=f"{self.base_url}/api/v2/my{path}", body=sent, headers=tuple(own))


@dataclass(frozen=True, slots=True)
class _PlatformAsked(Asked):
    """What was asked of a platform, in words."""

    def __str__(self) -> str:
        return f"the platform's token at {self.endpoint}"


# --- the sign-in ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Obtained:
    """A token; `notes` are the stable codes of what was odd about its life."""

    token: Token
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChooseMethod:
    """The user has several second factors, and one has to be chosen."""

    uuid: str
    methods: tuple[CodeMethod, ...]


@dataclass(frozen=True, slots=True)
class CodeWanted:
    """The code of this second factor is wanted."""

    uuid: str
    method: CodeMethod


Step: TypeAlias = Obtained | ChooseMethod | CodeWanted


def asked(request: HttpRequest, kind: GrantKind, *secrets: Secret | None) -> Asked:
    """The question that was put, with the secrets that no text of the server may show."""
    return Asked(kind, str(request).partition(" ")[2], (*(secret for secret in secrets if secret), *request.secrets))


def asked_platform(request: HttpRequest, *secrets: Secret | None) -> Asked:
    """The same for a platform's pair, which can always be asked for anew."""
    return _PlatformAsked(
        GrantKind.JWT_BEARER, str(request).partition(" ")[2], (*(secret for secret in secrets if secret), *request.secrets)
    )


_WIZARD_MEANINGS: Final = {
    "http 403": Meaning(Blame.CONFIGURATION, "check base_url, and whether the broker lets this machine in"),
    "http 404": Meaning(Blame.CONFIGURATION, "check base_url: it is the address of the broker's B2Core"),
}


def read_wizard(reply: HttpReply, of: Asked) -> str | TokenError:
    """The uuid of a sign-in that has begun.

    `code` and `done` say nothing here: editions of the documents differ about them. With reCAPTCHA on, CaptchaRequired.
    """
    fields = reply.json_object() or {}
    if _recaptcha(fields):
        return CaptchaRequired(
            f"{of} wants a reCAPTCHA, which no program can solve; nothing was sent. Sign in with a browser and give its bearer as "
            "access_token, or have the broker turn it off",
            code="recaptcha",
        )
    uuid = text_field(fields, "uuid")
    if reply.is_success and uuid:
        return uuid
    return _by_status(of, reply, fields, _WIZARD_MEANINGS)


def read_step(reply: HttpReply, of: Asked, uuid: str, *, chosen: CodeMethod | None = None, after_code: bool = False) -> Step | TokenError:
    """What comes after credentials, a choice or a code: the bearer, or another step. `uuid` is the one so far.

    After a second factor was `chosen` its code is next, by whatever name: no document says what that step is called.

    Any 4xx that does not merely ask to wait is a refusal of what was sent, for good. `code` in the body is 200 for a step and 202 for the
    end, and counts for nothing beside the token itself.
    """
    fields = reply.json_object() or {}
    data = _object(fields, "data")
    if reply.is_success and (token := _token(data or fields, reply)) is not None:
        return token
    workflow = _word(text_field(fields, "workflow"))
    if reply.is_success and not fields:
        return _unread(reply, of)
    if reply.is_success and not fields.get("error") and (workflow or not error_text(fields)):
        may_go_on = finite(fields.get("code")) in (None, 200.0, 202.0)
        return _next_step(reply, of, text_field(fields, "uuid") or uuid, workflow, data, chosen if may_go_on else None)
    if reply.status in _NEVER_DONE:
        return _wait(reply, of)
    if 400 <= reply.status < 500 or reply.is_success:
        if "captcha" in workflow or _recaptcha(fields):
            return CaptchaRequired(f"{of} wants a reCAPTCHA, which no program can solve: sign in with a browser", code="recaptcha")
        if _is_reset(workflow):
            return _reset(of)
        kind = CodeRefused if after_code else SignInRefused
        what = "the code" if after_code else "the email or the password"
        remedy = f"{what} is not sent again by itself, as a few refusals lock the user out: correct it, and start anew"
        return kind(
            f"{of} was refused with {_said(reply, of, fields)}: {remedy}",
            code=f"HTTP {reply.status}",
            description=of.quoted(error_text(fields)),
        )
    error = refusal(of, reply, "", error_text(fields))
    if isinstance(error, TokenEndpointUnreachable) and error.retry_after is None:
        error.retry_after = SIGN_IN_PAUSE
    return error


def read_refresh(reply: HttpReply, of: Asked) -> Obtained | TokenError:
    """Another bearer. A refresh token that is null means that the old one stays. A refusal is ReauthorizationRequired."""
    fields = reply.json_object() or {}
    if reply.is_success and (token := _token(_object(fields, "data") or fields, reply)) is not None:
        return token
    is_said_no = 400 <= reply.status < 500 and reply.status not in _NEVER_DONE
    if not is_said_no and not (reply.is_success and error_text(fields)):
        return refusal(of, reply, "", "")
    return ReauthorizationRequired(f"{of} was refused with {_said(reply, of, fields)}: sign in again")


def _next_step(
    reply: HttpReply, of: Asked, uuid: str, workflow: str, data: Mapping[str, object], chosen: CodeMethod | None
) -> Step | TokenError:
    if "captcha" in workflow or _recaptcha({"data": data}):
        return CaptchaRequired(f"{of} wants a reCAPTCHA, which no program can solve: sign in with a browser", code="recaptcha")
    if _is_reset(workflow):
        return _reset(of)
    if chosen is not None:
        return CodeWanted(uuid, chosen)
    named = tuple(method for method in CODE_METHODS if method in workflow)
    if len(named) == 1:
        return CodeWanted(uuid, named[0])
    offered = named or _offered(data.get("tfaProviders"))
    if len(offered) == 1:
        return CodeWanted(uuid, offered[0])
    if offered or any(word in workflow for word in ("2fa", "tfa", "twofactor")):
        return ChooseMethod(uuid, offered or CODE_METHODS[:2])
    said = f"HTTP {reply.status}, workflow {of.quoted(workflow) or 'none'}, and no token"
    return SignInRefused(
        f"{of} ended with {said}: this step is not known here; sign in with a browser and give its bearer", code="workflow"
    )


def _offered(providers: object) -> tuple[CodeMethod, ...]:
    """The second factors of a list of names, or of objects that have one."""
    words = [_word(json.dumps(provider)) for provider in providers] if isinstance(providers, list) else []
    return tuple(method for method in CODE_METHODS if any(method in word for word in words))


def _token(data: Mapping[str, object], reply: HttpReply) -> Obtained | None:
    """The bearer of a sign-in or a refresh: objects with `token`, `createdAt` and `expiresAt`, or plain texts."""
    access, stated, is_odd = _part(data.get("accessToken"), reply)
    if not access:
        return None
    life = lifetime(reply, access, stated, is_odd=is_odd)
    refresh, refresh_life, _ = _part(data.get("refreshToken"), reply)
    return Obtained(
        Token(
            access=Secret(access),
            refresh=Secret(refresh) if refresh else None,
            issued_at=reply.sent_at,
            expires_at=_after(reply, life.seconds),
            refresh_expires_at=_after(reply, refresh_life if refresh_life is not None and refresh_life > 0 else None),
        ),
        life.notes,
    )


def _part(value: object, reply: HttpReply) -> tuple[str, float | None, bool]:
    if isinstance(value, str):
        return value, None, False
    if not isinstance(value, dict):
        return "", None, False
    return text_field(value, "token"), *stated_life(value, reply)


# --- the platform -----------------------------------------------------------------------------------------------------------------------

_NOT_SO: Final = Meaning(
    Blame.CONFIGURATION,
    "check platform_id, since only B2Trader platforms can be signed in to, and country_code and country_name, which some brokers want",
)

_PLATFORM_MEANINGS: Final[Mapping[str, Meaning]] = {
    "http 400": _NOT_SO,
    "http 401": Meaning(Blame.GRANT, "B2Core does not take its own bearer: sign in again"),
    "http 403": Meaning(Blame.CONFIGURATION, "this user may not use the platform: have it opened"),
    "http 404": Meaning(Blame.CONFIGURATION, "check platform_id and base_url: the user has no such platform"),
    "http 422": _NOT_SO,
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A platform's pair. `host` is what the reply says about the platform's address: to be compared, never to be trusted."""

    token: Token
    host: str = ""
    notes: tuple[str, ...] = ()


def read_pair(reply: HttpReply, of: Asked) -> Pair | TokenError:
    """The platform's pair. `ttl` counts for both tokens, in seconds, as text or number, beside the token's own expiry."""
    fields = reply.json_object() or {}
    fields = _object(fields, "data") or fields
    access = text_field(fields, "token")
    if reply.is_success and access:
        stated, is_odd = seconds_field(fields, "ttl")
        life = lifetime(reply, access, stated, is_odd=is_odd)
        refresh = text_field(fields, "refreshToken")
        header = text_field(fields, "header")
        token = Token(
            access=Secret(access),
            refresh=Secret(refresh) if refresh else None,
            issued_at=reply.sent_at,
            expires_at=_after(reply, life.seconds),
            refresh_expires_at=_after(reply, life.seconds) if refresh else None,
        )
        odd = ("header-unexpected",) if header and header.lower() != "authorization" else ()
        return Pair(token, text_field(fields, "host"), (*life.notes, *odd))
    if reply.is_success and not fields:
        return unanswered(of, reply.damage or f"HTTP {reply.status} without a JSON object")
    if reply.is_success:
        said = _said(reply, of, fields)
        return TokenRefused(f"{of} came without a token ({said}): check platform_id", code=f"HTTP {reply.status}")
    return _by_status(of, reply, fields, _PLATFORM_MEANINGS)


# --- common -----------------------------------------------------------------------------------------------------------------------------


def _after(reply: HttpReply, seconds: float | None) -> float | None:
    return None if seconds is None else reply.sent_at + seconds


def _object(fields: Mapping[str, Any], name: str) -> dict[str, object]:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _recaptcha(fields: Mapping[str, object]) -> bool:
    return _object(_object(fields, "data"), "recaptcha").get("enabled") is True


def _is_reset(workflow: str) -> bool:
    return "reset" in workflow or "restore" in workflow or "changepassword" in workflow


def _reset(of: Asked) -> PasswordResetRequired:
    return PasswordResetRequired(
        f"{of} wants a new password: the broker has asked this user to reset it; do so on the sign-in page, and configure the new one",
        code="password-reset",
    )


def _by_status(of: Asked, reply: HttpReply, fields: Mapping[str, object], meanings: Mapping[str, Meaning]) -> TokenError:
    """The refusal that this status is, by our own words for it where there are some."""
    code = f"HTTP {reply.status}"
    return refusal(of, reply, code if code.lower() in meanings else "", error_text(fields), meanings)


def error_text(fields: Mapping[str, object]) -> str:
    """What the server says went wrong, in either of its shapes: {error: {message, details: [{issue}]}}, or {message}."""
    error = fields.get("error")
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return text_field(fields, "message")
    details = error.get("details")
    issues = [text_field(detail, "issue") for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    parts = dict.fromkeys(part for part in (text_field(error, "message"), *issues) if part)  # an issue may be the message once more
    return "; ".join(parts) or "an error without a text"


def _said(reply: HttpReply, of: Asked, fields: Mapping[str, object]) -> str:
    text = error_text(fields)
    return f"HTTP {reply.status}" + (f" ({of.quoted(text)})" if text else "")


def _unread(reply: HttpReply, of: Asked) -> TokenError:
    """An answer that is none: the sign-in may have succeeded or not, and can be tried again, but not soon."""
    said = reply.damage or f"HTTP {reply.status} without a JSON object"
    return TokenEndpointUnreachable(f"{of} got no usable answer ({said}); it can be tried again", retry_after=SIGN_IN_PAUSE)


def _wait(reply: HttpReply, of: Asked) -> TokenError:
    """Too many tries, or not now. Nothing says that the credentials are wrong, so they may be sent again, but not soon."""
    waits = reply.retry_after(3 * LOCKED_OUT)
    seconds = waits if waits is not None else LOCKED_OUT if reply.status == 429 else SIGN_IN_PAUSE
    why = "there were too many tries" if reply.status == 429 else "not now"
    return TokenEndpointUnreachable(
        f"{of} is not possible ({why}, HTTP {reply.status}): it is left alone for {seconds:.0f} s", retry_after=seconds
    )
