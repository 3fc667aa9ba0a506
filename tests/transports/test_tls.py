"""TLS contexts: verified by default, plaintext to loopback only and only when asked for."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tradesession.errors import ConfigurationError
from tradesession.transports.tls import is_loopback, tls_context


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "localhost.", "127.0.0.1", "127.255.3.4", "::1", "[::1]"])
def test_hosts_that_are_this_machine_by_their_spelling(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "example.com", "localhost.example.com", "127.0.0.1.example.com", "0.0.0.0", "10.0.0.1", "::", "127.1", "xlocalhost"]
)
def test_hosts_that_are_not(host: str) -> None:
    assert not is_loopback(host)


def test_the_default_verifies_certificate_and_host_name_against_the_systems_authorities() -> None:
    context = tls_context(host="example.com")
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_ca_file_is_trusted_and_nothing_else(ca_file: Path) -> None:
    for path in (ca_file, str(ca_file)):
        context = tls_context(host="example.com", ca_file=path)
        assert context is not None
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        (authority,) = context.get_ca_certs()
        assert authority["subject"] == ((("commonName", "tradesession sandbox authority"),),)


def test_a_context_of_the_callers_own_is_taken_as_it_is() -> None:
    context = ssl.create_default_context()
    assert tls_context(host="example.com", ssl_context=context) is context


def test_plaintext_is_for_loopback() -> None:
    assert tls_context(host="127.0.0.1", plaintext=True) is None
    with pytest.raises(ConfigurationError, match=r"plaintext to 'example.com' is refused"):
        tls_context(host="example.com", plaintext=True)


def test_options_that_exclude_each_other_are_refused(ca_file: Path) -> None:
    context = ssl.create_default_context()
    with pytest.raises(ConfigurationError, match="give ca_file or ssl_context"):
        tls_context(host="h", ca_file=ca_file, ssl_context=context)
    with pytest.raises(ConfigurationError, match="plaintext=True goes with neither"):
        tls_context(host="localhost", ca_file=ca_file, plaintext=True)
    with pytest.raises(ConfigurationError, match="plaintext=True goes with neither"):
        tls_context(host="localhost", ssl_context=context, plaintext=True)


def test_a_ca_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"ca_file='/nowhere/ca.pem' does not exist"):
        tls_context(host="h", ca_file="/nowhere/ca.pem")


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_ca_file_without_a_certificate_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"ca\.pem' cannot be used .*it must hold PEM certificates"):
        tls_context(host="h", ca_file=path)


def test_a_directory_is_no_ca_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        tls_context(host="h", ca_file=tmp_path)
