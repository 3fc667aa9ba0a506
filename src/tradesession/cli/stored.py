"""Stored tokens as facts: for people, as JSON, and back from the JSON of a token endpoint or of an export.

Pure. A secret comes out of here only with `reveal`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from tradesession.cli.output import moment, span
from tradesession.errors import ConfigurationError
from tradesession.protocol.values import finite
from tradesession.secrets import MASK, Secret
from tradesession.tokens.renewal import Life
from tradesession.tokens.replies import text_field, token_from
from tradesession.tokens.store import StoredGrant
from tradesession.tokens.token import Slot, Token

_GENERATIONS: Final = 1 << 48
"""More rotations than any grant sees, and few enough that every store can go on counting."""


def as_json(slot: Slot, grant: StoredGrant, wall: float, *, reveal: bool = False) -> dict[str, Any]:
    """What is known of a stored token; times in seconds since 1970. Of a secret only its fingerprint, unless `reveal`."""
    token = grant.token
    return {
        "slot": slot.key,
        "platform": slot.platform,
        "client_id": slot.client,
        "subject": slot.subject,
        "level": slot.slot,
        "generation": token.generation,
        "state": _state(grant, wall),
        "grant": grant.status.value,
        **({"cause": grant.cause} if grant.cause else {}),
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
        "scope": token.scope,
        "access_token": _shown(token.access, reveal),
        "refresh_token": _shown(token.refresh, reveal),
        "access_fingerprint": token.access.fingerprint,
        "refresh_fingerprint": token.refresh.fingerprint if token.refresh else None,
    }


def as_facts(slot: Slot, grant: StoredGrant, wall: float, *, reveal: bool = False) -> dict[str, str]:
    """The same for a person."""
    token = grant.token
    facts = {
        "platform": slot.platform,
        "client id": slot.client,
        "subject": slot.subject,
        "generation": str(token.generation),
        "state": _state(grant, wall),
        "grant": grant.status.value + (f": {grant.cause}" if grant.cause else ""),
        "expires": expiry(token, wall),
        "access token": _named(token.access, reveal),
        "refresh token": _named(token.refresh, reveal),
    }
    return facts if token.scope is None else facts | {"scope": token.scope}


def expiry(token: Token, wall: float) -> str:
    """When the access token ends, and how far away that is."""
    left = token.remaining(wall)
    if left is None:
        return "not known"
    return f"{moment(token.expires_at)} (in {span(left)})" if left > 0 else f"{moment(token.expires_at)} ({span(-left)} ago)"


def exported(token: Token) -> dict[str, Any]:
    """The pair with everything that `imported` reads back."""
    return {
        "access_token": token.access.reveal(),
        "refresh_token": token.refresh.reveal() if token.refresh else None,
        "token_type": token.token_type,
        "scope": token.scope,
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
        "refresh_expires_at": token.refresh_expires_at,
        "generation": token.generation,
    }


def imported(text: bytes, wall: float) -> Token:
    """The token in what a token endpoint answered, in either spelling, or in an export.

    A life counts from `issued_at` where the text has it, else from `wall`; `expires_at` goes before it. A life of zero or less means
    that the token is over: it is renewed with its first use. Raises ConfigurationError, without quoting, for what holds no token.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ConfigurationError("standard input holds no JSON object; give the token endpoint's reply as it is, as in `… < reply.json`")
    issued_at = _number(fields, "issued_at", "issuedAt")
    token = token_from(fields, wall if issued_at is None else issued_at)
    if token is None:
        code = text_field(fields, "errorCode", "error_code", "error")
        said = f" but an error ({code[:60]})" if code else ""
        raise ConfigurationError(f"the reply holds no access token{said}; give the reply of a token endpoint that was successful")
    expires_at = _number(fields, "expires_at", "expiresAt")
    life = _number(fields, "expires_in", "expiresIn")
    if expires_at is None and life is not None and life <= 0:
        expires_at = token.issued_at
    refresh_expires_at = _number(fields, "refresh_expires_at", "refreshExpiresAt")
    return replace(
        token,
        expires_at=token.expires_at if expires_at is None else expires_at,
        refresh_expires_at=token.refresh_expires_at if refresh_expires_at is None else refresh_expires_at,
        generation=_generation(fields),
    )


def _generation(fields: dict[str, Any]) -> int:
    number = _number(fields, "generation") or 0.0
    if not 0 <= number < _GENERATIONS:
        raise ConfigurationError(f"generation={number:g} counts no rotations; leave the generation out to have it numbered by the store")
    return int(number)


def _state(grant: StoredGrant, wall: float) -> str:
    return Life.of(grant.token, now=0.0, wall=wall, age=grant.age).state(0.0).value


def _shown(secret: Secret | None, reveal: bool) -> str | None:
    if secret is None:
        return None
    return secret.reveal() if reveal else MASK


def _named(secret: Secret | None, reveal: bool) -> str:
    if not secret:
        return "none"
    return secret.reveal() if reveal else f"{MASK} (fingerprint {secret.fingerprint})"


def _number(fields: dict[str, Any], *names: str) -> float | None:
    numbers = (finite(fields.get(name)) for name in names)
    return next((number for number in numbers if number is not None), None)
