"""Clients and bearers: who may have a token, RS256-signed JWTs, and whether one is good. Facts: section 1.

Pure but for the key, which is made once in a process. Always holds: a token is good for the authority that issued it alone, from its issue
to its end on the sandbox's wall clock, unless it was revoked.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import random
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tradesession.clock import Clock
from tradesession.sandbox.signalr.core import Bearer

SCOPE: Final = "webapi"

_KEY_BITS: Final = 2048


class Refused(Exception):
    """A token request that gets none; `error` as in RFC 6749."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client of an organization."""

    id: str
    secret: str = field(repr=False)


class Identity:
    """The authority of one sandbox."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self._random = random.Random(f"{seed}:cplugin identity")
        self._clock = clock
        self._clients: dict[str, Client] = {}
        self._revoked: set[int] = set()
        self._first_good = 1
        self.issued = 0
        """How many tokens so far; each has its number."""
        self.issuers: list[str] = []
        """Its addresses, known when it listens."""

    def add_client(self) -> Client:
        """Another client."""
        client = Client(f"sandbox-{self._random.randbytes(6).hex()}", self.secret(24))
        self._clients[client.id] = client
        return client

    def secret(self, size: int) -> str:
        """Random text, the same for the same seed."""
        return base64.urlsafe_b64encode(self._random.randbytes(size)).decode().rstrip("=")

    def authenticate(self, client_id: str, client_secret: str) -> Client:
        """The client that this is. Raises Refused."""
        client = self._clients.get(client_id)
        if client is None or client.secret != client_secret:
            raise Refused("invalid_client", "The client is unknown, or its secret is wrong")
        return client

    def issue(self, client_id: str, life: float, issuer: str = "") -> str:
        """A token that lives that many seconds, rounded up to a whole one as `exp` travels; by default of the first issuer."""
        self.issued += 1
        now = self._clock.wall()
        header = {"alg": "RS256", "kid": _key_id(), "typ": "at+jwt"}
        claims = {
            "iss": issuer or self.issuers[0], "aud": SCOPE, "client_id": client_id, "scope": [SCOPE], "jti": f"{self.issued:032X}",
            "nbf": math.floor(now), "iat": math.floor(now), "exp": math.ceil(now + life),
        }  # fmt: skip
        text = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"
        signature = _key().sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_encode(signature)}"

    def check(self, token: str) -> Bearer | str:
        """The good bearer, or why it is none."""
        found = self._read(token)
        return found if isinstance(found, str) else found[1]

    def _read(self, token: str) -> tuple[int, Bearer] | str:
        """The number of a good token, and the bearer; or why it is none."""
        parts = token.split(".")
        if len(parts) != 3:
            return "not a JWT"
        try:
            header, claims, signature = json.loads(_decode(parts[0])), json.loads(_decode(parts[1])), _decode(parts[2])
            if header["alg"] != "RS256" or header["kid"] != _key_id():
                return "unknown key or algorithm"
            _key().public_key().verify(signature, f"{parts[0]}.{parts[1]}".encode(), padding.PKCS1v15(), hashes.SHA256())
            number, issuer, bearer = int(claims["jti"], 16), claims["iss"], Bearer(claims["client_id"], float(claims["exp"]))
        except InvalidSignature:
            return "bad signature"
        except (ValueError, KeyError, TypeError):
            return "malformed"
        if issuer not in self.issuers:
            return "another issuer"
        if number < self._first_good or number in self._revoked:
            return "revoked"
        return "expired" if self._clock.wall() >= bearer.expires_at else (number, bearer)

    def revoke(self, token: str) -> None:
        """This token is good no longer. ValueError for what is none of ours."""
        found = self._read(token)
        if isinstance(found, str):
            raise ValueError(f"the token is not good anyway: {found}")  # noqa: TRY004 - the reason, not a type
        self._revoked.add(found[0])

    def revoke_all(self) -> None:
        """No token issued so far is good any longer."""
        self._first_good = self.issued + 1

    def jwks(self) -> dict[str, Any]:
        """The public key, as RFC 7517 has it."""
        numbers = _key().public_key().public_numbers()
        return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": _key_id(), "n": _whole(numbers.n), "e": _whole(numbers.e)}]}


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    """Made when it is first needed, for that takes a tenth of a second; never leaves memory."""
    return rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)


@functools.cache
def _key_id() -> str:
    return hashlib.sha256(str(_key().public_key().public_numbers().n).encode()).hexdigest()[:32].upper()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _whole(number: int) -> str:
    return _encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))
