"""The key that signs assertions, the certificate that names it, and the spellings of its thumbprint.

Reads files and asks no network. Needs the extra `tradingview` (cryptography) only where a key file is read. Always holds: a key shows in no
repr, and no file's content in an error.
"""

from __future__ import annotations

import base64
import datetime as dt
import enum
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from tradesession import policy
from tradesession.errors import ConfigurationError
from tradesession.extras import missing
from tradesession.secrets import Secret

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_PEM: Final = b"-----BEGIN "

PathLike = str | os.PathLike[str]


class X5t(enum.Enum):
    """How the certificate's SHA-1 thumbprint is spelt in the assertion's `x5t` header. Servers disagree; each compares letter by letter."""

    BASE64URL = "base64url"
    """RFC 7515, 4.1.7: 27 characters."""
    BASE64URL_PADDED = "base64url-padded"
    """The same with its `=`, as Microsoft's libraries send it: 28 characters."""
    HEX = "hex"
    """The fingerprint as text, in upper case as .NET writes it: 40 characters. What Saxo's samples send."""
    HEX_LOWER = "hex-lower"
    """The same in lower case."""
    BASE64URL_OF_HEX = "base64url-of-hex"
    """Base64url of the lower-case text, a mistake that some servers insist on: 54 characters."""


class Signer(Protocol):
    """Who signs: a key from a file, or one that rests in a device or a service and never leaves it."""

    def sign(self, message: bytes) -> bytes:
        """The signature: RSASSA-PKCS1-v1_5 with SHA-256 over the message, as RS256 wants it (RFC 7518, 3.3).

        A signer of your own is called in a thread, so it may wait. Whatever it raises means that nothing was sent.
        """


class KeySigner:
    """A key in memory. Signing takes a millisecond with 2048 bits and five with 4096, so it is done where it is asked for."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """See Signer."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        return self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def __repr__(self) -> str:
        return f"<KeySigner {self._key.key_size} bits>"


def thumbprint(certificate: bytes, spelling: X5t = X5t.BASE64URL) -> str:
    """The SHA-1 of a certificate (DER), whatever the certificate itself is signed with, in this spelling."""
    digest = hashlib.sha1(certificate, usedforsecurity=False)
    if spelling is X5t.HEX:
        return digest.hexdigest().upper()
    if spelling is X5t.HEX_LOWER:
        return digest.hexdigest()
    raw = digest.hexdigest().encode("ascii") if spelling is X5t.BASE64URL_OF_HEX else digest.digest()
    text = base64.urlsafe_b64encode(raw).decode("ascii")
    return text if spelling is X5t.BASE64URL_PADDED else text.rstrip("=")


def read_key_files(
    key_file: PathLike, certificate_file: PathLike | None = None, passphrase: Secret | str | None = None
) -> tuple[KeySigner, bytes]:
    """The signer and the certificate (DER) of a PEM key and certificate in one file or two, or of one PKCS#12 file.

    Raises ConfigurationError for files that are not there or not that, a passphrase that does not fit, a key that is no RSA key of at
    least 2048 bits, and a certificate that is another key's.
    """
    _need_cryptography()
    content = _read("key_file", key_file)
    if content.startswith(_PEM) or _PEM in content:
        key, certificates = _from_pem(key_file, content, passphrase)
    else:
        key, certificates = _from_pkcs12(key_file, content, passphrase)
    if certificate_file is not None:
        certificates = _certificates(certificate_file, _read("certificate_file", certificate_file))
    from cryptography.hazmat.primitives.asymmetric import rsa

    where = f"key_file={os.fspath(key_file)!r}"
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigurationError(f"{where} holds no RSA key, and RS256 is the only algorithm that TradingView knows")
    if key.key_size < policy.TRADINGVIEW_KEY_BITS:
        raise ConfigurationError(f"{where} holds a key of {key.key_size} bits; RS256 wants {policy.TRADINGVIEW_KEY_BITS} or more")
    for certificate in certificates:
        if certificate.public_key() == key.public_key():
            return KeySigner(key), _der(certificate)
    if not certificates:
        raise ConfigurationError(f"{where} comes without a certificate; name its file as certificate_file")
    raise ConfigurationError(f"none of the {len(certificates)} certificates given is that of the key in {where}")


def read_certificate(certificate: bytes) -> bytes:
    """A certificate's DER, from PEM or DER. Raises ConfigurationError."""
    _need_cryptography()
    found = _certificates(None, certificate)
    return _der(found[0])


def ends_at(certificate: bytes) -> float | None:
    """When the certificate (DER) ends, in wall-clock seconds; None when it cannot be told here."""
    try:
        from cryptography import x509

        return x509.load_der_x509_certificate(certificate).not_valid_after_utc.replace(tzinfo=dt.UTC).timestamp()
    except (ImportError, ValueError):
        return None


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401 - whether it is there
    except ImportError as error:
        raise missing("ServerOAuth2Bearer", "tradingview", "cryptography", error) from error


def _read(option: str, path: PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{option}={os.fspath(path)!r} cannot be read ({error.strerror or type(error).__name__})") from None


def _from_pem(path: PathLike, content: bytes, passphrase: Secret | str | None) -> tuple[object, list[x509.Certificate]]:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    where = f"key_file={os.fspath(path)!r}"
    try:
        key = load_pem_private_key(content, _password(passphrase) if b"ENCRYPTED" in content else None)
    except TypeError:
        raise ConfigurationError(f"the key in {where} is encrypted; give its passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{where} holds no private key that can be read, or the passphrase is wrong") from None
    return key, x509.load_pem_x509_certificates(content) if b"BEGIN CERTIFICATE" in content else []


def _from_pkcs12(path: PathLike, content: bytes, passphrase: Secret | str | None) -> tuple[object, list[x509.Certificate]]:
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

    try:
        key, own, others = load_key_and_certificates(content, _password(passphrase))
    except ValueError:
        raise ConfigurationError(
            f"key_file={os.fspath(path)!r} is neither PEM nor PKCS#12, or the passphrase is wrong or missing"
        ) from None
    return key, [*([own] if own is not None else []), *others]


def _certificates(path: PathLike | None, content: bytes) -> list[x509.Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(content) if _PEM in content else [x509.load_der_x509_certificate(content)]
    except ValueError:
        where = f"certificate_file={os.fspath(path)!r}" if path is not None else "the certificate"
        raise ConfigurationError(f"{where} holds no certificate, neither PEM nor DER") from None


def _der(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def _password(passphrase: Secret | str | None) -> bytes | None:
    return Secret(passphrase).reveal().encode() if passphrase else None
