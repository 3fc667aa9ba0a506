"""Keys and certificates from every kind of file, and the thumbprint in every spelling, compared with openssl's."""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tradingview import certificates
from tests.tradingview.certificates import PASSPHRASE, KeyFiles, openssl
from tradesession.errors import ConfigurationError
from tradesession.tradingview import X5t
from tradesession.tradingview.assertion import Assertions
from tradesession.tradingview.keys import ends_at, read_certificate, read_key_files, thumbprint


def digest_by_openssl(certificate: Path) -> bytes:
    der = openssl("x509", "-in", str(certificate), "-outform", "DER")
    return openssl("dgst", "-sha1", "-binary", stdin=der)


@pytest.mark.parametrize("bits", [2048, 4096])
@pytest.mark.parametrize(
    ("spelling", "length"),
    [
        (X5t.BASE64URL, 27),
        (X5t.BASE64URL_PADDED, 28),
        (X5t.HEX, 40),
        (X5t.HEX_LOWER, 40),
        (X5t.BASE64URL_OF_HEX, 54),
    ],
)
def test_each_spelling_of_the_thumbprint_is_the_one_that_openssl_computes(
    keys: dict[int, KeyFiles], bits: int, spelling: X5t, length: int
) -> None:
    digest = digest_by_openssl(keys[bits].certificate)
    fingerprint = openssl("x509", "-in", str(keys[bits].certificate), "-noout", "-fingerprint", "-sha1").decode()
    in_hex = fingerprint.strip().partition("=")[2].replace(":", "")
    padded = openssl("base64", "-A", stdin=digest).decode().replace("+", "-").replace("/", "_")
    expected = {
        X5t.BASE64URL: padded.rstrip("="),
        X5t.BASE64URL_PADDED: padded,
        X5t.HEX: in_hex,
        X5t.HEX_LOWER: in_hex.lower(),
        X5t.BASE64URL_OF_HEX: base64.urlsafe_b64encode(binascii.hexlify(digest)).decode().rstrip("="),
    }[spelling]
    found = thumbprint(keys[bits].der.read_bytes(), spelling)
    assert found == expected
    assert len(found) == length


def test_the_thumbprint_is_sha1_whatever_the_certificate_is_signed_with(tmp_path: Path, files: KeyFiles) -> None:
    other = certificates.make(tmp_path, 2048, digest="sha512")
    assert thumbprint(other.der.read_bytes()) == base64.urlsafe_b64encode(digest_by_openssl(other.certificate)).decode().rstrip("=")


@pytest.mark.parametrize("kind", ["two files", "one file", "DER certificate", "encrypted", "PKCS#12"])
def test_key_and_certificate_are_read_from_every_kind_of_file(files: KeyFiles, kind: str) -> None:
    signer, certificate = {
        "two files": lambda: read_key_files(files.key, files.certificate),
        "one file": lambda: read_key_files(files.both),
        "DER certificate": lambda: read_key_files(files.key, files.der),
        "encrypted": lambda: read_key_files(files.encrypted, files.certificate, PASSPHRASE),
        "PKCS#12": lambda: read_key_files(files.pkcs12, passphrase=PASSPHRASE),
    }[kind]()
    assert certificate == files.der.read_bytes()
    assert len(signer.sign(b"message")) == 256
    assert repr(signer) == "<KeySigner 2048 bits>"


def test_the_certificate_of_the_key_is_found_in_a_chain(files: KeyFiles, keys: dict[int, KeyFiles], tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_bytes(keys[4096].certificate.read_bytes() + files.certificate.read_bytes())
    assert read_key_files(files.key, chain)[1] == files.der.read_bytes()


@pytest.mark.parametrize(
    ("key", "certificate", "passphrase", "said"),
    [
        ("missing.pem", None, None, "cannot be read"),
        ("key", None, None, "comes without a certificate"),
        ("encrypted", "certificate", None, "is encrypted; give its passphrase"),
        ("encrypted", "certificate", "wrong", "the passphrase is wrong"),
        ("pkcs12", None, "wrong", "the passphrase is wrong or missing"),
        ("pkcs12", None, None, "the passphrase is wrong or missing"),
        ("certificate", None, None, "holds no private key"),
        ("der", None, None, "neither PEM nor PKCS#12"),
        ("key", "key", None, "holds no certificate"),
        ("key", "missing.pem", None, "certificate_file='.*missing.pem' cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    files: KeyFiles, tmp_path: Path, key: str, certificate: str | None, passphrase: str | None, said: str
) -> None:
    def path(name: str) -> Path:
        return getattr(files, name, tmp_path / name)

    with pytest.raises(ConfigurationError, match=said) as caught:
        read_key_files(path(key), path(certificate) if certificate else None, passphrase)
    assert "wrong'" not in str(caught.value)
    assert PASSPHRASE not in str(caught.value)


def test_another_keys_certificate_is_refused(files: KeyFiles, keys: dict[int, KeyFiles]) -> None:
    with pytest.raises(ConfigurationError, match="none of the 1 certificates given is that of the key"):
        read_key_files(files.key, keys[4096].certificate)


def test_keys_that_rs256_cannot_use_are_refused(tmp_path: Path) -> None:
    small = certificates.make(tmp_path / "small", 1024)
    with pytest.raises(ConfigurationError, match="1024 bits; RS256 wants 2048"):
        read_key_files(small.both)
    curve = certificates.make(tmp_path / "curve", 0, algorithm="ec")
    with pytest.raises(ConfigurationError, match="holds no RSA key"):
        read_key_files(curve.both)


def test_a_certificate_given_by_itself_may_be_pem_or_der(files: KeyFiles) -> None:
    assert read_certificate(files.certificate.read_bytes()) == read_certificate(files.der.read_bytes()) == files.der.read_bytes()
    with pytest.raises(ConfigurationError, match="the certificate holds no certificate"):
        read_certificate(b"nonsense")


def test_the_end_of_a_certificate_is_known_if_it_is_one(files: KeyFiles) -> None:
    assert ends_at(files.der.read_bytes()) is not None
    assert ends_at(b"nonsense") is None


@pytest.mark.parametrize("module", ["cryptography", "jwt"])
def test_what_is_not_installed_is_said(files: KeyFiles, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    signer, certificate = read_key_files(files.both)
    uses: dict[str, Callable[[], object]] = {
        "cryptography": lambda: read_key_files(files.both),
        "jwt": lambda: Assertions(signer, certificate, issuer="i", subject="s", audience="a", app_url="u"),
    }
    monkeypatch.setitem(sys.modules, module, None)  # an import of it fails now
    with pytest.raises(ConfigurationError, match=r"pip install 'tradesession\[tradingview\]'"):
        uses[module]()
