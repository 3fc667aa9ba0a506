"""A certificate authority that lives as long as its sandbox: made in memory at start, gone at the end.

May write two files into the directory it is given: the authority's certificate, which clients trust, and for a moment the
server's private key, encrypted, because the ssl module reads keys from files only. The authority's own key never leaves memory.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import secrets
import ssl
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Flaw = Literal["host", "authority", "expired"]
"""What is wrong with a certificate that a client must refuse: another host's, another authority's, or out of date."""

_DAY: Final = dt.timedelta(days=1)
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class Authority:
    """Signs certificates for loopback; `ca_file` is what a client trusts. Made on the real wall clock: OpenSSL knows no other."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _sign_authority(self._key)
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self.ca_file.chmod(0o644)

    def server_context(self, flaw: Flaw | None = None) -> ssl.SSLContext:
        """A TLS context for a server on loopback; with a `flaw`, one that no careful client accepts."""
        key = ec.generate_private_key(ec.SECP256R1())
        signer = ec.generate_private_key(ec.SECP256R1()) if flaw == "authority" else self._key
        issuer = _sign_authority(signer) if flaw == "authority" else self._certificate
        names = ("elsewhere.invalid",) if flaw == "host" else _LOOPBACK
        until = -_DAY if flaw == "expired" else 30 * _DAY
        certificate = _sign_server(key.public_key(), names, until, signer, issuer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context, key, certificate)
        return context

    def _load(self, context: ssl.SSLContext, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        password = secrets.token_bytes(32)
        path = self._directory / f"server-{secrets.token_hex(8)}.pem"
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(password)
        )
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(certificate.public_bytes(serialization.Encoding.PEM) + pem)
            context.load_cert_chain(path, password=password)
        finally:
            path.unlink(missing_ok=True)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, until: dt.timedelta) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _DAY)
        .not_valid_after(now + until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _sign_authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("tradesession sandbox authority")
    return (
        _builder(name, name, key.public_key(), 30 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _sign_server(
    key: ec.EllipticCurvePublicKey,
    names: tuple[str, ...],
    until: dt.timedelta,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate,
) -> x509.Certificate:
    return (
        _builder(_name("tradesession sandbox"), issuer.subject, key, until)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        # Python 3.13 verifies strictly and refuses a certificate that does not say which key signed it.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
