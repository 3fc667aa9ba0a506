"""TLS contexts, and the rule about doing without: verified by default, plaintext to loopback only and only when asked for."""

from __future__ import annotations

import ipaddress
import os
import ssl

from tradesession.errors import CertificateRefused, ConfigurationError


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its very spelling: `localhost`, 127.0.0.0/8 or ::1. No name is looked up."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def tls_context(
    *,
    host: str,
    ca_file: str | os.PathLike[str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    plaintext: bool = False,
) -> ssl.SSLContext | None:
    """The context to connect to `host` with; None for plaintext.

    Without `ca_file` and `ssl_context` the system's authorities are trusted. Raises ConfigurationError for plaintext to anywhere but
    loopback, for options that exclude each other, and for a file that holds no certificate.
    """
    if plaintext:
        if ca_file is not None or ssl_context is not None:
            raise ConfigurationError("plaintext=True goes with neither ca_file nor ssl_context; leave one of them out")
        if not is_loopback(host):
            raise ConfigurationError(f"plaintext to {host!r} is refused: tokens would travel in the clear; plaintext is for loopback only")
        return None
    if ssl_context is not None:
        if ca_file is not None:
            raise ConfigurationError("give ca_file or ssl_context, not both: the context already says what it trusts")
        return ssl_context
    if ca_file is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=os.fspath(ca_file))
    except FileNotFoundError:
        raise ConfigurationError(f"ca_file={os.fspath(ca_file)!r} does not exist") from None
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise ConfigurationError(f"ca_file={os.fspath(ca_file)!r} cannot be used ({reason}); it must hold PEM certificates") from None


def certificate_refused(error: ssl.SSLCertVerificationError, host: str, port: int) -> CertificateRefused:
    """What to tell a person about a certificate that did not verify."""
    return CertificateRefused(
        f"the certificate of {host}:{port} is not trusted ({error.verify_message}): "
        "check the host name, or name the authority that issued it with ca_file"
    )
