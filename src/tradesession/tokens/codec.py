"""How a Token becomes bytes for a store, and comes back.

Pure. The bytes of the plain codec are JSON and hold the secrets in the clear; `tokens.encryption` has a codec that seals them. Fields
that a later version added are passed by; a later format is refused, as guessing could cost the pair.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from tradesession.errors import StoreUnusable
from tradesession.secrets import Secret
from tradesession.tokens.token import Slot, Token

FORMAT = 1
"""Version of the plain format."""

SEALED = b"\x01"
"""What the bytes of every sealing codec begin with, and JSON never does."""

_SECRETS = ("access", "refresh")
_NUMBERS = ("issued_at", "expires_at", "refresh_expires_at")
_TEXTS = ("scope", "token_type")


class Codec(Protocol):
    """Token to bytes and back. `slot` and the generation may be bound into the bytes; they are not read from them."""

    def encode(self, slot: Slot, token: Token) -> bytes:
        """The bytes to keep."""

    def decode(self, slot: Slot, generation: int, payload: bytes) -> Token:
        """The Token of such bytes. Raises StoreUnusable when they are damaged, sealed with another key, or of a later format."""


class PlainCodec:
    """JSON, readable by whoever can read the store."""

    def encode(self, slot: Slot, token: Token) -> bytes:
        """See Codec."""
        fields: dict[str, Any] = {"format": FORMAT}
        for name in _SECRETS:
            secret: Secret | None = getattr(token, name)
            fields[name] = None if secret is None else secret.reveal()
        for name in (*_NUMBERS, *_TEXTS):
            fields[name] = getattr(token, name)
        return json.dumps({name: value for name, value in fields.items() if value is not None}, separators=(",", ":")).encode()

    def decode(self, slot: Slot, generation: int, payload: bytes) -> Token:
        """See Codec."""
        try:
            fields = json.loads(payload)
            version = fields["format"]
            if version == FORMAT:
                return _token(fields, generation)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise StoreUnusable(
                f"what the store holds for {slot} {_flaw(payload)}; nothing was changed"
            ) from None  # it could quote a secret
        flaw = f"has format {version!r}, and this version reads {FORMAT}: update tradesession"
        raise StoreUnusable(f"what the store holds for {slot} {flaw}; nothing was changed")


def _flaw(payload: bytes) -> str:
    if payload.startswith(SEALED):
        return "is encrypted, and no key was given: set TRADESESSION_STORE_KEY"
    return "is damaged: restore the store, or remove the token (`tradesession tokens remove`) and log in again"


PLAIN: Codec = PlainCodec()


def _token(fields: dict[str, Any], generation: int) -> Token:
    secrets = {name: Secret(fields[name]) for name in _SECRETS if fields.get(name) is not None}
    numbers = {name: float(fields[name]) for name in _NUMBERS if fields.get(name) is not None}
    texts = {name: str(fields[name]) for name in _TEXTS if fields.get(name) is not None}
    known: dict[str, Any] = {**secrets, **numbers, **texts}
    return Token(generation=generation, **known)
