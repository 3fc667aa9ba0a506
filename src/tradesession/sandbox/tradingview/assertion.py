"""The verifier of ServerOAuth2Bearer assertions, and the keys that they are signed with.

Pure but for the making of keys. Shares no code with the client, which signs by PyJWT: this reads the compact form by itself and verifies by
`cryptography` alone. Always holds: the algorithm and the key come from configuration and never from the assertion (RFC 8725, 3.1), and
every reason of a refusal has a code of its own, tried in the order of the fact sheet, section A2.3.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from tradesession.sandbox.tradingview.state import Credential, TokenDenied

SPELLINGS: Final = ("base64url", "padded", "hex", "hex-in-base64url")
"""How the thumbprint of a certificate is written in `x5t` (section A2.3): RFC 7515's way, with padding, in hexadecimal, or both at once."""

_STRICT: Final = {"any": frozenset(SPELLINGS), "strict": frozenset({"base64url"}), "hex": frozenset({"hex"})}
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")
_KEY_BITS: Final = 2048


def make_key(common_name: str, bits: int = _KEY_BITS) -> tuple[bytes, x509.Certificate]:
    """A private key in PEM, and a certificate for it, signed by itself."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=bits)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = dt.datetime.now(dt.UTC)  # the real time: OpenSSL knows no other
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, certificate


def spellings(der: bytes) -> dict[str, str]:
    """The four ways in which the thumbprint of a certificate is written."""
    digest = hashlib.sha1(der, usedforsecurity=False).digest()
    return {
        "base64url": _base64url(digest),
        "padded": base64.urlsafe_b64encode(digest).decode(),
        "hex": digest.hex(),
        "hex-in-base64url": _base64url(digest.hex().encode()),
    }


class Verifier:
    """Verifies the assertions that arrive at one token endpoint. `spelling` is set when a thumbprint was understood."""

    def __init__(self, credentials: Iterable[Credential], *, audience: str, now: float, longest: float, x5t: str) -> None:
        self._credentials = list(credentials)
        self._audience = audience
        self._now = now
        self._longest = longest
        self._accepted = _STRICT[x5t]
        self.spelling = ""

    def verify(self, assertion: str, client: Credential) -> None:
        """TokenDenied unless the assertion is the client's, is for us, and holds now."""
        header, claims, signed, signature = _parts(assertion)
        if header.get("alg") != "RS256":
            raise _denied("algorithm_not_allowed", "alg is RS256 and nothing else")
        certificate = self._certificate(header.get("x5t"))
        try:
            _public_key(certificate.certificate).verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise _denied("signature_wrong", "The signature is not that of the certificate's key") from None
        self._check_claims(claims, client)
        if certificate is not client:
            raise _denied("certificate_of_another_client", "The certificate is another client's")

    def _certificate(self, x5t: object) -> Credential:
        if not isinstance(x5t, str) or not x5t:
            raise _denied("x5t_missing", "The header has no x5t")
        spelling = _spelling(x5t)
        if spelling is None:
            raise _denied("x5t_spelling", "x5t is no SHA-1 thumbprint in any known spelling")
        self.spelling = spelling
        if spelling not in self._accepted:
            raise _denied("x5t_spelling_refused", f"x5t is spelled {spelling}; this server takes {' or '.join(sorted(self._accepted))}")
        wanted = x5t.lower() if spelling == "hex" else x5t
        for credential in self._credentials:
            if credential.certificate and _matches(spellings(credential.certificate)[spelling], wanted):
                return credential
        raise _denied("certificate_unknown", "No registered certificate has this thumbprint")

    def _check_claims(self, claims: dict[str, Any], client: Credential) -> None:
        if claims.get("iss") != client.client_id:
            raise _denied("issuer_wrong", "iss is not the client id")
        if claims.get("sub") != client.user_id:
            raise _denied("subject_wrong", "sub is not the user id")
        if claims.get("aud") != self._audience:
            raise _denied("audience_wrong", "aud is not the address of this token endpoint")
        expires = claims.get("exp")
        if type(expires) is not int:
            raise _denied("expiry_not_an_integer", "exp is missing or is no whole number of seconds")
        if expires <= self._now:
            raise _denied("assertion_expired", "The assertion has expired")
        if expires > self._now + self._longest:
            raise _denied("assertion_lives_too_long", f"exp is more than {self._longest:g} seconds ahead")
        if claims.get("spurl") != client.app_url:
            raise _denied("application_wrong", "spurl is not the address of the application")


def _parts(assertion: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    signed, _, signature = assertion.rpartition(".")
    header, _, claims = signed.partition(".")
    try:
        decoded = json.loads(_unbase64url(header)), json.loads(_unbase64url(claims))
        raw = _unbase64url(signature)
    except (ValueError, RecursionError):
        raise _denied("assertion_malformed", "The assertion is no JSON Web Token") from None
    if not all(isinstance(part, dict) for part in decoded):
        raise _denied("assertion_malformed", "The assertion is no JSON Web Token")
    return *decoded, signed.encode(), raw


def _spelling(x5t: str) -> str | None:
    if re.fullmatch(r"[0-9A-Fa-f]{40}", x5t):
        return "hex"
    if re.fullmatch(r"[A-Za-z0-9_-]{27}", x5t):
        return "base64url"
    if re.fullmatch(r"[A-Za-z0-9_-]{27}=", x5t):
        return "padded"
    if re.fullmatch(r"[A-Za-z0-9_-]{54}", x5t):
        return "hex-in-base64url"
    return None


def _matches(known: str, given: str) -> bool:
    if len(known) == 54:  # the letters within may be upper case
        return _unbase64url(known).lower() == _unbase64url(given).lower()
    return known == given


def _public_key(der: bytes) -> rsa.RSAPublicKey:
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    return key


def _denied(code: str, description: str) -> TokenDenied:
    return TokenDenied("invalid_grant", code, description)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64url(text: str) -> bytes:
    if not _BASE64URL.fullmatch(text):
        raise ValueError("no base64url")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("no base64url") from error
