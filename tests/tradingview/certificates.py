"""Keys and certificates to throw away, made by openssl: what signs and what verifies in these tests come from somebody else."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

PASSPHRASE = "open sesame"


@dataclass(frozen=True)
class KeyFiles:
    key: Path
    certificate: Path
    both: Path
    encrypted: Path
    pkcs12: Path
    der: Path


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


def make(directory: Path, bits: int, *, algorithm: str = "rsa", digest: str = "sha256") -> KeyFiles:
    directory.mkdir(parents=True, exist_ok=True)
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    new = f"rsa:{bits}" if algorithm == "rsa" else "ec"
    curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"] if algorithm == "ec" else []
    openssl("req", "-x509", "-newkey", new, *curve, "-nodes", "-subj", "/CN=broker", "-days", "300", f"-{digest}",
            "-keyout", str(key), "-out", str(certificate))  # fmt: skip
    both = directory / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    encrypted = directory / "encrypted.pem"
    openssl("pkcs8", "-topk8", "-in", str(key), "-out", str(encrypted), "-passout", f"pass:{PASSPHRASE}")
    pkcs12 = directory / "both.p12"
    openssl("pkcs12", "-export", "-inkey", str(key), "-in", str(certificate), "-out", str(pkcs12), "-passout", f"pass:{PASSPHRASE}")
    der = directory / "certificate.der"
    openssl("x509", "-in", str(certificate), "-outform", "DER", "-out", str(der))
    return KeyFiles(key, certificate, both, encrypted, pkcs12, der)
