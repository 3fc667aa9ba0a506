"""Assertions for the token URL: good ones, and such as no server may take. Pure but for the signer.

Written out by hand and not by the client's own maker, which makes good ones only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tradesession.secrets import Secret
from tradesession.tradingview.credentials import ServerOAuth2Bearer
from tradesession.tradingview.keys import thumbprint

_EXPIRED: Final = 3600
_ELSEWHERE: Final = "https://another-server.invalid/token"


class Assertions:
    """Makes them for one credential. Each differs from the ones before by its expiry."""

    def __init__(self, key: ServerOAuth2Bearer) -> None:
        self._key = key
        self._used: set[int] = set()

    def good(self, wall: float) -> Secret:
        """One that is valid from now on."""
        return self._sign({}, wall)

    def bad(self, wall: float) -> Iterator[tuple[str, Secret]]:
        """Those that no server may take, each with what is wrong with it."""
        yield "expired an hour ago", self._sign({"exp": int(wall) - _EXPIRED}, wall)
        yield "for another audience", self._sign({"aud": _ELSEWHERE}, wall)
        header, claims, signature = self._sign({}, wall).reveal().split(".")
        raw = bytearray(_unbase64url(signature))
        raw[len(raw) // 2] ^= 1
        yield "with a broken signature", Secret(f"{header}.{claims}.{_base64url(bytes(raw))}")
        unsigned = _base64url(json.dumps({"alg": "none"}).encode())
        yield "with the algorithm none", Secret(f"{unsigned}.{claims}.")

    def form(self, assertion: Secret) -> dict[str, str | Secret]:
        """The form that presents it."""
        return {"grant_type": self._key.variant.grant_type, "assertion": assertion, **self.client()}

    def client(self) -> dict[str, str | Secret]:
        """Who asks."""
        return {"client_id": self._key.client_id, "client_secret": Secret(self._key.client_secret)}

    def _sign(self, changes: Mapping[str, Any], wall: float) -> Secret:
        key = self._key
        header = {"alg": "RS256", "typ": "JWT", "x5t": thumbprint(key.certificate, key.variant.x5t)}
        expires = int(wall + key.lifetime)
        while expires in self._used:  # no two alike, however quickly they are made: a server may take the second for a replay
            expires -= 1
        if expires < wall + key.lifetime / 2:  # and none that is over before it arrives
            expires = max(self._used) + 1
        self._used.add(expires)
        claims = {"iss": key.client_id, "sub": key.user_id, "aud": key.audience, "exp": expires, "spurl": key.app_url, **changes}
        signed = f"{_base64url(json.dumps(header).encode())}.{_base64url(json.dumps(claims).encode())}"
        return Secret(f"{signed}.{_base64url(key.signer.sign(signed.encode()))}")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
