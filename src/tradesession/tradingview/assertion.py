"""The assertion of ServerOAuth2Bearer: a JWT that says who we are, signed with our certificate's key (RFC 7523, by TradingView's rules).

Claims are iss, sub, exp, aud and spurl, as documented, and jti, since two assertions of one second would be equal otherwise, letter by
letter, and the second one a replay for a strict server. Always holds: no assertion is made twice; `aud` is what the configuration says.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tradesession import policy
from tradesession.extras import missing
from tradesession.secrets import Secret
from tradesession.tradingview.keys import Signer, X5t, ends_at, thumbprint

if TYPE_CHECKING:
    from jwt import PyJWS

_log = logging.getLogger("tradesession.tradingview")

ALGORITHM: Final = "RS256"
"""The only one that TradingView's documents allow."""


class Assertions:
    """Makes assertions for one credential; `lifetime` is in seconds.

    `new_id` makes each jti. Without one there is none, and assertions of one maker differ by their seconds of expiry.
    """

    def __init__(
        self,
        signer: Signer,
        certificate: bytes,
        *,
        issuer: str,
        subject: str,
        audience: str,
        app_url: str,
        x5t: X5t = X5t.BASE64URL,
        lifetime: float = policy.TRADINGVIEW_ASSERTION_LIFETIME,
        new_id: Callable[[], str] | None = lambda: secrets.token_hex(16),
    ) -> None:
        self._jws = _jws(signer)
        self._header = {"x5t": thumbprint(certificate, x5t)}
        self._claims = {"iss": issuer, "sub": subject, "aud": audience, "spurl": app_url}
        self._lifetime = lifetime
        self._new_id = new_id
        self._expires = 0
        self._ends_at = ends_at(certificate)
        self._has_warned = False

    def __call__(self, wall: float) -> Secret:
        """A fresh one, made at `wall` (seconds since 1970). Raises what the signer raises."""
        self._warn(wall)
        expires, claims = int(wall + self._lifetime), self._claims
        if self._new_id is None:
            expires = self._expires = max(expires, self._expires + 1)
        else:
            claims = claims | {"jti": self._new_id()}
        payload = json.dumps(claims | {"exp": expires}, separators=(",", ":")).encode()
        return Secret(self._jws.encode(payload, None, ALGORITHM, self._header))  # type: ignore[arg-type]  # the key is the algorithm's own

    def _warn(self, wall: float) -> None:
        if self._ends_at is not None and not self._has_warned and wall > self._ends_at - policy.TRADINGVIEW_CERTIFICATE_WARNING:
            self._has_warned = True
            days = (self._ends_at - wall) / 86400
            _log.warning("the certificate of client %s ends in %.0f days: have another one registered", self._claims["iss"], days)


def _jws(signer: Signer) -> PyJWS:
    """PyJWT's writer of signed texts, with the signer in place of its RS256."""
    try:
        from jwt import PyJWS
        from jwt.algorithms import Algorithm
    except ImportError as error:
        raise missing("ServerOAuth2Bearer", "tradingview", "jwt", error) from error

    class Delegated(Algorithm):
        def prepare_key(self, key: Any) -> Any:
            return key

        def sign(self, msg: bytes, key: Any) -> bytes:
            return signer.sign(msg)

        def verify(self, msg: bytes, key: Any, sig: bytes) -> bool:
            raise AssertionError("it only signs")

        @staticmethod
        def to_jwk(key_obj: Any, as_dict: bool = False) -> Any:
            raise AssertionError("it has no JWK")

        @staticmethod
        def from_jwk(jwk: Any) -> Any:
            raise AssertionError("it has no JWK")

    jws = PyJWS(algorithms=[])
    if ALGORITHM in jws.get_algorithms():
        jws.unregister_algorithm(ALGORITHM)
    jws.register_algorithm(ALGORITHM, Delegated())
    return jws
