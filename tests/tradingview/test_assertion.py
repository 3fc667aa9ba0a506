"""The assertion, verified by joserfc, which did not make it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import RSAKey

from tests.tradingview.certificates import KeyFiles
from tradesession import Secret
from tradesession.tradingview import X5t
from tradesession.tradingview.assertion import Assertions
from tradesession.tradingview.keys import Signer, ends_at, read_key_files, thumbprint

NOW = 1_800_000_000.0
REGISTRY = jws.JWSRegistry(algorithms=["RS256"], strict_check_header=True)


def maker(
    files: KeyFiles, signer: Signer | None = None, x5t: X5t = X5t.BASE64URL, lifetime: float = 60.0, **options: Any
) -> Callable[[float], Secret]:
    own, certificate = read_key_files(files.both)
    return Assertions(
        signer or own,
        certificate,
        issuer="client-1",
        subject="user-1",
        audience="https://broker.example/authorize/token",
        app_url="https://app.example",
        x5t=x5t,
        lifetime=lifetime,
        **options,
    )


def verified(assertion: Secret, files: KeyFiles) -> jwt.Token:
    return jwt.decode(assertion.reveal(), RSAKey.import_key(files.certificate.read_bytes()), algorithms=["RS256"], registry=REGISTRY)


@pytest.mark.parametrize("bits", [2048, 4096])
@pytest.mark.parametrize("spelling", list(X5t))
def test_another_library_verifies_it_with_exactly_the_documented_claims(keys: dict[int, KeyFiles], bits: int, spelling: X5t) -> None:
    files = keys[bits]
    token = verified(maker(files, x5t=spelling, new_id=lambda: "one")(NOW), files)
    assert token.claims == {
        "iss": "client-1",
        "sub": "user-1",
        "aud": "https://broker.example/authorize/token",
        "spurl": "https://app.example",
        "exp": 1_800_000_060,
        "jti": "one",
    }
    assert type(token.claims["exp"]) is int
    assert token.header == {"alg": "RS256", "typ": "JWT", "x5t": thumbprint(files.der.read_bytes(), spelling)}


def test_another_key_does_not_verify_it(keys: dict[int, KeyFiles]) -> None:
    with pytest.raises(Exception, match="bad_signature"):
        verified(maker(keys[2048])(NOW), keys[4096])


def test_no_two_are_equal_even_of_two_processes_at_the_same_moment(files: KeyFiles) -> None:
    made = [maker(files)(NOW) for _ in range(3)]
    assert len({assertion.reveal() for assertion in made}) == 3
    assert {verified(assertion, files).claims["exp"] for assertion in made} == {1_800_000_060}


def test_for_servers_that_take_no_jti_one_maker_tells_its_assertions_apart_by_their_expiry(files: KeyFiles) -> None:
    make = maker(files, new_id=None)
    made = [make(NOW) for _ in range(3)] + [make(NOW - 3600)]
    assert all("jti" not in verified(assertion, files).claims for assertion in made)
    assert len({assertion.reveal() for assertion in made}) == 4
    assert [verified(assertion, files).claims["exp"] - NOW for assertion in made] == [60, 61, 62, 63]


def test_a_signer_of_ones_own_signs_without_showing_its_key(files: KeyFiles) -> None:
    class Device:
        def __init__(self) -> None:
            self.messages: list[bytes] = []
            self._key = read_key_files(files.both)[0]

        def sign(self, message: bytes) -> bytes:
            self.messages.append(message)
            return self._key.sign(message)

    device = Device()
    assertion = maker(files, device)(NOW)
    assert verified(assertion, files).claims["iss"] == "client-1"
    assert device.messages == [assertion.reveal().rpartition(".")[0].encode()]


def test_a_certificate_that_ends_soon_is_warned_of_once(files: KeyFiles, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "tradesession.tradingview")
    make = maker(files)
    end = ends_at(files.der.read_bytes())
    assert end is not None
    make(end - 31 * 86400)
    assert not caplog.records
    make(end - 10 * 86400)
    make(end - 9 * 86400)
    assert [line.getMessage() for line in caplog.records] == [
        "the certificate of client client-1 ends in 10 days: have another one registered"
    ]


def test_it_shows_nowhere(files: KeyFiles) -> None:
    assertion = maker(files)(NOW)
    assert assertion.reveal() not in f"{assertion} {assertion!r} {json.dumps(str(assertion))}"
